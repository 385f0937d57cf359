"""The interface between driver and integrators, with instructions for who writes one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from .._validation import Array
from ..errors import SolverFailedError
from ..stopping import StopReason
from .control import SMALLEST
from .problem import FlowEvaluation

_LARGEST_TIME = 1e300
_EPS = float(np.finfo(float).eps)


class StepFailed(SolverFailedError):
    """No further step is possible, for the given reason."""

    def __init__(self, reason: StopReason, note: str) -> None:
        super().__init__(note)
        self.reason = reason


class Step(NamedTuple):
    """One accepted step from ``t0`` to ``t``."""

    t0: float
    t: float
    z: Array  #: new point, shape (n,)
    evaluation: FlowEvaluation  #: value and gradient there
    dense: Callable[[float], Array]  #: the point (n,) at a time in [t0, t], until the next step
    #: False: value and gradient are those of a point nearby (minibatches: of an earlier epoch)
    exact: bool = True
    #: why the path ends here, where the method judges that itself
    end: StopReason | None = None


class State(Protocol):
    """All that later steps depend on: a named tuple, which no step changes in place."""

    @property
    def rejected(self) -> int | None:
        """Rejected steps so far; None where a library does not tell."""

    @property
    def factorizations(self) -> int | None:
        """Factorisations so far; None where a library does not tell."""

    def _asdict(self) -> dict[str, Any]:
        """Fields by name."""


class Integrator(Protocol):
    """One method on one flow dz/dt = -gradient(z): one accepted step at a time.

    A method with one step and no history is a tableau, or a ``Family`` in ``onestep.py``. All
    others are a class with these three members, in a file of its own:

    1. ``__init__(problem, z, evaluation, **options)`` gets the flow, its start (n,) at time 0,
       value and gradient there (with the Hessian where the method's row says ``needs_hessian``),
       and the options of the user, checked by that row. It sets ``state``.
    2. ``state`` is a named tuple of arrays, numbers, strings, None and named tuples of these. All
       that the next step depends on is in it. What can be computed from it, such as a
       factorisation, may be kept beside it.
    3. ``advance(t_end)`` makes attempts until one is accepted, and returns that :class:`Step`.
       Rejected attempts are its own affair; it counts them in ``state.rejected``.
    4. It never passes ``t_end``: a step that would is shortened, and then ends at ``t_end`` to the
       last bit. ``t_end`` may be infinite. It is the same at every call.
    5. It evaluates with ``problem.evaluate(z, 1)`` or ``(z, 2)``, which count and look at the
       clock. Outside of the domain these return NaN: see :func:`is_finite`, and take a shorter
       step. Errors are measured by ``problem.error_norm``, in which 1 is what may be.
    6. A method that has evaluated only near the accepted point asks ``problem.accepted`` for value
       and gradient of its step, and for ``exact``.
    7. It replaces ``state`` as a whole, after everything else. An exception (Ctrl-C, the end of the
       allowed time) then leaves that of the last accepted point, which goes into the checkpoint.
       Arrays in a state are never written to.
    8. Where no step is possible it raises :class:`StepFailed` with the reason: see
       :func:`check_time` and :func:`underflows`. An implicit method that fails in its first step is
       replaced by an explicit one.
    9. ``restore(saved)`` takes what a checkpoint has kept of a state, before the first step.
       :func:`restored` makes a state of it, and checks the shapes. Steps after it are those that
       would have come without the interruption, or, where a library hides its history, those of a
       restart at the same point.
    10. The row in ``methods.py`` names the class, its order, the order of ``Step.dense``, and its
        options. Tests measure both orders, tolerances, stop reasons and checkpoints of every row.
    """

    @property
    def state(self) -> State:
        """The state at the last accepted point."""

    def advance(self, t_end: float) -> Step:
        """One accepted step that does not pass ``t_end``; raises :class:`StepFailed`."""

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from what a checkpoint has kept of a state."""


# --------------------------------------------------------------------------------------------------
# help for authors


def check_time(t: float) -> None:
    """End a flow, as if at ``t_end``, where nothing moves any more."""
    if t >= _LARGEST_TIME:
        raise StepFailed(StopReason.T_END, "t reached 1e300; nothing moves any more")


def underflows(h: float, t: float, first: float) -> bool:
    """Whether a step of size ``h`` hardly changes the time, or is out of proportion to the first
    one.
    """
    return h <= 8 * _EPS * t or h < 1e-90 * first or h < SMALLEST


def is_finite(evaluation: FlowEvaluation) -> bool:
    """Whether value and gradient are finite."""
    gradient = evaluation.gradient
    # dot is a third of the price of @
    return math.isfinite(evaluation.value) and math.isfinite(gradient.dot(gradient))


_Record = TypeVar("_Record", bound=tuple[Any, ...])


def restored(now: _Record, saved: dict[str, Any], n: int) -> _Record:
    """A named tuple like ``now``, with the fields that a checkpoint has kept.

    Parameters
    ----------
    now : named tuple
        A state of the same run, for instance that at its start.
    saved : dict
        Fields by name; those of named tuples within it are dictionaries, too.
    n : int
        Number of variables, which is every dimension of arrays that ``now`` does not have.

    Raises
    ------
    KeyError, TypeError, ValueError
        If a field is missing, of another type, or an array of another shape. Kernels check no
        bounds, so this is the place to do it.
    """
    fields = now._asdict()  # type: ignore[attr-defined]
    return now._replace(  # type: ignore[attr-defined]
        **{name: _like(name, value, saved[name], n) for name, value in fields.items()}
    )


def _like(name: str, now: Any, found: Any, n: int) -> Any:
    if isinstance(now, tuple):
        return restored(now, found, n)
    if isinstance(now, np.ndarray):
        fits = np.shape(found) == now.shape
    elif isinstance(found, np.ndarray):
        fits = now is None and set(found.shape) == {n}
    else:
        fits = now is None or isinstance(found, str if isinstance(now, str) else int | float)
    if not fits:
        raise ValueError(name)
    return found
