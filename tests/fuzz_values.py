"""Values of every kind, most of them wrong wherever they are given: each a label, a function that
makes one, and the kinds of arguments that it is right for.

Kinds of arguments: ``number``, ``count``, ``flag``, ``text``, ``path``, ``array`` (of one dimension
or more), ``numbers`` (arrays of any dimension, with scalars), ``list``, ``mapping``, ``function``,
``optional`` (None), ``seed``, ``axes``.
"""

import decimal
import fractions
import pathlib
from typing import NamedTuple

import numpy as np


class Tensor:
    """What NumPy sees of a tensor of PyTorch that records gradients."""

    requires_grad = True
    dtype = "torch.float64"

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError(
            "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
        )

    def __len__(self):
        return 2

    def __iter__(self):
        return iter([self, self])


class DetachedTensor:
    """What it sees of one that does not."""

    requires_grad = False

    def __init__(self, values):
        self.values = np.asarray(values)

    def __array__(self, dtype=None, copy=None):
        return self.values if dtype is None else self.values.astype(dtype)


class TracerArrayConversionError(TypeError):
    pass


class DynamicJaxprTracer:
    """What it sees of a value in jax.jit."""

    ndim = 1
    shape = (2,)

    def __array__(self, dtype=None, copy=None):
        raise TracerArrayConversionError(
            "The numpy.ndarray conversion method __array__() was called on traced array"
        )

    def __bool__(self):
        raise TracerArrayConversionError("Attempted boolean conversion of traced array")

    def __iter__(self):
        raise TracerArrayConversionError("Attempted to iterate over traced array")


class Hostile:
    """An object whose methods fail."""

    def __repr__(self):
        raise RuntimeError("no representation")

    def __len__(self):
        raise RuntimeError("no length")

    def __bool__(self):
        raise RuntimeError("no truth")

    def __eq__(self, other):
        raise RuntimeError("no equality")

    __hash__ = None

    def __getitem__(self, key):
        raise RuntimeError("no items")

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("no array")


class Value(NamedTuple):
    label: str
    make: object  #: a function without arguments
    right_for: frozenset


def _cyclic():
    value = []
    value.append(value)
    return value


def _cyclic_mapping():
    value = {}
    value["self"] = value
    return value


def _deep():
    value = [1.0]
    for _ in range(3000):
        value = [value]
    return value


def _value(label, make, right_for=""):
    return Value(label, make, frozenset(right_for.split()))


VALUES = [
    _value("None", lambda: None, "optional"),
    _value("True", lambda: True, "flag numbers"),
    _value("0", lambda: 0, "number count numbers seed"),
    _value("-1", lambda: -1, "number count numbers"),
    _value("3", lambda: 3, "number count numbers seed"),
    _value("10**12", lambda: 10**12, "number count numbers seed"),
    _value("10**400", lambda: 10**400, "count seed"),
    _value("-10**5000", lambda: -(10**5000)),
    _value("0.5", lambda: 0.5, "number numbers"),
    _value("nan", lambda: float("nan")),
    _value("inf", lambda: float("inf"), "number"),
    _value("-inf", lambda: float("-inf"), "number"),
    _value("1e300", lambda: 1e300, "number numbers"),
    _value("5e-324", lambda: 5e-324, "number numbers"),
    _value("Fraction", lambda: fractions.Fraction(1, 2), "number"),
    _value("Decimal", lambda: decimal.Decimal("0.5")),
    _value("1j", lambda: 1j),
    _value("empty string", lambda: ""),
    _value("'abc'", lambda: "abc", "text path"),
    _value("'x' * 5000", lambda: "x" * 5000, "text"),
    _value("lone surrogate", lambda: "\ud800", "text"),
    _value("null character", lambda: "a\0b", "text"),
    _value("bytes", lambda: b"abc"),
    _value("Path", lambda: pathlib.Path("abc"), "path"),
    _value("[]", list, "array list"),
    _value("()", lambda: (), "array list"),
    _value("{}", dict, "mapping"),
    _value("set", lambda: {0, 1}),
    _value("ragged", lambda: [[1, 2], [3]]),
    _value("cyclic list", _cyclic),
    _value("cyclic mapping", _cyclic_mapping),
    _value("deep list", _deep),
    _value("list of None", lambda: [None, None]),
    _value("list of numbers", lambda: [1.0, 2.0], "array list numbers"),
    _value("list of names", lambda: ["a", "b"]),
    _value("range", lambda: range(3), "array list numbers"),
    _value("endless range", lambda: range(10**12)),
    _value("generator", lambda: (x for x in [1.0, 2.0]), "list"),
    _value("array of dimension 0", lambda: np.array(0.5), "numbers"),
    _value("empty array", lambda: np.zeros(0), "array list numbers"),
    _value("array of dimension 3", lambda: np.ones((2, 3, 4)), "array list numbers"),
    _value("array of nan", lambda: np.full(3, np.nan)),
    _value("array of objects", lambda: np.array([object(), None])),
    _value("complex array", lambda: np.array([1j, 2.0])),
    _value("array of dates", lambda: np.array(["2026-01-01"], dtype="datetime64[D]")),
    _value("structured array", lambda: np.zeros(2, dtype=[("a", float), ("b", int)])),
    _value("masked array", lambda: np.ma.array([1.0, 2.0], mask=[True, False])),
    _value("long double", lambda: np.array([1.0, np.longdouble("1e4000")])),
    _value("object", object),
    _value("hostile object", Hostile),
    _value("function", lambda: len, "function"),
    _value("lambda", lambda: lambda *args, **kwargs: 1.0, "function"),
    _value("class", lambda: int, "function"),
    _value("module", lambda: np),
    _value("Ellipsis", lambda: ...),
    _value("tensor", Tensor),
    _value("detached tensor", lambda: DetachedTensor([1.0, 2.0]), "array numbers"),
    _value("tracer", DynamicJaxprTracer),
]
