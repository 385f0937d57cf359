"""The base class of losses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...._validation import Array, as_real_array, counted
from ....errors import InvalidValueError, ShapeError


class Loss(ABC):
    """A loss on finite data: a weighted sum over samples of a function of outputs and target.

    Pass an object of a subclass as ``inf.Net(..., loss=...)``. Methods get a block of ``B`` samples
    at a time, arrays of outputs with the sample *last*: outputs ``z`` are ``(K, B)``. The target is
    what :meth:`check_target` returned, its *first* index the sample: ``(B, K)``, or labels
    ``(B,)``. Weights ``w`` ``(B,)`` are part of the result of every method; they add up to one over
    all blocks, and some may be zero. The network does the rest: the chain rule through the layers,
    blocks, regularisation.

    1. Set ``name``, and the class attributes below that are true.
    2. Write :meth:`value_and_gradient` and :meth:`curvature`. Write into the arrays that are given;
       their content before is arbitrary. The gradient has to be continuous for flows and searches
       to work; the curvature may jump.
    3. Write :meth:`directional` if there is a quicker way than multiplying by :meth:`curvature`.
    4. Overwrite :meth:`check_target` if targets are not real numbers ``(N, K)``.
    5. Put the class at the top level of a module, so that networks can be stored and sent to other
       processes. A frozen dataclass also makes losses equal that mean the same.

    Attributes
    ----------
    name : str
        What messages and files call it. Losses that differ need different names, parameters
        included: a checkpoint is told by it from that of another run.
    is_sum_of_squares : bool
        The loss is ``|z - y|^2``: residuals, Levenberg-Marquardt and infinite data are possible.
    curvature_is_constant : bool
        The Hessian with respect to the outputs is two times the identity, whatever outputs and
        target are, as that of the squared error. The Jacobian alone gives Gauss-Newton parts then.
    is_zero_at_target : bool
        The loss is zero where outputs equal targets, positive elsewhere, and grows there with the
        second power.
    needs_labels : bool
        Targets are integer labels of classes.
    is_shift_invariant : bool
        Adding the same number to all outputs changes nothing, so that the loss is flat along it.
    is_compiled : bool
        :meth:`value_and_gradient` is machine code, such as a function of numba, and never warns of
        overflow as NumPy does. Small networks need less time a call then.

    See Also
    --------
    Net : takes it, or its name.

    Examples
    --------
    >>> import numpy as np
    >>> import infflow as inf
    >>> class LogCosh(inf.Loss):
    ...     name = "log_cosh"
    ...     is_zero_at_target = True
    ...
    ...     def value_and_gradient(self, z, target, w, gradient):
    ...         error = z - target.T
    ...         gradient[:] = w * np.tanh(error)
    ...         size = np.abs(error)
    ...         return float(np.sum(w * (size + np.log1p(np.expm1(-2 * size) / 2))))
    ...
    ...     def curvature(self, z, target, w, out):
    ...         out[:] = 0.0
    ...         for i, error in enumerate(z - target.T):
    ...             out[i, i] = w / np.cosh(error) ** 2
    >>> layers = [(1, "identity", True)]
    >>> net = inf.Net(layers, input=[[0.0], [1.0]], target=[0.0, 2.0], loss=LogCosh())
    >>> inf.gradient(net, [2.0, 0.0])
    array([0., 0.])
    >>> inf.hessian(net, [2.0, 0.0])
    array([[0.5, 0.5],
           [0.5, 1. ]])
    """

    name: str
    is_sum_of_squares: ClassVar[bool] = False
    curvature_is_constant: ClassVar[bool] = False
    is_zero_at_target: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    is_shift_invariant: ClassVar[bool] = False
    is_compiled: ClassVar[bool] = False

    def __init_subclass__(cls, **arguments: Any) -> None:
        """A class that evaluates in its own way says anew whether that is machine code."""
        super().__init_subclass__(**arguments)
        if "value_and_gradient" in vars(cls) and "is_compiled" not in vars(cls):
            cls.is_compiled = False

    def check_outputs(self, outputs: int) -> None:
        """Raise InvalidValueError if a network with so many outputs cannot have this loss."""
        return

    def check_target(self, target: Any, num_samples: int, outputs: int) -> NDArray[Any]:
        """The target as the array that the other methods read, its first index the sample.

        Here real numbers ``(N, K)`` as float64; ``(N,)`` is accepted for one output.

        Raises
        ------
        InfflowError
            A subclass that is also ValueError or TypeError, if it cannot be used.
        """
        y = as_real_array("target", target)
        if y.shape == (num_samples,) and outputs == 1:
            y = y.reshape(-1, 1)
        if y.shape != (num_samples, outputs):
            also = f" or ({num_samples},)" if outputs == 1 else ""
            raise ShapeError(
                f"target has shape {y.shape}; ({num_samples}, {outputs}){also} is needed for "
                f"{counted(num_samples, 'sample')} and {counted(outputs, 'output')}."
            )
        return y

    @abstractmethod
    def value_and_gradient(
        self, z: Array, target: NDArray[Any], w: Array, gradient: Array
    ) -> float:
        """The sum; writes its gradient with respect to ``z`` to ``gradient`` ``(K, B)``."""

    @abstractmethod
    def curvature(self, z: Array, target: NDArray[Any], w: Array, out: Array) -> None:
        """Write the Hessian with respect to ``z`` to ``out`` ``(K, K, B)``."""

    def directional(self, z: Array, target: NDArray[Any], w: Array, rz: Array, out: Array) -> None:
        """Write that Hessian times directions ``rz`` ``(K, m, B)`` to ``out`` ``(K, m, B)``."""
        hessian = np.empty((len(z), *z.shape))
        self.curvature(z, target, w, hessian)
        np.einsum("ijn,jmn->imn", hessian, rz, out=out)

    def readable(self, z: Array, target: Any) -> tuple[float, Array, Array]:
        """Value, gradient ``(K,)`` and Hessian ``(K, K)`` of one sample by the formula, for tests.

        Raises
        ------
        InvalidValueError
            If the subclass has none.
        """
        raise InvalidValueError(
            f"the loss {self.name!r} has no readable twin; write {type(self).__name__}.readable."
        )
