r"""Pair jets: the one interface between evaluators of Gaussian integrals and the networks that use
them.

The jet of a pair is Phi = E[f(h1) g(h2)] with its first and second derivatives in (C11, C12, C22,
b1, b2), the covariance and the means of h = (h1, h2): 21 numbers, in columns ordered so that order
0 needs the first, order 1 the first 6 and order 2 all of them.

Two conventions keep the assembly of gradients and Hessians free of divisions and of cancellation.

* Derivatives in C11 and C22 carry a factor 2 each: ``J20 = 2 dPhi/dC11``, ``J11 = dPhi/dC12``,
  ``J02 = 2 dPhi/dC22``, and likewise ``M30 = 2 d2Phi/dC11 db1``, ``M21 = d2Phi/dC12 db1``,
  ``M12b = 2 d2Phi/dC22 db1``, ``M21b = 2 d2Phi/dC11 db2``, ``M12 = d2Phi/dC12 db2``,
  ``M03 = 2 d2Phi/dC22 db2``. The indices are the orders of differentiation that an exact evaluator
  ends up with: by the heat equation J20 = E[f'' g] and so on.
* Second derivatives in the C's are given in the frame (w1, a = w2 - c1 w1) for blocks of neuron 1
  and (w2, b = w1 - c2 w2) for neuron 2, with c1 = C12/C11 and c2 = C12/C22 (see :func:`slope`; 0
  where the denominator is 0). With the second derivatives P of Phi in the C's::

      F40 = 4 P11,11 + 4 c1 P11,12 + c1^2 P12,12
      F31 = 2 P11,12 + c1 P12,12
      F22 = P12,12
      F04 = 4 P22,22 + 4 c2 P12,22 + c2^2 P12,12
      F13 = 2 P12,22 + c2 P12,12
      F11 = 4 P11,22 + 2 c2 P11,12 + 2 c1 P12,22 + c1 c2 P12,12

  so that, with 1 the identity,::

      d2/dw1^2    = J20 1 + F40 w1 w1' + F31 (w1 a' + a w1') + F22 a a'
      d2/dw2^2    = J02 1 + F04 w2 w2' + F13 (w2 b' + b w2') + F22 b b'
      d2/dw1 dw2  = J11 1 + F11 w1 w2' + F31 w1 b' + F13 a w2' + F22 a b'
      d/dw1       = J20 w1 + J11 w2
      d2/dw1 db1  = M30 w1 + M21 w2
      d2/dw1 db2  = M21b w1 + M12 w2
      d/dw2       = J02 w2 + J11 w1
      d2/dw2 db2  = M03 w2 + M12 w1
      d2/dw2 db1  = M12b w2 + M21 w1

  For kinked activations and nearly parallel neurons the plain derivatives grow like 1/|a| and
  cancel in these sums; the frame's do not.

An evaluator that obeys the heat equation has J20 = B20, J11 = B11, J02 = B02, M21 = M21b and M12 =
M12b; a surrogate that does not fills the columns with its own derivatives.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._validation import Array
from ..compiler import njit

#: A neuron whose variance is at most this counts as constant: the reciprocal would overflow.
SMALLEST_VARIANCE = 1e-300


@njit(cache=True, error_model="numpy")
def slope(covariance: float, variance: float) -> float:
    """``c1 = slope(C12, C11)``: regression on a neuron of the given variance; 0 if it
    is constant.
    """
    return covariance / variance if variance > SMALLEST_VARIANCE else 0.0


#: Names of the columns, in order.
COLUMNS = (
    *("J00",),
    *("J20", "J11", "J02", "J10", "J01"),
    *("B20", "B11", "B02"),
    *("M30", "M21", "M12b", "M21b", "M12", "M03"),
    *("F40", "F31", "F22", "F13", "F04", "F11"),
)

#: Orders of differentiation (p, q) in b1 and b2 that a column stands for: f(s h) brings s^p.
COLUMN_ORDERS = (
    *((0, 0),),
    *((2, 0), (1, 1), (0, 2), (1, 0), (0, 1)),
    *((2, 0), (1, 1), (0, 2)),
    *((3, 0), (2, 1), (1, 2), (2, 1), (1, 2), (0, 3)),
    *((4, 0), (3, 1), (2, 2), (1, 3), (0, 4), (2, 2)),
)

#: How many of the columns order 0, 1 and 2 need.
SIZES = (1, 6, 21)

# Column numbers as plain integers, which jitted code compiles as constants.
J00 = 0
J20 = 1
J11 = 2
J02 = 3
J10 = 4
J01 = 5
B20 = 6
B11 = 7
B02 = 8
M30 = 9
M21 = 10
M12B = 11
M21B = 12
M12 = 13
M03 = 14
F40 = 15
F31 = 16
F22 = 17
F13 = 18
F04 = 19
F11 = 20

#: ``jet[..., EXCHANGE]`` is the jet of (g, f): the roles of the two arguments exchanged.
EXCHANGE = (
    *(J00,),
    *(J02, J11, J20, J01, J10),
    *(B02, B11, B20),
    *(M03, M12, M21B, M12B, M21, M30),
    *(F04, F13, F22, F31, F40, F11),
)


# --------------------------------------------------------------------------------------------------
# from moments to jets


def along_once(i31: Any, i22: Any, c: Any) -> Any:
    """F31 with c = c1, and F13 from i13 with c = c2, of plain moments.

    Numbers and arrays do; kernels compile it with their own flags.
    """
    return i31 + c * i22


def along_twice(i40: Any, i31: Any, i22: Any, c: Any) -> Any:
    """F40 with c = c1, and F04 from i04 and i13 with c = c2; as :func:`along_once`."""
    return i40 + c * (2.0 * i31 + c * i22)


# Sums may be contracted as those of the series before them.
_FAST = {"contract", "reassoc"}
_inline = njit(forceinline=True, error_model="numpy", fastmath=_FAST)
_once = _inline(along_once)
_twice = _inline(along_twice)


@njit(cache=True, error_model="numpy", fastmath=_FAST)
def write_jets(moments, C11, C12, C22, det, rows, out):  # type: ignore[no-untyped-def]
    """Jets of pairs from their moments (pairs, m, m), I(p, q) at [p, q], into the given rows of
    ``out``.
    """
    columns = out.shape[1]
    for r in range(rows.size):
        I = moments[r]
        jet = out[rows[r]]
        jet[J00] = I[0, 0]
        if columns == 1:
            continue
        jet[J20] = I[2, 0]
        jet[J11] = I[1, 1]
        jet[J02] = I[0, 2]
        jet[J10] = I[1, 0]
        jet[J01] = I[0, 1]
        if columns == 6:
            continue
        c1 = slope(C12[r], C11[r])
        c2 = slope(C12[r], C22[r])
        sine2 = det[r] / C11[r] / C22[r] if c1 != 0.0 and c2 != 0.0 else 1.0
        jet[B20] = I[2, 0]
        jet[B11] = I[1, 1]
        jet[B02] = I[0, 2]
        jet[M30] = I[3, 0]
        jet[M21] = jet[M21B] = I[2, 1]
        jet[M12] = jet[M12B] = I[1, 2]
        jet[M03] = I[0, 3]
        jet[F40] = _twice(I[4, 0], I[3, 1], I[2, 2], c1)
        jet[F31] = _once(I[3, 1], I[2, 2], c1)
        jet[F22] = I[2, 2]
        jet[F13] = _once(I[1, 3], I[2, 2], c2)
        jet[F04] = _twice(I[0, 4], I[1, 3], I[2, 2], c2)
        jet[F11] = c2 * jet[F31] + c1 * jet[F13] + sine2 * I[2, 2]


# A neuron with itself: only T_n = d^n/db^n E f(h)^2 is defined, since both places hold the same h.
# The assembly adds 2^n columns per order n, so each moment I(p, q) with p + q = n gets T_n/2^n.
# With D = d1 + d2 the frame has F40 = D^2 d1^2 = 4 I, F31 = 2 I, F22 = I, F11 = 4 I.
_SELF_ORDER = np.array([0, 2, 2, 2, 1, 1, *[2] * 3, *[3] * 6, *[4] * 6])
_SELF_SHARE = 0.5**_SELF_ORDER * np.array([1.0] * 15 + [4.0, 2.0, 1.0, 2.0, 4.0, 4.0])


def from_squares(T: Array, order: int) -> Array:
    """Jets of neurons with themselves from the derivatives ``T`` (neurons, 5) of E f(h)^2."""
    rows: Array = T[:, _SELF_ORDER[: SIZES[order]]] * _SELF_SHARE[: SIZES[order]]
    first = rows[:, :6]
    first[~np.isfinite(first)] = 0.0
    return rows
