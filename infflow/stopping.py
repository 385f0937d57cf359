"""Why a run stopped, the rules that stop it, and what it cost: shared by ``flow`` and
``fixedpoints``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from ._validation import Array, counted, shown
from .compile_time import running_time
from .errors import InvalidTypeError

#: A bound on the gradient norm below this asks for all that double precision gives,
#: see :meth:`StopRules.check`.
ROUNDING_GRADIENT = 1e-13


class StopReason(Enum):
    """Why a stage of a run ended; the value is the sentence that the user reads."""

    T_END = "The flow reached t_end."
    MIN_LOSS = "The loss fell to min_loss."
    MIN_GRADIENT_NORM = "The gradient norm fell to min_gradient_norm."
    ROUNDING_FLOOR = (
        "No step changes loss or gradient beyond rounding: the fixed point is as accurate as "
        "double precision allows."
    )
    HANDOVER = (
        "The rest of the path is shorter than the tolerances, or hidden by rounding errors; "
        "Newton takes over."
    )
    KINK = (
        "The flow ended on kinks that meet samples, where zero lies between the gradients on "
        "their sides (critical in the sense of Clarke); inf.classify says what this point is."
    )
    AT_REST = (
        "The loss is at rest to rounding, and the rest of the path is shorter than the "
        "tolerances; allow a search (max_steps_newton) to find the fixed point itself."
    )
    PATIENCE = (
        "No new lowest loss within the last `patience` steps; raise patience if the descent is "
        "only slow."
    )
    MAX_TIME = (
        "The allowed wall time is used up; raise max_time_flow or max_time_newton to go on from "
        "here."
    )
    MAX_STEPS = (
        "The allowed number of steps is used up; raise max_steps_flow or max_steps_newton to go "
        "on from here."
    )
    CALLBACK = "The callback asked to stop."
    INTERRUPTED = "Interrupted from the keyboard; this is the best point so far."
    STEP_UNDERFLOW = (
        "The step size fell below the spacing of floating point numbers: the loss is not smooth "
        "here, or the path runs off to infinity; look at note and trajectory. In a flow the "
        "tolerances may be too small: raise rtol and atol, or take another solver. In a search "
        "the loss may be rounded too coarsely: take another optimizer."
    )
    NON_FINITE = (
        "Loss or gradient became infinite or undefined: the run left the domain (see the note "
        "for where and when); start elsewhere, or bound the parameters with maxnorm or ridge."
    )
    SOLVER_FAILED = (
        "The solver gave up (see the note for its own message); take another solver or other "
        "tolerances."
    )
    CHANNEL = (
        "The path runs off to infinity while the loss falls to a limit: `limit` tells which "
        "neurons run off, what they become, and the loss at infinity."
    )
    LINE_SEARCH = (
        "The line search found no lower loss although the gradient is not small; take "
        "optimizer='newton' from here."
    )
    LOWER_BEFORE = (
        "The search ended at a higher loss than that of an earlier point of the flow, which is "
        "returned: the loss jumps, or steps of the flow are too long; train again from theta."
    )
    FROZEN = (
        "All parameters are frozen (eta is 0 everywhere): nothing moves, and the run ends where "
        "it began."
    )
    SKIPPED = "Skipped: zero steps were allowed."

    def __reduce_ex__(self, protocol: Any) -> Any:
        return getattr, (
            type(self),
            self.name,
        )  # pickled by name: sentences may differ between versions

    @property
    def message(self) -> str:
        """The sentence that says what happened and what can be done."""
        return self.value

    @property
    def converged(self) -> bool:
        """Whether the run ended at a point that is as good as was asked for, or as rounding
        allows.
        """
        reached = (StopReason.MIN_LOSS, StopReason.MIN_GRADIENT_NORM, StopReason.ROUNDING_FLOOR)
        return self in reached or self in (StopReason.FROZEN, StopReason.KINK)


class TimeIsUp(Exception):
    """Raised where an evaluation would begin after the time that a stage is allowed; the stage ends
    with ``MAX_TIME``.
    """


class Progress(NamedTuple):
    """What the callback of :func:`infflow.train` gets after every accepted step."""

    stage: str  #: "flow" or "newton"
    step: int  #: accepted steps so far in this stage
    t: float  #: time of the flow; NaN in the second stage
    theta: Array  #: parameters, shape (P,), a copy of its own
    loss: float  #: loss at theta
    gradient_norm: float  #: infinity norm over the parameters that are not frozen


@dataclass
class Statistics:
    """What one stage of a run did and cost.

    ``rejected`` and ``factorizations`` are None where a library does not tell. Evaluations that
    only serve the recorded trajectory or the ``observables`` are not counted.
    """

    method: str
    steps: int = 0  #: accepted steps
    rejected: int | None = 0  #: rejected steps
    gradients: int = 0  #: gradient evaluations (those that came with a Hessian included)
    hessians: int = 0
    hvps: int = 0  #: Hessian-vector products
    factorizations: int | None = 0
    wall_time: float = 0.0  #: seconds, without those that numba compiled
    stop_reason: StopReason = StopReason.SKIPPED
    #: where values became infinite, which method was replaced, a library's message
    note: str = ""
    t: float = 0.0  #: time that a flow reached

    def add(self, earlier: Statistics, note: str) -> None:
        """Count what an earlier part of the same stage did, after which came a ``note``."""
        for name in ("steps", "rejected", "gradients", "hessians", "hvps", "factorizations"):
            both = getattr(self, name), getattr(earlier, name)
            setattr(self, name, None if None in both else sum(both))
        self.wall_time += earlier.wall_time
        self.note = "; ".join(filter(None, (earlier.note, note, self.note)))

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary; the stop reason by its name."""
        return {**self.__dict__, "stop_reason": self.stop_reason.name}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Statistics:
        """The inverse of :meth:`to_dict`."""
        return cls(**{**values, "stop_reason": StopReason[values["stop_reason"]]})

    def __str__(self) -> str:
        known = [f"{counted(self.steps, 'step')}"]
        for name in ("rejected", "gradients", "hessians", "hvps", "factorizations"):
            if getattr(self, name):
                known.append(f"{getattr(self, name)} {name}")
        text = (
            f"{self.method}: {', '.join(known)}, {self.wall_time:.3g} s. {self.stop_reason.message}"
        )
        return text + (f" ({self.note})" if self.note else "")


@dataclass
class StopRules:
    """The rules that both stages share, checked after every accepted step.

    Time runs from when the rules are made, and does not count what numba compiles. Within a step
    every evaluation calls :meth:`require_time` first, so that a limit is exceeded by one evaluation
    at most.
    """

    max_time: float
    max_steps: int
    min_loss: float
    min_gradient_norm: float
    patience: int
    callback: Callable[[Progress], Any] | None = None
    best_loss: float = math.inf
    best_step: int = 0
    previous_loss: float = math.inf
    #: whether every loss has to belong to its very point (a callback looks at it, patience counts
    #: it)
    exact: bool = False
    #: looks, once in a while, whether the path of a search ends at infinity
    lookout: Callable[[Progress], StopReason | None] | None = None
    started: float = field(default_factory=lambda: running_time())

    def check(self, progress: Progress) -> StopReason | None:
        """The reason to stop after this step, or None. Remembers the lowest loss for ``patience``.

        A bound ``min_gradient_norm`` of the size of rounding (below :data:`ROUNDING_GRADIENT`) does
        not end a search of fixed points while the loss is above ``min_loss`` and the last step
        lowered it by more than a ten-thousandth: next to a solution of loss zero that is flat in
        some directions, gradients of 1e-15 occur at losses of 1e-19.
        """
        loss = progress.loss
        step = progress.step
        falls = max(self.min_loss, 0.0) < loss < (1.0 - 1e-4) * self.previous_loss
        self.previous_loss = loss
        falls &= progress.stage == "newton" and self.min_gradient_norm < ROUNDING_GRADIENT
        if loss < self.best_loss:
            self.best_loss = loss
            self.best_step = step
        # a negative loss below a bound that is not negative is rounding of a sum that cancels
        if loss <= self.min_loss and (loss >= 0.0 or self.min_loss < 0.0):
            return StopReason.MIN_LOSS
        if progress.gradient_norm <= self.min_gradient_norm and not falls:
            return StopReason.MIN_GRADIENT_NORM
        if self.callback is not None and self._called_back(self.callback, progress):
            return StopReason.CALLBACK
        if step >= self.max_steps:
            return StopReason.MAX_STEPS
        if step - self.best_step >= self.patience:
            return StopReason.PATIENCE
        if self.elapsed() >= self.max_time:
            return StopReason.MAX_TIME
        if self.lookout is not None and progress.stage == "newton":
            return self.lookout(progress)
        return None

    def _called_back(self, callback: Callable[[Progress], Any], progress: Progress) -> bool:
        """Whether the callback asks to stop. It may keep theta, or write to it: its copy is none of
        the solver's.
        """
        answer = callback(progress._replace(theta=progress.theta.copy()))
        try:
            return bool(answer)
        except (TypeError, ValueError) as error:  # an array of several
            raise InvalidTypeError(
                f"the callback returned {shown(answer)}; True (stop), False or None is needed."
            ) from error

    def near_bound(self, loss: float, gradient_norm: float) -> bool:
        """Whether a loss that is known to a per cent, or a gradient to two digits, may have reached
        its bound.
        """
        return (
            loss <= 1.01 * max(self.min_loss, 0.0)
            or loss <= self.min_loss
            or gradient_norm <= 100 * self.min_gradient_norm
        )

    def elapsed(self) -> float:
        """Seconds since the stage began, without those that numba compiled."""
        return running_time() - self.started

    def require_time(self) -> None:
        """Raise :class:`TimeIsUp` where the allowed time is used up."""
        if self.elapsed() >= self.max_time:
            raise TimeIsUp
