r"""Second moments of single-sample gradients of smooth neurons, by quadrature in two dimensions.

Each entry of the matrix has functions of two students, g_i(h_i) g_k(h_k), and twice the residual
e = sum_a B_a f_a(h_a). The input is split, z = U y + r, with y in the plane of both students. Given
y, pre-activations of the other neurons are Gaussian with means mu_a(y), deviations s_a and
correlations rho_ab, and Mehler's series is

    E[f_a f_b | y] = sum_n rho_ab^n c_an c_bn,    c_an = E[f_a(mu_a + s_a t) He_n(t)] / sqrt(n!),

with Stein's lemma for factors r, since s_a d/dmu_a moves c_an to sqrt(n + 1) c_a,n+1. Products of
parallel neurons, squares among them, are integrated instead. What is left is an integral over the
plane. All integrals are trapezoidal rules, whose errors fall exponentially with the number of nodes
for analytic functions: halving the step squares them. So a difference of 3e-5 to the rule of twice
the steps with three quarters of the terms leaves about nine digits. Means of pre-activations need
nothing special.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .._validation import Array
from ..activations import Activation, polynomial
from .span_moments import Mapped, SpanMoments, in_one_matrix, output_order, span_basis

#: the plane is cut off at this distance, where the density is 6e-13 of that in the middle, or
#: further out where polynomials grow: at a share of _CUT of their mean
_RADIUS = 7.5
_CUT = 1e-11
#: the same for the integrals that give coefficients, which fall like the root of the density
_INNER_RADIUS = 12.0
#: largest relative difference of the two rules; the finer one has about twice as many digits
_AGREEMENT = 3e-5
#: largest remainder of the squares of all activations after the last term, times correlations
_TAIL = 3e-13
#: numbers of terms that are tried
_TERMS = (12, 18, 27, 40, 60, 90, 135, 200, 300, 450)
#: widest steps, as for polynomials, and steps per width of the strip of analyticity
_WIDEST = 0.6
_STEP_PER_STRIP = 0.33
_INNER_STEP_PER_STRIP = 0.24
#: how often the step is halved
_HALVINGS = 2
#: conditional deviations below this fraction of the length of the weights are rounding
_RIGID = 1e-7
#: correlations from here on are 1
_PARALLEL = 1.0 - 1e-13
#: multiplications at most, about 1e9 in a second: of "auto" and of "exact"
AFFORDABLE = 4e9
LARGEST = 5e10
#: nodes in the plane that are taken together
_BLOCK = 512


class NotResolved(Exception):
    """The rules don't agree, or would take too long; the message says which."""


class Neurons(NamedTuple):
    """Students, teachers and the constant 1, which is the last and a student of the second layer.

    Attributes
    ----------
    activations : list of Activation
    X : (n, m) array
        Weights in the span.
    b : (n,) array
        Means of the pre-activations.
    B : (n, O) array
        Output vectors of the residual.
    students : int
    """

    activations: list[Activation]
    X: Array
    b: Array
    B: Array
    students: int


def is_smooth(activations: Sequence[Activation]) -> bool:
    """Whether no activation has a kink or a jump."""
    return not any(f.kinks for f in activations)


def conditional_moments(
    units: Mapped, activations: list[Activation], affordable: float
) -> SpanMoments:
    """Moments in the span, without label noise.

    Raises
    ------
    NotResolved
        If the two rules disagree, or more than ``affordable`` multiplications are needed.
    """
    students, teachers, _ = units
    assert teachers is not None
    K = len(students.W)
    W = np.vstack([students.W, teachers.W])
    basis = span_basis(W)
    X = np.vstack([W @ basis, np.zeros((1, basis.shape[1]))])
    b = np.concatenate([students.b, teachers.b, [0.0]])
    B = np.vstack([students.B, -teachers.B, (students.c - teachers.c)[None]])
    neurons = Neurons([*activations, polynomial([1.0])], X, b, B, K)
    return _Assembly(neurons, affordable).moments(basis)


# -------------------------------------------------------------------------------- given the plane


class _Plane(NamedTuple):
    """The plane of two students, and all neurons given a point of it."""

    U: Array  #: (m, d), orthonormal; d is 0, 1 or 2
    along: Array  #: (n, d), weights along it
    s: Array  #: (n,), deviations given the point; 0 for rigid neurons
    unit: Array  #: (n, m), weights across it over their length
    rho: Array  #: (n, n), correlations given the point; 0 for parallel neurons
    #: parallel neurons a <= b, and whether they point the same way; first each with itself
    parallel: list[tuple[int, int, bool]]


def _plane(neurons: Neurons, pair: tuple[int, int]) -> _Plane:
    X = neurons.X
    lengths = np.linalg.norm(X, axis=1)
    rows: list[Array] = []
    for x in X[list(pair)]:
        rest = x.copy()
        for _ in range(2):  # twice is enough
            for u in rows:
                rest = rest - (u @ rest) * u
        size = float(np.linalg.norm(rest))
        if size > _RIGID * max(float(np.linalg.norm(x)), 1e-300):
            rows.append(rest / size)
    U = np.array(rows).reshape(-1, X.shape[1]).T
    along = X @ U
    across = X - along @ U.T
    across -= (across @ U) @ U.T
    s = np.linalg.norm(across, axis=1)
    rigid = s <= _RIGID * lengths
    s[rigid] = 0.0
    unit = np.where(rigid[:, None], 0.0, across / np.where(rigid, 1.0, s)[:, None])
    rho = unit @ unit.T
    n = len(X)
    parallel = [(a, a, True) for a in range(n)]
    for a, b in zip(*np.nonzero(np.triu(np.abs(rho), 1) >= _PARALLEL), strict=True):
        parallel.append((int(a), int(b), bool(rho[a, b] > 0.0)))
    for a, b, _ in parallel:
        rho[a, b] = rho[b, a] = 0.0
    return _Plane(U, along, s, unit, rho, parallel)


class _Rule(NamedTuple):
    """Steps and radius in the plane, step of the integrals for coefficients, number of terms."""

    steps: tuple[float, ...]
    radius: float
    inner: float
    terms: int

    def coarser(self) -> _Rule:
        """The rule of twice the steps, in a smaller disc."""
        terms = max(3, 3 * self.terms // 4)
        steps = tuple(2.0 * h for h in self.steps)
        return _Rule(steps, self.radius - 1.0, 2.0 * self.inner, terms)

    def finer(self) -> _Rule:
        """The rule of half the steps in the plane."""
        return self._replace(steps=tuple(0.5 * h for h in self.steps))


@lru_cache(maxsize=64)
def _hermite_table(step: float, terms: int) -> tuple[Array, Array, Array]:
    """Nodes (R,), weights (R,) and weighted normalised polynomials (R, terms)."""
    reach = int(_INNER_RADIUS / step)
    nodes: Array = np.float64(step) * np.arange(-reach, reach + 1)
    weights: Array = np.float64(step) * np.exp(-0.5 * nodes**2) / math.sqrt(2.0 * math.pi)
    table = np.empty((terms, len(nodes)))
    table[0] = np.sqrt(weights)
    table[1] = nodes * table[0]
    for n in range(1, terms - 1):
        table[n + 1] = (nodes * table[n] - math.sqrt(n) * table[n - 1]) / math.sqrt(n + 1)
    weighted: Array = np.ascontiguousarray(table.T * table[0][:, None])
    return nodes, weights, weighted


class _Coefficients(NamedTuple):
    """Of all neurons at some points of the plane."""

    c: Array  #: (terms, n, points)
    #: (3, pairs, points), means of {1, t, t^2 - 1} f_a f_b for parallel neurons; t is that of a
    products: Array


def _coefficients(neurons: Neurons, plane: _Plane, mu: Array, rule: _Rule) -> _Coefficients:
    nodes, weights, table = _hermite_table(rule.inner, rule.terms)
    moments = weights[:, None] * np.stack([np.ones_like(nodes), nodes, nodes**2 - 1.0], axis=1)
    c = np.zeros((rule.terms, *mu.shape))
    products = np.zeros((3, len(plane.parallel), mu.shape[1]))
    shared = {x for a, b, _ in plane.parallel if a != b for x in (a, b)}
    kept: dict[int, Array] = {}
    for a, f in enumerate(neurons.activations):
        if plane.s[a] == 0.0:
            c[0, a] = f(mu[a])
            products[0, a] = c[0, a] ** 2
            continue
        values = f(mu[a][:, None] + plane.s[a] * nodes)
        c[:, a] = (values @ table).T
        products[:, a] = (values**2 @ moments).T
        if a in shared:
            kept[a] = values
    for place, (a, b, same) in enumerate(plane.parallel):
        if a != b:
            other = kept[b] if same else kept[b][:, ::-1]
            products[:, place] = (kept[a] * other @ moments).T
    return _Coefficients(c, products)


def _rule(neurons: Neurons, plane: _Plane, pair: tuple[int, int]) -> _Rule:
    """Steps from strips of analyticity, and so many terms that only little is left."""
    widths = np.array([_width(f) for f in neurons.activations])
    steps = []
    for rates in np.abs(plane.along[list(pair)]).T:
        rates = np.maximum(rates, 1e-300)
        steps.append(min(_WIDEST, float((_STEP_PER_STRIP * widths[list(pair)] / rates).min())))
    moving = np.flatnonzero(plane.s > 0.0)
    radius = _radius(neurons, pair)
    if len(moving) == 0:
        return _Rule(tuple(steps), radius, _WIDEST, 3)
    inner = min(0.5, float((_INNER_STEP_PER_STRIP * widths[moving] / plane.s[moving]).min()))
    reach = np.linspace(-0.6 * _RADIUS, 0.6 * _RADIUS, 7)
    mu = neurons.b[:, None] + np.linalg.norm(plane.along, axis=1)[:, None] * reach
    B = np.abs(neurons.B).max(axis=1)
    rho = np.abs(plane.rho)
    for terms in _TERMS:
        # polynomials up to the last one are orthonormal under the rule
        step = min(inner, math.pi / (math.sqrt(terms) + 3.0))
        rule = _Rule(tuple(steps), radius, step, terms)
        if rule.inner < 0.02:
            break
        c, products = _coefficients(neurons, plane, mu, rule)
        square = products[0, : len(B)]
        size = float((B**2 * square.max(axis=1)).max())
        left = B * np.sqrt(np.maximum(square - (c**2).sum(axis=0), 0.0)).max(axis=1)
        if math.isfinite(size) and (rho**terms * np.outer(left, left)).max() <= _TAIL * size:
            return rule
    raise NotResolved("Hermite series converge slowly")


def _radius(neurons: Neurons, pair: tuple[int, int]) -> float:
    """Where the plane may be cut off."""
    degrees = [0 if f.strip is None else f.strip.degree for f in neurons.activations]
    degree = degrees[pair[0]] + degrees[pair[1]] + 2 * max(degrees) + 2
    mean = math.prod(range(1, degree, 2))
    radius = _RADIUS
    while radius**degree * math.exp(-0.5 * radius**2) > _CUT * mean:
        radius += 0.25
    return radius


def _width(f: Activation) -> float:
    """Distance from the real line within which f grows moderately; a guess for one's own."""
    strip = f.strip
    if strip is None:
        return 1.0
    grown = [strip.half_width, 100.0]
    if strip.curvature > 0.0:
        grown.append(2.5 / math.sqrt(strip.curvature))
    if strip.rate > 0.0:
        grown.append(3.0 / strip.rate)
    return float(min(grown))


# ---------------------------------------------------------------------------------------- one pair


def _nodes(rule: _Rule) -> tuple[Array, Array]:
    """The trapezoidal rule in a disc (N, d), and its weights (N,) with the normal density."""
    steps, radius, _, _ = rule
    d = len(steps)
    if d == 0:
        return np.zeros((1, 0)), np.ones(1)
    lines = [h * np.arange(-int(radius / h), int(radius / h) + 1) for h in steps]
    y = np.stack([g.ravel() for g in np.meshgrid(*lines, indexing="ij")], axis=1)
    square = (y**2).sum(axis=1)
    inside = square <= radius**2
    scale = math.prod(steps) / (2.0 * math.pi) ** (d / 2)
    return y[inside], scale * np.exp(-0.5 * square[inside])


def _jet(f: Activation, mu: Array) -> Array:
    """Value and derivative (2, N) at mu (N,)."""
    out = np.empty((2, 1, len(mu)))
    f.jet(mu[None], out)
    return out[:, 0]


class _Sums(NamedTuple):
    """Means over the input across the plane.

    ``value`` (O, O, N): E[e_o e_p]. ``one`` (O, O, n, N): coefficients of E[e_o e_p r] in the units
    across. ``two`` (O, O, n), ``mixed`` (n, n): those of E[e_o e_p r r'] with the weights of the
    first layer, summed over nodes; ``mixed`` without output vectors. All but ``value`` are halves:
    (o, p) and (p, o), rows and columns, add up.
    """

    value: Array
    one: Array
    two: Array
    mixed: Array


class _Found(NamedTuple):
    """What one pair of students gives, over 4.

    E[phi_i phi_k {x x', x, 1}], E[e_o f_k phi_i {x, 1}], the same with i and k exchanged, and
    E[e_o e_p f_i f_k].
    """

    ww: Array  #: (m, m)
    bw: Array  #: (m,)
    bb: Array  #: ()
    aw: Array  #: (O, m)
    ab: Array  #: (O,)
    wa: Array  #: (O, m)
    ba: Array  #: (O,)
    aa: Array  #: (O, O)


def _work(rule: _Rule, n: int, O: int) -> float:
    """About how many multiplications a rule needs for n neurons and O outputs."""
    count = math.prod(2.0 * rule.radius / h for h in rule.steps)
    # an activation costs about as much as 20 multiplications
    evaluations = 2.0 * _INNER_RADIUS / rule.inner * (20.0 + rule.terms)
    return count * n * (evaluations + 4.0 * n * rule.terms * O * O)


def _least_work(neurons: Neurons) -> float:
    """What the coarsest rules would need for all planes."""
    K = neurons.students
    rule = _Rule((_WIDEST, _WIDEST), _RADIUS, 0.5, _TERMS[0])
    return K * (K - 1) / 2 * _work(rule, *neurons.B.shape)


class _Pair:
    """Integrals over the plane of neurons i and k."""

    def __init__(self, neurons: Neurons, pair: tuple[int, int]) -> None:
        self.neurons = neurons
        self.pair = pair
        self.plane = _plane(neurons, pair)
        self.rule = _rule(neurons, self.plane, pair)

    def work(self) -> float:
        """About how many multiplications the rule needs."""
        return _work(self.rule, *self.neurons.B.shape)

    def integrals(self, rule: _Rule) -> _Found:
        """All integrals by a rule, over blocks of its nodes."""
        y, weight = _nodes(rule)
        found: list[Array] = []
        for begin in range(0, len(y), _BLOCK):
            block = slice(begin, begin + _BLOCK)
            part = self._block(y[block], weight[block], rule)
            found = [a + b for a, b in zip(found, part, strict=True)] if found else list(part)
        return _Found(*found)

    def _block(self, y: Array, weight: Array, rule: _Rule) -> _Found:
        neurons, plane = self.neurons, self.plane
        mu = neurons.b[:, None] + plane.along @ y.T
        jets = [_jet(neurons.activations[place], mu[place]) for place in self.pair]
        first = weight * jets[0][1] * jets[1][1]
        found = _coefficients(neurons, plane, mu, rule)
        return self._integrals(self._sums(found, first), y, weight, jets)

    def _sums(self, found: _Coefficients, first: Array) -> _Sums:
        """Mehler's series at all nodes."""
        c, products = found
        terms, n, N = c.shape
        B = self.neurons.B
        O = B.shape[1]
        value = np.zeros((O, O, N))
        one = np.zeros((O, O, n, N))
        two = np.zeros((O, O, n))
        mixed = np.zeros((n, n))
        rho = self.plane.rho
        power = np.ones((n, n))
        for (a, b, _), (of_1, of_t, of_square) in zip(
            self.plane.parallel, products.transpose(1, 0, 2), strict=True
        ):
            both = np.outer(B[a], B[b])
            if a != b:
                both += both.T
            value += both[..., None] * of_1
            one[:, :, a] += 0.5 * both[..., None] * of_t
            two[:, :, a] += 0.5 * both * (of_square @ first)
            power[a, b] = power[b, a] = 0.0
        for m in range(terms - 2):
            root = math.sqrt(m + 1)
            for p in range(O):
                Y = power @ (B[:, p, None] * c[m])
                for o in range(O):
                    left = B[:, o, None] * Y
                    value[o, p] += np.einsum("an,an->n", c[m], left)
                    left *= c[m + 1] * root
                    one[o, p] += left
                left = c[m + 2] * Y
                two[:, p] += root * math.sqrt(m + 2) * B.T * (left @ first)
            mixed += (m + 1) * power * ((c[m + 1] * first) @ c[m + 1].T)
            power *= rho
        return _Sums(value, one, two, mixed)

    def _integrals(self, sums: _Sums, y: Array, weight: Array, jets: list[Array]) -> _Found:
        """Integrals over the plane with the weights of both layers."""
        B, unit, U = self.neurons.B, self.plane.unit, self.plane.U
        (f_i, d_i), (f_k, d_k) = jets
        A_i, A_k = B[list(self.pair)]
        one = sums.one + sums.one.transpose(1, 0, 2, 3)
        # E[e_i e_k] and its vectors
        w = weight * d_i * d_k
        value = np.einsum("o,p,opn->n", A_i, A_k, sums.value, optimize=True)
        vectors = np.einsum("o,p,opan->an", A_i, A_k, one, optimize=True)
        bb = w @ value
        cross = U @ (y.T @ (w * vectors).T) @ unit
        ww = bb * (np.eye(len(U)) - U @ U.T) + U @ ((w * value) * y.T @ y) @ U.T
        ww += cross + cross.T
        two = np.einsum("o,p,opa->a", A_i, A_k, sums.two + sums.two.transpose(1, 0, 2))
        ww += (unit.T * two) @ unit
        mixed = unit.T @ (np.outer(B @ A_i, B @ A_k) * sums.mixed) @ unit
        ww += mixed + mixed.T
        bw = U @ (y.T @ (w * value)) + (vectors @ w) @ unit

        def second(A: Array, g: Array) -> tuple[Array, Array]:
            """E[e_o (A.e) g x] and E[e_o (A.e) g]."""
            values = np.einsum("p,opn->on", A, sums.value)
            across = np.einsum("p,opan,n->oa", A, one, g, optimize=True)
            return (values * g) @ y @ U.T + across @ unit, values @ g

        aw, ab = second(A_i, weight * d_i * f_k)
        wa, ba = second(A_k, weight * d_k * f_i)
        return _Found(ww, bw, bb, aw, ab, wa, ba, sums.value @ (weight * f_i * f_k))


# -------------------------------------------------------------------------------------- the matrix


class _Assembly:
    """The matrix from all pairs of students, the constant among them."""

    def __init__(self, neurons: Neurons, affordable: float) -> None:
        self.neurons = neurons
        self.affordable = affordable
        K = neurons.students
        outer = [*range(K), len(neurons.b) - 1]
        self.pairs: dict[tuple[int, int], _Pair] = {}
        self._require(_least_work(neurons))
        for i in range(K + 1):
            for k in range(i, K + 1):
                self.pairs[i, k] = _Pair(neurons, (outer[i], outer[k]))
            # many pairs may take too long already
            self._require_affordable()

    def moments(self, basis: Array) -> SpanMoments:
        """Second moments and mean in the order W, b, A, c."""
        fine = {at: pair.integrals(pair.rule) for at, pair in self.pairs.items()}
        coarse = {at: pair.integrals(pair.rule.coarser()) for at, pair in self.pairs.items()}
        for _ in range(_HALVINGS):
            bad = self._disagreeing(fine, coarse)
            if not bad:
                break
            for at in bad:
                self.pairs[at].rule = self.pairs[at].rule.finer()
            self._require_affordable()
            for at in bad:
                coarse[at] = fine[at]
                fine[at] = self.pairs[at].integrals(self.pairs[at].rule)
        if self._disagreeing(fine, coarse):
            raise NotResolved("two rules disagree")
        return SpanMoments(self._matrix(fine), self._mean(), basis)

    def _require_affordable(self) -> None:
        self._require(sum(pair.work() for pair in self.pairs.values()))

    def _require(self, work: float) -> None:
        if work > self.affordable:
            raise NotResolved(f"quadrature would take {work:.0e} multiplications")

    def _disagreeing(
        self, fine: dict[tuple[int, int], _Found], coarse: dict[tuple[int, int], _Found]
    ) -> list[tuple[int, int]]:
        """Pairs with different integrals by the two rules."""
        K = self.neurons.students
        diagonal = [fine[i, i] for i in range(K + 1)]
        w = np.array([_size(np.diagonal(d.ww)) for d in diagonal])
        b = np.array([_size(d.bb[None]) for d in diagonal])
        a = np.array([_size(np.diagonal(d.aa)) for d in diagonal])
        bad = []
        for (i, k), found in fine.items():
            difference = [
                float(np.abs(x - y).max()) for x, y in zip(found, coarse[i, k], strict=True)
            ]
            size = [
                w[i] * w[k],
                max(w[i] * b[k], b[i] * w[k]),
                b[i] * b[k],
                a[k] * w[i],
                a[k] * b[i],
                a[i] * w[k],
                a[i] * b[k],
                a[i] * a[k],
            ]
            if not all(x <= _AGREEMENT * y for x, y in zip(difference, size, strict=True)):
                bad.append((i, k))
        return bad

    def _matrix(self, found: dict[tuple[int, int], _Found]) -> Array:
        K = self.neurons.students
        m = self.neurons.X.shape[1]
        O = self.neurons.B.shape[1]
        ww = np.zeros((K, m, K, m))
        bw = np.zeros((K, K, m))
        bb = np.zeros((K, K))
        aw = np.zeros((K + 1, O, K, m))
        ab = np.zeros((K + 1, O, K))
        aa = np.zeros((K + 1, O, K + 1, O))
        for (i, k), part in found.items():
            aa[i, :, k] = part.aa
            aa[k, :, i] = part.aa
            if i == K:
                continue
            aw[k, :, i] = part.aw
            ab[k, :, i] = part.ab
            if k == K:
                continue
            aw[i, :, k] = part.wa
            ab[i, :, k] = part.ba
            ww[i, :, k] = part.ww
            ww[k, :, i] = part.ww.T
            bw[i, k] = bw[k, i] = part.bw
            bb[i, k] = bb[k, i] = part.bb
        order = output_order(K, O)
        return 4.0 * in_one_matrix(
            ww.reshape(K * m, K * m),
            bw.reshape(K, K * m),
            bb,
            aw.reshape(-1, K * m)[order],
            ab.reshape(-1, K)[order],
            aa.reshape((K + 1) * O, -1)[np.ix_(order, order)],
        )

    def _mean(self) -> Array:
        """The mean gradient, from the planes of one student."""
        neurons = self.neurons
        K = neurons.students
        B = neurons.B
        W = np.zeros((K, neurons.X.shape[1]))
        b = np.zeros(K)
        A = np.zeros((B.shape[1], K))
        for i in range(K):
            pair = self.pairs[i, K]
            y, weight = _nodes(pair.rule)
            mu = neurons.b[:, None] + pair.plane.along @ y.T
            c = _coefficients(neurons, pair.plane, mu, pair.rule).c
            f, slope = _jet(neurons.activations[i], mu[i])
            e = B.T @ c[0]
            g = weight * slope
            along = (B[i] @ e * g) @ y
            W[i] = pair.plane.U @ along + (B @ B[i] * (c[1] @ g)) @ pair.plane.unit
            b[i] = B[i] @ e @ g
            A[:, i] = e @ (weight * f)
        pair = self.pairs[K, K]
        c = _coefficients(neurons, pair.plane, neurons.b[:, None], pair.rule).c[0, :, 0]
        return 2.0 * np.concatenate([W.ravel(), b, A.ravel(), B.T @ c])


def _size(diagonal: Array) -> float:
    """Root of the mean of a diagonal; 1 where all of it is 0, as its row then is."""
    mean = float(diagonal.mean())
    return math.sqrt(mean) if mean > 0.0 else 1.0
