"""Moments of ramps, steps and delta functions with mpmath: orthant probabilities by quadrature, the
rest by definition.

The recursion is written for any number of variables and one factor at a time, without the short
cuts of ``infflow.integrals.fourth.orthant_kernels``: ramps are integrated up from steps by Stein's
lemma, delta functions by conditioning.
"""

import mpmath as mp


def orthant(C):
    """P(x > 0) for an mpmath covariance matrix of size up to 4."""
    k = C.rows
    if k == 0:
        return mp.mpf(1)
    if k == 1:
        return mp.mpf(1) / 2

    def angle(i, j):
        return mp.asin(C[i, j] / mp.sqrt(C[i, i] * C[j, j]))

    angles = mp.fsum(angle(i, j) for i in range(k) for j in range(i))
    if k == 2:
        return mp.mpf(1) / 4 + angles / (2 * mp.pi)
    if k == 3:
        return mp.mpf(1) / 8 + angles / (4 * mp.pi)

    def slope(
        t,
    ):  # of P along C(t) = t C + (1 - t) diag(C), Plackett (1954), summed over the six pairs
        total = mp.mpf(0)
        D = C.copy()
        for i in range(4):
            for j in range(4):
                if i != j:
                    D[i, j] *= t
        for i in range(4):
            for j in range(i):
                rest = [r for r in range(4) if r not in (i, j)]
                det = D[i, i] * D[j, j] - D[i, j] ** 2
                total += (
                    C[i, j]
                    * orthant(given_zero(given_zero(D, [i]), [j]))
                    / (2 * mp.pi * mp.sqrt(det))
                )
                assert len(rest) == 2
        return total

    return mp.mpf(1) / 16 + mp.quad(slope, [0, mp.mpf(1) / 2, 1])


def given_zero(C, indices):
    """Covariance of the other variables given that one is 0."""
    (r,) = indices
    others = [q for q in range(C.rows) if q != r]
    return mp.matrix(
        [[C[i, j] - C[i, r] * C[r, j] / C[r, r] for j in others] for i in others] or [[]]
    )


def moment(p, C):
    """E[product of rho^(p_r)(x_r)] for p_r <= 2."""
    for r, order in enumerate(p):
        if order == 2:
            others = [q for q in range(len(p)) if q != r]
            if not others:
                return 1 / mp.sqrt(2 * mp.pi * C[r, r])
            return moment([p[q] for q in others], given_zero(C, [r])) / mp.sqrt(2 * mp.pi * C[r, r])
    for r, order in enumerate(p):
        if order <= 0:
            total = mp.mpf(0)
            for q in range(len(p)):
                higher = list(p)
                higher[r] += 1
                higher[q] += 1
                total += C[r, q] * moment(higher, C)
            return total / (1 - order)
    return orthant(C)
