"""Where the numbers of a pair, and of an activation, stand in the arrays of the kernels.

A pair has 15 slots: ``I00 | I20 I11 I02 I10 I01 | I30 I21 I12 I03 S40 S31 S22 S13 S04``, where
I(p, q) is the derivative d^p/db1^p d^q/db2^q and the S are D1^2 d1^2, D1 d1^2 d2, d1^2 d2^2,
D2 d1 d2^2, D2^2 d2^2 with D1 = d1 + c1 d2, D2 = d2 + c2 d1: plain derivatives for c1 = c2 = 0,
those of ``jets.py`` for c1 = C12/C11, c2 = C12/C22. A bit mask says which slots are infinite; there
the slot itself holds the finite rest (the subgradient).

Activations come as rows of a table, one array (seven would cost more to hand over than a pair takes
to evaluate): the number of polynomial coefficients, the number of widths, the shift, the
coefficients, then all squared widths in ascending order, then the weights of their ramps, of their
steps and of their densities. The shift is 1/2 if the steps of the activation mean step minus 1/2
(sign, erf: the constant is then taken out of the polynomial, and small arguments lose no digits),
otherwise 0.
"""

from __future__ import annotations

import numpy as np

MAX_ORDER = 4

SLOTS = (1, 6, 15)
I00, I20, I11, I02, I10, I01, I30, I21, I12, I03, S40, S31, S22, S13, S04 = range(15)
SLOT_P = np.array([0, 2, 1, 0, 1, 0, 3, 2, 1, 0, 4, 3, 2, 1, 0])
SLOT_Q = np.array([0, 0, 1, 2, 0, 1, 0, 1, 2, 3, 0, 1, 2, 3, 4])
EXCHANGED = np.array([I00, I02, I11, I20, I01, I10, I03, I12, I21, I30, S04, S13, S22, S31, S40])
SECOND_BITS = (1 << I20) | (1 << I11) | (1 << I02)
THIRD_BITS = (1 << I30) | (1 << I21) | (1 << I12) | (1 << I03)
FOURTH_BITS = (1 << S40) | (1 << S31) | (1 << S22) | (1 << S13) | (1 << S04)
MIXED_BITS = (1 << S31) | (1 << S22) | (1 << S13)

# columns of a table row
COEFFICIENT_COUNT, WIDTH_COUNT, SHIFT, FIRST = range(4)

# Rows of the work array of a pair. The first four hold means of derivatives of order j:
# polynomial part of f, that of g, atoms of f, all of g. The last holds plain derivatives.
POLYNOMIAL_F, POLYNOMIAL_G, ATOMS_F, ALL_G, PLAIN = range(5)
