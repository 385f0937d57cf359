"""What the arguments of ``OrderParameters`` ask for: rates, and moments of fourth order."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._validation import Array
from ..activations import Activation
from ..errors import InvalidValueError, SingularMomentError
from ..integrals.fourth.rows import closed_form_applies, jumps
from ..networks.infinite.neti import NetI
from .equations.fourth_moments import ClosedFourthMoments, FourthMoments, SampledFourthMoments
from .rates import Rates, Schedule, as_rates

METHODS = ("auto", "closed", "sampling")


class Learning(NamedTuple):
    """Rates as they were given, and as functions of time for the loss without a factor 1/2."""

    learning_rate: float | list[float]
    second_layer_rate: float | list[float]
    schedule: Schedule
    first_layer_moves: bool


def learning_of(neti: NetI, first: Any, second: Any, given: Any, half_loss: bool) -> Learning:
    """The rates of both layers, constant or not.

    Parameters
    ----------
    first, second
        Rates of the layers, numbers or arrays (K,); the second may be None.
    given
        The argument ``schedule``.
    half_loss : bool
        Whether rates refer to half of the squared error.
    """
    K = neti.student.layers[0].width
    w = as_rates("learning_rate", first, K)
    v = w if second is None else as_rates("second_layer_rate", second, K)
    factor = 0.5 if half_loss else 1.0
    ones = np.ones(neti.output_dim)
    rates = Rates(factor * w, factor * v, neti.teacher.noise, neti.regularization.ridge, ones)
    schedule = Schedule(rates, given, factor)
    scheduled = {"learning_rate", "second_layer_rate"} & set(schedule.names)
    if not (w.any() or v.any() or scheduled):
        raise InvalidValueError(
            "Both rates are 0, so nothing moves; give one of the layers a positive rate."
        )
    moves = bool(w.any()) or "learning_rate" in scheduled
    return Learning(_plain(w), _plain(v), schedule, moves)


def _plain(rates: Array) -> float | list[float]:
    """One number where all are the same."""
    return float(rates[0]) if (rates == rates[0]).all() else rates.tolist()


def fourth_moments_of(
    students: list[Activation],
    teachers: list[Activation],
    method: str,
    samples: int,
    rng: np.random.Generator,
) -> FourthMoments:
    """The evaluator of the noise of single samples, by one of ``METHODS``.

    Raises
    ------
    SingularMomentError
        If a student jumps: the variance of its gradients is infinite.
    MethodError
        If closed forms are asked for where there are none.
    """
    for activation in students:
        if jumps(activation):
            raise SingularMomentError(
                f"{activation.name} jumps: the variance of its gradients is infinite, so that "
                "there is no online learning with it. Use a continuous activation, e.g. erf or "
                "relu."
            )
    activations = [*students, *teachers]
    K = len(students)
    closed = method == "closed" or (method == "auto" and closed_form_applies(activations, K))
    if closed:
        return ClosedFourthMoments(activations, K)
    return SampledFourthMoments(activations, K, samples, rng)
