"""Elementary functions that the compiler turns into vector code.

A call of the C library costs about 10 ns per number and stops the vectoriser; the functions here
are straight lines of additions, multiplications and selects, so that a loop over an array that
calls them runs on the widest vectors of the machine. They are scalar numba functions, inlined into
whatever jitted loop calls them.

Methods: argument reduction by multiples of log 2 in two pieces (Cody and Waite, Software Manual for
the Elementary Functions, 1980); rounding by adding 1.5 * 2**52, powers of two from the exponent
bits through an int64 view; logarithm through atanh; normal tail as a polynomial in (a - 5)/(a + 5)
after Shepherd and Laframboise (Math. Comp. 36, 1981); so is the mean of a ramp there. The
polynomials interpolate at Chebyshev nodes, computed with 50 digits by
``scripts/make_coefficients.py``.

Stated errors are relative, in units of 2**-53 = 1.1e-16, where the result is a normal number;
``tests/test_vector_math.py`` reads them here and checks them.
NaN goes in and out; infinite results appear only where the true value overflows.
"""

from __future__ import annotations

import numpy as np

from ..compiler import njit

# Only contraction to fused multiply-adds is allowed: the tricks below would not survive
# reassociation.
scalar = njit(optimised=True, forceinline=True, error_model="numpy", fastmath={"contract"})

LOG2_E = 1.4426950408889634
LN2 = 0.6931471805599453
LN2_HI = 6.93147180369123816490e-01  # 32 bits, so that multiples up to 2**21 are exact
LN2_LO = 1.90821492927058770002e-10
ROUND = (
    6755399441055744.0  # 1.5 * 2**52: adding it rounds to an integer, which appears in the low bits
)
INV_SQRT_2PI = 0.3989422804014327
TAIL_END = 39.0  # the density exp(-a^2/2) of this argument is zero in float64


@scalar
def power_of_two(rounded):
    """``2**n`` from ``rounded = n + ROUND``, -1023 < n < 1024."""
    bits = np.float64(rounded).view(np.int64)
    return np.int64((bits + 1023) << 52).view(np.float64)


@scalar
def exp_parts(x, low):
    """``(s1, s2, p)`` with ``exp(x + low) = s1 s2 (1 + p)``, s1 and s2 powers of two, -0.3 < p <
    0.42.

    ``low`` is a small correction to x beyond its last bit. Two factors, since neither the largest
    nor the smallest results have a scale that is a normal number.
    """
    x = 710.0 if x > 710.0 else x
    x = -746.0 if x < -746.0 else x
    n = (x * LOG2_E + ROUND) - ROUND
    r = (x - n * LN2_HI) - n * LN2_LO + low
    q = 2.0914679452495193e-09 * r + 2.5105206480259365e-08
    q = q * r + 2.755727366116628e-07
    q = q * r + 2.755725542549107e-06
    q = q * r + 2.480158732553351e-05
    q = q * r + 0.00019841269874800694
    q = q * r + 0.0013888888888883752
    q = q * r + 0.008333333333326141
    q = q * r + 0.04166666666666667
    q = q * r + 0.1666666666666667
    q = q * r + 0.5
    p = r + (r * r) * q
    half = 0.5 * n + ROUND
    rest = (n - (half - ROUND)) + ROUND
    return power_of_two(half), power_of_two(rest), p


@scalar
def exp_(x):
    """exp(x), error 2 units; subnormal results are rounded once, overflow gives inf."""
    s1, s2, p = exp_parts(x, 0.0)
    return (s1 + s1 * p) * s2


@scalar
def exp_pair(x):
    """``(exp(x), exp(x) - 1)`` for x <= 0 at the price of one exponential, each with an error of 2
    units.
    """
    s1, s2, p = exp_parts(x, 0.0)
    s = s1 * s2
    return (s1 + s1 * p) * s2, (s - 1.0) + s * p


@scalar
def expm1_(x):
    """exp(x) - 1, error 2 units."""
    s1, s2, p = exp_parts(x, 0.0)
    s = s1 * s2
    return (s1 + s1 * p) * s2 - 1.0 if x > 40.0 else (s - 1.0) + s * p


@scalar
def _log1p_reduced(f):
    """log(1 + f) for sqrt(1/2) - 1 <= f <= sqrt(2) - 1, as f - f^2/2 + a series in s =
    f/(2 + f).
    """
    s = f / (2.0 + f)
    z = s * s
    q = 0.13088034850927555 * z + 0.13268638369266825
    q = q * z + 0.15386244737621665
    q = q * z + 0.18181795547521137
    q = q * z + 0.22222222392581045
    q = q * z + 0.28571428570799784
    q = q * z + 0.40000000000000885
    q = q * z + 0.6666666666666666
    h = 0.5 * f * f
    return f - (h - s * (h + z * q))


@scalar
def log1p_unit(e):
    """log(1 + e) for 0 <= e <= 1, error 2 units."""
    large = e > 0.41421356237309503
    f = 0.5 * (e - 1.0) if large else e
    y = _log1p_reduced(f)
    return y + LN2 if large else y


@scalar
def log_(x):
    """log(x) for x > 0 (subnormal x included), error 2 units; log(0) = -inf, NaN for x < 0."""
    tiny = x < 2.2250738585072014e-308
    y = x * 18014398509481984.0 if tiny else x  # 2**54
    bits = np.float64(y).view(np.int64)
    n = (bits - 0x3FE6A09E667F3BCD) >> 52  # exponent relative to sqrt(1/2)
    f = np.int64(bits - (n << 52)).view(np.float64) - 1.0
    k = np.float64(n) - (54.0 if tiny else 0.0)
    y = k * LN2_HI + (_log1p_reduced(f) + k * LN2_LO)
    y = np.inf if x == np.inf else y
    y = -np.inf if x == 0.0 else y
    return y if x >= 0.0 else np.nan


@scalar
def log1p_(x):
    """log(1 + x) for x > -1, error 3 units."""
    u = 1.0 + x
    rest = x - (u - 1.0) if x < 1e17 else 0.0  # what the sum lost
    y = log_(u) + rest / u
    return y if u > 0.0 and u < np.inf else log_(u)


@scalar
def normal_tail(a):
    """``(exp(-a^2/2), 1 - Phi(a))`` for 0 <= a <= 39, relative errors 2 and 8 units.

    a^2 is split into a part whose square is exact and a small rest: rounding a^2/2 = 700 would cost
    three digits.
    """
    high = np.int64(np.float64(a).view(np.int64) & -134217728).view(np.float64)  # the upper 26 bits
    s1, s2, p = exp_parts(-0.5 * (high * high), -0.5 * ((a + high) * (a - high)))
    density = (s1 + s1 * p) * s2
    d = 1.0 / (a + 5.0)
    t = (a - 5.0) * d
    q = -1.4191921893580604e-10 * t - 7.842796363635921e-10
    q = q * t + 1.322102962781694e-09
    q = q * t + 9.268659037027118e-09
    q = q * t - 7.068045653980906e-09
    q = q * t - 6.740161179772032e-08
    q = q * t + 3.87533092243584e-08
    q = q * t + 4.334561019475754e-07
    q = q * t - 3.337060350835977e-07
    q = q * t - 2.768861633372941e-06
    q = q * t + 3.979457180792049e-06
    q = q * t + 1.6680843519640492e-05
    q = q * t - 4.976236467507681e-05
    q = q * t - 5.9375585163440916e-05
    q = q * t + 0.0005448989774454366
    q = q * t - 0.0007978694284287862
    q = q * t - 0.002993376760347635
    q = q * t + 0.02079506680331947
    q = q * t - 0.06911863870695671
    q = q * t + 0.16502036617018967
    q = q * t - 0.31353315667128584
    q = q * t + 0.49530561596998063
    q = q * t - 0.6653825028900568
    q = q * t + 0.769193049750063
    return density, density * (q * d)


@scalar
def ramp_tail(a):
    """``(exp(-a^2/2), 1 - Phi(a), E (x - a)_+)`` of standard normal x for 0 <= a <= 39, relative
    errors 2, 8 and 12 units.

    The mean of the ramp is ``phi(a) - a (1 - Phi(a))``, a difference that loses a factor of a^2 if
    taken as such.
    """
    density, tail = normal_tail(a)
    d = 1.0 / (a + 5.0)
    t = (a - 5.0) * d
    q = -2.8460765997866093e-08 * t + 2.4980980184265374e-08
    q = q * t + 2.647945700736663e-07
    q = q * t - 3.4638615197394996e-07
    q = q * t - 1.0205033754780521e-06
    q = q * t + 2.2048119670035113e-06
    q = q * t + 1.2351049543176194e-06
    q = q * t - 8.023624282000317e-06
    q = q * t + 6.841325414588088e-06
    q = q * t + 1.402349216002582e-05
    q = q * t - 4.313503701525989e-05
    q = q * t + 2.2053256410080834e-05
    q = q * t + 0.00010842442531022823
    q = q * t - 0.00023635031910593308
    q = q * t - 3.5254213443684073e-06
    q = q * t + 0.000760070956223514
    q = q * t - 0.0010814002951812778
    q = q * t - 0.0007879895972313888
    q = q * t + 0.004398070849790098
    q = q * t - 0.004041614482017188
    q = q * t - 0.006933593707280708
    q = q * t + 0.0222324129150875
    q = q * t - 0.014677291755175698
    q = q * t - 0.04060626225270103
    q = q * t + 0.11308979127835032
    q = q * t - 0.08631347401691757
    q = q * t - 0.18497224415261287
    q = q * t + 0.738635001014321
    q = q * t - 1.4046037904528013
    q = q * t + 1.8650396712584212
    return density, tail, tail * (q * d)


@scalar
def clipped_magnitude(x):
    """|x|, at most 39."""
    a = abs(x)
    return TAIL_END if a > TAIL_END else a


@scalar
def normal_cdf_(x):
    """Standard normal distribution function, error 8 units, relative to the value also in the lower
    tail.
    """
    tail = normal_tail(clipped_magnitude(x))[1]
    return 1.0 - tail if x > 0.0 else tail


@scalar
def erf_scaled(x):
    """``(erf(x/sqrt 2), exp(-x^2/2))``, errors 3 and 2 units."""
    a = clipped_magnitude(x)
    density, tail = normal_tail(a)
    z = 1.0 if a > 1.0 else a * a
    q = 8.148653954853255e-12 * z - 2.212865656551178e-10
    q = q * z + 4.5408275171352e-09
    q = q * z - 8.244821502832163e-08
    q = q * z + 1.3319359759310462e-06
    q = q * z - 1.888931158620769e-05
    q = q * z + 0.00023086937503311882
    q = q * z - 0.0023746564309360687
    q = q * z + 0.019947114020070045
    q = q * z - 0.13298076013381085
    q = q * z + 0.7978845608028654
    y = 1.0 - 2.0 * tail if a > 1.0 else a * q
    return np.copysign(y, x), density
