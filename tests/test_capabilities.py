"""What objectives can do: who has which capability, who asks, what happens where one is missing."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from analytic_objectives import Quadratic, TanhNetwork, Wrapped, quartic, rosenbrock

import infflow as inf
from infflow.errors import (
    InvalidTypeError,
    InvalidValueError,
    MethodError,
    SolverWarning,
    StorageError,
)
from infflow.fixedpoints import FixedPointProblem
from infflow.flow.problem import FlowProblem
from infflow.landscape.plane import Section
from infflow.networks.infinite.targets.function_teacher import FunctionTeacher
from infflow.objective import (
    CAPABILITIES,
    LEFT_DOMAIN,
    Capability,
    Evaluation,
    Freezable,
    HessianProducts,
    LeastSquares,
    Linearizable,
    Objective,
    as_objective,
    linearizer,
    members,
)
from infflow.studies.fixed_points import Scaled
from infflow.studies.objectives import Saddle
from infflow.studies.stiffness.ode_codes import Counted
from infflow.surrogates.training.objective import SobolevObjective

rng = np.random.default_rng(0)
X = rng.normal(size=(9, 2))


def finite(loss="mse", activation="tanh", **options):
    target = rng.integers(3, size=9) if loss == "cross_entropy" else rng.normal(size=(9, 3))
    layers = [(3, activation, True), (3, "identity", False)]
    return inf.Net(layers, input=X, target=target, loss=loss, **options)


def infinite(activation="erf", bias=True, **options):
    student = inf.Net([(3, activation, bias), (1, "identity", True)], input_dim=4)
    teacher = inf.Net([(2, activation, bias), (1, "identity", True)], input_dim=4)
    return inf.NetI(student, inf.Teacher(teacher, inf.random_params(teacher, 1)), **options)


def function_teacher():
    student = inf.Net([(2, "erf", True), (1, "identity", True)], input_dim=3)
    return inf.NetI(student, FunctionTeacher(lambda z: z**2, np.ones((1, 3)), 0.0, []))


def section(net):
    origin = inf.random_params(net, 2)
    d1, d2 = np.random.default_rng(3).normal(size=(2, net.num_params))
    return Section(net, origin, d1, d2)


class Forwarding:
    """A user's wrapper, which knows nothing of capabilities."""

    def __init__(self, net):
        self.net = net

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.net, name)


FAMILY = {
    "HessianProducts",
    "Freezable",
    "KnowsRounding",
    "ChecksParameters",
    "HasMetric",
    "HasSymmetryTypes",
}
NET = {
    "HessianProducts",
    "Linearizable",
    "LeastSquares",
    "ChoosesLoss",
    "Sampled",
    "KnowsRounding",
    "HasJumps",
    "Identified",
    "HasFisher",
    "HasGradientCovariance",
}
KINKED = NET | {"HasPieces"}
NETI = {
    "HessianProducts",
    "Freezable",
    "Observes",
    "Identified",
    "ChecksParameters",
    "ChoosesMethod",
    "HasFisher",
    "HasGradientCovariance",
}
PRODUCTS = {"HessianProducts"}
SQUARES = {"HessianProducts", "LeastSquares"}
TABLE = {
    "Net": (finite, NET),
    "Net with labels": (lambda: finite("cross_entropy"), NET),
    "Net with kinks": (lambda: finite(activation="relu"), KINKED),
    "NetI": (infinite, NETI),
    "NetI of series": (lambda: infinite("softplus", method="hermite"), NETI),
    "NetI with a surrogate": (
        lambda: infinite("softplus", bias=False, method="surrogate", outside="exact"),
        NETI,
    ),
    "NetI with a function": (function_teacher, NETI),
    "family": (lambda: inf.SymmetricNetI("erf", [2, 3]), FAMILY),
    "section of a Net": (
        lambda: section(finite()),
        SQUARES | {"Linearizable", "KnowsRounding"},
    ),
    "section of a NetI": (lambda: section(infinite()), PRODUCTS | {"Freezable"}),
    "wrapper of a Net": (lambda: Forwarding(finite()), NET),
    "wrapper of a NetI": (lambda: Forwarding(infinite()), NETI),
    "studies, saddle": (lambda: Saddle(0.1), PRODUCTS),
    "studies, times a factor": (lambda: Scaled(finite(), 2.0), PRODUCTS),
    "studies, counted": (lambda: Counted(finite()), PRODUCTS),
    "tests, quartic": (quartic, PRODUCTS),
    "tests, rosenbrock": (rosenbrock, SQUARES),
    "tests, parabola": (lambda: Quadratic([1.0, 2.0]), SQUARES),
    "tests, network": (TanhNetwork, PRODUCTS),
    "tests, wrapped": (lambda: Wrapped(TanhNetwork(), lambda count, theta: None), PRODUCTS),
}


@pytest.mark.parametrize("name", TABLE)
def test_who_has_what(name):
    build, expected = TABLE[name]
    objective = build()
    assert as_objective(objective) is objective
    assert {each for each, kind in CAPABILITIES.items() if isinstance(objective, kind)} == expected


@pytest.mark.parametrize("name", TABLE)
def test_products_are_those_with_the_hessian(name):
    objective = TABLE[name][0]()
    theta = 0.3 * np.random.default_rng(5).normal(size=objective.num_params)
    v = np.random.default_rng(6).normal(size=objective.num_params)
    wanted = objective.evaluate(theta, 2).hessian @ v
    np.testing.assert_allclose(linearizer(objective)(theta)(v), wanted, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(objective.hvp(theta, v), wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "name", ["Net", "section of a Net", "tests, rosenbrock", "tests, parabola"]
)
def test_least_squares_are_the_loss(name):
    objective = TABLE[name][0]()
    theta = 0.3 * np.random.default_rng(5).normal(size=objective.num_params)
    found = objective.evaluate(theta, 1)
    r = objective.residuals(theta)
    assert r @ r == pytest.approx(found.value, rel=1e-13)
    slope = 2.0 * r @ objective.jacobian(theta)
    np.testing.assert_allclose(slope, found.gradient, rtol=1e-11, atol=1e-13)


# ----------------------------------------------------------------------------------- the question


def test_capabilities_have_docstrings_that_say_who_asks():
    for protocol in CAPABILITIES.values():
        text = " ".join(protocol.__doc__.split())
        assert "Asked" in text, protocol
        for member in members(protocol):
            assert getattr(protocol, member).__doc__, (protocol, member)


def test_every_capability_needs_each_of_its_members():
    for protocol in (Objective, *CAPABILITIES.values()):
        names = members(protocol)
        assert names
        complete = dict.fromkeys(names, len)
        assert isinstance(type("Complete", (), complete)(), protocol)
        for name in names:
            rest = {each: len for each in names if each != name}
            assert not isinstance(type("Lacking", (), rest)(), protocol)
            assert not isinstance(type("TakenBack", (), {**complete, name: None})(), protocol)


def test_members_that_only_an_instance_has_count():
    class Late:
        pass

    late = Late()
    assert not isinstance(late, HessianProducts)
    late.hvp = lambda theta, v: v
    assert isinstance(late, HessianProducts)


def test_classes_that_inherit_are_asked_for_by_name():
    class Mine(HessianProducts):
        def hvp(self, theta, v):
            return v

    assert isinstance(Mine(), HessianProducts) and isinstance(Mine(), Mine)
    assert not isinstance(finite(), Mine)
    assert issubclass(Quadratic, HessianProducts) and not issubclass(Saddle, LeastSquares)


def test_what_is_no_objective():
    for wrong in (3, inf.Net, Quadratic, object.__new__(SobolevObjective)):
        with pytest.raises(InvalidTypeError, match="num_params and evaluate"):
            as_objective(wrong)


def test_solvers_ask_with_isinstance():
    """No other probes where objectives are solved for."""
    root = Path(inf.__file__).parent
    files = [
        *root.glob("flow/*.py"),
        *root.glob("fixedpoints/*.py"),
        *root.glob("classification/*.py"),
        *root.glob("settings.py"),
        root / "training.py",
        root / "free_view.py",
        root / "spectrum.py",
        root / "landscape" / "plane.py",
    ]
    probes = []
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id == "hasattr" or (node.func.id == "getattr" and len(node.args) == 3):
                probes.append(f"{file.name}:{node.lineno}: {ast.unparse(node)}")
    # a Result is taken for its theta, eta and limit, a progress bar for its time: no objectives
    allowed = (
        "getattr(theta, 'theta', theta)",
        "getattr(theta, 'settings', None)",
        "getattr(theta, 'limit', None)",
        "getattr(bar, 'shown_at', 0.0)",
    )
    assert [each for each in probes if not each.endswith(allowed)] == []


@pytest.mark.parametrize("solver", ["gear", "rodas5p", "tsit5", "gd"])
def test_nothing_is_asked_between_steps(monkeypatch, solver):
    asked = []
    question = Capability.__instancecheck__

    def counting(cls, instance):
        asked.append(cls)
        return question(cls, instance)

    monkeypatch.setattr(Capability, "__instancecheck__", counting)

    def number(steps):
        asked.clear()
        options = {"step_size": 0.01} if solver == "gd" else {}
        inf.train(
            Quadratic([1.0, 3.0, 100.0]),
            np.ones(3),
            solver=solver,
            optimizer="newton",
            max_steps_flow=steps,
            max_steps_newton=0,
            progress=False,
            **options,
        )
        return len(asked)

    assert number(30) == number(3) > 0


# ------------------------------------------------------------------------------- what is missing


class Bare:
    """The least that an objective is: theta' A theta / 2, without products."""

    def __init__(self, n=3, hessian=True):
        self.num_params = n
        self.curvatures = np.linspace(1.0, 5.0, n)
        self.has_hessian = hessian
        self.evaluations = 0

    def evaluate(self, theta, order=0):
        self.evaluations += 1
        gradient = self.curvatures * theta
        hessian = np.diag(self.curvatures) if order >= 2 and self.has_hessian else None
        return Evaluation(0.5 * float(theta @ gradient), gradient, hessian)


def run(objective, **options):
    theta = (
        inf.random_params(objective)
        if hasattr(objective, "layout")
        else np.ones(objective.num_params)
    )
    return inf.train(objective, theta, progress=False, **options)


def test_the_least_is_enough():
    found = run(Bare())
    assert found.loss < 1e-28
    assert run(Bare(), solver="tsit5", optimizer="lbfgs").loss < 1e-20


@pytest.mark.parametrize("optimizer", ["levenberg_marquardt", "gauss_newton"])
def test_sums_of_squares_are_asked_for_before_anything_is_evaluated(optimizer):
    bare = Bare()
    message = (
        f"{optimizer} needs a finite sum of squares, that is residuals and jacobian of the obj"
    )
    with pytest.raises(MethodError, match=message):
        run(bare, optimizer=optimizer)
    assert bare.evaluations == 0
    bare.residuals = lambda theta: theta
    with pytest.raises(MethodError, match="that is jacobian of the objective; Bare has none"):
        run(bare, optimizer=optimizer)
    with pytest.raises(MethodError, match="needs a sum of squares; the loss is 'cross_entropy'"):
        run(finite("cross_entropy"), optimizer=optimizer)


@pytest.mark.parametrize("build", [Bare, infinite])
@pytest.mark.parametrize("solver", ["gd", "adam"])
def test_samples_are_asked_for(build, solver):
    with pytest.raises(
        InvalidTypeError, match=r"batch_size is 2, but \w+ has no samples to choose"
    ):
        run(build(), solver=solver, step_size=0.01, batch_size=2)


def test_samples_are_asked_for_by_gauss_newton():
    options = {"optimizer": "gauss_newton", "optimizer_options": {"batch_size": 2}}
    with pytest.raises(InvalidTypeError, match="batch_size is 2, but Quadratic has no samples"):
        run(Quadratic([1.0, 2.0]), max_steps_flow=0, **options)


@pytest.mark.parametrize("linear_solver", ["gmres", "switch"])
def test_products_are_asked_for_by_the_flow(linear_solver):
    options = {"solver": "cvode_bdf", "solver_options": {"linear_solver": linear_solver}}
    with pytest.raises(
        MethodError, match=r"GMRES needs .* products, and Bare has no hvp\(theta, v\)"
    ):
        run(Bare(), **options)


def test_products_are_asked_for_by_the_search():
    options = {"optimizer": "newton", "optimizer_options": {"linear_solver": "cg"}}
    with pytest.raises(MethodError, match=r"needs Hessian-vector products, and Bare has no hvp"):
        run(Bare(), max_steps_flow=0, **options)


def test_products_are_asked_for_by_functions():
    for function in (inf.hessian_operator, inf.extreme_eigenpairs, inf.spectral_density):
        with pytest.raises(InvalidTypeError, match="net is a Bare, which has no hvp"):
            function(Bare(), np.ones(3))
    with pytest.raises(InvalidTypeError, match="net is a Bare, which has no hvp"):
        inf.hvp(Bare(), np.ones(3), np.ones(3))


def test_hessians_that_are_left_out():
    with pytest.warns(SolverWarning, match="the Hessian is not finite"):
        run(Bare(hessian=False), solver="rodas5p", max_steps_flow=3, max_steps_newton=0)
    with pytest.raises(
        MethodError, match="'lambda_min' needs the Hessian, which Bare does not give"
    ):
        run(Bare(hessian=False), observables=["lambda_min"])


def test_a_gradient_that_is_left_out():
    class ValueOnly(Bare):
        def evaluate(self, theta, order=0):
            return super().evaluate(theta, order)._replace(gradient=None)

    with pytest.raises(MethodError, match="left out the gradient"):
        run(ValueOnly())


def test_other_questions():
    with pytest.raises(InvalidValueError, match="observable 'overlaps' is not known for Bare"):
        run(Bare(), observables=["overlaps"])
    with pytest.raises(InvalidValueError, match="polish='exact' is for a NetI with method='surro"):
        run(Bare(), polish="exact")
    with pytest.raises(InvalidValueError, match="this Net has no data"):
        run(inf.Net([(2, "tanh", True), (1, "identity", True)], input_dim=3))


def test_wrappers_lose_nothing():
    """A Net behind ``__getattr__`` is trained as the Net itself is, unless that ends at infinity:
    there the neurons of the network itself are looked at.
    """
    fixed = np.random.default_rng(0)
    layers = [(3, "tanh", True), (3, "identity", False)]
    net = inf.Net(layers, input=fixed.normal(size=(9, 4)), target=fixed.normal(size=(9, 3)))
    theta = inf.random_params(net, 4)
    for options in (
        {"optimizer": "levenberg_marquardt"},
        {"solver": "gd", "step_size": 0.05, "batch_size": 4, "max_steps_flow": 20},
        {"solver": "cvode_bdf", "solver_options": {"linear_solver": "gmres"}, "t_end": 1.0},
    ):
        limits = {"progress": False, "max_steps_newton": 5, **options}
        own = inf.train(net, theta, **limits)
        assert own.limit is None
        forwarded = inf.train(Forwarding(net), theta, **limits)
        assert (own.theta == forwarded.theta).all() and own.loss == forwarded.loss


def test_a_frozen_section_is_the_section_of_the_frozen_network():
    net = infinite("softplus", method="hermite")
    plane = section(net)
    y = 0.1 * np.random.default_rng(8).normal(size=plane.num_params)
    frozen = plane.frozen(y)
    assert isinstance(frozen, Section) and isinstance(frozen, Freezable)
    assert not isinstance(frozen, Linearizable)
    wanted = net.frozen(plane.point(y)).evaluate(plane.point(y), 1)
    found = frozen.evaluate(y, 1)
    assert found.value == wanted.value
    np.testing.assert_array_equal(found.gradient, plane.inside(wanted.gradient))


# ------------------------------------------------------------------------------------ the one view


def views(objective, theta, free, scale):
    """The view of a flow, and where nothing is scaled that of a search."""
    yield FlowProblem(objective, theta, np.where(free, scale**2, 0.0), 1e-6, 1e-6)
    if (scale == 1.0).all():
        yield FixedPointProblem(objective, theta, free)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("held", [(), (1, 4, 5)])
def test_views_are_the_objective_on_an_affine_space(scaled, held):
    """theta = theta0 + B (z - z0), written with a matrix B."""
    objective = TanhNetwork()
    P = objective.num_params
    theta = objective.start
    free = ~np.isin(np.arange(P), held)
    scale = np.random.default_rng(1).uniform(0.5, 2.0, size=P) if scaled else np.ones(P)
    B = np.diag(scale)[:, free]
    for view in views(objective, theta, free, scale):
        z0 = view.z_of(theta)
        assert (view.theta_of(z0) == theta).all()  # to the last bit
        z = z0 + 0.1 * np.random.default_rng(2).normal(size=view.size)
        point = theta + B @ (z - z0)
        np.testing.assert_allclose(view.theta_of(z), point, rtol=1e-14, atol=1e-15)
        np.testing.assert_array_equal(view.theta_of(np.array([z0, z]))[1], view.theta_of(z))
        assert (view.theta_of(z)[~free] == theta[~free]).all()
        found = view.evaluate(z, 2)
        full = objective.evaluate(point, 2)
        assert found.value == pytest.approx(full.value, rel=1e-13)
        np.testing.assert_allclose(found.gradient, B.T @ full.gradient, rtol=1e-11, atol=1e-14)
        H = B.T @ full.hessian @ B
        np.testing.assert_allclose(found.hessian, H, rtol=1e-11, atol=1e-13)
        v = np.random.default_rng(3).normal(size=view.size)
        np.testing.assert_allclose(view.linearize(z)(v), H @ v, rtol=1e-10, atol=1e-13)
        J = np.random.default_rng(4).normal(size=(7, P))
        np.testing.assert_allclose(view.columns(J), J @ B, rtol=1e-15)
        assert view.counts() == (1, 1, 1)


@pytest.mark.parametrize("error", LEFT_DOMAIN)
def test_views_outside_of_the_domain(error):
    class Bounded(Quadratic):
        def evaluate(self, theta, order=0):
            raise error("too far")

        def hvp(self, theta, v):
            raise error("too far")

    objective = Bounded([1.0, 2.0, 3.0])
    free = np.array([True, False, True])
    flow, search = views(objective, np.ones(3), free, np.ones(3))
    for view in (flow, search):
        found = view.evaluate(np.ones(2), 2)
        assert (
            np.isnan(found.value)
            and np.isnan(found.gradient).all()
            and found.gradient.shape == (2,)
        )
        assert np.isnan(found.hessian).all() and found.hessian.shape == (2, 2)
        assert view.outside == "too far"
    assert np.isnan(flow.linearize(np.ones(2))(np.ones(2))).all()  # a flow shortens its step
    with pytest.raises(error):
        search.linearize(np.ones(2))(np.ones(2))


def test_views_know_the_time():
    class Late(Exception):
        pass

    def late():
        raise Late

    objective = Quadratic([1.0, 2.0, 3.0])
    for view in views(objective, np.ones(3), np.ones(3, dtype=bool), np.ones(3)):
        product = view.linearize(np.ones(3))
        view.require_time = late
        for call in (
            lambda view=view: view.evaluate(np.ones(3), 1),
            lambda p=product: p(np.ones(3)),
        ):
            with pytest.raises(Late):
                call()
        assert view.counts() == (0, 0, 0)


def test_the_page_lists_the_capabilities():
    text = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
    for name, protocol in CAPABILITIES.items():
        row = f"| `{name}` | {', '.join(f'`{each}`' for each in members(protocol))} |"
        assert row in text, row


@pytest.mark.parametrize("build", [finite, infinite])
def test_checkpoints_know_penalties_that_vanish_at_the_start(build, tmp_path):
    net = build()
    theta = inf.random_params(net, 4)
    call = {"checkpoint": tmp_path / "run", "t_end": 0.1, "max_steps_newton": 0, "progress": False}
    inf.train(net.replace(maxnorm=1e3), theta, **call)
    inf.train(net.replace(maxnorm=1e3), theta, **call)
    with pytest.raises(StorageError, match="regularization differs"):
        inf.train(net.replace(maxnorm=1e4), theta, **call)
    with pytest.raises(StorageError, match="regularization"):
        inf.train(net, theta, **call)
