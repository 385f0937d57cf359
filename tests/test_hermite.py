"""The Hermite evaluator: its values against independent quadrature, and its bounds against its true
errors.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import infflow as inf
from infflow.activations import names, resolve
from infflow.integrals.choice import Choice
from infflow.integrals.evaluator import Arguments
from infflow.integrals.hermite import kernels as hermite_kernels
from infflow.integrals.hermite import series as hermite
from infflow.networks.infinite import kernels as infinite_kernels

SMOOTH = [name for name in names() if hermite.is_defined(resolve(name)) and name != "exp"]


def moments(f, g, r, b, u, rtol=1e-10):
    """Moments (5, 5) of one pair, error bound, and sizes sqrt(E f^(p)^2), sqrt(E g^(q)^2)."""
    series = hermite.HermiteEvaluator([resolve(f), resolve(g)], rtol / 4)
    i = np.array([0])
    j = np.array([1])
    u = np.array([u])
    while True:
        expansion = series.expand(np.array(r), np.array(b), 5)
        values, bounds, _ = series.pairs(expansion, i, j, u, rtol / 4)
        if not series.can_widen(expansion, i, j, u, bounds, rtol):
            break
    sizes = np.sqrt(np.einsum("kpp->kp", expansion.products))
    return values[0], bounds[0], sizes


def reference(f, g, r, b, u, count=1500):
    """The same by a two-dimensional trapezoidal rule on independent normals x, z with y = u x +
    sqrt(1-u^2) z.
    """
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
    """Wherever it converges or not, the stated bound is above the true error (of a reference with
    1e-12).
    """
    got, bound, sizes = moments(f, g, r, b, u)
    scale = sizes[0][:, None] * sizes[1][None, :]
    scale[scale == 0] = 1.0
    error = np.abs(got - reference(f, g, r, b, u, count=700)) / scale
    orders = np.add.outer(range(5), range(5)) <= 4
    assert error[orders].max() <= bound + 1e-12


def evaluator_of(activation, K, M, D, seed=0, **kwargs):
    """A pair evaluator and arguments as a network makes them."""
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((K + M, D)) / np.sqrt(D)
    b = rng.standard_normal(K + M)
    i, j = np.triu_indices(K, m=K + M)
    args = np.empty((6, len(i)))
    norms = np.einsum("id,id->i", W, W)
    infinite_kernels.pair_arguments(W, b, W[:K] @ W.T, norms, args)
    return Choice([resolve(activation)] * (K + M), i, j, **kwargs), Arguments(args, norms, b)


@pytest.mark.parametrize("activation", ["erf", "gelu", "normal_cdf", "gaussian", "square", "cube"])
def test_agrees_with_closed_forms(activation):
    """The jets, frames included, of two evaluators that share nothing."""
    by_series, args = evaluator_of(activation, 4, 3, 6, method="hermite", rtol=1e-13)
    by_closed, _ = evaluator_of(activation, 4, 3, 6, method="closed")
    for order in range(3):
        got = by_series(args, order)
        expected = by_closed(args, order)
        np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-12 * np.abs(expected).max())


def test_search_is_kept_and_widened():
    """Without a choice: a second call repeats no search; a harder one widens it; unmoved neurons
    are not computed again.
    """
    evaluator, args = evaluator_of("tanh", 4, 3, 6, method="hermite")
    frozen = evaluator.frozen(args, 1e-13)
    frozen(args, 1)
    series = frozen.evaluators.by_name["hermite"].series
    r = np.sqrt(args.C)
    terms = series.terms
    levels = series.levels.copy()
    first = series.expand(r, args.b, 3).coefficients.copy()
    series._kept[terms, 3][1].coefficients[:] = 7.0
    assert (series.expand(r, args.b, 3).coefficients == 7.0).all()
    series.expand(2 * r, args.b, 3)
    np.testing.assert_allclose(
        series.expand(r, args.b, 3).coefficients, first, rtol=1e-13, atol=1e-14
    )
    assert series.terms == terms
    assert (series.levels > levels).any()
    i = np.array([0])
    j = np.array([1])
    u = np.array([0.7])
    series.terms = 8
    expansion = series.expand(r, args.b, 3)
    bounds = series.pairs(expansion, i, j, u, 0.0)[1]
    assert bounds.max() > 1e-10
    assert series.can_widen(expansion, i, j, u, bounds, 1e-10)
    assert series.terms > 8


def test_the_choice_depends_on_the_arguments_alone():
    """Terms, levels and jets after evaluations elsewhere, easy and hard, are those of a new
    evaluator, to the last bit.
    """
    rng = np.random.default_rng(0)
    used, args = evaluator_of("tanh", 4, 3, 6)
    students = np.arange(7) < 4

    def scaled(factor):
        size = np.where(students, factor, 1.0)
        i, j = used.i, used.j
        pairs = args.pairs * np.stack(
            [
                size[i] ** 2,
                size[i] * size[j],
                size[j] ** 2,
                size[i],
                size[j],
                (size[i] * size[j]) ** 2,
            ]
        )
        return Arguments(pairs, args.C * size**2, args.b * size)

    seen = set()
    for factor in (1.0, 0.2, 2.0, 0.03, 1.3, 0.2, 1.0, 0.5):
        order = int(rng.integers(3))
        fresh, _ = evaluator_of("tanh", 4, 3, 6)
        np.testing.assert_array_equal(used(scaled(factor), order), fresh(scaled(factor), order))
        own, other = (each.evaluators.by_name["hermite"].series for each in (used, fresh))
        assert own.terms == other.terms
        np.testing.assert_array_equal(own.levels, other.levels)
        seen.add((own.terms, own.levels.max()))
    assert len(seen) >= 4  # there were choices to make


def test_needed_terms_against_a_direct_search():
    rng = np.random.default_rng(3)
    tail = np.exp(-rng.uniform(0.001, 0.2, 6)[:, None] * np.arange(256))
    i, j = (x.copy() for x in np.triu_indices(6, 1))
    for _ in range(20):
        u = rng.uniform(-1, 1, len(i))
        wanted = rng.random(len(i)) < 0.7
        goal = 10.0 ** -rng.uniform(2, 14)
        remainder = (
            np.abs(u[:, None]) ** hermite.COUNTS * (tail[i] * tail[j])[:, hermite.COUNTS - 1]
        )
        reachable = wanted & (remainder[:, -1] <= 10.0 * goal)
        places = [
            int(np.argmax(row <= goal)) if row[-1] <= goal else len(row) - 1
            for row in remainder[reachable]
        ]
        found = hermite_kernels.needed_terms(tail, i, j, u, wanted, goal, 10.0, hermite.COUNTS)
        assert found == max(places, default=0)


@pytest.mark.parametrize("f", ["tanh", "square", "exp"])
def test_coefficients_moments_and_errors_in_plain_numpy(f):
    """What the kernel makes of the sums, and what a profile says of a neuron."""
    r = np.array([0.4, 1.7])
    b = np.array([0.3, -1.0])
    by = hermite.rule(3)
    values, first, second = hermite._sums(resolve(f), r, b, by, 40, 3)
    found = hermite._with_errors(by, values, first, second)
    weighted = values * by.weights
    moments = np.einsum("pkt,qkt->kpq", weighted, values)
    odd = np.einsum("pkt,qkt->kpq", weighted[..., by.even :], values[..., by.even :])
    sizes = np.sqrt(np.einsum("kpp->kp", moments))
    sizes[sizes == 0] = 1.0
    ends = np.abs(values[:, :, by.ends] * by.roots).max(axis=2).T
    errors = (np.linalg.norm(first - second, axis=2).T + ends) / sizes
    relative = np.abs(moments - 2 * odd) / (sizes[:, :, None] * sizes[:, None, :])
    np.testing.assert_allclose(
        found.coefficients, np.einsum("pkn->knp", first + second), rtol=1e-14
    )
    np.testing.assert_allclose(found.products, moments, rtol=1e-13, atol=1e-300)
    np.testing.assert_allclose(found.errors, errors.max(axis=1), rtol=1e-12)
    # differences of sums that agree to 1e-15 are rounding
    np.testing.assert_allclose(
        found.product_errors, relative.max(axis=(1, 2)), rtol=1e-9, atol=1e-15
    )
    by_term = np.empty(40)
    hermite_kernels.errors_by_term(
        values[:, :1], first[:, :1], second[:, :1], by.ends, by.roots, found.products[:1], by_term
    )
    np.testing.assert_allclose(by_term[-1], found.errors[0], rtol=1e-12)
    assert (np.diff(by_term) >= 0).all()


def test_values_that_overflow_are_errors():
    by = hermite.rule(0)
    expansion = hermite.expand(resolve("exp"), np.array([1.0, 90.0]), np.zeros(2), 5, 24, 5)
    assert np.isfinite(expansion.errors[0])
    assert expansion.errors[1] == expansion.product_errors[1] == np.inf
    assert by.nodes[by.ends].tolist() == [by.nodes.min(), by.nodes.max()]


def test_functions_that_do_not_converge_say_so():
    with pytest.warns(inf.AccuracyWarning, match="tanh"):
        evaluator, args = evaluator_of("tanh", 2, 2, 1, seed=3, method="hermite")
        args = args._replace(
            pairs=args.pairs * np.array([400.0, 400.0, 400.0, 1, 1, 160000.0])[:, None],
            C=400 * args.C,
        )
        found = evaluator.evaluate(args, 1)
    assert found.bound.max() > 1e-10


@pytest.mark.parametrize("f", ["tanh", "softplus", "sigmoid", "silu", "sin", "cos"])
def test_networks(f):
    """Gradient and Hessian of networks by series, against differences."""
    student = inf.Net([(3, f, True), (1, "identity", True)], input_dim=6)
    teacher = inf.Net([(2, "tanh", True), (1, "identity", True)], input_dim=6)
    net = inf.NetI(
        student, inf.Teacher(teacher, inf.random_params(teacher, 1)), method="hermite", rtol=1e-12
    )
    theta = inf.random_params(net, 2)
    value = net.evaluate(theta, 2)
    # central differences of fourth order would gain nothing: integrals are good to 1e-12, so 1e-8
    # is left
    h = 1e-4
    eye = np.eye(len(theta)) * h
    gradient = np.array(
        [net.evaluate(theta + e).value - net.evaluate(theta - e).value for e in eye]
    ) / (2 * h)
    hessian = np.array(
        [net.evaluate(theta + e, 1).gradient - net.evaluate(theta - e, 1).gradient for e in eye]
    ) / (2 * h)
    np.testing.assert_allclose(value.gradient, gradient, atol=1e-6 * np.abs(gradient).max())
    np.testing.assert_allclose(value.hessian, hessian, atol=1e-6 * np.abs(hessian).max())


def test_a_remainder_that_does_not_fall():
    """cos at r = 12 and u = 1: the series is given up, with its bound."""
    with pytest.warns(inf.errors.AccuracyWarning, match="does not meet"):
        found = inf.gaussian_moment(
            "cos",
            "cos",
            12.178,
            0.00135,
            1.0,
            -2.83,
            0.9957,
            method="hermite",
            rtol=1e-12,
            full_output=True,
        )
    assert found.error_bound > 1e-12
