"""The formula of surrogates, the Sobolev objective, exact targets, and a whole training with a
small budget.
"""

from dataclasses import replace

import numpy as np
import pytest

import infflow as inf
from infflow.activations import resolve
from infflow.errors import InfflowError, MethodError, StorageError
from infflow.integrals.choice import Choice
from infflow.integrals.evaluator import Arguments
from infflow.integrals.surrogate.form import PAIRS, SurrogateForm, perceptron, random_form
from infflow.surrogates.training import Recipe, train_surrogate
from infflow.surrogates.training.base import exact_series, fit_base, is_exact, parity_parts, unit
from infflow.surrogates.training.objective import SobolevObjective, split
from infflow.surrogates.training.points import (
    errors,
    exact_frames,
    exact_parts,
    row_weights,
    sample_points,
    to_frame,
)
from infflow.surrogates.training.problem import (
    PartProblem,
    arguments,
    closed_part,
    shapes,
    start_parameters,
    with_scaled_features,
)
from infflow.surrogates.training.recipe import held_out_errors, solve_output

SMALL = Recipe(points=400, held_out=200, steps=40, batch=40)


def covariances(n=40, seed=0):
    rng = np.random.default_rng(seed)
    r1, r2 = rng.uniform(0.1, 5.0, (2, n))
    u = rng.uniform(-0.95, 0.95, n)
    return np.array([r1 * r1, r1 * r2 * u, r2 * r2])


@pytest.fixture(scope="module")
def tanh():
    return train_surrogate("tanh", recipe=SMALL, progress=False)


# --- the formula


def test_derivatives_are_those_of_the_potential():
    form = random_form("f", np.random.default_rng(0))
    C = covariances()
    h = 1e-5
    jet = form.pair(*C)
    for k in range(3):
        d = np.zeros((3, 1))
        d[k] = h
        plus = form.pair(*(C + d))
        minus = form.pair(*(C - d))
        slopes = (plus - minus) / (2 * h)
        # differences of step 1e-5: 1e-10 of curvature, 1e-11 of rounding
        np.testing.assert_allclose(
            slopes[:, 0], jet[:, 1 + k], rtol=1e-6, atol=1e-8 * np.abs(jet).max()
        )
        for a in range(3):
            row = 4 + PAIRS.index((min(k, a) + 1, max(k, a) + 1))
            np.testing.assert_allclose(
                slopes[:, 1 + a], jet[:, row], rtol=1e-5, atol=1e-7 * np.abs(jet).max()
            )


def test_potential_is_symmetric_and_consistent_with_itself():
    form = random_form("f", np.random.default_rng(1))
    C = covariances()
    jet = form.pair(*C)
    swapped = form.pair(*C[::-1])
    scale = np.abs(jet).max()
    np.testing.assert_allclose(
        jet, swapped[:, [0, 3, 2, 1, 9, 8, 6, 7, 5, 4]], rtol=0, atol=1e-12 * scale
    )
    r1, r2 = np.sqrt(C[[0, 2]])
    u = np.clip(C[1] / (r1 * r2), -1, 1)
    np.testing.assert_allclose(form.potential(r1, r2, u), jet[:, 0], atol=1e-12 * scale)
    # on the diagonal: G(C, C, C) and its derivatives along the diagonal
    single = form.single(C[0])
    h = 1e-5
    np.testing.assert_allclose(single[:, 0], form.pair(C[0], C[0], C[0])[:, 0], atol=1e-12 * scale)
    plus = form.single(C[0] + h)
    minus = form.single(C[0] - h)
    slopes = (plus - minus) / (2 * h)
    np.testing.assert_allclose(
        slopes[:, :2], single[:, 1:], rtol=1e-5, atol=1e-6 * np.abs(single).max()
    )


@pytest.mark.parametrize("name", ["softplus", "g"])
def test_limits_hold_whatever_was_learnt(name):
    # at C12 = 0 the perceptron has no weight: value, slope and everything in C11 and C22 are exact
    f = resolve(name)
    rng = np.random.default_rng(3)
    parts = {}
    for parity in ("even", "odd"):
        closed, error = closed_part(f, parity)
        assert error < 1e-12
        if len(closed.moment):
            d = len(closed.scales) + 2
            network = [(rng.normal(size=shape), rng.normal(size=shape[0])) for shape in shapes(d)]
            closed = replace(closed, centre=np.zeros(d), spread=np.ones(d), network=network)
        parts[parity] = closed
    form = SurrogateForm.of_parts(name, parts, {})
    C1, C2 = rng.uniform(0.0, 20.0, (2, 30))
    C1[:3] = 0.0
    jet = form.pair(C1, np.zeros(30), C2)
    assert np.abs(form.pair(C1, 0.5 * np.sqrt(C1 * C2), C2)[5:, 0]).max() > 1.0
    r1, r2 = np.sqrt(C1), np.sqrt(C2)
    value = inf.gaussian_mean(f, r1) * inf.gaussian_mean(f, r2)
    slope = inf.gaussian_mean(f, r1, order=1) * inf.gaussian_mean(f, r2, order=1)
    heat = 0.5 * inf.gaussian_mean(f, r1, order=2) * inf.gaussian_mean(f, r2)
    np.testing.assert_allclose(jet[:, 0], value, rtol=1e-11)
    np.testing.assert_allclose(jet[:, 2], slope, rtol=1e-10)
    # a derivative of the Chebyshev series loses digits, most of them at r = 0
    np.testing.assert_allclose(jet[:, 1], heat, rtol=1e-8, atol=1e-10)


# --- the closed base


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softplus", "gelu", "g", "silu"])
def test_base_is_close_and_its_moments_are_exact(name):
    f = resolve(name)
    x = np.linspace(0.01, 12.0, 200)
    for parity in ("even", "odd"):
        part = fit_base(f, parity)
        wanted = parity_parts(f, x)[parity]
        value = part.polynomial * (x if part.parity else np.ones_like(x))
        for width, weight in zip(part.widths, part.weights, strict=True):
            value = value + weight * unit(part.parity, x, width)[0]
        assert np.abs(value - wanted[0]).max() < 2e-3
        if is_exact(f, part, parity):
            assert len(part.widths) == 0 and np.abs(value - wanted[0]).max() < 1e-12
        else:
            assert exact_series(f, part)[2] < 1e-12


def test_an_activation_that_is_a_base_needs_no_perceptron():
    form, info = train_surrogate("erf", recipe=SMALL, progress=False)
    assert info["parts"]["odd"]["exact"] and info["parts"]["odd"]["base_terms"] == 1
    assert info["held_out"]["hessian"]["maximum"] < 1e-11
    assert not any("W1" in key for key in form.arrays)


# --- points and errors


def test_points_cover_the_domain():
    points = sample_points(4000, np.random.default_rng(0))
    assert points.r1.min() < 1e-5 and points.r1.max() <= 10.0 and points.r1.max() > 9.0
    assert points.u.min() >= 0.0 and points.u.max() <= 1.0 and np.quantile(points.u, 0.9) > 0.99
    np.testing.assert_allclose(points.u**2 + points.s**2, 1.0, atol=1e-12)
    same = (points.r1 == points.r2) & (points.u == 1.0)
    assert same.sum() >= 100 and ((points.u == 1.0) & ~same).sum() >= 100
    again = sample_points(4000, np.random.default_rng(0))
    np.testing.assert_array_equal(points.r2, again.r2)


def test_parts_are_the_integrals_and_bounds_hold():
    points = sample_points(60, np.random.default_rng(4))
    parts, bounds = exact_parts(resolve("softplus"), points)
    scale = parts["even"][0] + parts["odd"][0]
    value = inf.gaussian_moment("softplus", "softplus", points.r1, points.r2, points.u)
    np.testing.assert_allclose(scale, value, rtol=1e-10)
    assert bounds.max() < 1e-10
    np.testing.assert_allclose(
        parts["odd"][0], points.r1 * points.r2 * points.u / 4, atol=1e-12 * scale.max()
    )


def test_integrals_without_a_closed_form_agree_with_those_that_have_one():
    # where Hermite series do not converge, the product rule takes over
    own = inf.Activation.from_sympy("own_silu", "x/(1 + exp(-x))")
    points = sample_points(100, np.random.default_rng(9))
    closed, closed_bounds = exact_frames(resolve("silu"), points, -1.0)
    found, bounds = exact_frames(own, points, -1.0)
    scale = errors(points, closed).max(axis=1)
    assert bounds.max() < 1e-10 and closed_bounds.max() < 1e-10
    assert (errors(points, found - closed).max(axis=1) < 1e-12 * scale).all()
    assert (points.u > 0.99).any() and points.r1.max() > 9.0


def test_errors_are_those_of_weights():
    f = resolve("erf")
    # an 'error' of the size of E[f f] itself: lengths of its gradient and Hessian in six inputs,
    # entry by entry
    points = sample_points(30, np.random.default_rng(5)).take(np.arange(12))
    C11, C12, C22, det = points.covariances()
    n = len(C11)
    zero = np.zeros(12)
    i = np.arange(n)
    evaluator = Choice([f] * (2 * n), i, i + n)
    jets = evaluator(
        Arguments(np.array([C11, C12, C22, zero, zero, det]), np.append(C11, C22), np.zeros(2 * n)),
        2,
    )
    parts, _ = exact_parts(f, points)
    frames = parts["even"] + parts["odd"]
    np.testing.assert_allclose(frames[[0, 2]], jets[:, [0, 2]].T, atol=1e-11)
    found = errors(points, frames)
    for k in range(n):
        w1 = np.zeros(6)
        w2 = np.zeros(6)
        w1[0] = points.r1[k]
        w2[:2] = (points.r2[k] * points.u[k], points.r2[k] * points.s[k])

        def moment(p, q, k=k):
            return float(
                inf.gaussian_moment(
                    f, f, points.r1[k], points.r2[k], points.u[k], orders=(p, q), method="closed"
                )
            )

        g1 = moment(2, 0) * w1 + moment(1, 1) * w2
        g2 = moment(0, 2) * w2 + moment(1, 1) * w1
        np.testing.assert_allclose(found[1, k], np.sqrt(g1 @ g1 + g2 @ g2), rtol=1e-8, atol=1e-12)
        one = np.eye(6)
        outer = np.outer
        I40, I31, I22, I13, I04 = (moment(4 - q, q) for q in range(5))
        cross = outer(w1, w2) + outer(w2, w1)
        H11 = moment(2, 0) * one + I40 * outer(w1, w1) + I31 * cross + I22 * outer(w2, w2)
        H22 = moment(0, 2) * one + I04 * outer(w2, w2) + I13 * cross + I22 * outer(w1, w1)
        H12 = moment(1, 1) * one + I31 * outer(w1, w1) + I22 * cross + I13 * outer(w2, w2)
        size = np.sqrt((H11**2).sum() + (H22**2).sum() + 2 * (H12**2).sum())
        np.testing.assert_allclose(found[2, k], size, rtol=1e-7)
    roots = row_weights(points, (2.0, 3.0, 0.5))
    weighted = np.linalg.norm(np.einsum("nab,bn->na", roots, frames), axis=1)
    np.testing.assert_allclose(
        weighted, np.sqrt(4 * found[0] ** 2 + 9 * found[1] ** 2 + 0.25 * found[2] ** 2), rtol=1e-12
    )


# --- the objective


def test_structured_gram_matrix_is_that_of_the_jacobian():
    rng = np.random.default_rng(0)
    n = 7
    d = 4
    w = 6
    layers = [(w, d), (w, w), (1, w)]
    objective = SobolevObjective(
        rng.normal(size=(10, n, d)), rng.normal(size=(n, 10, 10)), rng.normal(size=(n, 10)), layers
    )
    theta = 0.5 * rng.normal(size=sum(a * b + a for a, b in layers))
    samples = np.array([5, 0, 3, 6])
    h = 1e-6
    here = objective.linearise(theta, samples)
    J = np.stack([here.product(e) for e in np.eye(len(theta))], axis=1)
    slopes = [
        (objective.residuals(theta + h * e, samples) - objective.residuals(theta - h * e, samples))
        / (2 * h)
        for e in np.eye(len(theta))
    ]
    np.testing.assert_allclose(
        J, np.stack(slopes, axis=1), atol=1e-8 * np.abs(J).max()
    )  # differences
    np.testing.assert_allclose(here.gram(), J @ J.T, rtol=0, atol=1e-12 * np.abs(J @ J.T).max())
    weights = rng.normal(size=len(J))
    np.testing.assert_allclose(
        here.transposed_product(weights), weights @ J, rtol=0, atol=1e-12 * np.abs(J).max()
    )


def test_the_perceptron_is_a_net():
    layers = [(96, "tanh", True), (96, "tanh", True), (1, "identity", True)]
    net = inf.Net(layers, input_dim=5)
    rng = np.random.default_rng(1)
    theta = 0.3 * rng.normal(size=net.num_params)
    X = rng.normal(size=(20, 5))
    parts = split(theta, shapes(5))
    for (W, b), (V, c) in zip(parts, net.unpack(theta), strict=True):
        np.testing.assert_array_equal(W, V)
        np.testing.assert_array_equal(b, c)
    np.testing.assert_allclose(
        perceptron(parts, X[None])[0], net.predict(theta, X)[:, 0], rtol=0, atol=1e-12
    )
    np.testing.assert_array_equal(net.unpack(start_parameters(5, rng))[2][0], 0.0)


def test_rows_are_weighted_errors_of_the_formula_and_the_last_solve_is_optimal():
    f = resolve("tanh")
    points = sample_points(60, np.random.default_rng(6))
    frames = exact_parts(f, points)[0]["odd"]
    part = with_scaled_features(closed_part(f, "odd")[0], points)
    problem = PartProblem(part, points, frames)
    weights = (2.0, 1.0, 0.3)
    rng = np.random.default_rng(7)
    layers = shapes(len(part.scales) + 2)
    theta = 0.3 * rng.normal(size=sum(a * b + a for a, b in layers))
    objective = problem.objective(weights, 1.0)
    residuals = objective.residuals(theta, np.arange(60))
    form = replace(part, network=split(theta, layers))
    difference = np.einsum("nab,bn->an", to_frame(points), form.jet(arguments(points))) - frames
    value, gradient, hessian = errors(points, difference)
    importance = 1.0 / (1.0 + points.r1 * points.r2 / 6.0)
    squares = importance**2 * (4 * value**2 + gradient**2 + 0.09 * hessian**2)
    np.testing.assert_allclose(residuals @ residuals, squares.mean(), rtol=1e-9)
    W, b = solve_output(objective, split(theta, layers)[:2])
    best = np.concatenate([theta[: -len(b) - W.size], W.ravel(), b])
    lowest = np.sum(objective.residuals(best, np.arange(60)) ** 2)
    assert lowest < residuals @ residuals
    for k in (-1, -5, -50):
        for step in (1e-4, -1e-4):
            moved = best.copy()
            moved[k] += step
            assert np.sum(objective.residuals(moved, np.arange(60)) ** 2) > lowest


# --- a whole training


def test_a_few_steps_beat_the_base(tanh):
    form, info = tanh
    for what in ("value", "gradient", "hessian"):
        assert (
            info["held_out"][what]["median"] < info["held_out_without_perceptron"][what]["median"]
        )
        assert info["held_out"][what]["median"] < 1e-4
    assert info["parts"]["even"]["exact"] and info["parts"]["odd"]["steps"] == SMALL.steps
    assert info["largest_bound_of_targets"] < 1e-11
    assert form.settings["r"] == [1e-6, 10.0] and form.arrays["odd_W2"].shape == (96, 96)
    points = sample_points(50, np.random.default_rng(8))
    exact = exact_parts(resolve("tanh"), points)[0]
    found = held_out_errors(form, points, exact["even"] + exact["odd"])
    assert found["value"]["median"] < 1e-6


def test_seed_decides_and_interrupted_training_goes_on(tanh, tmp_path, monkeypatch):
    from infflow.surrogates.training import recipe as module

    file = tmp_path / "run.npz"
    taken = module._Training._record

    def interrupted(self, own, steps, before):
        taken(self, own, steps, before)
        if own["count"] == 3:
            self._save()
            raise KeyboardInterrupt

    monkeypatch.setattr(module._Training, "_record", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_surrogate("tanh", recipe=SMALL, checkpoint=file, progress=False)
    monkeypatch.undo()
    form, info = train_surrogate("tanh", recipe=SMALL, checkpoint=file, progress=False)
    for name, array in tanh[0].arrays.items():
        np.testing.assert_array_equal(form.arrays[name], array)
    assert info["parts"]["odd"]["steps"] == SMALL.steps
    with pytest.raises(StorageError, match="checkpoint of another run"):
        train_surrogate("tanh", seed=1, recipe=SMALL, checkpoint=file, progress=False)


def test_time_is_limited():
    recipe = replace(SMALL, steps=10**6)
    _, info = train_surrogate("tanh", recipe=recipe, max_time=0.5, progress=False)
    assert 0 < info["parts"]["odd"]["steps"] < recipe.steps


def test_an_activation_of_the_user():
    wide = inf.Activation.from_sympy(
        "wide", "(1 + x)*tanh(x/8)"
    )  # so wide that all its series converge
    form, info = train_surrogate(wide, recipe=SMALL, progress=False)
    assert (
        form.activation == "wide"
        and not info["parts"]["even"]["exact"]
        and not info["parts"]["odd"]["exact"]
    )
    assert info["held_out"]["value"]["median"] < 1e-3


def test_bad_input(tmp_path):
    for name in ("exp", "square", "cube"):
        with pytest.raises(MethodError, match="at most linearly"):
            train_surrogate(name)
    with pytest.raises(MethodError, match="kinks"):
        train_surrogate("relu")
    with pytest.raises(MethodError, match=r"has 1\. Give them to from_callable"):
        train_surrogate(
            inf.Activation.from_callable("mine", np.tanh, [lambda x: 1 / np.cosh(x) ** 2])
        )
    for changes in (
        {"seed": -1},
        {"max_time": 0.0},
        {"checkpoint": 3},
        {"checkpoint": tmp_path / "no" / "x.npz"},
    ):
        with pytest.raises(InfflowError, match=r"seed|max_time|checkpoint|folder"):
            train_surrogate("tanh", recipe=SMALL, **changes)
    for changes in ({"steps": 0}, {"momentum": 1.0}, {"damping": 0.0}, {"batch": 2.5}):
        with pytest.raises(InfflowError, match=next(iter(changes))):
            replace(SMALL, **changes)


def own_hard_tanh():
    def zero(x):
        return 0.0 * x

    return inf.Activation.from_callable(
        "own hard tanh",
        lambda x: np.clip(x, -1.0, 1.0),
        [lambda x: (np.abs(x) < 1.0) * 1.0, zero, zero, zero],
        kinks=[-1.0, 1.0],
    )


def test_kinks_without_corners_at_zero_can_be_learnt():
    """The exact integrals come from tables; the fit beats its base."""
    form, info = train_surrogate(own_hard_tanh(), recipe=SMALL, progress=False)
    assert form.activation == "own hard tanh"
    assert info["largest_bound_of_targets"] < 1e-6
    for what in ("value", "gradient"):
        fitted, base = (info[key][what] for key in ("held_out", "held_out_without_perceptron"))
        assert fitted["median"] < 0.5 * base["median"]


def test_exact_integrals_survive_an_interruption(tmp_path, monkeypatch, capsys):
    """They are kept block by block, and a line says how far they are."""
    from infflow.surrogates.training import recipe as module

    whole = train_surrogate("tanh", recipe=SMALL, progress=False)
    file = tmp_path / "checkpoint.npz"
    taken = []
    exact = module.exact_parts

    def counted(f, points):
        if len(taken) == 9:
            taken.append(0)
            raise KeyboardInterrupt
        taken.append(len(points.u))
        return exact(f, points)

    monkeypatch.setattr(module, "exact_parts", counted)
    with pytest.raises(KeyboardInterrupt):
        train_surrogate("tanh", recipe=SMALL, checkpoint=file)
    assert file.exists()
    before = sum(taken)
    taken.append(0)  # no second interruption
    form, _ = train_surrogate("tanh", recipe=SMALL, checkpoint=file)
    assert sum(taken) == SMALL.points + SMALL.held_out
    assert 0 < before < sum(taken)
    said = capsys.readouterr().err
    assert "tanh, exact integrals" in said
    assert "tanh, odd part" in said
    covariance = covariances()
    np.testing.assert_array_equal(form.pair(*covariance), whole[0].pair(*covariance))


def test_a_limit_of_time_holds_for_the_integrals():
    """Few points are better than none: what is there when half of the time is over is used."""
    recipe = replace(SMALL, points=40_000, held_out=4_000)
    _, info = train_surrogate("tanh", recipe=recipe, max_time=0.05, progress=False)
    used, tested = info["points_used"]
    assert 2_000 <= used < 40_000
    assert 200 <= tested < 4_000


def test_slow_tails_take_more_terms_and_a_perceptron_only_if_it_helps():
    """arctan's base of four terms errs by a thousandth; eight are better than a perceptron is."""
    few = Recipe(points=200, held_out=100, steps=5, batch=20)
    form, info = train_surrogate("arctan", recipe=few, progress=False)
    part = form.parts["odd"]
    assert len(part.widths) > 4
    left = info["parts"]["odd"]["left_by_perceptron"]
    assert bool(part.network) == (left <= 0.8)
    assert info["held_out"]["value"]["median"] < 1e-7
    assert info["held_out"]["gradient"]["median"] < 1e-6
    assert len(fit_base(resolve("tanh"), "odd").widths) == 4  # that of the shipped one
