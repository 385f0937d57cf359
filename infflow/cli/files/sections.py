"""The tables of a configuration file, as dataclasses.

A setting is one line: default, check, and the sentence that the example file shows.
"""
# ruff: noqa: RUF009  setting() makes a new field with each call

from __future__ import annotations

import copy
import inspect
from dataclasses import MISSING, dataclass, field
from typing import Any

import numpy as np

from ...fixedpoints import OPTIMIZERS
from ...flow import SOLVERS
from ...networks.finite.losses import LOSSES
from ...networks.infinite.neti import METHODS, OUTSIDE
from ...networks.parameters import INITS, PARAMETRIZATIONS
from ...training import train
from .checks import (
    Check,
    activation,
    array,
    boolean,
    choice,
    components,
    integer,
    loss,
    merges,
    number,
    table,
    text,
    texts,
    widths,
)

_LABELS = " and ".join(name for name, kind in LOSSES.items() if kind.needs_labels)

_TRAIN: dict[str, Any] = {name: p.default for name, p in inspect.signature(train).parameters.items()}


def setting(default: Any, check: Check, comment: str, example: Any = None) -> Any:
    """A field of a section. Without default (``MISSING``) the key is needed; ``example`` stands in the example file."""
    metadata = {"check": check, "comment": comment, "example": default if example is None else example}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    return field(default=None if default is MISSING else default, metadata={**metadata, "needed": default is MISSING})


def _of_train(name: str, check: Check, comment: str, example: Any = None) -> Any:
    """A setting with the default of :func:`infflow.train`."""
    return setting(_TRAIN[name], check, comment, example)


# --------------------------------------------------------------------------------------------------------- sections


@dataclass(frozen=True)
class StudentSettings:
    """The network that is trained."""

    hidden: list[int] = setting(MISSING, widths, "width of the hidden layer, or a list of widths", 3)
    input_dim: int | None = setting(None, integer(1), "length of an input; not needed with data.file", 5)
    activation: list[Any] = setting(
        ["softplus"], activation, "of all hidden layers, or a list with one per layer", "softplus"
    )
    bias: bool = setting(True, boolean, "biases in the hidden layers")
    output_dim: int = setting(1, integer(1), "number of outputs")
    output_bias: bool = setting(True, boolean, "bias in the output layer")
    parametrization: str = setting("standard", choice(*PARAMETRIZATIONS), f"one of {', '.join(PARAMETRIZATIONS)}")
    init: str = setting("glorot_normal", choice(*INITS), f"start: one of {', '.join(INITS)}")
    theta: list[float] | None = setting(None, array(1), "the start itself, instead of a random one", [0.1, 0.2])


@dataclass(frozen=True)
class TeacherSettings:
    """The network that gives the targets. What is not said is as in the student."""

    hidden: list[int] = setting(MISSING, widths, "width of the hidden layer, or a list of widths", 4)
    activation: list[Any] | None = setting(
        None, activation, "of all hidden layers, or a list with one per layer", "softplus"
    )
    bias: bool | None = setting(None, boolean, "biases in the hidden layers", True)
    output_bias: bool | None = setting(None, boolean, "bias in the output layer", True)
    parametrization: str | None = setting(
        None, choice(*PARAMETRIZATIONS), f"one of {', '.join(PARAMETRIZATIONS)}", "standard"
    )
    init: str = setting("standard_normal", choice(*INITS), f"one of {', '.join(INITS)}")
    seed: int = setting(1, integer(0), "of its parameters")
    theta: list[float] | None = setting(None, array(1), "its parameters themselves, instead of random ones", [0.1, 0.2])
    noise: float = setting(0.0, number(0.0), "standard deviation of the label noise")


@dataclass(frozen=True)
class InputSettings:
    """Distribution of the input: standard normal unless said otherwise."""

    mean: list[float] | None = setting(None, array(1), "of a Gaussian; zero by default", [0.0, 0.0, 0.0, 0.0, 0.0])
    covariance: list[list[float]] | None = setting(
        None, array(2), "of a Gaussian; the identity by default", [[1.0, 0.5], [0.5, 1.0]]
    )
    components: list[dict[str, Any]] | None = setting(
        None, components, "of a mixture of Gaussians", [{"weight": 1.0, "mean": [0.0], "covariance": [[1.0]]}]
    )


@dataclass(frozen=True)
class DataSettings:
    """Infinitely many samples, unless said otherwise."""

    samples: int | None = setting(None, integer(1), "so many samples of teacher and input", 10000)
    seed: int = setting(2, integer(0), "of the samples")
    file: str | None = setting(None, text, "an .npz with X, y and perhaps weights, instead of a teacher", "data.npz")
    loss: str = setting("mse", loss, f"one of {', '.join(LOSSES)}, huber(0.5); {_LABELS} for labels in a file")


@dataclass(frozen=True)
class LossSettings:
    """Evaluation of the loss, and what is added to it."""

    method: str = setting("auto", choice(*METHODS), f"of Gaussian integrals, one of {', '.join(METHODS)}")
    rtol: float = setting(1e-10, number(0.0, strict=True), "tolerance of the integrals")
    outside: str = setting("error", choice(*OUTSIDE), "with method surrogate: what to do outside of its domain")
    maxnorm: float = setting(np.inf, number(0.0, strict=True, infinite=True), "c of the barrier where |theta|^2/2 > c")
    ridge: float = setting(0.0, number(0.0), "adds ridge/2 |theta|^2")
    merge: Any = setting(
        None,
        merges,
        "adds lambda/2 |w_i - w_j|^2 for two neurons of layer 1, 2, ...; a table, or a list of them",
        {"layer": 1, "pair": [0, 1], "lambda": 0.1},
    )


@dataclass(frozen=True)
class FlowSettings:
    """The gradient flow."""

    solver: str = _of_train("solver", choice("auto", *SOLVERS), f"auto, {', '.join(SOLVERS)}")
    t_end: float = _of_train("t_end", number(0.0, strict=True, infinite=True), "time at which it ends")
    rtol: float = _of_train("rtol", number(0.0, strict=True), "relative tolerance of the path")
    atol: float = _of_train("atol", number(0.0, strict=True), "absolute tolerance of the path")
    eta: Any = _of_train("eta", array(0, 1), "time scale, or a list with one per parameter; 0 freezes it")
    step_size: float | None = _of_train("step_size", number(0.0, strict=True), "of gd and adam", 0.01)
    batch_size: int | None = _of_train("batch_size", integer(1), "samples per step of gd and adam", 100)
    num_trajectory: int = _of_train("num_trajectory", integer(2), "number of points that are kept")
    t_eval: list[float] | None = _of_train("t_eval", array(1), "exactly these times instead", [0.0, 1.0, 10.0])
    observables: list[str] | None = _of_train("observables", texts, "recorded along the path", ["lambda_min"])
    max_time: float = _of_train("max_time_flow", number(0.0, infinite=True), "seconds")
    max_steps: int = _of_train("max_steps_flow", integer(0), "0 skips the flow")
    options: dict[str, Any] | None = _of_train("solver_options", table, "of the solver", {"max_order": 5})


@dataclass(frozen=True)
class NewtonSettings:
    """The search of the fixed point from where the flow ended."""

    optimizer: str = _of_train("optimizer", choice("auto", *OPTIMIZERS), f"auto, {', '.join(OPTIMIZERS)}")
    max_time: float = _of_train("max_time_newton", number(0.0, infinite=True), "seconds")
    max_steps: int = _of_train("max_steps_newton", integer(0), "0 skips it")
    polish: str | None = _of_train(
        "polish", choice("exact"), "after method surrogate: the fixed point of the exact loss", "exact"
    )
    options: dict[str, Any] | None = _of_train("optimizer_options", table, "of the optimizer", {"scale": 100.0})


@dataclass(frozen=True)
class StopSettings:
    """When both stages stop."""

    min_loss: float = _of_train("min_loss", number(infinite=True), "loss that is small enough")
    min_gradient_norm: float = _of_train("min_gradient_norm", number(0.0), "gradient that is small enough")
    patience: int = _of_train("patience", integer(1), "steps without a new lowest loss")


@dataclass(frozen=True)
class OutputSettings:
    """What is written, and where."""

    folder: str = setting("out/train", text, "made if it does not exist")
    plot: bool = setting(True, boolean, "loss.png: loss and gradient norm against time")
    checkpoint: bool = setting(True, boolean, "checkpoint.npz, from which a stopped run goes on")


SECTIONS: dict[str, type] = {
    "student": StudentSettings,
    "teacher": TeacherSettings,
    "input": InputSettings,
    "data": DataSettings,
    "loss": LossSettings,
    "flow": FlowSettings,
    "newton": NewtonSettings,
    "stop": StopSettings,
    "output": OutputSettings,
}
SEED = "of the start; teacher and data have seeds of their own, so that a sweep over seeds trains on one problem"
