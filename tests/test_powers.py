"""Truncated powers: moments and their bounds against ball arithmetic, in tails and for nearly
parallel neurons; jets against differences.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

pytest.importorskip("flint")
import arb_reference as reference
from flint import arb
from test_tails import tail_points

import infflow as inf
from infflow.activations import resolve
from infflow.activations.sums import relu_power
from infflow.integrals.evaluator import Points
from infflow.integrals.registry import EVALUATORS

CLOSED = EVALUATORS["closed"]
ORDERS = [(p, q) for p in range(5) for q in range(5 - p)]


@pytest.fixture(autouse=True)
def precise():
    with reference.ctx.workprec(3 * reference.PRECISION):
        yield


def conditional(n, mean, s):
    """``E T_n(mean + s x)``; from -1 on the density of ``mean + s x`` at 0 and its derivatives."""
    z = mean / s
    if n < 0:
        before = arb(0)
        now = reference.density(z) / s
        for k in range(-1 - n):
            before, now = now, -(mean * now + k * before) / s**2
        return now
    before = s * reference.density(z)
    now = reference.probability(z)
    for k in range(1, n + 1):
        before, now = now, (mean * now + (s**2 * before if k > 1 else before)) / k
    return now


class PowerPoint(reference.Point):
    """Moments of truncated powers too: integrals of positive functions, densities times means."""

    def power(self, m: int, n: int) -> arb:
        """E[T_m(h1) T_n(h2)]; negative indices are derivatives of the step."""
        if m < 0:
            return self.edge(-1 - m, n, self.C11, self.C22, self.b1, self.b2)
        if n < 0:
            return self.edge(-1 - n, m, self.C22, self.C11, self.b2, self.b1)
        h = self.b1 / self.r1
        k = self.b2 / self.r2
        factor = self.r1**m * self.r2**n
        if h > k:
            h, k, m, n = k, h, n, m
        s = (1 - self.u**2).sqrt()
        z, c = (k - self.u * h) / s, self.u / s
        total = arb(0)
        for start, end in itertools.pairwise(reference._edges(float(h), float(z), float(c))):
            length = arb(end) - arb(start)
            for x, w in reference._rule():
                t = arb(start) + length * x
                mean = conditional(n, s * (z + c * t), s)
                total += w * length * reference.density(t - h) * t**m * mean
        return factor * total / math.factorial(m)

    def edge(self, k, n, V, W, b, o):
        """d^k/db^k of the density of h1 at 0 times the mean of T_n(h2) there."""
        g = self.C12 / V
        s = (W - self.C12 * g).sqrt()
        own = [reference.density(b / V.sqrt()) / V.sqrt()]
        for order in range(k):
            before = own[order - 1] if order else arb(0)
            own.append(-(b * own[order] + order * before) / V)
        return sum(
            (
                math.comb(k, l) * own[k - l] * (-g) ** l * conditional(n - l, o - g * b, s)
                for l in range(k + 1)
            ),
            arb(0),
        )


@pytest.mark.parametrize("seed", range(3))
def test_bounds_of_powers(seed):
    rng = np.random.default_rng(seed)
    points = tail_points(rng, 25)
    count = useful = digits = 0
    for k, point in enumerate(zip(*points.scales, strict=True)):
        exact = PowerPoint(*point)
        at = Points(*(x[k : k + 1] for x in points))
        for m, n in itertools.product(range(2, 6), range(6)):
            f, g = (relu_power(each) for each in (m, n))
            orders = ORDERS[rng.integers(len(ORDERS))]
            if n - orders[1] < -4 or m - orders[0] < -4:
                continue
            found = CLOSED.moment(f, g, at, orders, 1e-10)
            value = exact.power(m - orders[0], n - orders[1])
            value *= math.factorial(m) * math.factorial(n)
            error = abs(found.value[0] - value)
            assert error <= found.error_bound[0] + 1e-290, (point, m, n, orders)
            count += 1
            useful += found.error_bound[0] <= 1e-10 * max(found.scale[0], abs(found.value[0]))
            digits += error <= 1e-9 * abs(value) + 1e-280
    assert count > 550 and useful > 0.98 * count and digits > 0.9 * count


@pytest.mark.parametrize("n", range(2, 6))
def test_bounds_of_means(n):
    rng = np.random.default_rng(n)
    r = 10 ** rng.uniform(-1.5, 1.0, 40)
    b = r * rng.uniform(-12, 12, 40)
    for order in range(5):
        found = CLOSED.mean(relu_power(n), r, b, order, 1e-10)
        for k in range(40):
            exact = conditional(n - order, arb(b[k]), arb(r[k])) * math.factorial(n)
            assert abs(found.value[k] - exact) <= found.error_bound[k] + 1e-290


SUMS = (
    relu_power(2),
    relu_power(3) + resolve("relu"),
    relu_power(2) - 0.5 * resolve("step"),
    relu_power(2) + 0.3 * resolve("erf") + inf.polynomial([1.0, -2.0, 0.5]),
    resolve("gelu"),
    resolve("tanh"),
)


@pytest.mark.parametrize("gap", [1.0, 1e-3])
@pytest.mark.parametrize("g", [resolve("step"), *SUMS])
@pytest.mark.parametrize("f", SUMS[:2] + SUMS[3:])
def test_jets_are_derivatives(f, g, gap):
    """Of first order in weights and biases of a student, next to a teacher and far from it."""
    rng = np.random.default_rng(5)
    layers = [(1, f, True), (1, "identity", False)]
    student = inf.Net(layers, input_dim=3)
    teacher = inf.Net([(1, g, True), (1, "identity", False)], input_dim=3)
    target = rng.normal(size=5)
    theta = target + gap * rng.normal(size=5)
    loss = inf.NetI(student, inf.Teacher(teacher, target))
    step = 1e-4 * gap
    hessian = inf.hessian(loss, theta)
    for k in range(5):
        move = step * np.eye(5)[k]
        ahead = inf.gradient(loss, theta + move)
        behind = inf.gradient(loss, theta - move)
        slope = (ahead - behind) / (2 * step)
        assert np.allclose(hessian[k], slope, rtol=2e-6, atol=2e-6 * np.abs(hessian).max())
        middle = (inf.loss(loss, theta + move) - inf.loss(loss, theta - move)) / (2 * step)
        size = np.abs(inf.gradient(loss, theta)).max()
        assert np.isclose(inf.gradient(loss, theta)[k], middle, rtol=1e-5, atol=1e-5 * size)
