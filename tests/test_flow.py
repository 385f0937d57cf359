"""Integrators: order, tolerance, stiffness, stop reasons, recording."""

import math
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from analytic_objectives import Function, Quadratic, TanhNetwork, Wrapped, raise_at, rosenbrock
from scipy.integrate import solve_ivp

from infflow.errors import DivergedError, InvalidValueError, SolverWarning, TooLargeError
from infflow.flow import (
    SOLVERS,
    FlowSettings,
    factorization,
    gear,
    gear_kernels,
    integrate,
    recording,
    switching,
)
from infflow.flow.factorization import factorize_shifted
from infflow.flow.methods import automatic_solver
from infflow.flow.norm_kernels import largest, weighted_rms_reference
from infflow.flow.phi_kernels import phi_functions, phi_functions_reference
from infflow.flow.step_kernels import solve_cholesky
from infflow.objective import Evaluation
from infflow.stopping import StopReason, StopRules

CVODE = [("cvode_bdf", {"linear_solver": kind}) for kind in ("dense", "gmres", "switch")]
ADAPTIVE = [(m.name, {}) for m in SOLVERS.values() if m.adaptive and m.family != "CVODE"] + CVODE
IMPLICIT = [pair for pair in ADAPTIVE if SOLVERS[pair[0]].implicit]
FIXED = [
    (m.name, {"step_size" if m.discrete else "step": 1e-3})
    for m in SOLVERS.values()
    if not m.adaptive
]
EVERY = ADAPTIVE + FIXED


def identify(value):
    return "-".join(map(str, value.values())) if isinstance(value, dict) else str(value)


def each(pairs):
    return pytest.mark.parametrize(("name", "options"), pairs, ids=identify)


def make_rules(**changes):
    values = {
        "max_time": 600.0,
        "max_steps": 10**6,
        "min_loss": 2e-32,
        "min_gradient_norm": 1e-15,
        "patience": 10**6,
    }
    return StopRules(**{**values, **changes})


def run(objective, theta0, name, options=None, *, rules=None, **settings):
    return integrate(
        objective,
        np.asarray(theta0, float),
        FlowSettings(SOLVERS[name], options or {}, **settings),
        rules or make_rules(),
    )


@pytest.fixture(scope="module")
def network():
    """A network, and a reference by another library that is accurate to 1e-11."""
    net = TanhNetwork()
    solution = solve_ivp(
        lambda t, x: -net.evaluate(x, 1).gradient,
        (0, 4),
        net.start,
        method="DOP853",
        rtol=1e-13,
        atol=1e-13,
        dense_output=True,
    )
    return net, solution.sol


def measured_order(steps, errors):
    """Slope of the log-log line through the points."""
    return np.polyfit(np.log(steps), np.log(errors), 1)[0]


#: those that take a fixed step
ORDERED = [m.name for m in SOLVERS.values() if m.order and ("step" in m.options or m.discrete)]
MULTISTEP = ("gear", "cvode_bdf", "lsoda", "bdf")


@pytest.mark.parametrize("name", ORDERED)
def test_order_of_convergence(name, network):
    net, reference = network
    method = SOLVERS[name]
    steps = 1.0 / np.array([16, 32, 64] if method.order > 1 else [64, 128, 256])
    key = "step_size" if method.discrete else "step"
    times = np.arange(0.25, 4.1, 0.25)  # multiples of all steps
    tight = {
        "rtol": 1e-13,
        "atol": 1e-13,
    }  # with a fixed step only the Newton iterations of ESDIRK methods use them
    ends = [run(net, net.start, name, {key: h}, t_end=4.0, t_eval=times, **tight) for h in steps]
    assert [end.statistics.steps for end in ends] == list((4 / steps).astype(int))
    errors = [np.abs(end.trajectory.theta - reference(times).T).max() for end in ends]
    # not much above either, which the order conditions exclude too; the error constant of tsit5 is
    # so small that its error still falls as h^5.7 where rounding takes over
    assert method.order - 0.2 < measured_order(steps, errors) < method.order + 0.8


@pytest.mark.parametrize(
    "name", [m.name for m in SOLVERS.values() if m.order and m.name not in ORDERED]
)
def test_order_of_methods_that_choose_their_steps(name, network):
    net, reference = network
    times = np.arange(0.25, 4.1, 0.25)
    ends = [
        run(net, net.start, name, t_end=4.0, t_eval=times, rtol=tol, atol=tol)
        for tol in (1e-5, 1e-6, 1e-7, 1e-8)
    ]
    steps = np.array([end.statistics.steps for end in ends])
    errors = [np.abs(end.trajectory.theta - reference(times).T).max() for end in ends]
    # against the mean step; methods of variable order come out above, as their order grows with the
    # accuracy
    assert measured_order(1 / steps, errors) > SOLVERS[name].order - 1


def test_the_documentation_lists_every_method_with_its_order():
    page = (Path(__file__).parents[1] / "docs" / "solvers.md").read_text()
    rows = {
        cells[1].split(",")[0].strip(" `"): cells
        for cells in (line.split("|") for line in page.splitlines())
        if len(cells) > 6
    }
    for method in SOLVERS.values():
        claimed = rows[method.name][4].strip()
        assert claimed.startswith(str(method.order) if method.order else "-"), method.name


@pytest.mark.parametrize("name", ORDERED)
def test_order_of_dense_output(name, network):
    net, reference = network
    method = SOLVERS[name]
    steps = 1.0 / np.array([4, 8, 16] if method.order > 3 else [32, 64, 128])
    key = "step_size" if method.discrete else "step"
    times = np.arange(0.03, 4.0, 0.11)
    errors = []
    for h in steps:
        track = run(
            net, net.start, name, {key: h}, t_end=4.0, t_eval=times, rtol=1e-13, atol=1e-13
        ).trajectory
        np.testing.assert_array_equal(track.t, times)
        errors.append(np.abs(track.theta - reference(times).T).max())
    assert measured_order(steps, errors) > min(method.order, method.dense_order + 1) - 0.35


@each(ADAPTIVE)
def test_error_follows_the_tolerance(name, options, network):
    net, reference = network
    errors = []
    for tolerance in (1e-4, 1e-6, 1e-8):
        end = run(net, net.start, name, options, t_end=4.0, rtol=tolerance, atol=tolerance)
        errors.append(np.abs(end.theta - reference(4.0)).max())
        # multistep methods control the local error: global errors are some 10 times larger;
        # the many steps of a method of order 2 add up to errors of tolerance^(2/3)
        bound = (
            tolerance ** (2 / 3)
            if name == "trbdf2"
            else (60 if name in MULTISTEP else 8) * tolerance
        )
        assert errors[-1] < bound
        track = end.trajectory
        assert np.abs(track.theta - reference(track.t).T).max() < max(100 * tolerance, bound)
    assert errors[2] < 1e-2 * errors[0]


@each(IMPLICIT)
def test_stiff_quadratic_takes_few_steps(name, options):
    q = Quadratic(np.geomspace(1e-6, 1e6, 33))
    start = np.random.default_rng(1).normal(size=33)
    end = run(q, start, name, options, t_end=1e4)
    # an explicit method would need more than 1e4 * 1e6 / 4 steps
    low_order = name in ("rodas3", "trbdf2", "radau", *MULTISTEP)
    assert end.statistics.steps < (700 if low_order else 120)
    assert np.abs(end.theta - q.flow(start, 1e4)).max() < 2e-5
    assert np.abs(end.trajectory.theta[50] - q.flow(start, end.trajectory.t[50])).max() < 1e-4


def test_kencarp58_reuses_factorisations_and_counts():
    q = Quadratic([1e-3, 1.0, 1e3])
    end = run(q, [1.0, 1.0, 1.0], "kencarp58", t_end=1e4, rtol=1e-8, atol=1e-8)
    s = end.statistics
    assert s.hessians < s.factorizations < s.steps + s.rejected
    net = TanhNetwork()
    s = run(net, net.start, "kencarp58", t_end=50.0).statistics
    assert s.hessians <= s.factorizations <= s.steps + s.rejected


@pytest.mark.parametrize("order", range(1, 6))
def test_gear_formulas(order):
    """Against the backward differentiation formula sum_m nabla^m y / m = h f, from its
    definition.
    """
    formula = gear._FORMULAS[order]
    powers = np.arange(order + 1)
    for i in range(1, order + 1):  # a new point changes the polynomial, but not at the old points
        assert abs(np.float_power(-i, powers) @ formula.shape) < 1e-13
    assert formula.shape[0] == 1.0 and formula.lead == formula.shape[1]
    np.testing.assert_allclose(formula.lead, sum(1 / m for m in range(1, order + 1)), rtol=1e-15)
    # y = (t/h)^(order+1): what the formula misses is h^(order+1) y^(order+1)/(order+1), the
    # prediction all of it
    points = np.float_power(-np.arange(order + 2), order + 1)
    nabla = [
        sum((-1) ** i * math.comb(m, i) * points[i] for i in range(m + 1)) for m in range(order + 2)
    ]
    missing = sum(nabla[m] / m for m in range(1, order + 1))  # the derivative at 0 is 0
    np.testing.assert_allclose(-missing / nabla[order + 1], formula.error, rtol=1e-13)


def test_gear_moves_and_rescales_a_polynomial():
    rng = np.random.default_rng(0)
    history = rng.normal(size=(6, 3))
    shape = rng.normal(size=6)
    error = rng.normal(size=3)
    for order in range(1, 6):
        ahead = np.zeros_like(history)
        corrected = np.zeros_like(history)
        gear_kernels.predict(history, order, ahead)
        twin = [
            sum(math.comb(i, j) * history[i] for i in range(j, order + 1)) for j in range(order + 1)
        ]
        np.testing.assert_allclose(ahead[: order + 1], twin, rtol=1e-13, atol=1e-13)
        gear_kernels.correct(ahead, order, shape, error, corrected)
        twin = ahead[: order + 1] + np.outer(shape, error)[: order + 1]
        np.testing.assert_allclose(corrected[: order + 1], twin, rtol=1e-15)
        gear_kernels.rescale(corrected, order, 0.7)
        np.testing.assert_allclose(
            corrected[: order + 1], 0.7 ** np.arange(order + 1)[:, None] * twin, rtol=1e-14
        )


def test_gear_kernels_agree_with_their_twins():
    rng = np.random.default_rng(0)
    ahead, point, gradient, change = rng.normal(size=(6, 4)), *rng.normal(size=(3, 4))
    atol = np.full(4, 1e-3)
    rtol = 1e-2
    shift = 3.0
    h = 0.2
    twin = shift * (ahead[0] - point) - ahead[1] / h - gradient
    np.testing.assert_allclose(
        gear_kernels.newton_residual(ahead, point, gradient, shift, h), twin, rtol=1e-14
    )
    new, size = gear_kernels.moved(point, change, 0.8, atol, rtol)
    np.testing.assert_allclose(new, point + 0.8 * change, rtol=1e-15)
    np.testing.assert_allclose(
        size, weighted_rms_reference(0.8 * change, new, new, atol, rtol), rtol=1e-14
    )
    found, size = gear_kernels.difference(point, ahead, atol, rtol)
    np.testing.assert_allclose(found, point - ahead[0], rtol=1e-15)
    np.testing.assert_allclose(
        size, weighted_rms_reference(found, point, ahead[0], atol, rtol), rtol=1e-14
    )


@pytest.mark.parametrize(
    "x", [[], [0.5, -2.0, 1.0], [1.0, math.nan, 3.0], [math.nan, 1.0], [1.0, -math.inf]]
)
def test_largest_is_that_of_numpy(x):
    assert np.array_equal(largest(np.array(x)), np.abs(x).max(initial=0.0), equal_nan=True)


@pytest.mark.parametrize("order", range(1, 6))
def test_gear_has_the_order_that_it_is_limited_to(order, network):
    net, reference = network
    times = np.arange(0.25, 4.1, 0.25)
    given = {"options": {"max_order": order}, "t_end": 4.0, "t_eval": times}
    tolerances = (1e-4, 1e-5, 1e-6, 1e-7)
    ends = [
        run(net, net.start, "gear", rtol=tolerance, atol=tolerance, **given)
        for tolerance in tolerances
    ]
    errors = [np.abs(end.trajectory.theta - reference(times).T).max() for end in ends]
    # against the mean step; higher ones come out above, as the orders on the way to the highest
    # grow with the accuracy
    measured = measured_order([1 / end.statistics.steps for end in ends], errors)
    assert order - 0.5 < measured < (order + 1.5 if order < 4 else math.inf)


def test_gear_leaves_a_saddle():
    """Next to it the growing modes are below all tolerances, and steps that are too long would damp
    them.
    """
    net = TanhNetwork()
    for scale in (1e-5, 1e-7, 1e-9):
        start = scale * np.random.default_rng(0).normal(size=net.num_params)
        ends = [run(net, start, name, t_end=200.0) for name in ("gear", "rodas5p")]
        assert ends[1].loss < 0.5 * net.evaluate(start).value
        np.testing.assert_allclose(ends[0].loss, ends[1].loss, rtol=1e-2)


def test_gear_raises_its_order_at_the_longest_step(network):
    net, reference = network
    options = {"first_step": 1e-3, "max_step": 1e-3}
    end = run(net, net.start, "gear", options, t_end=4.0, rtol=1e-8, atol=1e-8)
    assert end.statistics.steps > 3900
    np.testing.assert_allclose(end.theta, reference(4.0), atol=1e-8, rtol=0)


@pytest.mark.parametrize("error", [None, MemoryError("no room"), TooLargeError("too large")])
def test_gear_without_a_hessian_is_replaced(error, network):
    net, _ = network

    class NoHessian(Wrapped):
        def evaluate(self, theta, order=0):
            if order == 2 and error is not None:
                raise error
            return net.evaluate(theta, order)._replace(hessian=None)

    with pytest.warns(SolverWarning, match="gear failed at the start"):
        end = run(NoHessian(net, lambda *_: None), net.start, "gear", t_end=4.0)
    assert end.statistics.method == "tsit5" and end.statistics.stop_reason is StopReason.T_END


def test_gear_reuses_hessians_and_factorisations_and_counts():
    net = TanhNetwork()
    s = run(net, net.start, "gear", t_end=1e3, rtol=1e-8, atol=1e-8).statistics
    assert s.hessians <= s.factorizations < s.steps / 4
    assert s.steps < s.gradients < 1.3 * s.steps


def test_exprb_is_exact_on_a_quadratic_and_inside_its_steps():
    q = Quadratic([-0.5, 0.0, 1e-8, 1.0, 1e6])
    start = np.array([0.3, -0.2, 0.5, 1.0, -0.4])
    times = np.array([1e-7, 1e-3, 0.4, 2.9])
    end = run(q, start, "exprb", {"first_step": 3.0}, t_end=3.0, t_eval=times)
    assert end.statistics.steps == 1 and end.statistics.factorizations == 1
    exact = np.array([q.flow(start, t) for t in times])
    # eigenvalues carry rounding errors of 1e6 eps, which act over t = 3
    np.testing.assert_allclose(end.trajectory.theta, exact, atol=1e-9)


@pytest.mark.parametrize("largest", [1, 4, 6])
def test_phi_functions_agree_with_their_twin(largest):
    z = np.r_[
        -np.geomspace(1e-12, 30, 60), 0.0, np.geomspace(1e-12, 30, 60), -1.999999, -2.000001, 2.0
    ]
    expected = phi_functions_reference(z, largest)
    # the twin has rounding errors of exp(30) and of the Gauss rule
    np.testing.assert_allclose(phi_functions(z, largest), expected, rtol=2e-13)
    far = phi_functions(np.array([-1e3, -1e8, -1e300]), largest)  # phi_k(z) tends to -1/(z (k-1)!)
    leading = [
        [1 / (x * math.factorial(k - 1)) for x in (1e3, 1e8, 1e300)] for k in range(1, largest + 1)
    ]
    np.testing.assert_allclose(far, leading, rtol=6e-3)


def test_rodas5p_reuses_the_hessian_and_counts():
    end = run(rosenbrock(), [-1.2, 1.0], "rodas5p", t_end=10.0)
    s = end.statistics
    assert s.rejected > 0
    assert s.hessians == s.steps  # one per accepted step; the one at the end is not needed
    assert s.factorizations == s.steps + s.rejected
    # start twice (with and without Hessian), 7 stages per attempt, 1 per accepted step
    assert s.gradients == 2 + 7 * s.factorizations + s.steps


@pytest.mark.parametrize("shift", [100.0, 1.0])
def test_factorisation_of_definite_and_indefinite_matrices(shift):
    rng = np.random.default_rng(0)
    H = rng.normal(size=(20, 20))
    H = H + H.T
    assert (np.linalg.eigvalsh(H)[0] + shift > 0) == (shift == 100.0)
    b = rng.normal(size=20)
    kept = H.copy(), b.copy()
    factors = factorize_shifted(H, shift)
    x = factors.solve(b)
    np.testing.assert_allclose(H @ x + shift * x, b, rtol=0, atol=1e-12)
    assert (factors.upper is not None) == factors.definite == (shift == 100.0)
    if factors.upper is not None:
        jitted = b.copy()
        solve_cholesky(factors.upper, jitted)
        np.testing.assert_allclose(jitted, x, rtol=1e-13)
    assert (kept[0] == H).all() and (b == kept[1]).all()
    assert factorize_shifted(np.diag([-1.0, 2.0]), 1.0) is None


@pytest.mark.parametrize("name", ["rodas5p", "rodas3", "kencarp58", "trbdf2"])
def test_jitted_stages_of_small_problems_agree_with_the_general_ones(name, network, monkeypatch):
    net, _ = network
    settings = {"t_end": 4.0, "t_eval": np.linspace(0.5, 4.0, 8), "rtol": 1e-8, "atol": 1e-8}
    jitted = run(net, net.start, name, {"step": 0.25}, **settings)
    monkeypatch.setattr(factorization, "_SMALL", 0)
    general = run(net, net.start, name, {"step": 0.25}, **settings)
    assert jitted.statistics.gradients == general.statistics.gradients
    np.testing.assert_allclose(
        jitted.trajectory.theta, general.trajectory.theta, rtol=0, atol=1e-12
    )


@each(ADAPTIVE)
def test_vector_eta_is_a_time_scale_per_parameter(name, options):
    lam = np.array([3.0, 1.0, 0.5])
    eta = np.array([0.1, 4.0, 2.0])
    start = np.array([1.0, -2.0, 0.7])
    q = Function(3, lambda x: (lam * x * x).sum() / 2, lambda x: lam * x, lambda x: np.diag(lam))
    end = run(q, start, name, options, t_end=2.0, rtol=1e-9, atol=1e-9, eta=eta)
    np.testing.assert_allclose(end.theta, start * np.exp(-eta * lam * 2), atol=1e-6)
    scaled = run(q, start, name, options, t_end=0.5, rtol=1e-9, atol=1e-9, eta=4.0)
    np.testing.assert_allclose(scaled.theta, start * np.exp(-lam * 2), atol=1e-6)


@each(EVERY)
def test_frozen_parameters_stay(name, options):
    eta = np.array([0.0, 1.0, 2.0, 1.0, 0.0])
    q = Quadratic([1.0, 2.0, 3.0, 4.0, 5.0])
    start = np.array([0.3, -0.7, 1.1, 0.5, -0.2])
    end = run(q, start, name, options, t_end=1.0, eta=eta, rtol=1e-8, atol=1e-8)
    assert (end.theta[[0, 4]] == start[[0, 4]]).all() and (
        end.trajectory.theta[:, [0, 4]] == start[[0, 4]]
    ).all()
    if name != "adam":
        jacobian = -eta[:, None] * q.matrix
        exact = solve_ivp(lambda t, x: jacobian @ x, (0, 1), start, rtol=1e-11, atol=1e-11).y[:, -1]
        tolerance = 1e-2 if name == "gd" else 1e-6
        np.testing.assert_allclose(end.theta, exact, atol=tolerance)
    norm = np.abs(q.evaluate(end.theta, 1).gradient[1:4]).max()
    np.testing.assert_allclose(end.gradient_norm, norm, rtol=1e-12)


def test_gradient_descent_and_adam_step_as_published():
    q = Quadratic([1.0, 5.0])
    start = np.array([1.0, -0.4])
    h = 0.01
    x = start.copy()
    m = 0.0
    v = 0.0
    y = start.copy()
    for k in range(1, 31):
        g = q.matrix @ y
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        y = y - h * (m / (1 - 0.9**k)) / (np.sqrt(v / (1 - 0.999**k)) + 1e-8)
        x = x - h * q.matrix @ x
    np.testing.assert_allclose(
        run(q, start, "gd", {"step_size": h}, t_end=0.3).theta, x, rtol=1e-13
    )
    np.testing.assert_allclose(
        run(q, start, "adam", {"step_size": h}, t_end=0.3).theta, y, rtol=1e-12
    )


class LeastSquares(Quadratic):
    """|X theta - y|^2/N, with batches."""

    def __init__(self, X, y):
        self.X, self.y, self.num_samples, self.num_params = X, y, len(y), X.shape[1]
        self.matrix = 2 / len(y) * X.T @ X

    def evaluate(self, theta, order=0):
        residual = self.X @ theta - self.y
        return Evaluation(
            float(residual @ residual) / len(self.y),
            2 / len(self.y) * self.X.T @ residual,
            self.matrix,
        )

    def residuals(self, theta):
        return (self.X @ theta - self.y) / np.sqrt(len(self.y))

    def jacobian(self, theta):
        return self.X / np.sqrt(len(self.y))

    def subset(self, indices):
        return LeastSquares(self.X[indices], self.y[indices])


@pytest.mark.parametrize("name", ["gd", "adam"])
def test_minibatches(name):
    rng = np.random.default_rng(0)
    problem = LeastSquares(rng.normal(size=(10, 3)), rng.normal(size=10))
    taken = []
    subset = problem.subset
    problem.subset = lambda indices: taken.append(indices) or subset(indices)
    h = 0.01
    start = np.array([1.0, -1.0, 0.5])
    options = {"step_size": h, "batch_size": 4, "num_samples": 10, "seed": 3}
    end = run(problem, start, name, options, rules=make_rules(max_steps=9))
    assert [len(batch) for batch in taken] == [4, 4, 2] * 3
    for epoch in range(3):  # every sample once in every epoch, in another order
        assert sorted(np.concatenate(taken[3 * epoch : 3 * epoch + 3])) == list(range(10))
    assert (taken[0] != taken[3]).any()
    assert end.statistics.gradients == 1 + 9 + 3  # start, batches, once per epoch on all data
    if name == "gd":
        x = start.copy()
        for batch in taken:
            x = x - h * subset(batch).evaluate(x).gradient
        np.testing.assert_allclose(end.theta, x, rtol=1e-13)
    assert end.loss == problem.evaluate(end.theta).value  # on all data
    again = run(problem, start, name, options, rules=make_rules(max_steps=9))
    other = run(problem, start, name, {**options, "seed": 4}, rules=make_rules(max_steps=9))
    assert (again.theta == end.theta).all() and (other.theta != end.theta).any()
    # one batch of everything is the method without batches, up to the order of the sums
    whole = run(problem, start, name, {**options, "batch_size": 10}, t_end=0.5)
    plain = run(problem, start, name, {"step_size": h}, t_end=0.5)
    np.testing.assert_allclose(whole.theta, plain.theta, rtol=1e-12)


def test_minibatches_in_rescaled_variables_with_frozen_parameters():
    rng = np.random.default_rng(0)
    problem = LeastSquares(rng.normal(size=(6, 3)), rng.normal(size=6))
    options = {"step_size": 0.01, "batch_size": 6, "num_samples": 6}
    eta = np.array([0.0, 2.0, 0.5])
    end = run(problem, [1.0, -1.0, 0.5], "gd", options, t_end=0.3, eta=eta)
    plain = run(problem, [1.0, -1.0, 0.5], "gd", {"step_size": 0.01}, t_end=0.3, eta=eta)
    np.testing.assert_allclose(end.theta, plain.theta, rtol=1e-12)
    assert end.theta[0] == 1.0


def test_default_trajectory_is_logarithmic_and_complete(network):
    net, _ = network
    end = run(net, net.start, "rodas5p", t_end=100.0, num_trajectory=50)
    t = end.trajectory.t
    assert len(t) == 50 and t[0] == 0.0 and t[-1] == 100.0
    np.testing.assert_allclose(np.diff(np.log(t[1:])), math.log(1e6) / 48, rtol=1e-9)
    assert (end.trajectory.theta[0] == net.start).all() and (
        end.trajectory.theta[-1] == end.theta
    ).all()
    losses = [net.evaluate(x, 0).value for x in end.trajectory.theta]
    np.testing.assert_array_equal(end.trajectory.loss, losses)
    assert (np.diff(losses) < 0).all()


@pytest.mark.parametrize("num", [2, 3, 10, 100])
def test_trajectory_of_a_flow_that_ends_by_itself(network, num):
    net, reference = network
    for t_end in (math.inf, 1e9):
        end = run(
            net,
            net.start,
            "rodas5p",
            t_end=t_end,
            num_trajectory=num,
            rules=make_rules(max_steps=40),
        )
        t = end.trajectory.t
        assert end.t < 1e9 and len(t) == num and t[0] == 0.0 and t[-1] == end.t
        assert (np.diff(t) > 0).all()
        if num == 100:
            gaps = np.diff(np.log(t[1:]))
            assert gaps.max() < 3 * np.median(
                gaps
            )  # thinning keeps every point or every second one
            early = t < 4
            assert np.abs(end.trajectory.theta[early] - reference(t[early]).T).max() < 1e-4


@pytest.mark.parametrize("t_end", [math.inf, 1e6, 5.0])
def test_large_trajectories_keep_no_more_on_the_way_than_in_the_end(t_end, monkeypatch):
    monkeypatch.setattr(recording, "LARGE", 8 * 60 * TanhNetwork().num_params)
    most = 0

    def look(recorder, step, record=recording.Recorder.record):
        nonlocal most
        record(recorder, step)
        kept = [r for r in (recorder._grid, recorder._online) if r is not None]
        most = max(most, sum(len(r.state()["points"]) for r in kept))

    monkeypatch.setattr(recording.Recorder, "record", look)
    net = TanhNetwork()
    rules = make_rules(max_steps=60)
    end = run(net, net.start, "rodas5p", t_end=t_end, num_trajectory=100, rules=rules)
    t = end.trajectory.t
    assert most <= 100 and t[0] == 0.0 and t[-1] == end.t and (np.diff(t) > 0).all()
    assert 50 <= len(t) <= 100
    small = run(
        net, net.start, "rodas5p", t_end=t_end, num_trajectory=40, rules=rules
    )  # below the bound
    assert len(small.trajectory) == 40


def test_losses_along_the_trajectory_are_evaluated_when_they_are_asked_for(network):
    net, _ = network
    counted = Wrapped(net, lambda count, theta: None)
    end = run(counted, net.start, "tsit5", t_end=2.0, num_trajectory=9)
    before = counted.count
    assert before == end.statistics.gradients and "9 points" in repr(end.trajectory)
    copied = pickle.loads(pickle.dumps(end.trajectory))  # a copy holds numbers, no objective
    assert counted.count == before + 9
    for track in (end.trajectory, copied):
        for theta, loss, norm in zip(track.theta, track.loss, track.gradient_norm, strict=True):
            value, gradient, _ = net.evaluate(theta, 1)
            assert loss == value and norm == np.abs(gradient).max()
    assert counted.count == before + 9


@each(EVERY)
def test_t_eval_costs_no_steps_and_is_exact(name, options, network):
    net, _ = network
    times = np.array([0.0, 0.2, 0.21, 1.0, 2.0])
    plain = run(net, net.start, name, options, t_end=2.0)
    with_times = run(net, net.start, name, options, t_end=2.0, t_eval=times)
    np.testing.assert_array_equal(with_times.trajectory.t, times)
    assert with_times.statistics.steps == plain.statistics.steps
    assert with_times.statistics.gradients == plain.statistics.gradients
    np.testing.assert_array_equal(with_times.trajectory.theta[-1], plain.theta)


def test_t_eval_beyond_the_end_of_the_flow(network):
    net, _ = network
    times = np.array([0.1, 1e3, 1e12])
    end = run(net, net.start, "rodas5p", t_eval=times, rules=make_rules(max_steps=30))
    np.testing.assert_array_equal(end.trajectory.t, times)
    np.testing.assert_array_equal(np.isnan(end.trajectory.theta).all(axis=1), times > end.t)
    np.testing.assert_array_equal(np.isnan(end.trajectory.loss), times > end.t)


# --- why a flow ends


@each(EVERY)
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"min_loss": 0.05}, StopReason.MIN_LOSS),
        ({"min_gradient_norm": 0.02}, StopReason.MIN_GRADIENT_NORM),
        ({"max_steps": 5}, StopReason.MAX_STEPS),
        ({"max_time": 0.0}, StopReason.MAX_TIME),
        ({"callback": lambda now: now.step == 3}, StopReason.CALLBACK),
    ],
    ids=lambda value: value.name if isinstance(value, StopReason) else "",
)
def test_stop_rules(name, options, network, changes, reason):
    net, _ = network
    options = {**options, **({"step_size": 0.05} if "step_size" in options else {})}
    end = run(net, net.start, name, options, rules=make_rules(**changes))
    assert end.statistics.stop_reason is reason
    value, gradient, _ = net.evaluate(end.theta, 1)
    assert end.loss == value and end.gradient_norm == np.abs(gradient).max()
    assert end.loss <= changes.get("min_loss", math.inf)
    assert end.gradient_norm <= changes.get("min_gradient_norm", math.inf)
    assert end.statistics.steps <= changes.get("max_steps", 10**6)
    assert end.best_loss == net.evaluate(end.best_theta, 0).value <= end.loss


NEARBY = [(n, o) for n, o in ADAPTIVE if SOLVERS[n].family in ("Gear", "CVODE", "SciPy")]


@pytest.fixture(scope="module")
def all_losses(network):
    """Accepted points of a run at loose tolerances and the losses there, for methods that do not
    evaluate at these.
    """
    found = {}
    for name, options in NEARBY:
        points = []
        rules = make_rules(callback=lambda now, points=points: points.append(now), exact=True)
        run(
            network[0],
            network[0].start,
            name,
            options,
            rules=rules,
            t_end=300.0,
            rtol=1e-2,
            atol=1e-2,
        )
        found[identify(options) + name] = points
    return found


@each(NEARBY)
def test_methods_report_the_losses_of_the_points_they_accept(name, options, network, all_losses):
    net, _ = network
    points = all_losses[identify(options) + name]
    for now in points:
        value, gradient, _ = net.evaluate(now.theta, 1)
        assert now.loss == value and now.gradient_norm == np.abs(gradient).max()
    end = run(
        net, net.start, name, options, t_end=300.0, rtol=1e-2, atol=1e-2
    )  # without a callback: losses nearby
    assert (end.theta == points[-1].theta).all()
    for theta, loss, norm in (
        (end.theta, end.loss, end.gradient_norm),
        (end.best_theta, end.best_loss, end.best_gradient_norm),
    ):
        value, gradient, _ = net.evaluate(theta, 1)
        assert loss == value and norm == np.abs(gradient).max()
    losses = [now.loss for now in points]
    assert min(losses) <= end.best_loss <= 1.01 * min(losses)
    for bound in (0.1, 0.03, 0.01):
        bound = losses[0] * bound + (1 - bound) * min(losses)
        first = next(now for now in points if now.loss <= bound)
        stopped = run(
            net,
            net.start,
            name,
            options,
            rules=make_rules(min_loss=bound),
            rtol=1e-2,
            atol=1e-2,
            t_end=300.0,
        )
        assert stopped.statistics.stop_reason is StopReason.MIN_LOSS
        assert (stopped.theta == first.theta).all() and stopped.loss == first.loss
        norm = first.gradient_norm
        rules = make_rules(min_gradient_norm=norm)
        stopped = run(net, net.start, name, options, rules=rules, rtol=1e-2, atol=1e-2, t_end=300.0)
        assert stopped.t == next(now for now in points if now.gradient_norm <= norm).t


def test_patience_counts_steps_without_a_new_best_loss():
    bowl = Function(2, lambda x: x @ x / 2, lambda x: x, lambda x: np.eye(2))
    end = run(
        bowl, [1.0, 1.0], "gd", {"step_size": 2.0}, rules=make_rules(patience=7)
    )  # jumps between x and -x
    assert end.statistics.stop_reason is StopReason.PATIENCE and end.statistics.steps == 7


@each(EVERY)
def test_ctrl_c_returns_the_best_point(name, options, network):
    net, _ = network
    end = run(Wrapped(net, raise_at(60, KeyboardInterrupt)), net.start, name, options)
    assert end.statistics.stop_reason is StopReason.INTERRUPTED
    assert end.statistics.steps > 0 and end.loss < net.evaluate(net.start).value
    assert end.loss == net.evaluate(end.theta).value and end.trajectory.t[-1] == end.t


def test_ctrl_c_in_the_last_evaluation(network):
    net, _ = network
    given = {"t_end": 50.0, "num_trajectory": 2}
    whole = run(net, net.start, "gear", **given)
    # one more than those of the path: that of the end, which the method accepted from a point
    # nearby
    last = whole.statistics.gradients + 1
    end = run(Wrapped(net, raise_at(last, KeyboardInterrupt)), net.start, "gear", **given)
    assert end.statistics.stop_reason is StopReason.INTERRUPTED
    assert end.t == 50.0 and end.loss == whole.loss and (end.theta == whole.theta).all()


def test_trajectory_at_times_that_overflow():
    line = Function(1, lambda x: x[0], lambda x: [1.0], lambda x: [[0.0]])
    rules = make_rules(min_loss=-math.inf)
    track = run(line, [0.0], "gear", rules=rules, num_trajectory=10).trajectory
    assert track.t[-1] > 1e290 and np.isfinite(track.t).all() and 5 <= len(track) <= 10
    np.testing.assert_allclose(track.theta[:, 0], -track.t, rtol=1e-5)


@each(EVERY)
def test_errors_of_the_objective_get_through(name, options, network):
    net, _ = network
    with pytest.raises(ZeroDivisionError, match="a bug"):
        run(Wrapped(net, raise_at(30, ZeroDivisionError("a bug"))), net.start, name, options)


def wall(error):
    """Loss 5 - x that is not defined from x = 1 on."""

    def value(x):
        if x[0] < 1:
            return 5 - x[0]
        if error:
            raise DivergedError("x has left (-inf, 1)")
        return math.nan

    return Function(1, value, lambda x: [-1.0 if x[0] < 1 else math.nan], lambda x: [[0.0]])


@each([*EVERY, ("rk4", {"step": 0.3})])
@pytest.mark.parametrize("error", [False, True])
def test_leaving_the_domain(name, options, error):
    options = {**options, **({"step_size": 0.3} if "step_size" in options else {})}
    end = run(wall(error), [0.0], name, options)
    s = end.statistics
    assert s.stop_reason is StopReason.NON_FINITE and "t = " in s.note and "|theta|_inf" in s.note
    assert np.isfinite(end.theta).all() and np.isfinite(end.trajectory.loss).all()
    fixed = any(key in options for key in ("step", "step_size"))
    assert end.theta[0] > (0.5 if fixed else 1 - 1e-6)
    if error and name != "gd" and name != "adam":
        assert "x has left" in s.note


def test_sundials_prints_nothing_but_objectives_may(capfd):
    def gradient(x):
        print("here")
        return [-1.0 if x[0] == 0 else math.nan]

    undefined = Function(1, lambda x: 5 - x[0], gradient, lambda x: [[0.0]])
    with pytest.warns(SolverWarning, match="CVODE"):
        run(undefined, [0.0], "cvode_bdf")
    printed = capfd.readouterr()
    assert set(printed.out.splitlines()) == {"here"} and printed.err == ""


@each(ADAPTIVE)
def test_blow_up_in_finite_time(name, options):
    run_away = Function(
        1, lambda x: -(x[0] ** 4), lambda x: -4 * x**3, lambda x: np.diag(-12 * x**2)
    )
    end = run(run_away, [1.0], name, options)
    assert end.statistics.stop_reason in (StopReason.STEP_UNDERFLOW, StopReason.NON_FINITE)
    assert abs(end.t - 0.125) < 1e-4  # x = (1 - 8 t)^(-1/2)


@each(IMPLICIT[:2])
def test_an_implicit_solver_that_fails_at_once_is_replaced(name, options):
    base = rosenbrock()
    broken = Function(2, base.value, base.gradient, lambda x: np.full((2, 2), np.nan))
    with pytest.warns(SolverWarning, match="tsit5 took its place"):
        end = run(broken, [-1.2, 1.0], name, options, t_end=1.0)
    assert end.statistics.method == "tsit5" and f"{name} failed" in end.statistics.note
    assert end.statistics.stop_reason is StopReason.T_END
    exact = run(base, [-1.2, 1.0], "rodas5p", t_end=1.0, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(end.theta, exact.theta, atol=1e-5)


def test_start_must_be_finite():
    with pytest.raises(InvalidValueError, match="theta0 is not finite"):
        run(wall(False), [2.0], "tsit5")
    with pytest.raises(InvalidValueError, match="x has left"):
        run(wall(True), [2.0], "rodas5p")


def test_a_flow_with_the_start_at_a_fixed_point_ends_at_once():
    end = run(Quadratic([1.0, 2.0]), [0.0, 0.0], "rodas5p")
    assert end.statistics.steps == 0 and end.statistics.stop_reason is StopReason.MIN_LOSS
    assert len(end.trajectory) == 1


@each(ADAPTIVE)
def test_handover_ends_near_the_fixed_point(name, options):
    q = Quadratic([1e-2, 1.0, 10.0])
    shifted = Function(
        3, lambda x: 1 + q.evaluate(x).value, lambda x: q.matrix @ x, lambda x: q.matrix
    )
    start = np.array([1.0, 2.0, -1.0])
    end = run(shifted, start, name, options, hand_over=True)
    # these are exact on a quadratic: they jump to the fixed point itself
    exact = name in ("exprb", "filippov")
    expected = StopReason.MIN_GRADIENT_NORM if exact else StopReason.HANDOVER
    assert end.statistics.stop_reason is expected
    assert np.abs(end.theta).max() < 1e-4 and end.t < 1e5


def test_no_handover_on_a_saddle_or_a_plateau():
    # (x^2 - 1)^2/4 + y^2/2 with x = 1e-9: for a long time nothing seems to move but y
    saddle = Function(
        2,
        lambda x: (x[0] ** 2 - 1) ** 2 / 4 + x[1] ** 2 / 2,
        lambda x: [x[0] ** 3 - x[0], x[1]],
        lambda x: np.diag([3 * x[0] ** 2 - 1, 1.0]),
    )
    end = run(saddle, [1e-9, 1.0], "rodas5p", hand_over=True)
    assert abs(end.theta[0] - 1) < 1e-5


def curved_valley(height):
    """A valley along the curve y = x^2, flat but for height x^4; flows end on it at a distance that
    falls as t^(-1/2).
    """

    def value(x):
        return 0.5 * (x[1] - x[0] ** 2) ** 2 + height * x[0] ** 4

    def gradient(x):
        wall = x[1] - x[0] ** 2
        return np.array([-2 * x[0] * wall + 4 * height * x[0] ** 3, wall])

    def hessian(x):
        wall = x[1] - x[0] ** 2
        return np.array(
            [[-2 * wall + 4 * x[0] ** 2 + 12 * height * x[0] ** 2, -2 * x[0]], [-2 * x[0], 1.0]]
        )

    return Function(2, value, gradient, hessian)


@each([("rodas5p", {}), ("lsoda", {}), ("cvode_bdf", {})])
def test_the_end_of_a_flat_valley_is_seen_from_its_walls(name, options):
    end = run(curved_valley(0.0), [1.0, 0.0], name, options, rtol=1e-4, atol=1e-4, hand_over=True)
    assert end.statistics.stop_reason is StopReason.HANDOVER and end.statistics.steps < 300
    assert end.loss < 1e-7


@pytest.mark.parametrize("name", ["rodas5p", "cvode_bdf"])
def test_walls_do_not_hide_that_a_valley_goes_on(name):
    # from a wall the curvature along the valley is larger than at the bottom, and what is left of
    # the path seems short
    end = run(curved_valley(1e-8), [1.0, 0.0], name, rtol=1e-4, atol=1e-4, hand_over=True)
    assert end.t > 1e9


def test_handover_by_rounding_of_the_loss():
    def slow(constant):
        return Function(
            1, lambda x: constant + x[0] ** 4, lambda x: 4 * x**3, lambda x: 12 * np.diag(x**2)
        )

    given = {"name": "cvode_bdf", "rtol": 1e-9, "atol": 1e-9, "hand_over": True}
    end = run(
        slow(1.0), [1.0], **given
    )  # the path is still longer than the tolerances when the loss stands still
    assert end.statistics.stop_reason is StopReason.HANDOVER
    assert end.t < 2e8 and end.theta[0] > 1e-5  # (8 t)^(-1/2)
    resolved = run(slow(0.0), [1.0], **given)
    assert resolved.t > 1e9 and resolved.statistics.stop_reason is StopReason.MIN_GRADIENT_NORM


def test_rounding_floor_ends_a_flow_without_t_end():
    # the loss 1 + x^2 can not show that x still shrinks, and the gradient of (1e8 + x) has rounding
    # of 1e-8
    def gradient(x):
        return [2 * ((1e8 + x[0]) - 1e8) + 1e-9 * np.sin(1e12 * x[0])]

    noisy = Function(
        1, lambda x: 1 + (x[0] - 1e8) ** 2, lambda x: gradient(x - 1e8), lambda x: [[2.0]]
    )
    end = run(noisy, [1e8 + 3.0], "rodas5p", rules=make_rules(max_steps=2000))
    assert end.statistics.stop_reason in (StopReason.ROUNDING_FLOOR, StopReason.MIN_GRADIENT_NORM)


def test_observables_and_lambda_min(network):
    net, _ = network
    end = run(
        net, net.start, "rodas5p", t_end=2.0, num_trajectory=5,
        observables={"norm": np.linalg.norm, "first": lambda x: x[:2], "lambda_min": "lambda_min"},
    )  # fmt: skip
    track = end.trajectory
    np.testing.assert_allclose(
        track.observables["norm"], np.linalg.norm(track.theta, axis=1), rtol=1e-14
    )
    np.testing.assert_array_equal(track.observables["first"], track.theta[:, :2])
    lowest = [np.linalg.eigvalsh(net.evaluate(x, 2).hessian)[0] for x in track.theta]
    np.testing.assert_allclose(track.observables["lambda_min"], lowest, rtol=1e-12)


def test_automatic_choice():
    assert automatic_solver(10) == ("gear", {})
    assert automatic_solver(1000) == ("gear", {})
    assert automatic_solver(1001) == ("cvode_bdf", {"linear_solver": "switch"})
    assert automatic_solver(10_000) == ("cvode_bdf", {"linear_solver": "gmres"})
    assert automatic_solver(10, gradient_jumps=True) == ("tsit5", {})


def test_switch_goes_on_with_gear_where_gmres_takes_many_products(network, monkeypatch):
    net, exact = network
    given = {"t_end": 4.0, "t_eval": np.array([1.0, 2.0, 4.0]), "rtol": 1e-8, "atol": 1e-8}
    monkeypatch.setattr(switching, "_WATCHED", 30)
    monkeypatch.setattr(switching, "_PRODUCTS", 1000)
    before = run(net, net.start, "cvode_bdf", {"linear_solver": "switch"}, **given)
    assert before.statistics.hessians == 0 and before.statistics.hvps > 100
    monkeypatch.setattr(switching, "_PRODUCTS", 1)
    after = run(net, net.start, "cvode_bdf", {"linear_solver": "switch"}, **given)
    assert after.statistics.hessians > 0 and 0 < after.statistics.hvps < before.statistics.hvps
    assert (
        before.statistics.factorizations
        == 0
        < after.statistics.hessians
        <= after.statistics.factorizations
    )
    for end in (before, after):  # errors of BDF are some ten times the tolerance
        np.testing.assert_allclose(
            end.trajectory.theta, exact(given["t_eval"]).T, atol=1e-6, rtol=0
        )


def test_gmres_linearizes_once_per_point_where_the_objective_can(network):
    net, _ = network

    class Linearizing(Wrapped):
        points = 0

        def linearize(self, theta):
            self.points += 1
            theta = theta.copy()
            return lambda v: self.hvp(theta, v)

    counted = Linearizing(net, lambda *_: None)
    ends = [
        run(each, net.start, "cvode_bdf", {"linear_solver": "gmres"}, t_end=20.0)
        for each in (net, counted)
    ]
    assert np.array_equal(ends[0].theta, ends[1].theta)
    assert 0 < counted.points < 0.7 * ends[1].statistics.hvps


def test_gmres_needs_no_hessian(network):
    net, _ = network
    end = run(net, net.start, "cvode_bdf", {"linear_solver": "gmres"}, t_end=10.0)
    assert end.statistics.hessians == 0 and end.statistics.hvps > 0


def test_overflow_in_a_trial_step_is_no_warning():
    steep = Function(
        1,
        lambda x: np.exp(x[0] ** 2),
        lambda x: 2 * x * np.exp(x**2),
        lambda x: np.diag((2 + 4 * x**2) * np.exp(x**2)),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        end = run(steep, [5.0], "tsit5", {"first_step": 10.0}, t_end=1.0)
    assert abs(end.theta[0]) < 0.5 and end.statistics.rejected > 0
