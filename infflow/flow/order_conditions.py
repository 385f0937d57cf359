"""Order conditions of one-step methods, one per rooted tree.

A method that forms y1 = y0 + sum_i b_i k_i is of order p if for every rooted tree with up to p
vertices the elementary weight equals 1/density (Hairer, Norsett and Wanner, Solving Ordinary
Differential Equations I, section II.2). For Rosenbrock methods with exact Jacobian the matrix
alpha is replaced by beta = alpha + gamma wherever a vertex has a single child (Hairer and Wanner,
Solving Ordinary Differential Equations II, section IV.7, theorem 7.3). A dense output
y(theta) = y0 + sum_i b_i(theta) k_i has order q if the weights b_i(theta) give
theta^(number of vertices)/density for the trees up to q.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import combinations_with_replacement

import numpy as np

from .._validation import Array
from ..errors import TableauError

Tree = tuple  # a vertex is the sorted tuple of its children; the leaf is ()


@cache
def rooted_trees(vertices: int) -> tuple[Tree, ...]:
    """All rooted trees with this many vertices: 1, 1, 2, 4, 9, 20, ..."""
    return tuple(sorted(_forests(vertices - 1, vertices - 1)))


def _forests(vertices: int, largest: int) -> Iterator[Tree]:
    """Multisets of trees with ``vertices`` vertices together, each tree at most ``largest``."""
    if vertices == 0:
        yield ()
        return
    for size in range(min(vertices, largest), 0, -1):
        for count in range(vertices // size, 0, -1):
            for rest in _forests(vertices - size * count, size - 1):
                for chosen in combinations_with_replacement(rooted_trees(size), count):
                    yield tuple(sorted((*rest, *chosen)))


def num_vertices(tree: Tree) -> int:
    """Number of vertices, which is the order at which the tree enters."""
    return 1 + sum(num_vertices(child) for child in tree)


def density(tree: Tree) -> int:
    """Product of the numbers of vertices of all subtrees."""
    product = num_vertices(tree)
    for child in tree:
        product *= density(child)
    return product


def stage_weights(tree: Tree, alpha: Array, beta: Array) -> Array:
    """Elementary weight of the tree at every stage, shape (s,)."""
    matrix = beta if len(tree) == 1 else alpha
    product = np.ones(len(alpha))
    for child in tree:
        product = product * (matrix @ stage_weights(child, alpha, beta))
    return product


def check_order(
    name: str,
    weights: Array,
    alpha: Array,
    beta: Array,
    order: int,
    *,
    theta: float = 1.0,
    tolerance: float = 1e-12,
) -> None:
    """Raise a :class:`TableauError` that names the tree whose condition fails.

    Parameters
    ----------
    name : str
        What is checked, for the message.
    weights : (s,) array
        Weights of the stages at the fraction ``theta`` of the step.
    alpha, beta : (s, s) arrays
        Stage coefficients; ``beta`` is ``alpha`` for Runge-Kutta methods.
    order : int
        The order that is claimed.
    tolerance : float
        Allowed residual relative to the sum of the moduli of the terms: published coefficients are
        rounded.
    """
    for vertices in range(1, order + 1):
        for tree in rooted_trees(vertices):
            terms = weights * stage_weights(tree, alpha, beta)
            residual = terms.sum() - theta**vertices / density(tree)
            if not abs(residual) <= tolerance * max(1.0, float(np.abs(terms).sum())):
                raise TableauError(
                    f"{name} claims order {order}, but its condition of order {vertices} for the "
                    f"tree {tree} "
                    f"has the residual {residual:.3g}. Check the coefficients or claim a lower "
                    "order."
                )


def order_conditions(a: Array, order: int) -> tuple[Array, Array, Array]:
    """The conditions on the weights of a Runge-Kutta method: matrix (m, s), numbers of vertices
    (m,), right sides (m,).
    """
    trees = [tree for vertices in range(1, order + 1) for tree in rooted_trees(vertices)]
    rows = np.array([stage_weights(tree, a, a) for tree in trees])
    vertices = np.array([num_vertices(tree) for tree in trees])
    return rows, vertices, np.array([1 / density(tree) for tree in trees])
