"""Sines and cosines with every partner: closed forms against quadrature, at their limits, and where
nothing oscillates any more.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import infflow as inf
from infflow.activations import names, resolve
from infflow.errors import SingularMomentError
from infflow.integrals.closed import pairs as closed
from infflow.integrals.closed import waves as elementary
from infflow.integrals.evaluator import Points
from infflow.integrals.registry import EVALUATORS

ORDERS = [(p, q) for p in range(5) for q in range(5 - p)]
PARTNERS = tuple(name for name in names() if not resolve(name).waves)
NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)


def hermite_polynomial(z, order):
    """He_n of complex z."""
    return np.polynomial.hermite_e.hermeval(z, [0.0] * order + [1.0])


def nodes_of(r, b):
    """Composite Gauss-Legendre nodes and weights for h with density N(b, r^2), with ends at the
    kink 0.
    """
    ends = [b + r * np.linspace(-12.0, 12.0, 97), np.linspace(-12.0, 12.0, 49)]
    ends = np.unique(np.concatenate(ends))
    ends = ends[np.abs(ends - b) <= 12.0 * r]
    middle = 0.5 * (ends[1:] + ends[:-1])
    half = 0.5 * np.diff(ends)
    return (middle[:, None] + half[:, None] * NODES).ravel(), (half[:, None] * WEIGHTS).ravel()


def quadrature(wave, g, r1, r2, u, b1, b2):
    """Moments (15,) with derivatives of g moved onto the density, and the sizes of their
    integrands.

    E exp(i h1) given h2 times the density of h2 is a Gaussian of complex mean.
    """
    h, w = nodes_of(r2, b2)
    values = w * resolve(g)(h)
    x, y = (h - b2) / r2, r1 * u
    exponent = -0.5 * x * x - 0.5 * r1 * r1 * (1 - u) * (1 + u) + 1j * (b1 + y * x)
    density = np.exp(exponent) / (np.sqrt(2 * np.pi) * r2)
    found = []
    sizes = []
    for p, q in ORDERS:
        terms = values * density * hermite_polynomial(x - 1j * y, q) / r2**q
        phase = 1j**p * (-1j if wave == "sin" else 1.0)
        found.append((phase * terms.sum()).real)
        sizes.append(np.abs(terms).sum())
    return np.array(found), np.array(sizes)


@pytest.mark.parametrize("wave", ["sin", "cos"])
@pytest.mark.parametrize("g", PARTNERS)
def test_bounds_hold_against_quadrature(wave, g):
    """All orders, scales from 0.1 to 40, correlations up to 1, kinks in and out of reach; both
    places of the wave.
    """
    rng = np.random.default_rng([names().index(g), wave == "sin"])
    points = []
    for k in range(24):
        r1 = 10.0 ** rng.uniform(-1.0, 1.6)
        r2 = 10.0 ** rng.uniform(-1.0, 1.0)
        u = (rng.uniform(-1, 1), 1 - 10.0 ** rng.uniform(-9, -1), 1.0, -1.0, 0.0)[k % 5]
        points.append((r1, r2, u, rng.normal() * 3, rng.normal() * (0.0, 1.0, 3.0 * r2)[k % 3]))
    exact, sizes = (
        np.array(x) for x in zip(*(quadrature(wave, g, *point) for point in points), strict=True)
    )
    straight = Points.at(*np.array(points).T.copy())
    turned = Points.at(straight.r2, straight.r1, straight.u, straight.b2, straight.b1)
    for k, (p, q) in enumerate(ORDERS):
        for f, other, at, orders in ((wave, g, straight, (p, q)), (g, wave, turned, (q, p))):
            found = EVALUATORS["closed"].moment(resolve(f), resolve(other), at, orders, 1e-10)
            allowed = found.error_bound + 4e-14 * sizes[:, k]  # what quadrature loses
            wrong = np.flatnonzero(~(np.abs(found.value - exact[:, k]) <= allowed))
            assert not wrong.size, (f, other, orders, [points[row] for row in wrong])


@pytest.mark.parametrize("g", PARTNERS)
def test_default_tolerance_up_to_ten_thousand(g):
    """Nothing warns; values vanish as exp(-r^2 (1 - u^2)/2), the product of the means or less."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for r in (30.0, 80.0, 500.0, 1e4):
            for u in (-0.9, 0.0, 0.5):
                found = inf.gaussian_moment("cos", g, r, 1.3, u, 0.7, 0.4, full_output=True)
                size = np.sqrt(inf.gaussian_moment(g, g, 1.3, 1.3, 1.0, 0.4, 0.4))
                assert abs(found.value) < 1e-12 * max(1.0, size)
                assert found.error_bound < 1e-10 * max(1.0, size)


def test_what_averages_out_is_zero_by_the_closed_form():
    """Bounds fall with the wave, also with biases of 10^5, small partners and derivatives; cubature
    is not asked.
    """
    cases = [
        ("gaussian", "cos", (5.0, 2e4, 0.0, 2.9, 1.9e5), (4, 0)),
        ("cos", "relu", (2e4, 1.4e4, -0.57, 8.4e4, -1.5e4), (0, 1)),
        ("cos", "silu", (8e3, 2e-5, 1 - 1e-12, -4.6e4, 0.0), (4, 0)),
        ("sin", "gelu", (1e3, 5e-4, -1.0, 0.7, 0.0), (4, 0)),
        ("sin", "softplus", (2e4, 23.0, 0.38, -1.9e5, -263.0), (2, 0)),
        ("sin", "cos", (1e-5, 483.0, 0.66, 0.0, 0.0), (0, 0)),
        ("cos", "identity", (2e4, 2e4, -0.99, 1.2e5, 8.5e4), (3, 1)),
    ]
    for f, g, point, orders in cases:
        found = inf.gaussian_moment(f, g, *point, orders=orders, full_output=True)
        assert found.method == "closed"
        assert found.value == found.error_bound == 0.0


def test_bounds_of_damped_waves():
    """Where the exponent is 5 to 60, against the formula at 120 digits."""
    mpmath = pytest.importorskip("mpmath")
    rng = np.random.default_rng(5)
    with mpmath.workdps(120):
        for _ in range(300):
            r1 = rng.uniform(4.0, 12.0)
            r2 = 10.0 ** rng.uniform(-1, 1)
            u = rng.uniform(-1, 1)
            b1 = 5.0 * rng.normal()
            b2 = 3.0 * r2 * rng.normal()
            q = int(rng.integers(5))
            found = inf.gaussian_moment(
                "cos", "step", r1, r2, u, b1, b2, (0, q), "closed", full_output=True
            )
            z = (mpmath.mpf(b2) + 1j * mpmath.mpf(r1) * r2 * u) / r2
            derivatives = [1, -z, z**2 - 1, -(z**3) + 3 * z]
            density = mpmath.npdf(0) * mpmath.exp(-z * z / 2)
            partner = (
                derivatives[q - 1] * density / mpmath.mpf(r2) ** q
                if q
                else mpmath.erfc(-z / mpmath.sqrt(2)) / 2
            )
            exact = (mpmath.exp(-(mpmath.mpf(r1) ** 2) / 2 + 1j * mpmath.mpf(b1)) * partner).real
            assert abs(found.value - exact) <= found.error_bound, (r1, r2, u, b1, b2, q)


def test_a_partner_that_follows_the_wave():
    """E sin(r x) step(x) at correlation one is an integral that falls as 1/r only: Dawson's
    function.
    """
    from scipy.special import dawsn

    for r in (1.0, 30.0, 1e3, 1e4):
        found = inf.gaussian_moment("sin", "step", r, 2.0, 1.0, method="closed", full_output=True)
        exact = dawsn(r / np.sqrt(2)) / np.sqrt(np.pi)
        assert abs(found.value - exact) <= found.error_bound
        assert found.value == pytest.approx(exact, rel=1e-13)


def test_tails_keep_relative_accuracy():
    """A kink twelve deviations away, against mpmath."""
    import mpmath

    r1 = 1.5
    r2 = 0.5
    u = 0.6
    b1 = 0.4
    b2 = -6.0
    with mpmath.workdps(40):
        mean = mpmath.mpc(b2, r1 * r2 * u)
        factor = mpmath.exp(mpmath.mpc(-r1 * r1 / 2, b1))

        def density(h):
            return mpmath.exp(-((h - mean) ** 2) / (2 * r2**2)) / (r2 * mpmath.sqrt(2 * mpmath.pi))

        for g, power in (("relu", 1), ("step", 0)):
            exact = factor * mpmath.quad(
                lambda h, n=power: h**n * density(h), [0, 0.2, 0.5, 1, 2, 6]
            )
            assert inf.gaussian_moment(
                "cos", g, r1, r2, u, b1, b2, method="closed"
            ) == pytest.approx(float(exact.real), rel=1e-10, abs=0)


@pytest.mark.parametrize("g", ["relu", "step", "elu", "selu", "tanh", "gelu"])
def test_constant_neurons(g):
    """Variances 0: of the wave and of its partner; what is infinite says so, and jets leave it out
    at order 1.
    """
    f = resolve(g)
    plain = np.exp(-0.5 * 1.44) * np.cos(0.3)
    assert inf.gaussian_moment("cos", g, 1.2, 0.0, 0.0, 0.3, 0.7) == pytest.approx(
        plain * f(0.7), rel=1e-13
    )
    assert inf.gaussian_moment("cos", g, 1.2, 0.0, 0.0, 0.3, -0.7) == pytest.approx(
        plain * f(-0.7), rel=1e-13
    )
    assert inf.gaussian_moment("cos", g, 0.0, 0.8, 0.0, 0.3, 0.2) == pytest.approx(
        np.cos(0.3) * inf.gaussian_mean(g, 0.8, 0.2), rel=1e-13
    )
    assert inf.gaussian_moment("cos", g, 1.2, 0.0, 0.0, 0.3, -0.7, orders=(1, 2)) == pytest.approx(
        -np.exp(-0.72) * np.sin(0.3) * f.derivative(-0.7, 2), rel=1e-12, abs=1e-16
    )
    if f.kinks:
        with pytest.raises(SingularMomentError):
            inf.gaussian_moment("cos", g, 1.2, 0.0, 0.0, orders=(0, 4))
        table = closed.AtomTable([resolve("cos"), f])
        index = np.array([0])
        jets = closed.pair_jets(
            table, index, index + 1, np.array([[1.44], [0.0], [0.0], [0.3], [0.0], [0.0]]), 2
        )[0]
        assert np.isfinite(jets[:6]).all()
        assert np.isinf(jets).any()


def test_mills_ratio_of_complex_numbers():
    """Both branches of 1 + z Phi(z)/phi(z) against 40 digits, next to where they meet
    and far out.
    """
    import mpmath

    rng = np.random.default_rng(5)
    size = np.concatenate([10.0 ** rng.uniform(-2, 4, 60), 12.0 + rng.uniform(-0.1, 0.1, 20)])
    z = -size * np.exp(1j * rng.uniform(-np.pi / 2, np.pi / 2, 80))
    ratio, ramp = elementary._mills(z)
    with mpmath.workdps(60):
        for point, one, two in zip(z, ratio, ramp, strict=True):
            w = mpmath.mpc(point)
            if abs(point) < 40:
                exact = (
                    mpmath.erfc(-w / mpmath.sqrt(2))
                    / 2
                    / (mpmath.exp(-w * w / 2) / mpmath.sqrt(2 * mpmath.pi))
                )
            else:
                exact = -sum(
                    (-1) ** n * mpmath.fac2(2 * n - 1) / w ** (2 * n + 1) for n in range(12)
                )
            assert abs(one - complex(exact)) <= 1e-13 * abs(exact)
            lost = 1 + w * exact
            assert abs(two - complex(lost)) <= 1e-13 * (abs(lost) + 0.03)


@pytest.mark.parametrize("wave", ["sin", "cos"])
@pytest.mark.parametrize("partner", ["relu", "elu", "tanh", "step"])
def test_networks(wave, partner):
    """Gradient and Hessian against differences, for students that oscillate and teachers with
    kinks, and the reverse.
    """
    for first, second in ((wave, partner), (partner, wave)):
        student = inf.Net([(2, first, True), (1, "identity", True)], input_dim=3)
        other = inf.Net([(2, second, True), (1, "identity", True)], input_dim=3)
        net = inf.NetI(student, inf.Teacher(other, inf.random_params(other, 1)))
        theta = inf.random_params(student, 2)
        found = net.evaluate(theta, 2)
        eye = np.eye(len(theta)) * 1e-4
        values = [[net.evaluate(theta + s * e).value for e in eye] for s in (1, -1)]
        gradients = [[net.evaluate(theta + s * e, 1).gradient for e in eye] for s in (1, -1)]
        np.testing.assert_allclose(found.gradient, np.subtract(*values) / 2e-4, atol=1e-7)
        np.testing.assert_allclose(found.hessian, np.subtract(*gradients) / 2e-4, atol=1e-6)
        assert "cubature" not in net.explain()
