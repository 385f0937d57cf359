"""The tables of a configuration file, as dataclasses.

A setting is one line: default, check, and the sentence that the example file shows. Those that are
arguments of :func:`infflow.train` have all three from there.
"""
# ruff: noqa: RUF009  setting() makes a new field with each call

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import Any

import numpy as np

from ...networks.finite.losses import LOSSES
from ...networks.infinite.neti import METHODS, OUTSIDE
from ...networks.parameters import INITS, PARAMETRIZATIONS
from ...options import Check, choice, integer, number, setting
from ...settings import FIELDS
from .checks import (
    activation,
    array,
    boolean,
    components,
    dynamics,
    loss,
    merges,
    table,
    text,
    texts,
    widths,
)

_LABELS = " and ".join(name for name, kind in LOSSES.items() if kind.needs_labels)


def _of_train(name: str, form: Check | None = None) -> Any:
    """A setting as the argument of :func:`infflow.train`, with its default, check and sentence.

    ``form`` checks how a file writes it, where Python has more ways or other words.
    """
    known = FIELDS[name].metadata
    check = known["check"] if form is None else _both(form, known["check"])
    return setting(FIELDS[name].default, check, known["sentence"], known["example"], of_train=name)


def _both(form: Check, check: Check) -> Check:
    def both(name: str, value: Any) -> Any:
        kept = form(name, value)
        check(name, kept)
        return kept

    return both


# --------------------------------------------------------------------------------------------------
# sections


@dataclass(frozen=True)
class StudentSettings:
    """The network that is trained."""

    hidden: list[int] = setting(
        MISSING, widths, "width of the hidden layer, or a list of widths", 3
    )
    input_dim: int | None = setting(
        None, integer(1), "length of an input; not needed with data.file", 5
    )
    activation: list[Any] = setting(
        ["softplus"], activation, "of all hidden layers, or a list with one per layer", "softplus"
    )
    bias: bool = setting(True, boolean, "biases in the hidden layers")
    output_dim: int = setting(1, integer(1), "number of outputs")
    output_bias: bool = setting(True, boolean, "bias in the output layer")
    parametrization: str = setting(
        "standard", choice(*PARAMETRIZATIONS), f"one of {', '.join(PARAMETRIZATIONS)}"
    )
    init: str = setting("glorot_normal", choice(*INITS), f"start: one of {', '.join(INITS)}")
    theta: list[float] | None = setting(
        None, array(1), "the start itself, instead of a random one", [0.1, 0.2]
    )


@dataclass(frozen=True)
class TeacherSettings:
    """The network that gives the targets. What is not said is as in the student."""

    hidden: list[int] = setting(
        MISSING, widths, "width of the hidden layer, or a list of widths", 4
    )
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
    theta: list[float] | None = setting(
        None, array(1), "its parameters themselves, instead of random ones", [0.1, 0.2]
    )
    noise: float = setting(0.0, number(0.0), "standard deviation of the label noise")


@dataclass(frozen=True)
class InputSettings:
    """Distribution of the input: standard normal unless said otherwise."""

    mean: list[float] | None = setting(
        None, array(1), "of a Gaussian; zero by default", [0.0, 0.0, 0.0, 0.0, 0.0]
    )
    covariance: list[list[float]] | None = setting(
        None, array(2), "of a Gaussian; the identity by default", [[1.0, 0.5], [0.5, 1.0]]
    )
    components: list[dict[str, Any]] | None = setting(
        None,
        components,
        "of a mixture of Gaussians",
        [{"weight": 1.0, "mean": [0.0], "covariance": [[1.0]]}],
    )


@dataclass(frozen=True)
class DataSettings:
    """Infinitely many samples, unless said otherwise."""

    samples: int | None = setting(None, integer(1), "so many samples of teacher and input", 10000)
    seed: int = setting(2, integer(0), "of the samples")
    file: str | None = setting(
        None, text, "an .npz with X, y and perhaps weights, instead of a teacher", "data.npz"
    )
    loss: str = setting(
        "mse", loss, f"one of {', '.join(LOSSES)}, huber(0.5); {_LABELS} for labels in a file"
    )


@dataclass(frozen=True)
class LossSettings:
    """Evaluation of the loss, and what is added to it."""

    method: str = setting(
        "auto", choice(*METHODS), f"of Gaussian integrals, one of {', '.join(METHODS)}"
    )
    rtol: float = setting(1e-10, number(0.0, strict=True), "tolerance of the integrals")
    outside: str = setting(
        "error", choice(*OUTSIDE), "with method surrogate: what to do outside of its domain"
    )
    maxnorm: float = setting(
        np.inf, number(0.0, strict=True, infinite=True), "c of the barrier where |theta|^2/2 > c"
    )
    ridge: float = setting(0.0, number(0.0), "adds ridge/2 |theta|^2")
    merge: Any = setting(
        None,
        merges,
        "adds lambda/2 |w_i - w_j|^2 for two neurons of layer 1, 2, ...; a table, or a list of "
        "them",
        {"layer": 1, "pair": [0, 1], "lambda": 0.1},
    )


@dataclass(frozen=True)
class FlowSettings:
    """The gradient flow."""

    solver: str = _of_train("solver")
    t_end: float = _of_train("t_end")
    rtol: float = _of_train("rtol")
    atol: float = _of_train("atol")
    eta: Any = _of_train("eta", array(0, 1))
    step_size: float | None = _of_train("step_size")
    batch_size: int | None = _of_train("batch_size")
    num_trajectory: int = _of_train("num_trajectory")
    t_eval: list[float] | None = _of_train("t_eval", array(1))
    observables: list[str] | None = _of_train("observables", texts)
    max_time: float = _of_train("max_time_flow")
    max_steps: int = _of_train("max_steps_flow")
    reduce: Any = _of_train("reduce")
    options: dict[str, Any] | None = _of_train("solver_options", table)
    dynamics: dict[str, Any] | None = _of_train("dynamics", dynamics)


@dataclass(frozen=True)
class NewtonSettings:
    """The search of the fixed point from where the flow ended."""

    optimizer: str = _of_train("optimizer")
    max_time: float = _of_train("max_time_newton")
    max_steps: int = _of_train("max_steps_newton")
    polish: str | None = _of_train("polish")
    options: dict[str, Any] | None = _of_train("optimizer_options", table)


@dataclass(frozen=True)
class StopSettings:
    """When both stages stop."""

    min_loss: float = _of_train("min_loss")
    min_gradient_norm: float = _of_train("min_gradient_norm")
    patience: int = _of_train("patience")


@dataclass(frozen=True)
class OutputSettings:
    """Files that are written, and their folder."""

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
SEED = (
    "of the start; teacher and data have seeds of their own, so that a sweep over seeds trains "
    "on one problem"
)
