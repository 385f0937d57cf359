"""The Hermite evaluator: its values against independent quadrature, and its bounds against its true errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import infflow as inf
from infflow.activations import names, resolve
from infflow.integrals import hermite
from infflow.integrals.evaluators import Arguments, PairEvaluator
from infflow.networks import infinite_kernels

SMOOTH = [name for name in names() if hermite.is_defined(resolve(name)) and name != "exp"]


def moments(f, g, r, b, u, rtol=1e-10):
    """Moments (5, 5) of one pair, error bound, and sizes sqrt(E f^(p)^2), sqrt(E g^(q)^2)."""
    series = hermite.HermiteEvaluator([resolve(f), resolve(g)], rtol / 4)
    i, j, u = np.array([0]), np.array([1]), np.array([u])
    while True:
        expansion = series.expand(np.array(r), np.array(b), 5)
        values, bounds, _ = series.pairs(expansion, i, j, u, rtol / 4)
        if not series.can_widen(expansion, i, j, u, bounds, rtol):
            break
    sizes = np.sqrt(np.einsum("kpp->kp", expansion.products))
    return values[0], bounds[0], sizes


def reference(f, g, r, b, u, count=1500):
    """The same by a two-dimensional trapezoidal rule on independent normals x, z with y = u x + sqrt(1-u^2) z."""
    x = np.linspace(-10, 10, count)
    w = np.exp(-x * x / 2) / np.sqrt(2 * np.pi) * (x[1] - x[0])
    F = np.empty((5, count))
    resolve(f).jet(r[0] * x + b[0], F)
    y = u * x[:, None] + np.sqrt((1 - u) * (1 + u)) * x[None, :]
    G = np.empty((5, count, count))
    resolve(g).jet(np.ascontiguousarray(r[1] * y + b[1]), G)
    return np.einsum("pi,i,qij,j->pq", F, w, G, w, optimize=True)


@pytest.mark.parametrize("f", SMOOTH)
def test_against_two_dimensional_quadrature(f):
    """All orders of every smooth activation with itself, tanh and sin."""
    for g, r, b, u in (
        (f, (0.8, 1.5), (0.3, -1.0), 0.6),
        ("tanh", (1.0, 0.5), (0.0, 0.7), -0.8),
        ("sin", (0.3, 2.0), (-2.0, 0.1), 0.3),
    ):
        got, bound, sizes = moments(f, g, r, b, u)
        scale = sizes[0][:, None] * sizes[1][None, :]
        scale[scale == 0] = 1.0
        error = np.abs(got - reference(f, g, r, b, u)) / scale
        orders = np.add.outer(range(5), range(5)) <= 4
        assert bound < 1e-10
        assert error[orders].max() <= bound


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    f=st.sampled_from(SMOOTH),
    g=st.sampled_from(SMOOTH),
    r=st.tuples(st.floats(1e-3, 4.0), st.floats(1e-3, 4.0)),
    b=st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
    u=st.floats(-1, 1),
)
def test_bound_is_a_bound(f, g, r, b, u):
    """Wherever it converges or not, the stated bound is above the true error (of a reference with 1e-12)."""
    got, bound, sizes = moments(f, g, r, b, u)
    scale = sizes[0][:, None] * sizes[1][None, :]
    scale[scale == 0] = 1.0
    error = np.abs(got - reference(f, g, r, b, u, count=700)) / scale
    orders = np.add.outer(range(5), range(5)) <= 4
    assert error[orders].max() <= bound + 1e-12


def evaluator_of(activation, K, M, D, seed=0, **kwargs):
    """A pair evaluator and arguments as a network makes them."""
    rng = np.random.default_rng(seed)
    W, b = rng.standard_normal((K + M, D)) / np.sqrt(D), rng.standard_normal(K + M)
    i, j = np.triu_indices(K, m=K + M)
    args = np.empty((6, len(i)))
    norms = np.einsum("id,id->i", W, W)
    infinite_kernels.pair_arguments(W, b, W[:K] @ W.T, norms, args)
    return PairEvaluator([resolve(activation)] * (K + M), i, j, **kwargs), Arguments(args, norms, b)


@pytest.mark.parametrize("activation", ["erf", "gelu", "normal_cdf", "gaussian", "square", "cube"])
def test_agrees_with_closed_forms(activation):
    """The jets, frames included, of two evaluators that share nothing."""
    by_series, args = evaluator_of(activation, 4, 3, 6, method="hermite", rtol=1e-13)
    by_closed, _ = evaluator_of(activation, 4, 3, 6, method="closed")
    for order in range(3):
        got, expected = by_series(args, order), by_closed(args, order)
        np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-12 * np.abs(expected).max())


def test_search_is_kept_and_widened():
    """A second call repeats no search; a harder one widens it; unmoved neurons are not computed again."""
    evaluator, args = evaluator_of("tanh", 4, 3, 6, method="hermite")
    evaluator(args, 1)
    series = evaluator._hermite
    terms, levels = series.terms, series._levels.copy()
    first = series.expand(np.sqrt(args.C), args.b, 3)
    assert series.expand(np.sqrt(args.C), args.b, 3) is first
    evaluator(args, 1)
    assert series.terms == terms
    np.testing.assert_array_equal(series._levels, levels)
    harder, args = evaluator_of("tanh", 4, 3, 2, method="hermite")
    harder._hermite.terms = 8
    harder(args, 1)
    assert harder._hermite.terms > 8
    assert harder.report.bound.max() <= 1e-10


def test_functions_that_do_not_converge_say_so():
    with pytest.warns(inf.AccuracyWarning, match="tanh"):
        evaluator, args = evaluator_of("tanh", 2, 2, 1, seed=3, method="hermite")
        args = args._replace(
            pairs=args.pairs * np.array([400.0, 400.0, 400.0, 1, 1, 160000.0])[:, None], C=400 * args.C
        )
        evaluator(args, 1)
    assert evaluator.report.bound.max() > 1e-10


@pytest.mark.parametrize("f", ["tanh", "softplus", "sigmoid", "silu", "sin", "cos"])
def test_networks(f):
    """Gradient and Hessian of networks by series, against differences."""
    student = inf.Net([(3, f, True), (1, "identity", True)], input_dim=6)
    teacher = inf.Net([(2, "tanh", True), (1, "identity", True)], input_dim=6)
    net = inf.NetI(student, inf.Teacher(teacher, inf.random_params(teacher, 1)), method="hermite", rtol=1e-12)
    theta = inf.random_params(net, 2)
    value = net.evaluate(theta, 2)
    h = 1e-4  # central differences of fourth order would gain nothing: integrals are good to 1e-12, so 1e-8 is left
    eye = np.eye(len(theta)) * h
    gradient = np.array([net.evaluate(theta + e).value - net.evaluate(theta - e).value for e in eye]) / (2 * h)
    hessian = np.array([net.evaluate(theta + e, 1).gradient - net.evaluate(theta - e, 1).gradient for e in eye]) / (
        2 * h
    )
    np.testing.assert_allclose(value.gradient, gradient, atol=1e-6 * np.abs(gradient).max())
    np.testing.assert_allclose(value.hessian, hessian, atol=1e-6 * np.abs(hessian).max())


def test_a_remainder_that_does_not_fall():
    """cos at r = 12 and u = 1: the series is given up, with its bound."""
    with pytest.warns(inf.errors.AccuracyWarning, match="does not meet"):
        found = inf.gaussian_moment(
            "cos", "cos", 12.178, 0.00135, 1.0, -2.83, 0.9957, method="hermite", rtol=1e-12, full_output=True
        )
    assert found.error_bound > 1e-12
