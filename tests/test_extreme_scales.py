"""Scales at the border of the range of numbers end in the truth or in a clear error; rounding of
sums that cancel is converged.
"""

import numpy as np
import pytest
from analytic_objectives import TanhNetwork

import infflow as inf
from infflow.errors import InfflowError
from infflow.fixedpoints import OPTIMIZERS
from infflow.flow import SOLVERS
from infflow.flow.norm_kernels import weighted_rms, weighted_rms_reference
from infflow.rounding import is_hidden
from infflow.stopping import StopReason

X = np.random.default_rng(0).normal(size=(30, 2))
LAYERS = [(3, "tanh", True), (1, "identity", True)]
START = inf.random_params(inf.Net(LAYERS, input_dim=2), rng=1)
QUICK = {"max_time_flow": 0.5, "max_time_newton": 0.5, "progress": False}


@pytest.mark.parametrize("scale", [1e-200, 1e-170, 1.0, 1e155, 1e300])
def test_norms_whose_squares_leave_the_range_of_numbers(scale):
    rng = np.random.default_rng(2)
    error, z0, z1 = rng.standard_normal((3, 7))
    expected = weighted_rms_reference(error, z0, z1, np.full(7, 0.1), 1e-3)
    assert weighted_rms(scale * error, z0, z1, np.full(7, 0.1), 1e-3) == pytest.approx(
        scale * expected, rel=1e-14
    )
    assert weighted_rms(np.zeros(7), z0, z1, np.full(7, 0.1), 1e-3) == 0.0
    assert weighted_rms(np.empty(0), np.empty(0), np.empty(0), np.empty(0), 1e-3) == 0.0
    for bad in (np.nan, np.inf):
        error[3] = bad
        assert not weighted_rms(scale * error, z0, z1, np.full(7, 0.1), 1e-3) < np.inf


@pytest.mark.parametrize("solver", [name for name in SOLVERS if name != "adam"])
@pytest.mark.parametrize("eta", [1e150, 1e-150])
def test_a_time_scale_is_a_unit_of_time(solver, eta):
    net = TanhNetwork()
    own = {"step_size": 0.05} if SOLVERS[solver].discrete else {}
    scaled = {"step_size": 0.05 / eta} if SOLVERS[solver].discrete else {}
    call = {"solver": solver, "max_steps_newton": 0, "progress": False}
    plain = inf.train(net, net.start, t_end=3.0, **call, **own)
    found = inf.train(net, net.start, t_end=3.0 / eta, eta=eta, **call, **scaled)
    assert found.status is plain.status
    np.testing.assert_allclose(
        found.theta_flow, plain.theta_flow, atol=2e-5
    )  # the tolerances are 1e-6


def run(net, **options):
    """The result, or None after an error of this package."""
    try:
        return inf.train(net, START, **QUICK, **options)
    except InfflowError:
        return None


@pytest.mark.parametrize("scale", [1e100, 1e150, 1e200])
@pytest.mark.parametrize("method", [*SOLVERS, *OPTIMIZERS])
def test_huge_targets_are_never_called_solved(method, scale):
    net = inf.Net(LAYERS, input=X, target=scale * np.sin(X[:, :1]))
    if method in OPTIMIZERS:
        options = {"optimizer": method, "max_steps_flow": 0}
    else:
        more = {"step_size": 0.05} if SOLVERS[method].discrete else {}
        options = {
            "solver": method,
            "t_end": 5.0,
            "max_steps_newton": 0,
            "max_steps_flow": 200,
            **more,
        }
    found = run(net, **options)
    if found is not None and found.converged:
        assert (
            np.abs(unit_gradient(found.theta, scale)).max() < 1e-5
        )  # by losses alone: the root of rounding


def unit_gradient(theta, scale):
    """Gradient of the same problem with targets of order 1."""
    net = inf.Net(LAYERS, input=X, target=np.sin(X[:, :1]))
    hidden, (v, c) = net.unpack(theta)
    return inf.gradient(net, net.pack([hidden, (v / scale, c / scale)]))


@pytest.mark.parametrize("solver", [name for name in SOLVERS if not SOLVERS[name].discrete])
def test_a_flow_that_met_its_bound_of_the_gradient_returns_a_point_that_does(solver):
    """Of two points whose losses differ by rounding the earlier one, with the lower loss, was
    returned.
    """
    net = inf.Net(LAYERS, input=X, target=np.sin(X[:, :1]), ridge=1e100)
    found = inf.train(net, START, solver=solver, max_steps_newton=0, max_steps_flow=500, **QUICK)
    assert found.status is not StopReason.MIN_GRADIENT_NORM or found.gradient_norm <= 1e-15


@pytest.mark.parametrize("scale", [1e-100, 1e-150])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_tiny_targets_end_at_the_bound_of_the_loss(optimizer, scale):
    found = run(
        inf.Net(LAYERS, input=X, target=scale * np.sin(X[:, :1])),
        optimizer=optimizer,
        max_steps_flow=0,
    )
    assert found is not None and found.converged and found.loss <= 2e-32


def test_a_far_minimum_is_not_hidden_and_a_parameter_on_its_way_to_infinity_is():
    # (1e100 - x)^2 at x = 1: a doubling changes nothing, but the parabola knows better
    assert not is_hidden(1e200, np.array([-2e100]), np.array([2.0]), np.ones(1), 100.0, 1e185)
    # 1 + x^-2 at x = 1e9
    assert is_hidden(1.0, np.array([-2e-27]), np.array([6e-36]), np.array([1e9]), 100.0, 1e-16)


LINEAR = [
    (seed, K, M, D, scale)
    for seed in range(6)
    for K, M, D in ((1, 2, 3), (2, 1, 2), (3, 3, 5))
    for scale in (1.0, 30.0)
]


def test_linear_students_that_are_solved_to_rounding_have_converged():
    """The loss is a sum that cancels; what it is at the end is compared with the square of the
    difference of the maps.
    """
    for seed, K, M, D, scale in LINEAR:
        student = inf.Net([(K, "identity", False), (1, "identity", False)], input_dim=D)
        teacher = inf.Net([(M, "identity", False), (1, "identity", False)], input_dim=D)
        star = scale * inf.random_params(teacher, rng=seed, init="standard_normal")
        result = inf.train(
            inf.NetI(student, inf.Teacher(teacher, star)),
            inf.random_params(student, rng=100 + seed),
            progress=False,
        )
        (W, _), (v, _) = student.unpack(result.theta)
        (V, _), (a, _) = teacher.unpack(star)
        size = float(((a @ V) ** 2).sum())
        assert result.converged, (seed, K, M, D, scale, result)
        assert float(((v @ W - a @ V) ** 2).sum()) <= 1e-20 * size  # by losses alone 1e-16


@pytest.mark.parametrize(
    "case", [("square", 3, 3, 0), ("square", 4, 3, 3), ("erf", 2, 1, 4), ("square", 4, 2, 1)]
)
def test_other_students_that_are_solved_to_rounding_have_converged(case):
    """Teachers that are represented in another way than neuron by neuron, and neurons
    that die out.
    """
    activation, K, M, seed = case
    student, teacher = (
        inf.Net([(k, activation, False), (1, "identity", False)], input_dim=4) for k in (K, M)
    )
    neti = inf.NetI(
        student, inf.Teacher(teacher, inf.random_params(teacher, 10 + seed, init="standard_normal"))
    )
    call = {"solver": "cvode_bdf", "solver_options": {"linear_solver": "gmres"}, "progress": False}
    for options in (call, {"progress": False}):
        result = inf.train(neti, inf.random_params(student, 20 + seed), **options)
        X = np.random.default_rng(0).standard_normal((500, 4))
        difference = student.predict(result.theta, X) - teacher.predict(neti.teacher.theta, X)
        assert result.converged and (difference**2).mean() < 1e-17  # its sums round at 1e-14


def test_a_linear_student_that_is_stopped_on_its_way_has_not_converged():
    student = inf.Net([(1, "identity", False), (1, "identity", False)], input_dim=3)
    teacher = inf.Teacher(student, inf.random_params(student, rng=0, init="standard_normal"))
    for steps in range(1, 5):
        call = {
            "max_steps_flow": 20,
            "max_steps_newton": steps,
            "min_gradient_norm": 0.0,
            "progress": False,
        }
        result = inf.train(inf.NetI(student, teacher), inf.random_params(student, rng=3), **call)
        assert not result.converged or result.loss < 1e-25
