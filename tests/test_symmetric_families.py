"""Families of symmetric networks against the whole networks that they stand for."""

from __future__ import annotations

import itertools

import mpmath
import numpy as np
import pytest

import infflow as inf
from infflow.errors import (
    InvalidTypeError,
    InvalidValueError,
    ShapeError,
    SingularMomentError,
)

ACTIVATIONS = ("relu", "erf", "leaky_relu", "abs", "gelu", "cube", "sin", "exp", "tanh", "elu")
PARTITIONS = (
    ([1, 6], [0, 1]),
    ([2, 3], [0, 1, 1]),
    ([3, 1, 2], [2, 0, None, 0]),
    ([4], [0, None]),
    ([2, 2], [0, 1]),
    ([1], [0, 0]),
)


def point(fam, seed=0):
    return 0.5 * np.random.default_rng(seed).normal(size=fam.num_params)


def lifting(fam):
    """The matrix E of theta = E z + constant."""
    rows = [fam.lift(np.eye(fam.num_params)[k]).theta for k in range(fam.num_params)]
    return (np.array(rows) - fam.lift(np.zeros(fam.num_params)).theta).T


# ------------------------------------------------------------------------- against whole networks


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("second", [False, True])
def test_value_gradient_and_hessian_are_those_of_the_whole(activation, second):
    for teachers, students in PARTITIONS[:3]:
        fam = inf.SymmetricNetI(activation, teachers, students, train_second_layer=second)
        z = point(fam)
        neti, theta = fam.lift(z)
        E = lifting(fam)
        whole = neti.evaluate(theta, 2)
        own = fam.evaluate(z, 2)
        gradient = E.T @ whole.gradient
        hessian = E.T @ whole.hessian @ E
        assert own.value == pytest.approx(whole.value, rel=2e-14)
        np.testing.assert_allclose(own.gradient, gradient, atol=1e-14 * np.abs(gradient).max())
        np.testing.assert_allclose(own.hessian, hessian, atol=1e-14 * np.abs(hessian).max())
        np.testing.assert_allclose(fam.hvp(z, z), hessian @ z, atol=1e-13 * np.abs(hessian).max())
        np.testing.assert_array_equal((E**2).sum(axis=0), fam.multiplicities)
        np.testing.assert_allclose(fam.restrict(theta), z, rtol=1e-15)
        for order in (0, 1):
            assert fam.evaluate(z, order).value == pytest.approx(own.value, rel=1e-14)


@pytest.mark.parametrize("method", ["hermite", "cubature"])
def test_other_methods(method):
    fam = inf.SymmetricNetI("tanh", [1, 2], method=method)
    z = fam.random(1)
    exact = fam.replace(method="auto").evaluate(z, 2)
    found = fam.evaluate(z, 2)
    assert found.value == pytest.approx(exact.value, rel=1e-9)
    np.testing.assert_allclose(found.hessian, exact.hessian, atol=1e-8)
    frozen = fam.frozen(z)
    assert frozen.evaluate(z, 0).value == pytest.approx(exact.value, rel=1e-11)


def test_an_activation_of_ones_own():
    def f(x):
        return np.arctan(x)

    own = inf.Activation.from_callable(
        "own arctan",
        f,
        derivatives=[
            lambda x: 1 / (1 + x**2),
            lambda x: -2 * x / (1 + x**2) ** 2,
            lambda x: (6 * x**2 - 2) / (1 + x**2) ** 3,
            lambda x: 24 * x * (1 - x**2) / (1 + x**2) ** 4,
        ],
    )
    fam = inf.SymmetricNetI(own, [1, 3])
    z = fam.random(3)
    neti, theta = fam.lift(z)
    assert fam.evaluate(z, 0).value == pytest.approx(neti.evaluate(theta, 0).value, rel=1e-8)


@pytest.mark.parametrize("activation", ["relu", "erf"])
def test_the_teacher_itself(activation):
    """Pairs that are parallel and orthogonal, with entries that are exactly zero."""
    fam = inf.SymmetricNetI(activation, [2, 5])
    z = fam.pack([1.0, 1.0], [0.0, 0.0], np.zeros((2, 2)))
    found = fam.evaluate(z, 2)
    assert 0.0 <= found.value < 1e-14
    assert np.abs(found.gradient).max() < 1e-14
    neti, theta = fam.lift(z)
    E = lifting(fam)
    np.testing.assert_allclose(found.hessian, E.T @ neti.evaluate(theta, 2).hessian @ E, atol=1e-13)


@pytest.mark.parametrize("angle", [1e-3, 1e-6, 1e-9])
def test_nearly_parallel_students(angle):
    """Two blocks that shadow the same teachers, next to each other."""
    fam = inf.SymmetricNetI("relu", [1, 3], [0, 1, 1])
    z = fam.pack([1.1, 0.6, 0.6], [0.0, 0.1, 0.1], [[0, 0.2], [0.3, 0], [0.3 + angle, 0]])
    neti, theta = fam.lift(z)
    E = lifting(fam)
    whole = neti.evaluate(theta, 2)
    own = fam.evaluate(z, 2)
    np.testing.assert_allclose(own.gradient, E.T @ whole.gradient, atol=1e-13)
    hessian = E.T @ whole.hessian @ E
    np.testing.assert_allclose(own.hessian, hessian, atol=1e-12 * np.abs(hessian).max())


# -------------------------------------------------------------------------------------- real sizes


def twin(z, p, q):
    """The relu loss of blocks (p, q) as a double sum of mpmath numbers, with plain inner products.

    Parameters in the order own, within, between of block 0, then of block 1.
    """
    d, o, c, e, w, b = z
    pi = mpmath.pi

    def E(xx, xy, yy):
        root = mpmath.sqrt(xx * yy)
        angle = mpmath.acos(min(max(xy / root, mpmath.mpf(-1)), mpmath.mpf(1)))
        return (root * mpmath.sin(angle) + (pi - angle) * xy) / (2 * pi)

    n0 = d**2 + (p - 1) * o**2 + q * c**2
    n1 = e**2 + (q - 1) * w**2 + p * b**2
    total = p * n0 / 2 + q * n1 / 2
    total += p * (p - 1) * E(n0, 2 * d * o + (p - 2) * o**2 + q * c**2, n0)
    total += q * (q - 1) * E(n1, 2 * e * w + (q - 2) * w**2 + p * b**2, n1)
    cross = d * b + (p - 1) * o * b + c * e + (q - 1) * c * w
    total += 2 * p * q * E(n0, cross, n1)
    for own, norm, entry, count in (
        (p, n0, d, 1),
        (p, n0, o, p - 1),
        (p, n0, c, q),
        (q, n1, e, 1),
        (q, n1, w, q - 1),
        (q, n1, b, p),
    ):
        total -= 2 * own * count * E(norm, entry, mpmath.mpf(1))
    k = p + q
    return total + k / 2 + k * (k - 1) / (2 * pi)


@pytest.mark.parametrize(
    ("p", "q"), [(1.5, 4.25), (2.0, 5.58), (32.0, 68.0), (400.0, 600.0), (32e4, 68e4)]
)
def test_real_and_large_sizes_against_mpmath(p, q):
    fam = inf.SymmetricNetI("relu", [p, q])
    k = p + q
    z = np.array([-0.966, 1.87 / k, 1.26 / k, 1.003, -0.6 / k, 2.02 / k])
    z = z if k > 90 else np.array([-0.8, 0.1, 0.05, 1.01, -0.02, 0.11])
    with mpmath.workdps(60):
        args = [mpmath.mpf(float(x)) for x in z]
        sizes = mpmath.mpf(p), mpmath.mpf(q)
        value = twin(args, *sizes)
        gradient = []
        for i in range(6):

            def along(x, i=i):
                moved = list(args)
                moved[i] = x
                return twin(moved, *sizes)

            gradient.append(mpmath.diff(along, args[i], h=mpmath.mpf(10) ** -20))
    found = fam.evaluate(z, 1)
    assert found.value == pytest.approx(float(value), rel=1e-14 * max(k, 10.0))
    roots = np.sqrt(fam.multiplicities)  # lengths of the whole network
    wanted = np.array([float(each) for each in gradient]) / roots
    np.testing.assert_allclose(found.gradient / roots, wanted, atol=1e-15 * max(k, 10.0))


@pytest.mark.parametrize("activation", ["relu", "erf", "gelu", "sin"])
def test_derivatives_of_real_sizes_by_differences(activation):
    fam = inf.SymmetricNetI(activation, [1.4, 3.7, 6.2], [0, 1, 2, None], train_second_layer=True)
    z = 0.4 * fam.random(2)
    found = fam.evaluate(z, 2)
    h = 1e-5
    for i in range(fam.num_params):
        step = h * np.eye(fam.num_params)[i]
        ahead = fam.evaluate(z + step, 1)
        behind = fam.evaluate(z - step, 1)
        scale = max(1.0, np.abs(found.hessian).max())
        assert (ahead.value - behind.value) / (2 * h) == pytest.approx(
            found.gradient[i], abs=1e-8 * scale
        )
        np.testing.assert_allclose(
            (ahead.gradient - behind.gradient) / (2 * h), found.hessian[i], atol=1e-8 * scale
        )


# --------------------------------------------------------------------------------- minima and flow

PUBLISHED = [
    # blocks, loss without 1/2, lowest eigenvalue with 1/2, a start
    ([1, 6], 0.04640543, 0.0140590, [-0.6, 0.2, 1.0, 0.0, 0.3]),
    ([3, 17], 0.064303240, 0.0385127, [-0.83, 0.08, 0.07, 1.0, -0.01, 0.1]),
    ([32, 68], 0.161618388, 0.0447870, [-0.97, 0.02, 0.013, 1.0, -0.006, 0.02]),
]


@pytest.mark.parametrize(("teachers", "loss", "lowest", "start"), PUBLISHED)
def test_published_minima(teachers, loss, lowest, start):
    """Safran, Yehudai and Shamir's repository, for loss and lowest eigenvalue."""
    fam = inf.SymmetricNetI("relu", teachers)
    found = inf.train(fam, start, max_steps_flow=0, progress=False)
    assert found.converged
    assert found.loss == pytest.approx(loss, abs=6e-9)
    spectrum = fam.spectrum(found.theta)
    assert spectrum.values[0] / 2 == pytest.approx(lowest, abs=6e-8)
    k = sum(teachers)
    assert spectrum.multiplicities.sum() == k * k
    assert fam.index(found.theta) == 0


def test_the_point_of_that_repository():
    fam = inf.SymmetricNetI("relu", [1, 6])
    z = fam.pack(
        [-0.6327039049, 0.9969227988], [0, -0.0350801559], [[0, 0.1859910463], [0.2616910758, 0]]
    )
    assert np.abs(fam.evaluate(z, 1).gradient).max() < 1e-8


@pytest.mark.parametrize("second", [False, True])
def test_the_flow_is_that_of_the_whole(second):
    fam = inf.SymmetricNetI("relu", [1, 4], train_second_layer=second)
    z = fam.pack([-0.4, 0.9], [0.0, 0.1], [[0.0, 0.3], [0.2, 0.0]])
    whole = fam.lift(z)
    assert fam.whole_frozen.sum() == (0 if second else 5)
    settings = {"t_end": 2.0, "rtol": 1e-9, "atol": 1e-9, "max_steps_newton": 0, "progress": False}
    eta = np.where(fam.whole_frozen, 0.0, 1.0)
    there = inf.train(whole.neti, whole.theta, eta=eta, **settings)
    for chosen in (1.0, fam.eta):
        here = inf.train(fam, z, eta=chosen, **settings)
        np.testing.assert_allclose(fam.lift(here.theta_flow).theta, there.theta_flow, atol=1e-8)
    slow = inf.train(fam, z, eta=0.5, **{**settings, "t_end": 4.0})
    np.testing.assert_allclose(slow.theta_flow, here.theta_flow, atol=1e-8)
    frozen = inf.train(fam, z, eta=np.where(np.arange(len(z)) == 0, 0.0, fam.eta), progress=False)
    assert frozen.theta[0] == z[0]


def test_newton_of_very_large_networks():
    """Steps are measured in the whole network, whose loss falls as 1/k along this family."""
    k = 10**5
    fam = inf.SymmetricNetI("relu", [1, k - 1])
    start = fam.pack([-1.0, 1.0], [0, 0], [[0, 1 / k], [1 / k, 0]])
    found = inf.train(fam, start, max_steps_flow=0, progress=False)
    assert found.converged
    # one unit in the last place of own = 1 changes it by 1e-9, since the Hessian has an eigenvalue
    # of order k
    scaled = fam.evaluate(found.theta, 1).gradient / np.sqrt(fam.multiplicities)
    assert np.abs(scaled).max() < 1e-8
    assert found.loss * k == pytest.approx(0.594, abs=1e-3)
    spectrum = fam.spectrum(found.theta)
    assert spectrum.multiplicities.sum() == k * k
    assert spectrum.values[0] == pytest.approx(0.181, abs=1e-3)


def test_random_starts_have_length_one():
    fam = inf.SymmetricNetI("erf", [1, 3, 40], [0, 1, 2, None])
    lengths = []
    for seed in range(400):
        theta = fam.lift(fam.random(seed)).theta[: 45 * 44].reshape(45, 44)
        lengths.append((theta[[0, 1, 4, 44]] ** 2).sum(axis=1))
    np.testing.assert_allclose(np.mean(lengths, axis=0), 1.0, atol=0.2)
    np.testing.assert_array_equal(fam.random(3), fam.random(3))


# ---------------------------------------------------------------------------------------- spectra


@pytest.mark.parametrize("activation", ["relu", "erf", "sin"])
@pytest.mark.parametrize("second", [False, True])
def test_spectra_are_those_of_the_dense_hessian(activation, second):
    extra = ([3, 4, 5], [0, 1, 2]), ([5, 2], [None, 0, 0]), ([3, 3], [0, 1, None]), ([2], [0])
    for teachers, students in (*PARTITIONS, *extra):
        fam = inf.SymmetricNetI(activation, teachers, students, train_second_layer=second)
        z = point(fam, 1)
        neti, theta = fam.lift(z)
        free = np.flatnonzero(~fam.whole_frozen)
        dense = np.linalg.eigvalsh(inf.hessian(neti, theta)[np.ix_(free, free)])
        values, multiplicities = fam.spectrum(z)
        assert multiplicities.dtype.kind == "i"
        assert (np.diff(values) >= 0).all()
        found = np.repeat(values, multiplicities)
        np.testing.assert_allclose(found, dense, atol=2e-13 * np.abs(dense).max())
        assert fam.index(z) == (dense < -1e-10 * np.abs(dense).max()).sum()


@pytest.mark.parametrize("activation", ["relu", "erf", "elu"])
@pytest.mark.parametrize("second", [False, True])
def test_further_inputs(activation, second):
    """Weights on them are zero, and the Hessian along them is the same for each."""
    for teachers, students in PARTITIONS[:4]:
        fam = inf.SymmetricNetI(
            activation, teachers, students, train_second_layer=second, inputs=sum(teachers) + 2
        )
        z = point(fam, 5)
        neti, theta = fam.lift(z)
        assert neti.input_dim == sum(teachers) + 2
        np.testing.assert_allclose(fam.restrict(theta), z, rtol=1e-15)
        free = np.flatnonzero(~fam.whole_frozen)
        dense = np.linalg.eigvalsh(inf.hessian(neti, theta)[np.ix_(free, free)])
        values, multiplicities = fam.spectrum(z)
        found = np.repeat(values, multiplicities)
        np.testing.assert_allclose(found, dense, atol=2e-13 * np.abs(dense).max())
        assert fam.index(z) == (dense < -1e-10 * np.abs(dense).max()).sum()
        plain = fam.replace(inputs=None)
        assert plain.evaluate(z).value == fam.evaluate(z).value
        moved = theta.copy()
        moved[neti.input_dim - 1] = 0.1
        with pytest.raises(InvalidValueError, match="no symmetric point"):
            fam.restrict(moved)


def test_types_of_real_sizes_join_those_of_integers():
    fam = inf.SymmetricNetI("relu", [1, 4.0])
    z = fam.pack([-0.6, 1.0], [0, -0.02], [[0, 0.2], [0.25, 0]])
    for size, count in ((4.0, 4), (4.0 + 1e-9, 4), (3.0 + 1e-3, 4), (3.0, 3), (2.5, 3), (2.0, 2)):
        types = fam.resized([1, size]).symmetry_types(z)
        assert len(types) == count, size
        assert all(each.dimension > 0 for each in types)
    near = fam.resized([1, 4.0 + 1e-9]).spectrum(z)
    exact = fam.spectrum(z)
    np.testing.assert_allclose(near.values, exact.values, atol=1e-7)
    np.testing.assert_allclose(near.multiplicities, exact.multiplicities, atol=1e-7)
    below, at = (fam.resized([1, s]).symmetry_types(z)[1].hessian for s in (2.999999999, 3.0))
    np.testing.assert_allclose(np.linalg.eigvalsh(below), np.linalg.eigvalsh(at), atol=1e-7)


def test_bases_of_types_are_orthonormal():
    fam = inf.SymmetricNetI("erf", [2, 5], [0, 1, None], train_second_layer=True)
    names = [each.name for each in fam.symmetry_types(point(fam))]
    assert len(set(names)) == len(names) == 6
    trivial = fam.symmetry_types(point(fam))[0]
    lengths = trivial.vectors.T @ (fam.multiplicities[:, None] * trivial.vectors)
    np.testing.assert_allclose(lengths, np.eye(fam.num_params), atol=1e-14)


# ------------------------------------------------------------------------------------- parameters


def test_packing():
    for teachers, students in PARTITIONS:
        for second in (False, True):
            fam = inf.SymmetricNetI("erf", teachers, students, train_second_layer=second)
            z = point(fam, 4)
            own, within, between = fam.unpack(z)
            B, M = len(students), len(teachers)
            assert own.shape == within.shape == (B,) and between.shape == (B, M)
            weights = fam.output_weights(z)
            again = fam.pack(own, within, between, weights if second else None)
            np.testing.assert_array_equal(again, z)
            for i, shadowed in enumerate(students):
                assert (own[i] == 0.0) == (shadowed is None)
                if shadowed is not None:
                    assert between[i, shadowed] == 0.0
                    assert (within[i] == 0.0) == (teachers[shadowed] == 1)


def test_finer_blocks_have_the_same_point():
    fam = inf.SymmetricNetI("relu", [2, 5], [0, 1, None, 1], train_second_layer=True)
    z = point(fam, 7)
    value = fam.evaluate(z).value
    for block, apart in ((0, 1), (1, 1), (1, 2), (1, 4)):
        family, finer = fam.divide(z, block, apart)
        assert len(family.teachers) == 3 and sum(family.teachers) == 7
        assert family.evaluate(finer).value == pytest.approx(value, rel=1e-14)
        own = fam.spectrum(z)
        whole = family.spectrum(finer)
        np.testing.assert_allclose(
            np.repeat(own.values, own.multiplicities),
            np.repeat(whole.values, whole.multiplicities),
            atol=1e-12 * np.abs(own.values).max(),
        )
    for block, apart, error in ((2, 1, "block"), (1, 5, "at least one"), (1, 0, "apart")):
        with pytest.raises(InvalidValueError, match=error):
            fam.divide(z, block, apart)


def test_lift_of_a_small_family():
    fam = inf.SymmetricNetI("erf", [1, 2], [1, None], train_second_layer=True)
    z = fam.pack([1.0, 0], [2.0, 0], [[3.0, 0], [4.0, 5.0]], [6.0, 7.0])
    neti, theta = fam.lift(z)
    (W, _), (a, _) = neti.unpack(theta)
    np.testing.assert_array_equal(W, [[3, 1, 2], [3, 2, 1], [4, 5, 5]])
    np.testing.assert_array_equal(a, [[6, 6, 7]])
    assert fam.num_students == 3 and fam.num_teachers == 3


def test_families_can_be_pickled_and_shown():
    import pickle

    fam = inf.SymmetricNetI("relu", [1, 6.5])
    again = pickle.loads(pickle.dumps(fam))
    z = point(fam)
    assert again.evaluate(z).value == fam.evaluate(z).value
    assert repr(fam) == "SymmetricNetI('relu', teachers=[1, 6.5], students=[0, 1])"


# -------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"teachers": [1, 0]}, InvalidValueError, "teachers[1] is 0"),
        ({"teachers": [1, -3]}, InvalidValueError, "teachers[1] is -3"),
        ({"teachers": []}, InvalidValueError, "at least one block"),
        ({"teachers": 7}, InvalidTypeError, "a list of block sizes"),
        ({"teachers": [np.inf]}, InvalidValueError, "teachers[0]"),
        ({"students": [0, 2]}, InvalidValueError, "students[1] is 2, but there are 2 blocks"),
        ({"students": [-1]}, InvalidValueError, "students[0] is -1"),
        ({"students": [0.5]}, InvalidTypeError, "students[0]"),
        ({"students": []}, InvalidValueError, "at least one block of students"),
        ({"inputs": 6}, InvalidValueError, "inputs is 6"),
        ({"train_second_layer": 1}, InvalidTypeError, "True or False"),
        ({"activation": "reluu"}, ValueError, "relu"),
    ],
)
def test_arguments_that_cannot_be_used(arguments, error, words):
    with pytest.raises(error) as raised:
        inf.SymmetricNetI(**{"teachers": [1, 6], **arguments})
    assert words in str(raised.value)


def test_bad_points():
    fam = inf.SymmetricNetI("relu", [1, 6])
    z = point(fam)
    with pytest.raises(ShapeError, match="z has shape"):
        fam.evaluate(z[1:])
    with pytest.raises(InvalidValueError, match="finite"):
        fam.evaluate(z * np.nan)
    with pytest.raises(SingularMomentError, match="lies at zero"):
        fam.evaluate(np.zeros(5), 2)
    theta = fam.lift(z).theta
    theta[9] += 1e-3
    with pytest.raises(InvalidValueError, match="no symmetric point"):
        fam.restrict(theta)
    with pytest.raises(ShapeError, match="theta has shape"):
        fam.restrict(theta[1:])
    real = fam.resized([1, 6.5])
    for use in (real.lift, real.restrict):
        with pytest.raises(InvalidValueError, match="integer sizes"):
            use(z)
    with pytest.raises(InvalidValueError, match="2 and more"):
        fam.resized([1, 1.5]).spectrum(z)
    with pytest.raises(ShapeError, match="3 sizes; 2"):
        fam.resized([1, 2, 3])
    with pytest.raises(InvalidValueError, match="train_second_layer"):
        fam.pack([1, 1], [0, 0], np.zeros((2, 2)), [1, 1])
    with pytest.raises(ShapeError, match="between has shape"):
        fam.pack([1, 1], [0, 0], np.zeros((2, 3)))


def test_a_network_that_is_too_large_to_lift():
    fam = inf.SymmetricNetI("relu", [10**7])
    with pytest.raises(inf.InfflowError, match="GiB"):
        fam.lift(np.ones(2))


def test_values_do_not_depend_on_k():
    """As many numbers, and the same work, for all sizes."""
    sizes = {inf.SymmetricNetI("relu", [2, k]).num_params for k in (2, 50, 10**6, 10**9)}
    assert sizes == {6}
    for k, second in itertools.product((10, 10**9), (False, True)):
        fam = inf.SymmetricNetI("erf", [1, k], train_second_layer=second)
        assert np.isfinite(fam.evaluate(fam.random(0), 2).hessian).all()
