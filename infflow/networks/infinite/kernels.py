"""Assembly of the infinite-data loss and its derivatives from pair jets, on plain arrays.

Notation: ``n`` neurons in the order K students, the constant neuron (output bias), M teachers;
``W`` (n, D) weights, ``b`` (n,) biases, ``B`` (n, O) output weights, those of the teacher with a
minus sign, so that the residual network is sum_j B_j f_j(w_j.x + b_j) and, with S = B B',

    L = sum_ij S_ij Phi_ij,    Phi_ij = E[f_i(h_i) f_j(h_j)].

``gram`` (K, n) holds w_i.w_j, ``jets`` (K, n, 1 | 6 | 21) the slots of
:mod:`infflow.integrals.jets`. The fourth-order slots live in the frame w_j = c
w_i + a, where a is perpendicular to w_i, because the plain moments of kinked
neurons diverge as the two become parallel while the assembled sum does not.
"""

from __future__ import annotations

import numpy as np

from ...compiler import njit
from ...integrals.jets import (
    B11,
    B20,
    EXCHANGE,
    F11,
    F13,
    F22,
    F31,
    F40,
    J00,
    J01,
    J02,
    J10,
    J11,
    J20,
    M12,
    M12B,
    M21,
    M21B,
    M30,
)

_SWAP = np.array(EXCHANGE)

# A perpendicular part below this fraction of the neuron's length is rounding: the two are parallel.
_PARALLEL = 4 * np.finfo(np.float64).eps
# Above this 1 - u^2, C11 C22 - C12^2 loses less than a digit and needs no vectors.
_OBLIQUE = 0.1


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def perpendicular_part(wi, wj, cii, cij, a):
    """Write the part of ``wj`` perpendicular to ``wi`` into ``a``; return its squared length.

    The fused multiply-add rounds each entry once, and the second projection removes what the
    rounding of c = cij/cii left along ``wi``, so that the length has full relative accuracy.
    """
    c = cij / cii if cii > 0.0 else 0.0
    along = 0.0
    for d in range(wi.size):
        a[d] = wj[d] - c * wi[d]
        along += a[d] * wi[d]
    along = along / cii if cii > 0.0 else 0.0
    squared = 0.0
    for d in range(wi.size):
        a[d] -= along * wi[d]
        squared += a[d] * a[d]
    return squared


@njit(forceinline=True, error_model="numpy")
def determinant(W1, i, W2, j, cii, cij, cjj, work):
    """Gram determinant cii cjj - cij^2 of two rows, accurate also for nearly parallel ones, 0 for
    parallel ones.
    """
    product = cii * cjj
    plain = product - cij * cij
    if plain > _OBLIQUE * product:
        return plain
    squared = perpendicular_part(W1[i], W2[j], cii, cij, work)
    if squared <= _PARALLEL * _PARALLEL * cjj:
        return 0.0
    return cii * squared


@njit(cache=True, error_model="numpy")
def pair_arguments(W, b, gram, norms, out):
    """Arguments of all pairs i < K, j >= i: rows C11, C12, C22, b1, b2, det of ``out``
    (6, pairs).
    """
    K, n = gram.shape
    work = np.empty(W.shape[1])
    r = 0
    for i in range(K):
        for j in range(i, n):
            out[0, r] = norms[i]
            out[1, r] = norms[i] if j == i else gram[i, j]
            out[2, r] = norms[j]
            out[3, r] = b[i]
            out[4, r] = b[j]
            out[5, r] = (
                0.0 if j == i else determinant(W, i, W, j, norms[i], gram[i, j], norms[j], work)
            )
            r += 1


@njit(cache=True)
def spread(rows, full):
    """Copy the jets of the pairs i <= j into the full table (K, n, m), mirrored for j < i."""
    K, n, m = full.shape
    r = 0
    for i in range(K):
        for j in range(i, n):
            for s in range(m):
                full[i, j, s] = rows[r, s]
            if i < j < K:
                for s in range(m):
                    full[j, i, s] = rows[r, _SWAP[s]]
            r += 1


@njit(cache=True)
def value(S, B, jets, teacher_mean, teacher_square):
    """The loss, and the sum of the absolute terms that it is the sum of."""
    K, n = jets.shape[0], jets.shape[1]
    value = 0.0
    scale = 0.0
    for i in range(K):
        for j in range(n):
            term = S[i, j] * jets[i, j, J00]
            if j >= K:
                term *= 2.0
            value += term
            scale += abs(term)
    square = 0.0
    product = 0.0
    for o in range(B.shape[1]):
        square += B[K, o] * B[K, o]
        product += B[K, o] * teacher_mean[o]
    return value + (teacher_square + square + 2.0 * product), scale + teacher_square + square


@njit(cache=True)
def gradient(S, B, jets, teacher_mean, hidden_bias, output_bias, coef, out):
    """First derivatives but those with respect to W, in the order and with the flags
    of :func:`hessian`.

    ``coef`` (K, n) receives the coefficients of the gradient with respect to w_i on the rows of W.
    """
    K, n = jets.shape[0], jets.shape[1]
    O = B.shape[1]
    oc = out.size - (O if output_bias else 0)
    oA = oc - O * K
    ob = oA - (K if hidden_bias else 0)
    for i in range(K):
        own = 0.0
        gb = 0.0
        for o in range(O):
            out[oA + o * K + i] = 0.0
        for j in range(n):
            s = 2.0 * S[i, j]
            own += s * jets[i, j, J20]
            coef[i, j] = s * jets[i, j, J11]
            gb += s * jets[i, j, J10]
            for o in range(O):
                out[oA + o * K + i] += 2.0 * B[j, o] * jets[i, j, J00]
        coef[i, i] += own
        if hidden_bias:
            out[ob + i] = gb
    if output_bias:
        for o in range(O):
            total = 0.0
            for i in range(K):
                total += 2.0 * B[i, o] * jets[i, K, J00]
            out[oc + o] = total + 2.0 * (B[K, o] + teacher_mean[o])


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def frame(W, i, gram, norms, A):
    """Rows a_j = w_j - c_ij w_i for all j, refined where w_j is nearly parallel to w_i."""
    for j in range(W.shape[0]):
        cij = norms[i] if j == i else gram[i, j]
        if j == i:
            for d in range(W.shape[1]):
                A[j, d] = 0.0
        elif norms[i] * norms[j] - cij * cij > _OBLIQUE * norms[i] * norms[j]:
            c = cij / norms[i]
            for d in range(W.shape[1]):
                A[j, d] = W[j, d] - c * W[i, d]
        else:
            perpendicular_part(W[i], W[j], norms[i], cij, A[j])


@njit(cache=True)
def diagonal_block(W, i, S, jets, A, block):
    """d2L/dw_i^2 (D, D): all pairs of neuron i through its first place, and itself through both."""
    n, D = W.shape
    weighted = np.empty((n, D))
    identity = 2.0 * S[i, i] * jets[i, i, J11]
    own = 2.0 * S[i, i] * jets[i, i, F11]
    v = np.zeros(D)
    for j in range(n):
        s = 2.0 * S[i, j]
        identity += s * jets[i, j, J20]
        own += s * jets[i, j, F40]
        f31 = s * jets[i, j, F31]
        f22 = s * jets[i, j, F22]
        for d in range(D):
            v[d] += f31 * A[j, d]
            weighted[j, d] = f22 * A[j, d]
    np.dot(A.T, weighted, block)
    w = W[i]
    for d in range(D):
        for e in range(d):
            block[d, e] += own * w[d] * w[e] + w[d] * v[e] + v[d] * w[e]
            block[e, d] = block[d, e]
        block[d, d] += own * w[d] * w[d] + 2.0 * w[d] * v[d] + identity


@njit(cache=True, fastmath={"contract"})
def mixed_block(wi, wk, a, b, s, jet, block):
    """Fill ``block`` (D, D) with s d2Phi/dw_i dw_k, where a = w_k - c w_i and b = w_i - c' w_k."""
    D = wi.size
    f11 = s * jet[F11]
    f31 = s * jet[F31]
    f13 = s * jet[F13]
    f22 = s * jet[F22]
    for d in range(D):
        p = f11 * wi[d] + f13 * a[d]
        q = f31 * wi[d] + f22 * a[d]
        for e in range(D):
            block[d, e] = p * wk[e] + q * b[e]
        block[d, d] += s * jet[J11]


@njit(cache=True)
def put(block, row, column, H):
    """Copy a block into H and mirror it. Assigning to slices would make numba compile error
    messages for seconds.
    """
    for d in range(block.shape[0]):
        for e in range(block.shape[1]):
            H[row + d, column + e] = H[column + e, row + d] = block[d, e]


@njit(cache=True, error_model="numpy")
def hessian(W, B, S, gram, norms, jets, hidden_bias, output_bias, H):
    """Fill the Hessian (P, P) in the order W (K, D), b (K,), output weights (O, K), output bias
    (O,).

    Bias rows are left out where the flags say so.
    """
    K = jets.shape[0]
    n, D = W.shape
    O = B.shape[1]
    ob = K * D
    oA = ob + (K if hidden_bias else 0)
    oc = oA + O * K
    A = np.empty((n, D))
    b = np.empty(D)
    block = np.empty((D, D))
    for i in range(K):
        frame(W, i, gram, norms, A)
        diagonal_block(W, i, S, jets, A, block)
        r = i * D
        put(block, r, r, H)
        for k in range(i + 1, K):
            perpendicular_part(W[k], W[i], norms[k], gram[i, k], b)
            mixed_block(W[i], W[k], A[k], b, 2.0 * S[i, k], jets[i, k], block)
            q = k * D
            put(block, r, q, H)
    if hidden_bias:
        _bias_rows(W, S, jets, ob, H)
    _output_rows(W, B, jets, hidden_bias, ob, oA, H)
    if output_bias:
        _constant_rows(W, B, jets, hidden_bias, ob, oA, oc, H)


@njit(cache=True)
def _bias_rows(W, S, jets, ob, H):
    """Second derivatives with respect to the hidden biases."""
    K, n = jets.shape[0], jets.shape[1]
    D = W.shape[1]
    v = np.empty(D)
    for i in range(K):
        for d in range(D):
            v[d] = 0.0
        bb = 2.0 * S[i, i] * jets[i, i, B11]
        own = 2.0 * S[i, i] * (jets[i, i, M21B] + jets[i, i, M12])
        for j in range(n):
            s = 2.0 * S[i, j]
            bb += s * jets[i, j, B20]
            own += s * jets[i, j, M30]
            m21 = s * jets[i, j, M21]
            for d in range(D):
                v[d] += m21 * W[j, d]
        H[ob + i, ob + i] = bb
        for d in range(D):
            H[i * D + d, ob + i] = H[ob + i, i * D + d] = v[d] + own * W[i, d]
        for k in range(K):
            if k != i:  # derivative with respect to w_i and b_k
                s = 2.0 * S[i, k]
                H[ob + i, ob + k] = s * jets[i, k, B11]
                p = s * jets[i, k, M21B]
                q = s * jets[i, k, M12]
                for d in range(D):
                    H[i * D + d, ob + k] = H[ob + k, i * D + d] = p * W[i, d] + q * W[k, d]


@njit(cache=True)
def _output_rows(W, B, jets, hidden_bias, ob, oA, H):
    """Second derivatives with respect to the output weights of the students."""
    K, n = jets.shape[0], jets.shape[1]
    D = W.shape[1]
    O = B.shape[1]
    v = np.empty(D)
    for o in range(O):
        for i in range(K):
            row = oA + o * K + i
            for p in range(O):
                for k in range(K):
                    H[row, oA + p * K + k] = 2.0 * jets[i, k, J00] if p == o else 0.0
            for k in range(K):
                if k != i:
                    p02 = 2.0 * B[k, o] * jets[i, k, J02]
                    p11 = 2.0 * B[k, o] * jets[i, k, J11]
                    for d in range(D):
                        H[row, k * D + d] = H[k * D + d, row] = p02 * W[k, d] + p11 * W[i, d]
            for d in range(D):
                v[d] = 0.0
            own = 2.0 * B[i, o] * (jets[i, i, J02] + jets[i, i, J11])
            for j in range(n):
                own += 2.0 * B[j, o] * jets[i, j, J20]
                q = 2.0 * B[j, o] * jets[i, j, J11]
                for d in range(D):
                    v[d] += q * W[j, d]
            for d in range(D):
                H[row, i * D + d] = H[i * D + d, row] = own * W[i, d] + v[d]
            if hidden_bias:
                gb = 2.0 * B[i, o] * jets[i, i, J01]
                for j in range(n):
                    gb += 2.0 * B[j, o] * jets[i, j, J10]
                for k in range(K):
                    t = gb if k == i else 2.0 * B[k, o] * jets[i, k, J01]
                    H[row, ob + k] = H[ob + k, row] = t


@njit(cache=True)
def _constant_rows(W, B, jets, hidden_bias, ob, oA, oc, H):
    """Second derivatives with respect to the output bias, the weight of the constant neuron K."""
    K = jets.shape[0]
    D = W.shape[1]
    O = B.shape[1]
    for o in range(O):
        row = oc + o
        for p in range(O):
            H[row, oc + p] = 0.0
        H[row, row] = 2.0
        for k in range(K):
            for p in range(O):
                H[row, oA + p * K + k] = H[oA + p * K + k, row] = (
                    2.0 * jets[k, K, J00] if p == o else 0.0
                )
            t = 2.0 * B[k, o] * jets[k, K, J20]
            for d in range(D):
                H[row, k * D + d] = H[k * D + d, row] = t * W[k, d]
            if hidden_bias:
                H[row, ob + k] = H[ob + k, row] = 2.0 * B[k, o] * jets[k, K, J10]


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def frame_products(W, V, i, j, moving, gram, norms, products, a, b):
    """Whether neurons i and j are nearly parallel, and a.v_i and b.v_j with a = w_j - c w_i, b =
    w_i - c' w_j.

    Nearly parallel ones have ``a`` (D,) filled and their products taken from the vectors; the
    others take the products ``products`` (n, K) = W V' apart.
    """
    cii = norms[i]
    cij = gram[i, j]
    cjj = norms[j]
    if j == i:
        return False, 0.0, 0.0
    if cii * cjj - cij * cij > _OBLIQUE * cii * cjj:
        a_vi = products[j, i] - cij / cii * products[i, i]
        b_vj = products[i, j] - cij / cjj * products[j, j] if moving else 0.0
        return False, a_vi, b_vj
    perpendicular_part(W[i], W[j], cii, cij, a)
    a_vi = 0.0
    b_vj = 0.0
    for d in range(W.shape[1]):
        a_vi += a[d] * V[i, d]
    if moving:
        perpendicular_part(W[j], W[i], cjj, cij, b)
        for d in range(W.shape[1]):
            b_vj += b[d] * V[j, d]
    return True, a_vi, b_vj


@njit(cache=True, fastmath={"contract"}, error_model="numpy")
def hessian_product(W, B, S, gram, norms, jets, V, vb, VB, out_W, out_b, out_B):
    """Hessian times one direction (V (K, D), vb (K,), VB (K + 1, O)) without the Hessian.

    Scalars for the pairs, O(K n), and three matrix products, O(K n D).
    """
    K, n = jets.shape[0], jets.shape[1]
    D = W.shape[1]
    O = B.shape[1]
    products = np.dot(W, V.T)
    on_W = np.zeros((K, n))
    on_V = np.zeros((K, K))
    extra = np.zeros((K, D))
    out_b[:] = 0.0
    out_B[:] = 0.0
    a = np.empty(D)
    b = np.empty(D)
    for i in range(K):
        for j in range(n):
            jet = jets[i, j]
            moving = j < K
            s = 2.0 * S[i, j]
            ds = 0.0
            for o in range(O):
                ds += VB[i, o] * B[j, o]
                if j <= K:
                    ds += B[i, o] * VB[j, o]
            ds *= 2.0
            wi_vi = products[i, i]
            wj_vi = products[j, i]
            wi_vj = 0.0
            wj_vj = 0.0
            vbj = 0.0
            if moving:
                wi_vj = products[i, j]
                wj_vj = products[j, j]
                vbj = vb[j]
            parallel, a_vi, b_vj = frame_products(W, V, i, j, moving, gram, norms, products, a, b)
            # first derivative of Phi in the direction of the two neurons
            along = (
                jet[J20] * wi_vi
                + jet[J11] * (wj_vi + wi_vj)
                + jet[J02] * wj_vj
                + jet[J10] * vb[i]
                + jet[J01] * vbj
            )
            # coefficients of w_i, w_j, a in the product
            on_wi = ds * jet[J20] + s * (
                jet[F40] * wi_vi
                + jet[F31] * (a_vi + b_vj)
                + jet[F11] * wj_vj
                + jet[M30] * vb[i]
                + jet[M21B] * vbj
            )
            on_wj = ds * jet[J11] + s * (jet[M21] * vb[i] + jet[M12] * vbj)
            on_a = s * (jet[F31] * wi_vi + jet[F22] * (a_vi + b_vj) + jet[F13] * wj_vj)
            if parallel:
                for d in range(D):
                    extra[i, d] += on_a * a[d]
            elif j != i:
                on_wj += on_a
                on_wi -= gram[i, j] / norms[i] * on_a
            on_W[i, i] += on_wi
            on_W[i, j] += on_wj
            on_V[i, i] += s * jet[J20]
            if moving:
                on_V[i, j] += s * jet[J11]
            out_b[i] += ds * jet[J10] + s * (
                jet[M30] * wi_vi
                + jet[M21] * (wj_vi + wi_vj)
                + jet[M12B] * wj_vj
                + jet[B20] * vb[i]
                + jet[B11] * vbj
            )
            for o in range(O):
                out_B[i, o] += 2.0 * B[j, o] * along
                if j <= K:
                    out_B[i, o] += 2.0 * jet[J00] * VB[j, o]
                if j == K:
                    out_B[K, o] += 2.0 * (jet[J00] * VB[i, o] + B[i, o] * along)
    extra += np.dot(on_W, W) + np.dot(on_V, V)
    for i in range(K):
        for d in range(D):
            out_W[i, d] = extra[i, d]
    for o in range(O):
        out_B[K, o] += 2.0 * VB[K, o]
