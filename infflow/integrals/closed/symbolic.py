r"""Derivation of the jets of smoothed ramps, and the generator of ``_generated.py``.

``python -m infflow.integrals.closed.symbolic`` (``make derive``) rewrites the generated module.

Let h = (h1, h2) be Gaussian with means b1, b2, variances V1, V2 and covariance C12, and K(m, n) the
derivative ``d^m/db1^m d^n/db2^n`` of ``R = E[relu(h1) relu(h2)]``. With

=========  ========================================================================================
``g1``     ``C12/V1``, the slope of the regression of h2 on h1
``m1``     ``b2 - g1 b1``, the mean of h2 given h1 = 0
``s1``     ``V2 - C12^2/V1``, the variance of h2 given h1
``d1``     ``exp(-b1^2/(2 V1))/sqrt(2 pi V1)``, the density of h1 at 0
``P1``     ``Phi(m1/sqrt(s1))``, the probability of h2 > 0 given h1 = 0
``q1``     ``exp(-m1^2/(2 s1))/sqrt(2 pi s1)``, the density of h2 at 0 given h1 = 0
``L``      ``P(h1 > 0, h2 > 0)``
=========  ========================================================================================

and the same with the indices exchanged, ``K(1,1) = L`` and ``K(2,0) = d1 (m1 P1 + s1 q1)`` (density
of h1 at the kink times the conditional mean of the ramp of h2). Everything of higher order follows
by differentiation, under which these quantities are closed, everything of lower order from Stein's
lemma::

    K(1,0) = E[step(h1) relu(h2)] = b2 L + C12 K(2,1) + V2 K(1,2)
    K(0,0) = E[relu(h1) relu(h2)] = b1 K(1,0) + V1 K(2,0) + C12 L

The generated code takes these sums as arguments, ``A00 = K(0,0)``, ``A10 = K(1,0)``,
``A01 = K(0,1)`` and ``R1 = m1 P1 + s1 q1`` (the mean of the ramp of h2 given h1 = 0), since their
terms cancel where a neuron is hardly ever active; the caller has other formulas there.

The generated code never divides: ``i1 = 1/V1`` and ``r1 = 1/s1`` are arguments, which lets the
caller define degenerate cases. Derivatives of fourth order are taken along
``D1 = d/db1 + c1 d/db2`` (and ``D2``), under which ``D1 b1 = 1`` and ``D1 m1 = e1 = c1 - g1``: for
c1 = 0 they are plain ones, and for kinked activations in the frame of ``jets.py`` e1 = 0, so that
nothing grows as s1 -> 0.

If the second function is the step minus 1/2 in place of the step (``shift2 = 1/2``), the same
expressions hold with 1/2 subtracted from P1 and with the correspondingly centred L, A00, A10 and
A01; R1 is not used then.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import sympy
from sympy import Expr, Symbol
from sympy.printing.pycode import PythonCodePrinter

__all__ = ["BASES", "check", "generate", "moment"]

#: Orders (k1, k2) of the atoms for which code is generated; the others follow by exchange. Ramps
#: have order 0, steps 1, normal densities 2.
BASES = ((0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2))

PRIMITIVES = "b1 b2 C12 V1 V2 i1 i2 g1 g2 e1 e2 m1 m2 s1 s2 r1 r2 d1 d2 P1 P2 q1 q2 L"
b1, b2, C12, V1, V2, i1, i2, g1, g2, e1, e2, m1, m2, s1, s2, r1, r2, d1, d2, P1, P2, q1, q2, L = (
    sympy.symbols(PRIMITIVES)
)
SUMS = R1, R2, A00, A10, A01 = sympy.symbols("R1 R2 A00 A10 A01")

#: What generated functions take of each neuron (:class:`.two_atoms_kernels.Arguments`); A00 and L
#: belong to both.
FIRST = "b1, i1, g1, e1, m1, r1, d1, R1, P1, q1, A10"
SECOND = "b2, i2, g2, e2, m2, r2, d2, R2, P2, q2, A01"

_EXCHANGED = {
    x: Symbol(x.name[:-1] + {"1": "2", "2": "1"}[x.name[-1]])
    for x in sympy.symbols(PRIMITIVES)
    if x not in (C12, L)
} | {R1: R2, R2: R1, A10: A01, A01: A10}

# A direction gives the derivatives of b1, b2, m1, m2 along it; D1 acts on expressions in b1, m1
# only, D2 on b2, m2.
Direction = dict[Symbol, Expr]
ALONG_B1: Direction = {b1: sympy.Integer(1), m1: -g1, m2: sympy.Integer(1)}
ALONG_B2: Direction = {b2: sympy.Integer(1), m2: -g2, m1: sympy.Integer(1)}
ALONG_D1: Direction = {b1: sympy.Integer(1), m1: e1}
ALONG_D2: Direction = {b2: sympy.Integer(1), m2: e2}


def exchange(expression: Expr) -> Expr:
    """Exchange the indices 1 and 2."""
    return expression.xreplace(_EXCHANGED)


def differentiate(expression: Expr, direction: Direction) -> Expr:
    """Derivative along a direction in the space of means, by the rules under which the primitives
    are closed.
    """
    db1, db2, dm1, dm2 = (direction.get(x, sympy.Integer(0)) for x in (b1, b2, m1, m2))
    rules = {
        b1: db1,
        b2: db2,
        m1: dm1,
        m2: dm2,
        d1: -b1 * i1 * d1 * db1,
        d2: -b2 * i2 * d2 * db2,
        P1: q1 * dm1,
        P2: q2 * dm2,
        q1: -m1 * r1 * q1 * dm1,
        q2: -m2 * r2 * q2 * dm2,
        L: d1 * P1 * db1 + d2 * P2 * db2,
        R1: P1 * dm1,
        R2: P2 * dm2,
        A10: d1 * R1 * db1 + L * db2,
        A01: L * db1 + d2 * R2 * db2,
        A00: A10 * db1 + A01 * db2,
    }
    # s1 r1 = 1 keeps the results polynomial
    total = sum(sympy.diff(expression, x) * dx for x, dx in rules.items() if dx != 0)
    return sympy.expand(sympy.expand(total).subs({s1 * r1: 1, s2 * r2: 1}))


@cache
def moment(m: int, n: int) -> Expr:
    """K(m, n) in terms of the primitives; in those of side 1 if m >= 2.

    Negative orders are truncated powers, ``relu(h)^(1-m)/(1-m)!``, by Stein's lemma.
    """
    if m < 0:
        stein = b1 * moment(m + 1, n) + V1 * moment(m + 2, n) + C12 * moment(m + 1, n + 1)
        return sympy.expand(stein / (1 - m))
    if n < 0:
        return exchange(moment(n, m))
    if m >= 3:
        return differentiate(moment(m - 1, n), ALONG_B1)
    if m == 2:
        return (
            differentiate(moment(2, n - 1), ALONG_B2)
            if n
            else sympy.expand(d1 * (m1 * P1 + s1 * q1))
        )
    if n > m:
        return exchange(moment(n, m))
    if n == 1:
        return L
    if m == 1:
        return b2 * L + C12 * moment(2, 1) + V2 * moment(1, 2)
    return b1 * moment(1, 0) + V1 * moment(2, 0) + C12 * L


@cache
def compact(m: int, n: int) -> Expr:
    """K(m, n) in terms of the primitives and the sums R1, R2, A00, A10, A01; of side 1
    if m >= 2.
    """
    if m >= 3:
        return differentiate(compact(m - 1, n), ALONG_B1)
    if m == 2:
        return differentiate(compact(2, n - 1), ALONG_B2) if n else d1 * R1
    if n > m:
        return exchange(compact(n, m))
    return (A00, A10, L)[m + n]


def explicit(expression: Expr) -> Expr:
    """The sums written out."""
    sums = {R1: m1 * P1 + s1 * q1, R2: m2 * P2 + s2 * q2}
    stein = {A00: moment(0, 0), A10: moment(1, 0), A01: moment(0, 1)}
    return sympy.expand(
        sympy.expand(expression.xreplace(sums | stein)).subs({s1 * r1: 1, s2 * r2: 1})
    )


# ---------------------------------------------------------------- proof


def _algebraic(b1: Expr, b2: Expr, V1: Expr, V2: Expr, index: str) -> dict[Symbol, Expr]:
    """The algebraic primitives of one side in terms of means and covariance."""
    g, s = C12 / V1, V2 - C12**2 / V1
    return {
        Symbol(x + index): v
        for x, v in {"i": 1 / V1, "g": g, "m": b2 - g * b1, "s": s, "r": 1 / s}.items()
    }


EXPLICIT = _algebraic(b1, b2, V1, V2, "1") | _algebraic(b2, b1, V2, V1, "2")


def _total_derivative(expression: Expr, t: Symbol) -> Expr:
    """Derivative in one of b1, b2, C12, V1, V2, straight from the definitions of the primitives."""
    rules: dict[Symbol, Expr] = {}
    for b, V, d, P, q, m, s in ((b1, V1, d1, P1, q1, m1, s1), (b2, V2, d2, P2, q2, m2, s2)):
        mean = EXPLICIT[m]
        variance = EXPLICIT[s]
        rules[d] = d * sympy.diff(-(b**2) / (2 * V) - sympy.log(V) / 2, t)
        rules[q] = q * sympy.diff(-(mean**2) / (2 * variance) - sympy.log(variance) / 2, t)
        rules[P] = q * (sympy.diff(mean, t) - mean / (2 * variance) * sympy.diff(variance, t))
    if t in (b1, b2):
        rules[L] = d1 * P1 if t == b1 else d2 * P2
    elif t == C12:
        rules[L] = d1 * q1  # Plackett
    else:  # heat equation of a probability
        rules[L] = (
            _total_derivative(d1 * P1, b1) / 2 if t == V1 else _total_derivative(d2 * P2, b2) / 2
        )
    explicit = expression.xreplace(EXPLICIT)
    return sympy.diff(explicit, t) + sum(sympy.diff(explicit, x) * dx for x, dx in rules.items())


def _vanishes(expression: Expr) -> bool:
    """Whether an expression is zero: d2 q2 = d1 q1 is the joint density, the other products are
    independent.
    """
    reduced = sympy.expand(expression.xreplace(EXPLICIT).subs(q2, d1 * q1 / d2))
    terms = sympy.Poly(reduced, L, d1, d2, P1, P2, q1).coeffs() if reduced != 0 else []
    return all(sympy.cancel(sympy.together(c)) == 0 for c in terms)


def check() -> dict[str, bool]:
    """Prove that R solves what defines it; name of each identity and whether it holds."""
    ramp = moment(0, 0)
    identities = {
        "d2R/db1 db2 = L": _total_derivative(_total_derivative(ramp, b1), b2) - L,
        "dR/db1 = K(1,0)": _total_derivative(ramp, b1) - moment(1, 0),
        "d2R/db1^2 = K(2,0)": _total_derivative(moment(1, 0), b1) - moment(2, 0),
        "dR/dC12 = K(1,1)": _total_derivative(ramp, C12) - L,
        "2 dR/dV1 = K(2,0)": 2 * _total_derivative(ramp, V1) - moment(2, 0),
        "2 dR/dV2 = K(0,2)": 2 * _total_derivative(ramp, V2) - moment(0, 2),
        "dL/dC12 = K(2,2)": _total_derivative(L, C12) - moment(2, 2),
        "2 dL/dV1 = K(3,1)": 2 * _total_derivative(L, V1) - moment(3, 1),
        "K(3,2) from either side": _total_derivative(exchange(moment(2, 2)), b1) - moment(3, 2),
        "dK(2,0)/dC12 = K(3,1)": _total_derivative(moment(2, 0), C12) - moment(3, 1),
    }
    orders = [(m, n) for m in range(5) for n in range(5)]
    identities |= {f"compact K{m, n}": explicit(compact(m, n)) - moment(m, n) for m, n in orders}
    return {name: _vanishes(difference) for name, difference in identities.items()}


# ---------------------------------------------------------------- code


def stages(k1: int, k2: int) -> tuple[list[Expr], list[Expr], list[Expr]]:
    """Terms that orders 0, 1 and 2 of a jet add for atoms of orders k1, k2, by slot."""
    first = [compact(k1 + p, k2 + q) for p, q in ((2, 0), (1, 1), (0, 2), (1, 0), (0, 1))]
    third = [compact(k1 + p, k2 + q) for p, q in ((3, 0), (2, 1), (1, 2), (0, 3))]
    f40 = differentiate(differentiate(compact(k1 + 2, k2), ALONG_D1), ALONG_D1)
    f31 = differentiate(compact(k1 + 2, k2 + 1), ALONG_D1)
    f04 = differentiate(differentiate(exchange(compact(k2 + 2, k1)), ALONG_D2), ALONG_D2)
    f13 = differentiate(exchange(compact(k2 + 2, k1 + 1)), ALONG_D2)
    return [compact(k1, k2)], first, [*third, f40, f31, compact(k1 + 2, k2 + 2), f13, f04]


class _Printer(PythonCodePrinter):
    """Python code with small powers as products."""

    def _print_Pow(self, expr: Expr, rational: bool = False) -> str:
        base, exponent = expr.as_base_exp()
        return "(" + "*".join([self._print(base)] * int(exponent)) + ")"


def _tidy(expression: Expr) -> Expr:
    """Densities and probabilities factored out, so that their coefficients are short
    polynomials.
    """
    collected = sympy.collect(sympy.expand(expression), (L, d1, d2, A00, A10, A01), evaluate=False)
    return sympy.Add(
        *(
            x
            * sympy.Add(
                *(
                    y * sympy.horner(c)
                    for y, c in sympy.collect(
                        part, (R1, P1, q1, R2, P2, q2), evaluate=False
                    ).items()
                )
            )
            for x, part in collected.items()
        )
    )


def _function(k1: int, k2: int) -> str:
    """Source of the function for one pair of orders."""
    parts = [[_tidy(e) for e in stage] for stage in stages(k1, k2)]
    flat = [e for stage in parts for e in stage]
    replacements, reduced = sympy.cse(flat, symbols=sympy.numbered_symbols("x"))
    definitions = dict(replacements)
    printer = _Printer()
    done: set[Symbol] = set()
    lines = [
        '@njit(cache=True, error_model="numpy")',
        f"def atoms_{k1}{k2}(out, w, order, first, second, A00, L):",
        f"    {FIRST} = first",
        f"    {SECOND} = second",
    ]
    slot = 0
    for order, stage in enumerate(parts):
        for expression in reduced[slot : slot + len(stage)]:
            for symbol in _needed(expression, definitions, done):
                lines.append(f"    {symbol} = {printer.doprint(definitions[symbol])}")
            lines.append(f"    out[{slot}] += w * ({printer.doprint(expression)})")
            slot += 1
        if order < 2:
            lines.append(f"    if order == {order}:\n        return")
    return "\n".join(lines)


def _needed(expression: Expr, definitions: dict[Symbol, Expr], done: set[Symbol]) -> list[Symbol]:
    """The subexpressions to be computed before this expression, in order; marks them as done."""
    found: list[Symbol] = []
    for symbol in sorted(
        expression.free_symbols & definitions.keys() - done, key=lambda s: int(s.name[1:])
    ):
        if symbol in done:
            continue
        found += _needed(definitions[symbol], definitions, done)
        found.append(symbol)
        done.add(symbol)
    return found


_HEADER = '''\
"""Moments of pairs of smoothed ramps and of their derivatives. Generated code: don't edit.

Written by ``python -m infflow.integrals.closed.symbolic`` (``make derive``) with sympy {version};
the derivation and the meaning of the arguments are explained there. Each function adds w times the
moments of two atoms of the orders in its name to ``out``: 1, 6 or 15 slots for order 0, 1, 2.
"""

# fmt: off
from ...compiler import njit
'''


def generate() -> str:
    """The source of ``_generated.py``."""
    return _HEADER.format(version=sympy.__version__) + "".join(
        f"\n\n{_function(*base)}\n" for base in BASES
    )


def main() -> None:
    """Prove the identities, then write the generated module next to this one."""
    failed = [name for name, holds in check().items() if not holds]
    if failed:
        raise SystemExit(f"derivation is wrong: {', '.join(failed)}")
    path = Path(__file__).with_name("_generated.py")
    path.write_text(generate(), encoding="utf-8")
    print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
