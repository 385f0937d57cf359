"""Stochastic gradient descent as a diffusion."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._validation import Array, as_integer, as_rng, public, shown
from ..errors import InvalidTypeError, InvalidValueError, MethodError
from ..flow.integrator import Integrator
from ..flow.methods import Method
from ..flow.problem import FlowEvaluation, FlowProblem
from ..objective import HasGradientCovariance, HessianProducts, Linearizable, Objective, Sampled
from ..objective import no_products as _no_products
from ..options import Option, positive
from ..seeds import seed_of_run
from .modified_flow import ModifiedProblem
from .splitting import Splitting

#: seeds that are drawn from a generator are below this
_SEEDS = 2**63 - 1


class SGDDiffusion:
    r"""The Ito diffusion :math:`d\theta = -\nabla L\, dt + \sqrt{h/B}\; C(\theta)^{1/2}\, dW`.

    Mean and covariance of gradient descent with this step size on minibatches, at times
    :math:`k h`, are those of the diffusion up to errors of the first order in the step size. With
    ``modified`` the errors are of the second order (Li, Tai and E, J. Mach. Learn. Res. 20, 1
    (2019)): its drift is :math:`-\nabla (L + \tfrac{h}{4} |\nabla L|^2)`, that of
    :class:`~infflow.ModifiedFlow`. :math:`C` is the covariance of the gradients of single samples,
    :func:`infflow.gradient_covariance`: over the data of a ``Net``, drawn with replacement; for a
    ``NetI`` with fresh samples, exact where it has closed forms.

    Parameters
    ----------
    step_size : float
        :math:`h` of the descent that is modelled, positive.
    batch_size : int
        :math:`B`, samples per step.
    rng : int or numpy.random.Generator
        The seed of the path; a generator draws one. :func:`infflow.train_many` gives each start a
        path of its own.
    modified : bool
        Whether the drift is that of the modified loss.

    Notes
    -----
    The method is a splitting of weak order 2 (``dynamics/splitting.py``) with steps of length
    ``step_size``; ``solver_options={"step": h}`` takes others. A step takes two covariances and
    eigendecompositions (P, P), and memory does not grow with steps. It has no error control:
    ``rtol`` and ``atol`` play no part. A flow needs a ``t_end``, since it never rests; points at
    times ``t_eval`` between steps are on a straight line. A run in the span of the weights would
    miss the noise perpendicular to it: none is reduced.

    Raises
    ------
    InfflowError
        If an argument cannot be used.
    InvalidTypeError, InvalidValueError
        By ``train``, where the objective has no covariance of gradients, the batch is larger than
        the data, or ``t_end`` is missing.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "identity", False)], input=[[1.0], [1.0]], target=[1.0, -1.0])
    >>> noise = inf.SGDDiffusion(0.1, batch_size=1, rng=0)  # C = 4, L = theta^2 + 1
    >>> run = inf.train(net, [0.0], dynamics=noise, t_end=200.0, max_steps_newton=0,
    ...                 num_trajectory=200)
    >>> bool(abs(run.trajectory.theta[100:].var() - 0.1) < 0.05)  # 0.1 C/(2 H)
    True

    See Also
    --------
    infflow.stationary_covariance : where it settles.
    infflow.ModifiedFlow : its mean without noise.
    """

    name = "sgd_diffusion"
    commutes = False
    endless = True

    @public
    def __init__(
        self,
        step_size: float,
        batch_size: int = 1,
        rng: int | np.random.Generator = 0,
        modified: bool = False,
    ) -> None:
        self.step_size = positive("step_size", step_size)
        self.batch_size = as_integer("batch_size", batch_size, minimum=1)
        if isinstance(rng, np.random.Generator):
            self.seed = int(rng.integers(_SEEDS))
        else:
            as_rng(rng)  # raises where it is no seed
            self.seed = int(rng)
        if not isinstance(modified, bool):
            raise InvalidTypeError(f"modified is {shown(modified)}; True or False is needed.")
        self.modified = modified

    def __repr__(self) -> str:
        more = ", modified=True" if self.modified else ""
        return f"SGDDiffusion({self.step_size!r}, {self.batch_size}, {self.seed}{more})"

    @property
    def identity(self) -> dict[str, Any]:
        """Size and seed of the noise, and the drift."""
        return {
            "noise": self.step_size / self.batch_size,
            "noise seed": self.seed,
            "modified step": self.step_size if self.modified else 0.0,
        }

    def of_run(self, number: int) -> SGDDiffusion:
        """The same with the path of run ``number`` of many; run 0 keeps the seed."""
        seed = seed_of_run(self.seed, number)
        return SGDDiffusion(self.step_size, self.batch_size, seed, self.modified)

    def check(self, objective: Objective, theta0: Array, eta: float | Array) -> None:
        """It needs a covariance, and samples for its batches."""
        if not isinstance(objective, HasGradientCovariance):
            raise InvalidTypeError(
                f"{self!r} needs the covariance of the gradients of single samples, and "
                f"{type(objective).__name__} has none: take an inf.Net with data or an inf.NetI, "
                "or give the object gradient_covariance(theta), which returns an array (P, P)."
            )
        if isinstance(objective, Sampled) and self.batch_size > objective.num_samples:
            samples = objective.num_samples
            raise InvalidValueError(
                f"batch_size is {self.batch_size}, but there are only {samples} samples. Take "
                f"{samples} or fewer."
            )
        if self.modified and not isinstance(objective, HessianProducts | Linearizable):
            raise _no_products(objective, repr(self))
        objective.gradient_covariance(theta0)  # raises now where it cannot be had

    def method(
        self, solver: str, num_free: int, gradient_jumps: bool
    ) -> tuple[Method, dict[str, Any]]:
        """The splitting, whose step is that of the descent."""
        if solver != "auto":
            raise MethodError(
                f"solver {solver!r} follows paths without noise; {self!r} has a method of its own. "
                "Leave solver 'auto', and set its step by solver_options={'step': h}."
            )
        options = {"step": Option(positive, "length of every step; step_size unless given")}
        method = Method(
            "splitting",
            "splitting",
            2,
            0,
            self._build,
            options,
            "Strang, SIAM J. Numer. Anal. 5, 506 (1968)",
            adaptive=False,
        )
        return method, {"step": self.step_size}

    def problem(
        self, objective: Objective, theta0: Array, eta: float | Array, rtol: float, atol: float
    ) -> FlowProblem:
        """The drift."""
        if self.modified:
            return ModifiedProblem(objective, theta0, eta, rtol, atol, self.step_size)
        return FlowProblem(objective, theta0, eta, rtol, atol)

    def _build(
        self, problem: FlowProblem, z: Array, start: FlowEvaluation, options: dict[str, Any]
    ) -> Integrator:
        objective = problem.objective
        assert isinstance(objective, HasGradientCovariance)
        scale = math.sqrt(self.step_size / self.batch_size)
        return Splitting(
            problem, z, start, objective.gradient_covariance, scale, self.seed, **options
        )
