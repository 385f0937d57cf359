"""A student beside its copy: the Hessian of their sum holds the student's Fisher matrix."""

from __future__ import annotations

import numpy as np

from ..._validation import Array
from ..finite.net import Net
from ..parameters import Layout
from ..teacher import Teacher


def is_covered(student: Net) -> bool:
    """Whether the Fisher matrix is a block of the Hessian of two equal students, which takes no new
    network per point; with kinks the other blocks are infinite.
    """
    smooth = not any(f.kinks for f in student.layers[0].activations)
    return smooth and student.parametrization in ("standard", "ntk", "mean_field")


def doubled(student: Net) -> tuple[Net, Teacher]:
    """A student with all hidden neurons twice, and a teacher without output."""
    hidden, outer = student.layers
    twice = Net(
        [
            (2 * hidden.width, [*hidden.activations, *hidden.activations], hidden.bias),
            (outer.width, "identity", outer.bias),
        ],
        student.input_dim,
    )
    silent = Net([(1, "identity", False), (outer.width, "identity", False)], student.input_dim)
    return twice, Teacher(silent, [1.0] + [0.0] * (silent.num_params - 1))


def point(pairs: Layout, student: Net, theta: Array) -> Array:
    """Parameters of both copies, each of which computes what the student does at ``theta``."""
    (W, b), (A, c) = student.unpack(student.scaled(theta))
    both = [(np.vstack([W, W]), None if b is None else np.tile(b, 2)), (np.hstack([A, A]), c)]
    return pairs.pack(both)


def fisher(H: Array, pairs: Layout, student: Net) -> Array:
    """``E[grad f grad f']`` (P, P) of the student, from the Hessian of E |f_1 + f_2|^2.

    It is half of the block of one copy with the other.
    """
    K = student.layers[0].width
    (W, b), (A, c) = pairs.unpack(np.arange(float(pairs.num_params)))
    rest = [] if c is None else [c]
    first, second = (
        np.concatenate(
            [W[k].ravel(), *([] if b is None else [b[k]]), A[:, k].ravel(), *rest]
        ).astype(np.int64)
        for k in (slice(0, K), slice(K, 2 * K))
    )
    block: Array = H[np.ix_(first, second)]
    # the mean of block and transpose, as the two round differently
    block = 0.25 * (block + block.T)
    factors = student.factors
    return block if factors is None else factors[:, None] * block * factors
