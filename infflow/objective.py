"""What a solver sees of a network: values, derivatives, and a few named capabilities.

Nothing in ``flow/`` or ``fixedpoints/`` knows more than this file, so the same solvers drive
finite-data networks, infinite-data networks and anything a user writes. To write an objective:

1. Give it ``num_params`` and ``evaluate(theta, order)``: that is an :class:`Objective`, enough
   for every solver that keeps to gradients or to Hessians that are written down.
2. Let ``evaluate`` return numbers that are not finite, or raise one of :data:`LEFT_DOMAIN`, where
   ``theta`` went too far. Solvers take the step back; any other error ends the run.
3. Add ``hvp`` (:class:`HessianProducts`) for many parameters, and :class:`Linearizable` where
   many products at one point are cheaper together.
4. Add what else it can do. Every protocol below says who asks for it, and what it must promise.
   A solver that cannot do without says so before it begins.

Nobody has to inherit from anything. Solvers ask ``isinstance(objective, Freezable)``, once where
they are built and never between two steps. The answer is yes where the object has every member
of the protocol, and none of them is None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ._validation import Array, shown
from .errors import DivergedError, InvalidTypeError, MethodError, SingularMomentError

#: errors by which an objective says that a point lies outside of its domain
LEFT_DOMAIN = (DivergedError, SingularMomentError, FloatingPointError, OverflowError)


class Evaluation(NamedTuple):
    """Value and, as far as the requested order goes, gradient ``(P,)`` and Hessian ``(P, P)``.

    See Also
    --------
    loss : the value alone.
    gradient : the gradient alone.
    hessian : the Hessian alone.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
    >>> found = neti.evaluate([0.5, 0.0, 1.0], order=1)
    >>> round(found.value, 4), found.gradient.shape, found.hessian is None
    (0.0519, (3,), True)
    """

    value: float
    gradient: Array | None = None
    hessian: Array | None = None

    @property
    def g(self) -> Array:
        """The gradient, where order 1 or 2 was asked for."""
        return required("gradient", self.gradient)

    @property
    def H(self) -> Array:
        """The Hessian, where order 2 was asked for."""
        return required("hessian", self.hessian)


def required(name: str, found: Array | None) -> Array:
    """What an evaluation was asked for, or an error where the objective left it out."""
    if found is None:
        raise MethodError(
            f"evaluate(theta, order) left out the {name}; return Evaluation(value, gradient, "
            "hessian) as far as order asks for."
        )
    return found


_ProtocolMeta: Any = type(Protocol)
#: members of each protocol; not kept in the class, where ``issubclass`` would take it for one
_MEMBERS: dict[type, tuple[str, ...]] = {}


class Capability(_ProtocolMeta):
    """What the protocols of this file have in common: how ``isinstance`` looks for their members.

    It looks at the object as ``hasattr`` does. The rule of ``typing`` depends on the version of
    Python: from 3.12 on it does not see what an object forwards by ``__getattr__``, so that a
    user's wrapper of a network would lose what the network can do, without a word. A member that
    is None is not there, as in the rule of ``typing``: ``hvp = None`` takes a method back.
    """

    def __init__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **more: Any
    ) -> None:
        super().__init__(name, bases, namespace, **more)
        if Protocol in bases:  # not so for a user's class that inherits from a protocol
            own = [each for each in namespace if not each.startswith("_")]
            inherited = [each for base in bases for each in _MEMBERS.get(base, ())]
            _MEMBERS[cls] = (*inherited, *own)

    def __instancecheck__(cls, instance: Any) -> bool:
        needed = _MEMBERS.get(cls)
        if needed is None:
            return type.__instancecheck__(cls, instance)
        return all(getattr(instance, name, None) is not None for name in needed)


def members(protocol: Capability) -> tuple[str, ...]:
    """The names that an object needs to have."""
    return _MEMBERS[protocol]


def lacking(instance: Any, protocol: Capability) -> list[str]:
    """Those of them that it has not, for messages."""
    return [name for name in _MEMBERS[protocol] if getattr(instance, name, None) is None]


@runtime_checkable
class Objective(Protocol, metaclass=Capability):
    """A twice differentiable function of a flat parameter vector ``theta`` of shape ``(P,)``."""

    @property
    def num_params(self) -> int:
        """Number of parameters P."""

    def evaluate(self, theta: Array, order: int = 0) -> Evaluation:
        """Value (order 0), and gradient (order 1), and Hessian (order 2) at ``theta``.

        The arrays belong to the caller. A solver that needs no Hessian never asks for order 2.
        """


@runtime_checkable
class HessianProducts(Protocol, metaclass=Capability):
    """Multiplies with its Hessian without forming it.

    Asked by ``cvode_bdf`` with ``"gmres"``, by Newton's method above 2,000 parameters, by the end
    rules of flows that large, and by ``inf.hvp`` and everything in ``spectrum.py``.
    """

    def hvp(self, theta: Array, v: Array) -> Array:
        """Hessian at ``theta`` times ``v`` of shape ``(P,)`` or ``(P, m)``, in that shape."""


@runtime_checkable
class Linearizable(Protocol, metaclass=Capability):
    """Makes many products with the Hessian at one point cheaper than :class:`HessianProducts` does.

    Asked wherever products are, and preferred. The function that is returned must agree with
    ``hvp`` to rounding, for as long as it lives: it may not look at ``theta`` again.
    """

    def linearize(self, theta: Array) -> Callable[[Array], Array]:
        """The Hessian at ``theta`` as a function of ``v``, shapes as in ``hvp``."""


@runtime_checkable
class LeastSquares(Protocol, metaclass=Capability):
    """Is a sum of squares, whose terms can be had.

    Asked by ``levenberg_marquardt`` and ``gauss_newton``. Their sum of squares must be the value
    of ``evaluate``, with everything that is added to it (a ridge is a square, too).
    """

    def residuals(self, theta: Array) -> Array:
        """Vector ``(M,)`` with the loss as its sum of squares."""

    def jacobian(self, theta: Array) -> Array:
        """Its Jacobian ``(M, P)``."""


@runtime_checkable
class ChoosesLoss(Protocol, metaclass=Capability):
    """Has the members of :class:`LeastSquares`, but is a sum of squares with some losses only.

    Asked before :class:`LeastSquares` is believed; see :func:`is_sum_of_squares`.
    """

    @property
    def loss_name(self) -> str:
        """The loss, for the message that refuses it."""

    @property
    def is_sum_of_squares(self) -> bool:
        """Whether ``residuals`` and ``jacobian`` can be called."""


@runtime_checkable
class Sampled(Protocol, metaclass=Capability):
    """Is a mean over samples.

    Asked by ``gd`` and ``adam`` with a ``batch_size``, and by ``gauss_newton``. Over a random
    subset, value and gradient must be unbiased estimates of those of all samples.
    """

    @property
    def num_samples(self) -> int:
        """How many there are."""

    def subset(self, indices: NDArray[np.integer]) -> Objective:
        """The same objective on these samples, ``(m,)`` integers, in this order."""


@runtime_checkable
class Freezable(Protocol, metaclass=Capability):
    """Depends on choices by tolerance, which change from point to point and make it jump a little.

    Asked where a search of fixed points begins.
    """

    def frozen(self, theta: Array) -> Objective:
        """The same objective with the choices of ``theta`` fixed; or the object itself."""


@runtime_checkable
class KnowsRounding(Protocol, metaclass=Capability):
    """Knows its rounding error better than value and curvature tell.

    Asked by the end rules of flows, by trust regions, and where ``optimizer="auto"`` looks for
    sums of squares that are nearly zero.
    """

    def loss_rounding(self, theta: Array, value: float) -> float | None:
        """Rounding error to expect of a loss ``value`` at ``theta``; None where it is not known."""


@runtime_checkable
class HasJumps(Protocol, metaclass=Capability):
    """Can say that its gradient jumps, so that implicit methods would meet a jump in each step.

    Asked by ``solver="auto"``.
    """

    @property
    def gradient_jumps(self) -> bool:
        """Whether it does."""


class PiecewiseSmooth(Protocol):
    """A loss that is smooth on either side of planes in the space of parameters, its *kinks*."""

    @property
    def size(self) -> int:
        """Number m of kinks."""

    def values(self, theta: Array) -> Array:
        """Functions (m,), linear in theta, whose zeros are the kinks."""

    def rounding(self, theta: Array) -> Array:
        """Rounding errors (m,) of these."""

    def normals(self, kinks: NDArray[np.intp]) -> Array:
        """Gradients (k, P) of some of these functions."""

    def jumps(self, theta: Array, kinks: NDArray[np.intp]) -> Array:
        """By how many normals (k,) the gradient above a kink exceeds that below."""

    def evaluate(self, theta: Array, sides: Array, order: int) -> Evaluation:
        """The loss on one piece, continued smoothly; ``sides`` (m,) are 1 above a kink, -1 below,
        and 0 for the slope below on the kink itself.
        """


@runtime_checkable
class HasPieces(Protocol, metaclass=Capability):
    """Knows where its gradient jumps, and is smooth between.

    Asked by the solver ``filippov``, by ``solver="auto"``, and by ``inf.classify``.
    """

    @property
    def pieces(self) -> PiecewiseSmooth | None:
        """Its kinks and its pieces; None where it does not know them."""


@runtime_checkable
class Observes(Protocol, metaclass=Capability):
    """Knows further quantities by name.

    Asked by ``inf.train(observables=["overlaps"])`` for names other than ``"lambda_min"``.
    """

    def observable(self, name: str) -> Callable[[Array], Any]:
        """The quantity as a function of ``theta``; for an unknown name an error that lists them."""


@runtime_checkable
class Identified(Protocol, metaclass=Capability):
    """Tells itself apart from objectives that agree with it at the start of a run, but not later.

    Asked by checkpoints, which compare what is to go on with what was begun: value and gradient at
    the start do not show a penalty whose terms vanish there.
    """

    @property
    def identity(self) -> dict[str, str]:
        """What else has to be the same, by name; names of settings of ``inf.train`` are taken."""


@runtime_checkable
class ChecksParameters(Protocol, metaclass=Capability):
    """Checks a parameter vector itself, with an error that knows more than the length.

    Asked by ``inf.train`` for its start.
    """

    def check(self, theta: Any) -> Array:
        """``theta`` as a finite float64 vector ``(P,)``, or an error."""


@runtime_checkable
class ChoosesMethod(Protocol, metaclass=Capability):
    """Evaluates its integrals by one of several methods.

    Asked by ``inf.train(polish="exact")``.
    """

    @property
    def method(self) -> str:
        """The present one."""

    def with_method(self, method: str) -> Objective:
        """The same objective with another one."""


@runtime_checkable
class HasMetric(Protocol, metaclass=Capability):
    """Has parameters that stand for several equal ones of a larger problem.

    Asked by ``inf.train``, ``inf.classify`` and ``inf.continuation``. Lengths are those of the
    larger problem: the square of a vector v is sum of multiplicities v^2. The flow of a number
    ``eta`` is divided by the multiplicities, and searches measure their steps by them.
    """

    @property
    def multiplicities(self) -> Array:
        """How many parameters each entry stands for, positive, (P,)."""


@runtime_checkable
class HasSymmetryTypes(Protocol, metaclass=Capability):
    """Knows the Hessian of a larger problem, symmetry type by symmetry type.

    Asked by ``inf.continuation`` and ``inf.classify`` for the index. The first type has the Hessian
    of the objective itself in orthonormal coordinates.
    """

    def symmetry_types(self, theta: Array, frozen: Any = None) -> list[Any]:
        """Types with ``name``, ``dimension`` (how often each eigenvalue occurs), ``hessian``,
        ``vectors``; without what is ``frozen``, (P,) booleans.
        """


@runtime_checkable
class HasFisher(Protocol, metaclass=Capability):
    """Has outputs, and knows the second moment of their gradients.

    Asked by ``inf.NaturalGradient``.
    """

    def fisher(self, theta: Array) -> Array:
        """E[grad f grad f'] summed over outputs, (P, P), symmetric, without any penalty."""


@runtime_checkable
class HasGradientCovariance(Protocol, metaclass=Capability):
    """Is a mean over samples, and knows how the gradients of single ones scatter.

    Asked by ``inf.SGDDiffusion``. It must depend smoothly on ``theta``: where it is sampled, the
    points are the same at every call.
    """

    def gradient_covariance(self, theta: Array) -> Array:
        """Covariance of the gradients of single samples, (P, P), positive semidefinite."""


#: all of them by name
CAPABILITIES: dict[str, Capability] = {
    each.__name__: each
    for each in (
        HessianProducts,
        Linearizable,
        LeastSquares,
        ChoosesLoss,
        Sampled,
        Freezable,
        KnowsRounding,
        HasJumps,
        HasPieces,
        Observes,
        Identified,
        ChecksParameters,
        ChoosesMethod,
        HasMetric,
        HasSymmetryTypes,
        HasFisher,
        HasGradientCovariance,
    )
}


def as_objective(net: Any) -> Objective:
    """Anything that has what solvers need, or an error."""
    if isinstance(net, type) or not isinstance(net, Objective):
        raise InvalidTypeError(
            f"net is {shown(net)}; a Net with data, a NetI, or an object with num_params and "
            "evaluate(theta, order) is needed."
        )
    return net


def require_samples(objective: Objective, batch_size: int) -> Sampled:
    """The objective as a mean over samples, or InvalidTypeError where it is none."""
    if isinstance(objective, Sampled):
        return objective
    raise InvalidTypeError(
        f"batch_size is {batch_size}, but {type(objective).__name__} has no samples to choose "
        "from: a Net with data, or an object with subset(indices) and num_samples, is needed."
    )


def linearizer(objective: Objective) -> Callable[[Array], Callable[[Array], Array]]:
    """The cheapest way to many products that the objective has, in the form of ``linearize``.

    What is returned raises MethodError if there is none: a solver may never come to need it.
    """
    if isinstance(objective, Linearizable):
        return objective.linearize
    if isinstance(objective, HessianProducts):
        multiply = objective.hvp
        return lambda theta: lambda v: multiply(theta, v)

    def refuse(theta: Array) -> Callable[[Array], Array]:
        raise no_products(objective, "this method")

    return refuse


def no_products(objective: Objective, asked_by: str) -> MethodError:
    """The error of a method that needs the products of an objective that has none."""
    return MethodError(
        f"{asked_by} needs Hessian-vector products, and {type(objective).__name__} has no "
        "hvp(theta, v). Give it one, or take a method that needs none."
    )
