"""Integrals ``E[f(w.x + b) F(V x)]`` over standard normal x and their derivatives with respect to
(w, b).

Write V x = A t with t standard normal in one or two dimensions, w.x = alpha.t + s e with s the
length of the part of w that is perpendicular to the rows of V. Then E[f F] = E_t[F m], m(t) = E_e
f(b + alpha.t + s e), and with Q the directions of t

    d/dw   = Q E[F t m'] + E[F m''] w_perp,                d/db = E[F m'],
    d2/dw2 = Q E[F t t' m''] Q' + Q E[F t m'''] w_perp' + (its transpose)
             + E[F m''''] w_perp w_perp' + E[F m''] (1 - Q Q'),
    d2/dw db = Q E[F t m''] + E[F m'''] w_perp,            d2/db2 = E[F m'']:

only derivatives of f, so that F may jump. The outer variable tau runs along alpha, where m varies;
the inner one, rho, across, from one kink of F to the next.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

import numpy as np

from ...._validation import Array
from ....activations import Activation
from ....integrals.closed import pairs as closed
from ....integrals.cubature.distributions import derivatives, jumps, places, reach, single_moments
from ....integrals.cubature.expectation import radius, subdivisions
from ....integrals.cubature.panels import (
    NODES,
    Index,
    Panels,
    Quadrature,
    density,
    integrate,
    panels_between,
)
from .cross import Cross, DenseCurvature
from .function_teacher import FunctionTeacher

_LAYER = 9.0  # standard deviations of e on both sides of a kink of f
_NARROW = 0.05  # kinks of f that are sharper than this in units of tau get panels of their own
_NOISE = 2e-2  # error of inner integrals over the tolerance: a larger one looks like structure
_TINY = 1e-14
_COARSE = 4  # panels where F is smooth between its kinks
# panels of each variable, in two subdivisions that look for what is not smooth
_FINE = {1: (128, 181), 2: (20, 27)}
_NARROWEST = 1e-6


def columns(order: int, rank: int) -> list[tuple[int, int, int]]:
    """(p, i, j): the integrals ``E[F f^(p) tau^i rho^j]`` that derivatives up to ``order`` need."""
    found = [(0, 0, 0)]
    if order >= 1:
        found += [(1, 0, 0), (1, 1, 0), (1, 0, 1), (2, 0, 0)]
    if order == 2:
        found += [
            (2, 1, 0),
            (2, 0, 1),
            (2, 2, 0),
            (2, 1, 1),
            (2, 0, 2),
            (3, 0, 0),
            (3, 1, 0),
            (3, 0, 1),
            (4, 0, 0),
        ]
    return [c for c in found if rank == 2 or c[2] == 0]


class _Pass(NamedTuple):
    """E F and E F^2 with errors and scales (2 O,).

    Then the panels of all variables that bisection made narrow, and all panels of the outer one.
    """

    value: Array
    error: Array
    scale: Array
    narrow: Panels
    panels: Panels


class FunctionIntegrals:
    """The integrals of one Gaussian input x = mean + root z.

    Parameters
    ----------
    teacher : FunctionTeacher
    students : list of Activation
    mean, root : arrays or None
        None stands for zero and for the identity.
    rtol : float
        Tolerance relative to ``sqrt(E F^2 E f^(p)^2)``.

    Attributes
    ----------
    mean, square : arrays (O,)
        ``E F`` and ``E F^2``.
    error : float
        Estimate of the error of ``square`` relative to it.
    """

    def __init__(
        self,
        teacher: FunctionTeacher,
        students: list[Activation],
        mean: Array | None,
        root: Array | None,
        rtol: float,
    ) -> None:
        self.students = students
        self.teacher, self.rtol = teacher, max(rtol, 1e-13)
        V = teacher.V if root is None else teacher.V @ root
        self.origin = np.zeros(len(V)) if mean is None else teacher.V @ mean
        _, sizes, rows = np.linalg.svd(V, full_matrices=False)
        rank = max(1, int((sizes > _TINY * max(float(sizes[0]), 1e-300)).sum()))
        self.rank = rank
        self.Q = rows[:rank].T
        self.A = V @ self.Q
        self.R = radius(lambda t: teacher.function(self.origin + t @ self.A.T), rank, self.rtol)
        self.lines = teacher.normals @ self.A
        self.offsets = teacher.offsets - teacher.normals @ self.origin
        self._most_nodes = (1_000_000, 3_000)[rank - 1]
        self.mean, self.square, self.error = self._statistics()

    def _statistics(self) -> tuple[Array, Array, float]:
        """E F, E F^2 and the relative error of both; leaves the breaks from which all integrals
        start.

        Two subdivisions that are fine enough for what is promised find jumps and narrow features,
        and what they disagree in counts as error. Where a coarse one gives the same, the integrals
        start from it.
        """
        O = self.teacher.output_dim
        coarse = np.linspace(-self.R, self.R, _COARSE + 1)
        fine, second = subdivisions(self.R, *_FINE[self.rank])
        scale = self._pass(fine, np.ones(2 * O), 1e-3).scale
        first = self._pass(fine, scale, self.rtol)
        jumps = self._located(first.narrow) if self.rank == 1 else np.empty(0)
        even = np.union1d(coarse, jumps)
        found = self._pass(even, scale, self.rtol)
        gap = np.abs(found.value - first.value)
        hidden = (
            self.rank == 2 and len(first.narrow.row) > 0
        )  # jumps along lines that no break can follow
        if hidden or (gap > 0.1 * self.rtol * scale).any():
            even = np.union1d(second, jumps)
            found = self._pass(even, scale, self.rtol)
            gap = np.abs(found.value - first.value)
        self._subdivisions = [even]
        if self.rank == 1:
            self._subdivisions = [np.append(found.panels.a, self.R)]
            self._most_nodes = 30_000 + 4 * NODES.size * len(found.panels.a)
        elif hidden:
            self._subdivisions = [fine, second]
        error = float(((10.0 * gap + found.error) / scale).max())
        return found.value[:O], found.value[O:], error

    def _located(self, narrow: Panels) -> Array:
        """Jumps of F to rounding, from the narrow panels that bisection ended with around each."""
        a = np.sort(narrow.a)
        b = np.sort(narrow.b)
        apart = a[1:] > b[:-1] + _NARROWEST
        low = a[np.append(True, apart)[: len(a)]]
        high = b[np.append(apart, True)[: len(b)]]
        for _ in range(60 if len(low) else 0):
            middle = 0.5 * (low + high)
            F = [
                self.teacher.function(self.origin + np.outer(t, self.A[:, 0]))
                for t in (low, middle, high)
            ]
            left = (np.abs(F[1] - F[0]) > np.abs(F[2] - F[1])).any(axis=1)
            low = np.where(left, low, middle)
            high = np.where(left, middle, high)
        return high

    def _pass(self, even: Array, scale: Array, rtol: float) -> _Pass:
        """E F and E F^2 from the breaks ``even`` of each variable, with tolerances ``rtol scale``
        (2 O,).
        """
        axes = np.eye(self.rank)
        O = self.teacher.output_dim
        worst = np.zeros(2 * O)
        narrow: list[Panels] = []

        def both(z: Array) -> Array:
            F = self.teacher.function(z)
            return np.concatenate([F, F * F], axis=1)

        def outer(x: Array, row: Index) -> Array:
            inner = self._given(x, axes, both, _NOISE * rtol * scale, 1, self.R, even)
            np.maximum(worst, inner.error.max(axis=0), out=worst)
            narrow.append(_narrow(inner.panels))
            return inner.value * density(x)[:, None]

        start = panels_between(self._outer_breaks(axes, self.R, even)[None])
        found = integrate(outer, start, 1, 0.5 * rtol * scale, max_work=self._most_nodes)
        narrow.append(_narrow(found.panels))
        square = np.maximum(np.abs(found.value[0, O:]), 1e-300)
        return _Pass(
            found.value[0],
            found.error[0] + worst,
            np.concatenate([np.sqrt(square), square]),
            Panels(*(np.concatenate(parts) for parts in zip(*narrow, strict=True))),
            found.panels,
        )

    # -------------------------------------------------------------------------------------------- F
    # given tau

    def _given(
        self,
        tau: Array,
        axes: Array,
        values: Callable[[Array], Array],
        atol: Array,
        powers: int,
        R: float,
        even: Array,
    ) -> Quadrature:
        """``E[values rho^j | tau]`` for j < powers, columns ordered (j, output): for one projection
        just the values.
        """
        if self.rank == 1:
            v = values(self.origin + np.outer(tau, axes[0] @ self.A.T))
            return Quadrature(v, np.zeros_like(v), len(tau))
        along, across = axes @ self.A.T

        directions = list(zip(self.origin, along, across, strict=True))

        def integrand(rho: Array, row: Index) -> Array:
            z = np.column_stack([o + u * tau[row] + v * rho for o, u, v in directions])
            v = values(z) * density(rho)[:, None]
            return np.concatenate([v * (rho**j)[:, None] for j in range(powers)], axis=1)

        normal = self.lines @ axes.T
        crossing = normal[:, 1] != 0.0
        cuts = (self.offsets[crossing] - np.outer(tau, normal[crossing, 0])) / normal[crossing, 1]
        start = np.broadcast_to([-R, *even, R], (len(tau), len(even) + 2))
        breaks = np.sort(np.concatenate([np.clip(cuts, -R, R), start], axis=1), axis=1)
        return integrate(
            integrand, panels_between(breaks), len(tau), np.tile(atol, powers), max_work=3_000_000
        )

    def _outer_breaks(self, axes: Array, R: float, *more: Array) -> Array:
        """Breaks in tau: where kinks of F lie across, where they cross, and ``more``."""
        found = [np.array([-R, R]), *more]
        normal = self.lines @ axes.T
        if self.rank == 1:
            found.append(self.offsets[normal[:, 0] != 0] / normal[normal[:, 0] != 0, 0])
        else:
            for n, c in zip(normal, self.offsets, strict=True):
                if abs(n[0]) > 3 * abs(n[1]):
                    found.append((c - n[1] * np.array([-R, 0.0, R])) / n[0])
            for (m, c), (n, d) in combinations(zip(normal, self.offsets, strict=True), 2):
                determinant = m[0] * n[1] - m[1] * n[0]
                if abs(determinant) > _TINY * np.linalg.norm(m) * np.linalg.norm(n):
                    found.append(np.array([(c * n[1] - d * m[1]) / determinant]))
        return np.unique(np.clip(np.concatenate(found), -R, R))

    # --------------------------------------------------------------------------------------------
    # one neuron

    def neurons(self, W: Array, b: Array, order: int) -> Cross:
        """All integrals of the students, weights (K, D) and biases (K,), up to this order."""
        f = self.students
        K, D = W.shape
        O = self.teacher.output_dim
        value = np.zeros((K, O))
        first = np.zeros((K, O, D + 1))
        second = np.zeros((K, O, D + 1, D + 1)) if order == 2 else np.zeros((K, O, 0, 0))
        worst = 0.0
        for i in range(K):
            alpha = W[i] @ self.Q
            perp = W[i] - self.Q @ alpha
            perp -= self.Q @ (perp @ self.Q)  # removes the rounding along Q
            s = float(np.linalg.norm(perp))
            a = float(np.linalg.norm(alpha))
            s = 0.0 if s <= 4 * np.finfo(float).eps * np.hypot(s, a) else s
            axes = _axes(alpha, a, self.rank)
            moments, error = self._moments(f[i], a, s, float(b[i]), axes, order)
            worst = max(worst, error)
            with np.errstate(invalid="ignore"):  # infinite where a Hessian is
                _assemble(
                    moments,
                    self.Q @ axes.T,
                    perp if s > 0 else 0 * perp,
                    order,
                    value[i],
                    first[i],
                    second[i],
                )
        return Cross(value, first, worst, second)

    def curvature(self, cross: Cross, B: Array) -> DenseCurvature:
        """Second derivatives of ``sum_o B_io E[f_i F_o]`` in (w_i, b_i)."""
        return DenseCurvature(np.einsum("io,iode->ide", B, cross.rest))

    def _moments(
        self, f: Activation, a: float, s: float, b: float, axes: Array, order: int
    ) -> tuple[dict[tuple[int, int, int], Array], float]:
        """``E[F f^(p)(b + a tau + s e) tau^i rho^j]`` (O,) by (p, i, j), and the largest error in
        units of rtol's scale.
        """
        wanted = columns(order, self.rank)
        highest = 2 * order
        R = max(
            self.R,
            reach(
                f, np.array([np.hypot(a, s)]), np.array([b]), min(highest, f.max_order), self.rtol
            ),
        )
        neuron = _Smoothed(f, a, s, b, highest, self.rtol)
        fscale = np.sqrt(np.maximum(self.square, 1e-300))
        values: list[Array] = []
        errors: list[float] = []
        scale = np.empty(0)
        for even in self._subdivisions:
            if self.rank == 1:
                even = (
                    axes[0, 0] * even
                )  # tau may run against the direction in which F was searched
            panels = neuron.panels(self._outer_breaks(axes, R, even, neuron.breaks(R)), R)
            if not values:
                frms = neuron.scale(panels)
                frms[~np.isfinite(frms)] = 0.0
                scale = np.stack(
                    [frms[p] * fscale * (1.0, 1.0, 3.0**0.5)[i + j] for p, i, j in wanted]
                )
            total, error = self._moments_from(neuron, panels, wanted, axes, R, even, scale)
            values.append(total)
            errors.append(error)
        gap = np.abs(values[-1] - values[0])  # one subdivision has no gap
        total = values[-1] + self._deltas(
            neuron, wanted, axes, 1 + (order if self.rank == 2 else 0), R
        )
        if order == 1:
            total[~np.isfinite(total)] = 0.0  # a multiple of w = 0
        relative = float((10.0 * gap / np.maximum(scale, 1e-300))[scale > 0].max(initial=0.0))
        return dict(zip(wanted, total, strict=True)), relative + max(errors)

    def _moments_from(
        self,
        neuron: _Smoothed,
        panels: Panels,
        wanted: list[tuple[int, int, int]],
        axes: Array,
        R: float,
        even: Array,
        scale: Array,
    ) -> tuple[Array, float]:
        """The regular parts (wanted, O) of :meth:`_moments` from one subdivision, and their largest
        error.
        """
        O = self.teacher.output_dim
        powers = 1 + max(j for _, _, j in wanted)
        fscale = np.sqrt(np.maximum(self.square, 1e-300))
        inner_error = 0.0

        def outer(x: Array, row: Index) -> Array:
            nonlocal inner_error
            tau, jacobian, m = neuron(x, row)
            inner = self._given(
                tau, axes, self.teacher.function, _NOISE * self.rtol * fscale, powers, R, even
            )
            inner_error = max(inner_error, float((inner.error / np.tile(fscale, powers)).max()))
            G = inner.value.reshape(len(x), powers, O)
            weight = density(tau) * jacobian
            parts = [(weight * m[:, p] * tau**i)[:, None] * G[:, j] for p, i, j in wanted]
            return np.concatenate(parts, axis=1)

        found = integrate(
            outer,
            panels,
            neuron.rows,
            (0.5 * self.rtol * scale).ravel() + 1e-300,
            max_work=self._most_nodes,
        )
        total = found.value.sum(axis=0).reshape(len(wanted), O)
        error = found.error.sum(axis=0).reshape(len(wanted), O)
        return total, float(
            (error / np.maximum(scale, 1e-300))[scale > 0].max(initial=0.0)
        ) + 2 * inner_error

    def _deltas(
        self,
        neuron: _Smoothed,
        wanted: list[tuple[int, int, int]],
        axes: Array,
        powers: int,
        R: float,
    ) -> Array:
        """Kinks of a neuron that lies in the span of V: integrals over the line where it has its
        kink.
        """
        O = self.teacher.output_dim
        total = np.zeros((len(wanted), O))
        f = neuron.f
        a = neuron.a
        b = neuron.b
        if neuron.s > 0 or a == 0 or not f.kinks:
            return total
        for c, jump, _ in jumps(f, min(2, f.max_order)):
            tau = np.array([(c - b) / a])
            if not jump.any() or abs(tau[0]) > R:
                continue
            fscale = np.sqrt(np.maximum(self.square, 1e-300))
            even = self._subdivisions[-1]
            G = self._given(
                tau, axes, self.teacher.function, _NOISE * self.rtol * fscale, powers, R, even
            )
            values = G.value.reshape(powers, O)
            for row, (p, i, j) in enumerate(wanted):
                for m in range(min(p, 2)):
                    if (
                        jump[m] and p <= 2
                    ):  # higher derivatives multiply the part of w that is perpendicular: none
                        simple = jump[m] * float(density(tau)[0]) / a * tau[0] ** i * values[j]
                        total[row] += simple if p - 1 - m == 0 else np.full(O, np.inf)
        return total


class _Smoothed:
    """``m_p(tau) = E_e f^(p)(b + a tau + s e)``, with panels of their own (rows 1, 2, ...) around
    kinks that s smooths little.
    """

    def __init__(
        self, f: Activation, a: float, s: float, b: float, highest: int, rtol: float
    ) -> None:
        self.f = f
        self.a = a
        self.s = s
        self.b = b
        self.highest = highest
        self.rtol = rtol
        self.layers = (
            np.array([c for c in f.kinks if abs((c - b) / a) < 40.0])
            if 0 < s < _NARROW * a
            else np.empty(0)
        )
        self.rows = 1 + len(self.layers)
        self.table = closed.AtomTable([f]) if f.has_closed_form else None

    def breaks(self, R: float) -> Array:
        """Where m changes quickly, in tau."""
        return (places(self.f, self.a) - self.b) / self.a if self.a > 1e-12 else np.empty(0)

    def panels(self, breaks: Array, R: float) -> Panels:
        """Panels between the breaks without the layers, then the layers."""
        width = _LAYER * self.s / self.a if len(self.layers) else 0.0
        centres = (self.layers - self.b) / self.a if len(self.layers) else np.empty(0)
        edges = np.unique(
            np.concatenate([breaks, np.clip([*(centres - width), *(centres + width)], -R, R)])
        )
        middle = 0.5 * (edges[1:] + edges[:-1])
        outside = np.ones(len(middle), dtype=bool)
        for c in centres:
            outside &= np.abs(middle - c) > width
        inner = np.linspace(-_LAYER, _LAYER, 5)
        row = np.repeat(np.arange(1, self.rows), 4)
        return Panels(
            np.concatenate([np.zeros(int(outside.sum()), dtype=np.int64), row]),
            np.concatenate([edges[:-1][outside], np.tile(inner[:-1], self.rows - 1)]),
            np.concatenate([edges[1:][outside], np.tile(inner[1:], self.rows - 1)]),
        )

    def __call__(self, x: Array, row: Index) -> tuple[Array, Array, Array]:
        """tau, dtau/dx and m (n, highest + 1)."""
        tau = x.copy()
        jacobian = np.ones_like(x)
        h = self.b + self.a * x
        for k, c in enumerate(self.layers, 1):
            at = row == k
            h[at] = c + self.s * x[at]
            tau[at] = (c - self.b) / self.a + self.s / self.a * x[at]
            jacobian[at] = self.s / self.a
        return tau, jacobian, self._values(h)

    def _values(self, h: Array) -> Array:
        n = len(h)
        if self.s == 0.0 and self.a > 0.0:
            return (
                derivatives(self.f, h, min(self.highest, 2)).T
                if self.highest <= 2
                else self._padded(h)
            )
        if self.a == 0.0:
            h = h[:1]
        C = np.full(len(h), self.s**2)
        if self.table is not None:
            m = closed.single_moments(
                self.table, np.zeros(len(h), dtype=np.int64), C, h, self.highest
            )
        else:
            m = single_moments(self.f, C, h, self.highest, _NOISE * self.rtol).value
        return np.broadcast_to(m, (n, self.highest + 1)) if self.a == 0.0 else m

    def _padded(self, h: Array) -> Array:
        """Without smoothing, derivatives above the second are multiplied by zero."""
        return np.pad(derivatives(self.f, h, 2).T, ((0, 0), (0, self.highest - 2)))

    def scale(self, panels: Panels) -> Array:
        """``sqrt(E m_p^2)``."""

        def values(x: Array, row: Index) -> Array:
            tau, jacobian, m = self(x, row)
            return np.nan_to_num(m, posinf=0.0) * np.sqrt(density(tau) * jacobian)[:, None]

        found = integrate(
            lambda x, row: values(x, row) ** 2,
            panels,
            self.rows,
            np.full(self.highest + 1, np.inf),
            max_work=0,
        )
        return np.sqrt(found.value.sum(axis=0))


def _narrow(panels: Panels) -> Panels:
    """Those that only a jump or a sharp kink makes so narrow."""
    keep = panels.b - panels.a < _NARROWEST
    return Panels(panels.row[keep], panels.a[keep], panels.b[keep])


def _axes(alpha: Array, a: float, rank: int) -> Array:
    """Unit vectors along and across alpha, as rows."""
    along = alpha / a if a > 0 else np.eye(rank)[0]
    return along[None] if rank == 1 else np.array([along, [-along[1], along[0]]])


def _assemble(
    m: dict[tuple[int, int, int], Array],
    Q: Array,
    perp: Array,
    order: int,
    value: Array,
    first: Array,
    second: Array,
) -> None:
    """Values (O,), derivatives (O, D + 1) and (O, D + 1, D + 1) of one neuron; Q (D, rank) are the
    axes in input space.
    """
    D, rank = Q.shape
    value[:] = m[0, 0, 0]
    if order == 0:
        return
    unit = [(1, 0), (0, 1)][:rank]

    def vector(p: int) -> Array:
        return np.stack([m[p, i, j] for i, j in unit], axis=-1) @ Q.T

    def times_perp(moment: Array) -> Array:
        """``moment`` (O,) times the perpendicular part: none if there is none."""
        return np.outer(moment, perp) if perp.any() else np.zeros((len(moment), D))

    first[:, :D] = vector(1) + times_perp(m[2, 0, 0])
    first[:, D] = m[1, 0, 0]
    if order == 1:
        return
    inner = np.stack(
        [np.stack([m[2, i + k, j + l] for k, l in unit], axis=-1) for i, j in unit], axis=-2
    )
    mixed = np.einsum("od,e->ode", vector(3), perp)
    WW = second[:, :D, :D]
    WW[:] = np.einsum("dr,ors,es->ode", Q, inner, Q) + mixed + mixed.swapaxes(1, 2)
    WW += times_perp(m[4, 0, 0])[:, :, None] * perp
    if rank < D:
        WW += m[2, 0, 0][:, None, None] * (np.eye(D) - Q @ Q.T)
    second[:, :D, D] = second[:, D, :D] = vector(2) + times_perp(m[3, 0, 0])
    second[:, D, D] = m[2, 0, 0]
