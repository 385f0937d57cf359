"""Perceptrons trained along the gradient flow, as scikit-learn estimators.

They fit into pipelines, grid searches and cross-validation. The regressor minimises the mean
squared error or another loss, the classifier the cross-entropy; both follow the flow with a stiff
solver and, if asked, Newton's method to the fixed point.

See Also
--------
Net : the network behind the estimators.

Examples
--------
>>> import numpy as np
>>> import infflow as inf
>>> X = np.linspace(-1, 1, 20)[:, None]
>>> model = inf.sklearn.GradientFlowRegressor((2,), "tanh", random_state=0).fit(X, X[:, 0])
>>> bool(model.score(X, X[:, 0]) > 0.9)
True
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    check_random_state,
    validate_data,
)

from .._validation import as_flag, as_integer, as_items, as_number, counted, user_level
from ..errors import InfflowError, InvalidTypeError, InvalidValueError
from ..networks.finite.losses import Loss, resolve_loss
from ..networks.finite.net import Net
from ..networks.parameters import random_params
from ..stopping import StopReason
from ..training import train
from .sklearn_kernels import NNGPKernel as NNGPKernel
from .sklearn_kernels import NTKKernel as NTKKernel

__all__ = ["GradientFlowClassifier", "GradientFlowRegressor", "NNGPKernel", "NTKKernel"]

#: The flow has come as far as was asked for; handed over and skipped are stages without an end of
#: their own.
_DONE = (StopReason.T_END, StopReason.HANDOVER, StopReason.SKIPPED)

_PARAMETERS = """    Parameters
    ----------
    hidden_layer_sizes : tuple of int
        Widths of the hidden layers; empty for a linear model.
    activation : str, Activation, or a list with one per hidden layer
        Of the hidden layers. The output layer is linear.
    loss : str or Loss, optional
        As in :class:`infflow.Net`. None: the squared error of a regressor, the cross-entropy of a
        classifier.
    ridge : float
        Adds ridge/2 |theta|^2 to the loss (the mean over samples), biases included.
    t_end : float
        Time at which the flow ends. A finite time is early stopping; with infinity the flow ends
        at ``tol`` or ``max_steps``.
    tol : float
        The flow ends where the gradient (infinity norm) is below this.
    rtol : float
        Relative and absolute tolerance of the integrator per parameter.
    solver : str
        Integrator, as in :func:`infflow.train`.
    newton : bool
        Whether Newton's method goes on from where the flow ended, to the fixed point. ``t_end``
        should then be infinite.
    max_steps : int
        Steps of the flow, and of Newton's method, at most. A fit that they end raises
        scikit-learn's ``ConvergenceWarning``.
    n_starts : int
        Number of random initial parameters (Glorot, normal); the one with the lowest loss in the
        end is kept.
    random_state : int, RandomState or None
        For the initial parameters.

    Attributes
    ----------
    net_ : Net
        The architecture, without the data.
    theta_ : (P,) array
        The parameters that were found.
    loss_ : float
        The loss there, on the training data, ridge included.
    result_ : Result
        Of :func:`infflow.train`; ``result_.status`` says why the run ended, ``result_.plot()``
        draws it.
    n_features_in_ : int
        Number of inputs.
    feature_names_in_ : array
        Their names, if all are strings.
"""


_Class = TypeVar("_Class", bound=type)


def _documented(cls: _Class) -> _Class:
    """Put the parameters and attributes that both estimators share into the docstring."""
    cls.__doc__ = (cls.__doc__ or "").replace("    [parameters]\n", _PARAMETERS)
    return cls


@contextmanager
def _own_errors() -> Iterator[None]:
    """Turn the errors of scikit-learn's checks, with their words, into errors of infflow; these are
    ValueError and TypeError as well.
    """
    try:
        # numbers of a longer type become infinite, which is refused
        with np.errstate(over="ignore"):
            yield
    except np.exceptions.ComplexWarning as error:
        raise InvalidTypeError("Complex data not supported") from error
    except (InfflowError, Warning):
        raise
    except (ValueError, OverflowError, MemoryError) as error:
        raise InvalidValueError(str(error) or type(error).__name__) from error
    except Exception as error:  # raised by the object that is converted
        raise InvalidTypeError(str(error) or type(error).__name__) from error


class _GradientFlowEstimator(BaseEstimator):
    """The common part of regressor and classifier."""

    _loss = "mse"  #: unless another is asked for

    def __init__(
        self,
        hidden_layer_sizes: Any = (10,),
        activation: Any = "softplus",
        *,
        loss: str | Loss | None = None,
        ridge: float = 1e-4,
        t_end: float = 1e3,
        tol: float = 1e-5,
        rtol: float = 1e-4,
        solver: str = "auto",
        newton: bool = False,
        max_steps: int = 2000,
        n_starts: int = 1,
        random_state: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.loss = loss
        self.ridge = ridge
        self.t_end = t_end
        self.tol = tol
        self.rtol = rtol
        self.solver = solver
        self.newton = newton
        self.max_steps = max_steps
        self.n_starts = n_starts
        self.random_state = random_state

    def _layers(self, outputs: int) -> list[tuple[int, Any, bool]]:
        sizes = self.hidden_layer_sizes
        if isinstance(sizes, (int, np.integer)):
            sizes = [sizes]
        sizes = as_items("hidden_layer_sizes", sizes, "a tuple of integers, e.g. (10, 5),")
        given = self.activation
        activations = list(given) if isinstance(given, (list, tuple)) else [given] * len(sizes)
        if len(activations) != len(sizes):
            raise InvalidValueError(
                f"activation lists {counted(len(activations), 'activation')} for "
                f"{counted(len(sizes), 'hidden layer')}."
            )
        hidden = [
            (width, activation, True) for width, activation in zip(sizes, activations, strict=True)
        ]
        return [*hidden, (outputs, "identity", True)]

    def _checked_loss(self) -> Loss:
        """The loss that was asked for, for targets of the kind that the estimator has."""
        usual = resolve_loss(self._loss)
        loss = usual if self.loss is None else resolve_loss(self.loss)
        if loss.needs_labels != usual.needs_labels:
            kinds = "labels of classes", "real numbers"
            needed, has = kinds if loss.needs_labels else kinds[::-1]
            raise InvalidValueError(
                f"loss is {loss.name!r}, which needs {needed}; {type(self).__name__} has {has}. "
                "Leave it out, or take "
                f"GradientFlow{'Classifier' if loss.needs_labels else 'Regressor'}."
            )
        return loss

    def _train(self, X: Any, target: Any, weights: Any, outputs: int) -> None:
        """Set ``net_``, ``theta_``, ``loss_`` and ``result_``."""
        as_flag("newton", self.newton)
        starts = as_integer("n_starts", self.n_starts, minimum=1)
        steps = as_integer("max_steps", self.max_steps, minimum=1)
        tol = as_number("tol", self.tol, minimum=0.0)
        layers = self._layers(outputs)
        loss = self._checked_loss()
        net = Net(layers, input=X, target=target, weights=weights, loss=loss, ridge=self.ridge)
        with _own_errors():
            random = check_random_state(self.random_state)
        best = None
        for _ in range(starts):
            found = train(
                net,
                random_params(net, rng=int(random.randint(2**31 - 1))),
                solver=self.solver,
                t_end=self.t_end,
                rtol=self.rtol,
                atol=self.rtol,
                # steps and tolerances bound the run, so that it is the same on every machine
                max_time_flow=np.inf,
                max_time_newton=np.inf,
                max_steps_flow=steps,
                max_steps_newton=steps if self.newton else 0,
                min_gradient_norm=tol,
                progress=False,
            )
            if best is None or found.loss < best.loss:
                best = found
        assert best is not None  # n_starts is at least 1
        # the architecture only: estimators are stored and sent around without the data
        self.net_ = Net(layers, input_dim=X.shape[1], loss=loss, ridge=self.ridge)
        self.result_ = best
        self.theta_ = best.theta
        self.loss_ = best.loss
        if best.status not in _DONE and not best.converged:
            used_up = f"all {steps} steps (max_steps) are used up."
            reason = used_up if best.status is StopReason.MAX_STEPS else best.status.message
            warnings.warn(
                f"The fit has not converged: {reason} The gradient norm is "
                f"{best.gradient_norm:.2g} (tol={tol:g}). "
                "Scale inputs and targets, raise max_steps, or end the flow earlier with t_end.",
                ConvergenceWarning,
                stacklevel=user_level(),
            )

    def _outputs(self, X: Any) -> Any:
        check_is_fitted(self)
        with _own_errors():
            X = validate_data(self, X, dtype=np.float64, reset=False)
        return self.net_.predict(self.theta_, X)

    def _check_weights(self, sample_weight: Any, X: Any) -> Any:
        if sample_weight is None:
            return None
        with _own_errors(), warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            return _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )


@_documented
class GradientFlowRegressor(MultiOutputMixin, RegressorMixin, _GradientFlowEstimator):
    """A perceptron fitted to the mean squared error, or another loss, along its gradient flow.

    With ``loss="huber(delta)"`` outliers, errors beyond delta, count linearly.

    [parameters]

    Examples
    --------
    >>> import numpy as np
    >>> from infflow.exchange.sklearn import GradientFlowRegressor
    >>> X = np.linspace(-2, 2, 50)[:, None]
    >>> model = GradientFlowRegressor((5,), "tanh", random_state=0).fit(X, np.sin(2 * X[:, 0]))
    >>> bool(model.score(X, np.sin(2 * X[:, 0])) > 0.99)
    True
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> GradientFlowRegressor:
        """Fit to ``X`` (N, D) and ``y`` (N,) or (N, O), with weights (N,) of the samples."""
        with _own_errors():
            X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
            y = np.asarray(y, dtype=np.float64)
        weights = self._check_weights(sample_weight, X)
        self._vector = y.ndim == 1
        self._train(X, y, weights, 1 if self._vector else y.shape[1])
        return self

    def predict(self, X: Any) -> Any:
        """Outputs (N,) or (N, O) for ``X`` (N, D)."""
        outputs = self._outputs(X)
        return outputs[:, 0] if self._vector else outputs


@_documented
class GradientFlowClassifier(ClassifierMixin, _GradientFlowEstimator):
    """A perceptron with a softmax, fitted to the cross-entropy along its gradient flow.

    Where classes can be separated the loss has no minimum but for ``ridge``; ``t_end`` bounds the
    weights too.

    [parameters]
    classes_ : (C,) array
        The labels, sorted.

    Examples
    --------
    >>> from infflow.exchange.sklearn import GradientFlowClassifier
    >>> X = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    >>> y = ["same", "differ", "differ", "same"]
    >>> GradientFlowClassifier((4,), "tanh", random_state=0).fit(X, y).score(X, y)
    1.0
    """

    _loss = "cross_entropy"

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> GradientFlowClassifier:
        """Fit to ``X`` (N, D) and labels ``y`` (N,), with weights (N,) of the samples."""
        with _own_errors():
            X, y = validate_data(self, X, y, dtype=np.float64)
            check_classification_targets(y)
        weights = self._check_weights(sample_weight, X)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InvalidValueError(
                f"y has only one class, {self.classes_[0]!r}; a classifier needs at least two "
                "classes."
            )
        self._train(X, labels, weights, len(self.classes_))
        return self

    def decision_function(self, X: Any) -> Any:
        """Outputs before the softmax (N, C); for two classes their difference (N,), positive for
        the second class.
        """
        outputs = self._outputs(X)
        return outputs[:, 1] - outputs[:, 0] if len(self.classes_) == 2 else outputs

    def predict_log_proba(self, X: Any) -> Any:
        """Logarithms of the probabilities of the classes (N, C)."""
        outputs = self._outputs(X)
        outputs = outputs - outputs.max(axis=1, keepdims=True)
        return outputs - np.log(np.exp(outputs).sum(axis=1, keepdims=True))

    def predict_proba(self, X: Any) -> Any:
        """Probabilities of the classes (N, C)."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: Any) -> Any:
        """The most probable class of each row."""
        outputs = self._outputs(X)
        return self.classes_[outputs.argmax(axis=1)]
