"""The loss next to a teacher: 60 digits, its readable twin, rules, what it must not depend on."""

import pickle

import mpmath
import numpy as np
import pytest

import infflow as inf
from infflow.activations import resolve
from infflow.integrals.closed import pairs as closed
from infflow.networks.infinite.near_teacher import realizable, segment
from infflow.networks.infinite.population_loss import Units
from infflow.networks.infinite.readable import near_teacher

EPS = np.finfo(float).eps


def network(f, K, M, D, seed, bias=False, outputs=1, **arguments):
    """A student and a teacher, and parameters of the student at which both are the same network."""
    teacher_net = inf.Net([(M, f, bias), (outputs, "identity", bias)], input_dim=D)
    student = inf.Net([(K, f, bias), (outputs, "identity", bias)], input_dim=D)
    teacher = inf.Teacher(teacher_net, inf.random_params(teacher_net, seed, init="standard_normal"))
    (V, vb), (C, c) = teacher_net.unpack(teacher.theta)
    rows = np.arange(K) % M
    shares = np.array([1.0 / np.sum(rows == row) for row in rows])
    same = student.pack([(V[rows], None if vb is None else vb[rows]), (C[:, rows] * shares, c)])
    return inf.NetI(student, teacher, **arguments), same


# --------------------------------------------------------------------------------------------------
# 60 digits


def arcsine(x, y):
    """E erf(x.z/sqrt 2) erf(y.z/sqrt 2)."""
    xx, xy, yy = (mpmath.fdot(p, q) for p, q in ((x, x), (x, y), (y, y)))
    return 2 / mpmath.pi * mpmath.asin(xy / mpmath.sqrt((1 + xx) * (1 + yy)))


def arccosine(x, y):
    """E relu(x.z) relu(y.z); the determinant by Lagrange's identity."""
    if not any(x) or not any(y):
        return mpmath.mpf(0)
    pairs = [(i, j) for i in range(len(x)) for j in range(i)]
    s = mpmath.sqrt(mpmath.fsum((x[i] * y[j] - x[j] * y[i]) ** 2 for i, j in pairs))
    xy = mpmath.fdot(x, y)
    return (s + xy * (mpmath.pi - mpmath.atan2(s, xy))) / (2 * mpmath.pi)


def exact_loss(kernel, neti, theta):
    with mpmath.workdps(60):
        (W, _), (A, _) = neti.unpack(theta)
        (V, _), (C, _) = neti.teacher.net.unpack(neti.teacher.theta)
        w = [[mpmath.mpf(float(x)) for x in row] for row in np.vstack([W, V])]
        a = [mpmath.mpf(float(x)) for x in np.append(A, -C)]
        n = range(len(w))
        return float(mpmath.fsum(a[i] * a[j] * kernel(w[i], w[j]) for i in n for j in n))


@pytest.mark.parametrize(("f", "kernel"), [("erf", arcsine), ("relu", arccosine)])
@pytest.mark.parametrize("distance", [1e-3, 1e-4, 1e-5, 1e-7, 1e-9, 1e-12])
def test_against_60_digits(f, kernel, distance):
    """With split neurons, signs or scales, in another order, beside a dead neuron of relu."""
    for seed in range(3):
        neti, same = network(f, 5, 3, 4, seed)
        (W, _), (A, _) = neti.unpack(same)
        rng = np.random.default_rng(seed)
        factor = (
            np.array([-1.0, 1.0, -1.0, 1.0, 1.0])
            if f == "erf"
            else np.array([2.0, 0.5, 1.0, 4.0, 0.25])
        )
        order = rng.permutation(5)
        W = (W * factor[:, None])[order]
        A = (A / factor)[:, order]
        W = W + distance * rng.standard_normal(W.shape)
        A = A + distance * rng.standard_normal(A.shape)
        if f == "relu":
            neti = inf.NetI(
                inf.Net([(6, f, False), (1, "identity", False)], input_dim=4), neti.teacher
            )
            W = np.vstack([np.zeros(4), W])
            A = np.hstack([[[0.3]], A])
        theta = neti.pack([(W, None), (A, None)])
        exact = exact_loss(kernel, neti, theta)
        # scales and shares are rounded, which moves the teacher by eps
        tolerance = 1e-13 + 20 * EPS / distance
        if f == "relu":  # the ridge of the two that were split is not a line
            tolerance += 1e-2 * distance
        assert neti._near_loss(neti.teacher).value(neti.student_units(theta)) is not None
        assert inf.loss(neti, theta) == pytest.approx(exact, rel=tolerance)


@pytest.mark.parametrize("share", [1.4, 0.3, -1.5])
@pytest.mark.parametrize("tilt", [0.0, 1e-6, 1e-3, 1e-1, 1.0])
def test_two_kinked_neurons_that_part_from_one(share, tilt):
    """Slopes cancel, the loss is of third order: what the rule errs at the ridge shows
    undiminished.

    With one node pattern for all pairs, half of it on the wrong side of the ridge, losses were off
    by percent, or negative.
    """
    rng = np.random.default_rng(7)
    neti, _ = network("relu", 3, 2, 4, 0)
    teacher_net = neti.teacher.net
    for distance in (1e-3, 1e-4, 1e-6, 1e-8):
        for _ in range(3):
            V = rng.standard_normal((2, 4))
            C = rng.standard_normal(2)
            first = share * C[0]
            second = (1.0 - share) * C[0]
            e, g = rng.standard_normal((2, 4))
            e -= V[0] * (e @ V[0]) / (V[0] @ V[0])
            move = distance * e / np.linalg.norm(e)
            other = -first / second * move + tilt * distance * g / np.linalg.norm(g)
            here = inf.NetI(
                neti.student,
                inf.Teacher(teacher_net, teacher_net.pack([(V, None), (C[None], None)])),
            )
            theta = here.pack(
                [
                    (np.array([V[0] + move, V[0] + other, V[1]]), None),
                    ([[first, second, C[1]]], None),
                ]
            )
            exact = exact_loss(arccosine, here, theta)
            size = np.abs([first, second]).max() * np.abs(V).max()
            found = inf.loss(here, theta)
            # 1e-4 where the two move nearly along one line; in floating point the teacher is known
            # to eps only
            assert found == pytest.approx(exact, rel=2e-4 + 100 * EPS * size / np.sqrt(exact))
            assert found > 0.0
            if tilt == 0.0:
                assert found == pytest.approx(exact, rel=1e-9 + 100 * EPS * size / np.sqrt(exact))


def test_a_run_whose_loss_was_negative():
    """relu, four students, three teachers: it ended at -3.6e-13, where the loss is 2.8e-10."""
    neti, _ = network("relu", 4, 3, 5, 1)
    run = inf.train(neti, inf.random_params(neti, 7), progress=False)
    exact = exact_loss(arccosine, neti, run.theta)
    assert 0.0 < run.loss < 1e-20
    assert run.loss == pytest.approx(exact, rel=1e-3)


# --------------------------------------------------------------------------------------------------
# twin


def moment(f):
    table = closed.AtomTable([resolve(f)])
    number = np.zeros(1, dtype=np.int64)

    def found(i, j, p, q, w1, b1, w2, b2):
        determinant = sum(
            (w1[k] * w2[l] - w1[l] * w2[k]) ** 2 for k in range(len(w1)) for l in range(k)
        )
        args = (w1 @ w1, w1 @ w2, w2 @ w2, b1, b2, determinant)
        return float(closed.pair_moments(table, number, number, np.array(args)[:, None], p, q)[0])

    return found


def mean(f):
    return lambda i, p, w, b: float(inf.gaussian_mean(f, np.linalg.norm(w), b, order=p))


@pytest.mark.parametrize(
    ("f", "distance", "tolerance"),
    [
        ("erf", 1e-3, 1e-13),
        ("erf", 1e-6, 1e-13),
        ("gaussian", 3e-3, 1e-13),
        ("gelu", 1e-4, 1e-13),
        ("sin", 1e-3, 1e-13),
        ("tanh", 3e-3, 3e-12),
        ("tanh", 1e-4, 3e-12),
        ("softplus", 1e-6, 3e-12),
    ],
)
def test_against_the_readable_twin(f, distance, tolerance):
    neti, same = network(f, 2, 2, 2, 3, bias=True, outputs=2)
    theta = same + distance * np.random.default_rng(1).standard_normal(same.size)
    student = neti.student_units(theta)
    teacher = neti.teacher_units
    twin = near_teacher(student, teacher, mean(f), moment(f), nodes=4)
    neuron = [resolve(f)] * 2
    assert realizable.loss(realizable.match(student, teacher, neuron, neuron)) == pytest.approx(
        twin, rel=tolerance
    )


# --------------------------------------------------------------------------------------------------
# rules


@pytest.mark.parametrize("rule", [*segment.RULES, *segment.RULES_OF_SERIES])
def test_rules_err_as_they_say(rule):
    x = np.array(rule.nodes)
    w = np.array(rule.weights)
    for k in range(rule.power):
        assert w @ x**k == pytest.approx(1.0 / (k + 1), rel=1e-15)
    k = rule.power
    error = (1.0 / (k + 1) - w @ x**k) / float(mpmath.factorial(k))
    assert error == pytest.approx(1.0 / rule.constant, rel=1e-9)


@pytest.mark.parametrize("f", ["erf", "gaussian", "sin", "gelu", "cube", "tanh", "softplus"])
def test_chosen_rules_are_accurate_enough(f, monkeypatch):
    """Against six Gauss nodes: to rounding, or 1e-3 of the tolerance of series."""
    finest = segment._gauss(6, 1.0)
    tolerance = 1e-13 if f in ("tanh", "softplus") else 1e-15
    for seed, scale, bias in [(0, 1.0, False), (1, 1.0, True), (2, 4.0, False), (3, 4.0, True)]:
        for distance in (1e-8, 3e-7, 1e-5, 1e-4, 1e-3):
            neti, same = network(f, 3, 3, 3, seed, bias=bias)
            theta = same.copy()
            theta[:9] *= scale
            teacher = neti.student_units(theta.copy())
            student = neti.student_units(
                theta + distance * np.random.default_rng(seed).standard_normal(theta.size)
            )
            neuron = [resolve(f)] * 3
            matching = realizable.match(student, teacher, neuron, neuron)
            found = realizable.loss(matching)
            with monkeypatch.context() as patch:
                patch.setattr(realizable, "rule_for", lambda *_: finest)
                exact = realizable.loss(matching)
            assert found == pytest.approx(exact, rel=tolerance + 30 * EPS)


@pytest.mark.parametrize("f", ["relu", "relu6", "hard_swish"])
@pytest.mark.parametrize("bias", [0.0, 2.0])
def test_kinks_apart_are_no_corners(f, bias):
    """Rules for kinks that don't meet, at angles and distances up to where corners begin."""
    activations = [resolve(f)] * 3
    finest = segment._gauss(12, 1.0)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        start, move = (rng.standard_normal((3, 6)) for _ in range(2))
        ends = [start + d * move for d in (0.0, 1e-3)]
        teacher, student = (
            Units(x[:, :4].copy(), bias * x[:, 4], x[:, 5:].copy(), np.zeros(1)) for x in ends
        )
        matching = realizable.match(student, teacher, activations, activations)
        found = realizable.loss(matching)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(realizable, "rule_for", lambda *_: finest)
            patch.setattr(segment, "RULES", (*segment.RULES[:2], finest))
            assert found == pytest.approx(realizable.loss(matching), rel=1e-13)


def test_parts_of_one_neuron_take_few_points():
    """Two kinks of one neuron are parallel, and apart: no corner."""
    activations = [resolve("hard_swish")] * 2
    rng = np.random.default_rng(0)
    teacher = Units(rng.standard_normal((2, 3)), np.zeros(2), np.ones((2, 1)), np.zeros(1))
    student = teacher._replace(W=teacher.W + 1e-6 * rng.standard_normal((2, 3)))
    loss = realizable.SegmentLoss()
    loss(realizable.match(student, teacher, activations, activations))
    (points,) = loss._segments.values()
    # four neurons of one kink each: two nodes a pair, and three by three with themselves
    assert len(points._pairs[-1]) <= 6 * 4 + 4 * 9


# ----------------------------------------------------------------------------------- what the loss
# must not depend on


@pytest.mark.parametrize("f", ["tanh", "relu"])
def test_the_loss_is_a_function_of_theta(f):
    """Whatever was evaluated before, in copies, and after pickling, bit for bit."""
    neti, same = network(f, 4, 3, 4, 2, bias=True)
    points = [
        same + d * np.random.default_rng(k).standard_normal(same.size)
        for k, d in enumerate([1e-3, 1e-7, 1e-4])
    ]
    fresh = []
    for theta in points:
        fresh.append(inf.loss(network(f, 4, 3, 4, 2, bias=True)[0], theta))
    for k in (2, 0, 1, 0, 2, 1):
        assert inf.loss(neti, points[k]) == fresh[k]
    again = pickle.loads(pickle.dumps(neti))
    assert [inf.loss(again, theta) for theta in points] == fresh


def test_inputs_with_covariance_and_mixtures_next_to_the_teacher():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((3, 3))
    mixture = inf.GaussianMixture([0.3, 0.7], rng.standard_normal((2, 3)), [A @ A.T, np.eye(3)])
    neti, same = network("erf", 3, 2, 3, 5, bias=True, outputs=2, input=mixture)
    delta = 1e-6 * rng.standard_normal(same.size)
    quadratic = 0.5 * delta @ inf.hvp(neti, same, delta)
    assert inf.loss(neti, same + delta) == pytest.approx(quadratic, rel=1e-4)


def test_evaluators_that_know_a_neuron_with_itself_only():
    """Cubature gives a point with itself the derivatives of E f^2; the double integral
    needs more.
    """
    neti, same = network("erf", 1, 1, 2, 3)
    theta = same + 1e-3 * np.random.default_rng(0).standard_normal(same.size)
    closed, numeric = (
        realizable.loss(
            realizable.match(
                neti.student_units(theta), neti.teacher_units, [resolve("erf")], [resolve("erf")]
            ),
            method,
        )
        for method in ("auto", "cubature")
    )
    assert numeric == pytest.approx(closed, rel=1e-9)


def test_a_loss_next_to_zero_is_never_below_what_can_be_resolved():
    """Two erf students that part from one teacher neuron: slopes cancel, the loss is of fourth
    order.
    """
    neti, same = network("erf", 2, 1, 2, 3)
    (W, _), (A, _) = neti.unpack(same)
    move = 1e-5 * np.array([1.0, -2.0])
    theta = neti.pack([(W + np.outer([1.0, -1.0], move), None), (A, None)])
    exact = exact_loss(arcsine, neti, theta)
    found = inf.loss(neti, theta)
    assert exact < 1e-19
    assert found > 0.0
    assert found == pytest.approx(exact, rel=1e-2)


@pytest.mark.parametrize("f", ["tanh", "relu"])
def test_copies_share_no_evaluators_next_to_the_teacher(f):
    """A frozen network and its original may be used by two threads."""
    neti, same = network(f, 3, 3, 3, 2, bias=True)
    theta = same + 1e-6 * np.random.default_rng(1).standard_normal(same.size)
    loss = inf.loss(neti, theta)
    copies = [neti.replace(ridge=0.0), neti.with_method("closed")]
    if f == "tanh":  # with closed forms alone it is the network itself
        copies.append(neti.frozen(theta))
    for other in copies:
        assert inf.loss(other, theta) == pytest.approx(loss, rel=1e-12)
        assert other._near is not neti._near
        assert other._lock is not neti._lock
        mine = neti._near._segments[0]
        its = other._near._segments[0]
        assert mine is not its
        assert mine._segments is not its._segments
        assert mine._differences is not its._differences


@pytest.mark.parametrize(
    ("f", "multiples"),
    [("relu", [1.0, 2.0, 0.3]), ("abs", [1.0, -2.0, 0.3]), ("tanh", [1.0, 1.0, -1.0])],
)
def test_neurons_of_the_teacher_that_are_multiples_count_as_one(f, multiples):
    """A student with one neuron in their place is next to the teacher."""
    activation = resolve(f)
    D = 3
    rng = np.random.default_rng(4)
    v = rng.standard_normal(D)
    c = 0.4
    a = np.array([0.7, 0.4, -0.3])
    wide = inf.Net([(4, f, True), (1, "identity", True)], input_dim=D)
    narrow = inf.Net([(2, f, True), (1, "identity", True)], input_dim=D)
    other = rng.standard_normal(D)
    V = np.vstack([np.outer(multiples, v), other])
    biases = np.append(c * np.array(multiples), 0.2)
    neti = inf.NetI(narrow, inf.Teacher(wide, wide.pack([(V, biases), ([[*a, 0.5]], [0.1])])))
    gains = [float(activation(m * 1.3) / activation(1.3)) for m in multiples]
    move = rng.standard_normal(D)
    for distance in (1e-4, 1e-7, 1e-10):
        W = np.array([v + distance * move, other])
        theta = narrow.pack([(W, [c, 0.2]), ([[a @ gains, 0.5]], [0.1])])
        single = inf.NetI(
            narrow,
            inf.Teacher(narrow, narrow.pack([([v, other], [c, 0.2]), ([[a @ gains, 0.5]], [0.1])])),
        )
        # multiples are rounded
        tolerance = 1e-10 + 100 * EPS / distance
        assert inf.loss(neti, theta) == pytest.approx(inf.loss(single, theta), rel=tolerance)


def test_neurons_on_one_line_with_other_biases_are_not_one():
    wide = inf.Net([(2, "tanh", True), (1, "identity", False)], input_dim=1)
    units = inf.NetI(wide, inf.Teacher(wide, [1.0, 1.0, 0.3, 0.4, 0.5, 0.5])).teacher_units
    merged, rest = realizable._merged(units, [resolve("tanh")] * 2)
    assert len(rest) == 2 and merged.W.shape == (2, 1)


@pytest.mark.parametrize("D", [1, 3])
def test_linear_networks_are_compared_as_maps(D):
    """No neuron of the student is one of the teacher; the loss is right far below 1e-16."""
    student = inf.Net([(3, "identity", True), (2, "identity", True)], input_dim=D)
    net = inf.Net([(3, "identity", True), (2, "identity", True)], input_dim=D)
    star = inf.random_params(net, 1, init="standard_normal")
    mixture = inf.GaussianMixture([0.3, 0.7], np.eye(2, D), [np.eye(D), 2.0 * np.eye(D)])
    (V, c), (A, d) = net.unpack(star)
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    for given in (None, mixture):
        neti = inf.NetI(student, inf.Teacher(net, star), input=given)
        for distance in (1e-6, 1e-11):
            shift = distance * np.array([1.0, -2.0])
            theta = student.pack([(Q @ V, Q @ c), (A @ Q.T, d + shift)])
            assert inf.loss(neti, theta) == pytest.approx(5 * distance**2, rel=1e-3)
        assert inf.loss(neti, star) == 0.0
    run = inf.train(neti, inf.random_params(student, 2), progress=False)
    assert run.converged and run.loss < 1e-27
