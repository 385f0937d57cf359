"""Activations: every derivative of every registered one, and those that users make."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path

import mpmath as mp
import numba
import numpy as np
import pytest
import sympy

from infflow.activations import ALIASES, REGISTRY, Activation, Atom, names, polynomial, resolve
from infflow.errors import InvalidTypeError, InvalidValueError, ShapeError, UnknownNameError

REFERENCES = json.loads(
    (Path(__file__).parent / "data" / "activation_references.json").read_text()
)["functions"]
EPS = 2.0**-52
API = """identity relu leaky_relu abs sign step erf normal_cdf gelu sigmoid tanh softplus silu elu
selu g square cube exp sin cos gaussian"""
ALL = tuple(REGISTRY)


def close_scale(exact):
    """What a relative error refers to, for exact derivatives 0 to 4 of shape (5, n).

    The value itself; near a zero of a derivative the smaller of its neighbours, since the point is
    a float64 number. In the tails of the smooth functions all orders are equally small, so that
    this stays a relative error.
    """
    size = np.abs(exact)
    scale = size.copy()
    scale[1:4] = np.maximum(size[1:4], np.minimum(size[:3], size[2:]))
    scale[4] = np.maximum(size[4], size[3])
    return scale


def exact_difference(values, strings):
    with mp.workdps(40):
        return np.array(
            [float(abs(mp.mpf(float(v)) - mp.mpf(s))) for v, s in zip(values, strings, strict=True)]
        )


# --------------------------------------------------------------------------------------------------
# the registry


def test_registry_is_the_list_of_the_public_interface():
    listed = set(API.split())
    assert set(names()) == listed == set(REFERENCES)
    assert dict(ALIASES) == {"linear": "identity", "sigmoid2": "erf"}
    assert resolve("linear") is REGISTRY["identity"]
    assert resolve("sigmoid2") is REGISTRY["erf"]


@pytest.mark.parametrize("name", ALL)
def test_derivatives_match_references(name):
    table = REFERENCES[name]
    x = np.array([float(p) for p in table["x"]])
    scale = close_scale(np.array(table["derivatives"], dtype=float))
    for order, strings in enumerate(table["derivatives"]):
        error = exact_difference(REGISTRY[name].derivative(x, order), strings)
        # six roundings; the high derivatives add up several terms. 1e-322: subnormal numbers have
        # few digits
        bound = (6 if order < 3 else 12) * EPS * scale[order] + 1e-322
        assert (error <= bound).all(), (
            order,
            x[error > bound],
            error[error > bound] / scale[order][error > bound],
        )


@pytest.mark.parametrize("name", ALL)
def test_expression_matches_references(name):
    table = REFERENCES[name]
    derivative = REGISTRY[name].expression
    symbol = sympy.Symbol("x", real=True)
    for strings in table["derivatives"]:
        f = sympy.lambdify(
            symbol, derivative.replace(sympy.DiracDelta, lambda *_: sympy.Integer(0)), "mpmath"
        )
        with mp.workdps(900):  # as many digits as the tails need
            for point, string in zip(table["x"], strings, strict=True):
                exact = mp.mpf(string)
                assert abs(mp.mpmathify(f(mp.mpf(float(point)))) - exact) <= mp.mpf(
                    10
                ) ** -28 * abs(exact) + mp.mpf("1e-400")
        derivative = sympy.diff(derivative, symbol)


@pytest.mark.parametrize("name", ALL)
def test_stable_at_large_arguments(name):
    a = REGISTRY[name]
    x = np.array([-1e3, 1e3, -750.0, 750.0])
    jet = np.array([a.derivative(x, k) for k in range(5)])
    assert not np.isnan(jet).any()
    assert np.isfinite(jet[:, (x < 0) if name == "exp" else slice(None)]).all()
    huge = np.array([a.derivative([-1e308, 1e308], k) for k in range(5)])
    assert not np.isnan(huge).any()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (0,), (2, 0)])
def test_jet_of_every_length_is_the_derivatives(name, shape):
    a = REGISTRY[name]
    h = np.random.default_rng(3).normal(scale=3.0, size=shape)
    for m in range(1, 6):
        out = np.full((m, *shape), np.nan)
        a.jet(np.asarray(h), out)
        # one vector length or another contracts differently, in the last bit
        np.testing.assert_allclose(
            out, np.array([a.derivative(h, k) for k in range(m)]), rtol=1e-14, atol=1e-15
        )


@pytest.mark.parametrize("name", ALL)
def test_declared_symmetries_hold_and_no_others(name):
    a = REGISTRY[name]
    x = np.array([0.3, 1.1, 2.6, 4.5])
    parity = (
        1
        if np.allclose(a(-x), a(x), rtol=1e-15)
        else -1
        if np.allclose(a(-x), -a(x), rtol=1e-15)
        else 0
    )
    both = np.concatenate([-x, x])
    assert a.parity == parity
    assert a.homogeneous == bool(np.allclose(a(3.7 * both), 3.7 * a(both), rtol=1e-14))


@pytest.mark.parametrize("name", ALL)
def test_declared_kinks_are_where_a_derivative_jumps(name):
    a = REGISTRY[name]
    jumps = []
    for x in np.linspace(-3, 3, 25):
        left, right = (np.array([a.derivative(x + s * 1e-9, k) for k in range(4)]) for s in (-1, 1))
        if (np.abs(right - left) > 1e-3).any():
            jumps.append(x)
    assert tuple(jumps) == a.kinks


def smoothed_ramp(order, width, x):
    """d^order/dx^order E relu(x + width z), for orders that the registry uses."""
    if width == 0:
        return [np.maximum(x, 0), (x > 0) * 1.0][order]
    t = x / width
    cdf = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in t])
    pdf = np.exp(-(t**2) / 2) / math.sqrt(2 * math.pi)
    return [x * cdf + width * pdf, cdf, pdf / width][order]


@pytest.mark.parametrize("name", [n for n in ALL if REGISTRY[n].has_closed_form])
def test_polynomial_and_atoms_are_the_function(name):
    a = REGISTRY[name]
    x = np.linspace(-6, 6, 40)
    total = sum((c * x**k for k, c in enumerate(a.polynomial)), np.zeros_like(x))
    total = total + sum(atom.weight * smoothed_ramp(atom.order, atom.width, x) for atom in a.atoms)
    np.testing.assert_allclose(a(x), total, rtol=1e-14, atol=2e-15)


def test_activations_with_a_closed_form():
    without = {"elu", "selu", "exp", "sin", "cos"}
    assert {n for n in ALL if not REGISTRY[n].has_closed_form} == without
    assert REGISTRY["gelu"].atoms == (Atom(1, 0, 1), Atom(-1, 2, 1))


def test_values_at_the_kink():
    at_zero = {
        n: [float(REGISTRY[n].derivative(0.0, k)) for k in range(2)]
        for n in ALL
        if REGISTRY[n].kinks
    }
    assert at_zero == {
        "relu": [0.0, 0.0],
        "leaky_relu": [0.0, 0.01],
        "abs": [0.0, 0.0],
        "step": [0.0, 0.0],
        "sign": [0.0, 0.0],
        "elu": [0.0, 1.0],
        "selu": [0.0, pytest.approx(1.0507009873554805 * 1.6732632423543772, rel=1e-15)],
    }


def test_shapes_follow_the_argument():
    tanh = resolve("tanh")
    assert tanh(0.5) == pytest.approx(math.tanh(0.5), rel=1e-15)
    assert np.shape(tanh(0.5)) == ()
    assert tanh([[1, 2, 3]]).shape == (1, 3)
    strided = np.arange(12.0).reshape(3, 4).T[::2]
    np.testing.assert_allclose(tanh.derivative(strided, 1), 1 / np.cosh(strided) ** 2, rtol=1e-13)


# --------------------------------------------------------------------------------------------------
# bad input


def test_unknown_names_and_types():
    with pytest.raises(UnknownNameError, match="Did you mean 'softplus'"):
        resolve("sofplus")
    with pytest.raises(InvalidTypeError, match="from_callable"):
        resolve(np.maximum)


@pytest.mark.parametrize(
    ("argument", "error"),
    [
        ("1.0", InvalidTypeError),
        (1j, InvalidTypeError),
        (np.nan, InvalidValueError),
        ([1.0, np.inf], InvalidValueError),
        ([[1.0], [1.0, 2.0]], ShapeError),
        (None, InvalidTypeError),
    ],
)
def test_bad_points(argument, error):
    with pytest.raises(error):
        resolve("tanh")(argument)


@pytest.mark.parametrize(
    ("order", "error"), [(-1, InvalidValueError), (5, InvalidValueError), (1.0, InvalidTypeError)]
)
def test_bad_orders(order, error):
    with pytest.raises(error, match="order"):
        resolve("tanh").derivative(0.3, order)


# --------------------------------------------------------------------------------------------------
# polynomials


def test_polynomial():
    p = polynomial([1, 0, 2, 0])
    assert p.name == "polynomial([1.0, 0.0, 2.0])"
    assert (p.polynomial, p.atoms, p.has_closed_form, p.parity, p.homogeneous) == (
        (1.0, 0.0, 2.0),
        (),
        True,
        1,
        False,
    )
    x = np.linspace(-2, 2, 9)
    for k, expected in enumerate([1 + 2 * x**2, 4 * x, 4 + 0 * x, 0 * x, 0 * x]):
        np.testing.assert_allclose(p.derivative(x, k), expected, rtol=1e-15)
    assert p.expression == 1 + 2 * sympy.Symbol("x", real=True) ** 2
    assert polynomial([0, 3]).homogeneous
    assert polynomial([0, 3]).parity == -1
    assert polynomial([0.0])(2.0) == 0.0


@pytest.mark.parametrize("bad", [[], "abc", [[1.0]], [np.nan], [1j], 3.0])
def test_bad_polynomials(bad):
    with pytest.raises((InvalidTypeError, InvalidValueError)):
        polynomial(bad)


# --------------------------------------------------------------------------------------------------
# from_sympy

t = sympy.Symbol("t")


@pytest.mark.parametrize("name", ALL)
def test_from_sympy_rediscovers_the_registry(name):
    known = REGISTRY[name]
    found = Activation.from_sympy("mine", REGISTRY[name].expression)
    assert (found.kinks, found.parity, found.homogeneous) == (
        known.kinks,
        known.parity,
        known.homogeneous,
    )
    if not known.atoms:
        assert found.polynomial == known.polynomial
    x = np.concatenate(
        [-np.geomspace(1e-3, 1e3, 30), np.geomspace(1e-3, 1e3 if name != "exp" else 700.0, 30)]
    )
    for k in range(5):
        # sympy's derivatives are sums of terms of order one that cancel: an absolute error
        np.testing.assert_allclose(
            found.derivative(x, k), known.derivative(x, k), rtol=1e-11, atol=1e-11
        )


@pytest.mark.parametrize(
    ("expression", "kinks", "parity", "homogeneous"),
    [
        (t**2 * sympy.tanh(t), (), -1, False),
        (sympy.Max(-1, sympy.Min(1, t)), (-1.0, 1.0), -1, False),
        (sympy.Piecewise((t**2, t > 1), (2 * t - 1, True)), (1.0,), 0, False),
        (sympy.Abs(t) ** 3, (0.0,), 1, False),
        (sympy.Abs(t**2), (), 1, False),
        (sympy.sqrt(t**2 + 1), (), 1, False),
        (
            t * sympy.sign(sympy.exp(t) - sympy.cos(t) - 2),
            (0.9488147555769959,),
            0,
            False,
        ),  # a zero that sympy cannot find
    ],
)
def test_from_sympy_finds_structure(expression, kinks, parity, homogeneous):
    a = Activation.from_sympy("mine", expression)
    assert (a.kinks, a.parity, a.homogeneous, a.max_order) == (
        pytest.approx(kinks, rel=1e-15),
        parity,
        homogeneous,
        4,
    )


def test_from_sympy_recognises_polynomials():
    a = Activation.from_sympy("mine", "(1 + t)**2")
    assert (a.polynomial, a.has_closed_form) == ((1.0, 2.0, 1.0), True)
    np.testing.assert_allclose(a.derivative([0.5, 2.0], 1), [3.0, 6.0])
    assert Activation.from_sympy("seven", 7)([1.0, 2.0]).tolist() == [7.0, 7.0]


def test_from_sympy_where_float64_overflows():
    a = Activation.from_sympy("mine", sympy.log(1 + sympy.exp(t)))
    assert a(1e3) == 1e3
    assert a.derivative(1e3, 1) == 1.0
    assert abs(a.derivative(1e3, 4)) < 1e-40


@pytest.mark.parametrize(
    ("expression", "error", "message"),
    [
        ("x*y", InvalidValueError, "2 symbols"),
        ("log(x)", InvalidValueError, "not a real number"),
        ("1/x", InvalidValueError, "not a real number at x = 0"),
        (sympy.I * t, InvalidValueError, "not a real number"),
        (sympy.Abs(sympy.sin(t)), InvalidValueError, "finitely many kinks"),
        (
            sympy.floor(t),
            InvalidValueError,
            r"\(floor\(t\)|\(floor\(x\)\), or one of its 4 derivatives, cannot be evaluated",
        ),
        ("frac(x)", InvalidValueError, "cannot be evaluated"),
        (sympy.Mod(t, 1), InvalidValueError, "cannot be evaluated"),
        (sympy.Function("h")(t), InvalidValueError, "cannot be evaluated"),
        (sympy.Integral(sympy.exp(-(t**2)), (t, 0, t)), InvalidValueError, "cannot be evaluated"),
        (sympy.oo, InvalidValueError, "finite"),
        ("x+", InvalidTypeError, "cannot be read"),
        (t > 0, InvalidTypeError, "a sympy expression"),
        (np.tanh, InvalidTypeError, "sympy"),
    ],
)
def test_from_sympy_bad_input(expression, error, message):
    with pytest.raises(error, match=message):
        Activation.from_sympy("mine", expression)


# --------------------------------------------------------------------------------------------------
# from_callable


def arctan(x):
    return np.arctan(x)


def arctan_slope(x):
    return 1 / (1 + x * x)


@numba.njit
def scalar_arctan(x):
    return math.atan(x)


@pytest.mark.parametrize(
    "f",
    [arctan, np.arctan, numba.njit(arctan), scalar_arctan],
    ids=["python", "numpy", "numba", "scalar"],
)
def test_from_callable(f):
    a = Activation.from_callable("arctan", f, derivatives=[arctan_slope])
    x = np.linspace(-3, 3, 12).reshape(3, 4)
    np.testing.assert_allclose(a(x), np.arctan(x), rtol=1e-15)
    np.testing.assert_allclose(a.derivative(x, 1), 1 / (1 + x * x), rtol=1e-15)
    assert a.max_order == 1
    with pytest.raises(
        InvalidValueError, match=r"order 2 of activation 'arctan'.*derivatives\[1\]"
    ):
        a.derivative(x, 2)
    with pytest.raises(
        InvalidValueError, match=r"[Dd]erivative 2 of activation 'arctan'.*derivatives\[1\]"
    ):
        a.jet(x, np.empty((3, 3, 4)))
    with pytest.raises(InvalidValueError, match="from_sympy"):
        _ = a.expression


@pytest.mark.parametrize(
    ("f", "derivatives", "error", "message"),
    [
        (np.sqrt, [], InvalidValueError, "activation 'bad' returned NaN at x = "),
        (
            lambda x: 1.0 / np.where(np.abs(x) < 1.0, 0.0, x),
            [],
            InvalidValueError,
            "activation 'bad' is infinite at x = -0.494",
        ),
        (
            np.arctan,
            [np.log],
            InvalidValueError,
            "derivative 1 of activation 'bad' returned NaN at x = ",
        ),
        (
            lambda x: np.where(np.abs(x) > 30, np.nan, x),
            [],
            InvalidValueError,
            "activation 'bad' returned NaN at x = -39",
        ),
        (np.sum, [], ShapeError, r"activation 'bad' returned shape \(\)"),
        (lambda x: x[:2], [], ShapeError, "shape"),
        (lambda x: x + 1j, [], InvalidTypeError, "complex"),
        (
            lambda x: np.ma.masked_greater(x, 0.0),
            [],
            InvalidValueError,
            "activation 'bad' returned is a masked array",
        ),
        (math.atan, [], InvalidTypeError, "vectorised"),
        (lambda x: x if x > 0 else 0, [], InvalidTypeError, "vectorised"),
        (3.0, [], InvalidTypeError, "callable"),
        (np.arctan, arctan_slope, InvalidTypeError, "list"),
        (
            np.cos,
            [np.sin],
            InvalidValueError,
            "derivative 1 of activation 'bad' gives .* central differences",
        ),
    ],
)
def test_from_callable_bad_input(f, derivatives, error, message):
    with pytest.raises(error, match=message):
        Activation.from_callable("bad", f, derivatives=derivatives)


def test_from_callable_nan_found_later():
    a = Activation.from_callable("late", lambda x: np.where(np.abs(x) < 50, x, np.nan))
    with pytest.raises(InvalidValueError, match=r"'late' returned NaN at x = 60\b"):
        a([1.0, 60.0])


def test_kinks_of_callables_are_kept_and_not_differenced():
    def hard(x):
        return np.clip(x, -1.07, 1.07)  # 1.07 is a point at which derivatives are checked

    slope = [lambda x: (np.abs(x) < 1.07) * 1.0]
    assert Activation.from_callable("hard", hard, slope, kinks=[1.07, -1.07]).kinks == (-1.07, 1.07)
    with pytest.raises(InvalidValueError, match="list the kinks"):
        Activation.from_callable("hard", hard, slope)
    with pytest.raises(InvalidTypeError, match="name"):
        Activation.from_callable("", np.tanh)


# --------------------------------------------------------------------------------------------------
# pickling


def test_pickles_by_recipe():
    for name in ALL:
        assert pickle.loads(pickle.dumps(resolve(name))) is resolve(name)
    x = np.linspace(-2, 2, 5)
    made = [
        polynomial([1.0, 2.0]),
        Activation.from_sympy("mine", sympy.Abs(t) * sympy.tanh(t)),
        Activation.from_callable("arctan", arctan, [arctan_slope], kinks=[]),
    ]
    for a in made:
        b = pickle.loads(pickle.dumps(a))
        assert (b.name, b.kinks, b.polynomial, b.parity, b.max_order) == (
            a.name,
            a.kinks,
            a.polynomial,
            a.parity,
            a.max_order,
        )
        np.testing.assert_array_equal(b.derivative(x, 1), a.derivative(x, 1))


def test_an_exception_of_a_callable_says_whose_it_is():
    def fails(x):
        raise ZeroDivisionError("own")

    with pytest.raises(ZeroDivisionError) as caught:
        Activation.from_callable("broken", fails)
    assert "the function for activation 'broken', called on" in caught.value.__notes__[0]


def test_corners():
    corners = {name for name, activation in REGISTRY.items() if activation.has_corners}
    assert corners == {"relu", "leaky_relu", "abs", "step", "sign", "selu"}
    bent = Activation.from_sympy("bent", "Max(x, 2*x - 2)")
    assert bent.kinks == (2.0,) and bent.has_corners
    value_only = Activation.from_callable(
        "bent", lambda x: np.where(x > 2.0, 2.0 * x - 2.0, x), kinks=[2.0]
    )
    assert value_only.has_corners  # who lists a kink has one
