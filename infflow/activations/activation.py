"""Activation functions as data.

An activation is a name, a kernel for the value and derivatives, its kinks, a
sympy expression, and, where there is one, its closed form: a polynomial plus a
sum of :class:`Atom`. ``registry.py`` has a table with one row per activation;
:meth:`Activation.from_sympy` and :meth:`Activation.from_callable` make rows of a
user's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from numba.core.dispatcher import Dispatcher

from .._validation import (
    Array,
    as_flag,
    as_integer,
    as_items,
    as_number,
    as_real_array,
    public,
    shown,
)
from ..errors import InvalidTypeError, InvalidValueError, ShapeError
from .algebra import Term
from .callables import CallableKernel
from .data import MAX_ORDER, Atom, Kernel, Sides, Strip, Wave
from .polynomial_kernel import PolynomialKernel, polynomial_kernel
from .sum_text import expression as sum_expression

_Part = TypeVar("_Part", Atom, Wave)


class Sums(NamedTuple):
    """What makes sums of activations, see ``sums.py``."""

    #: from terms
    of_terms: Callable[[Sequence[Term]], Activation]
    #: from a name, an expression, and terms with names of their primitives
    of_names: Callable[[str, Any, Sequence[tuple[float, float, float, str]]], Activation]


class Activation:
    """An activation function with its derivatives.

    Made by :func:`infflow.activation` from a name, by :func:`polynomial`, :meth:`from_sympy` or
    :meth:`from_callable`; not meant to be constructed directly.

    Attributes
    ----------
    name : str
    kinks : tuple of float
        Where the function or one of its derivatives up to order 3 jumps. At a kink the pointwise
        derivatives are those from the left, except that sign and the derivative of abs are 0 at 0.
    polynomial : tuple of float
        Coefficients c0, c1, ... of the polynomial part of the closed form; ``()`` if it is zero.
    atoms : tuple of Atom
        The other part of the closed form: smoothed ramps and their derivatives; for sigmoid and its
        relatives a mixture over many widths (see ``logistic_mixture.py``).
    waves : tuple of Wave
        Instead of both, for exp, sin and cos: the function as a sum of waves. Which pairs with a
        wave have a closed form depends on the partner (``integrals.closed.is_defined``).
    has_closed_form : bool
        Whether ``polynomial`` plus ``atoms`` is the whole function.
    strip : Strip or None
        Where the function is analytic, for registered smooth ones and polynomials: error bounds of
        rules rest on it. None: not known.
    parity : int
        1 for even, -1 for odd functions, 0 for others.
    homogeneous : bool
        Whether :math:`f(c x) = c f(x)` for all :math:`c > 0`.
    max_order : int
        Highest derivative available.
    sides : Sides or None
        Of elu and its relatives, instead of polynomial and atoms: the slope above 0, and the
        factor of the exponential below.
    parts : tuple of Term
        Instead of all these: the function is the sum of its parts, and evaluators of integrals
        see the parts. ``()`` for others.

    See Also
    --------
    activation : from a name or a function of a library.
    polynomial : from coefficients.

    Notes
    -----
    Activations are an algebra: ``2 * a + b - 1``, ``-a``, ``a / 3`` and ``a.affine(scale, shift)``
    are activations, evaluated like what they are made of (``a.terms``).

    Examples
    --------
    >>> import infflow as inf
    >>> leaky = 0.2 * inf.activation("identity") + 0.8 * inf.activation("relu")
    >>> leaky, leaky.atoms
    (Activation('0.8*relu(x) + 0.2*x'), (Atom(weight=0.8, order=0, width=0.0),))
    """

    sides: Sides | None = None
    parts: tuple[Term, ...] = ()
    _terms: tuple[Term, ...] = ()
    # Sums need the registered activations, which are made of this class: ``sums.py`` enters them.
    _sums: ClassVar[Sums]
    # numbers of NumPy leave products with an activation to it
    __array_ufunc__ = None

    @public
    def __init__(
        self,
        name: str,
        kernel: Kernel,
        *,
        source: Any = None,
        kinks: Sequence[float] = (),
        polynomial: Sequence[float] = (),
        atoms: Sequence[Atom] | Callable[[], Sequence[Atom]] = (),
        waves: Sequence[Wave] = (),
        strip: Strip | None = None,
        parity: int = 0,
        homogeneous: bool = False,
        max_order: int = MAX_ORDER,
        recipe: tuple[Callable[..., Activation], tuple[Any, ...]] | None = None,
    ) -> None:
        self.name = _as_name(name)
        if not callable(kernel):
            raise InvalidTypeError(
                f"kernel is {shown(kernel)}; a function kernel(x, out) is needed. {_KERNEL}"
            )
        self._kernel: Kernel = kernel
        self.kinks = tuple(as_real_array("kinks", kinks, ndim=1).tolist())
        self.polynomial = tuple(as_real_array("polynomial", polynomial, ndim=1).tolist())
        self._atoms = atoms if callable(atoms) else _all_of(Atom, "atoms", atoms)
        self.waves = _all_of(Wave, "waves", waves)
        if strip is not None and not isinstance(strip, Strip):
            raise InvalidTypeError(
                f"strip is {shown(strip)}; an activations.Strip or None is needed."
            )
        self.strip = (
            _polynomial_strip(self.polynomial) if strip is None and not self._atoms else strip
        )
        self.has_closed_form = bool(self.polynomial or self._atoms)
        self.parity = as_integer("parity", parity, minimum=-1, maximum=1)
        self.homogeneous = as_flag("homogeneous", homogeneous)
        self.max_order = as_integer("max_order", max_order, minimum=0)
        self._source = _as_source(source)
        if recipe is not None and not (isinstance(recipe, tuple) and len(recipe) == 2):
            raise InvalidTypeError(
                f"recipe is {shown(recipe)}; a pair (function, arguments) is needed."
            )
        self._recipe = recipe

    @cached_property
    def atoms(self) -> tuple[Atom, ...]:
        """The other part of the closed form; mixtures compute it when it is first needed."""
        return tuple(self._atoms() if callable(self._atoms) else self._atoms)

    @cached_property
    def has_corners(self) -> bool:
        """Whether the value or the slope jumps at a kink, as for relu, abs and step but not for
        elu.

        Where slopes are not known, every kink counts.
        """
        if self.max_order < 1:
            return bool(self.kinks)
        for kink in self.kinks:
            aside = 1e-9 * max(1.0, abs(kink))
            left, right = (
                np.array([self.derivative(kink + d, n) for n in (0, 1)]) for d in (-aside, aside)
            )
            if not np.allclose(left, right, rtol=1e-6, atol=1e-6):
                return True
        return False

    @property
    def lacks_derivatives(self) -> bool:
        """Whether integrals need derivatives that were not given."""
        return self.max_order < MAX_ORDER

    @cached_property
    def is_compiled(self) -> bool:
        """Whether :meth:`jet` is machine code, which never warns of overflow as NumPy does."""
        return isinstance(self._kernel, Dispatcher | PolynomialKernel)

    # ----------------------------------------------------------------------------------------------
    # evaluation

    def __call__(self, x: Any) -> Array:
        """Value at ``x``, a number or an array of any shape."""
        return self.derivative(x, 0)

    def derivative(self, x: Any, order: int = 1) -> Array:
        """Pointwise derivative of the given order at ``x``, in the shape of ``x``.

        Raises
        ------
        InvalidValueError
            If ``order`` is negative or above ``max_order``, or ``x`` is not finite.
        InvalidTypeError
            If ``x`` does not consist of real numbers.
        """
        order = as_integer("order", order, minimum=0)
        if order > self.max_order:
            raise InvalidValueError(self._missing(order))
        points = as_real_array("x", x)
        out = np.empty((order + 1, *points.shape))
        self.jet(points, out)
        result: Array = out[order]
        return result

    def jet(self, h: Array, out: Array) -> None:
        """Derivatives 0 to m - 1 at once, without any check of the arguments.

        Parameters
        ----------
        h : ndarray, float64, C-contiguous, any shape
        out : ndarray, float64, C-contiguous, shape ``(m, *h.shape)``
            Receives the results; ``m <= max_order + 1``.
        """
        if h.ndim != 1:
            h, out = h.reshape(-1), out.reshape(out.shape[0], h.size)
        self._kernel(h, out)

    def _missing(self, order: int) -> str:
        message = (
            f"The derivative of order {order} of activation {self.name!r} is not available "
            f"(highest: {self.max_order})."
        )
        if isinstance(self._kernel, CallableKernel):
            return message + (
                f" Give it as derivatives[{order - 1}] in Activation.from_callable(name, f, "
                "derivatives=[f', f'', ...]),"
                " or use Activation.from_sympy."
            )
        return message

    # ----------------------------------------------------------------------------------------------
    # identity

    @cached_property
    def expression(self) -> Any:
        """The function as a sympy expression in the real symbol ``x``.

        Raises
        ------
        InvalidValueError
            If the activation was made from callables, which have none.
        """
        import sympy

        if self._terms and self._source is None:
            return sum_expression(self._terms)
        if self._source is None:
            raise InvalidValueError(
                f"Activation {self.name!r} was made from callables and has no sympy expression;"
                " make it with Activation.from_sympy to have one."
            )
        x = sympy.Symbol("x", real=True)
        return sympy.sympify(self._source, locals={"x": x}, rational=True)

    def __repr__(self) -> str:
        return f"Activation({self.name!r})"

    def __reduce__(self) -> Any:
        if self._recipe is None:
            return super().__reduce__()
        return self._recipe

    # ----------------------------------------------------------------------------------------------
    # algebra

    @property
    def has_atoms(self) -> bool:
        """Whether the closed form has atoms, which mixtures compute when they are first needed."""
        return bool(self._atoms)

    @property
    def terms(self) -> tuple[Term, ...]:
        """Summands of the activation, each ``coefficient * primitive(scale x + shift)``.

        Polynomials and registered activations are one term, themselves.
        """
        return self._terms or (Term(1.0, 1.0, 0.0, self),)

    @public
    def affine(self, scale: float = 1.0, shift: float = 0.0) -> Activation:
        """The activation ``x -> a(scale x + shift)``.

        Parameters
        ----------
        scale : float
            Not 0.
        shift : float

        Raises
        ------
        InvalidValueError, InvalidTypeError
            If one of them is not a finite number, or the scale is 0.

        Examples
        --------
        >>> import infflow as inf
        >>> inf.activation("tanh").affine(2.0, -1.0)
        Activation('tanh(2*x - 1)')
        """
        scale = as_number("scale", scale)
        shift = as_number("shift", shift)
        if scale == 0.0:
            raise InvalidValueError(
                "scale is 0; another number is needed. inf.polynomial([c]) is a constant."
            )
        return self._sums.of_terms(
            [Term(c, s * scale, s * shift + h, f) for c, s, h, f in self.terms]
        )

    def __add__(self, other: Any) -> Activation:
        return self._sums.of_terms([*self.terms, *_summand(other)])

    __radd__ = __add__

    def __sub__(self, other: Any) -> Activation:
        return self._sums.of_terms([*self.terms, *_multiplied(_summand(other), -1.0)])

    def __rsub__(self, other: Any) -> Activation:
        return self._sums.of_terms([*_summand(other), *_multiplied(self.terms, -1.0)])

    def __mul__(self, other: Any) -> Activation:
        return self._sums.of_terms(_multiplied(self.terms, _factor(self.name, "multiplied", other)))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Activation:
        divisor = _factor(self.name, "divided", other)
        if divisor == 0.0:
            raise InvalidValueError(f"{self.name} is divided by 0; another number is needed.")
        return self._sums.of_terms([Term(c / divisor, s, h, f) for c, s, h, f in self.terms])

    def __neg__(self) -> Activation:
        return self._sums.of_terms(_multiplied(self.terms, -1.0))

    def __pos__(self) -> Activation:
        return self

    # ----------------------------------------------------------------------------------------------
    # construction

    @classmethod
    @public
    def from_sympy(cls, name: str, expr: Any) -> Activation:
        """An activation from a sympy expression in one real symbol.

        The four derivatives are derived; kinks come from the zeros of the arguments of Abs, sign,
        Heaviside, Max, Min and of the conditions of Piecewise; polynomials and parity are
        recognised. Where plain float64 arithmetic gives no finite number (log(1 + exp(x)) at x =
        1000), the point is evaluated with mpmath, which is slow.

        Parameters
        ----------
        name : str
        expr : sympy expression or str
            A string is evaluated by ``sympy.sympify``, which runs it as code: pass none that you do
            not trust. With at most one free symbol, which stands for a real number. At a kink the
            derivatives take a step that differentiation made (the one of ``Max(0, x)``) as 0.

        Raises
        ------
        InvalidTypeError, InvalidValueError
            If ``expr`` is not such an expression, or is not real, or has infinitely many kinks, or
            neither NumPy nor SciPy can evaluate it and its four derivatives.
        """
        from .from_sympy import analyse, recognise  # sympy is imported when it is first needed

        name = _as_name(name)
        recognised = recognise(name, expr)
        if recognised is not None:
            return cls._sums.of_names(name, *recognised)
        found = analyse(name, expr)
        return cls(
            name,
            polynomial_kernel(found.polynomial) if found.polynomial else found.kernel,
            source=found.expression,
            kinks=found.kinks,
            polynomial=found.polynomial,
            parity=found.parity,
            homogeneous=found.homogeneous,
            recipe=(from_sympy, (name, found.expression)),
        )

    @classmethod
    @public
    def from_callable(
        cls,
        name: str,
        f: Callable[[Array], Any],
        derivatives: Sequence[Callable[[Array], Any]] = (),
        kinks: Sequence[float] = (),
    ) -> Activation:
        """An activation from vectorised functions.

        Parameters
        ----------
        name : str
        f : callable
            Maps a float64 array to an array of the same shape; a Python, numpy or numba function. A
            scalar numba function is vectorised.
        derivatives : sequence of callable
            f', f'', ...: a gradient needs the first, a Hessian two, integrals over Gaussian inputs
            up to four.
        kinks : sequence of float
            Where f or one of its derivatives jumps.

        Raises
        ------
        InvalidTypeError
            If one of the functions cannot be called on an array.
        ShapeError, InvalidValueError
            If one returns another shape, complex numbers or NaN, now (within 40) or later, or if a
            derivative disagrees with central differences of the function before it.

        Warns
        -----
        AccuracyWarning
            If a function, or the slope of ``f`` where no derivative is given, jumps between -10 and
            10 at a place that is not among ``kinks``. Jumps of functions that are given are found
            to the last bit and taken as kinks. Jumps closer than 0.01 to each other may go
            unnoticed.
        """
        name = _as_name(name)
        given = as_items(
            "derivatives",
            derivatives,
            "a list of functions [f', f'', ...] (of length one for f' only)",
        )
        kernel = CallableKernel(name, [f, *given])
        places = sorted(as_real_array("kinks", kinks, ndim=1).tolist())
        kernel.check_derivatives(places)
        kernel.check_range()
        places = sorted([*places, *kernel.find_jumps(places)])
        return cls(
            name,
            kernel,
            kinks=places,
            max_order=min(len(given), MAX_ORDER),
        )


def from_sympy(name: str, expr: Any) -> Activation:
    """:meth:`Activation.from_sympy`, as a function that pickles can name."""
    return Activation.from_sympy(name, expr)


def _as_name(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise InvalidTypeError(f"name is {shown(name)}; a non-empty string is needed.")
    return name


def _as_source(source: Any) -> Any:
    if source is None or isinstance(source, str) or hasattr(source, "free_symbols"):
        return source
    raise InvalidTypeError(
        f"source is {shown(source)}; a text that sympy reads, or an expression, is needed."
    )


_KERNEL = (
    "Networks take activations by name; Activation.from_sympy and Activation.from_callable make "
    "others, "
    "such as one with another slope."
)


def _all_of(kind: type[_Part], name: str, parts: Any) -> tuple[_Part, ...]:
    """The parts of a closed form, each of the right kind."""
    found = as_items(name, parts, f"a list of {kind.__name__}")
    for part in found:
        if not isinstance(part, kind):
            raise InvalidTypeError(
                f"{name} contains {shown(part)}; a list of {kind.__name__} is needed."
            )
    return tuple(found)


# --------------------------------------------------------------------------------------------------
# polynomials


def _polynomial_strip(coefficients: Sequence[float]) -> Strip | None:
    """That of a polynomial; None where there are no coefficients."""
    return Strip(degree=len(coefficients) - 1) if coefficients else None


def _polynomial_source(coefficients: Sequence[float]) -> str:
    return " + ".join(f"({c!r})*x**{k}" for k, c in enumerate(coefficients) if c) or "0"


@public
def polynomial(coefficients: Sequence[float]) -> Activation:
    r"""The activation :math:`c_0 + c_1 x + c_2 x^2 + \dots`

    Parameters
    ----------
    coefficients : sequence of float
        c0, c1, ..., finite and not empty.

    See Also
    --------
    activation : other activations by name.
    Activation : from formulas and functions.

    Examples
    --------
    >>> float(polynomial([1.0, 0.0, 2.0])(3.0))
    19.0
    """
    values = as_real_array("coefficients", coefficients, ndim=1)
    if values.size == 0:
        raise ShapeError("coefficients is empty; at least the constant term c0 is needed.")
    c = [float(v) for v in values]
    while len(c) > 1 and c[-1] == 0.0:
        c.pop()
    even = not any(c[1::2])
    odd = not any(c[0::2])
    return Activation(
        f"polynomial({c})",
        polynomial_kernel(c),
        source=_polynomial_source(c),
        polynomial=c,
        parity=1 if even else -1 if odd else 0,
        homogeneous=not any(c[:1] + c[2:]),
        recipe=(polynomial, (c,)),
    )


# --------------------------------------------------------------------------------------------------
# sums of terms


def _factor(name: str, verb: str, other: Any) -> float:
    if isinstance(other, Activation):
        raise InvalidTypeError(
            f"{name} is {verb} by the activation {other.name}; a number is needed. "
            "Activation.from_sympy makes products of functions."
        )
    return as_number(f"the number by which {name} is {verb}", other)


def _summand(other: Any) -> Sequence[Term]:
    if isinstance(other, Activation):
        return other.terms
    number = as_number("the number that is added to an activation", other)
    return [Term(number, 1.0, 0.0, _constant())]


def _multiplied(terms: Sequence[Term], factor: float) -> list[Term]:
    return [Term(factor * c, s, h, f) for c, s, h, f in terms]


@lru_cache(maxsize=1)
def _constant() -> Activation:
    return polynomial([1.0])
