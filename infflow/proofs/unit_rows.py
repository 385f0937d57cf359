"""Rows of unit length in ball arithmetic; ``networks/unit_rows.py`` has the formulas."""

from __future__ import annotations

from typing import NamedTuple

from ..networks.unit_rows import UnitRows
from .ball import Ball, flint, total
from .pairs import BallMatrix


class _Row(NamedTuple):
    """One row at a point of balls."""

    start: int
    unit: list[Ball]
    length: Ball


def normalized(rows: UnitRows, theta: list[Ball]) -> list[Ball]:
    """The parameters with rows of length one."""
    phi = list(theta)
    for row in _split(rows, theta):
        phi[row.start : row.start + len(row.unit)] = row.unit
    return phi


def pulled(
    rows: UnitRows, theta: list[Ball], gradient: list[Ball], hessian: BallMatrix
) -> tuple[list[Ball], BallMatrix]:
    """Gradient (P,) and Hessian (P, P) in theta from those at :func:`normalized`."""
    P = len(theta)
    arb = flint().arb
    jacobian = [[arb(int(i == j)) for j in range(P)] for i in range(P)]
    curvature = [[arb(0)] * P for _ in range(P)]
    for start, u, n in _split(rows, theta):
        m = len(u)
        g = gradient[start : start + m]
        radial = total(a * b for a, b in zip(g, u, strict=True))
        for i in range(m):
            for j in range(m):
                projector = int(i == j) - u[i] * u[j]
                mixed = g[i] * u[j] + u[i] * g[j] - 2 * radial * u[i] * u[j]
                jacobian[start + i][start + j] = projector / n
                curvature[start + i][start + j] = -(radial * projector + mixed) / (n * n)
    arb_mat = flint().arb_mat
    J = arb_mat(jacobian)
    column = J * arb_mat(P, 1, gradient)
    return list(column.entries()), J * hessian * J + arb_mat(curvature)


def _split(rows: UnitRows, theta: list[Ball]) -> list[_Row]:
    found = []
    for each in rows.rows:
        for i in range(each.width):
            start = each.start + i * each.fan_in
            w = theta[start : start + each.fan_in]
            length = total(x * x for x in w).sqrt()
            found.append(_Row(start, [x / length for x in w], length))
    return found
