"""The registry of the integrators: one line per method."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from .._validation import Array
from ..objective import require_samples
from ..options import Option, Options, OptionsOf, choice, fraction, integer, positive
from ..own_step import OwnStep, name_of
from .batches import Batches
from .coefficients import DOPRI5, KENCARP58, RK4, RK4_DOUBLED, RODAS3, RODAS5P, TRBDF2, TSIT5
from .control import PI, PREDICTIVE
from .cvode import LINEAR_SOLVERS, CvodeBdf
from .descent import Adam, GradientDescent
from .esdirk import ImplicitFamily
from .explicit import ExplicitFamily
from .exponential import DENSE_ORDER, ERROR_ORDER, ORDER, ExponentialFamily
from .filippov import Filippov
from .gear import MAX_ORDER, GearBdf
from .integrator import Integrator
from .onestep import build_one_step
from .own_method import OwnMethod
from .problem import FlowEvaluation, FlowProblem
from .rosenbrock import RosenbrockFamily
from .scipy_solvers import SciPySolver
from .switching import SwitchingBdf
from .tableaus import ExplicitTableau, ImplicitTableau, RosenbrockTableau

Build = Callable[[FlowProblem, Array, FlowEvaluation, dict[str, Any]], Integrator]

#: How ``train`` names the options of a solver.
SOLVER_OPTIONS = OptionsOf("solver", "solver_options", "{'step': 0.01}")

_FIRST_STEP = Option(positive, "length of the first step; chosen from the start unless given")
_MAX_STEP = Option(positive, "longest step; as long as the tolerances allow unless given")
STEP_OPTIONS: Options = {
    "step": Option(positive, "length of every step, in the place of error control"),
    "first_step": _FIRST_STEP,
    "max_step": _MAX_STEP,
}
SCIPY_OPTIONS: Options = {
    "first_step": _FIRST_STEP,
    "max_step": _MAX_STEP,
}
GEAR_OPTIONS: Options = {
    "max_order": Option(
        integer(1, MAX_ORDER),
        f"highest order of the formulas, at most {MAX_ORDER}; {MAX_ORDER} unless given",
    ),
    "first_step": _FIRST_STEP,
    "max_step": _MAX_STEP,
}
CVODE_OPTIONS: Options = {
    "linear_solver": Option(
        choice(*LINEAR_SOLVERS, "switch"),
        "dense, the default, with exact Hessians; gmres with Hessian-vector products only; "
        "switch begins as gmres and goes on as gear when products become many",
    ),
    "krylov_dim": Option(
        integer(1),
        "largest dimension of the Krylov spaces of gmres; 20 unless given",
    ),
    **GEAR_OPTIONS,
}
DESCENT_OPTIONS: Options = {
    "seed": Option(integer(0), "of the order of the samples, with batch_size; 0 unless given"),
}
ADAM_OPTIONS: Options = {
    **DESCENT_OPTIONS,
    "beta1": Option(fraction, "weight of the past in the mean of gradients; 0.9 unless given"),
    "beta2": Option(
        fraction,
        "weight of the past in the mean of their squares; 0.999 unless given",
    ),
    "epsilon": Option(positive, "added to the root of that mean; 1e-8 unless given"),
}


@dataclass(frozen=True)
class Method:
    """An integrator of the gradient flow.

    Attributes
    ----------
    name, family : str
        Name in ``train(solver=...)``; the stepper it uses.
    order : int
        Order of convergence with a fixed step (for ``gear``, ``cvode_bdf``, ``bdf`` and ``lsoda``
        the highest order of their BDF; 0: Adam does not approximate the flow).
    dense_order : int
        Interpolated points are accurate to the (dense_order + 1)-th power of the step.
    adaptive, implicit, needs_hessian : bool
        Step-size control; linear systems to solve; a Hessian with every step (``gear`` asks for one
        now and then, ``cvode_bdf`` too where its linear solver is dense, never with GMRES).
    discrete : bool
        Whether it takes ``step_size``.
    ends_itself : bool
        Whether it says in ``Step.end`` where a path without ``t_end`` ends.
    options : mapping
        What ``solver_options`` may hold: the check of each value, and the sentence that
        docs/solvers.md and messages show.
    build : callable
        Makes the integrator from problem, start, evaluation there and checked options.
    reference : str
        Where the method comes from.
    """

    name: str
    family: str
    order: int
    dense_order: int
    build: Build
    options: Options
    reference: str
    adaptive: bool = True
    implicit: bool = False
    needs_hessian: bool = False
    discrete: bool = False
    ends_itself: bool = False

    def check_options(self, options: Mapping[str, Any] | None) -> dict[str, Any]:
        """The options with every value checked, or an error that names the ones that are known."""
        return SOLVER_OPTIONS.checked(self.name, self.options, options)


def _explicit(tableau: ExplicitTableau, fixed: ExplicitTableau | None = None) -> Build:
    """The builder of an explicit method; ``fixed`` takes its place where the step is fixed."""

    def build(
        problem: FlowProblem, z: Array, start: FlowEvaluation, options: dict[str, Any]
    ) -> Integrator:
        chosen = fixed if fixed is not None and "step" in options else tableau
        family = ExplicitFamily(problem, chosen)
        return build_one_step(problem, family, PI, chosen.error_order + 1, z, start, options)

    return build


def _esdirk(tableau: ImplicitTableau) -> Build:
    def build(
        problem: FlowProblem, z: Array, start: FlowEvaluation, options: dict[str, Any]
    ) -> Integrator:
        k = min(tableau.order, tableau.error_order) + 1
        return build_one_step(
            problem, ImplicitFamily(problem, tableau), PREDICTIVE, k, z, start, options
        )

    return build


def _rosenbrock(tableau: RosenbrockTableau) -> Build:
    def build(
        problem: FlowProblem, z: Array, start: FlowEvaluation, options: dict[str, Any]
    ) -> Integrator:
        family = RosenbrockFamily(problem, tableau)
        return build_one_step(
            problem, family, PREDICTIVE, tableau.error_order + 1, z, start, options
        )

    return build


def _exprb(
    problem: FlowProblem, z: Array, start: FlowEvaluation, options: dict[str, Any]
) -> Integrator:
    return build_one_step(
        problem, ExponentialFamily(problem), PREDICTIVE, ERROR_ORDER + 1, z, start, options
    )


def _filippov(
    problem: FlowProblem, z: Array, start: FlowEvaluation, options: dict[str, Any]
) -> Integrator:
    return Filippov(problem, z, start, **options)


def _scipy(name: str) -> Build:
    def build(
        problem: FlowProblem, z: Array, start: FlowEvaluation, options: dict[str, Any]
    ) -> Integrator:
        return SciPySolver(problem, z, start, name, **options)

    return build


def _cvode_bdf(
    problem: FlowProblem, z: Array, start: FlowEvaluation, options: dict[str, Any]
) -> Integrator:
    if options.get("linear_solver") == "switch":
        return SwitchingBdf(
            problem, z, start, **{key: options[key] for key in options if key != "linear_solver"}
        )
    return CvodeBdf(problem, z, start, **options)


def _gear(
    problem: FlowProblem, z: Array, start: FlowEvaluation, options: dict[str, Any]
) -> Integrator:
    return GearBdf(problem, z, start, **options)


def _descent(kind: Callable[..., Integrator]) -> Build:
    def build(
        problem: FlowProblem, z: Array, start: FlowEvaluation, options: dict[str, Any]
    ) -> Integrator:
        rest = dict(options)
        seed = rest.pop("seed", 0)
        size = rest.pop("batch_size", None)
        samples = rest.pop("num_samples", None)
        batches = None
        if size is not None:
            batches = Batches(require_samples(problem.objective, size), samples, size, seed)
        return kind(problem, z, start, batches=batches, **rest)

    return build


# fmt: off
_METHODS = (
    Method("rodas5p", "Rosenbrock", 5, 4, _rosenbrock(RODAS5P), STEP_OPTIONS,
        "Steinebach, BIT 63:27 (2023)", implicit=True, needs_hessian=True),
    Method("rodas3", "Rosenbrock", 3, 2, _rosenbrock(RODAS3), STEP_OPTIONS,
        "Sandu et al., Atmos. Environ. 31, 3459 (1997)", implicit=True, needs_hessian=True),
    Method("exprb", "exponential Rosenbrock", ORDER, DENSE_ORDER, _exprb, STEP_OPTIONS,
        "Luan and Ostermann, Comput. Math. Appl. 71, 1137 (2016)", implicit=True,
        needs_hessian=True),
    Method("filippov", "exponential Rosenbrock between kinks", ORDER, DENSE_ORDER, _filippov,
        SCIPY_OPTIONS, "Filippov 1988, section 4; Luan and Ostermann as exprb", implicit=True,
        ends_itself=True),
    Method("kencarp58", "ESDIRK", 5, 4, _esdirk(KENCARP58), STEP_OPTIONS,
        "Kennedy and Carpenter, Appl. Num. Math. 136, 183 (2019)", implicit=True),
    Method("trbdf2", "ESDIRK", 2, 2, _esdirk(TRBDF2), STEP_OPTIONS,
        "Hosea and Shampine, Appl. Num. Math. 20, 21 (1996)", implicit=True),
    Method("rk4", "explicit Runge-Kutta", 4, 3, _explicit(RK4_DOUBLED, RK4), STEP_OPTIONS,
        "Kutta 1901; step doubling without extrapolation"),
    Method("tsit5", "explicit Runge-Kutta", 5, 4, _explicit(TSIT5), STEP_OPTIONS,
        "Tsitouras, Comput. Math. Appl. 62, 770 (2011)"),
    Method("dopri5", "explicit Runge-Kutta", 5, 4, _explicit(DOPRI5), STEP_OPTIONS,
        "Dormand and Prince, J. Comp. Appl. Math. 6, 19 (1980)"),
    Method("cvode_bdf", "CVODE", 5, 5, _cvode_bdf, CVODE_OPTIONS,
        "Hindmarsh et al., ACM TOMS 31, 363 (2005)", implicit=True),
    Method("gear", "Gear", 5, 5, _gear, GEAR_OPTIONS,
        "Gear 1971, chapter 9; Radhakrishnan and Hindmarsh, UCRL-ID-113855 (1993)", implicit=True),
    Method("lsoda", "SciPy", 5, 5, _scipy("LSODA"), SCIPY_OPTIONS,
        "Petzold, SIAM J. Sci. Stat. Comput. 4, 136 (1983)", implicit=True),
    Method("radau", "SciPy", 5, 3, _scipy("Radau"), SCIPY_OPTIONS,
        "Hairer and Wanner II, section IV.8", implicit=True),
    Method("bdf", "SciPy", 5, 5, _scipy("BDF"), SCIPY_OPTIONS,
        "Shampine and Reichelt, SIAM J. Sci. Comput. 18, 1 (1997)", implicit=True),
    Method("gd", "descent", 1, 0, _descent(GradientDescent), DESCENT_OPTIONS,
        "Cauchy 1847; Euler's method", adaptive=False, discrete=True),
    Method("adam", "descent", 0, 0, _descent(Adam), ADAM_OPTIONS, "Kingma and Ba, arXiv:1412.6980",
        adaptive=False, discrete=True),
)
# fmt: on
SOLVERS: dict[str, Method] = {method.name: method for method in _METHODS}


def own_solver(step: OwnStep) -> Method:
    """The row of a function of the user."""
    return Method(
        name_of(step),
        "own",
        0,
        0,
        _descent(partial(OwnMethod, step=step)),
        DESCENT_OPTIONS,
        "",
        adaptive=False,
        discrete=True,
    )


#: choices of ``solver="auto"``: the largest number of free parameters, the solver, its options, as
#: measured (docs/solvers.md)
AUTOMATIC: tuple[tuple[float, str, Mapping[str, Any]], ...] = (
    (1000, "gear", {}),
    (2000, "cvode_bdf", {"linear_solver": "switch"}),
    (math.inf, "cvode_bdf", {"linear_solver": "gmres"}),
)
#: up to so many free parameters paths are followed from kink to kink, where these are known
PIECEWISE = 200
#: takes the place of an implicit method that fails at the start, and of those above where the
#: gradient jumps
FALLBACK = "tsit5"


def automatic_solver(
    num_free: int, gradient_jumps: bool = False, knows_pieces: bool = False
) -> tuple[str, dict[str, Any]]:
    """Name and options that ``solver="auto"`` takes for this number of free parameters.

    ``gradient_jumps``: what an objective says that :class:`~infflow.objective.HasJumps`;
    ``knows_pieces``: whether it :class:`~infflow.objective.HasPieces`.
    """
    if gradient_jumps:
        return ("filippov" if knows_pieces and num_free <= PIECEWISE else FALLBACK), {}
    _, name, options = next(row for row in AUTOMATIC if num_free <= row[0])
    return name, dict(options)
