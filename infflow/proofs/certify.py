"""Proofs of critical points of infinite-data networks in ball arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._validation import Array, as_integer, public, shown
from ..classification.hidden import hidden_layers, homogeneity
from ..errors import InvalidTypeError, InvalidValueError
from ..memory import require_memory
from ..networks.frozen import free_parameters, frozen_by
from ..networks.infinite.neti import NetI
from .ball import Ball, flint, lower, magnitude, total, upper, working_precision
from .network import BallNetwork
from .pairs import BallMatrix

#: where the search for the largest box with a unique critical point begins
_FIRST_RADIUS = 1e-6
_ATTEMPTS = 12
#: most bits of the ball arithmetic, beyond which a proof takes for ever
_MOST_BITS = 10**6
#: a Hessian whose smallest eigenvalue is below this fraction of the largest is singular to rounding
_SINGULAR = 1e-13
#: memory of all matrices of balls together, in matrices of float64
_BALL_MATRICES = 100


class Enclosure(NamedTuple):
    """Numbers between which the exact value lies."""

    lower: float
    upper: float

    def __str__(self) -> str:
        middle = (self.lower + self.upper) / 2
        half = (self.upper - self.lower) / 2
        return f"{middle:.15g} +- {half:.1g}"


_NOTHING = Enclosure(math.nan, math.nan)


@dataclass(frozen=True, eq=False)
class Certificate:
    """What :func:`certify` proved, or why it did not.

    Attributes
    ----------
    proved : bool
        Whether exactly one critical point is near; also the truth value of the certificate.
    reason : str
        Why not, and what to do; empty if proved.
    radius : float
        Every parameter of the critical point lies within this distance of that of ``theta``.
    uniqueness_radius : float
        There is no second critical point within this distance (largest difference of a parameter).
    loss : Enclosure
        Of the loss at the critical point.
    loss_digits : str
        The same as a decimal number with its error, to up to 30 digits.
    index, positive : int
        Numbers of negative and positive eigenvalues of the Hessian there, over the free parameters
        outside the gauge; none is zero.
    theta : (P,) array
        The point that was given.
    frozen, gauge : tuple of int
        Parameters held at their values: on request; and to fix the scaling of homogeneous neurons.
    assumptions : tuple of str
        What the statement is about.
    """

    proved: bool
    reason: str
    radius: float
    uniqueness_radius: float
    loss: Enclosure
    loss_digits: str
    index: int
    positive: int
    theta: Array
    frozen: tuple[int, ...]
    gauge: tuple[int, ...]
    assumptions: tuple[str, ...]
    precision: int  #: bits of the ball arithmetic

    def __bool__(self) -> bool:
        return self.proved

    @property
    def is_minimum(self) -> bool:
        """Whether the critical point is proved to be a minimum, strict but for the scaling that the
        gauge fixes.
        """
        return self.proved and self.index == 0

    def __str__(self) -> str:
        if not self.proved:
            lines = [f"not proved: {self.reason}"]
        else:
            what = "minimum" if self.index == 0 else f"saddle of index {self.index}"
            lines = [
                (
                    f"proved: within {self.radius:.2g} of theta lies exactly one critical point, a "
                    f"{what}; there is no other within {self.uniqueness_radius:.2g}"
                ),
                (
                    f"  loss {self.loss_digits}; the Hessian has {self.index} negative and "
                    f"{self.positive} positive eigenvalues"
                ),
            ]
        return "\n".join([*lines, *(f"  {each}" for each in self.assumptions)])

    __repr__ = __str__

    def to_dict(self) -> dict[str, Any]:
        """Everything as a dictionary of arrays, numbers, strings and tuples of these."""
        return {**self.__dict__, "loss": tuple(self.loss)}


@public
def certify(
    net: NetI,
    theta: Any,
    frozen: Any = None,
    gauge: str | None = "auto",
    precision: int = 128,
    *,
    eta: Any = None,
) -> Certificate:
    """Prove that exactly one critical point of the infinite-data loss is near ``theta``, and what
    it is.

    Gradient and Hessian are evaluated in ball arithmetic; Krawczyk's test proves existence and
    uniqueness in a box around theta, Gershgorin's discs after a change of basis give the inertia of
    the Hessian.

    Parameters
    ----------
    net : NetI
        Without biases, barrier, ridge and merge, standard parametrization, centred Gaussian input;
        activations that are identity, square, cube, erf, normal_cdf, gelu, gaussian, relu,
        leaky_relu, abs, or polynomials of one's own. The proof is about these functions, as
        ``assumptions`` prints them, not about their float64 weights: leaky_relu has the slope 1/100
        exactly, gaussian is exp(-x^2/2). Only polynomials of one's own have float64 coefficients by
        definition, those of ``Activation.polynomial``.
    theta : (P,) array or Result
        An accurate critical point, as Newton's method finds it; a ``Result`` knows its ``eta``.
    frozen : (P,) boolean array, optional
        Parameters held at their values; the statement is about the loss as a function of the
        others.
    gauge : "auto" or None
        "auto" also holds one output weight of each homogeneous neuron at its value (the largest),
        unless frozen parameters fix its scaling already. The gradient along the scaling vanishes
        everywhere, so that nothing is lost: a critical point of the restricted loss is one of the
        loss, and the Hessian has an additional zero eigenvalue for each gauge.
    precision : int
        Bits of the ball arithmetic.
    eta : number or (P,) array, optional
        As in :func:`infflow.train`, in the place of ``frozen``: entries 0 freeze a parameter. Where
        both are left out, that of the ``Result`` counts.

    Returns
    -------
    Certificate
        True if the proof succeeded; otherwise its ``reason`` says why not.

    Raises
    ------
    MissingPackageError
        Without python-flint (``pip install 'infflow[proof]'``).
    MethodError
        If the network is not covered: with biases (also if their values are zero), other
        activations, a barrier, ridge or merge, another parametrization, an input with a mean, a
        mixture, a teacher that is a function. :func:`infflow.classify` covers these, with evidence
        in the place of a proof.
    TooLargeError
        If matrices of balls would not fit in memory.
    InfflowError
        If another argument cannot be used.

    Notes
    -----
    With the Newton step C g at the centre and X a box of radius r around it, |C g| + |1 - C H(X)| r
    < r (largest components and row sums) implies that X contains exactly one zero of g (R.
    Krawczyk, Computing 4 (1969) 187-201; S. Rump, Acta Numerica 19 (2010) 287-449, section 13). The
    proof relies on python-flint being correct; numbers in float64 are only guesses, and bounds
    rounded outwards.

    The teacher's parameters and the frozen ones are the float64 numbers that were given, exactly.
    """
    if not isinstance(net, NetI):
        raise InvalidTypeError(
            f"net is a {type(net).__name__}; certify needs an inf.NetI (infinite data)."
        )
    held_fixed = frozen_by(net, theta, frozen, eta)
    theta = np.array(net.check(getattr(theta, "theta", theta)))
    free = free_parameters(held_fixed, net.num_params)
    if gauge is not None and not (isinstance(gauge, str) and gauge == "auto"):
        raise InvalidValueError(f"gauge is {shown(gauge)}; 'auto' or None is needed.")
    precision = as_integer("precision", precision, minimum=64, maximum=_MOST_BITS)
    remedy = "Use inf.classify, which gives evidence in the place of a proof."
    require_memory(net.num_params, "the Hessian in ball arithmetic", _BALL_MATRICES, remedy)
    with working_precision(precision):
        network = BallNetwork(net)
        held = _gauge(net, theta, free) if gauge == "auto" else ()
        found = _Proof(network, theta, np.setdiff1d(free, held)).run()
    return Certificate(
        not found.reason,
        found.reason,
        found.radius,
        found.uniqueness_radius,
        found.loss,
        found.loss_digits,
        found.index,
        found.positive,
        theta,
        tuple(int(k) for k in np.setdiff1d(np.arange(len(theta)), free)),
        held,
        _assumptions(net, network, len(theta) - len(free), held),
        precision,
    )


def _gauge(net: NetI, theta: Array, free: NDArray[np.intp]) -> tuple[int, ...]:
    """For each homogeneous neuron whose scaling is free, the index of its largest output weight."""
    (layer,) = hidden_layers(net, theta)
    held = []
    for i, f in enumerate(layer.activations):
        moved = np.concatenate(
            [layer.in_index[i][layer.incoming[i, :-1] != 0.0], layer.out_index[:, i]]
        )
        moved = moved[theta[moved] != 0.0]
        largest = layer.out_index[np.argmax(np.abs(layer.outgoing[:, i])), i]
        if homogeneity(f) and theta[largest] != 0.0 and np.isin(moved, free).all():
            held.append(int(largest))
    return tuple(held)


def _assumptions(
    net: NetI, network: BallNetwork, frozen: int, held: tuple[int, ...]
) -> tuple[str, ...]:
    lines = [
        f"infinite data, loss E|student - teacher|^2 without a factor 1/2, input {net.input!r}"
    ]
    lines += dict.fromkeys(f.formula for f in [*network.f, *network.g])
    if net.input.components()[0].root is not None:
        lines.append("the covariance of the input is that of its float64 root: root @ root.T")
    if frozen:
        lines.append(
            f"{frozen} parameters are frozen at their values; the statement is about the others"
        )
    if held:
        lines.append(
            f"gauge: output weights theta[{', '.join(map(str, held))}] hold the scaling of their "
            "homogeneous neurons; "
            f"in all parameters the critical points form a family of dimension {len(held)}"
        )
    return tuple(lines)


@dataclass
class _Outcome:
    reason: str
    radius: float = math.nan
    uniqueness_radius: float = math.nan
    loss: Enclosure = _NOTHING
    loss_digits: str = ""
    index: int = -1
    positive: int = -1


class _Proof:
    """One proof; runs within a working precision."""

    def __init__(self, network: BallNetwork, theta: Array, keep: NDArray[np.intp]) -> None:
        self.network, self.theta, self.keep = network, theta, [int(k) for k in keep]

    def run(self) -> _Outcome:
        """Find boxes that pass Krawczyk's test, then enclose loss and inertia in the smallest."""
        if not self.keep:
            return _Outcome("No parameter is free: all are frozen or fixed by the gauge.")
        value, gradient, H = self._evaluate(0.0)
        middle = np.array([[float(x) for x in row] for row in H.tolist()])
        if not np.isfinite(middle).all():
            return _Outcome(
                "The Hessian is not finite at theta: a neuron with a kink lies at zero. Move it "
                "or remove it."
            )
        values, self.basis = np.linalg.eigh((middle + middle.T) / 2)
        if np.abs(values).min() <= _SINGULAR * np.abs(values).max():
            return _Outcome(
                "The Hessian is singular: its smallest eigenvalue is "
                f"{values[np.argmin(np.abs(values))]:.2g}. Run inf.classify, "
                "which names the symmetry behind it, and use the gauge, freeze a parameter "
                "along it, or merge the neurons."
            )
        self.inverse = _matrix((self.basis / values) @ self.basis.T)
        steps = (self.inverse * _column(gradient)).entries()
        step = max(magnitude(x) for x in steps)
        unique = self._largest_box(step)
        if unique is None:
            return _Outcome(
                f"Krawczyk's test fails: Newton's step changes a parameter by {step:.2g}, too "
                "far for what the Hessian "
                f"(smallest eigenvalue {np.abs(values).min():.2g}) changes on the way. Search "
                "the critical point with inf.train, or run inf.classify."
            )
        radius = self._smallest_radius(step, unique)
        H = self._evaluate(radius, value=False)[2]
        inertia = self._inertia(H)
        if inertia is None:
            return _Outcome(
                "The critical point exists, but the signs of the eigenvalues of its Hessian "
                "could not be proved. Raise precision."
            )
        loss = self._loss(value, gradient, H, radius)
        enclosure = Enclosure(max(lower(loss), 0.0), upper(loss))
        return _Outcome("", radius, unique, enclosure, loss.str(30), *inertia)

    def _evaluate(self, radius: float, value: bool = True) -> tuple[Ball, list[Ball], BallMatrix]:
        """Loss, gradient and Hessian over the box of this radius around theta, on the parameters
        that are kept.
        """
        arb = flint().arb
        theta = [arb(float(x)) for x in self.theta]
        for k in self.keep:
            theta[k] = arb(float(self.theta[k]), radius)
        found = self.network.evaluate(theta, value)
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

    def _inertia(self, H: BallMatrix) -> tuple[int, int] | None:
        """Negative and positive eigenvalues, by Sylvester's law and Gershgorin's discs in the
        approximate eigenbasis.
        """
        V = _matrix(self.basis)
        n = len(self.keep)
        one = flint().arb_mat(n, n, [int(i == j) for i in range(n) for j in range(n)])
        defect = (V.transpose() * V - one).tolist()
        if (
            not max(magnitude(total(abs(x) for x in row)) for row in defect) < 1.0
        ):  # then V is regular
            return None
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

    def _loss(self, value: Ball, gradient: list[Ball], H: BallMatrix, radius: float) -> Ball:
        """Taylor's formula around theta with the remainder over the box."""
        d = flint().arb(0, radius)
        rows = H.tolist()
        slope = total(g * d for g in gradient)
        curvature = total(x * d * d for row in rows for x in row) / 2
        return value + slope + curvature


def _matrix(M: Array) -> BallMatrix:
    return flint().arb_mat([[float(x) for x in row] for row in M])


def _column(v: list[Ball]) -> BallMatrix:
    return flint().arb_mat(len(v), 1, v)
