"""The registry of the fixed-point methods: one line per method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from .._validation import Array, as_choice, counted
from ..errors import MethodError, UnknownNameError
from ..memory import require_memory
from ..objective import HessianProducts, KnowsRounding, LeastSquares, Linearizable, Objective
from ..options import Option, Options, OptionsOf, choice, positive
from ..own_step import OwnStep, name_of
from ..stopping import StopReason, StopRules
from . import gauss_newton
from .directions import ExactNewton
from .krylov import KrylovNewton
from .least_squares import GaussNewton, LeastSquaresProblem, require_squares
from .own_search import OwnSearch
from .problem import DENSE, FixedPointProblem
from .quasi_newton import NloptSlsqp, QuasiNewton
from .trust_region import SearchOutcome, TrustRegion

Search = Callable[..., SearchOutcome]

#: How ``train`` names the options of an optimizer.
OPTIMIZER_OPTIONS = OptionsOf("optimizer", "optimizer_options", "{'scale': 1e4}")

_EPS = 2.0**-52


def _library(name: str, value: Any) -> str:
    library = as_choice(name, value, ("scipy", "nlopt"))
    if library == "nlopt" and find_spec("nlopt") is None:
        raise UnknownNameError(
            f"{name} is 'nlopt', which is not installed. Install the package nlopt or use 'scipy'."
        )
    return library


TRUST_REGION: Options = {
    "radius": Option(positive, "first radius of the trust region; 1 unless given"),
}
NEWTON_OPTIONS: Options = {
    "linear_solver": Option(
        choice("dense", "cg"),
        "dense with the exact Hessian, cg with Hessian-vector products; "
        f"dense up to {DENSE} free parameters unless given",
    ),
    **TRUST_REGION,
}
SCALE: Options = {
    "scale": Option(positive, "factor of the loss that the method sees; 1 unless given"),
}
SLSQP_OPTIONS: Options = {
    **SCALE,
    "library": Option(_library, "scipy or nlopt; nlopt where it is installed unless given"),
}


@dataclass(frozen=True)
class Optimizer:
    """A method that searches a fixed point of the flow.

    Attributes
    ----------
    name : str
        Name in ``train(optimizer=...)``.
    direction, step_control : str
        What it is composed of.
    search : callable
        Searches from a point (n,) of the free parameters under the stop rules.
    needs : str
        What it asks of the objective: "gradient", "Hessian" or "residuals".
    options : mapping
        What ``optimizer_options`` may hold: the check of each value, and the sentence that
        docs/solvers.md and messages show.
    reference : str
        Where the method comes from.
    """

    name: str
    direction: str
    step_control: str
    search: Search
    needs: str
    options: Options
    reference: str

    @property
    def needs_hessian(self) -> bool:
        """Whether it evaluates Hessians (``newton``: up to 2000 free parameters)."""
        return self.needs == "Hessian"

    def check_options(self, options: Mapping[str, Any] | None) -> dict[str, Any]:
        """The options with every value checked, or an error that names the ones that are known."""
        return OPTIMIZER_OPTIONS.checked(self.name, self.options, options)

    def check_objective(self, objective: Objective) -> None:
        """Raise :class:`MethodError` if the objective lacks what the method needs."""
        if self.needs == "residuals":
            require_squares(objective, self.name)

    def check_size(self, num_free: int, options: Mapping[str, Any]) -> None:
        """Raise :class:`TooLargeError` if the matrix that the method keeps would not fit in
        memory.
        """
        if self.name in ("bfgs", "slsqp") or options.get("linear_solver") == "dense":
            require_memory(num_free, f"the matrix of optimizer {self.name!r}")

    def run(
        self, problem: FixedPointProblem, x: Array, rules: StopRules, **options: Any
    ) -> SearchOutcome:
        """Search from ``x`` of shape (n,); the options are checked ones.

        Of an objective that is :class:`Freezable` the search uses the frozen one.
        """
        return self.search(problem.frozen(x), x, rules, **options)


def _newton(
    problem: FixedPointProblem,
    x: Array,
    rules: StopRules,
    linear_solver: str = "",
    radius: float = 1.0,
) -> SearchOutcome:
    dense = linear_solver == "dense" or (not linear_solver and len(x) <= DENSE)
    direction = ExactNewton() if dense else KrylovNewton(problem, rules)
    return TrustRegion(problem, direction, rules, radius).run("newton" if dense else "newton_cg", x)


def _levenberg_marquardt(
    problem: FixedPointProblem, x: Array, rules: StopRules, radius: float = 1.0
) -> SearchOutcome:
    squares = LeastSquaresProblem.of(problem)
    return TrustRegion(squares, GaussNewton(squares), rules, radius).run("levenberg_marquardt", x)


def _bfgs(
    problem: FixedPointProblem, x: Array, rules: StopRules, scale: float = 1.0
) -> SearchOutcome:
    return QuasiNewton(problem, "BFGS", rules, scale).run("bfgs", x)


def _lbfgs(
    problem: FixedPointProblem, x: Array, rules: StopRules, scale: float = 1.0
) -> SearchOutcome:
    found = QuasiNewton(problem, "L-BFGS-B", rules, scale).run("lbfgs", x)
    before = found.statistics
    if (
        len(x) <= DENSE
        or before.stop_reason is not StopReason.ROUNDING_FLOOR
        or not _has_products(problem)
    ):
        return found
    return _ended_by_newton(problem, found, rules)


def _has_products(problem: FixedPointProblem) -> bool:
    return isinstance(problem.objective, (HessianProducts, Linearizable))


def _ended_by_newton(
    problem: FixedPointProblem, found: SearchOutcome, rules: StopRules
) -> SearchOutcome:
    """Where no Hessian is formed, losses alone do not tell a minimum from the wall of a canyon:
    Newton's method goes on.
    """
    before = found.statistics
    rules.max_steps = max(rules.max_steps - before.steps, 0)
    user = rules.callback
    if user is not None:  # it sees one search
        rules.callback = lambda now: user(now._replace(step=before.steps + now.step))
    try:
        ended = TrustRegion(problem, KrylovNewton(problem, rules), rules, 1.0).run(
            before.method, problem.z_of(found.theta)
        )
    except (NotImplementedError, MethodError):
        return found
    ended.statistics.steps += before.steps
    ended.statistics.note = (
        f"newton_cg took the last {counted(ended.statistics.steps - before.steps, 'step')}"
    )
    return ended


def _slsqp(
    problem: FixedPointProblem, x: Array, rules: StopRules, scale: float = 1.0, library: str = ""
) -> SearchOutcome:
    if library == "nlopt" or (not library and find_spec("nlopt") is not None):
        return NloptSlsqp(problem, rules, scale).run("slsqp (nlopt)", x)
    return QuasiNewton(problem, "SLSQP", rules, scale).run("slsqp", x)


# fmt: off
_METHODS = (
    Optimizer("newton", "exact Hessian; conjugate gradients above 2000 parameters", "trust region",
        _newton, "Hessian", NEWTON_OPTIONS,
        "More and Sorensen, SIAM J. Sci. Stat. Comput. 4, 553 (1983); Steihaug, SIAM J. Numer. "
        "Anal. 20, 626 (1983)"),
    Optimizer("levenberg_marquardt", "Gauss-Newton on singular values", "trust region",
        _levenberg_marquardt, "residuals", TRUST_REGION,
        "More, Lecture Notes in Mathematics 630, 105 (1978)"),
    Optimizer("gauss_newton", "Gauss-Newton on the Gram matrix of a minibatch, with momentum",
        "adaptive damping", gauss_newton.search, "residuals", gauss_newton.OPTIONS,
        "Goldshlager et al., J. Comput. Phys. 516, 113351 (2024)"),
    Optimizer("bfgs", "BFGS", "line search", _bfgs, "gradient", SCALE,
        "scipy.optimize; Nocedal and Wright, Numerical Optimization, section 6.1"),
    Optimizer("lbfgs", "L-BFGS", "line search", _lbfgs, "gradient", SCALE,
        "scipy.optimize; Zhu et al., ACM TOMS 23, 550 (1997)"),
    Optimizer("slsqp", "quasi-Newton, dense LDL' factors", "line search", _slsqp, "gradient",
        SLSQP_OPTIONS, "scipy.optimize or NLopt; Kraft, DFVLR-FB 88-28 (1988)"),
)
# fmt: on
OPTIMIZERS: dict[str, Optimizer] = {method.name: method for method in _METHODS}


def own_optimizer(step: OwnStep) -> Optimizer:
    """The row of a function of the user."""
    name = name_of(step)

    def search(problem: FixedPointProblem, x: Array, rules: StopRules) -> SearchOutcome:
        return OwnSearch(problem, step, rules).run(name, x)

    return Optimizer(name, "a function", "its own", search, "gradient", {}, "")


def automatic_optimizer(num_free: int) -> str:
    """The name that ``optimizer="auto"`` takes for this number of free parameters."""
    return "newton" if num_free <= DENSE else "lbfgs"


#: ``choose_optimizer`` takes Levenberg-Marquardt where the loss is below this fraction of the
#: squared terms of the outputs,
NEARLY_ZERO = 1e-8
#: and the Jacobian is at most this large
JACOBIAN_ENTRIES = 20_000_000


def choose_optimizer(problem: FixedPointProblem, x: Array) -> Optimizer:
    """The method of choice for a search from ``x`` (n,), where a flow has ended.

    Levenberg-Marquardt for sums of squares that are nearly zero: there it descends canyons on which
    Newton's method stalls. It converges only linearly at minima with a large loss, which are for
    Newton's method.
    """
    floor = squares_floor(problem, x)
    if floor is not None and problem.evaluate(x, 0).value <= NEARLY_ZERO * floor / _EPS**2:
        return OPTIMIZERS["levenberg_marquardt"]
    return OPTIMIZERS[automatic_optimizer(len(x))]


def squares_floor(problem: FixedPointProblem, x: Array) -> float | None:
    """Of a sum of squares that is small enough for Levenberg-Marquardt, the squared rounding error
    of its terms; None for other objectives.
    """
    objective = problem.objective
    if not len(x) or not isinstance(objective, LeastSquares):
        return None
    if not isinstance(objective, KnowsRounding):
        return None
    floor = problem.loss_noise(x, 0.0)  # (eps times the terms)^2
    if floor is None:
        return None
    rows = len(objective.residuals(problem.theta_of(x)))
    fits = rows * len(x) <= JACOBIAN_ENTRIES and min(rows, len(x)) <= DENSE
    return floor if fits else None
