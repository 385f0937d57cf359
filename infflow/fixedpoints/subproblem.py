"""The trust-region subproblem, solved exactly on an eigendecomposition.

Minimise m(p) = g'p + p'Hp/2 over |p| <= radius. With H = V diag(lambda) V' and c = V'g the solution
is p = -V c/(lambda + mu) with the smallest mu >= max(0, -lambda_min) for which |p| <= radius (J.
More and D. Sorensen, SIAM J. Sci. Stat. Comput. 4 (1983) 553-572).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._validation import Array


class SubproblemSolution(NamedTuple):
    """Minimiser of the model within the radius, in the basis of the eigenvectors."""

    step: Array  #: components along the eigenvectors, shape (n,)
    multiplier: float  #: mu; 0 for an interior solution
    predicted: float  #: decrease of the model, >= 0
    on_boundary: bool


def solve_subproblem(eigenvalues: Array, components: Array, radius: float) -> SubproblemSolution:
    """Solve the trust-region subproblem.

    Parameters
    ----------
    eigenvalues : (n,) array
        Ascending eigenvalues of the Hessian.
    components : (n,) array
        Components of the gradient along the eigenvectors. Directions that are to be left alone have
        the component 0 and an eigenvalue that is not negative: they get the step 0.
    radius : float
        Positive.
    """
    active = (components != 0.0) | (eigenvalues < 0.0)
    if not active.any():
        return SubproblemSolution(np.zeros_like(components), 0.0, 0.0, False)
    lam = eigenvalues[active]
    c = components[active]
    if lam[0] > 0.0:
        with np.errstate(over="ignore"):
            newton = -c / lam
        if np.sqrt(newton @ newton) <= radius:
            return _solution(newton, 0.0, eigenvalues, components, active, False)
    lowest = max(0.0, -lam[0])
    at_edge, edge = _hard_case(lam, c, lowest)
    length = float(np.sqrt(at_edge @ at_edge))
    if edge.any() and length <= radius:
        if lowest > 0.0:  # the hard case: along the lowest eigenvector as far as the radius allows
            at_edge[np.flatnonzero(edge)[0]] = np.sqrt(radius**2 - length**2)
        return _solution(at_edge, lowest, eigenvalues, components, active, lowest > 0.0)
    # with mu = lowest + shift the smallest lam + mu keeps all its digits
    gaps = lam + lowest
    shift = _secular_root(gaps, c, radius)
    return _solution(-c / (gaps + shift), lowest + shift, eigenvalues, components, active, True)


def _hard_case(lam: Array, c: Array, lowest: float) -> tuple[Array, Array]:
    """The limit of the step for mu -> ``lowest`` where the gradient has no part in the lowest
    eigenspace.
    """
    spread = max(abs(lam[0]), abs(lam[-1]))
    edge = lam + lowest <= 4 * np.finfo(float).eps * spread
    if (np.abs(c[edge]) > 4 * np.finfo(float).eps * np.abs(c).max()).any():
        # the gradient keeps mu away from the edge
        return np.full_like(c, np.inf), np.zeros_like(edge)
    shifted = np.where(edge, 1.0, lam + lowest)
    return np.where(edge, 0.0, -c / shifted), edge


def _secular_root(gaps: Array, c: Array, radius: float) -> float:
    """The shift > 0 with |c/(gaps + shift)| = radius, gaps >= 0: Newton's method on 1/|p|, kept
    inside a bracket.
    """
    # |p| <= |c| / (smallest gap + shift) bounds the shift above, every single component bounds it
    # below
    upper = float(np.sqrt(c @ c)) / radius - gaps[0]
    lower = max(0.0, float((np.abs(c) / radius - gaps).max()))
    shift = lower if lower > 0.0 else 1e-3 * max(upper, np.finfo(float).tiny)
    for _ in range(100):
        scaled = c / (gaps + shift)
        squared = float(scaled @ scaled)
        length = np.sqrt(squared)
        if abs(length - radius) <= 1e-10 * radius:
            break
        lower, upper = (shift, upper) if length > radius else (lower, shift)
        slope = float(scaled @ (scaled / (gaps + shift)))
        proposal = shift + (squared / slope) * (length - radius) / radius
        if not lower < proposal < upper:
            proposal = 0.5 * (lower + upper)
        if not lower < proposal < upper:
            break  # the bracket is one spacing of floating point numbers wide
        shift = proposal
    return float(shift)


def _solution(
    step: Array, mu: float, eigenvalues: Array, components: Array, active: Array, on_boundary: bool
) -> SubproblemSolution:
    full = np.zeros_like(components)
    full[active] = step
    predicted = -float(components @ full + 0.5 * (eigenvalues * full) @ full)
    return SubproblemSolution(full, mu, max(predicted, 0.0), on_boundary)
