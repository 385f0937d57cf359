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
