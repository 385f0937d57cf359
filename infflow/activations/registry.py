"""The registered activations: a table with one row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from . import kernels, logistic_mixture
from .activation import Activation
from .data import Atom, Kernel, Sides, Strip, Wave
from .polynomial_kernel import polynomial_kernel

__all__ = ["OTHERS", "REGISTRY", "names", "registered"]


class Row(NamedTuple):
    """What is known of an activation, see :class:`Activation`; ``source`` is its expression.

    Without a kernel it is its polynomial.
    """

    name: str
    kinks: Sequence[float]
    source: str
    kernel: Kernel | None = None
    polynomial: Sequence[float] = ()
    atoms: Sequence[Atom] | Callable[[], Sequence[Atom]] = ()
    waves: Sequence[Wave] = ()
    strip: Strip | None = None
    parity: int = 0
    homogeneous: bool = False
    sides: Sides | None = None


def names() -> tuple[str, ...]:
    """Names of the registered activations, without aliases."""
    return tuple(REGISTRY)


def registered(name: str) -> Activation:
    """The activation with this row."""
    return REGISTRY[name] if name in REGISTRY else OTHERS[name]


def _made(rows: Sequence[Row]) -> Mapping[str, Activation]:
    """The activations of a table by name."""
    return MappingProxyType({row.name: _activation(row) for row in rows})


def _activation(row: Row) -> Activation:
    made = Activation(
        row.name,
        polynomial_kernel(row.polynomial) if row.kernel is None else row.kernel,
        source=row.source,
        kinks=row.kinks,
        polynomial=row.polynomial,
        atoms=row.atoms,
        waves=row.waves,
        strip=row.strip,
        parity=row.parity,
        homogeneous=row.homogeneous,
        recipe=(registered, (row.name,)),
    )
    made.sides = row.sides
    return made


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
    Row("identity", (), "x", polynomial=(0, 1), parity=-1, homogeneous=True),
    Row("square", (), "x**2/2", polynomial=(0, 0, 0.5), parity=1),
    Row("cube", (), "x**3", polynomial=(0, 0, 0, 1), parity=-1),
    Row("relu", (0,), "Max(0, x)", kernels.relu, atoms=[Atom(1, 0)], homogeneous=True),
    Row(
        "leaky_relu",
        (0,),
        "Max(x/100, x)",
        kernels.leaky_relu,
        polynomial=(0, 0.01),
        atoms=[Atom(0.99, 0)],
        homogeneous=True,
    ),
    Row(
        "abs",
        (0,),
        "Abs(x)",
        kernels.absolute,
        polynomial=(0, -1),
        atoms=[Atom(2, 0)],
        parity=1,
        homogeneous=True,
    ),
    Row("step", (0,), "Heaviside(x, 0)", kernels.step, atoms=[Atom(1, 1)]),
    Row("sign", (0,), "sign(x)", kernels.sign, polynomial=(-1,), atoms=[Atom(2, 1)], parity=-1),
    Row(
        "erf",
        (),
        "erf(x/sqrt(2))",
        kernels.erf,
        polynomial=(-1,),
        atoms=[Atom(2, 1, 1)],
        strip=_NORMAL,
        parity=-1,
    ),
    Row(
        "normal_cdf",
        (),
        "(1 + erf(x/sqrt(2)))/2",
        kernels.normal_cdf,
        atoms=[Atom(1, 1, 1)],
        strip=_NORMAL,
    ),
    Row(
        "gelu",
        (),
        "x*(1 + erf(x/sqrt(2)))/2",
        kernels.gelu,
        atoms=[Atom(1, 0, 1), Atom(-1, 2, 1)],
        strip=Strip(curvature=1, degree=1),
    ),
    Row(
        "gaussian",
        (),
        "exp(-x**2/2)",
        kernels.gaussian,
        atoms=[Atom((2 * np.pi) ** 0.5, 2, 1)],
        strip=_NORMAL,
        parity=1,
    ),
    Row(
        "sigmoid",
        (),
        "1/(1 + exp(-x))",
        kernels.sigmoid,
        atoms=lambda: _logistic(1),
        strip=Strip(np.pi),
    ),
    Row(
        "tanh",
        (),
        "tanh(x)",
        kernels.tanh,
        polynomial=(-1,),
        atoms=lambda: _logistic(1, 2, 2),
        strip=Strip(np.pi / 2),
        parity=-1,
    ),
    Row(
        "softplus",
        (),
        "log(1 + exp(x))",
        kernels.softplus,
        atoms=lambda: _logistic(0),
        strip=Strip(np.pi, degree=1),
    ),
    Row(
        "silu", (), "x/(1 + exp(-x))", kernels.silu, atoms=_silu_atoms, strip=Strip(np.pi, degree=1)
    ),
    Row(
        "g",
        (),
        "1/(1 + exp(-4*x)) + log(1 + exp(x))",
        kernels.g,
        atoms=lambda: _logistic(0) + _logistic(1, 4),
        strip=Strip(np.pi / 4, degree=1),
    ),
    Row("elu", (0,), _ELU.format("1", "1"), kernels.elu, sides=Sides(1.0, 1.0)),
    Row(
        "selu",
        (0,),
        _ELU.format(kernels.SELU_SCALE, kernels.SELU_ALPHA),
        kernels.selu,
        sides=Sides(kernels.SELU_SCALE, kernels.SELU_SCALE * kernels.SELU_ALPHA),
    ),
    Row("exp", (), "exp(x)", kernels.exp, waves=[Wave(1, 1)], strip=Strip()),
    Row("sin", (), "sin(x)", kernels.sin, waves=[Wave(-1j, 1j)], strip=Strip(rate=1), parity=-1),
    Row("cos", (), "cos(x)", kernels.cos, waves=[Wave(1, 1j)], strip=Strip(rate=1), parity=1),
)

REGISTRY: Mapping[str, Activation] = _made(_ROWS)
"""The primitives by name: what terms are made of."""

_OTHER_ROWS = (
    Row(
        "mish",
        (),
        "x*tanh(log(1 + exp(x)))",
        kernels.mish,
        strip=Strip(0.75 * np.pi, degree=1),
    ),
    Row("arctan", (), "atan(x)", kernels.arctan, strip=Strip(1.0), parity=-1),
    Row("softsign", (0,), "x/(1 + Abs(x))", kernels.softsign, parity=-1),
    Row(
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

OTHERS: Mapping[str, Activation] = _made(_OTHER_ROWS)
"""Further functions by name, most of which have no closed form."""
