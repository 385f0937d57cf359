"""Levenberg-Marquardt, conjugate gradients, scaled quasi-Newton: what they add, on networks; the
paper's claims.
"""

import importlib.util

import numpy as np
import pytest
from analytic_objectives import Function, Quadratic, rosenbrock

import infflow as inf
from infflow.errors import InvalidTypeError, InvalidValueError, MethodError, UnknownNameError
from infflow.fixedpoints import OPTIMIZERS, FixedPointProblem, choose_optimizer
from infflow.fixedpoints.krylov import SteihaugModel
from infflow.fixedpoints.least_squares import GaussNewtonModel
from infflow.fixedpoints.subproblem import solve_subproblem
from infflow.stopping import StopReason, StopRules
from infflow.threads import one_thread


def search(objective, x, name, free=None, options=None, **changes):
    x = np.asarray(x, dtype=float)
    values = {
        "max_time": 600.0,
        "max_steps": 10**5,
        "min_loss": 2e-32,
        "min_gradient_norm": 1e-15,
        "patience": 10**6,
    }
    free = np.ones(len(x), bool) if free is None else np.asarray(free)
    problem = FixedPointProblem(objective, x, free)
    checked = OPTIMIZERS[name].check_options(options)
    return OPTIMIZERS[name].run(
        problem, x[problem.free], StopRules(**{**values, **changes}), **checked
    )


def teacher_student(seed, K, M, N=500, activation="sigmoid", D=2):
    teacher = inf.Net([(M, activation, True), (1, "identity", True)], input_dim=D)
    theta = inf.random_params(teacher, seed, init="standard_normal")
    X = np.random.default_rng(seed + 77).normal(size=(N, D))
    net = inf.Net(
        [(K, activation, True), (1, "identity", True)], input=X, target=teacher.predict(theta, X)
    )
    return net, theta


# --- residuals

NETS = [
    ([(3, "tanh", True), (2, "identity", True)], {}),
    (
        [(3, ["tanh", "softplus", "relu"], False), (4, "sigmoid", True), (2, "erf", False)],
        {"ridge": 0.3},
    ),
    (
        [(2, "gelu", True), (2, "identity", True)],
        {"maxnorm": 0.1, "ridge": 0.2, "parametrization": "ntk"},
    ),
    ([(2, "identity", True)], {"parametrization": "mean_field"}),
]


@pytest.mark.parametrize(("layers", "arguments"), NETS)
@pytest.mark.parametrize("weighted", [False, True])
def test_residuals_are_the_loss(layers, arguments, weighted):
    rng = np.random.default_rng(0)
    # more than one block
    X = rng.normal(size=(1500, 2))
    y = rng.normal(size=(1500, 2))
    net = inf.Net(
        layers, input=X, target=y, weights=rng.uniform(size=1500) if weighted else None, **arguments
    )
    theta = rng.normal(size=net.num_params)
    r = net.residuals(theta)
    J = net.jacobian(theta)
    value, gradient, _ = net.evaluate(theta, 1)
    np.testing.assert_allclose(r @ r, value, rtol=1e-14)
    np.testing.assert_allclose(2 * r @ J, gradient, rtol=0, atol=1e-14 * np.abs(gradient).max())
    v = rng.normal(size=net.num_params)
    difference = (net.residuals(theta + 1e-6 * v) - net.residuals(theta - 1e-6 * v)) / 2e-6
    np.testing.assert_allclose(J @ v, difference, rtol=0, atol=1e-8 * np.abs(difference).max())


def test_compensated_residuals_are_right_to_the_last_digit():
    import mpmath as mp

    rng = np.random.default_rng(3)
    net = inf.Net(
        [(40, "identity", True), (1, "identity", True)],
        input=rng.normal(size=(4, 3)),
        target=np.zeros(4),
    )
    theta = rng.normal(size=net.num_params)
    (W, b), (A, c) = net.unpack(theta)
    mp.mp.dps = 50
    for x, r in zip(net.data.X, net.residuals(theta), strict=True):
        h = [
            mp.mpf(b[i]) + sum(mp.mpf(W[i, k]) * mp.mpf(x[k]) for k in range(3)) for i in range(40)
        ]
        exact = (mp.mpf(c[0]) + sum(mp.mpf(A[0, i]) * h[i] for i in range(40))) / 2  # 1/sqrt(N)
        assert abs(r - exact) < 2.3e-16 * abs(exact)


def test_least_squares_needs_squares():
    labels = inf.Net(
        [(2, "tanh", True), (2, "identity", True)],
        input=[[0.0], [1.0]],
        target=[0, 1],
        loss="cross_entropy",
    )
    with pytest.raises(MethodError, match="sum of squares"):
        search(labels, np.ones(labels.num_params), "levenberg_marquardt")
    with pytest.raises(MethodError, match="cross_entropy"):
        labels.residuals(np.ones(labels.num_params))
    with pytest.raises(MethodError, match="cross_entropy"):
        OPTIMIZERS["levenberg_marquardt"].check_objective(labels)
    student = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    neti = inf.NetI(student, inf.Teacher(student, np.ones(3)))
    with pytest.raises(MethodError, match="NetI has none"):
        search(neti, np.ones(3), "levenberg_marquardt")
    assert labels.loss_rounding(np.ones(labels.num_params), 0.1) is None


# --- the models


@pytest.mark.parametrize("shape", [(20, 5), (5, 20)])
@pytest.mark.parametrize("radius", [0.1, 100.0])
def test_gauss_newton_model_solves_the_subproblem(shape, radius):
    rng = np.random.default_rng(0)
    J = rng.normal(size=shape)
    r = rng.normal(size=shape[0])
    trial = GaussNewtonModel(r, J, lambda p: r + J @ p).solve(radius)  # linear: no acceleration
    values, vectors = np.linalg.eigh(2 * J.T @ J)
    values = np.where(values < 1e-10, 0.0, values)
    components = np.where(values == 0.0, 0.0, 2 * r @ J @ vectors)
    expected = solve_subproblem(values, components, radius)
    np.testing.assert_allclose(trial.step, vectors @ expected.step, atol=1e-9)
    decrease = r @ r - np.sum((r + J @ trial.step) ** 2)
    np.testing.assert_allclose([trial.predicted, expected.predicted], decrease, rtol=1e-9)
    assert trial.on_boundary == (radius == 0.1)


def test_geodesic_acceleration_follows_a_curved_canyon():
    # residuals y - x^2 (steep) and 1e-4 (x - 1): the floor of the canyon is a parabola
    def canyon(p):
        return np.array([p[1] - p[0] ** 2, 1e-4 * (p[0] - 1)])

    J = np.array([[0.0, 1.0], [1e-4, 0.0]])  # at the origin
    trial = GaussNewtonModel(canyon(np.zeros(2)), J, canyon).solve(0.1)
    np.testing.assert_allclose(
        trial.step, [0.1, 0.01], rtol=1e-3
    )  # on the parabola; Gauss-Newton alone: (0.1, 0)


def test_steihaug_reaches_the_minimum_and_stops_at_the_boundary():
    q = Quadratic([0.5, 1.0, 3.0, 10.0], seed=2)
    g = np.array([1.0, -2.0, 0.5, 1.0])
    model = SteihaugModel(lambda v: q.matrix @ v, g, 1e-12)
    inside = model.solve(1e3)
    np.testing.assert_allclose(inside.step, -np.linalg.solve(q.matrix, g), rtol=1e-10)
    np.testing.assert_allclose(inside.predicted, -0.5 * g @ inside.step, rtol=1e-12)
    assert (
        not inside.on_boundary
        and model.lowest == 0.0
        and (2.0 * model.curvatures > 3.0).all()
        and (2.0 * model.curvatures <= 10.0).all()
    )
    lengths = [np.linalg.norm(model.solve(radius).step) for radius in (0.01, 0.5, 1.0)]
    np.testing.assert_allclose(lengths, [0.01, 0.5, 1.0], rtol=1e-12)
    p = model.solve(0.01)
    np.testing.assert_allclose(
        p.step, -0.01 * g / np.linalg.norm(g), rtol=1e-12
    )  # the first piece is steepest descent
    half = model.solve(1.0)
    np.testing.assert_allclose(
        half.predicted, -(g @ half.step + half.step @ q.matrix @ half.step / 2), rtol=1e-12
    )
    # at least half of what the exact solution on the boundary gains (Yuan, Math. Program. 87 (2000)
    # 561)
    values, vectors = np.linalg.eigh(q.matrix)
    assert half.predicted >= 0.5 * solve_subproblem(values, g @ vectors, 1.0).predicted


def test_steihaug_ends_in_time_with_a_step_of_descent():
    values = np.logspace(-8, 0, 400)
    products = []
    g = np.ones(400)

    def product(v):
        products.append(v)
        return values * v

    trial = SteihaugModel(product, g, 0.0, hurry=lambda: len(products) >= 7).solve(1e100)
    assert len(products) == 7 and not trial.on_boundary
    np.testing.assert_allclose(
        trial.predicted, -(g @ trial.step + (values * trial.step) @ trial.step / 2), rtol=1e-12
    )
    assert trial.predicted > 0.5 * g @ g  # at least that of the first piece, steepest descent


def test_steihaug_follows_negative_curvature():
    H = np.diag([-1.0, 2.0])
    model = SteihaugModel(lambda v: H @ v, np.array([1e-3, 1.0]), 1e-12)
    trial = model.solve(2.0)
    assert trial.on_boundary and model.lowest < 0.0
    np.testing.assert_allclose(np.linalg.norm(trial.step), 2.0, rtol=1e-12)
    assert trial.predicted > 1.5


def test_newton_without_hessians():
    found = search(rosenbrock(), [-1.2, 1.0], "newton", options={"linear_solver": "cg"})
    np.testing.assert_allclose(found.theta, [1.0, 1.0], atol=1e-12)
    assert found.statistics.method == "newton_cg"
    assert found.statistics.hessians == found.statistics.factorizations == 0 < found.statistics.hvps
    q = Quadratic([1.0, 2.0, 3.0])
    frozen = search(
        q, [1.0, 1.0, 1.0], "newton", free=[True, False, True], options={"linear_solver": "cg"}
    )
    dense = search(q, [1.0, 1.0, 1.0], "newton", free=[True, False, True])
    np.testing.assert_allclose(frozen.theta, dense.theta, atol=1e-14)


def test_newton_above_two_thousand_parameters_takes_no_hessian():
    net, _ = teacher_student(0, 501, 3, N=60, activation="tanh", D=2)
    assert net.num_params == 2005
    theta = inf.random_params(net, 1)
    start = net.evaluate(theta).value
    found = search(net, theta, "newton", max_steps=25)
    assert (
        found.statistics.method == "newton_cg"
        and found.statistics.hessians == 0 < found.statistics.hvps
    )
    assert found.loss < 1e-6 * start
    with one_thread():  # several on a busy machine can be 100 times slower
        squares = search(
            net, theta, "levenberg_marquardt", max_steps=25
        )  # 60 singular values instead of 2005 eigenvalues
    assert squares.loss < 1e-5 * found.loss


# --- the paper's claims


@pytest.mark.parametrize("optimizer", ["newton", "levenberg_marquardt"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_realizable_finite_data_ends_at_1e_32(seed, optimizer):
    net, _ = teacher_student(seed, 2, 2)
    found = inf.train(net, inf.random_params(net, seed + 1000), optimizer=optimizer, progress=False)
    assert found.converged and found.loss < 1e-31
    assert inf.loss(net, found.theta) < 2e-31  # the plain sum has its own rounding errors
    assert found.newton.steps < 20


def test_levenberg_marquardt_follows_the_canyon_of_an_overparametrised_net():
    # near a teacher of 2 neurons with 4 students: one neuron split, one without effect, and off by
    # 0.01
    net, teacher = teacher_student(4, 4, 2)
    (W, b), (A, c) = (
        tuple(np.array(p) for p in pair) for pair in ((x[0], x[1]) for x in _teacher_views(teacher))
    )
    rng = np.random.default_rng(0)
    W = np.vstack([W, W[0], rng.normal(size=2)])
    b = np.append(b, [b[0], 0.3])
    A = np.array([[0.6 * A[0, 0], A[0, 1], 0.4 * A[0, 0], 0.0]])
    theta = net.pack([(W, b), (A, c)])
    assert net.evaluate(theta).value < 1e-31
    start = theta + 0.01 * rng.normal(size=len(theta))
    loss = {
        name: search(net, start, name, max_steps=300).loss
        for name in ("newton", "levenberg_marquardt", "bfgs")
    }
    assert loss["levenberg_marquardt"] < 1e-20
    assert loss["levenberg_marquardt"] < 1e-3 * min(loss["newton"], loss["bfgs"])


def _teacher_views(theta):
    return inf.Net([(2, "sigmoid", True), (1, "identity", True)], input_dim=2).unpack(theta)


def test_min_gradient_norm_at_rounding_size_waits_for_the_loss():
    # loss x^2 with x scaled by 1e-8: gradient 2e-16 x, far from the minimum all the same
    tiny = Function(1, lambda x: 1e-16 * x[0] ** 2, lambda x: 2e-16 * x, lambda x: [[2e-16]])
    found = search(tiny, [1.0], "newton")
    assert found.loss < 2e-32
    # a bound that asks for less is taken at its word
    quick = search(tiny, [1e3], "newton", min_gradient_norm=1e-12)
    assert (
        quick.statistics.stop_reason is StopReason.MIN_GRADIENT_NORM and quick.statistics.steps == 0
    )


def test_bfgs_stalls_where_its_gradient_is_small_unless_the_loss_is_scaled():
    """Brea et al.: BFGS stalls near 1e-14 unless gradients are scaled; the usual bound 1e-8 on the
    gradient does that.
    """
    net, teacher = teacher_student(1, 2, 2)
    start = teacher + 0.05 * np.random.default_rng(0).normal(size=len(teacher))
    stalled = search(net, start, "bfgs", min_gradient_norm=1e-8)
    assert 1e-19 < stalled.loss < 1e-11
    # scaled by 1e8, the same bound on the gradient that the method sees is 1e-16 on the true one
    scaled = search(net, start, "bfgs", options={"scale": 1e8}, min_gradient_norm=1e-16)
    assert scaled.loss < 1e-25


@pytest.mark.parametrize("name", ["bfgs", "lbfgs", "slsqp"])
def test_quasi_newton_at_a_minimum_that_is_not_zero_judges_by_losses_and_says_so(name):
    base = rosenbrock()
    raised = Function(2, lambda x: 1.0 + base.value(x), base.gradient, base.hessian)
    found = search(raised, [-1.2, 1.0], name)
    assert (
        found.statistics.stop_reason is StopReason.ROUNDING_FLOOR
        and "optimizer='newton'" in found.statistics.note
    )
    # a loss of 1 resolves differences of 2e-16, that is, with curvatures up to 1e3, gradients of
    # 6e-7
    assert found.gradient_norm < 6e-7
    assert search(raised, found.theta, "newton").gradient_norm < 1e-13
    stopped = search(raised, [-1.2, 1.0], name, max_steps=3)
    assert stopped.statistics.stop_reason is StopReason.MAX_STEPS and stopped.statistics.note == ""


def test_bfgs_knows_the_rounding_of_a_realizable_loss():
    net, teacher = teacher_student(1, 2, 2)
    start = teacher + 0.05 * np.random.default_rng(0).normal(size=len(teacher))
    found = search(net, start, "bfgs", min_loss=0.0, min_gradient_norm=0.0)
    assert found.statistics.stop_reason is StopReason.ROUNDING_FLOOR and found.loss < 1e-30


def test_choice_of_the_method():
    net, _ = teacher_student(0, 3, 2)
    far = inf.random_params(net, 0)
    near = search(net, far, "newton", min_loss=1e-12).theta
    labels = inf.Net(
        [(2, "tanh", True), (2, "identity", True)],
        input=[[0.0], [1.0]],
        target=[0, 1],
        loss="cross_entropy",
    )

    def choice(objective, theta):
        return choose_optimizer(
            FixedPointProblem(objective, theta, np.ones(len(theta), bool)), theta
        ).name

    assert choice(net, far) == "newton" and choice(net, near) == "levenberg_marquardt"
    assert choice(labels, np.zeros(labels.num_params)) == "newton"
    assert choice(rosenbrock(), np.ones(2)) == "newton"  # does not know its rounding errors
    big = inf.Net(
        [(501, "tanh", True), (1, "identity", True)], input=net.data.X, target=net.data.target
    )
    assert choice(big, inf.random_params(big, 0)) == "lbfgs"


# --- SLSQP


@pytest.mark.parametrize("library", ["scipy", "nlopt"])
def test_slsqp(library):
    if library == "nlopt" and importlib.util.find_spec("nlopt") is None:
        with pytest.raises(UnknownNameError, match="not installed"):
            OPTIMIZERS["slsqp"].check_options({"library": "nlopt"})
        return
    net, teacher = teacher_student(1, 2, 2)
    start = teacher + 0.05 * np.random.default_rng(0).normal(size=len(teacher))
    found = search(net, start, "slsqp", options={"library": library})
    assert found.loss < 1e-20 and found.statistics.steps > 5
    assert found.statistics.method == ("slsqp (nlopt)" if library == "nlopt" else "slsqp")
    few = search(net, start, "slsqp", options={"library": library}, max_steps=3)
    assert few.statistics.stop_reason is StopReason.MAX_STEPS and few.loss > found.loss


def test_options_are_checked():
    with pytest.raises(InvalidValueError, match="above 0"):
        OPTIMIZERS["bfgs"].check_options({"scale": 0.0})
    with pytest.raises(UnknownNameError, match="Did you mean 'scale'"):
        OPTIMIZERS["lbfgs"].check_options({"scal": 1.0})
    with pytest.raises(InvalidTypeError, match="dictionary"):
        OPTIMIZERS["newton"].check_options([1])
    assert OPTIMIZERS["newton"].check_options({"radius": 2}) == {"radius": 2.0}


# --- infinite data: evaluators that are fixed for the length of a search


def infinite(activation, K, M, seed, D=3, **arguments):
    teacher, student = (
        inf.Net([(n, activation, True), (1, "identity", True)], input_dim=D) for n in (M, K)
    )
    parameters = inf.random_params(teacher, seed, init="standard_normal")
    return inf.NetI(student, inf.Teacher(teacher, parameters), **arguments), inf.random_params(
        student, seed + 50
    )


def roughness(net, theta, direction):
    """Largest deviation of the loss on a line from a polynomial of degree 25, which it is up to
    rounding.
    """
    t = np.linspace(-1, 1, 201)
    values = np.array([net.evaluate(theta + 0.2 * s * direction).value for s in t])
    return np.abs(values - np.polynomial.Chebyshev.fit(t, values, 25)(t)).max() / values.max()


def test_frozen_integrals_are_smooth_and_accurate():
    rough, theta = infinite("tanh", 3, 3, 0, rtol=1e-3)
    fine = infinite("tanh", 3, 3, 0, rtol=1e-13)[0]
    direction = np.random.default_rng(0).normal(size=len(theta))
    frozen = rough.frozen(theta)
    assert roughness(rough, theta, direction) > 1e-11
    assert roughness(frozen, theta, direction) < 1e-14
    for order in (0, 1, 2):
        np.testing.assert_allclose(
            frozen.evaluate(theta, 2)[order], fine.evaluate(theta, 2)[order], rtol=0, atol=1e-11
        )
    # far away it chooses anew, so that it is still accurate
    far = 8.0 * theta
    np.testing.assert_allclose(
        frozen.evaluate(far, 1)[1], fine.evaluate(far, 1)[1], rtol=0, atol=1e-10
    )
    assert rough.rtol == 1e-3 and frozen.frozen(far) is not frozen
    closed, start = infinite("erf", 2, 2, 0)
    assert closed.frozen(start) is closed


def test_infinite_data_reaches_1e_15_with_integrals_by_number():
    # realizable: near the teacher; and with fewer students than teachers
    net, _ = infinite("tanh", 3, 3, 0)
    start = net.teacher.theta + 0.01 * np.random.default_rng(0).normal(size=net.num_params)
    found = search(net, start, "newton")
    assert found.gradient_norm <= 1e-15 and found.loss < 1e-24 and found.statistics.steps < 60
    assert np.abs(found.theta - net.teacher.theta).max() < 1e-10
    few, start = infinite("tanh", 2, 4, 0)
    start = search(few, start, "newton", min_gradient_norm=1e-4).theta
    found = search(few, start, "newton")
    assert found.gradient_norm <= 1e-14 and found.loss > 1e-3 and found.statistics.steps < 15
    assert found.statistics.stop_reason in (StopReason.MIN_GRADIENT_NORM, StopReason.ROUNDING_FLOOR)
    floor = search(few, found.theta, "newton", min_gradient_norm=0.0, min_loss=0.0)
    assert floor.statistics.stop_reason is StopReason.ROUNDING_FLOOR and floor.gradient_norm < 1e-14
    assert np.linalg.eigvalsh(few.evaluate(found.theta, 2).hessian)[0] > 0


def test_a_slow_stretch_is_not_a_fixed_point():
    # a channel to infinity: two students turn parallel while their output weights grow with
    # opposite signs
    net, start = infinite("tanh", 3, 3, 1)
    found = search(net, start, "newton", max_steps=120)
    assert not found.statistics.stop_reason.converged and found.gradient_norm > 1e-7
    again = search(net, found.theta, "newton", max_steps=150)
    assert not again.statistics.stop_reason.converged and again.gradient_norm > 1e-7


@pytest.mark.parametrize("name", ["bfgs", "lbfgs", "slsqp"])
def test_of_losses_that_agree_to_rounding_the_smaller_gradient_is_kept(name):
    """At a minimum that is not zero losses say nothing below gradients of 1e-8."""
    H = Quadratic([1.0, 10.0, 1000.0]).matrix
    objective = Function(3, lambda x: 1.0 + x @ H @ x / 2, lambda x: H @ x, lambda x: H)
    for start in ([1.0, -2.0, 0.5], [0.3, 0.7, -0.2], [0.9, 0.1, 0.4]):
        seen = []
        rules = {
            "callback": lambda now, seen=seen: seen.append((now.loss, now.gradient_norm)) and None
        }
        found = search(objective, start, name, **rules)
        near = [norm for loss, norm in seen if loss <= min(loss for loss, _ in seen) + 4e-16]
        assert found.gradient_norm <= min(near)
        if found.statistics.stop_reason is StopReason.MIN_GRADIENT_NORM:
            assert found.gradient_norm <= 1e-15
        np.testing.assert_array_equal(found.gradient_norm, np.abs(H @ found.theta).max())
