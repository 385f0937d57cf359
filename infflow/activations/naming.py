"""Activations by name: families with parameters, sums that have a name, functions of libraries."""

from __future__ import annotations

import ast
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from .._validation import as_choice, public, shown
from ..errors import InvalidTypeError, InvalidValueError
from .activation import Activation, polynomial
from .algebra import Term
from .registry import OTHERS, REGISTRY
from .sums import of_terms, relu_power

HIGHEST_HERMITE = 20


def _power(coefficient: float, n: int, shift: float) -> Term:
    return Term(coefficient, 1.0, shift, relu_power(n))


#: Piecewise polynomials with a name of their own, as terms.
SUMS: Mapping[str, Sequence[Term]] = {
    "hard_tanh": [
        *(_power(1.0, 1, 1.0), _power(-1.0, 1, -1.0)),
        Term(-1.0, 1.0, 0.0, polynomial([1.0])),
    ],
    "relu6": [_power(1.0, 1, 0.0), _power(-1.0, 1, -6.0)],
    "hard_sigmoid": [_power(1.0 / 6.0, 1, 3.0), _power(-1.0 / 6.0, 1, -3.0)],
    "hard_swish": [
        *(_power(1.0 / 6.0, 2, 3.0), _power(-0.5, 1, 3.0)),
        *(_power(-1.0 / 6.0, 2, -3.0), _power(-0.5, 1, -3.0)),
    ],
}

NAMED: Mapping[str, Activation] = MappingProxyType(
    {**REGISTRY, **{name: of_terms(terms, name) for name, terms in SUMS.items()}, **OTHERS}
)
"""All activations that have a name without parameters: primitives, sums of them, and functions
most of which have no closed form.
"""

ALIASES: Mapping[str, str] = MappingProxyType({"linear": "identity", "sigmoid2": "erf"})
"""Other names of registered activations."""


class Parameter(NamedTuple):
    """A parameter of a family: its name, its default, the numbers that it may be."""

    name: str
    default: float | None
    what: str
    allowed: Callable[[float], bool]


class Family(NamedTuple):
    """Activations of one name with a parameter; ``formula`` says which function it is."""

    parameter: Parameter
    build: Callable[[float], list[Term]]
    formula: str


def _term(coefficient: float, name: str, scale: float = 1.0, shift: float = 0.0) -> Term:
    return Term(coefficient, scale, shift, NAMED[name])


def _hermite(n: float) -> list[Term]:
    """Probabilists' polynomial over sqrt(n!)."""
    before = [0.0]
    now = [1.0]
    for k in range(int(n)):
        after = [0.0, *now]
        for j, c in enumerate(before):
            after[j] -= k * c
        before = now
        now = after
    size = math.sqrt(math.factorial(int(n)))
    return [Term(1.0, 1.0, 0.0, polynomial([c / size for c in now]))]


def _is_finite(x: float) -> bool:
    return True


def _is_positive(x: float) -> bool:
    return x > 0.0


_SLOPE = Parameter("slope", 0.01, "a number", _is_finite)
_ALPHA = Parameter("alpha", 1.0, "a number", _is_finite)
_POSITIVE_ALPHA = Parameter("alpha", 1.0, "a positive number", _is_positive)
_BETA = Parameter("beta", 1.0, "a positive number", _is_positive)
_SCALE = Parameter("scale", 1.0, "a number other than 0", lambda x: x != 0.0)


def _integer_up_to(highest: int) -> Callable[[float], bool]:
    return lambda x: x == int(x) and 0 <= x <= highest


def _scaled(name: str) -> Family:
    return Family(_SCALE, lambda scale: [_term(1.0, name, scale)], f"{name}(scale x)")


#: Names that take a parameter, ``"leaky_relu(0.2)"`` or ``"leaky_relu(slope=0.2)"``.
FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "leaky_relu": Family(
            _SLOPE,
            lambda slope: [_term(slope, "identity"), _term(1.0 - slope, "relu")],
            "max(x, 0) + slope min(x, 0)",
        ),
        "elu": Family(
            _ALPHA,
            lambda alpha: [_term(alpha, "elu"), _term(1.0 - alpha, "relu")],
            "x above 0, alpha (exp(x) - 1) below",
        ),
        "celu": Family(
            _POSITIVE_ALPHA,
            lambda alpha: [_term(alpha, "elu", 1.0 / alpha)],
            "x above 0, alpha (exp(x/alpha) - 1) below",
        ),
        "softplus": Family(
            _BETA,
            lambda beta: [_term(1.0 / beta, "softplus", beta)],
            "log(1 + exp(beta x))/beta",
        ),
        "silu": Family(
            _BETA, lambda beta: [_term(1.0 / beta, "silu", beta)], "x/(1 + exp(-beta x))"
        ),
        **{
            name: _scaled(name)
            for name in ("tanh", "erf", "sigmoid", "normal_cdf", "sin", "cos", "exp", "gaussian")
        },
        "arctan": Family(_SCALE, lambda scale: [_term(1.0, "arctan", scale)], "arctan(scale x)"),
        "relu_power": Family(
            Parameter("power", None, "an integer from 0 to 5", _integer_up_to(5)),
            lambda n: [_power(1.0, int(n), 0.0)],
            "max(x, 0)^power",
        ),
        "hermite": Family(
            Parameter(
                "degree",
                None,
                f"an integer from 0 to {HIGHEST_HERMITE}",
                _integer_up_to(HIGHEST_HERMITE),
            ),
            _hermite,
            "He_degree(x)/sqrt(degree!)",
        ),
    }
)


def all_names() -> tuple[str, ...]:
    """All names that :func:`resolve` takes without a parameter, aliases left out."""
    by_default = (
        name
        for name, family in FAMILIES.items()
        if family.parameter.default is not None and name not in NAMED
    )
    return (*NAMED, *by_default)


def resolve(activation: Any) -> Activation:
    """The activation of a name or a known function; an :class:`Activation` is returned as it is.

    Raises
    ------
    UnknownNameError
        If the name is not known; the message suggests the nearest.
    InvalidValueError
        If a parameter is missing, or none that the family takes.
    InvalidTypeError
        If ``activation`` is something else, or a function that is not known.
    """
    if isinstance(activation, Activation):
        return activation
    if isinstance(activation, str):
        return _named(activation)
    found = known_function(activation)
    if found is None:
        raise InvalidTypeError(_unknown(activation))
    return found


@public
def activation(x: Any) -> Activation:
    """The activation of a name, or of a function of a library.

    Parameters
    ----------
    x : str, Activation or callable
        A registered name (``"tanh"``), one with a parameter (``"leaky_relu(0.2)"``,
        ``"softplus(beta=2)"``), an :class:`Activation`, or a function that is known: of NumPy,
        ``scipy.special``, ``torch``, ``torch.nn.functional``, ``jax.nn``, ``jax.numpy`` and Julia
        (through juliacall), or a module of ``torch.nn``.

    Returns
    -------
    Activation

    Raises
    ------
    UnknownNameError
        If the name is not known; the message suggests the nearest.
    InvalidValueError
        If a parameter is missing, or none that the family takes.
    InvalidTypeError
        If ``x`` is something else, or a function that is not known; it shows how
        ``Activation.from_callable`` makes one.

    See Also
    --------
    Activation : make one from a formula or from functions.
    polynomial : from coefficients.

    Examples
    --------
    >>> import numpy as np
    >>> activation("leaky_relu(0.2)"), activation(np.tanh)
    (Activation('leaky_relu(0.2)'), Activation('tanh'))
    """
    return resolve(x)


@lru_cache(maxsize=1024)
def _named(name: str) -> Activation:
    call = re.fullmatch(r"\s*(\w+)\s*\((.*)\)\s*", name, flags=re.DOTALL)
    if call is not None:
        return _of_family(call[1], call[2], name)
    if name in FAMILIES and FAMILIES[name].parameter.default is None:
        raise InvalidValueError(_needs(name, name))
    if name in FAMILIES and name not in NAMED:
        return _of_family(name, "", name)
    found = as_choice("activation", name, [*all_names(), *ALIASES])
    return NAMED[ALIASES.get(found, found)]


def _of_family(name: str, arguments: str, given: str) -> Activation:
    """The member of a family, from what stands between the parentheses."""
    name = ALIASES.get(name, name)
    if name not in FAMILIES:
        if name in all_names():
            raise InvalidValueError(
                f"The activation {given!r} has a parameter, but {name} takes none. "
                f"Those that do: {', '.join(FAMILIES)}."
            )
        as_choice("activation", name, FAMILIES)
    parameter, build, _ = FAMILIES[name]
    text = arguments.strip()
    if not text and parameter.default is None:
        raise InvalidValueError(_needs(name, given))
    keyword = re.fullmatch(r"(\w+)\s*=(?!=)(.*)", text, flags=re.DOTALL)
    if keyword is not None:
        if keyword[1] != parameter.name:
            raise InvalidValueError(
                f"The activation {given!r} has the parameter {keyword[1]!r}; {name} takes "
                f"{parameter.name!r} alone."
            )
        text = keyword[2].strip()
    value = parameter.default if not text else _number(text)
    if value is None or not math.isfinite(value) or not parameter.allowed(value):
        raise InvalidValueError(_needs(name, given))
    label = name if not text else f"{name}({repr(value).removesuffix('.0')})"
    if value == parameter.default and name in NAMED:
        return _named(name)
    return of_terms(build(value), label)


def _number(text: str) -> float | None:
    """A number as Python reads it, signs included; None if it is something else."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _needs(name: str, given: str) -> str:
    parameter = FAMILIES[name].parameter
    example = {"power": 2, "degree": 3}.get(parameter.name, 0.5)
    return (
        f"The activation {given!r} needs {parameter.what} as its {parameter.name}, as in "
        f"{f'{name}({example})'!r}: {FAMILIES[name].formula}."
    )


# --------------------------------------------------------------------------------------------------
# functions of libraries


def _same(*names: str) -> dict[str, Callable[[], Activation]]:
    return {name: (lambda name=name: _named(name)) for name in names}  # type: ignore[misc]


def _as(**meaning: str) -> dict[str, Callable[[], Activation]]:
    return {name: (lambda m=m: _named(m)) for name, m in meaning.items()}  # type: ignore[misc]


_ROOT_2 = math.sqrt(2.0)


def _erf() -> Activation:
    return of_terms([_term(1.0, "erf", _ROOT_2)])


def _erfc() -> Activation:
    return 1.0 - _erf()


def _log_sigmoid() -> Activation:
    return of_terms([_term(-1.0, "softplus", -1.0)])


def _negative() -> Activation:
    return of_terms([_term(-1.0, "identity")])


def _square() -> Activation:
    return of_terms([_term(2.0, "square")])


_UFUNCS = {
    **_same("tanh", "sin", "cos", "exp", "abs", "sign", "arctan"),
    **_as(absolute="abs", positive="identity"),
    "negative": _negative,
    "square": _square,
}
_NN = {
    **_same("relu", "relu6", "sigmoid", "softplus", "silu", "elu", "selu", "celu", "mish"),
    **_as(swish="silu", leaky_relu="leaky_relu"),
    "log_sigmoid": _log_sigmoid,
}
#: Functions by module and name; they are compared as objects, in modules that are loaded already.
_FUNCTIONS: Mapping[str, Mapping[str, Callable[[], Activation]]] = MappingProxyType(
    {
        "numpy": {**_UFUNCS, **_as(fabs="abs")},
        "math": {
            **_same("tanh", "sin", "cos", "exp"),
            **_as(fabs="abs", atan="arctan"),
            "erf": _erf,
        },
        "scipy.special": {
            "erf": _erf,
            "erfc": _erfc,
            "log_expit": _log_sigmoid,
            **_as(expit="sigmoid", ndtr="normal_cdf", softplus="softplus"),
        },
        "torch": {
            **_UFUNCS,
            **_same("relu", "sigmoid", "selu"),
            **_as(atan="arctan"),
            "neg": _negative,
            "erf": _erf,
            "erfc": _erfc,
        },
        "torch.nn.functional": {
            **_NN,
            **_same("tanh", "gelu", "softsign"),
            **_as(hardtanh="hard_tanh", hardsigmoid="hard_sigmoid", hardswish="hard_swish"),
            "logsigmoid": _log_sigmoid,
        },
        "jax.nn": {
            **_NN,
            **_same("hard_sigmoid", "hard_swish", "hard_tanh"),
            **_as(tanh="tanh", soft_sign="softsign", hard_silu="hard_swish", identity="identity"),
        },
        "jax.numpy": {**_UFUNCS, **_as(fabs="abs", atan="arctan")},
        "jax.scipy.special": {
            "erf": _erf,
            "erfc": _erfc,
            **_as(expit="sigmoid", ndtr="normal_cdf"),
        },
    }
)


#: Names of Julia that are none here; ``sigmoid2`` and others of its package are names here, too.
JULIA: Mapping[str, str] = MappingProxyType(
    {"tanh_fast": "tanh", "\u03c3": "sigmoid", "sigmoid_fast": "sigmoid", "atan": "arctan"}
)


#: Modules of ``torch.nn`` by class: a name, or the name of a family and its attribute.
_MODULES: Mapping[str, str | tuple[str, str]] = MappingProxyType(
    {
        "Identity": "identity",
        "ReLU": "relu",
        "ReLU6": "relu6",
        "LeakyReLU": ("leaky_relu", "negative_slope"),
        "ELU": ("elu", "alpha"),
        "CELU": ("celu", "alpha"),
        "SELU": "selu",
        "SiLU": "silu",
        "Mish": "mish",
        "Sigmoid": "sigmoid",
        "Tanh": "tanh",
        "Softplus": ("softplus", "beta"),
        "Softsign": "softsign",
        "Hardsigmoid": "hard_sigmoid",
        "Hardswish": "hard_swish",
    }
)


def known_function(function: Any) -> Activation | None:
    """The activation of a function of a library that is loaded, of a module of ``torch.nn``, or of
    a function of Julia, as juliacall hands it over.
    """
    if type(function).__module__.partition(".")[0] == "juliacall":
        name = str(function).rpartition(".")[2]
        return _named(JULIA.get(name, name))
    for place, table in _FUNCTIONS.items():
        module = sys.modules.get(place)
        if module is None:
            continue
        for name, build in table.items():
            if getattr(module, name, None) is function:
                return build()
    torch_nn = sys.modules.get("torch.nn")
    return None if torch_nn is None else _of_module(torch_nn, function)


def _of_module(torch_nn: Any, module: Any) -> Activation | None:
    """The activation of a module of ``torch.nn`` with its parameters."""
    kind = type(module).__name__
    if getattr(torch_nn, kind, None) is not type(module):
        return None
    if kind == "GELU" and module.approximate == "none":
        return _named("gelu")
    if kind == "LogSigmoid":
        return _log_sigmoid()
    if kind == "Hardtanh":
        low = float(module.min_val)
        high = float(module.max_val)
        terms = [
            _power(1.0, 1, -low),
            _power(-1.0, 1, -high),
            Term(low, 1.0, 0.0, polynomial([1.0])),
        ]
        return _named("hard_tanh") if (low, high) == (-1.0, 1.0) else of_terms(terms)
    meaning = _MODULES.get(kind)
    if meaning is None:
        return None
    if isinstance(meaning, str):
        return _named(meaning)
    family, attribute = meaning
    return _named(f"{family}({float(getattr(module, attribute))!r})")


def _unknown(given: Any) -> str:
    """Why something is no activation, and what to do."""
    if isinstance(given, np.ufunc) or callable(given):
        name = getattr(given, "__name__", type(given).__name__)
        short = name if name.isidentifier() else "mine"
        return (
            f"activation is the function {name}, which is none of those that infflow knows. Make "
            "an activation of it with its derivatives: "
            f"inf.Activation.from_callable({short!r}, {short}, derivatives=[f1, f2, f3, f4]), "
            "or of a formula: inf.Activation.from_sympy(name, text)."
        )
    return (
        f"activation is {shown(given)}; a name ({', '.join(all_names())}; with a parameter: "
        f"{', '.join(FAMILIES)}, such as 'leaky_relu(0.2)') or an infflow.Activation is needed "
        "(Activation.from_callable makes one of a function)."
    )
