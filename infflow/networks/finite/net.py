"""Finite-data multilayer perceptrons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..._validation import (
    Array,
    as_array,
    as_choice,
    as_integer,
    as_number,
    as_real_array,
    counted,
    public,
    shown,
)
from ...errors import InvalidTypeError, InvalidValueError, ShapeError
from ...memory import require_memory
from ...objective import Evaluation
from ..parameters import (
    PARAMETRIZATIONS,
    WIDEST,
    Layer,
    Layout,
    Pair,
    factor_vector,
    finite,
    parse_layers,
    unit_rows,
    weight_factors,
)
from ..regularization import Regularization
from ..replacement import changed, recorded
from . import backprop as net_backprop
from . import covariance, jacobian_moments, kernels, one_output
from . import hessian as net_hessian
from . import hvp as net_hvp
from .backprop import Architecture, Data
from .losses import Loss, resolve_loss
from .pieces import Pieces, pieces_of

#: what to do where a Fisher matrix does not fit
FISHER_REMEDY = "Use a network with fewer parameters, or inf.reduce where the input is isotropic."
#: Up to this number of samples, those that cross kinks hold up implicit methods (docs/solvers.md).
_MANY_SAMPLES = 5000


class Net:
    r"""A multilayer perceptron, with data or as an architecture only.

    Layer l computes :math:`z_l = s_l(h_l)` with :math:`h_l = c_l W_l z_{l-1} + b_l`; the
    parametrization sets the factors :math:`c_l`. In the spherical one the rows of ``W_l`` of hidden
    layers are divided by their lengths.

    Parameters
    ----------
    layers : list of (int, activation, bool)
        Width, activation and bias of every layer, the output layer last. An activation is a
        registered name, an ``Activation``, or a list of these with one per neuron.
    input_dim : int, optional
        Length of an input; taken from ``input`` where that is given.
    input : array_like (N, input_dim), optional
        Samples. A float64 C-contiguous array is kept, not copied: do not change it afterwards.
    target : array_like (N,) or (N, output_dim), optional
        Targets; for ``loss="cross_entropy"`` integer labels ``(N,)`` in 0..output_dim-1.
    weights : array_like (N,), optional
        Sample weights, not negative, not all zero; the loss is :math:`\sum w \ell \,/ \sum w`.
    loss : {"mse", "cross_entropy", "huber", "huber(delta)"} or Loss
        Mean over samples of the squared error summed over outputs (no factor 1/2); mean negative
        log-likelihood of the softmax of the outputs; or as the first, with
        :math:`2 \delta |e| - \delta^2` in the place of :math:`e^2` for errors beyond :math:`\delta`
        (1 by default). :class:`infflow.Loss` says how to write another.
    maxnorm : float
        ``c`` of the barrier of the paper's eq. 6, :math:`(|\theta|^2/2 - c)^2` where
        :math:`|\theta|^2/2 > c`; infinite: none.
    ridge : float
        Adds :math:`\tfrac{\lambda}{2} |\theta|^2` with this :math:`\lambda`.
    merge : dict or list of dict, optional
        ``{"layer": 1, "pair": (i, j), "lambda": c}`` adds :math:`\tfrac{c}{2} |w_i - w_j|^2`, which
        brings two neurons of a layer together. Layers count from 1, as in ``W1, b1``, and neurons
        from 0. ``w`` is the row of W in theta, with the bias where the layer has one; output
        weights have no part in it.
    parametrization : {"standard", "ntk", "mean_field", "spherical"}
        Factor of ``W``: 1; :math:`1/\sqrt{\text{fan-in}}`; 1 in the first layer and 1/fan-in in the
        others. The factors are outside theta, and biases are not scaled. "spherical": hidden
        weights enter as ``w/|w|``, row by row, each without its bias; the output layer is as it is.
        The flow keeps ``|w|``, on which the loss does not depend; it is the flow on unit spheres,
        at a speed of ``1/|w|^2``. Ridge, barrier and merge are those of the weights as they enter.
        For spheres of another radius scale the argument of the activation,
        ``activation.affine(radius, 0)``.

    Attributes
    ----------
    input, target : ndarray or None
        The data.
    layers : tuple of Layer
        Width, one activation per neuron, and bias of each layer.
    weight_factors : tuple of float
        Factor of ``W`` in each layer.
    unit_rows : UnitRows or None
        The rows that enter with length one.
    layout : Layout
        Shapes and offsets of the parameters.
    is_compiled : bool
        Whether an evaluation is machine code alone, which never warns of overflow as NumPy does.

    Raises
    ------
    InfflowError
        A subclass that is also ValueError or TypeError, for every argument that cannot be used.

    See Also
    --------
    NetI : infinitely many samples.
    train : follow the flow.
    random_params : a start.

    Examples
    --------
    >>> import numpy as np
    >>> from infflow.networks.finite.net import Net
    >>> layers = [(2, "tanh", True), (1, "identity", False)]
    >>> net = Net(layers, input=[[0.0], [1.0]], target=[1.0, 0.0])
    >>> net.num_params
    6
    >>> net.evaluate(np.zeros(6), order=1)
    Evaluation(value=0.5, gradient=array([0., 0., 0., 0., 0., 0.]), hessian=None)
    """

    _arguments: dict[str, Any]  # the constructor's; replace reads them

    @public
    @recorded("layers", "input_dim", "input", "target", "weights")
    def __init__(
        self,
        layers: Any,
        input_dim: int | None = None,
        input: Any = None,
        target: Any = None,
        weights: ArrayLike | None = None,
        loss: str | Loss = "mse",
        maxnorm: float = np.inf,
        ridge: float = 0.0,
        parametrization: str = "standard",
        merge: Any = None,
    ) -> None:
        parsed = parse_layers(layers)
        if isinstance(input_dim, (list, tuple)) or (
            hasattr(input_dim, "__array__") and not isinstance(input_dim, np.generic)
        ):
            raise InvalidTypeError(
                "input_dim is an array; an integer is needed. Data are given by name: "
                "inf.Net(layers, input=X, target=y)."
            )
        X = None if input is None else check_inputs("input", input)
        if input_dim is None and X is None:
            raise InvalidValueError("Net needs input_dim, or input, from which it is taken.")
        dim = X.shape[1] if input_dim is None and X is not None else input_dim
        dim = as_integer("input_dim", dim, minimum=1, maximum=WIDEST)
        self.architecture = Architecture(parsed, dim)
        self._loss = resolve_loss(loss)
        self._loss.check_outputs(parsed[-1].width)
        self._regularization = Regularization.from_arguments(maxnorm, ridge, merge, self.layout)
        self.parametrization = as_choice("parametrization", parametrization, PARAMETRIZATIONS)
        self.weight_factors = weight_factors(self.layout, parametrization)
        self.factors = factor_vector(self.layout, self.weight_factors)
        self.unit_rows = unit_rows(self.layout, parametrization)
        if X is None and (target is not None or weights is not None):
            raise InvalidValueError(
                "Net was given target or weights without input; pass input as well."
            )
        self.is_compiled = (
            one_output.is_compiled(self.architecture, self._loss)
            and self.factors is None
            and not self._regularization.active
        )
        self._data = None if X is None else self._check_data(X, target, weights)

    def _check_data(self, X: Array, target: Any, weights: Any) -> Data:
        check_columns("input", X, self.input_dim)
        if target is None:
            raise InvalidValueError("input was given without target; pass both, or only input_dim.")
        _refuse_samples_in_columns(X, target, self.output_dim)
        y = self._loss.check_target(target, len(X), self.output_dim)
        return Data(X, y, None if weights is None else check_weights(weights, len(X)), self._loss)

    # ----------------------------------------------------------------------------------------------
    # what it is

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Width, activations and bias of each layer."""
        return self.architecture.layers

    @property
    def layout(self) -> Layout:
        """Shapes and offsets of the parameters."""
        return self.architecture.layout

    @property
    def num_params(self) -> int:
        """Number of parameters P."""
        return self.layout.num_params

    @property
    def input_dim(self) -> int:
        """Length of an input."""
        return self.layout.input_dim

    @property
    def output_dim(self) -> int:
        """Width of the output layer."""
        return self.architecture.widths[-1]

    @property
    def loss(self) -> Loss:
        """The loss, an object that says what it is (see :class:`infflow.Loss`)."""
        return self._loss

    @property
    def loss_name(self) -> str:
        """``"mse"``, ``"cross_entropy"``, ``"huber(1.0)"``, or the name of a loss of your own."""
        return self._loss.name

    @property
    def is_sum_of_squares(self) -> bool:
        """Whether :meth:`residuals` and :meth:`jacobian` are possible."""
        return self._loss.is_sum_of_squares

    @property
    def regularization(self) -> Regularization:
        """Barrier, ridge and pairs of neurons to merge."""
        return self._regularization

    @property
    def identity(self) -> dict[str, str]:
        """What a checkpoint is to agree in beside value and gradient at the start."""
        loss = {} if self.is_sum_of_squares else {"loss": self.loss_name}
        return {**loss, **self._regularization.identity()}

    @property
    def input(self) -> Array | None:
        """The samples ``(N, input_dim)``, or None."""
        return None if self._data is None else self._data.X

    @property
    def target(self) -> NDArray[Any] | None:
        """The targets ``(N, output_dim)``, or labels ``(N,)``, or None."""
        return None if self._data is None else self._data.target

    @property
    def num_samples(self) -> int:
        """Number N of samples; raises without data."""
        return len(self.data.X)

    @property
    def has_data(self) -> bool:
        """Whether it has samples, so that a loss is defined."""
        return self._data is not None

    @property
    def data(self) -> Data:
        """Inputs ``X``, ``target``, normalised ``weights`` (None if equal) and the loss; raises
        without data.
        """
        if self._data is None:
            raise InvalidValueError(
                "this Net has no data, so its loss is not defined; pass input and target, or "
                "use net.with_data(X, y)."
            )
        return self._data

    def __repr__(self) -> str:
        shape = "-".join(str(n) for n in (self.input_dim, *self.architecture.widths))
        samples = f", {counted(len(self._data.X), 'sample')}" if self._data is not None else ""
        return f"Net({shape}, {counted(self.num_params, 'parameter')}, {self.loss_name}{samples})"

    # --------------------------------------------------------------------------------------------
    # other nets from it

    def replace(self, **changes: Any) -> Net:
        """The same net with other arguments of the constructor; everything else, the data too, is
        kept.

        Parameters
        ----------
        **changes
            Arguments of :class:`Net` by name. ``input=None, target=None, weights=None`` leaves the
            data out; another number of inputs needs ``input_dim``.

        Raises
        ------
        InfflowError
            As the constructor, and InvalidTypeError for a name that it does not have.

        Examples
        --------
        >>> from infflow.networks.finite.net import Net
        >>> net = Net([(2, "tanh", True), (1, "identity", True)], input_dim=3)
        >>> net.replace(ridge=0.1).regularization.ridge
        0.1
        """
        known: dict[str, Any] = {"layers": self.layers, "input_dim": self.input_dim}
        data: dict[str, Any] = {"input": None, "target": None, "weights": None}
        if self._data is not None:
            data = {
                "input": self._data.X,
                "target": self._data.target,
                "weights": self._data.weights,
            }
        other = Net(**changed(self, {**known, **data}, changes))
        if self._data is None or not data.keys().isdisjoint(changes):
            return other
        # weights of a subset do not add up to one, which the constructor makes them do
        return other._with(Data(other.data.X, other.data.target, self._data.weights, other._loss))

    @public
    def with_data(self, X: Any, y: Any, weights: Any = None) -> Net:
        """The same architecture, loss and regularisation on other data."""
        return self._with(self._check_data(check_inputs("X", X), y, weights))

    def subset(self, indices: NDArray[np.intp]) -> Net:
        """The same net on some of its samples, in the given order (a mini-batch); indices are
        NumPy's.

        Sample weights are those that the samples have among all, times N over the number taken:
        loss and gradient of a random subset are unbiased estimates of those of all samples.
        (Divided by their sum in each subset they would not be.)
        """
        data = self.data
        indices = _check_indices(indices, len(data.X))
        X = data.X[indices]
        weights = None if data.weights is None else data.weights[indices] * (len(data.X) / len(X))
        return self._with(Data(X, data.target[indices], weights, self._loss))

    def _with(self, data: Data) -> Net:
        other = object.__new__(Net)
        other.__dict__.update(self.__dict__)
        other._data = data
        return other

    # ----------------------------------------------------------------------------------------------
    # parameters

    def pack(self, pairs: Any) -> Array:
        """Flat vector ``(P,)`` from ``[(W1, b1), (W2, None), ...]``; raises ShapeError where a
        shape differs.
        """
        return self.layout.pack(pairs)

    def unpack(self, theta: Any) -> list[Pair]:
        """``[(W1, b1), (W2, None), ...]`` as views of ``theta``."""
        return self.layout.unpack(theta)

    def scaled(self, theta: Array) -> Array:
        """The matrices and biases that multiply and add, ``(P,)``: ``theta`` times its factors, or
        with its rows of length one.
        """
        point = self.normalized(theta)
        return point if self.factors is None else point * self.factors

    def normalized(self, theta: Array) -> Array:
        """``theta`` with rows of length one where they enter so, ``(P,)``; penalties act on it.

        Raises
        ------
        InvalidValueError
            If such a row is zero.
        """
        return theta if self.unit_rows is None else self.unit_rows.apply(theta)

    def pulled(self, theta: Array, columns: Array) -> Array:
        """Gradients in ``theta``, ``(P,)`` or ``(P, m)``, from those in :meth:`scaled`."""
        if self.factors is not None:
            return columns * self.factors.reshape(-1, *(1,) * (columns.ndim - 1))
        if self.unit_rows is not None:
            return self.unit_rows.times_jacobian(theta, columns)
        return columns

    # ----------------------------------------------------------------------------------------------
    # evaluation

    def predict(self, theta: Any, X: Any) -> Array:
        """Outputs ``(N, output_dim)`` for inputs ``X`` ``(N, input_dim)``; for cross-entropy before
        the softmax.

        Raises
        ------
        ShapeError, InvalidValueError, InvalidTypeError
            If ``theta`` or ``X`` has a wrong shape or is not finite.
        DivergedError
            If numbers overflow.
        """
        inputs = check_inputs("X", X)
        check_columns("X", inputs, self.input_dim)
        with np.errstate(over="ignore", invalid="ignore"):
            outputs = net_backprop.predict(
                self.architecture, self.scaled(self.layout.check(theta)), inputs
            )
        return finite("the outputs are", outputs)

    def evaluate(self, theta: Any, order: int = 0) -> Evaluation:
        """Value, gradient ``(P,)`` from order 1, Hessian ``(P, P)`` from order 2, at ``theta``
        ``(P,)``.

        Where numbers overflow, the result is not finite, as solvers expect of a step that went too
        far (so too in the methods below, which they call); the public functions ``loss``,
        ``gradient``, ``hessian`` and ``hvp`` raise there.

        Raises
        ------
        ShapeError, InvalidValueError, InvalidTypeError
            If ``theta`` has a wrong length or is not finite, ``order`` is not 0, 1 or 2, or the net
            has no data.
        TooLargeError
            If the Hessian would not fit in memory.
        """
        theta = self.layout.check(theta)
        if type(order) is not int or not 0 <= order <= 2:
            order = as_integer("order", order, minimum=0, maximum=2)
        if self.unit_rows is None:
            return self._evaluate(theta, order)
        return self.unit_rows.pull(theta, self._evaluate(self.normalized(theta), order))

    def _evaluate(self, theta: Array, order: int) -> Evaluation:
        """The same where all rows have the length with which they enter."""
        data = self.data
        if self.is_compiled:
            return Evaluation(*one_output.derivatives(self.architecture, theta, data, order))
        phi = theta if self.factors is None else theta * self.factors
        gradient: Array | None = None
        hessian: Array | None = None
        with np.errstate(over="ignore", invalid="ignore"):
            if one_output.applies(self.architecture, order, data.loss):
                value, gradient, hessian = one_output.derivatives(
                    self.architecture, phi, data, order
                )
            elif order == 2:
                value, gradient, hessian = net_hessian.derivatives(self.architecture, phi, data)
            else:
                value, gradient = net_backprop.value_and_gradient(
                    self.architecture, phi, data, order
                )
            if self.factors is not None:
                gradient = None if gradient is None else gradient * self.factors
                if hessian is not None:
                    kernels.scale_symmetric(hessian, self.factors)
            if self._regularization.active:
                value += self._regularization.value(theta)
                if gradient is not None:
                    gradient += self._regularization.gradient(theta)
                if hessian is not None:
                    self._regularization.add_hessian(theta, hessian)
        return Evaluation(value, gradient, hessian)

    def needs_no_blas(self, order: int) -> bool:
        """Whether :meth:`evaluate` does without BLAS, so that nobody has to choose its threads."""
        data = self._data
        return (
            data is not None
            and self.is_compiled
            and one_output.is_small(self.architecture, len(data.X), order)
        )

    def hvp(self, theta: Any, v: Any) -> Array:
        """Hessian times ``v`` of shape ``(P,)`` or ``(P, m)``, by Pearlmutter's R-operator (Neural
        Comput. 6, 1994).

        Raises
        ------
        ShapeError, InvalidValueError
            If ``theta`` or ``v`` has a wrong shape or is not finite, or the net has no data.
        """
        data = self.data
        theta = self.layout.check(theta)
        phi = self.scaled(theta)
        return self._products(
            theta, lambda columns: net_hvp.hvp(self.architecture, phi, data, columns)
        )(v)

    def linearize(self, theta: Any) -> Callable[[Any], Array]:
        """The Hessian at ``theta`` ``(P,)`` as a function of ``v``, for many products:
        as :meth:`hvp`, but forward and backward pass over the data are made once and
        kept (up to 256 MiB; larger data are passed for every product).

        Raises
        ------
        ShapeError, InvalidValueError
            As :meth:`hvp`.
        """
        theta = self.layout.check(theta).copy()
        with np.errstate(over="ignore", invalid="ignore"):
            operator = net_hvp.HessianOperator(self.architecture, self.scaled(theta), self.data)
        return self._products(theta, operator)

    def _products(self, theta: Array, product: Callable[[Array], Array]) -> Callable[[Any], Array]:
        """Hessian at ``theta`` times ``v``, from the one with respect to the scaled parameters."""
        point = self.normalized(theta)

        def scaled(columns: Array) -> Array:
            if self.factors is None:
                result = product(columns)
            else:
                result = product(columns * self.factors[:, None]) * self.factors[:, None]
            if self._regularization.active:
                result += self._regularization.hvp(point, columns)
            return result

        times: Callable[[Array], Array] = scaled
        with np.errstate(over="ignore", invalid="ignore"):
            if self.unit_rows is not None:
                times = self.unit_rows.product(theta, self._evaluate(point, 1).g, scaled)

        def checked(v: Any) -> Array:
            v = self.layout.check_directions(v)
            with np.errstate(over="ignore", invalid="ignore"):
                return times(v.reshape(self.num_params, -1)).reshape(v.shape)

        return checked

    # ----------------------------------------------------------------------------------------------
    # sums of squares

    def residuals(self, theta: Any) -> Array:
        """Vector ``(M,)`` with the loss as its sum of squares, in compensated arithmetic; see
        ``sum_of_squares.py``.

        Raises
        ------
        MethodError
            If the loss is no sum of squares.
        """
        from . import sum_of_squares as residuals

        with np.errstate(over="ignore", invalid="ignore"):
            return residuals.residuals(self, self.layout.check(theta))

    def jacobian(self, theta: Any) -> Array:
        """Jacobian ``(M, P)`` of :meth:`residuals`; raises TooLargeError if it would not fit in
        memory.
        """
        from . import sum_of_squares as residuals

        with np.errstate(over="ignore", invalid="ignore"):
            return residuals.jacobian(self, self.layout.check(theta))

    # ----------------------------------------------------------------------------------------------
    # second moments of gradients

    def fisher(self, theta: Any) -> Array:
        r""":math:`\E[\nabla f\, \nabla f^\T]` over the samples, ``(P, P)``; see
        :func:`infflow.fisher`.
        """
        require_memory(self.num_params, "the Fisher matrix", remedy=FISHER_REMEDY)
        return jacobian_moments.fisher_of_data(self, self.layout.check(theta))

    def gradient_covariance(self, theta: Any) -> Array:
        """Covariance of the gradients of single samples, ``(P, P)``; see
        :func:`infflow.gradient_covariance`.
        """
        return covariance.gradient_covariance(self, theta)

    @property
    def gradient_jumps(self) -> bool:
        """Whether kinks of activations cross samples so seldom that each crossing is a jump of the
        gradient, not one of many.
        """
        corners = any(f.has_corners for layer in self.layers for f in layer.activations)
        return corners and len(self.data.X) <= _MANY_SAMPLES

    @property
    def pieces(self) -> Pieces | None:
        """Kinks and smooth pieces of the loss, or None where they are not known.

        They are known for one hidden layer. Its neurons are smooth, or linear on either side of 0
        (relu, leaky_relu, abs).
        """
        return pieces_of(self)

    def loss_rounding(self, theta: Any, value: float) -> float | None:
        """Rounding error to expect of a loss ``value`` at ``theta``; None where it is not known."""
        from . import sum_of_squares as residuals

        return residuals.loss_rounding(
            self, self.layout.check(theta), as_number("value", value, infinite=True)
        )


def check_inputs(name: str, value: Any) -> Array:
    """``(N, D)`` finite inputs, not empty."""
    X = as_real_array(name, value)
    if X.ndim != 2:
        raise ShapeError(
            f"{name} has shape {X.shape}; (N, input_dim) is needed, one sample per row."
        )
    if X.size == 0:
        raise ShapeError(
            f"{name} is empty (shape {X.shape}); at least one sample with one entry is needed."
        )
    return X


def check_columns(name: str, X: Array, input_dim: int) -> None:
    """Raise unless samples have as many entries as a network has inputs."""
    if X.shape[1] == input_dim:
        return
    hint = (
        f" It has {counted(len(X), 'row')}: samples are rows, pass {name}.T."
        if len(X) == input_dim
        else ""
    )
    raise ShapeError(
        f"{name} has {counted(X.shape[1], 'column')}; the network has input dimension "
        f"{input_dim}.{hint}"
    )


def _refuse_samples_in_columns(X: Array, target: Any, outputs: int) -> None:
    """Raise where the number of samples stands in the second place of the input, and in the last
    one of the target.
    """
    shape = as_array("target", target).shape
    N = X.shape[1]
    turned = shape == (outputs, N) or (
        shape == (N,) and len(X) < N
    )  # otherwise a target is missing, or one too many
    if turned and shape[0] != len(X):
        also = " and target.T" if len(shape) == 2 else ""
        raise ShapeError(
            f"input has shape {X.shape} and target {shape}: the {counted(N, 'sample')} seem to "
            "be columns. "
            f"One sample per row is needed: pass input.T{also}."
        )


def _check_indices(indices: Any, num_samples: int) -> NDArray[Any]:
    """Indices of samples that NumPy takes: integers in range, or a mask ``(N,)``."""
    found = as_array("indices", indices)
    if found.ndim != 1 or found.dtype.kind not in "iub" or not found.size:
        raise InvalidTypeError(
            f"indices is {shown(indices)}; an array (n,) of integers, or a mask (N,), is needed."
        )
    if found.dtype.kind == "b" and (len(found) != num_samples or not found.any()):
        raise ShapeError(
            f"indices is a mask of shape {found.shape}; ({num_samples},) is needed, with a "
            "sample in it."
        )
    if (
        found.dtype.kind != "b"
        and not -num_samples <= int(found.min()) <= int(found.max()) < num_samples
    ):
        raise InvalidValueError(
            f"indices goes from {found.min()} to {found.max()}; there are {num_samples} samples."
        )
    return found


def check_weights(value: Any, num_samples: int) -> Array:
    """Sample weights, divided by their sum."""
    weights = as_real_array("weights", value)
    if weights.shape != (num_samples,):
        raise ShapeError(
            f"weights has shape {weights.shape}; ({num_samples},) is needed, one per sample."
        )
    if weights.min() < 0.0:
        raise InvalidValueError(
            f"weights has the negative entry {weights.min():g}; weights must be at least 0."
        )
    largest = weights.max()
    if largest == 0.0:
        raise InvalidValueError("weights are all zero; at least one must be positive.")
    weights = weights / largest  # a sum of large numbers could overflow
    return weights / weights.sum()
