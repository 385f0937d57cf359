"""Activation functions as data.

An activation is a name, a kernel for the value and derivatives, its kinks, a
sympy expression, and, where there is one, its closed form: a polynomial plus a
sum of :class:`Atom`. The registry at the end of this file is a table with one row
per activation; :meth:`Activation.from_sympy` and :meth:`Activation.from_callable`
make rows of a user's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, TypeVar

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
from . import algebra, kernels, logistic_mixture
from .algebra import Term
from .callables import CallableKernel
from .data import Atom, Sides, Strip, Wave

Kernel = Callable[[Array, Array], Any]
"""``kernel(x, out)``: derivatives 0 to m - 1 at ``x`` of shape ``(n,)`` into ``out`` of shape
``(m, n)``.
"""

MAX_ORDER = 4
"""Highest derivative of the registered activations."""


_Part = TypeVar("_Part", Atom, Wave)
_ROOT_2_PI = math.sqrt(2.0 * math.pi)


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
        Whether f(c x) = c f(x) for all c > 0.
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
    >>> leaky = 0.2 * REGISTRY["identity"] + 0.8 * REGISTRY["relu"]
    >>> leaky, leaky.atoms
    (Activation('0.8*relu(x) + 0.2*x'), (Atom(weight=0.8, order=0, width=0.0),))
    """

    sides: Sides | None = None
    parts: tuple[Term, ...] = ()
    _terms: tuple[Term, ...] = ()
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

    @cached_property
    def is_compiled(self) -> bool:
        """Whether :meth:`jet` is machine code, which never warns of overflow as NumPy does."""
        return isinstance(self._kernel, Dispatcher | _PolynomialKernel)

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
            return _expression(self._terms)
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
        >>> REGISTRY["tanh"].affine(2.0, -1.0)
        Activation('tanh(2*x - 1)')
        """
        scale = as_number("scale", scale)
        shift = as_number("shift", shift)
        if scale == 0.0:
            raise InvalidValueError(
                "scale is 0; another number is needed. inf.polynomial([c]) is a constant."
            )
        return of_terms([Term(c, s * scale, s * shift + h, f) for c, s, h, f in self.terms])

    def __add__(self, other: Any) -> Activation:
        return of_terms([*self.terms, *_summand(other)])

    __radd__ = __add__

    def __sub__(self, other: Any) -> Activation:
        return of_terms([*self.terms, *_multiplied(_summand(other), -1.0)])

    def __rsub__(self, other: Any) -> Activation:
        return of_terms([*_summand(other), *_multiplied(self.terms, -1.0)])

    def __mul__(self, other: Any) -> Activation:
        return of_terms(_multiplied(self.terms, _factor(self.name, "multiplied", other)))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Activation:
        divisor = _factor(self.name, "divided", other)
        if divisor == 0.0:
            raise InvalidValueError(f"{self.name} is divided by 0; another number is needed.")
        return of_terms([Term(c / divisor, s, h, f) for c, s, h, f in self.terms])

    def __neg__(self) -> Activation:
        return of_terms(_multiplied(self.terms, -1.0))

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
            return _of_names(name, *recognised)
        found = analyse(name, expr)
        return cls(
            name,
            _polynomial_kernel(found.polynomial) if found.polynomial else found.kernel,
            source=found.expression,
            kinks=found.kinks,
            polynomial=found.polynomial,
            parity=found.parity,
            homogeneous=found.homogeneous,
            recipe=(_from_sympy, (name, found.expression)),
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


def _from_sympy(name: str, expr: Any) -> Activation:
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


def _derivative_table(coefficients: Sequence[float]) -> Array:
    """Coefficients of the derivatives 0 to 4 as the rows of a table."""
    table = np.zeros((MAX_ORDER + 1, len(coefficients)))
    row = np.array(coefficients, dtype=np.float64)
    for k in range(MAX_ORDER + 1):
        table[k, : row.size] = row
        row = row[1:] * np.arange(1, row.size)
    return table


@dataclass(frozen=True)
class _PolynomialKernel:
    table: Array

    def __call__(self, x: Array, out: Array) -> None:
        kernels.polynomial(x, out, self.table)


def _polynomial_kernel(coefficients: Sequence[float]) -> Kernel:
    return _PolynomialKernel(_derivative_table(coefficients))


def _polynomial_strip(coefficients: Sequence[float]) -> Strip | None:
    """That of a polynomial; None where there are no coefficients."""
    return Strip(degree=len(coefficients) - 1) if coefficients else None


def _polynomial_source(coefficients: Sequence[float]) -> str:
    return " + ".join(f"({c!r})*x**{k}" for k, c in enumerate(coefficients) if c) or "0"


@public
def polynomial(coefficients: Sequence[float]) -> Activation:
    """The activation c0 + c1 x + c2 x^2 + ...

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
        _polynomial_kernel(c),
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


def of_terms(terms: Sequence[Term], name: str | None = None) -> Activation:
    """The sum of the terms, the same object for the same sum; ``name`` in the place of its own."""
    rest = [0.0]
    flat: list[Term] = []
    for coefficient, scale, shift, primitive in terms:
        if primitive.has_closed_form and not primitive.has_atoms:
            own = algebra.moved(primitive.polynomial, scale, shift)
            rest = algebra.added(rest, own, coefficient)
        else:
            flat.append(Term(coefficient, scale, shift, primitive))
    found = list(algebra.collected(flat))
    coefficients = algebra.trimmed(rest)
    if not found:
        return _known_polynomial(coefficients or (0.0,), name)
    if coefficients:
        found.append(Term(1.0, 1.0, 0.0, _known_polynomial(coefficients, None)))
    for number in (number for term in found for number in term[:3]):
        if not np.isfinite(number):
            raise InvalidValueError(
                f"A sum of activations has the number {number}; its numbers must be finite."
            )
    only = found[0]
    if len(found) == 1 and only[:3] == (1.0, 1.0, 0.0) and name in (None, only.primitive.name):
        return only.primitive
    return _summed(tuple(found), name)


@lru_cache(maxsize=256)
def _known_polynomial(coefficients: tuple[float, ...], name: str | None) -> Activation:
    found = polynomial(coefficients)
    found.name = name or found.name
    found._recipe = (_known_polynomial, (coefficients, name))
    return found


@lru_cache(maxsize=1024)
def _summed(terms: tuple[Term, ...], name: str | None) -> Activation:
    """The sum of distinct terms, polynomials last and at most one."""
    groups, others = algebra.pieces(terms)
    if not groups and not others:
        return polynomial([0.0])
    whole = groups[0] if len(groups) == 1 and not others else None
    if whole is not None and (whole.scale, whole.shift) != (1.0, 0.0):
        whole = None
    kinks = sorted({kink for group in groups for kink in algebra.kinks(group)})
    kinks = sorted({*kinks, *((k - h) / s for _, s, h, f in others for k in f.kinks)})
    found = Activation(
        name or _sum_name(terms),
        _sum_kernel(terms, groups, others),
        kinks=kinks,
        polynomial=whole.polynomial if whole else (),
        atoms=whole.atoms if whole else (),
        parity=algebra.parity(terms),
        homogeneous=all(f.homogeneous and h == 0.0 for _, _, h, f in terms),
        max_order=min(f.max_order for _, _, _, f in terms),
        recipe=(_summed, (terms, name)),
    )
    found._terms = terms
    if whole is not None:
        found.sides = whole.sides
    else:
        own = [Term(1.0, g.scale, g.shift, _of_piece(g)) for g in groups]
        found.parts = (*own, *others)
    return found


def _of_names(
    name: str, expression: Any, terms: Sequence[tuple[float, float, float, str]]
) -> Activation:
    """The sum of terms whose primitives are names; "1" and "x^n" are the polynomial."""
    found = []
    for coefficient, scale, shift, primitive in terms:
        if primitive.startswith("relu_power"):
            f = relu_power(int(primitive[11:-1]))
        elif primitive.startswith("x^"):
            f = polynomial([0.0] * int(primitive[2:]) + [1.0])
        else:
            f = registered(primitive)
        found.append(Term(coefficient, scale, shift, f))
    known = of_terms(found, name)
    whole = Activation.__new__(Activation)  # the other one serves all equal sums
    vars(whole).update(vars(known))
    whole.name = name
    whole._source = expression
    whole._recipe = (_from_sympy, (name, expression))
    return whole


def _sum_kernel(
    terms: Sequence[Term], groups: Sequence[algebra.Piece], others: Sequence[Term]
) -> Kernel:
    """Piece by piece for piecewise polynomials of several knots, whose terms would cancel."""
    pieces = [(-g.shift, atom) for g in groups for atom in g.atoms]
    if len({knot for knot, _ in pieces}) < 2 or others or any(g.sides for g in groups):
        return algebra.SumKernel(terms)
    if any(atom.width > 0.0 or atom.order > 1 for _, atom in pieces):
        return algebra.SumKernel(terms)
    rest = [0.0]
    for group in groups:
        rest = algebra.added(rest, algebra.moved(group.polynomial, 1.0, group.shift), 1.0)
    return algebra.PiecewiseKernel(pieces, rest, terms)


@lru_cache(maxsize=1024)
def _of_piece(piece: algebra.Piece) -> Activation:
    """The function of a piece, of the argument that its scale and shift make."""
    bare = piece._replace(scale=1.0, shift=0.0)
    if bare != piece:
        return _of_piece(bare)
    if piece.sides is not None:
        slope, factor = piece.sides
        elu = Term(factor, 1.0, 0.0, REGISTRY["elu"])
        return of_terms([elu, Term(slope - factor, 1.0, 0.0, REGISTRY["relu"])])
    terms = [Term(1.0, 1.0, 0.0, polynomial(piece.polynomial or (0.0,)))]
    for atom in piece.atoms:
        terms += _of_atom(atom)
    return of_terms(terms)


def _of_atom(atom: Atom) -> list[Term]:
    """An atom as terms of registered activations."""
    weight = atom.weight
    order = atom.order
    width = atom.width
    if width == 0.0:
        n = 1 - order
        return [Term(weight / math.factorial(n), 1.0, 0.0, relu_power(n))]
    normal = [REGISTRY[name] for name in ("gelu", "normal_cdf", "gaussian")]
    bump = Term(weight / (width * _ROOT_2_PI), 1.0 / width, 0.0, normal[2])
    if order == 2:
        return [bump]
    if order == 1:
        return [Term(weight, 1.0 / width, 0.0, normal[1])]
    return [
        Term(weight * width, 1.0 / width, 0.0, normal[0]),
        bump._replace(coefficient=weight * width / _ROOT_2_PI),
    ]


@lru_cache(maxsize=8)
def relu_power(n: int) -> Activation:
    """``max(x, 0)^n`` for n = 0 to 5: step, relu, and truncated powers."""
    if n < 2:
        return REGISTRY[("step", "relu")[n]]
    atom = Atom(float(math.factorial(n)), 1 - n)
    return Activation(
        f"relu_power({n})",
        algebra.PiecewiseKernel([(0.0, atom)], ()),
        source=f"Max(0, x)**{n}",
        kinks=[0.0],
        atoms=[atom],
        recipe=(relu_power, (n,)),
    )


def _sum_name(terms: Sequence[Term]) -> str:
    """A sum of terms as one writes it."""
    parts: list[str] = []
    for coefficient, scale, shift, primitive in terms:
        if primitive.has_closed_form and not primitive.has_atoms:
            parts += _powers(primitive.polynomial)
            continue
        inner = _joined(_powers((shift, scale))[::-1])
        name = primitive.name if primitive.name.isidentifier() else f"[{primitive.name}]"
        parts.append(_signed(coefficient, f"{name}({inner})"))
    return _joined(parts)


def _powers(coefficients: Sequence[float]) -> list[str]:
    names = ["", "x", *(f"x^{n}" for n in range(2, len(coefficients)))]
    return [_signed(c, names[n]) for n, c in enumerate(coefficients) if c != 0.0]


def _signed(coefficient: float, what: str) -> str:
    """A sign, and the product of the absolute number and what it multiplies."""
    sign = "- " if coefficient < 0.0 else "+ "
    size = repr(abs(coefficient)).removesuffix(".0")
    if not what:
        return sign + size
    return sign + (what if size == "1" else f"{size}*{what}")


def _joined(parts: Sequence[str]) -> str:
    text = " ".join(parts) or "0"
    return text.removeprefix("+ ") if text.startswith("+ ") else text.replace("- ", "-", 1)


def _expression(terms: Sequence[Term]) -> Any:
    """The sympy expression of a sum, its decimal numbers as they are written."""
    import sympy

    x = sympy.Symbol("x", real=True)
    total = sympy.Integer(0)
    for coefficient, scale, shift, primitive in terms:
        c, s, h = (sympy.Rational(repr(number)) for number in (coefficient, scale, shift))
        total += c * primitive.expression.subs(x, s * x + h)
    return total


# --------------------------------------------------------------------------------------------------
# the registry


def names() -> tuple[str, ...]:
    """Names of the registered activations, without aliases."""
    return tuple(REGISTRY)


def registered(name: str) -> Activation:
    """The row of the registry with this name."""
    return NAMED[name]


def _row(
    name: str,
    kinks: Sequence[float],
    source: str,
    kernel: Kernel | None = None,
    *,
    polynomial: Sequence[float] = (),
    atoms: Sequence[Atom] | Callable[[], Sequence[Atom]] = (),
    waves: Sequence[Wave] = (),
    strip: Strip | None = None,
    parity: int = 0,
    homogeneous: bool = False,
    sides: Sides | None = None,
) -> Activation:
    """A row of the registry; without a kernel it is its polynomial."""
    row = Activation(
        name,
        _polynomial_kernel(polynomial) if kernel is None else kernel,
        source=source,
        kinks=kinks,
        polynomial=polynomial,
        atoms=atoms,
        waves=waves,
        strip=strip,
        parity=parity,
        homogeneous=homogeneous,
        recipe=(registered, (name,)),
    )
    row.sides = sides
    return row


def _logistic(order: int, scale: float = 1.0, weight: float = 1.0) -> list[Atom]:
    """Atoms of ``weight * sigmoid(scale x)`` (order 1) or ``weight * softplus(x)`` (order 0)."""
    widths, weights = logistic_mixture.nodes()
    return [
        Atom(weight * float(p), order, float(s) / scale)
        for s, p in zip(widths, weights, strict=True)
    ]


def _silu_atoms() -> list[Atom]:
    """Smoothed gelus, x Phi(x/s) = rho_s - s^2 rho_s'', in the same mixture."""
    return [part for a in _logistic(0) for part in (a, Atom(-a.weight * a.width**2, 2, a.width))]


_NORMAL = Strip(curvature=1)
_ELU = "Piecewise(({0}*x, x > 0), ({0}*{1}*(exp(x) - 1), True))"
_ROWS = (
    _row("identity", (), "x", polynomial=(0, 1), parity=-1, homogeneous=True),
    _row("square", (), "x**2/2", polynomial=(0, 0, 0.5), parity=1),
    _row("cube", (), "x**3", polynomial=(0, 0, 0, 1), parity=-1),
    _row("relu", (0,), "Max(0, x)", kernels.relu, atoms=[Atom(1, 0)], homogeneous=True),
    _row(
        "leaky_relu",
        (0,),
        "Max(x/100, x)",
        kernels.leaky_relu,
        polynomial=(0, 0.01),
        atoms=[Atom(0.99, 0)],
        homogeneous=True,
    ),
    _row(
        "abs",
        (0,),
        "Abs(x)",
        kernels.absolute,
        polynomial=(0, -1),
        atoms=[Atom(2, 0)],
        parity=1,
        homogeneous=True,
    ),
    _row("step", (0,), "Heaviside(x, 0)", kernels.step, atoms=[Atom(1, 1)]),
    _row("sign", (0,), "sign(x)", kernels.sign, polynomial=(-1,), atoms=[Atom(2, 1)], parity=-1),
    _row(
        "erf",
        (),
        "erf(x/sqrt(2))",
        kernels.erf,
        polynomial=(-1,),
        atoms=[Atom(2, 1, 1)],
        strip=_NORMAL,
        parity=-1,
    ),
    _row(
        "normal_cdf",
        (),
        "(1 + erf(x/sqrt(2)))/2",
        kernels.normal_cdf,
        atoms=[Atom(1, 1, 1)],
        strip=_NORMAL,
    ),
    _row(
        "gelu",
        (),
        "x*(1 + erf(x/sqrt(2)))/2",
        kernels.gelu,
        atoms=[Atom(1, 0, 1), Atom(-1, 2, 1)],
        strip=Strip(curvature=1, degree=1),
    ),
    _row(
        "gaussian",
        (),
        "exp(-x**2/2)",
        kernels.gaussian,
        atoms=[Atom((2 * np.pi) ** 0.5, 2, 1)],
        strip=_NORMAL,
        parity=1,
    ),
    _row(
        "sigmoid",
        (),
        "1/(1 + exp(-x))",
        kernels.sigmoid,
        atoms=lambda: _logistic(1),
        strip=Strip(np.pi),
    ),
    _row(
        "tanh",
        (),
        "tanh(x)",
        kernels.tanh,
        polynomial=(-1,),
        atoms=lambda: _logistic(1, 2, 2),
        strip=Strip(np.pi / 2),
        parity=-1,
    ),
    _row(
        "softplus",
        (),
        "log(1 + exp(x))",
        kernels.softplus,
        atoms=lambda: _logistic(0),
        strip=Strip(np.pi, degree=1),
    ),
    _row(
        "silu", (), "x/(1 + exp(-x))", kernels.silu, atoms=_silu_atoms, strip=Strip(np.pi, degree=1)
    ),
    _row(
        "g",
        (),
        "1/(1 + exp(-4*x)) + log(1 + exp(x))",
        kernels.g,
        atoms=lambda: _logistic(0) + _logistic(1, 4),
        strip=Strip(np.pi / 4, degree=1),
    ),
    _row("elu", (0,), _ELU.format("1", "1"), kernels.elu, sides=Sides(1.0, 1.0)),
    _row(
        "selu",
        (0,),
        _ELU.format(kernels.SELU_SCALE, kernels.SELU_ALPHA),
        kernels.selu,
        sides=Sides(kernels.SELU_SCALE, kernels.SELU_SCALE * kernels.SELU_ALPHA),
    ),
    _row("exp", (), "exp(x)", kernels.exp, waves=[Wave(1, 1)], strip=Strip()),
    _row("sin", (), "sin(x)", kernels.sin, waves=[Wave(-1j, 1j)], strip=Strip(rate=1), parity=-1),
    _row("cos", (), "cos(x)", kernels.cos, waves=[Wave(1, 1j)], strip=Strip(rate=1), parity=1),
)

REGISTRY: Mapping[str, Activation] = MappingProxyType({row.name: row for row in _ROWS})
"""The primitives by name: what terms are made of."""

_OTHERS = (
    _row(
        "mish",
        (),
        "x*tanh(log(1 + exp(x)))",
        kernels.mish,
        strip=Strip(0.75 * np.pi, degree=1),
    ),
    _row("arctan", (), "atan(x)", kernels.arctan, strip=Strip(1.0), parity=-1),
    _row("softsign", (0,), "x/(1 + Abs(x))", kernels.softsign, parity=-1),
    _row(
        "log_cosh",
        (),
        "log(cosh(x))",
        kernels.log_cosh,
        polynomial=(-kernels.LN2, -1.0),
        atoms=lambda: _logistic(0, 2, 2),
        strip=Strip(0.5 * np.pi, degree=1),
        parity=1,
    ),
)


def _power(coefficient: float, n: int, shift: float) -> Term:
    return Term(coefficient, 1.0, shift, relu_power(n))


#: Piecewise polynomials with a name of their own, as terms.
_SUMS: Mapping[str, Sequence[Term]] = {
    "hard_tanh": [_power(1.0, 1, 1.0), _power(-1.0, 1, -1.0), Term(-1.0, 1.0, 0.0, _constant())],
    "relu6": [_power(1.0, 1, 0.0), _power(-1.0, 1, -6.0)],
    "hard_sigmoid": [_power(1.0 / 6.0, 1, 3.0), _power(-1.0 / 6.0, 1, -3.0)],
    "hard_swish": [
        *(_power(1.0 / 6.0, 2, 3.0), _power(-0.5, 1, 3.0)),
        *(_power(-1.0 / 6.0, 2, -3.0), _power(-0.5, 1, -3.0)),
    ],
}

NAMED: Mapping[str, Activation] = MappingProxyType(
    {
        **REGISTRY,
        **{name: of_terms(terms, name) for name, terms in _SUMS.items()},
        **{row.name: row for row in _OTHERS},
    }
)
"""All activations that have a name without parameters: primitives, sums of them, and functions
most of which have no closed form.
"""

ALIASES: Mapping[str, str] = MappingProxyType({"linear": "identity", "sigmoid2": "erf"})
"""Other names of registered activations."""
