"""Moments of what neurons change by next to a teacher: 60 digits, plain sums, long moves."""

import mpmath
import numpy as np
import pytest

import infflow as inf
from infflow.activations import resolve
from infflow.integrals.hermite import series as hermite
from infflow.networks.infinite.near_teacher import differences, realizable
from infflow.networks.infinite.near_teacher import differences_kernels as kernels

EPS = np.finfo(float).eps


def arcsine(v, c, w, d):
    """E erf(h1/sqrt 2) erf(h2/sqrt 2) without biases."""
    vv, vw, ww = (mpmath.fdot(p, q) for p, q in ((v, v), (v, w), (w, w)))
    return 2 / mpmath.pi * mpmath.asin(vw / mpmath.sqrt((1 + vv) * (1 + ww)))


def gauss(v, c, w, d):
    """E exp(-h1^2/2) exp(-h2^2/2) with biases."""
    vv, vw, ww = (mpmath.fdot(p, q) for p, q in ((v, v), (v, w), (w, w)))
    det = (1 + vv) * (1 + ww) - vw**2
    form = ((1 + ww) * c**2 - 2 * vw * c * d + (1 + vv) * d**2) / det
    return mpmath.exp(-form / 2) / mpmath.sqrt(det)


KERNELS = {"erf": arcsine, "gaussian": gauss}


def exact(f, path, pairs):
    """Sum of E[g_i.g_j] over ``pairs`` (n, n), where they are true, in 60 digits."""
    W, b, B, dW, db, dB = path.ends
    n = len(W)
    kernel = KERNELS[f]
    total = mpmath.mpf(0)
    with mpmath.workdps(60):

        def end(i, s):
            w = [mpmath.mpf(x) + s * mpmath.mpf(y) for x, y in zip(W[i], dW[i], strict=True)]
            return w, mpmath.mpf(b[i]) + s * mpmath.mpf(db[i])

        def weights(i, s):
            sign = 1 if s else -1
            return [
                sign * (mpmath.mpf(x) + s * mpmath.mpf(y)) for x, y in zip(B[i], dB[i], strict=True)
            ]

        for i in range(n):
            for j in range(n):
                for s in (0, 1) if pairs[i, j] else ():
                    for t in (0, 1):
                        product = mpmath.fdot(weights(i, s), weights(j, t))
                        total += product * kernel(*end(i, s), *end(j, t))
        return float(total)


def segment(f, seed, distance, scale=1.0, K=4, M=3, D=3, outputs=2):
    """The path from a teacher to a student that splits, reorders and mirrors its neurons."""
    rng = np.random.default_rng(seed)
    bias = f != "erf"
    student = inf.Net([(K, f, bias), (outputs, "identity", False)], input_dim=D)
    net = inf.Net([(M, f, bias), (outputs, "identity", False)], input_dim=D)
    V = scale * rng.normal(size=(M, D))
    c = rng.normal(size=M)
    A = rng.normal(size=(outputs, M))
    rows = rng.permutation(np.arange(K) % M)
    shares = np.array([1.0 / np.sum(rows == row) for row in rows])
    signs = rng.choice([-1.0, 1.0], size=K)
    parity = float(resolve(f).parity)
    gains = A[:, rows] * shares * np.where(signs > 0, 1.0, parity)
    own = (signs[:, None] * V[rows], signs * c[rows] if bias else None)
    theta = student.pack([own, (gains, None)])
    theta = theta + distance * rng.standard_normal(theta.size)
    teacher = inf.Teacher(net, net.pack([(V, c if bias else None), (A, None)]))
    neti = inf.NetI(student, teacher)
    kinds = [resolve(f)] * K, [resolve(f)] * M
    matching = realizable.match(neti.student_units(theta), neti.teacher_units, *kinds)
    return realizable._path(matching)


def evaluated(path, rtol=1e-10):
    sums = differences.Differences(path.activations, rtol)
    done = np.empty((len(path.activations),) * 2, dtype=bool)
    total, size = sums(path.ends, path.products, done)
    return total, size, done


@pytest.mark.parametrize("f", ["erf", "gaussian"])
@pytest.mark.parametrize("distance", [3e-3, 1e-3, 1e-4, 1e-6, 1e-9, 1e-13])
def test_against_60_digits(f, distance):
    for seed in range(3):
        path = segment(f, seed, distance)
        total, size, done = evaluated(path)
        assert done.all()
        # shares are rounded, which moves the teacher by eps
        tolerance = 2e-13 + 20 * EPS / distance
        assert total == pytest.approx(exact(f, path, done), abs=tolerance * size)


@pytest.mark.parametrize("f", ["erf", "gaussian"])
def test_long_moves_and_sharp_neurons_are_right_or_left(f):
    """Weights up to 30, moves of up to a hundredth of them: the pairs that are done are right."""
    rng = np.random.default_rng(5)
    counts = np.zeros(2, dtype=int)
    for seed in range(12):
        scale = 10.0 ** rng.uniform(-1.0, 1.5)
        path = segment(f, seed, 10.0 ** rng.uniform(-5.0, -2.3) * max(scale, 0.3), scale)
        total, size, done = evaluated(path)
        assert (done == done.T).all()
        counts += done.sum(), (~done).sum()
        assert total == pytest.approx(exact(f, path, done), abs=1e-11 * size + 1e-300)
    assert (counts > 0).all()


def test_a_neuron_without_weights_and_one_that_gets_some():
    """The direction of a neuron may appear or vanish on the way."""
    f = [resolve("gaussian")] * 3
    W = np.array([[0.0, 0.0], [1e-3, 2e-3], [1.0, -0.5]])
    ends = np.array([[1e-4, -2e-4], [0.0, 0.0], [1.0, -0.5]])
    b = np.array([1.0, -0.5, 0.3])
    db = np.array([0.0, 1e-4, 0.0])
    B = np.array([[1.0], [-0.7], [0.4]])
    dB = np.array([[0.0], [1e-4], [0.0]])
    both = np.vstack([W, ends - W])
    path = realizable.Path((W, b, B, ends - W, db, dB), both @ both.T, f)
    total, size, done = evaluated(path)
    assert done.all()
    assert total == pytest.approx(exact("gaussian", path, done), abs=1e-12 * size)


def test_series_sums_in_plain_numbers():
    """All differences written out in 60 digits, for any coefficients."""
    rng = np.random.default_rng(2)
    n = 3
    N = 24
    O = 2
    ends = rng.normal(size=(2, n, 4))
    ends[1] = ends[0] + 1e-5 * rng.normal(size=(n, 4))
    dW = ends[1] - ends[0]
    both = np.vstack([ends[0], dW])
    b = rng.normal(size=n)
    moves = differences._moves(ends[0], b, both @ both.T, np.zeros(n, dtype=np.int64))
    c = rng.normal(size=(n, N)) * 0.8 ** np.arange(N)
    change = 1e-5 * rng.normal(size=(n, N)) * 0.8 ** np.arange(N)
    B = rng.normal(size=(n, O))
    dB = 1e-5 * rng.normal(size=(n, O))
    done = np.ones((n, n), dtype=bool)
    tail = np.ones((n, N))
    found, size = kernels.series_sums(c, change, tail, *moves[3:], done, 0.0, B, dB)
    with mpmath.workdps(60):
        vectors = [[mpmath.matrix(w) for w in ends[0]]]
        vectors.append(
            [mpmath.matrix(w) + mpmath.matrix(d) for w, d in zip(ends[0], dW, strict=True)]
        )
        units = [[w / mpmath.norm(w) for w in row] for row in vectors]
        total = mpmath.mpf(0)
        for i in range(n):
            for j in range(n):
                for s in (0, 1) if i != j else ():
                    for t in (0, 1):
                        u = (units[s][i].T * units[t][j])[0]
                        gain = mpmath.fdot(
                            *(
                                [
                                    mpmath.mpf(x) + e * mpmath.mpf(y)
                                    for x, y in zip(B[k], dB[k], strict=True)
                                ]
                                for k, e in ((i, s), (j, t))
                            )
                        ) * (1 if s == t else -1)
                        for k in range(N):
                            first = mpmath.mpf(c[i, k]) + s * mpmath.mpf(change[i, k])
                            second = mpmath.mpf(c[j, k]) + t * mpmath.mpf(change[j, k])
                            total += gain * first * second * u**k
    assert found == pytest.approx(float(total), abs=1e-13 * size)


@pytest.mark.parametrize("f", ["tanh", "softplus", "silu"])
def test_taylor_and_plain_differences_agree(f):
    """Where both are exact to ten digits: coefficients in x and in the perpendicular coordinate."""
    rule = hermite.rule(4)
    r = 1.3
    b = -0.4
    growth = 2e-3
    along = 1.5e-3
    db = 1e-3
    length = 2e-3
    activation = resolve(f)
    nodes = rule.nodes
    jets = np.empty((5, 1, len(nodes)))
    activation.jet((r * nodes + b)[None], jets)
    series = np.empty((1, len(nodes)))
    parts = np.empty((1, kernels.DEGREES, len(nodes)))
    left = np.empty(1)
    one = np.ones(1)
    kernels.shifts(
        jets,
        nodes,
        rule.weights,
        growth * one,
        along * one,
        length**2 * one,
        db * one,
        series,
        parts,
        left,
    )
    moved = activation((r + growth) * nodes + b + db) - jets[0, 0]
    plain = differences._perpendicular(activation, (r + along) * nodes + b + db, length, jets[0, 0])
    norm = np.sqrt(moved**2 @ rule.weights)
    assert np.sqrt((series[0] - moved) ** 2 @ rule.weights) <= 1e-9 * norm
    gap = np.sqrt((parts[0] - plain) ** 2 @ rule.weights) * length ** np.arange(kernels.DEGREES)
    assert (gap <= 1e-9 * norm).all()
    error = np.sqrt((series[0] - moved) ** 2 @ rule.weights)
    assert error <= (3.0 * left[0] + 1e-13) * norm  # what is left out is seen


def test_the_whole_loss_by_series_is_that_of_points_on_the_segment():
    """Activations without elementary moments: mixtures at the points of the segment."""
    for f in ("tanh", "softplus", "silu", "g"):
        for distance in (1e-3, 1e-5):
            net = inf.Net([(3, f, True), (1, "identity", True)], input_dim=3)
            star = inf.random_params(net, 4, init="standard_normal")
            neti = inf.NetI(net, inf.Teacher(net, star))
            theta = star + distance * np.random.default_rng(3).standard_normal(star.size)
            kinds = [resolve(f)] * 3, [resolve(f)] * 3
            matching = realizable.match(neti.student_units(theta), neti.teacher_units, *kinds)
            found = realizable.loss(matching)
            assert found == pytest.approx(realizable.loss(matching, "closed"), rel=2e-13)


def test_kinked_and_smooth_neurons_share_the_work():
    """Pairs with a kink are left to the segment."""
    net = inf.Net([(3, ["tanh", "relu", "softplus"], True), (1, "identity", True)], input_dim=3)
    star = inf.random_params(net, 4, init="standard_normal")
    neti = inf.NetI(net, inf.Teacher(net, star))
    theta = star + 1e-4 * np.random.default_rng(3).standard_normal(star.size)
    kinds = [resolve(f) for f in ("tanh", "relu", "softplus")]
    matching = realizable.match(neti.student_units(theta), neti.teacher_units, kinds, kinds)
    path = realizable._path(matching)
    _, _, done = evaluated(path)
    smooth = np.array([not f.kinks for f in path.activations])
    np.testing.assert_array_equal(done, np.outer(smooth, smooth))
    found = realizable.loss(matching)
    assert found == pytest.approx(realizable.loss(matching, "closed"), rel=1e-10)


def test_a_point_after_one_next_to_the_teacher_is_evaluated_as_if_it_were_the_first():
    """Where the plain sum is left out, the result is the same to the last bit."""
    net = inf.Net([(3, "tanh", True), (1, "identity", True)], input_dim=3)
    star = inf.random_params(net, 4, init="standard_normal")
    teacher = inf.Teacher(net, star)
    used = inf.NetI(net, teacher)
    move = np.random.default_rng(3).standard_normal(star.size)
    for distance in (1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.3, 1e-6, 1e-2):
        theta = star + distance * move
        assert inf.loss(used, theta) == inf.loss(inf.NetI(net, teacher), theta)
