"""Closed forms: the textbook expressions, every pair against quadrature, and 30 digits."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import gaussian_reference as reference
import mpmath
import numpy as np
import pytest
import sympy
from sympy import asin, pi, sqrt

from infflow.activations import Activation
from infflow.errors import InvalidTypeError, InvalidValueError, MethodError, UnknownNameError
from infflow.integrals.closed.formulas import BivariateNormalCDF, closed_form, symbols
from infflow.integrals.moments import gaussian_moment

C, b, C11, C12, C13, C22, C23, C33, b1, b2, b3 = symbols
NAMES = tuple(reference.ACTIVATIONS)
PAIRS = tuple(itertools.combinations_with_replacement(NAMES, 2))

COVARIANCE = np.array([[1.3, 0.4, -0.3], [0.4, 0.7, 0.5], [-0.3, 0.5, 2.1]])
MEAN = np.array([0.35, -0.6, 0.8])
RATIONAL = {
    C11: "13/10",
    C12: "2/5",
    C13: "-3/10",
    C22: "7/10",
    C23: "1/2",
    C33: "21/10",
    b1: "7/20",
    b2: "-3/5",
    b3: "4/5",
}
RATIONAL = {symbol: sympy.Rational(value) for symbol, value in RATIONAL.items()} | {
    C: RATIONAL[C11],
    b: RATIONAL[b1],
}


def value(expression, digits=25):
    number = expression.subs(RATIONAL).evalf(digits)
    assert number.is_number and number.is_real
    return number


# -- structure: the expressions of the literature --------------------------------------------------


def same(expression, expected):
    return sympy.simplify(expression - expected) == 0


def test_erf_is_the_arcsine():
    assert closed_form("erf", "erf") == 2 * asin(C12 / sqrt((1 + C11) * (1 + C22))) / pi
    assert closed_form("sigmoid2", "erf") == closed_form("erf", "erf")


def test_erf_order_parameter_integral():  # I3 of Saad and Solla (1995)
    L3 = (1 + C11) * (1 + C33) - C13**2
    expected = 2 / pi / sqrt(L3) * (C23 * (1 + C11) - C12 * C13) / (1 + C11)
    assert same(closed_form("erf", "h", "erf"), expected)


def test_erf_derivatives():  # J2
    expected = 2 / pi / sqrt(1 + C11 + C22 - C12**2 + C11 * C22)
    assert same(closed_form("erf", "erf", derivatives=(1, 1)), expected)


def test_relu_is_the_arccosine_kernel():
    rho = C12 / sqrt(C11 * C22)
    expected = (sqrt(C11 * C22 - C12**2) + C12 * (pi / 2 + asin(rho))) / (2 * pi)
    assert sympy.expand(closed_form("relu", "relu") - expected) == 0
    assert closed_form("relu", "relu", derivatives=(1, 1)) == closed_form("step", "step")


def test_relu_order_parameter_integral():
    rho = C13 / sqrt(C11 * C33)
    expected = (
        C12 * sqrt(C11 * C33 - C13**2) / (2 * pi * C11) + C23 * asin(rho) / (2 * pi) + C23 / 4
    )
    assert sympy.expand(closed_form("relu", "h", "relu") - expected) == 0


@pytest.mark.parametrize(
    ("f", "g", "expected"),
    [
        ("step", "step", sympy.Rational(1, 4) + asin(C12 / sqrt(C11 * C22)) / (2 * pi)),
        ("sign", "sign", 2 * asin(C12 / sqrt(C11 * C22)) / pi),
        ("sign", "erf", 2 * asin(C12 / sqrt(C11 * (1 + C22))) / pi),
        ("abs", "abs", 2 * (sqrt(C11 * C22 - C12**2) + C12 * asin(C12 / sqrt(C11 * C22))) / pi),
        ("relu", "erf", C12 / sqrt(2 * pi * (1 + C22))),
        ("step", "relu", (sqrt(C22) + C12 / sqrt(C11)) / (2 * sqrt(2 * pi))),
        ("identity", "erf", sqrt(2 / pi) * C12 / sqrt(1 + C22)),
        ("gaussian", "gaussian", 1 / sqrt((1 + C11) * (1 + C22) - C12**2)),
        ("identity", "identity", C12),
        ("square", "square", C11 * C22 / 4 + C12**2 / 2),
        ("cube", "cube", 9 * C11 * C12 * C22 + 6 * C12**3),
    ],
)
def test_known_pairs(f, g, expected):
    assert sympy.expand(closed_form(f, g) - expected) == 0
    exchanged = expected.subs({C11: C22, C22: C11}, simultaneous=True)
    assert sympy.expand(closed_form(g, f) - exchanged) == 0


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        ("identity", b),
        (
            "relu",
            b * (1 + sympy.erf(b / sqrt(2 * C))) / 2
            + sqrt(C / (2 * pi)) * sympy.exp(-(b**2) / (2 * C)),
        ),
        ("erf", sympy.erf(b / sqrt(2) / sqrt(1 + C))),
        ("square", (b**2 + C) / 2),
        ("cube", b**3 + 3 * b * C),
        ("gaussian", sympy.exp(-(b**2) / (2 * (1 + C))) / sqrt(1 + C)),
    ],
)
def test_known_means(f, expected):
    assert sympy.expand(closed_form(f, biases=True) - expected) == 0
    assert sympy.expand(closed_form(f) - expected.subs(b, 0)) == 0


def test_polynomials_obey_isserlis():
    from infflow.activations import polynomial

    f = polynomial([1, 0, -2, 1])
    g = polynomial([0, 3, 0.5])
    x, y = sympy.symbols("x y")
    product = sympy.Poly((1 - 2 * x**2 + x**3) * (3 * y + y**2 / 2), x, y)
    # the moments E x^m y^n from the generating function
    generating = sympy.exp((C11 * x**2 + 2 * C12 * x * y + C22 * y**2) / 2 + b1 * x + b2 * y)
    expected = sum(
        factor * sympy.diff(generating, x, m, y, n).subs({x: 0, y: 0})
        for (m, n), factor in product.terms()
    )
    assert sympy.expand(closed_form(f, g, biases=True) - expected) == 0
    assert sympy.expand(closed_form(f, g) - expected.subs({b1: 0, b2: 0})) == 0


def test_printing_is_short():
    longest = max((str(closed_form(f, g)) for f, g in PAIRS), key=len)
    assert len(longest) < 180, longest
    assert str(closed_form("leaky_relu")) == "99*sqrt(2)*sqrt(C)/(200*sqrt(pi))"
    latex = sympy.latex(closed_form("step", "step", biases=True))
    assert latex.startswith(r"\Phi_2\left(\frac{b_{1}}{\sqrt{C_{11}}}")


# -- numbers ---------------------------------------------------------------------------------------


def assert_matches(expression, expected, scale=1.0):
    assert expression.free_symbols <= set(RATIONAL) and not expression.atoms(
        sympy.Float, sympy.Dummy
    )
    assert abs(float(value(expression, 16)) - expected) < 2e-12 * scale, (expression, expected)


@pytest.mark.parametrize(("f", "g"), PAIRS)
def test_pairs_against_quadrature(f, g):
    cov = COVARIANCE[:2, :2]
    assert_matches(closed_form(f, g), reference.pair_moment(f, g, cov, np.zeros(2)))


@pytest.mark.parametrize(
    ("f", "g"), [(f, g) for n, (f, g) in enumerate(PAIRS) if f == g or n % 3 == 0]
)
def test_pairs_with_biases_against_quadrature(f, g):
    cov = COVARIANCE[:2, :2]
    assert_matches(closed_form(f, g, biases=True), reference.pair_moment(f, g, cov, MEAN[:2]))


@pytest.mark.parametrize(("f", "g"), PAIRS[::6])
@pytest.mark.parametrize("orders", [(1, 1), (0, 3)])
def test_derivatives_of_pairs_against_quadrature(f, g, orders):
    cov = COVARIANCE[:2, :2]
    expected = reference.pair_moment(f, g, cov, MEAN[:2], orders)
    assert_matches(
        closed_form(f, g, biases=True, derivatives=orders), expected, 10
    )  # weights of size 10


@pytest.mark.parametrize("f", NAMES)
def test_means_against_quadrature(f):
    for order in range(4):
        expected = reference.single_moment(f, COVARIANCE[0, 0], MEAN[0], order)
        assert_matches(closed_form(f, biases=True, derivatives=(order,)), expected, 10)


@pytest.mark.parametrize(
    ("f", "g"), list(zip(NAMES, (*NAMES[5:], *NAMES[:5]), strict=True)) + [(n, n) for n in NAMES]
)
def test_order_parameter_integrals_against_quadrature(f, g):
    expected = reference.order_parameter_integral(f, g, COVARIANCE, np.zeros(3))
    assert_matches(closed_form(f, "h", g), expected, 10)


@pytest.mark.parametrize(
    ("f", "g"),
    [("relu", "erf"), ("erf", "step"), ("gelu", "abs"), ("cube", "sign"), ("sign", "sign")],
)
def test_order_parameter_integrals_with_biases_against_quadrature(f, g):
    expected = reference.order_parameter_integral(f, g, COVARIANCE, MEAN)
    assert_matches(closed_form(f, "h", g, biases=True), expected, 10)


@pytest.mark.parametrize(
    ("f", "g"),
    [("relu", "relu"), ("erf", "erf"), ("abs", "step"), ("gelu", "relu"), ("sign", "erf")],
)
def test_thirty_digits(f, g):
    """One-dimensional quadrature of f times the conditional mean of g, at 40 digits."""
    functions = {
        "relu": lambda x: max(x, 0),
        "abs": abs,
        "sign": mpmath.sign,
        "erf": lambda x: mpmath.erf(x / mpmath.sqrt(2)),
        "gelu": lambda x: x * mpmath.ncdf(x),
    }
    with mpmath.workdps(40):
        c11, c12, m1, m2 = (mpmath.mpf(RATIONAL[s].p) / RATIONAL[s].q for s in (C11, C12, b1, b2))
        conditional_variance = RATIONAL[C22] - RATIONAL[C12] ** 2 / RATIONAL[C11]
        conditional_mean = sympy.lambdify(
            b, closed_form(g, biases=True).subs(C, conditional_variance), "mpmath"
        )

        def integrand(x):
            density = mpmath.exp(-((x - m1) ** 2) / (2 * c11)) / mpmath.sqrt(2 * mpmath.pi * c11)
            return density * functions[f](x) * conditional_mean(m2 + c12 / c11 * (x - m1))

        expected = mpmath.quad(integrand, [-16, -8, -4, 0, 4, 8, 16])
        result = closed_form(f, g, biases=True).subs(RATIONAL).evalf(32)
        assert abs(mpmath.mpf(str(result)) - expected) < mpmath.mpf(10) ** -30


@pytest.mark.parametrize(("f", "g"), [("relu", "relu"), ("erf", "normal_cdf"), ("cube", "sign")])
def test_heat_equation_and_mean_derivatives_to_thirty_digits(f, g):
    phi = closed_form(f, g, biases=True)

    def differ(derivative, orders, factor=1):
        expected = closed_form(f, g, biases=True, derivatives=orders) / factor
        return abs(value(derivative, 30) - value(expected, 30))

    tiny = sympy.Float("1e-28")
    assert differ(phi.diff(C12), (1, 1)) < tiny
    assert differ(phi.diff(C11), (2, 0), 2) < tiny
    assert differ(phi.diff(C22), (0, 2), 2) < tiny
    assert differ(phi.diff(b1, 2, b2, 1), (2, 1)) < tiny
    assert differ(phi.diff(b1, 1, b2, 3), (1, 3)) < tiny


# -- the bivariate normal cdf ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("h", "k", "rho"),
    [
        (0.3, -0.7, 0.5),
        (-2, -3, -0.9),
        (1.5, 1.25, 0.999),
        (8, -8.5, -0.999),
        (-5, -6, 0.25),
        (-40, -38, 0.75),
        (0, 2, -0.5),
    ],
)
def test_cdf_against_conditional_integral(h, k, rho):
    result = BivariateNormalCDF(*map(sympy.Rational, (h, k, str(rho)))).evalf(25)
    with mpmath.workdps(50):
        h = mpmath.mpf(h)
        k = mpmath.mpf(k)
        rho = mpmath.mpf(str(rho))
        root = mpmath.sqrt(1 - rho**2)
        points = sorted(
            {
                h - 60,
                h - 10,
                h - 3,
                h - 1,
                h - 0.3,
                *(x for x in (k / rho, k / rho - 0.3, k / rho + 0.3) if h - 9 < x < h),
                h,
            }
        )
        scale = mpmath.mpf(str(result))
        ratio = mpmath.quad(
            lambda x: mpmath.npdf(x) * mpmath.ncdf((k - rho * x) / root) / scale,
            points,
            maxdegree=9,
        )
        assert abs(ratio - 1) < mpmath.mpf(10) ** -23


def test_cdf_special_values():
    h, k, rho = sympy.symbols("h k rho", real=True)
    Phi = BivariateNormalCDF
    cdf = lambda x: (1 + sympy.erf(x / sqrt(2))) / 2  # noqa: E731
    assert Phi(0, 0, rho) == sympy.Rational(1, 4) + asin(rho) / (2 * pi)
    assert Phi(h, k, 0) == cdf(h) * cdf(k)
    assert Phi(h, sympy.oo, rho) == cdf(h) and Phi(-sympy.oo, k, rho) == 0
    assert (
        abs(Phi(0.3, 0.5, 1) - cdf(0.3)) < 1e-15
        and abs(Phi(0.3, 0.5, -1) - (cdf(0.3) - cdf(-0.5))) < 1e-15
    )
    assert Phi(h, k, rho).is_extended_real
    assert isinstance(Phi(h, k, rho).evalf(), Phi)  # stays symbolic
    with pytest.raises(InvalidValueError, match="between -1 and 1"):
        Phi(0.1, 0.2, 1.5).evalf()


def test_cdf_derivatives():
    h, k, rho = sympy.symbols("h k rho", real=True)
    point = (sympy.Rational(1, 3), sympy.Rational(-2, 5), sympy.Rational(3, 5))
    values = dict(zip((h, k, rho), point, strict=True))
    for index, symbol in enumerate((h, k, rho)):
        exact = BivariateNormalCDF(h, k, rho).diff(symbol).subs(values).evalf(20)
        step = sympy.Rational(1, 10**10)
        right, left = (
            BivariateNormalCDF(*point[:index], point[index] + d, *point[index + 1 :])
            for d in (step, -step)
        )
        assert abs(exact - (right.evalf(40) - left.evalf(40)) / (2 * step)) < 1e-18


# -- exponentials, sines and cosines: 30 digits ----------------------------------------------------

WAVES = {"exp": (1, 1), "sin": (mpmath.mpc(0, -1), mpmath.mpc(0, 1)), "cos": (1, mpmath.mpc(0, 1))}
PARTNERS = {  # f, f'
    "exp": (mpmath.exp, mpmath.exp),
    "sin": (mpmath.sin, mpmath.cos),
    "cos": (mpmath.cos, lambda x: -mpmath.sin(x)),
    "gaussian": (lambda x: mpmath.exp(-x * x / 2), lambda x: -x * mpmath.exp(-x * x / 2)),
    "cube": (lambda x: x**3, lambda x: 3 * x * x),
    "relu": (lambda x: max(x, mpmath.mpf(0)), lambda x: mpmath.mpf(x > 0)),
    "erf": (lambda x: mpmath.erf(x / mpmath.sqrt(2)), lambda x: 2 * mpmath.npdf(x)),
}


@pytest.mark.parametrize(("f", "g"), list(itertools.product(WAVES, PARTNERS)))
@pytest.mark.parametrize("orders", [(0, 0), (1, 1), (3, 0)])
def test_waves_with_thirty_digits(f, g, orders):
    """Given h2, the mean of exp(k h1) is exp(k m + k^2 s^2/2): one integral over h2 is left."""
    p, q = orders
    with mpmath.workdps(40):
        v1, c, v2, m1, m2 = (
            mpmath.mpf(int(x.p)) / int(x.q) for x in (RATIONAL[k] for k in (C11, C12, C22, b1, b2))
        )
        weight, rate = WAVES[f]

        def integrand(y):
            wave = rate * (m1 + c / mpmath.sqrt(v2) * y) + rate**2 * (v1 - c * c / v2) / 2
            return (
                mpmath.npdf(y)
                * mpmath.re(weight * rate**p * mpmath.exp(wave))
                * PARTNERS[g][q](m2 + mpmath.sqrt(v2) * y)
            )

        expected = mpmath.quad(integrand, sorted([-16, -8, -4, 0, 4, 8, 16, -m2 / mpmath.sqrt(v2)]))
        found = value(closed_form(f, g, biases=True, derivatives=orders), 35)
        assert abs(mpmath.mpf(str(found)) - expected) < mpmath.mpf("1e-30")
        exchanged = closed_form(g, f, biases=True, derivatives=orders[::-1])
        swapped = exchanged.subs({C11: C22, C22: C11, b1: b2, b2: b1}, simultaneous=True)
        assert abs(mpmath.mpf(str(value(swapped, 35))) - expected) < mpmath.mpf("1e-30")


def test_waves_of_the_literature():
    assert closed_form("exp") == sympy.exp(C / 2)
    assert closed_form("sin", biases=True) == sympy.exp(-C / 2) * sympy.sin(b)
    assert same(
        closed_form("sin", "sin").rewrite(sympy.exp),
        (sympy.exp(-(C11 + C22) / 2) * sympy.sinh(C12)).rewrite(sympy.exp),
    )
    assert closed_form("exp", "sin") == sympy.exp(C11 / 2 - C22 / 2) * sympy.sin(C12)
    assert closed_form("sin", "relu") == C12 * sympy.exp(-C11 / 2) / 2
    assert closed_form("step", "sin") == sympy.exp(-C22 / 2) * sympy.erfi(C12 / sqrt(2 * C11)) / 2


@pytest.mark.parametrize("g", ["elu", "selu", "gelu", "step", "leaky_relu"])
@pytest.mark.parametrize("orders", [(0, 0), (2, 1), (0, 3)])
def test_waves_and_the_numerical_closed_form(g, orders):
    """The expression and complex arithmetic, with and without means; derivatives of the expression
    are those of the moment.
    """
    r = [float(RATIONAL[C11]) ** 0.5, float(RATIONAL[C22]) ** 0.5]
    for biases in (False, True):
        means = [float(RATIONAL[b1]) * biases, float(RATIONAL[b2]) * biases]
        point = (*r, float(RATIONAL[C12]) / (r[0] * r[1]), *means)
        found = closed_form("cos", g, biases=biases, derivatives=orders)
        assert float(value(found)) == pytest.approx(
            gaussian_moment("cos", g, *point, orders=orders), rel=1e-11, abs=1e-14
        )
    slope = closed_form("cos", g, biases=True, derivatives=orders).diff(b2)
    above = closed_form("cos", g, biases=True, derivatives=(orders[0], orders[1] + 1))
    assert abs(value(slope - above)) < 1e-20


# -- elu and selu ----------------------------------------------------------------------------------

VECTORS = json.loads(
    (Path(__file__).parent / "data" / "gaussian_moments.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("pair", [("elu", "elu"), ("selu", "erf")])
def test_one_sided_exponentials_against_the_test_vectors(pair):
    """20 digits, with biases, of values and derivatives."""
    rows = [row[2:] for row in VECTORS["moments"] if tuple(row[:2]) == pair]
    for r1, r2, u, means1, means2, exact in rows[1:2]:
        r1, r2, u = (sympy.Rational(x) for x in (r1, r2, u))  # exactly the float64 numbers
        point = {
            C11: r1**2,
            C22: r2**2,
            C12: r1 * r2 * u,
            b1: sympy.Rational(means1),
            b2: sympy.Rational(means2),
        }
        for orders in ((0, 0), (2, 1)):
            expected = mpmath.mpf(exact[VECTORS["orders"].index(list(orders))])
            found = closed_form(*pair, biases=True, derivatives=orders).subs(
                point, simultaneous=True
            )
            assert abs(mpmath.mpf(str(found.evalf(22))) - expected) <= mpmath.mpf("1e-20"), (
                point,
                orders,
            )


def test_one_sided_exponentials_in_one_dimension():
    tail = (1 - sympy.erf(sqrt(C / 2))) / 2
    assert same(
        closed_form("elu"), sqrt(C / (2 * pi)) + sympy.exp(C / 2) * tail - sympy.Rational(1, 2)
    )
    form = closed_form("exp", "elu")  # a shift of the mean by C12
    shifted = closed_form("elu", biases=True).subs({C: C22, b: C12}, simultaneous=True) * sympy.exp(
        C11 / 2
    )
    point = {C11: sympy.Rational(1, 3), C12: sympy.Rational(1, 7), C22: sympy.Rational(3, 2)}
    assert abs((form - shifted).subs(point).evalf(30)) < 1e-28


def test_overlap_with_one_sided_exponentials():
    """E[f'(h1) h2 g(h3)] by Stein's lemma."""
    form = closed_form("elu", "h", "relu")
    C13 = symbols.C13
    C23 = symbols.C23
    C33 = symbols.C33
    parts = [
        closed_form("elu", "relu", derivatives=orders).subs({C22: C33, C12: C13}, simultaneous=True)
        for orders in ((2, 0), (1, 1))
    ]
    numbers = {C11: 1.3, C12: 0.2, C13: -0.4, C23: 0.3, C33: 0.9}
    assert float((form - C12 * parts[0] - C23 * parts[1]).subs(numbers).evalf()) == pytest.approx(
        0.0, abs=1e-14
    )


# -- errors ----------------------------------------------------------------------------------------


def test_activation_without_closed_form():
    own = Activation.from_callable("own", np.tanh)
    with pytest.raises(MethodError, match=r"(?s)'own' has no closed-form.*gaussian_moment"):
        closed_form("relu", own)
    with pytest.raises(MethodError, match="'softplus' is a finite mixture"):
        closed_form("softplus", "erf")


@pytest.mark.parametrize(
    ("error", "call"),
    [
        (UnknownNameError, lambda: closed_form("rellu")),
        (InvalidValueError, lambda: closed_form()),
        (InvalidValueError, lambda: closed_form("relu", "erf", "relu")),
        (InvalidValueError, lambda: closed_form("relu", "h", "relu", derivatives=(1, 1))),
        (InvalidValueError, lambda: closed_form("relu", "h", "relu", "relu")),
        (InvalidValueError, lambda: closed_form("relu", "relu", derivatives=(1,))),
        (InvalidValueError, lambda: closed_form("relu", "relu", derivatives=(-1, 0))),
        (InvalidTypeError, lambda: closed_form("relu", derivatives=1.5)),
        (InvalidTypeError, lambda: closed_form("relu", biases=1)),
    ],
)
def test_bad_arguments(error, call):
    with pytest.raises(error):
        call()
