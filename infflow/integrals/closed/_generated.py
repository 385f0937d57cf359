"""Moments of pairs of smoothed ramps and of their derivatives. Generated code: don't edit.

Written by ``python -m infflow.integrals.closed.symbolic`` (``make derive``) with sympy 1.14.0;
the derivation and the meaning of the arguments are explained there. Each function adds w times the
moments of two atoms of the orders in its name to ``out``: 1, 6 or 15 slots for order 0, 1, 2.
"""

# fmt: off
from ...compiler import njit


@njit(cache=True, error_model="numpy")
def atoms_00(out, w, order, first, second, A00, L):
    b1, i1, g1, e1, m1, r1, d1, R1, P1, q1, A10 = first
    b2, i2, g2, e2, m2, r2, d2, R2, P2, q2, A01 = second
    out[0] += w * (A00)
    if order == 0:
        return
    out[1] += w * (R1*d1)
    out[2] += w * (L)
    out[3] += w * (R2*d2)
    out[4] += w * (A10)
    out[5] += w * (A01)
    if order == 1:
        return
    x0 = b1*i1
    out[6] += w * (d1*(-P1*g1 - R1*x0))
    out[7] += w * (P1*d1)
    out[8] += w * (P2*d2)
    x1 = b2*i2
    out[9] += w * (d2*(-P2*g2 - R2*x1))
    x2 = P1*x0
    out[10] += w * (d1*(R1*((b1*b1)*(i1*i1) - i1) + (e1*e1)*q1 - 2*e1*x2))
    out[11] += w * (d1*(e1*q1 - x2))
    out[12] += w * (d1*q1)
    x3 = P2*x1
    out[13] += w * (d2*(e2*q2 - x3))
    out[14] += w * (d2*(R2*((b2*b2)*(i2*i2) - i2) + (e2*e2)*q2 - 2*e2*x3))


@njit(cache=True, error_model="numpy")
def atoms_01(out, w, order, first, second, A00, L):
    b1, i1, g1, e1, m1, r1, d1, R1, P1, q1, A10 = first
    b2, i2, g2, e2, m2, r2, d2, R2, P2, q2, A01 = second
    out[0] += w * (A01)
    if order == 0:
        return
    out[1] += w * (P1*d1)
    out[2] += w * (P2*d2)
    x0 = P2*g2
    x1 = b2*i2
    out[3] += w * (d2*(-R2*x1 - x0))
    out[4] += w * (L)
    out[5] += w * (R2*d2)
    if order == 1:
        return
    x2 = b1*i1
    out[6] += w * (d1*(-P1*x2 - g1*q1))
    x3 = d1*q1
    out[7] += w * (x3)
    out[8] += w * (d2*(-P2*x1 - g2*q2))
    x4 = (b2*b2)
    x5 = (i2*i2)
    x6 = -i2 + x4*x5
    out[9] += w * (d2*(R2*x6 + (g2*g2)*q2 + 2*x0*x1))
    x7 = m1*r1
    out[10] += w * (d1*(P1*((b1*b1)*(i1*i1) - i1) + q1*(-(e1*e1)*x7 - 2*e1*x2)))
    out[11] += w * (x3*(-e1*x7 - x2))
    out[12] += w * (-x3*x7)
    x8 = g2*m2*r2
    x9 = e2*i2
    out[13] += w * (d2*(P2*x6 + q2*(b2*(g2*i2 - x9) + e2*x8)))
    out[14] += w * (d2*(P2*(g2*i2 + x4*(2*e2*x5 - g2*x5) - 2*x9) + R2*b2*(-(i2*i2*i2)*x4 + 3*x5) + q2*(b2*e2*(2*g2*i2 - x9) + (e2*e2)*x8)))


@njit(cache=True, error_model="numpy")
def atoms_11(out, w, order, first, second, A00, L):
    b1, i1, g1, e1, m1, r1, d1, R1, P1, q1, A10 = first
    b2, i2, g2, e2, m2, r2, d2, R2, P2, q2, A01 = second
    out[0] += w * (L)
    if order == 0:
        return
    x0 = b1*i1
    out[1] += w * (d1*(-P1*x0 - g1*q1))
    x1 = d1*q1
    out[2] += w * (x1)
    x2 = P2*b2
    out[3] += w * (d2*(-g2*q2 - i2*x2))
    out[4] += w * (P1*d1)
    out[5] += w * (P2*d2)
    if order == 1:
        return
    x3 = (b1*b1)
    x4 = (i1*i1)
    x5 = -i1 + x3*x4
    x6 = m1*r1
    out[6] += w * (d1*(P1*x5 + q1*(-(g1*g1)*x6 + 2*g1*x0)))
    out[7] += w * (x1*(g1*m1*r1 - x0))
    out[8] += w * (-x1*x6)
    x7 = (b2*b2)
    x8 = (i2*i2)
    x9 = -i2 + x7*x8
    x10 = g2*i2
    out[9] += w * (d2*(P2*x9 + q2*(2*b2*x10 - (g2*g2)*m2*r2)))
    x11 = g1*i1
    x12 = e1*i1
    x13 = (e1*e1)*g1
    x14 = (m1*m1)*r1
    x15 = m1*x12
    x16 = m1*x11
    out[10] += w * (d1*(P1*b1*(-(i1*i1*i1)*x3 + 3*x4) + q1*(r1*(b1*e1*(x15 - 2*x16) - x13*x14 + x13) + x11 - 2*x12 + x3*(2*e1*x4 - g1*x4))))
    x17 = e1*g1
    out[11] += w * (x1*(r1*(b1*(x15 - x16) - x14*x17 + x17) + x5))
    out[12] += w * (r1*x1*(-g1*x14 + g1 + m1*x0))
    x18 = e2*g2
    x19 = (m2*m2)*r2
    x20 = e2*i2
    x21 = m2*x20
    x22 = m2*x10
    out[13] += w * (d2*q2*(r2*(b2*(x21 - x22) - x18*x19 + x18) + x9))
    x23 = (e2*e2)*g2
    out[14] += w * (d2*(q2*(r2*(b2*e2*(x21 - 2*x22) - x19*x23 + x23) + x10 - 2*x20 + x7*(2*e2*x8 - g2*x8)) + x2*(-(i2*i2*i2)*x7 + 3*x8)))


@njit(cache=True, error_model="numpy")
def atoms_02(out, w, order, first, second, A00, L):
    b1, i1, g1, e1, m1, r1, d1, R1, P1, q1, A10 = first
    b2, i2, g2, e2, m2, r2, d2, R2, P2, q2, A01 = second
    out[0] += w * (R2*d2)
    if order == 0:
        return
    x0 = d1*q1
    out[1] += w * (x0)
    x1 = b2*i2
    out[2] += w * (d2*(-P2*x1 - g2*q2))
    x2 = (g2*g2)
    x3 = P2*g2
    x4 = 2*x1
    x5 = (b2*b2)
    x6 = (i2*i2)
    x7 = x5*x6
    x8 = -i2 + x7
    out[3] += w * (d2*(R2*x8 + q2*x2 + x3*x4))
    out[4] += w * (P2*d2)
    out[5] += w * (d2*(-R2*x1 - x3))
    if order == 1:
        return
    x9 = b1*i1
    out[6] += w * (x0*(g1*m1*r1 - x9))
    out[7] += w * (-m1*r1*x0)
    out[8] += w * (d2*(P2*x8 + q2*(g2*x4 - m2*r2*x2)))
    x10 = i2*x2
    x11 = (i2*i2*i2)
    x12 = b2*(-x11*x5 + 3*x6)
    out[9] += w * (d2*(P2*(3*g2*i2 - 3*g2*x7) + R2*x12 + q2*(-3*b2*x10 + (g2*g2*g2)*m2*r2)))
    x13 = (e1*e1)
    x14 = m1*x9
    x15 = (m1*m1)*r1
    out[10] += w * (x0*((b1*b1)*(i1*i1) - i1 + r1*(2*e1*x14 + x13*x15 - x13)))
    x16 = r1*x0
    out[11] += w * (x16*(e1*x15 - e1 + x14))
    out[12] += w * (x16*(x15 - 1))
    x17 = e2*i2
    x18 = e2*x6
    x19 = g2*x6
    x20 = e2*x2
    x21 = (m2*m2)*r2
    x22 = 2*g2*m2*x17
    out[13] += w * (d2*(P2*x12 + q2*(2*g2*i2 + r2*(b2*(i2*m2*x2 - x22) + x20*x21 - x20) - x17 + x5*(x18 - 2*x19))))
    x23 = (e2*e2)*x2
    out[14] += w * (d2*(P2*b2*(6*x18 - 6*x19 + x5*(-2*e2*x11 + 2*g2*x11)) + R2*(x5*((i2*i2*i2*i2)*x5 - 6*x11) + 3*x6) + q2*(e2*(4*g2*i2 - x17) + r2*(b2*e2*(2*i2*m2*x2 - x22) + x21*x23 - x23) - x10 + x5*(e2*(x18 - 4*x19) + x2*x6))))


@njit(cache=True, error_model="numpy")
def atoms_12(out, w, order, first, second, A00, L):
    b1, i1, g1, e1, m1, r1, d1, R1, P1, q1, A10 = first
    b2, i2, g2, e2, m2, r2, d2, R2, P2, q2, A01 = second
    out[0] += w * (P2*d2)
    if order == 0:
        return
    x0 = b1*i1
    x1 = d1*q1
    out[1] += w * (x1*(g1*m1*r1 - x0))
    x2 = r1*x1
    out[2] += w * (-m1*x2)
    x3 = (b2*b2)
    x4 = (i2*i2)
    x5 = x3*x4
    x6 = b2*i2
    x7 = 2*g2
    x8 = (g2*g2)
    x9 = m2*x8
    out[3] += w * (d2*(P2*(-i2 + x5) + q2*(-r2*x9 + x6*x7)))
    out[4] += w * (x1)
    out[5] += w * (d2*(-P2*x6 - g2*q2))
    if order == 1:
        return
    x10 = (b1*b1)
    x11 = (i1*i1)
    x12 = (g1*g1)
    x13 = g1*m1
    x14 = (m1*m1)
    out[6] += w * (x1*(-i1 + r1*(r1*x12*x14 - 2*x0*x13 - x12) + x10*x11))
    x15 = r1*x14
    out[7] += w * (x2*(-g1*x15 + g1 + m1*x0))
    out[8] += w * (x2*(x15 - 1))
    x16 = (i2*i2*i2)
    x17 = b2*(-x16*x3 + 3*x4)
    x18 = 3*g2
    x19 = (g2*g2*g2)
    x20 = i2*x8
    x21 = m2*x20
    x22 = (m2*m2)
    out[9] += w * (d2*(P2*x17 + q2*(i2*x18 + r2*(3*b2*x21 - r2*x19*x22 + x19) - x18*x5)))
    x23 = e1*i1
    x24 = g1*i1
    x25 = m1*x11
    x26 = (e1*e1)
    x27 = 3*x13
    x28 = (m1*m1*m1)
    x29 = g1*r1*x28
    x30 = x14*x23
    out[10] += w * (x1*(b1*(-(i1*i1*i1)*x10 + 3*x11) + r1*(b1*(b1*(-2*e1*x25 + g1*m1*x11) + e1*(x23 - 2*x24)) + 2*m1*x23 - m1*x24 + r1*(b1*e1*(2*g1*i1*x14 - x30) - x26*x27 + x26*x29))))
    out[11] += w * (x2*(b1*(-b1*x25 + e1*i1 - x24) + i1*m1 + r1*(b1*(g1*i1*x14 - x30) - e1*x27 + e1*x29)))
    out[12] += w * (x2*(r1*(g1*r1*x28 - x0*x14 - x27) + x0))
    x31 = e2*m2
    x32 = i2*x31
    x33 = e2*i2*x7
    x34 = x31*x4
    x35 = 3*x9
    x36 = (m2*m2*m2)*r2*x8
    x37 = x22*x33
    x38 = x20*x22
    out[13] += w * (d2*q2*(r2*(b2*(b2*(2*g2*m2*x4 - x34) + x20 - x33) - i2*m2*x7 + r2*(b2*(x37 - x38) + e2*x35 - e2*x36) + x32) + x17))
    x39 = 6*x4
    x40 = (e2*e2)
    out[14] += w * (d2*(P2*(x3*((i2*i2*i2*i2)*x3 - 6*x16) + 3*x4) + q2*(b2*(e2*x39 - g2*x39 + x3*(-2*e2*x16 + 2*g2*x16)) + r2*(b2*(b2*(e2*(4*g2*m2*x4 - x34) - x4*x9) + e2*(2*i2*x8 - x33)) + e2*(-4*g2*i2*m2 + x32) + r2*(b2*e2*(x37 - 2*x38) + x35*x40 - x36*x40) + x21))))


@njit(cache=True, error_model="numpy")
def atoms_22(out, w, order, first, second, A00, L):
    b1, i1, g1, e1, m1, r1, d1, R1, P1, q1, A10 = first
    b2, i2, g2, e2, m2, r2, d2, R2, P2, q2, A01 = second
    x0 = d1*q1
    out[0] += w * (x0)
    if order == 0:
        return
    x1 = (b1*b1)
    x2 = (i1*i1)
    x3 = x1*x2
    x4 = (g1*g1)
    x5 = b1*i1
    x6 = m1*x5
    x7 = 2*g1
    x8 = (m1*m1)
    out[1] += w * (x0*(-i1 + r1*(r1*x4*x8 - x4 - x6*x7) + x3))
    x9 = r1*x8
    x10 = r1*x0
    out[2] += w * (x10*(-g1*x9 + g1 + x6))
    out[3] += w * (x10*(x9 - 1))
    out[4] += w * (x0*(g1*m1*r1 - x5))
    out[5] += w * (-m1*r1*x0)
    if order == 1:
        return
    x11 = (i1*i1*i1)
    x12 = i1*m1
    x13 = g1*x12
    x14 = i1*x4
    x15 = 3*x2
    x16 = b1*m1
    x17 = (g1*g1*g1)
    x18 = 3*m1
    x19 = (m1*m1*m1)
    x20 = 3*x4
    x21 = x5*x8
    out[6] += w * (x0*(b1*(-x1*x11 + 3*x2) + r1*(b1*(g1*x15*x16 + 3*x14) + r1*(r1*x17*x19 - x17*x18 - x20*x21) - 3*x13)))
    x22 = g1*i1
    x23 = 2*x22
    x24 = r1*x19
    out[7] += w * (x10*(b1*(-x16*x2 - x23) + r1*(x18*x4 + x21*x7 - x24*x4) + x12))
    out[8] += w * (x10*(r1*(g1*r1*x19 - g1*x18 - x21) + x5))
    out[9] += w * ((r1*r1)*x0*(3*m1 - x24))
    x25 = e1*i1
    x26 = e1*x2
    x27 = 6*m1
    x28 = g1*x2
    x29 = x2*x4
    x30 = m1*x11
    x31 = i1*x8
    x32 = x20 - x31
    x33 = e1*x32
    x34 = (e1*e1)
    x35 = 6*x4
    x36 = x35*x8
    x37 = (m1*m1*m1*m1)
    x38 = r1*x37*x4
    x39 = x19*x7
    x40 = x25*x39
    x41 = 6*x13
    x42 = e1*x41
    x43 = x26*x8
    out[10] += w * (x0*(r1*(b1*(b1*(b1*(2*e1*x30 - x30*x7) + e1*(4*g1*x2 - x26) - x29) - x26*x27 + x27*x28) + e1*(-4*x22 + x25) + r1*(b1*(b1*(e1*(-4*x28*x8 + x43) + x29*x8) + e1*(-x12*x35 + x42)) + e1*(4*g1*x31 + x33) + r1*(b1*e1*(2*i1*x19*x4 - x40) - x34*x36 + x34*x38) - x14*x8) + x14) + x1*((i1*i1*i1*i1)*x1 - 6*x11) + x15))
    x44 = 2*x28
    out[11] += w * (x10*(b1*(b1*(x11*x16 - x26 + x44) - m1*x15) + r1*(b1*(b1*(x43 - x44*x8) - x12*x20 + x42) + r1*(b1*(i1*x19*x4 - x40) - e1*x36 + e1*x38) + x31*x7 + x33) - x23 + x25))
    out[12] += w * (x10*(i1 + r1*(b1*(b1*x2*x8 + x41) + r1*(r1*x37*x4 - x36 - x39*x5) + x32) - x3))
    x45 = e2*i2
    x46 = 2*g2
    x47 = (i2*i2)
    x48 = 3*x47
    x49 = e2*x47
    x50 = x46*x47
    x51 = (i2*i2*i2)
    x52 = m2*x51
    x53 = (m2*m2)
    x54 = i2*x53
    x55 = (g2*g2)
    x56 = 3*x55
    x57 = e2*(-x54 + x56)
    x58 = 6*m2
    x59 = g2*x58
    x60 = x45*x59
    x61 = x49*x53
    x62 = e2*x55
    x63 = 6*x53
    x64 = (m2*m2*m2*m2)*r2
    x65 = (m2*m2*m2)
    x66 = x45*x46*x65
    x67 = d2*q2
    out[13] += w * (r2*x67*(b2*(b2*(b2*x52 - x49 + x50) - m2*x48) - i2*x46 + r2*(b2*(b2*(-x50*x53 + x61) - i2*m2*x56 + x60) + r2*(b2*(i2*x55*x65 - x66) - x62*x63 + x62*x64) + x46*x54 + x57) + x45))
    x68 = (b2*b2)
    x69 = i2*x55
    x70 = 4*g2
    x71 = x47*x55
    x72 = (e2*e2)*x55
    out[14] += w * (x67*(r2*(b2*(b2*(b2*(2*e2*x52 - x46*x52) + e2*(4*g2*x47 - x49) - x71) + x47*x59 - x49*x58) + e2*(-i2*x70 + x45) + r2*(b2*(b2*(e2*(-x47*x53*x70 + x61) + x53*x71) + e2*(-x58*x69 + x60)) + e2*(x54*x70 + x57) + r2*(b2*e2*(2*i2*x55*x65 - x66) - x63*x72 + x64*x72) - x54*x55) + x69) + x48 + x68*((i2*i2*i2*i2)*x68 - 6*x51)))
