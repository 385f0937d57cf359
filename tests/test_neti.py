"""The infinite-data network against its readable twin, differences, sampling and 30-digit
integrals.
"""

import copy
import pickle
import threading
from itertools import pairwise

import mpmath
import numpy as np
import pytest

import infflow as inf
from infflow.activations import names, polynomial, resolve
from infflow.errors import (
    InvalidTypeError,
    InvalidValueError,
    MethodError,
    ShapeError,
    SingularMomentError,
)
from infflow.integrals.closed import pairs as closed
from infflow.networks.infinite import readable as readable_infinite

CLOSED = [
    "identity",
    "relu",
    "leaky_relu",
    "abs",
    "step",
    "sign",
    "erf",
    "normal_cdf",
    "square",
    "cube",
]


def make(f, g, K=3, M=2, D=4, O=1, hidden_bias=True, output_bias=True, seed=0, **kwargs):
    """A random student, teacher and parameters."""
    student = inf.Net([(K, f, hidden_bias), (O, "identity", output_bias)], input_dim=D)
    teacher = inf.Net([(M, g, True), (O, "identity", True)], input_dim=D)
    teacher = inf.Teacher(teacher, inf.random_params(teacher, seed + 1, init="standard_normal"))
    net = inf.NetI(student, teacher, **kwargs)
    return net, inf.random_params(net, seed + 2, init="standard_normal")


def plain_moments(net):
    """Callables for the readable twin, from the plain moments of one pair at a time."""
    activations = [*net.student.layers[0].activations, *net.teacher.net.layers[0].activations]
    table = closed.AtomTable(activations)

    def moment(i, j, p, q, w1, b1, w2, b2):
        if i == j and activations[i].kinks:
            # both places hold the same h: only d^n/db^n E f(h)^2 = sum_p binom(n, p) I(p, n - p) is
            # defined, and only such sums are used, so that any split of it will do
            return of_itself(activations[i].name, p + q, w1 @ w1, b1) / 2.0 ** (p + q)
        c11 = w1 @ w1
        c12 = w1 @ w2
        c22 = w2 @ w2
        a = w2 - c12 / c11 * w1
        det = 0.0 if i == j else c11 * (a @ a)
        args = [np.array([v]) for v in (c11, c12, c22, b1, b2, det)]
        index = [np.array([k], dtype=np.int64) for k in (i, j)]
        return float(closed.pair_moments(table, *index, np.array(args), p, q)[0])

    def mean(i, p, w, b):
        return float(
            closed.single_moments(table, np.array([i]), np.array([w @ w]), np.array([b]), 4)[0, p]
        )

    return mean, moment


@pytest.mark.parametrize("f", CLOSED)
@pytest.mark.parametrize("g", ["relu", "erf", "step", "square"])
def test_equals_readable_twin(f, g):
    net, theta = make(f, g, O=2)
    expected = readable_infinite.evaluate(
        net.student_units(theta), net.teacher_units, *plain_moments(net)
    )
    got = net.evaluate(theta, 2)
    scale = np.abs(expected[2]).max()
    assert got.value == pytest.approx(expected[0], rel=1e-12, abs=1e-13)
    np.testing.assert_allclose(got.gradient, expected[1], rtol=1e-12, atol=1e-13 * scale)
    np.testing.assert_allclose(got.hessian, expected[2], rtol=1e-12, atol=1e-12 * scale)


def of_itself(f, n, v, b):
    """d^n/db^n E f(h)^2 of a kinked neuron, f = a^- x^k left and a^+ x^k right of zero, k = 1, or 0
    for steps.
    """
    left, right = (float(resolve(f)(np.array([s]))[0]) ** 2 for s in (-1.0, 1.0))
    r = np.sqrt(v)
    pdf = np.exp(-b * b / (2 * v)) / np.sqrt(2 * np.pi)
    cdf = 0.5 * (1 + float(mpmath.erf(b / r / np.sqrt(2))))
    density = pdf / r
    bumps = [
        density,
        -density * b / v,
        density * (b * b / v - 1) / v,
        density * b / v**2 * (3 - b * b / v),
    ]
    if f in ("step", "sign"):
        return right * cdf + left * (1 - cdf) if n == 0 else (right - left) * bumps[n - 1]
    up = [(v + b * b) * cdf + b * r * pdf, 2 * (b * cdf + r * pdf), 2 * cdf]
    whole = [v + b * b, 2 * b, 2.0]
    return (
        right * up[n] + left * (whole[n] - up[n]) if n <= 2 else 2 * (right - left) * bumps[n - 3]
    )


@pytest.mark.parametrize(
    "f,g", [("erf", "relu"), ("relu", "relu"), ("relu", "erf"), (["erf", "relu", "cube"], "abs")]
)
@pytest.mark.parametrize(
    "hidden_bias,output_bias", [(True, True), (False, False), (True, False), (False, True)]
)
def test_agrees_with_differences(f, g, hidden_bias, output_bias):
    net, theta = make(
        f, g, O=2, hidden_bias=hidden_bias, output_bias=output_bias, maxnorm=3.0, ridge=0.1
    )
    assert_derivatives(net, theta)


@pytest.mark.parametrize(
    "f,g", [("step", "step"), ("step", "relu"), ("relu", "sign"), ("sign", "erf")]
)
def test_steps_agree_with_differences(f, g):
    net, theta = make(f, g, K=2)
    assert_derivatives(net, theta)


def assert_derivatives(net, theta, h=1e-5):
    # a central difference with this step errs by about 1e-10 of the third derivative, and rounding
    # 1e-11
    value = net.evaluate(theta, 2)
    eye = np.eye(len(theta)) * h
    gradient = np.array(
        [net.evaluate(theta + e).value - net.evaluate(theta - e).value for e in eye]
    ) / (2 * h)
    hessian = np.array(
        [net.evaluate(theta + e, 1).gradient - net.evaluate(theta - e, 1).gradient for e in eye]
    ) / (2 * h)
    np.testing.assert_allclose(
        value.gradient, gradient, rtol=1e-8, atol=1e-8 * np.abs(gradient).max()
    )
    np.testing.assert_allclose(value.hessian, hessian, rtol=1e-7, atol=1e-7 * np.abs(hessian).max())
    np.testing.assert_array_equal(value.hessian, value.hessian.T)
    np.testing.assert_allclose(
        net.hvp(theta, np.eye(len(theta))), value.hessian, atol=1e-12 * np.abs(hessian).max()
    )


def inputs(D):
    rng = np.random.default_rng(5)
    A, B = rng.standard_normal((2, D, D))
    gaussian = inf.Gaussian(rng.standard_normal(D), A @ A.T / D)
    singular = inf.Gaussian(np.zeros(D), np.outer(A[0], A[0]) + np.outer(A[1], A[1]))
    mixture = inf.GaussianMixture(
        [0.3, 0.7], rng.standard_normal((2, D)), [A @ A.T / D, B @ B.T / D]
    )
    return {"gaussian": gaussian, "singular": singular, "mixture": mixture}


@pytest.mark.parametrize("kind", ["gaussian", "singular", "mixture"])
@pytest.mark.parametrize("hidden_bias", [True, False])
@pytest.mark.parametrize("parametrization", ["standard", "ntk"])
def test_inputs_and_parametrizations(kind, hidden_bias, parametrization):
    D = 4
    student = inf.Net(
        [(3, "relu", hidden_bias), (2, "identity", True)],
        input_dim=D,
        parametrization=parametrization,
    )
    teacher = inf.Net(
        [(2, "erf", True), (2, "identity", True)], input_dim=D, parametrization="mean_field"
    )
    teacher = inf.Teacher(teacher, inf.random_params(teacher, 1, init="standard_normal"), noise=0.5)
    net = inf.NetI(student, teacher, input=inputs(D)[kind])
    theta = inf.random_params(net, 2, init="standard_normal")
    assert_derivatives(net, theta)
    assert_agrees_with_sample(net, theta)


def assert_agrees_with_sample(net, theta, N=200_000):
    data = net.sample(N, rng=3)
    losses = np.sum((data.predict(theta, data.data.X) - data.data.target) ** 2, axis=1)
    error = losses.std() / np.sqrt(N)
    assert abs(losses.mean() - inf.loss(net, theta)) < 5 * error
    C = inf.gradient_covariance(data, theta)
    gap = inf.gradient(data, theta) - inf.gradient(net, theta)
    assert np.all(np.abs(gap) < 5 * np.sqrt(np.diag(C) / N) + 1e-12)


@pytest.mark.parametrize("f,g", list(pairwise([*CLOSED, "identity"])))
def test_agrees_with_sampled_data(f, g):
    net, theta = make(f, g, O=2)
    if f in (
        "step",
        "sign",
    ):  # the pointwise derivative of a step is zero, the gradient of the expectation is not
        data = net.sample(200_000, rng=3)
        losses = np.sum((data.predict(theta, data.data.X) - data.data.target) ** 2, axis=1)
        assert abs(losses.mean() - inf.loss(net, theta)) < 5 * losses.std() / np.sqrt(len(losses))
    else:
        assert_agrees_with_sample(net, theta)


def student_of(net, factor=1.0, shift=0.0, seed=7):
    """The teacher's own parameters as the student's, at a distance."""
    rng = np.random.default_rng(seed)
    return net.teacher.theta * factor + shift * rng.standard_normal(len(net.teacher.theta))


def same(f, D=5, K=3, bias=True):
    layers = [(K, f, bias), (1, "identity", bias)]
    teacher = inf.Net(layers, input_dim=D)
    teacher = inf.Teacher(teacher, inf.random_params(teacher, 4, init="standard_normal"))
    return inf.NetI(inf.Net(layers, input_dim=D), teacher)


EVERY = ["erf", "relu", "normal_cdf", "square", "leaky_relu", "abs", "gelu", "gaussian"]
EVERY += ["tanh", "softplus", "sigmoid", "silu", "g", "sin", "cos"]


@pytest.mark.parametrize("f", EVERY)
@pytest.mark.parametrize("bias", [True, False])
def test_student_equal_to_teacher(f, bias):
    net = same(f, bias=bias)
    value = net.evaluate(student_of(net), 2)
    assert value.value < 1e-28
    # 1e-14 relative to gradients of single terms, which are as large as the entries of the Hessian
    assert np.abs(value.gradient).max() < 1e-14 * max(1.0, np.abs(value.hessian).max())
    assert np.linalg.eigvalsh(value.hessian)[0] > -1e-13 * np.abs(value.hessian).max()


@pytest.mark.parametrize("f", EVERY)
@pytest.mark.parametrize("distance", [1e-2, 1e-4, 1e-6, 1e-10, 1e-12])
def test_loss_near_the_teacher(f, distance):
    """At small distance the loss is quadratic: delta' H delta / 2, with corrections of relative
    size distance.
    """
    net = same(f)
    theta = student_of(net, shift=distance)
    delta = theta - net.teacher.theta
    H = inf.hessian(net, net.teacher.theta)
    quadratic = 0.5 * delta @ H @ delta
    assert inf.loss(net, theta) == pytest.approx(
        quadratic, rel=100 * distance + 1e-9 if distance < 5e-3 else 0.5
    )


@pytest.mark.parametrize("f", ["erf", "relu"])
def test_loss_formulas_agree_where_both_hold(f):
    """Across the switch to the formula without cancellation the loss is continuous."""
    from infflow.networks.infinite.near_teacher import realizable

    net = same(f)
    part = net._components[0]
    activations = list(net.student.layers[0].activations)
    for distance in (3e-4, 1e-3, 2e-3):
        theta = student_of(net, shift=distance)
        direct = part.loss.value(part.loss.state(net.student_units(theta), 0))[0]
        matching = realizable.match(
            net.student_units(theta), net.teacher_units, activations, activations
        )
        # the direct sum is exact to 1e-15 of terms of order 10
        assert realizable.loss(matching) == pytest.approx(direct, abs=1e-14, rel=1e-10)


def test_loss_near_a_disguised_teacher():
    """Signs of odd, scales of homogeneous neurons, permutations and split neurons leave the loss
    zero.
    """
    net = same("erf", bias=False)
    W, A = (p[0] for p in net.unpack(net.teacher.theta))
    assert inf.loss(net, net.pack([(-W[::-1], None), (-A[:, ::-1], None)])) < 1e-30
    net = same("relu", bias=False)
    W, A = (p[0] for p in net.unpack(net.teacher.theta))
    theta = net.pack([(W * [[2.0], [0.5], [3.0]], None), (A / [2.0, 0.5, 3.0], None)])
    assert inf.loss(net, theta) < 1e-28
    wide = inf.NetI(inf.Net([(5, "relu", False), (1, "identity", False)], input_dim=5), net.teacher)
    theta = wide.pack(
        [
            (np.vstack([W, W[:1], W[1:2] + 0.3]), None),
            (np.hstack([A * [0.3, 1, 1], A[:, :1] * 0.7, [[0.0]]]), None),
        ]
    )
    assert inf.loss(wide, theta) < 1e-28
    delta = 1e-8 * np.random.default_rng(0).standard_normal(wide.num_params)
    quadratic = 0.5 * delta @ inf.hessian(wide, theta) @ delta
    assert inf.loss(wide, theta + delta) == pytest.approx(quadratic, rel=1e-5)


@pytest.mark.parametrize("f", ["relu", "abs", "identity", "erf"])
def test_a_dead_neuron_beside_the_teacher(f):
    net = same(f, bias=False)
    W, A = (p[0] for p in net.unpack(net.teacher.theta))
    wide = inf.NetI(inf.Net([(4, f, False), (1, "identity", False)], input_dim=5), net.teacher)
    theta = wide.pack([(np.vstack([W, np.zeros((1, 5))]), None), (np.hstack([A, [[0.3]]]), None)])
    # a dead erf neuron gives zero too, but not at the neighbouring points on the way to the teacher
    assert inf.loss(wide, theta) < (1e-12 if f == "erf" else 1e-28)
    assert np.abs(inf.gradient(wide, theta)).max() < 1e-13


def test_a_teacher_that_is_zero():
    layers = [(1, "relu", False), (1, "identity", False)]
    net = inf.NetI(
        inf.Net(layers, input_dim=3), inf.Teacher(inf.Net(layers, input_dim=3), np.zeros(4))
    )
    assert inf.loss(net, np.array([0.0, 0.0, 0.0, 1.0])) < 1e-30
    assert inf.loss(net, np.array([1e-3, 0.0, 0.0, 1.0])) == pytest.approx(0.5e-6, rel=1e-14)


@pytest.mark.parametrize("s", [1e-2, 1e-4, 1e-6, 1e-8, 1e-10])
def test_hessian_of_nearly_parallel_relu(s):
    """The mixed block of two relu neurons at an angle s, against 40-digit derivatives of the
    arccosine kernel.
    """
    r1, r2 = 1.3, 0.7
    layers = [(1, "relu", False), (1, "identity", False)]
    net = inf.Net(layers, input_dim=2)
    teacher = inf.Teacher(
        net, net.pack([([[r2 * np.cos(s), r2 * np.sin(s)]], None), ([[1.0]], None)])
    )
    H = inf.hessian(inf.NetI(net, teacher), net.pack([([[r1, 0.0]], None), ([[1.0]], None)]))[
        :2, :2
    ]
    with mpmath.workdps(60):
        w2 = [mpmath.mpf(float(v)) for v in teacher.theta[:2]]

        def kernel(x, y):
            c11 = x * x + y * y
            c12 = x * w2[0] + y * w2[1]
            det = (x * w2[1] - y * w2[0]) ** 2
            root = mpmath.sqrt(det)
            # E relu(h1)^2 - 2 E relu(h1) relu(h2); pi/2 + asin(u) = pi - atan2(sin, cos)
            return c11 / 2 - (root + c12 * (mpmath.pi - mpmath.atan2(root, c12))) / mpmath.pi

        x = (mpmath.mpf(r1), mpmath.mpf(0))
        h = mpmath.mpf(10) ** -14 * s
        exact = np.array(
            [
                [float(mpmath.diff(kernel, x, n, h=h)) for n in row]
                for row in [[(2, 0), (1, 1)], [(1, 1), (0, 2)]]
            ]
        )
    np.testing.assert_allclose(H, exact, atol=2e-15 * 10)


def test_degenerate_points():
    net = same("relu")
    (W, b), (A, c) = net.unpack(net.teacher.theta.copy())
    zero = W.copy()
    zero[0] = 0.0
    for bias in (b, np.array([0.0, *b[1:]])):
        value = net.evaluate(net.pack([(zero, bias), (A, c)]), 1)
        assert np.isfinite(value.gradient).all()
    assert np.isfinite(
        inf.hessian(net, net.pack([(zero, b), (A, c)]))
    ).all()  # a constant neuron away from its kink
    with pytest.raises(SingularMomentError, match="neuron 0"):
        inf.hessian(net, net.pack([(zero, bias), (A, c)]))
    antiparallel = net.pack([(np.vstack([W[0], -2 * W[0], W[2]]), b), (A, c)])
    assert np.isfinite(inf.hessian(net, antiparallel)).all()
    steps = same("step")
    with pytest.raises(SingularMomentError, match="parallel"):
        inf.hessian(steps, steps.teacher.theta)
    assert np.isfinite(inf.gradient(steps, steps.teacher.theta)).all()


def test_infinite_hessians_of_other_inputs_do_not_warn():
    """The coordinates of a Gaussian or a mixture mix infinite rows: NaN, and no RuntimeWarning
    before the error.
    """
    net = inf.Net([(2, "step", False), (1, "identity", False)], input_dim=2)
    theta = np.array([1.0, 0.5, 2.0, 1.0, 1.0, -1.0])
    other = inf.Gaussian([0.3, -0.2], np.eye(2))
    neti = inf.NetI(net, inf.Teacher(net, np.arange(6.0)), input=other)
    for derivative in (lambda: neti.evaluate(theta, 2), lambda: neti.hvp(theta, np.arange(6.0))):
        with pytest.raises(SingularMomentError):
            derivative()


def test_one_input():
    net, theta = make("relu", "erf", D=1)
    assert_derivatives(net, theta)


def test_noise_ridge_and_barrier():
    net, theta = make("erf", "erf")
    noisy = inf.NetI(
        net.student,
        inf.Teacher(net.teacher.net, net.teacher.theta, noise=0.3),
        ridge=0.2,
        maxnorm=1.0,
    )
    r = 0.5 * theta @ theta
    expected = inf.loss(net, theta) + 0.09 + 0.1 * theta @ theta + (r - 1.0) ** 2
    assert inf.loss(noisy, theta) == pytest.approx(expected, rel=1e-14)


def test_rotation_changes_nothing():
    """Input dimension enters through Gram matrices only: a rotation of student and teacher leaves
    the loss alone.
    """
    net, theta = make("relu", "erf", D=6)
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))[0]
    turn = [
        [(W @ Q, b), out]
        for (W, b), out in (net.unpack(theta), net.teacher.net.unpack(net.teacher.theta))
    ]
    turned = inf.NetI(net.student, inf.Teacher(net.teacher.net, net.teacher.net.pack(turn[1])))
    assert inf.loss(turned, net.pack(turn[0])) == pytest.approx(inf.loss(net, theta), rel=1e-13)


def test_overlaps():
    net, theta = make("erf", "relu", input=inputs(4)["gaussian"])
    Q, R, T = inf.overlaps(net, theta)
    W = net.unpack(theta)[0][0]
    V = net.teacher.net.unpack(net.teacher.theta)[0][0]
    S = net.input.cov
    for got, expected in ((Q, W @ S @ W.T), (R, W @ S @ V.T), (T, V @ S @ V.T)):
        np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-13)


def test_inputs_are_copied_and_float32_is_converted():
    mean = np.zeros(2)
    cov = np.eye(2)
    gaussian = inf.Gaussian(mean, cov)
    mean += 1.0
    cov *= 2.0
    np.testing.assert_array_equal(gaussian.mean, 0.0)
    np.testing.assert_array_equal(gaussian.cov, np.eye(2))
    thirds = inf.GaussianMixture(
        np.full(3, 1 / 3, np.float32), np.zeros((3, 2), int), [np.eye(2, dtype=np.float32)] * 3
    )
    np.testing.assert_allclose(thirds.weights, 1 / 3, rtol=1e-15)


def test_many_neurons_near_their_teachers():
    """Each student finds its own teacher neuron among many, of several activations, signs and
    scales.
    """
    from infflow.networks.infinite.near_teacher import realizable
    from infflow.networks.infinite.population_loss import Units

    rng = np.random.default_rng(0)
    f = [resolve(name) for name in ["erf", "relu", "tanh", "cos"] * 10]
    W = rng.standard_normal((40, 6))
    b = rng.standard_normal(40)
    B = rng.standard_normal((40, 1))
    factor = np.array([-1.0, 2.0, -1.0, -1.0] * 10)
    out = np.array([-1.0, 0.5, -1.0, 1.0] * 10)
    order = rng.permutation(10)  # of the neurons of each activation
    index = (4 * order[:, None] + np.arange(4)).ravel()
    c = np.zeros(1)
    student = Units(
        (factor[:, None] * W)[index], (factor * b)[index], (out[:, None] * B)[index] * (1 + 1e-9), c
    )
    matching = realizable.match(student, Units(W, b, B, c), f, f)
    assert len(matching.activations) == 40
    assert matching.close
    for got, expected in zip(matching.teacher[:2], student[:2], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-14)
    np.testing.assert_allclose(matching.teacher.B, student.B, rtol=2e-9)


def test_sample_is_reproducible():
    net, theta = make("erf", "relu")
    assert inf.loss(net.sample(100, 5), theta) == inf.loss(
        net.sample(100, np.random.default_rng(5)), theta
    )


def test_observable_overlaps():
    net, theta = make("erf", "relu", input=inputs(4)["mixture"])
    Q, R, _ = inf.overlaps(net, theta)
    np.testing.assert_allclose(net.observable("overlaps")(theta), np.hstack([Q, R]), rtol=1e-13)
    run = inf.train(
        net,
        theta,
        t_end=0.1,
        observables=["overlaps"],
        num_trajectory=5,
        max_steps_newton=0,
        progress=False,
    )
    np.testing.assert_allclose(
        run.trajectory.observables["overlaps"][0], np.hstack([Q, R]), rtol=1e-13
    )
    with pytest.raises(InvalidValueError, match="'overlaps'"):
        inf.train(net, theta, observables=["overlap"], progress=False)


@pytest.mark.parametrize(
    "f", ["tanh", "softplus"]
)  # by series, whose expansions are kept from call to call
def test_threads_share_a_network(f):
    net, _ = make(f, f, K=4, M=3)
    thetas = [inf.random_params(net, seed) for seed in range(4)]
    expected = [net.evaluate(theta, 2) for theta in thetas]
    errors = []

    def work(first):
        for k in range(40):
            which = (first + k) % len(thetas)
            value = net.evaluate(thetas[which], 2)
            errors.append(np.abs(value.hessian - expected[which].hessian).max())
            errors.append(
                np.abs(net.hvp(thetas[which], thetas[0]) - value.hessian @ thetas[0]).max()
            )

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 4 * 40 * 2
    # the tolerance of the integrals; entries are of order ten
    assert max(errors) < 1e-8


@pytest.mark.parametrize("f", ["erf", "tanh"])
def test_copies(f):
    net, theta = make(f, f, input=inputs(4)["mixture"])
    expected = inf.hessian(net, theta)
    for other in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net), copy.copy(net)):
        np.testing.assert_allclose(inf.hessian(other, theta), expected, rtol=1e-13, atol=1e-13)


def test_bad_arguments():
    net, theta = make("erf", "erf")
    student = net.student
    teacher = net.teacher
    deep = inf.Net([(3, "erf", True), (3, "erf", True), (1, "identity", True)], input_dim=4)
    cases = [
        (lambda: inf.NetI(deep, teacher), InvalidValueError, "one hidden layer"),
        (
            lambda: inf.NetI(inf.Net([(2, "erf", True), (1, "erf", True)], input_dim=4), teacher),
            InvalidValueError,
            "identity",
        ),
        (
            lambda: inf.NetI(
                inf.Net([(2, "erf", True), (1, "identity", True)], input_dim=3), teacher
            ),
            ShapeError,
            "input_dim",
        ),
        (
            lambda: inf.NetI(
                inf.Net([(2, "erf", True), (2, "identity", True)], input_dim=4), teacher
            ),
            ShapeError,
            "output_dim",
        ),
        (lambda: inf.NetI(student, student), InvalidTypeError, "Teacher"),
        (lambda: inf.NetI("erf", teacher), InvalidTypeError, "Net"),
        (lambda: inf.NetI(student, teacher, input=np.eye(4)), InvalidTypeError, "Gaussian"),
        (
            lambda: inf.NetI(student, teacher, input=inf.Gaussian(np.zeros(3), np.eye(3))),
            ShapeError,
            "dimension",
        ),
        (lambda: inf.NetI(student, teacher, method="clsd"), InvalidValueError, "closed"),
        (lambda: inf.NetI(student, teacher, rtol=-1.0), InvalidValueError, "rtol"),
        (lambda: inf.NetI(student, teacher, ridge=-1.0), InvalidValueError, "ridge"),
        (lambda: inf.NetI(student, teacher, maxnorm=-1.0), InvalidValueError, "maxnorm"),
        (
            lambda: inf.NetI(
                inf.Net([(2, "relu", True), (1, "identity", True)], input_dim=4),
                teacher,
                method="hermite",
            ),
            MethodError,
            "relu",
        ),
        (lambda: inf.Teacher(teacher.net, theta[:-1]), ShapeError, "theta"),
        (lambda: inf.Teacher(teacher.net, teacher.theta, noise=-1.0), InvalidValueError, "noise"),
        (
            lambda: inf.Gaussian(np.zeros(2), [[1.0, 0.5], [0.2, 1.0]]),
            InvalidValueError,
            "symmetric",
        ),
        (
            lambda: inf.Gaussian(np.zeros(2), [[1.0, 2.0], [2.0, 1.0]]),
            InvalidValueError,
            "semidefinite",
        ),
        (lambda: inf.Gaussian(np.zeros(2), np.eye(3)), ShapeError, "cov"),
        (lambda: inf.Gaussian([0.0, np.nan], np.eye(2)), InvalidValueError, "nan"),
        (
            lambda: inf.GaussianMixture([0.5, 0.6], np.zeros((2, 2)), [np.eye(2)] * 2),
            InvalidValueError,
            "add up",
        ),
        (
            lambda: inf.GaussianMixture([1.0], np.zeros((2, 2)), [np.eye(2)] * 2),
            ShapeError,
            "component",
        ),
        (lambda: net.evaluate(theta[:-1]), ShapeError, "theta"),
        (lambda: net.evaluate(theta * np.nan), InvalidValueError, "finite"),
        (lambda: net.evaluate(theta, 3), InvalidValueError, "order"),
        (lambda: net.hvp(theta, theta[:-1]), ShapeError, "v"),
        (lambda: net.sample(0, 1), InvalidValueError, "N"),
        (lambda: net.sample(10, "seed"), InvalidTypeError, "rng"),
    ]
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()


def test_explain():
    net, theta = make(["tanh", "relu", "erf"], "sin")
    with pytest.raises(InvalidValueError, match="pass theta"):
        net.explain()
    text = net.explain(theta)
    for line in ("sin x tanh", "hermite", "erf x erf", "closed", "rtol = 1e-10"):
        assert line in text
    net.evaluate(theta)
    assert net.explain().splitlines()[0] == text.splitlines()[0]
    function = inf.NetI(
        net.student, inf.FunctionTeacher(lambda z: np.tanh(z[:, 0]), np.ones((1, 4)))
    )
    assert "students x function: quadrature" in function.explain(theta)


def test_singular_covariances_in_single_precision():
    """Rounding makes their smallest eigenvalues negative by more than that of float64 could."""
    A = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    cov = A @ A.T
    assert np.linalg.eigvalsh(cov.astype(float))[0] < -1e-9
    root = inf.Gaussian(np.zeros(6), cov).components()[0].root
    np.testing.assert_allclose(root @ root.T, cov, atol=1e-6)
    inf.GaussianMixture([0.5, 0.5], np.zeros((2, 6)), np.stack([cov, cov]))
    with pytest.raises(InvalidValueError, match="semidefinite"):
        inf.Gaussian(np.zeros(6), cov.astype(float))
    with pytest.raises(InvalidValueError, match="semidefinite"):
        inf.Gaussian(np.zeros(6), cov - np.float32(1e-3) * np.eye(6, dtype=np.float32))


@pytest.mark.parametrize("name", names())
def test_next_to_the_teacher(name):
    """Gradient below 1e-14 and loss below 1e-28 at the teacher's own parameters, and the true loss
    1e-10 away.
    """
    net = inf.Net([(4, name, True), (1, "identity", True)], input_dim=5)
    rng = np.random.default_rng(3)
    size = (
        0.2 if name in ("exp", "cube") else 0.5
    )  # their moments grow so fast that rounding is relative to hundreds
    star = size * rng.normal(size=net.num_params)
    neti = inf.NetI(net, inf.Teacher(net, star))
    assert inf.loss(neti, star) < 1e-28
    assert np.abs(inf.gradient(neti, star)).max() < 1e-14
    delta = rng.normal(size=star.size)
    theta = star + 1e-10 / np.linalg.norm(delta) * delta
    if name in (
        "step",
        "sign",
    ):  # no second derivatives there: the loss is linear in the distance, and larger
        assert 1e-13 < inf.loss(neti, theta) < 1e-10
        return
    delta = theta - star  # what rounding has left of it
    assert inf.loss(neti, theta) == pytest.approx(
        0.5 * delta @ inf.hessian(neti, star) @ delta, rel=1e-5
    )


@pytest.mark.parametrize("activations", [("softplus", "tanh"), ("tanh", "relu"), ("erf", "gelu")])
def test_results_do_not_depend_on_what_was_evaluated_before(activations):
    """Loss, gradient, Hessian and products are functions of theta to the last bit, whatever the
    evaluators keep from call to call.
    """
    f, g = activations
    student = inf.Net([(3, f, True), (1, "identity", True)], input_dim=2)
    teacher = inf.Net([(4, g, True), (1, "identity", True)], input_dim=2)
    rng = np.random.default_rng(0)
    true = inf.Teacher(teacher, rng.standard_normal(teacher.num_params))
    used = inf.NetI(student, true)
    points = [scale * rng.standard_normal(used.num_params) for scale in (0.1, 2.0, 0.5, 1.0)]
    for k in (0, 1, 1, 2, 0, 3, 2, 2, 1, 0):
        order = int(rng.integers(3))
        found = used.evaluate(points[k], order)
        expected = inf.NetI(student, true).evaluate(points[k], order)
        assert found.value == expected.value
        for name in ("gradient", "hessian")[:order]:
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        used.frozen(points[k]).evaluate(points[k - 1], 1)
    v = rng.standard_normal(used.num_params)
    np.testing.assert_array_equal(used.hvp(points[1], v), inf.NetI(student, true).hvp(points[1], v))
    assert used.evaluate(points[1], 0).value == inf.NetI(student, true).evaluate(points[1], 0).value


def test_the_output_layer_is_judged_by_its_function():
    square = inf.Activation.from_sympy("identity", "x**2")
    student = inf.Net([(2, "erf", False), (1, square, False)], input_dim=2)
    teacher = inf.Net([(2, "erf", False), (1, "identity", False)], input_dim=2)
    with pytest.raises(ValueError, match="identity output layer"):
        inf.NetI(student, inf.Teacher(teacher, np.ones(6)))
    line = inf.Net([(2, "erf", False), (1, polynomial([0.0, 1.0]), False)], input_dim=2)
    theta = np.arange(6.0)
    assert inf.loss(inf.NetI(line, inf.Teacher(teacher, theta)), theta) == 0.0
