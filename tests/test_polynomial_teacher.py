"""Polynomial teachers against functions of projections, differences, samples and networks."""

import itertools
import math

import numpy as np
import pytest

import infflow as inf
from infflow.errors import (
    InvalidTypeError,
    InvalidValueError,
    MethodError,
    ShapeError,
    SingularMomentError,
    TooLargeError,
)

D = 6
ACTIVATIONS = ("erf", "relu", "tanh", "elu", "gelu", "exp", "square")
TERMS = {(1, 1, 1): [1.0, 0.2], (2, 0, 0): [0.5, 0], (0, 0, 0): [0.1, 1], (0, 0, 3): [0.3, 0.1]}


def directions(k, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((D, k)))[0].T


def student(activation, width=3, outputs=1, bias=True):
    return inf.Net([(width, activation, bias), (outputs, "identity", bias)], input_dim=D)


def weights(net, seed=1):
    return 0.5 * inf.random_params(net, rng=seed, init="standard_normal")


def differences(function, theta, h=1e-5):
    steps = h * np.eye(len(theta))
    return np.array([(function(theta + e) - function(theta - e)) / (2 * h) for e in steps])


COLOURED = inf.Gaussian(np.linspace(-0.3, 0.4, D), np.diag(np.linspace(0.5, 1.5, D)) + 0.1)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("basis", ["hermite", "monomial"])
@pytest.mark.parametrize("loss", ["squared", "correlation"])
@pytest.mark.parametrize("given", [None, COLOURED], ids=["standard", "coloured"])
def test_derivatives(activation, basis, loss, given):
    V = directions(3) if basis == "hermite" else 1.3 * directions(3) + 0.1
    net = student(activation, outputs=2)
    teacher = inf.PolynomialTeacher(TERMS, V, basis=basis, noise=0.1)
    neti = inf.NetI(net, teacher, input=given, loss=loss)
    theta = weights(net)
    H = inf.hessian(neti, theta)
    # central differences of steps 1e-5 err by about 1e-10 of third derivatives
    scale = np.abs(H).max()
    gradient = differences(lambda t: inf.loss(neti, t), theta)
    np.testing.assert_allclose(inf.gradient(neti, theta), gradient, atol=1e-8 * scale)
    second = differences(lambda t: inf.gradient(neti, t), theta)
    np.testing.assert_allclose(H, second, atol=1e-8 * scale)
    v = np.random.default_rng(2).standard_normal((len(theta), 2))
    np.testing.assert_allclose(inf.hvp(neti, theta, v), H @ v, atol=1e-12 * scale)


@pytest.mark.parametrize("activation", ["tanh", "relu", "erf"])
@pytest.mark.parametrize(
    "V", [directions(2), np.array([[1.0, 0.3, 0, 0, 0, 0], [0.5, 0, 1, 0, 0, 0]])]
)
def test_two_directions_are_those_of_a_function(activation, V):
    orthonormal = np.allclose(V @ V.T, np.eye(2))
    terms = {(2, 1): 1.0, (1, 0): 0.3, (0, 0): 0.5, (0, 3): -0.2}
    basis = "hermite" if orthonormal else "monomial"
    teacher = inf.PolynomialTeacher(terms, V, basis=basis)
    function = inf.FunctionTeacher(teacher.of_projections, V)
    net = student(activation)
    theta = weights(net)
    ours = inf.NetI(net, teacher)
    other = inf.NetI(net, function, rtol=1e-8)  # its estimates are overestimates
    assert inf.loss(ours, theta) == pytest.approx(inf.loss(other, theta), rel=1e-10)
    H = inf.hessian(other, theta)
    atol = 1e-9 * np.abs(H).max()  # the tolerance of the cubature, times ten
    np.testing.assert_allclose(inf.gradient(ours, theta), inf.gradient(other, theta), atol=atol)
    np.testing.assert_allclose(inf.hessian(ours, theta), H, atol=atol)


@pytest.mark.parametrize("activation", ["erf", "relu", "sigmoid", "cos"])
def test_products_of_cubes_are_a_network(activation):
    """24 z1 z2 z3 is the sum over signs of s2 s3 (z1 + s2 z2 + s3 z3)^3: a network of cubes."""
    V = directions(3)
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=2)))
    net = inf.Net([(4, "cube", False), (1, "identity", False)], input_dim=D)
    rows = V[0] + signs @ V[1:]
    cubes = inf.Teacher(net, net.pack([(rows, None), (signs.prod(axis=1)[None] / 24, None)]))
    teacher = inf.PolynomialTeacher({(1, 1, 1): 1.0}, V)
    X = np.random.default_rng(0).standard_normal((5, D))
    np.testing.assert_allclose(teacher.predict(X), cubes.predict(X), atol=1e-13)
    own = student(activation, 4)
    theta = weights(own)
    a, b = (inf.NetI(own, each, rtol=1e-12) for each in (teacher, cubes))
    np.testing.assert_allclose(inf.loss(a, theta), inf.loss(b, theta), rtol=1e-11)
    np.testing.assert_allclose(inf.hessian(a, theta), inf.hessian(b, theta), atol=1e-10)


def test_bases_agree():
    """He_2(z) = z^2 - 1, He_3(z) = z^3 - 3 z, over the roots of their factorials."""
    V = directions(2)
    hermite = inf.PolynomialTeacher({(2, 1): 1.0, (0, 3): 2.0}, V)
    a = 1 / math.sqrt(2)
    b = 2 / math.sqrt(6)
    plain = {(2, 1): a, (0, 1): -a - 3 * b, (0, 3): b}
    monomial = inf.PolynomialTeacher(plain, V, basis="monomial")
    X = np.random.default_rng(0).standard_normal((7, D))
    np.testing.assert_allclose(hermite.predict(X), monomial.predict(X), atol=1e-13)
    net = student("erf")
    theta = weights(net)
    for given in (None, COLOURED):
        one, two = (inf.NetI(net, each, input=given) for each in (hermite, monomial))
        np.testing.assert_allclose(inf.hessian(one, theta), inf.hessian(two, theta), atol=1e-12)
        assert inf.loss(one, theta) == pytest.approx(inf.loss(two, theta), rel=1e-13)


def test_more_directions_than_inputs():
    V = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    teacher = inf.PolynomialTeacher({(1, 1, 1): 1.0}, V, basis="monomial")
    net = inf.Net([(2, "erf", False), (1, "identity", False)], input_dim=2)
    neti = inf.NetI(net, teacher)
    theta = inf.random_params(net, rng=0)
    points = inf.quadrature_net(net, lambda x: x[:, 0] * x[:, 1] * x.sum(axis=1))
    assert inf.loss(neti, theta) == pytest.approx(inf.loss(points, theta), rel=1e-8)


def test_against_samples():
    net = student("relu")
    neti = inf.NetI(net, inf.PolynomialTeacher({(1, 2, 0): 1.0}, directions(3), noise=0.5))
    theta = weights(net)
    values = [inf.loss(neti.sample(2000, seed), theta) for seed in range(40)]
    error = np.std(values, ddof=1) / math.sqrt(40)
    assert abs(np.mean(values) - inf.loss(neti, theta)) < 4 * error


def test_training_learns_a_staircase():
    teacher = inf.PolynomialTeacher({(1, 0): 1.0, (1, 1): 1.0}, np.eye(2, D))
    net = student("square", 4)
    neti = inf.NetI(net, teacher)
    result = inf.train(neti, weights(net), progress=False)
    assert result.loss < 1e-13  # squares and biases represent it; what is left is rounding


def test_kinks_at_weights_of_zero():
    net = student("relu", 1, bias=False)
    neti = inf.NetI(net, inf.PolynomialTeacher({(1,): 1.0, (2,): 1.0}, directions(1)))
    theta = np.zeros(neti.num_params)
    theta[-1] = 1.0
    gradient = inf.gradient(neti, theta)
    # the slope is 1/2 there, and the linear term alone has one
    np.testing.assert_allclose(gradient[:D], -2 * 0.5 * directions(1)[0], atol=1e-15)
    with pytest.raises(SingularMomentError):
        inf.hessian(neti, theta)


def test_explain_names_the_lemma():
    net = student("erf")
    neti = inf.NetI(net, inf.PolynomialTeacher({(3,): 1.0}, directions(1)))
    assert "Stein" in neti.explain(weights(net))


@pytest.mark.parametrize(
    ("terms", "V", "options", "error", "message"),
    [
        ({}, np.eye(1, D), {}, InvalidValueError, "terms is empty"),
        ([1.0], np.eye(1, D), {}, InvalidTypeError, "dictionary"),
        ({(1,): 1.0}, np.eye(2, D), {}, ShapeError, "2 integers"),
        ({(-1,): 1.0}, np.eye(1, D), {}, InvalidTypeError, "integers >= 0"),
        ({(0.5,): 1.0}, np.eye(1, D), {}, InvalidTypeError, "integers >= 0"),
        ({(25,): 1.0}, np.eye(1, D), {}, TooLargeError, "degree 25"),
        ({(1,): np.nan}, np.eye(1, D), {}, InvalidValueError, "coefficient"),
        ({(1,): [1.0, 2.0], (2,): 1.0}, np.eye(1, D), {}, ShapeError, "outputs"),
        ({(1,): [[1.0]]}, np.eye(1, D), {}, ShapeError, "has shape"),
        ({(1,): 1.0, 1: 2.0}, np.eye(1, D), {}, InvalidValueError, "twice"),
        ({(1, 1): 1.0}, 1.01 * np.eye(2, D), {}, InvalidValueError, r"misses 1 by 0\.0201"),
        ({(1, 1): 1.0}, np.ones((2, D)) / D**0.5, {}, InvalidValueError, "misses 0 by 1"),
        ({(1,): 1.0}, np.zeros((0, D)), {}, ShapeError, "one row per direction"),
        ({(1,): 1.0}, np.eye(1, D), {"basis": "legendre"}, InvalidValueError, "basis"),
        ({(1,): 1.0}, np.eye(1, D), {"noise": -1.0}, InvalidValueError, "noise"),
    ],
)
def test_bad_arguments(terms, V, options, error, message):
    with pytest.raises(error, match=message):
        inf.PolynomialTeacher(terms, V, **options)


def test_other_functions_say_what_they_need():
    net = student("erf", bias=False)
    neti = inf.NetI(net, inf.PolynomialTeacher({(3,): 1.0}, directions(1)))
    with pytest.raises(MethodError, match="Teacher"):
        inf.certify(neti, weights(net))


# ------------------------------------------------------------------------------------- exponents


@pytest.mark.parametrize(
    ("f", "exponent"),
    [
        ("relu", 1),
        ("erf", 1),
        ("cos", 2),
        ("abs", 2),
        ("gaussian", 2),
        ("elu", 1),
        (inf.polynomial([5.0, -3.0, 0.0, 1.0]), 3),
        (inf.polynomial([3.0, 0.0, -6.0, 0.0, 1.0]), 4),
    ],
)
def test_information_exponents(f, exponent):
    assert inf.information_exponent(f) == exponent


@pytest.mark.parametrize(
    ("terms", "leap", "information"),
    [
        ({(1, 1, 1): 1.0}, 3, 3),
        ({(1, 0, 0): 1.0, (1, 1, 0): 1.0, (1, 1, 1): 1.0}, 1, 1),
        ({(1, 0, 0): 1.0, (1, 1, 1): 1.0}, 2, 1),
        ({(2, 0, 0): 1.0, (2, 1, 0): 1.0, (0, 0, 3): 1.0}, 3, 2),
        ({(0, 4, 0): 1.0, (1, 0, 0): 1e-12, (0, 0, 0): 7.0}, 4, 4),
    ],
)
def test_leap_exponents(terms, leap, information):
    teacher = inf.PolynomialTeacher(terms, directions(3))
    assert inf.leap_exponent(teacher) == leap
    assert inf.information_exponent(teacher) == information


def test_leap_is_the_best_of_all_orders():
    """The greedy way against all permutations."""
    rng = np.random.default_rng(4)
    for _ in range(40):
        rows = {tuple(row) for row in rng.integers(0, 3, (4, 4)).tolist() if any(row)}
        best = 99
        for order in itertools.permutations(rows):
            known = np.zeros(4, dtype=bool)
            largest = 0
            for row in map(np.array, order):
                largest = max(largest, int(row[~known].sum()))
                known |= row > 0
            best = min(best, largest)
        teacher = inf.PolynomialTeacher(dict.fromkeys(rows, 1.0), directions(4))
        assert inf.leap_exponent(teacher) == best


def test_exponents_of_constants_do_not_exist():
    constant = inf.PolynomialTeacher({(0, 0): 1.0, (1, 0): 0.0}, directions(2))
    for function in (inf.information_exponent, inf.leap_exponent):
        with pytest.raises(InvalidValueError, match="constant"):
            function(constant)
    with pytest.raises(InvalidValueError, match="constant"):
        inf.information_exponent(inf.polynomial([2.0]))
    with pytest.raises(InvalidTypeError, match="PolynomialTeacher"):
        inf.leap_exponent("relu")
    tilted = np.array([[1.0, 0, 0, 0, 0, 0], [1.0, 1.0, 0, 0, 0, 0]])
    with pytest.raises(InvalidValueError, match="not orthogonal"):
        inf.leap_exponent(inf.PolynomialTeacher({(1, 1): 1.0}, tilted, basis="monomial"))
