"""Krawczyk's test: one zero of a gradient in a box, and the inertia of the Hessian there."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..terminal import Bar
from .ball import Ball, flint, lower, magnitude, total, upper
from .certificate import NOTHING, Certificate, Enclosure
from .network import BallEvaluation
from .pairs import BallMatrix

#: where the search for the largest box with a unique critical point begins
_FIRST_RADIUS = 1e-6
_ATTEMPTS = 12
#: a Hessian whose smallest eigenvalue is below this fraction of the largest is singular to rounding
_SINGULAR = 1e-13


class BallFunction(Protocol):
    """A loss in ball arithmetic."""

    def evaluate(self, theta: list[Ball], value: bool = True) -> BallEvaluation:
        """Loss (zero unless ``value``), gradient and Hessian over the box ``theta`` of P balls."""
        ...


@dataclass
class Outcome:
    """What was proved, or the reason why not."""

    reason: str
    radius: float = math.nan
    uniqueness_radius: float = math.nan
    loss: Enclosure = NOTHING
    loss_digits: str = ""
    index: int = -1
    positive: int = -1

    def certificate(
        self,
        theta: Array,
        frozen: Iterable[int],
        gauge: tuple[int, ...],
        assumptions: tuple[str, ...],
        precision: int,
    ) -> Certificate:
        """What it says of ``theta`` (P,), where the last four fields are those arguments."""
        return Certificate(
            not self.reason,
            self.reason,
            self.radius,
            self.uniqueness_radius,
            self.loss,
            self.loss_digits,
            self.index,
            self.positive,
            theta,
            tuple(int(k) for k in frozen),
            gauge,
            assumptions,
            precision,
        )


class Proof:
    """One proof; runs within a working precision. ``bar`` counts its evaluations."""

    def __init__(
        self,
        network: BallFunction,
        theta: Array,
        keep: NDArray[np.intp],
        bar: Bar | None = None,
    ) -> None:
        self.network, self.theta, self.keep = network, theta, [int(k) for k in keep]
        self.bar = bar

    def run(self) -> Outcome:
        """Find boxes that pass Krawczyk's test, then enclose loss and inertia in the smallest."""
        if not self.keep:
            return Outcome("No parameter is free: all are frozen or fixed by the gauge.")
        value, gradient, H = self._evaluate(0.0)
        middle = np.array([[float(x) for x in row] for row in H.tolist()])
        if not np.isfinite(middle).all():
            return Outcome(
                "The Hessian is not finite at theta: a neuron with a kink lies at zero. Move it "
                "or remove it."
            )
        values, self.basis = np.linalg.eigh((middle + middle.T) / 2)
        if np.abs(values).min() <= _SINGULAR * np.abs(values).max():
            return Outcome(
                "The Hessian is singular: its smallest eigenvalue is "
                f"{values[np.argmin(np.abs(values))]:.2g}. Run inf.classify, "
                "which names the symmetry behind it, and use the gauge, freeze a parameter "
                "along it, or merge the neurons."
            )
        self.inverse = float_matrix((self.basis / values) @ self.basis.T)
        steps = (self.inverse * _column(gradient)).entries()
        step = max(magnitude(x) for x in steps)
        unique = self._largest_box(step)
        if unique is None:
            return Outcome(
                f"Krawczyk's test fails: Newton's step changes a parameter by {step:.2g}, too "
                "far for what the Hessian "
                f"(smallest eigenvalue {np.abs(values).min():.2g}) changes on the way. Search "
                "the critical point with inf.train, or run inf.classify."
            )
        radius = self._smallest_radius(step, unique)
        H = self._evaluate(radius, value=False)[2]
        found = self.inertia(H)
        if found is None:
            return Outcome(
                "The critical point exists, but the signs of the eigenvalues of its Hessian "
                "could not be proved. Raise precision."
            )
        loss = self._loss(value, gradient, H, radius)
        enclosure = Enclosure(max(lower(loss), 0.0), upper(loss))
        return Outcome("", radius, unique, enclosure, loss.str(30), *found)

    def inertia(self, H: BallMatrix) -> tuple[int, int] | None:
        """Negative and positive eigenvalues of a Hessian (n, n) over the box; None if not known."""
        return inertia(H, self.basis)

    def _evaluate(self, radius: float, value: bool = True) -> tuple[Ball, list[Ball], BallMatrix]:
        """Loss, gradient and Hessian over the box of this radius around theta, on the parameters
        that are kept.
        """
        arb = flint().arb
        theta = [arb(float(x)) for x in self.theta]
        for k in self.keep:
            theta[k] = arb(float(self.theta[k]), radius)
        found = self.network.evaluate(theta, value)
        if self.bar is not None:
            self.bar.update()
        rows = found.hessian.tolist()
        H = flint().arb_mat([[rows[i][j] for j in self.keep] for i in self.keep])
        return found.value, [found.gradient[k] for k in self.keep], H

    def _contraction(self, radius: float) -> float:
        """Upper bound of |1 - C H(X)| in the row-sum norm over the box of this radius."""
        _, _, H = self._evaluate(radius, value=False)
        n = len(self.keep)
        one = flint().arb_mat(n, n, [int(i == j) for i in range(n) for j in range(n)])
        rows = (one - self.inverse * H).tolist()
        return max(magnitude(total(abs(x) for x in row)) for row in rows)

    def _image(self, step: float, contraction: float, radius: float) -> float:
        """Upper bound of |C g| + |1 - C H(X)| r, in which all zeros in the box lie."""
        with np.errstate(over="ignore", invalid="ignore"):
            bound = np.nextafter((step + contraction * radius) * (1 + 1e-15), np.inf)
        return float(bound) if bound < np.inf else math.inf

    def _passes(self, step: float, contraction: float, radius: float) -> bool:
        """Krawczyk's test: the box is mapped into its interior."""
        return self._image(step, contraction, radius) < radius

    def _largest_box(self, step: float) -> float | None:
        """Radius of the largest box, within a factor of about two, in which the critical point is
        unique.
        """
        radius = max(_FIRST_RADIUS, 4.0 * step)
        good = 0.0
        bad = math.inf
        for _ in range(_ATTEMPTS):
            q = self._contraction(radius)
            # the contraction grows about in proportion to the radius; aim at 1/2
            ahead = min(0.5 / max(q, 1e-4), 1e3) if math.isfinite(q) else 1e-2
            if self._passes(step, q, radius):
                good = radius
                radius = min(radius * max(ahead, 1.2), math.sqrt(good * bad))
            else:
                bad = radius
                radius = max(radius * min(ahead, 0.5), math.sqrt(good * bad))
            if radius <= step or bad < 2.5 * good or (good and ahead < 2.0):
                break
        return good or None

    def _smallest_radius(self, step: float, unique: float) -> float:
        """Radius of a small box that contains the critical point."""
        radius = min(max(2.0 * step, 1e-30), unique)
        q = self._contraction(radius)
        return self._image(step, q, radius) if self._passes(step, q, radius) else unique

    def _loss(self, value: Ball, gradient: list[Ball], H: BallMatrix, radius: float) -> Ball:
        """Taylor's formula around theta with the remainder over the box."""
        d = flint().arb(0, radius)
        rows = H.tolist()
        slope = total(g * d for g in gradient)
        curvature = total(x * d * d for row in rows for x in row) / 2
        return value + slope + curvature


def inertia(H: BallMatrix, basis: Array) -> tuple[int, int] | None:
    """Negative and positive eigenvalues, or None where their signs could not be proved.

    By Sylvester's law and Gershgorin's discs in a basis (n, n) that nearly diagonalises H.
    """
    V = float_matrix(basis)
    n = len(basis)
    one = flint().arb_mat(n, n, [int(i == j) for i in range(n) for j in range(n)])
    defect = (V.transpose() * V - one).tolist()
    if not max(magnitude(total(abs(x) for x in row)) for row in defect) < 1.0:
        return None  # V may be singular
    negative = positive = 0
    for i, row in enumerate((V.transpose() * H * V).tolist()):
        beside = total(abs(x) for j, x in enumerate(row) if j != i)
        if row[i] > beside:
            positive += 1
        elif row[i] < -beside:
            negative += 1
        else:
            return None
    return negative, positive


def float_matrix(M: Array) -> BallMatrix:
    """A matrix of balls that are these numbers exactly."""
    return flint().arb_mat([[float(x) for x in row] for row in M])


def _column(v: list[Ball]) -> BallMatrix:
    return flint().arb_mat(len(v), 1, v)
