"""When the rest of a flow without ``t_end`` is not worth integrating."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .._validation import Array
from ..errors import MethodError, TooLargeError
from ..rounding import gradient_rounding, is_hidden, loss_rounding
from ..stopping import StopReason, TimeIsUp
from .integrator import Step, restored
from .krylov_path import KrylovModel
from .problem import FlowEvaluation, FlowProblem

#: beyond this number of parameters eigendecompositions cost more than the rules can save:
#: Hessian-vector products take their place
LARGEST = 2000
#: steps up to this length, in units of the tolerances, may be what error control lets through on a
#: path that has ended
NOISE = 2.0
#: curvature below this part of the largest one, and below ten relative tolerances, may be that of
#: a valley seen from its walls; so many Newton steps lead to its bottom
SOFT = 1e-2
MOST_STEPS = 3
#: steps for a doubling of the time beyond which a flow crawls; in curved valleys it takes tens
CRAWL = 500
_EPS = float(np.finfo(float).eps)


class Lap(NamedTuple):
    """Since when the time has not doubled."""

    t: float = 0.0
    loss: float = math.inf  #: the loss then
    steps: int = 0  #: steps since then


class EndState(NamedTuple):
    """When the rules are looked at again, and what they compare with."""

    short: float = 0.0  #: times of the next looks: at short steps,
    small: float = 0.0  #: at small gradients,
    level: float = 0.0  #: at a level loss
    small_loss: float = math.inf  #: the loss at the last look at small gradients
    level_loss: float = math.inf  #: the loss at the last look at a level loss
    rests: bool = False  #: whether the rest of a path handed over is shorter than the tolerances


class EndOfPath:
    """Recognises the end of a flow that has no ``t_end``.

    The path from here to the fixed point of the quadratic model at the current point is -sum_i (c_i
    / lambda_i) v_i, with the eigenvalues lambda_i and eigenvectors v_i of the Hessian and the
    components c_i of the gradient. The flow *hands over* to an optimizer when this rest is shorter
    than the tolerances (weighted root mean square of the displacement at most 1), the last step at
    most twice as long, and no eigenvalue is negative beyond rounding. A direction that is flat to
    rounding counts with the distance c_i t that it would still move until the time has doubled, or
    with 0 where c_i is rounding too. Integrators keep to the bottom of a curved valley within their
    tolerances only, and on its walls the curvature along it has errors of the same order, of both
    signs: where there is weak curvature, the model is that at the bottom.

    It also hands over when the loss changed by less than its rounding error, and by less than a
    tenth, while time grew tenfold, and the gradient is a millionth of the first one: then only the
    search can tell where the valley ends.

    It has reached the *rounding floor* when every derivative is below its own rounding error, or so
    small that the loss would not change before the variable has doubled, and the loss fell by less
    than a tenth while the time doubled. So end paths to a fixed point at infinity. Long before,
    every integrator crawls along such a channel, whose walls are steeper than its tolerances can
    resolve: once the gradient is a millionth of the first one and below the rounding error of the
    steepest force, eps |H| |z|, or time takes more than :data:`CRAWL` steps to double while the
    loss falls by less than a tenth, the flow hands over, since the search follows channels in steps
    that grow.

    All rules but that of time need curvature; they are looked at when the time has doubled
    (or grown tenfold), and when the last step or the gradient is so small that they can
    apply. Above :data:`LARGEST` parameters the Newton step comes from conjugate gradients,
    which end where it is longer than the tolerances or only rounding is left of the gradient;
    negative curvature is what these meet and what Lanczos' method sees at the end of that
    step; sizes of derivatives come from products with random signs (see ``krylov_path.py``).
    There a flow without a search is *at rest* when its loss is, and the rest of the path is
    shorter than the tolerances: iterative solutions of the linear systems keep its gradient
    above rounding for ever.

    The rules look at the loss, also where other dynamics follow it: these come to rest at the same
    points. Where the state has velocities, the rest of the path contains what they reach.

    Parameters
    ----------
    problem : FlowProblem
        The flow.
    start : FlowEvaluation
        Evaluation at its start.
    hand_over : bool
        Whether an optimizer follows.
    """

    def __init__(self, problem: FlowProblem, start: FlowEvaluation, hand_over: bool) -> None:
        self.problem = problem
        self.hand_over = hand_over
        self._small = 1e-6 * problem.gradient_norm(problem.force(start))
        self._size = len(problem.free)
        # up to that size no products are needed
        self._has_products = problem.has_products or self._size <= LARGEST
        self.state = EndState()
        self.lap = Lap()
        self._z = np.empty(0)  # the whole state at the last look

    def kept(self) -> dict[str, Any]:
        """Entries of a checkpoint."""
        return {"looks": self.state, "lap": self.lap}

    def restore(self, kept: dict[str, Any]) -> None:
        """Go on from them."""
        self.state = restored(self.state, kept["looks"], self._size)
        self.lap = restored(self.lap, kept["lap"], self._size)

    def reached(self, step: Step, z0: Array) -> StopReason | None:
        """Whether, and why, the flow can end after this step, which began at ``z0``."""
        problem = self.problem
        self._z = step.z
        z0 = problem.position(z0)
        step = step._replace(
            z=problem.position(step.z), evaluation=problem.loss_part(step.evaluation)
        )
        low = self.problem.gradient_norm(step.evaluation.gradient) <= self._small
        if self._crawls(step) and low and self.hand_over:
            return StopReason.HANDOVER
        short = (
            self.hand_over
            and step.t >= self.state.short
            and self._length(step.z - z0, step.z) <= NOISE
        )
        level = low and step.t >= self.state.level and (self.hand_over or self._size > LARGEST)
        small = low and step.t >= self.state.small
        if not (short or level or small) or not self._has_products:
            return None
        before = (self.state, self.lap)
        try:
            return self._judge(self._model(step), step.t, short, level, small)
        except TimeIsUp:
            self.state, self.lap = before  # a run that goes on looks at its next step
            raise
        except (NotImplementedError, MethodError, TooLargeError):
            if self._size <= LARGEST:
                raise
            self._has_products = False
            return None

    def _judge(
        self, local: DenseModel | KrylovModel, t: float, short: bool, level: bool, small: bool
    ) -> StopReason | None:
        """Which of the rules that are looked at end the path at time ``t``."""
        value = local.evaluation.value
        if short:
            self.state = self.state._replace(short=2 * t)
        if level:
            before = self.state.level_loss
            self.state = self.state._replace(level=10 * t, level_loss=value)
            # a loss that grows within its rounding is at rest, too: noise of the integrator
            level = before - value <= 0.1 * abs(value) and abs(
                before - value
            ) <= self._loss_rounding(local)
        if (short or level) and self._path_ends(local, t, level and self.hand_over):
            return StopReason.HANDOVER if self.hand_over else StopReason.AT_REST
        if small:
            slow = value > 0.9 * self.state.small_loss
            self.state = self.state._replace(small=2 * t, small_loss=value)
            if slow and self._is_rounding(local):
                return StopReason.ROUNDING_FLOOR
            if slow and self.hand_over and _is_drowned(local):
                return StopReason.HANDOVER
        return None

    def _model(self, step: Step) -> DenseModel | KrylovModel:
        """The quadratic model at the end of a step."""
        if self._size <= LARGEST:
            known = step.evaluation.hessian is not None
            evaluation = step.evaluation if known else self.problem.evaluate_loss(step.z, 2)
            return DenseModel(self.problem, evaluation, step.z)
        evaluation = step.evaluation if step.exact else self.problem.evaluate_loss(step.z, 1)
        return KrylovModel(self.problem, evaluation, step.z)

    def _path_ends(self, local: DenseModel | KrylovModel, t: float, level: bool) -> bool:
        """Whether the rest of the path is shorter than the tolerances (``level``: or longer) and
        leads to no saddle.
        """
        if isinstance(local, DenseModel):
            rest = remaining_path(self.problem, local.evaluation, local.z, t)
            rests = rest is not None and self._reach(rest, local) <= 1.0
            self.state = self.state._replace(rests=rests)
            return rests or (rest is not None and level)

        def noise() -> Array:
            return gradient_rounding(local.evaluation.value, local.diagonal, local.z)

        rest, complete = local.rest(noise, math.inf if level else 1.0)
        if (
            not (complete or level)
            or KrylovModel(self.problem, local.evaluation, local.z + rest).is_saddle()
        ):
            return False
        rests = complete and self._reach(rest, local) <= 1.0
        self.state = self.state._replace(rests=rests)
        return True

    def _crawls(self, step: Step) -> bool:
        t, loss, steps = self.lap
        if step.t >= 2.0 * t:
            self.lap = Lap(step.t, step.evaluation.value)
            return False
        self.lap = Lap(t, loss, steps + 1)
        return steps > CRAWL and step.evaluation.value > 0.9 * loss

    def _length(self, displacement: Array, z: Array) -> float:
        return self.problem.loss_norm(displacement, z, z)

    def _reach(self, rest: Array, local: DenseModel | KrylovModel) -> float:
        """Length of the rest of the path, with what velocities add to it."""
        hessian = local.evaluation.hessian if isinstance(local, DenseModel) else None
        more = self.problem.excursion(self._z, hessian)
        return self._length(rest if more is None else np.hypot(rest, more), local.z)

    def _loss_rounding(self, local: DenseModel | KrylovModel) -> float:
        """Rounding error of the loss: from the objective where it knows it, else an estimate."""
        value = local.evaluation.value
        found = self.problem.loss_noise(local.z, value)
        return loss_rounding(value, local.diagonal, local.z) if found is None else float(found)

    def _is_rounding(self, local: DenseModel | KrylovModel) -> bool:
        """Whether every derivative is, or cannot change the loss before its variable has
        doubled.
        """
        value, gradient, *_ = local.evaluation
        return is_hidden(value, gradient, local.diagonal, local.z, 4.0, self._loss_rounding(local))


class DenseModel(NamedTuple):
    """The quadratic model at one point, with its Hessian."""

    problem: FlowProblem
    evaluation: FlowEvaluation
    z: Array

    @property
    def diagonal(self) -> Array:
        """Diagonal of the Hessian, shape (n,)."""
        assert self.evaluation.hessian is not None
        return np.diagonal(self.evaluation.hessian)

    @property
    def norm(self) -> float:
        """Frobenius norm of the Hessian."""
        assert self.evaluation.hessian is not None
        return float(np.linalg.norm(self.evaluation.hessian))


def _is_drowned(local: DenseModel | KrylovModel) -> bool:
    """Whether the gradient is smaller than what the steepest force rounds to at this distance from
    the origin.
    """
    floor = 2 * _EPS * local.norm * float(np.abs(local.z).max())
    return float(np.abs(local.evaluation.gradient).max()) <= floor


def remaining_path(
    problem: FlowProblem, evaluation: FlowEvaluation, z: Array, t: float
) -> Array | None:
    """Displacement (n,) from here to the end of the flow of the quadratic model; None on a saddle.

    The model is that at the bottom of the valley, a few Newton steps in the directions of hard
    walls from here.
    """
    limit = min(10 * problem.rtol, SOFT)
    moved = np.zeros_like(z)
    for steps_left in reversed(range(MOST_STEPS + 1)):
        gradient = evaluation.gradient
        hessian = evaluation.hessian
        assert hessian is not None
        if not (math.isfinite(evaluation.value) and np.isfinite(hessian).all()):
            return None
        values, vectors = np.linalg.eigh(hessian)
        largest = float(np.abs(values).max())
        diagonal = np.diagonal(hessian)
        if values[0] < -limit * largest:
            return None
        components = gradient @ vectors
        hard = values > limit * largest
        step = -vectors[:, hard] @ (components[hard] / values[hard])
        if (
            hard.all()
            or not steps_left
            or np.abs(step).max(initial=0.0) <= 16 * _EPS * np.abs(z).max()
        ):
            break
        moved += step
        evaluation = problem.evaluate_loss(z + moved, 2)
    floor = len(values) * _EPS * largest
    if values[0] < -floor:
        return None
    flat = values <= floor
    noise = gradient_rounding(evaluation.value, diagonal, z + moved) @ np.abs(vectors)
    components[flat & (np.abs(components) <= 4 * noise)] = 0.0
    rates = np.where(flat, 1.0, values)
    rest: Array = moved - vectors @ np.where(flat, components * t, components / rates)
    return rest
