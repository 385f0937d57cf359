"""Moments by number: closed forms against quadrature and 30 digits, degenerate points, choice of
the method, errors.
"""

from __future__ import annotations

import itertools
import warnings

import gaussian_reference as reference
import numpy as np
import pytest
import sympy

import infflow as inf
from infflow.activations import Activation, polynomial, resolve
from infflow.errors import (
    AccuracyWarning,
    InvalidTypeError,
    InvalidValueError,
    MethodError,
    ShapeError,
    SingularMomentError,
    UnknownNameError,
)
from infflow.integrals import moments
from infflow.integrals.closed.formulas import closed_form, symbols
from infflow.integrals.evaluator import Evaluator
from infflow.integrals.moments import available_methods, gaussian_mean, gaussian_moment
from infflow.integrals.registry import EVALUATORS

NAMES = tuple(reference.ACTIVATIONS)
PAIRS = tuple(itertools.combinations_with_replacement(NAMES, 2))
ORDERS = tuple((p, q) for p in range(5) for q in range(5 - p))


# -- values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("f", "g"), PAIRS)
def test_all_orders_of_all_pairs_against_quadrature(f, g):
    rng = np.random.default_rng(PAIRS.index((f, g)))
    r = rng.uniform(0.5, 2.0, 2)
    u = rng.uniform(-0.8, 0.8)
    b = rng.normal(size=2)
    cov = np.array([[r[0] ** 2, r[0] * r[1] * u], [r[0] * r[1] * u, r[1] ** 2]])
    expected = reference.pair_moments(f, g, cov, b, ORDERS)
    for (p, q), (value, terms) in zip(ORDERS, expected, strict=True):
        result = gaussian_moment(f, g, *r, u, *b, orders=(p, q))
        exchanged = gaussian_moment(g, f, *r[::-1], u, *b[::-1], orders=(q, p))
        # the quadrature's own rounding is relative to the sum of the absolute terms
        assert abs(result - value) < 1e-14 * terms + 2e-14 * abs(value), (p, q, result, value)
        assert exchanged == pytest.approx(result, rel=1e-13, abs=1e-14 * terms)


@pytest.mark.parametrize("f", NAMES)
def test_means_against_quadrature(f):
    for r, b in ((0.6, 0.3), (2.5, -1.2)):
        for order in range(5):
            expected = reference.single_moment(f, r**2, b, order)
            assert gaussian_mean(f, r, b, order) == pytest.approx(
                expected, rel=1e-13, abs=1e-13 * r**-order
            )


EXTREME = [  # f, g, r1, r2, u, b1, b2, orders: nearly parallel, tiny, huge, far in the tail
    ("relu", "relu", 1.0, 1.5, 1 - 1e-12, 0.0, 0.0, (0, 0)),
    ("relu", "relu", 1.0, 1.5, 1 - 1e-12, 0.3, 0.45, (2, 2)),
    ("relu", "relu", 0.7, 0.2, -1 + 1e-9, 0.1, -0.02, (3, 1)),
    (
        "abs",
        "step",
        0.07,
        0.12,
        0.9999999999971385,
        -0.11866887796251693,
        -0.19671774727387548,
        (0, 3),
    ),
    ("erf", "erf", 1e-5, 3e-5, 0.3, 0.0, 0.0, (0, 0)),
    ("erf", "gelu", 200.0, 50.0, 0.999999, 10.0, -3.0, (1, 2)),
    ("gelu", "gelu", 1e-4, 1e-4, 0.5, 0.0, 0.0, (0, 0)),  # ramps cancel
    ("gelu", "relu", 0.3, 0.4, -0.6, -4.0, -2.5, (0, 0)),
    ("sign", "sign", 0.05, 0.08, 0.9991711983252348, -0.0318, -0.0473, (1, 3)),
    ("leaky_relu", "gelu", 0.10823986, 15.5989797, 0.99999998, -0.2835, -40.857, (0, 0)),
    ("cube", "sign", 0.1, 3.0, 0.2, 5.0, 1.0, (0, 2)),
    ("gaussian", "normal_cdf", 30.0, 0.01, -0.9, 2.0, -6.0, (2, 1)),
]


@pytest.mark.parametrize("case", EXTREME)
def test_error_bound_at_extreme_points(case):
    f, g, *numbers, orders = case
    r1, r2, u, b1, b2 = (sympy.Rational(x) for x in numbers)
    values = {
        symbols.C11: r1**2,
        symbols.C22: r2**2,
        symbols.C12: r1 * r2 * u,
        symbols.b1: b1,
        symbols.b2: b2,
    }
    with_biases = bool(b1 or b2)
    exact = (
        closed_form(f, g, biases=with_biases, derivatives=orders).subs(values).evalf(30, maxn=400)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AccuracyWarning)
        result = gaussian_moment(f, g, *numbers, orders=orders, full_output=True)
    assert abs(float(exact - sympy.Float(result.value, 60))) <= result.error_bound


NEARLY_PARALLEL = (
    1.0,
    1.0,
    1 - 1e-12,
    2.0,
    2.000001,
)  # the distance of the kinks has lost nine digits
SINGULAR = [("relu", "step", *NEARLY_PARALLEL, (3, 1)), ("step", "sign", *NEARLY_PARALLEL, (2, 1))]


@pytest.mark.parametrize("case", [*SINGULAR, EXTREME[6]])
def test_points_without_ten_digits_warn(case):
    *arguments, orders = case
    with pytest.warns(AccuracyWarning, match="does not meet rtol=1e-10"):
        gaussian_moment(*arguments, orders=orders, method="closed")


def test_parallel_arguments():
    for index, (f, g) in enumerate(PAIRS):
        rng = np.random.default_rng(index)
        r = rng.uniform(0.5, 2.0, 2)
        b = rng.normal(size=2)
        sign = rng.choice([-1.0, 1.0])
        expected = reference.degenerate_pair(f, g, r, sign, b)
        assert gaussian_moment(f, g, *r, sign, *b) == pytest.approx(expected, rel=1e-13, abs=1e-14)


def test_continuity_at_parallel_arguments():
    for f, g in (("relu", "abs"), ("step", "step"), ("erf", "relu"), ("gelu", "sign")):
        limit = gaussian_moment(f, g, 1.0, 1.0, 1.0)
        # the difference is of order sqrt(1 - u) = 4e-8 for steps, of order 1 - u for the others
        assert gaussian_moment(f, g, 1.0, 1.0, 1 - 1e-15) == pytest.approx(limit, abs=1e-7)


def test_constant_arguments():
    for f, g in PAIRS:
        value, _ = reference.ACTIVATIONS[f]
        mean = gaussian_mean(g, 1.3, 0.2)
        first = float(value(np.array(0.7)))
        assert gaussian_moment(f, g, 0.0, 1.3, 0.5, 0.7, 0.2) == pytest.approx(
            first * mean, rel=1e-14, abs=1e-15
        )
    assert gaussian_moment("relu", "relu", 0.0, 1.0, 0.0, 0.7, 0.0, orders=(2, 0)) == 0.0
    assert gaussian_mean("step", 0.0) == 0.5  # the mean over directions of approach


def test_two_constant_arguments():
    for f, g in PAIRS:
        (value, _), (other, _) = reference.ACTIVATIONS[f], reference.ACTIVATIONS[g]
        expected = float(value(np.array(0.7)) * other(np.array(-0.4)))
        assert gaussian_moment(f, g, 0.0, 0.0, 0.5, 0.7, -0.4) == pytest.approx(
            expected, rel=1e-14, abs=1e-16
        )


def test_constant_argument_and_one_of_mean_zero():
    for f, g in PAIRS:
        expected = float(reference.ACTIVATIONS[f][0](np.array(0.7))) * gaussian_mean(g, 1.3, 0.0)
        assert gaussian_moment(f, g, 0.0, 1.3, 0.5, 0.7, 0.0) == pytest.approx(
            expected, rel=1e-14, abs=1e-15
        )


def test_known_values():
    assert gaussian_moment("relu", "relu", 3.0, 3.0, 1.0) == pytest.approx(4.5, rel=1e-15)
    assert gaussian_moment("relu", "relu", 3.0, 3.0, -1.0) == 0.0
    assert gaussian_moment("erf", "erf", 1.0, 1.0, 0.5) == pytest.approx(
        2 / np.pi * np.arcsin(0.25), rel=1e-15
    )
    assert gaussian_moment("identity", "cube", 2.0, 1.0, -0.25) == pytest.approx(-1.5, rel=1e-15)
    mixed = polynomial([1.0, 2.0, 0.0, -1.0])
    assert gaussian_moment(mixed, "identity", 1.0, 1.0, 0.5) == pytest.approx(
        0.5 * (2 - 3), rel=1e-15
    )


# -- shapes and full output ------------------------------------------------------------------------


def test_broadcasting():
    r1 = np.array([0.5, 1.0, 2.0])
    u = np.array([[0.1], [-0.9]])
    result = gaussian_moment("relu", "erf", r1, 2, u, b2=0.25)
    assert result.shape == (2, 3)
    for i, j in np.ndindex(2, 3):
        single = gaussian_moment("relu", "erf", r1[j], 2.0, float(u[i, 0]), b2=0.25)
        assert isinstance(single, float)
        assert result[i, j] == single
    assert gaussian_moment("relu", "erf", np.zeros((0, 3)), 1.0, 0.0).shape == (0, 3)
    assert gaussian_mean("relu", np.ones((4, 1)), np.ones(3)).shape == (4, 3)


def test_full_output():
    result = gaussian_moment("relu", "gelu", [1.0, 2.0], 1.0, 0.5, full_output=True)
    assert result._fields == ("value", "method", "error_bound", "work")
    assert result.method == "closed"
    assert result.work == 4  # two points, one atom times two
    assert result.error_bound.shape == (2,)
    np.testing.assert_array_equal(
        result.value, gaussian_moment("relu", "gelu", [1.0, 2.0], 1.0, 0.5)
    )
    assert (result.error_bound < 1e-13).all()
    assert isinstance(gaussian_mean("relu", 1.0, full_output=True).error_bound, float)


# -- methods ---------------------------------------------------------------------------------------


def test_available_methods():
    assert available_methods("relu", "erf") == ("closed", "numeric", "cubature")
    assert available_methods("erf", "tanh") == ("hermite", "closed", "numeric", "cubature")
    assert available_methods("sin", "cos")[-3:] == ("hermite", "numeric", "cubature")
    custom = Activation.from_callable("bump", lambda x: 1 / (1 + x**2))
    assert available_methods("relu", custom) == ("numeric", "cubature")
    with pytest.raises(MethodError, match="'closed' is not defined for 'bump'"):
        gaussian_mean(custom, 1.0, method="closed")
    with pytest.raises(
        MethodError, match=r"'surrogate' is not defined for 'relu'.*Defined: 'closed'"
    ):
        gaussian_moment("relu", "relu", 1.0, 1.0, 0.5, method="surrogate")


def test_documents_name_every_registered_method():
    for public in (gaussian_moment, inf.NetI):
        assert all(f'"{name}"' in public.__doc__ for name in EVALUATORS)


@pytest.mark.parametrize(
    "f,g", [("tanh", "sigmoid"), ("softplus", "erf"), ("silu", "gelu"), ("relu", "tanh")]
)
@pytest.mark.parametrize("orders", [(0, 0), (1, 2), (4, 0)])
def test_methods_agree(f, g, orders):
    """Three evaluators that share nothing agree, each within its own bound."""
    points = [0.3, 1.1], [0.9, 2.0], [0.4, -0.7], [0.5, -1.0], [0.0, 1.5]
    exact = gaussian_moment(f, g, *points, orders=orders, method="closed", full_output=True)
    for method in set(available_methods(f, g)) - {"closed"}:
        other = gaussian_moment(f, g, *points, orders=orders, method=method, full_output=True)
        assert other.method == method
        assert (np.abs(other.value - exact.value) <= other.error_bound + exact.error_bound).all()
        assert (other.error_bound <= 1e-9).all()


def test_means_agree():
    for f in ("tanh", "softplus", "gelu"):
        exact = gaussian_mean(f, [0.5, 2.0], [0.3, -1.0], order=2, method="closed")
        for method in ("hermite", "numeric", "cubature"):
            assert gaussian_mean(
                f, [0.5, 2.0], [0.3, -1.0], order=2, method=method
            ) == pytest.approx(exact, abs=1e-11)
    assert gaussian_mean("sin", 1.5, 0.3) == pytest.approx(np.exp(-1.125) * np.sin(0.3), rel=1e-14)


def test_functions_that_grow_too_fast():
    steep = Activation.from_sympy("steep", "exp(x**2)")
    with pytest.raises(InvalidValueError, match=r"steep.*grows too fast"):
        gaussian_moment(steep, "tanh", 1.0, 1.0, 0.2)


class _Fake(Evaluator):
    """Defined for everything; its value is its bound."""

    def __init__(self, bound):
        self.bound = bound

    def defined(self, *activations):
        return True

    def moment(self, f, g, points, orders, rtol):
        return self.mean(f, points.r1, points.b1, 0, rtol)

    def mean(self, f, r, b, order, rtol):
        return moments.Estimate(
            np.full(r.size, self.bound), np.full(r.size, self.bound), np.ones(r.size), 7
        )


def test_auto_takes_the_first_method_that_meets_the_tolerance(monkeypatch):
    custom = Activation.from_callable("bump", lambda x: 1 / (1 + x**2))
    monkeypatch.setitem(moments.EVALUATORS, "hermite", _Fake(1e-6))
    monkeypatch.setitem(moments.EVALUATORS, "numeric", _Fake(1e-7))
    monkeypatch.setitem(moments.EVALUATORS, "cubature", _Fake(1e-9))
    assert available_methods("relu", custom) == ("hermite", "numeric", "cubature")
    assert available_methods("relu", "relu") == ("closed", "hermite", "numeric", "cubature")
    arguments = ("relu", custom, 1.0, 1.0, 0.5)
    assert gaussian_moment(*arguments, rtol=1e-5, full_output=True).method == "hermite"
    assert gaussian_moment(*arguments, rtol=1e-8, full_output=True).method == "cubature"
    assert gaussian_mean(custom, 1.0, rtol=1e-8, full_output=True).work == 7
    with pytest.warns(
        AccuracyWarning, match=r"1.0e-09 of method 'cubature' does not meet rtol=1e-10"
    ):
        assert gaussian_moment(*arguments, full_output=True).method == "cubature"
    with pytest.warns(AccuracyWarning, match="'hermite'"):
        gaussian_moment(*arguments, method="hermite")


def test_warning_points_at_the_caller():
    with pytest.warns(AccuracyWarning) as record:
        gaussian_moment("relu", "relu", 1.0, 1.0, 0.5, rtol=0.0)
    assert record[0].filename == __file__


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "g", "point", "orders"),
    [
        ("step", "step", (1.0, 1.0, 1.0), (1, 1)),
        ("relu", "relu", (1.0, 2.0, -1.0), (2, 2)),
        ("relu", "erf", (0.0, 1.0, 0.0), (2, 0)),
        ("sign", "sign", (0.0, 0.0, 0.3), (1, 0)),
    ],
)
def test_infinite_moments(f, g, point, orders):
    with pytest.raises(
        SingularMomentError, match=rf"r1={point[0]}, r2={point[1]}, u={point[2]}, b1=0.0"
    ):
        gaussian_moment(f, g, *point, orders=orders)


def test_infinite_mean_names_the_point():
    with pytest.raises(
        SingularMomentError, match=r"E relu''\(r x \+ b\) is infinite at r=0.0, b=0.0"
    ):
        gaussian_mean(resolve("relu"), [1.0, 0.0], [2.0, 0.0], order=2)


@pytest.mark.parametrize(
    ("error", "match", "changes"),
    [
        (UnknownNameError, "relu", {"f": "rellu"}),
        (UnknownNameError, "Did you mean 'closed'", {"method": "cloesd"}),
        (InvalidTypeError, "method", {"method": 3}),
        (InvalidValueError, "r1 contains -1", {"r1": [1.0, -1.0]}),
        (InvalidValueError, "between 1e-70 and 1e\\+70", {"r2": 1e-80}),
        (InvalidValueError, "leaves the range", {"f": "cube", "g": "cube", "r1": 1e69, "r2": 1e69}),
        (InvalidValueError, "u contains 1.5", {"u": 1.5}),
        (InvalidValueError, "b1 contains nan", {"b1": float("nan")}),
        (InvalidValueError, "b2 contains inf", {"b2": [0.0, float("inf")]}),
        (InvalidTypeError, "string", {"r1": "1"}),
        (InvalidTypeError, "b1 is 1j; real numbers", {"b1": 1j}),
        (ShapeError, "do not broadcast", {"r1": [1.0, 2.0], "r2": [1.0, 2.0, 3.0]}),
        (InvalidValueError, "total order 5", {"orders": (3, 2)}),
        (InvalidValueError, "orders\\[1\\] is -1", {"orders": (0, -1)}),
        (InvalidTypeError, "pair of integers", {"orders": 1}),
        (InvalidTypeError, "integer", {"orders": (0.5, 0)}),
        (InvalidValueError, "rtol", {"rtol": -1e-3}),
        (InvalidTypeError, "full_output", {"full_output": "yes"}),
    ],
)
def test_bad_arguments(error, match, changes):
    arguments = {"f": "relu", "g": "relu", "r1": 1.0, "r2": 1.0, "u": 0.5} | changes
    with pytest.raises(error, match=match):
        gaussian_moment(**arguments)


def test_bad_order_of_mean():
    with pytest.raises(InvalidValueError, match="at most 4"):
        gaussian_mean("relu", 1.0, order=5)
