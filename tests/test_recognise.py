"""Expressions that are sums of terms: which are recognised, and whether the terms are the function.

A few hundred expressions are generated from random numbers.
"""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import sympy

import infflow as inf
from infflow.activations import resolve

x = sympy.Symbol("x", real=True)
POINTS = np.concatenate([np.linspace(-4.03, 4.01, 29), [-11.7, 9.3]])


def number(rng, size=8):
    """A small rational number, sometimes an irrational one."""
    value = sympy.Rational(int(rng.integers(1, size)), int(rng.integers(1, 4)))
    value *= int(rng.choice([-1, 1]))
    return value * sympy.sqrt(2) if rng.random() < 0.1 else value


def affine(rng):
    return number(rng) * x + (number(rng) if rng.random() < 0.7 else 0)


def polynomial(rng, degree):
    return sum(number(rng) * x**k for k in range(degree + 1))


def piecewise_linear(rng, depth=2):
    """Max, Min, Abs and their sums, nested."""
    if depth == 0:
        return affine(rng)
    kind = rng.integers(5)
    inner = piecewise_linear(rng, depth - 1)
    other = piecewise_linear(rng, depth - 1) if rng.random() < 0.4 else number(rng)
    if kind == 0:
        return sympy.Max(inner, other)
    if kind == 1:
        return sympy.Min(inner, other)
    if kind == 2:
        return sympy.Abs(inner)
    return number(rng) * inner + number(rng) * sympy.Abs(affine(rng))


def piecewise_polynomial(rng):
    """Piecewise, products with Heaviside and sign, powers of Max and Abs; some jump."""
    kind = rng.integers(5)
    if kind == 0:
        first, second = sorted({number(rng), number(rng) + 9}, key=float)
        pieces = [polynomial(rng, int(rng.integers(4))) for _ in range(3)]
        return sympy.Piecewise((pieces[0], x < first), (pieces[1], x <= second), (pieces[2], True))
    if kind == 1:
        return polynomial(rng, 2) * sympy.Heaviside(affine(rng)) + polynomial(rng, 1)
    if kind == 2:
        return polynomial(rng, 2) * sympy.sign(affine(rng)) - number(rng)
    if kind == 3:
        return sympy.Max(0, affine(rng)) ** int(rng.integers(1, 6)) * number(rng)
    return sympy.Abs(affine(rng)) ** int(rng.integers(1, 5)) + polynomial(rng, 3)


def smooth(rng):
    """Sums of named functions of affine arguments, some with a factor x."""
    total = sympy.Integer(0)
    for _ in range(int(rng.integers(1, 4))):
        a = affine(rng) / 4
        kind = rng.integers(12)
        total += (
            number(rng)
            * [
                sympy.erf(a),
                sympy.tanh(a),
                sympy.exp(a / 4),
                sympy.sin(a),
                sympy.cos(a),
                sympy.log(1 + sympy.exp(a)),
                1 / (1 + sympy.exp(a)),
                x * sympy.tanh(a),
                x * sympy.erf(a),
                x / (1 + sympy.exp(-a)),
                sympy.exp(-(a**2)),
                x / 2 * (1 + sympy.erf(x / sympy.sqrt(2))),
            ][kind]
        )
    return total + (polynomial(rng, 2) if rng.random() < 0.3 else 0)


def one_sided(rng):
    """Exponentials between kinks: elu, celu, Laplace's function."""
    rate = abs(number(rng)) / 3
    slope = number(rng)
    kind = rng.integers(3)
    if kind == 0:
        elu = sympy.Piecewise((slope * x, x > 0), (number(rng) * (sympy.exp(rate * x) - 1), True))
        return elu
    if kind == 1:
        return number(rng) * sympy.exp(-sympy.Abs(rate * x - number(rng) / 4))
    return sympy.Piecewise((sympy.exp(-rate * x), x > 0), (1, True)) + number(rng) * sympy.Abs(x)


KINDS = {
    "piecewise linear": (piecewise_linear, 90),
    "piecewise polynomial": (piecewise_polynomial, 90),
    "smooth": (smooth, 90),
    "one-sided": (one_sided, 45),
}


def is_recognised(f):
    return all(term.primitive.name != f.name for term in f.terms) or f.polynomial


@pytest.mark.parametrize("part", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_generated_expressions(kind, part):
    generate, count = KINDS[kind]
    for k in range(part, count, 3):
        expression = generate(np.random.default_rng([len(kind), k]))
        f = inf.Activation.from_sympy("mine", expression)
        assert is_recognised(f) or not expression.has(x), expression
        expected = np.array([float(sympy.N(expression.subs(x, float(p)), 25)) for p in POINTS])
        sizes = sum(abs(t.coefficient * t.primitive(t.scale * POINTS + t.shift)) for t in f.terms)
        assert np.all(np.abs(f(POINTS) - expected) <= 1e-13 * (sizes + 1)), expression
        for kink in f.kinks:
            value = float(sympy.N(expression.subs(x, sympy.nsimplify(kink, rational=True)), 25))
            aside = [float(f(kink - 1e-9)), float(f(kink)), float(f(kink + 1e-9))]
            assert min(abs(value - near) for near in aside) <= 1e-6 * (1 + abs(value)), expression


@pytest.mark.parametrize(
    ("expression", "primitives", "methods"),
    [
        ("Max(-1, Min(1, x))", {"relu"}, "closed"),
        ("Max(0, x)**2", {"relu_power(2)"}, "closed"),
        ("Piecewise((x, x > 0), (x/5, True))", {"relu"}, "closed"),
        ("erf(3*x)", {"erf"}, "closed"),
        ("tanh(2*x)", {"tanh"}, "closed"),
        ("log(1 + exp(2*x))/2", {"softplus"}, "closed"),
        ("x/(1 + exp(-2*x))", {"silu"}, "closed"),
        ("exp(2*x)/(3 + exp(2*x))", {"sigmoid"}, "closed"),
        ("exp(-Abs(x))", {"elu", "relu"}, "closed"),
        ("x*Heaviside(x)", {"relu"}, "closed"),
        ("exp(x)*Heaviside(x - 1)", {"exp", "elu", "relu", "step", "sign"}, "closed"),
        ("log(cosh(x))", {"log_cosh"}, "closed"),
        ("x*tanh(log(1 + exp(x)))", {"mish"}, "hermite"),
        ("atan(x) + x", {"arctan"}, "hermite"),
    ],
)
def test_what_is_recognised(expression, primitives, methods):
    f = inf.Activation.from_sympy("mine", expression)
    found = {t.primitive.name for t in f.terms if not t.primitive.name.startswith("polynomial")}
    assert found <= primitives and found
    assert methods in inf.available_methods(f, f)
    assert f.expression == sympy.sympify(expression, locals={"x": x})
    copy = pickle.loads(pickle.dumps(f))
    assert np.array_equal(copy(POINTS), f(POINTS)) and copy.kinks == f.kinks


@pytest.mark.parametrize(
    "expression", ["sqrt(x**2 + 1)", "x**2*tanh(x)", "sin(x**2)", "x*sin(x)", "tanh(Abs(x))"]
)
def test_what_is_not(expression):
    f = inf.Activation.from_sympy("mine", expression)
    assert [t.primitive.name for t in f.terms] == ["mine"]
    assert "closed" not in inf.available_methods(f, f)


def test_integrals_equal_those_of_the_registry():
    for name, expression in (
        ("tanh", "tanh(x)"),
        ("relu", "Max(x, 0)"),
        ("gelu", "x/2 + x*erf(x/sqrt(2))/2"),
        ("selu", resolve("selu").expression),
        ("g", "1/(1 + exp(-4*x)) + log(1 + exp(x))"),
    ):
        f = inf.Activation.from_sympy("mine", expression)
        own = inf.gaussian_moment(f, f, 1.1, 0.7, 0.4, 0.3, -0.2)
        assert own == pytest.approx(
            inf.gaussian_moment(name, name, 1.1, 0.7, 0.4, 0.3, -0.2), rel=1e-11
        )


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("x*y", "2 symbols"),
        ("sqrt(x)", "not a real number"),
        ("log(x)", "real number"),
        ("1/x", "real number"),
        ("I*x", "real number"),
        ("zoo*x", "finite"),
        ("sign(sin(x))", "finitely many"),
    ],
)
def test_bad_expressions(expression, message):
    with pytest.raises(inf.InfflowError, match=message):
        inf.Activation.from_sympy("mine", expression)


def test_growth_beyond_exp():
    f = inf.Activation.from_sympy("mine", "exp(x**2)")
    with pytest.raises(inf.InfflowError, match="grows too fast"):
        inf.gaussian_moment(f, f, 1.0, 1.0, 0.3)
    own = inf.Activation.from_callable("own", lambda x: np.exp(x * x))
    with pytest.raises(inf.InfflowError, match="grows too fast"):
        inf.gaussian_moment(own, "relu", 1.0, 1.0, 0.3)
