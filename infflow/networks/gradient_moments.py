r"""Second moments of the gradients of single samples, for infinite Gaussian data.

The gradient of |e|^2 of one sample, e = student - teacher, is a combination of x, 1 and the
activations. Perpendicular to the span of all weights its second moment is B (x) 1, with
B_ik = E[phi_i phi_k] and phi_i = 2 (a_i.e) f_i', so that everything happens in the span, in as many
dimensions as there are neurons at most. There the moments are exact where all neurons are
polynomials with a few smoothed ramps and have mean zero, by Stein's lemma,

    E[phi x x'] = E[phi] 1 + sum_uv E[d_u d_v phi] w_u w_v',        E[psi x] = sum_u E[d_u psi] w_u,

quadratures in planes where all neurons are smooth, or means over scrambled Sobol points. Label
noise adds 4 noise^2 E[grad f grad f'] exactly, by moments of pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .._validation import Array
from ..activations import Activation, polynomial
from ..errors import MethodError, TooLargeError
from ..integrals.fourth.quadruples import quadruples_of
from ..integrals.fourth.rows import closed_form_applies
from .conditional_moments import (
    AFFORDABLE,
    LARGEST,
    NotResolved,
    conditional_moments,
    is_smooth,
)
from .error_function_moments import as_error_functions, error_function_moments
from .finite.covariance import GradientMoments
from .finite.net import Net
from .infinite.population_loss import Units
from .infinite.targets.function_teacher import FunctionTeacher
from .inputs import Component, sample_size
from .low_discrepancy import sobol_normals
from .span_moments import Mapped, SpanMoments, in_one_matrix, output_order, span_basis
from .span_moments import mapped as to_component
from .teacher import Teacher

if TYPE_CHECKING:
    from .infinite.neti import NetI
    from .infinite.neurons import AnyTeacher

METHODS = ("auto", "exact", "sampling")
#: Independent scramblings of the points; their scatter is the error.
REPLICATES = 16
#: Smallest eigenvalue of the correlations of kinked neurons at which closed forms have ten digits.
_APART = 1e-3
#: With more products of terms, quadrature in planes is quicker than closed forms.
_MANY = 100_000
#: Loss relative to the label noise, below which only noise moves the gradients.
_REALIZED = 1e-16


Places = NDArray[np.integer]
"""Indices of neurons, or of pairs of them."""


def covariances(
    net: NetI, theta: Array, method: str, samples: int, rng: np.random.Generator
) -> Iterator[Array]:
    """Estimates (P, P) of the covariance of single-sample gradients: one if exact, else 16.

    Parameters
    ----------
    net : NetI
    theta : (P,) array
    method : {"auto", "exact", "sampling"}
    samples : int
        Of all replicates together.
    rng : numpy.random.Generator

    Raises
    ------
    MethodError
        If ``method`` is "exact" and neither closed forms nor quadrature do; the message says why.
    """
    noise = _noise_part(net, theta)
    if noise is not None and _is_realized(net, theta):
        yield noise
        return
    parts = _units(net, theta)
    if method != "sampling":
        moments = _without_samples(net, theta, parts, method)
        if moments is not None:
            yield _lifted_covariance(net, theta, moments, noise)
            return
    share = sample_size(_power_of_two(samples / REPLICATES), net.input_dim, "samples")
    for generator in rng.spawn(REPLICATES):
        found = [_sampled(units, net, share, generator) for units in parts]
        yield _lifted_covariance(net, theta, found, noise)


def _without_samples(
    net: NetI, theta: Array, parts: list[Mapped], method: str
) -> list[SpanMoments] | None:
    """Moments of all parts by closed forms or quadrature; None if ``method`` is "auto" and neither
    is possible in reasonable time.
    """
    problem = why_not_closed(net, theta)
    closed = not problem
    if closed and (_are_few(net) or not is_smooth(_activations(net))):
        try:
            return [_exact(parts[0], net)]
        except TooLargeError as error:
            problem = str(error)
            closed = False
    if isinstance(net.teacher, Teacher) and is_smooth(_activations(net)):
        affordable = LARGEST if method == "exact" or closed else AFFORDABLE
        try:
            return [conditional_moments(each, _activations(net), affordable) for each in parts]
        except NotResolved as error:
            problem += f"; and quadrature in planes does not do: {error}"
        if closed:
            return [_exact(parts[0], net)]
    if method == "exact":
        raise MethodError(
            f"there is no exact covariance of the gradients: {problem}. Use method='sampling' or "
            "'auto'."
        )
    return None


def _are_few(net: NetI) -> bool:
    """Whether closed forms are quicker than quadrature in planes."""
    activations = _activations(net)
    K = net.layout.blocks[0].width
    terms = max(len(f.atoms) + len(f.polynomial) for f in activations)
    known = as_error_functions(activations, K) is not None
    return known or terms**4 * K**2 * len(activations) ** 2 < _MANY


def why_not_closed(net: NetI, theta: Array) -> str:
    """Why fourth moments have no closed form at theta, or an empty text."""
    if not isinstance(net.teacher, Teacher):
        return "the teacher is no network"
    parts = _units(net, theta)
    if len(parts) > 1:
        return "the input is a mixture"
    students, teachers, _ = parts[0]
    assert teachers is not None
    if students.b.any() or teachers.b.any():
        return "hidden biases, or a mean of the input, give pre-activations a mean"
    activations = _activations(net)
    K = len(students.W)
    if not closed_form_applies(activations, K):
        return (
            "closed forms of fourth moments need identity, polynomials, relu, leaky_relu, abs, "
            "erf, normal_cdf, gelu or gaussian"
        )
    kinked = [any(a.width == 0.0 for a in f.atoms) for f in activations]
    if any(kinked):
        W = np.vstack([students.W, teachers.W])[kinked]
        lengths = np.linalg.norm(W, axis=1)
        if not lengths.all():
            return "a kinked neuron has weights of length 0"
        W = W / lengths[:, None]
        if np.linalg.eigvalsh(W @ W.T)[0] < _APART:
            return "kinked neurons are nearly linearly dependent, where closed forms lose digits"
    return ""


def _activations(net: NetI) -> list[Activation]:
    assert isinstance(net.teacher, Teacher)
    return [*net.layers[0].activations, *net.teacher.net.layers[0].activations]


def _noise_part(net: NetI, theta: Array) -> Array | None:
    """What label noise adds, or None without noise."""
    noise = net.teacher.noise
    return 4.0 * noise * noise * net.fisher(theta) if noise > 0.0 else None


def _is_realized(net: NetI, theta: Array) -> bool:
    """Whether student and teacher agree so well that only label noise is left."""
    noise = net.teacher.noise**2 * net.output_dim
    plain = net.replace(maxnorm=np.inf, ridge=0.0, merge=None)
    return plain.evaluate(theta, 0).value - noise <= _REALIZED * noise


def _power_of_two(number: float) -> int:
    """The nearest power of two, at least 2."""
    return int(2 ** max(1, round(np.log2(max(number, 2.0)))))


def _units(net: NetI, theta: Array) -> list[Mapped]:
    """Units of all components of the input, in their standard normal coordinates."""
    students = net.student_units(theta)
    teachers = net.teacher_units if isinstance(net.teacher, Teacher) else None
    found = []
    for component in net.input.components():
        both = [None if u is None else to_component(u, component) for u in (students, teachers)]
        assert both[0] is not None
        found.append(Mapped(both[0], both[1], component))
    return found


# ---------------------------------------------------------------------------------------- sampling


def _sampled(units: Mapped, net: NetI, N: int, rng: np.random.Generator) -> SpanMoments:
    """Moments over N scrambled Sobol points in the span, without label noise."""
    students, teachers, (_, mean, root) = units
    teacher = net.teacher
    V = teachers.W if teachers is not None else _projections(teacher, root)
    Q = span_basis(np.vstack([students.W, V]))
    n = Q.shape[1]
    t = sobol_normals(N, n, rng)
    if isinstance(teacher, Teacher):
        assert teachers is not None
        net_t, theta_t = _reduced(teacher.net, teachers, Q)
        y = net_t.predict(theta_t, t)
    else:
        origin = 0.0 if mean is None else teacher.V @ mean
        z = t @ (V @ Q).T + origin
        function = teacher.function if isinstance(teacher, FunctionTeacher) else None
        y = function(z) if function is not None else teacher.of_projections(z)  # type: ignore[union-attr]
    reduced, theta = _reduced(net.student, students, Q)
    moments = GradientMoments(reduced.num_params)
    moments.add(reduced.replace(input=t, target=y), theta)
    g = moments.mean()
    return SpanMoments(moments.finish() + np.outer(g, g), g, Q)


def _projections(teacher: AnyTeacher, root: Array | None) -> Array:
    """Directions of a teacher that is no network, in the coordinates of z."""
    assert not isinstance(teacher, Teacher)
    return teacher.V if root is None else teacher.V @ root


def _reduced(net: Net, units: Units, Q: Array) -> tuple[Net, Array]:
    """The network with all biases over the inputs along Q, and its parameters."""
    hidden, outer = net.layers
    small = Net(
        [(hidden.width, list(hidden.activations), True), (outer.width, "identity", True)],
        input_dim=Q.shape[1],
    )
    return small, small.pack([(units.W @ Q, units.b), (units.B.T, units.c)])


# ------------------------------------------------------------------------------------------- exact


def _exact(units: Mapped, net: NetI) -> SpanMoments:
    """Moments by closed forms, without label noise."""
    students, teachers, _ = units
    assert teachers is not None
    K, M = len(students.W), len(teachers.W)
    neurons = as_error_functions(_activations(net), K)
    if neurons is not None:
        return error_function_moments(units, neurons)
    W = np.vstack([students.W, teachers.W])
    Q = span_basis(W)
    # the constant neuron stands last; it is a student of the second layer, too
    one = K + M
    activations = [*_activations(net), polynomial([1.0])]
    B = np.vstack([students.B, -teachers.B, (students.c - teachers.c)[None]])
    C = np.zeros((one + 1, one + 1))
    C[:one, :one] = W @ W.T
    inputs = np.vstack([W @ Q, np.zeros((1, Q.shape[1]))])
    assembly = _Assembly(activations, K, B, C, inputs, net.layout.blocks[0].bias)
    g = _span_gradient(net, units, Q)
    return SpanMoments(assembly.moments(), g, Q)


def _span_gradient(net: NetI, units: Mapped, Q: Array) -> Array:
    """Exact mean gradient in the span, with all biases."""
    assert isinstance(net.teacher, Teacher)
    students, teachers, _ = units
    assert teachers is not None
    small, theta = _reduced(net.student, students, Q)
    target, theta_star = _reduced(net.teacher.net, teachers, Q)
    return type(net)(small, Teacher(target, theta_star), rtol=net.rtol).evaluate(theta, 1).g


class _Assembly:
    """Second moments in the span from quadruples of neurons.

    Parameters
    ----------
    activations : list of Activation, n of them
        K students, teachers, and the constant as the last.
    K : int
    B : (n, O) array
        Output vectors of the residual.
    C : (n, n) array
        Covariance of the pre-activations.
    inputs : (n, m) array
        Weights in the span.
    biases : bool
        Whether E[phi_i phi_k x'] is wanted, for hidden biases; else it stays 0.
    """

    def __init__(
        self,
        activations: list[Activation],
        K: int,
        B: Array,
        C: Array,
        inputs: Array,
        biases: bool,
    ) -> None:
        self.activations = activations
        self.K = K
        self.B = B
        self.C = C
        self.inputs = inputs
        self.biases = biases
        self.S = B[:K] @ B.T
        #: neurons whose output weights are parameters: students and the constant
        self.outer = np.append(np.arange(K), len(activations) - 1)

    def moments(self) -> Array:
        """The matrix in the order W, b, A, c."""
        ww, bw, bb = self._first_with_first()
        aw, ab = self._second_with_first()
        aa = self._second_with_second()
        return in_one_matrix(ww, bw, bb, aw, ab, aa)

    def _quadruples(self, first: Places, second: Places) -> tuple[Places, ...]:
        """All (first, second) with all pairs a <= b of neurons."""
        a, b = np.triu_indices(len(self.activations))
        return (
            np.repeat(first, len(a)),
            np.repeat(second, len(a)),
            np.tile(a, len(first)),
            np.tile(b, len(first)),
        )

    def _found(
        self, quadruple: tuple[Places, ...], derivatives: tuple[bool, bool, bool, bool], order: int
    ) -> tuple[Places, Array, Array, Array]:
        stacked = np.column_stack(quadruple).astype(np.int64)
        found = quadruples_of(self.activations, stacked, derivatives, order)(self.C)
        return stacked, *found

    def _first_with_first(self) -> tuple[Array, Array, Array]:
        """E[phi_i phi_k x x'] (K m, K m), E[phi_i phi_k x'] (K, K m), E[phi_i phi_k] (K, K)."""
        K = self.K
        n = len(self.activations)
        m = self.inputs.shape[1]
        i, k, a, b = self._quadruples(*np.triu_indices(K))
        S = self.S
        weight = 4.0 * (S[i, a] * S[k, b] + np.where(a != b, S[i, b] * S[k, a], 0.0))
        pair = i * K + k
        places, value, _, second = self._found((i, k, a, b), (True, True, False, False), 2)
        A: Array = np.zeros((K, K))
        A += np.bincount(pair, weights=weight * value, minlength=K * K).reshape(K, K)
        T = _scattered(pair, places, weight[:, None, None] * second, (K * K, n, n))
        t = np.zeros((K * K, n))
        if self.biases:
            places, _, first, _ = self._found((i, k, a, b), (True, True, False, False), 1)
            t = _scattered(pair, places, weight[:, None] * first, (K * K, n))
        ww = np.zeros((K, m, K, m))
        bw = np.zeros((K, K, m))
        X = self.inputs
        for p, q in zip(*np.triu_indices(K), strict=True):
            block = X.T @ T[p * K + q] @ X
            block[np.arange(m), np.arange(m)] += A[p, q]
            ww[p, :, q] = block
            ww[q, :, p] = block.T
            bw[p, q] = bw[q, p] = t[p * K + q] @ X
        A += np.triu(A, 1).T
        return ww.reshape(K * m, K * m), bw.reshape(K, K * m), A

    def _second_with_first(self) -> tuple[Array, Array]:
        """E[2 e_o f_k phi_i x'] and E[2 e_o f_k phi_i], rows in the order A, c."""
        K = self.K
        (n, O) = self.B.shape
        m = self.inputs.shape[1]
        i, k = (x.ravel() for x in np.indices((K, K + 1)))
        at = self._quadruples(i, self.outer[k])
        row = np.repeat(i, len(at[0]) // len(i))
        column = np.repeat(k, len(at[0]) // len(i))
        places, value, first, _ = self._found(at, (True, False, False, False), 1)
        _, _, a, b = at
        S, B = self.S, self.B
        aw = np.zeros((K + 1, O, K, m))
        ab = np.zeros((K + 1, O, K))
        pair = row * (K + 1) + column
        shape = (K, K + 1)
        for o in range(O):
            weight = 4.0 * (S[row, a] * B[b, o] + np.where(a != b, S[row, b] * B[a, o], 0.0))
            found = np.bincount(pair, weights=weight * value, minlength=K * (K + 1))
            ab[:, o] = found.reshape(shape).T
            t = _scattered(pair, places, weight[:, None] * first, (K * (K + 1), n))
            aw[:, o] = (t @ self.inputs).reshape(*shape, m).transpose(1, 0, 2)
        order = output_order(K, O)
        return aw.reshape(-1, K * m)[order], ab.reshape(-1, K)[order]

    def _second_with_second(self) -> Array:
        """E[4 e_o f_i e_p f_k], rows and columns in the order A, c."""
        K = self.K
        (_, O) = self.B.shape
        one, two = np.triu_indices(K + 1)
        at = self._quadruples(self.outer[one], self.outer[two])
        repeat = len(at[0]) // len(one)
        pair = np.repeat(one * (K + 1) + two, repeat)
        _, value, _, _ = self._found(at, (False, False, False, False), 0)
        _, _, a, b = at
        B = self.B
        aa = np.zeros((K + 1, O, K + 1, O))
        for o in range(O):
            for p in range(O):
                weight = 4.0 * (B[a, o] * B[b, p] + np.where(a != b, B[b, o] * B[a, p], 0.0))
                found = np.bincount(pair, weights=weight * value, minlength=(K + 1) ** 2)
                upper = found.reshape(K + 1, K + 1)
                aa[:, o, :, p] += np.triu(upper)
                aa[:, p, :, o] += np.triu(upper, 1).T
        order = output_order(K, O)
        size = (K + 1) * O
        return aa.reshape(size, size)[np.ix_(order, order)]


def _scattered(pair: Places, places: Places, parts: Array, shape: tuple[int, ...]) -> Array:
    """Sum parts (Q, 4[, 4]) of quadruples into (pairs, n[, n]) at the neurons of their places."""
    out = np.zeros(shape)
    if parts.ndim == 2:
        np.add.at(out, (pair[:, None], places), parts)
    else:
        np.add.at(out, (pair[:, None, None], places[:, :, None], places[:, None, :]), parts)
    return out


# ------------------------------------------------------------------------------- from span to theta


def _lifted_covariance(
    net: NetI, theta: Array, parts: list[SpanMoments], noise: Array | None
) -> Array:
    """Covariance (P, P) from the moments of all components of the input, label noise included."""
    P = net.num_params
    total = np.zeros((P, P))
    g = np.zeros(P)
    for part, component in zip(parts, net.input.components(), strict=True):
        lift = _Lift(net, part.basis, component)
        total += component.weight * lift.both(part.M)
        g += component.weight * lift.rows(part.mean[:, None])[:, 0]
    total -= np.outer(g, g)
    if net.unit_rows is not None:
        half = net.unit_rows.times_jacobian(theta, total)
        total = net.unit_rows.times_jacobian(theta, np.ascontiguousarray(half.T))
    if noise is not None:
        total += noise
    return (total + total.T) / 2


class _Lift:
    """From gradients in the span, with all biases, to those with respect to theta."""

    def __init__(self, net: NetI, basis: Array, component: Component) -> None:
        _, mean, root = component
        self._basis = basis
        self._mean = mean
        self._root = root
        self._inner = basis if root is None else root @ basis
        self._hidden_bias, self._output_bias = (block.bias for block in net.layout.blocks)
        self._factors = net.student.weight_factors
        self._K = net.layout.blocks[0].width
        self._O = net.layout.blocks[1].width

    def rows(self, X: Array) -> Array:
        """The linear map (P', m) -> (P, m): x = mean + root z, z along the basis."""
        K = self._K
        O = self._O
        n = self._basis.shape[1]
        W, b, A, c = np.split(X, [K * n, K * n + K, K * n + K + O * K])
        m = X.shape[1]
        first = np.einsum("dn,knm->kdm", self._inner, W.reshape(K, n, m))
        if self._mean is not None:
            first += self._mean[:, None] * b[:, None, :]
        parts = [self._factors[0] * first.reshape(-1, m)]
        parts += [b] if self._hidden_bias else []
        parts += [self._factors[1] * A]
        parts += [c] if self._output_bias else []
        return np.concatenate(parts)

    def both(self, M: Array) -> Array:
        """The matrix (P, P) of one (P', P'), with what is perpendicular to the span."""
        full = self.rows(np.ascontiguousarray(self.rows(M).T))
        K = self._K
        n = self._basis.shape[1]
        D = len(self._basis)
        if n == D:
            return full
        B = M[K * n : K * n + K, K * n : K * n + K]
        rest = np.eye(D) if self._root is None else np.asarray(self._root @ self._root.T)
        rest = self._factors[0] ** 2 * (rest - self._inner @ self._inner.T)
        full[: K * D, : K * D] += np.kron(B, rest)
        return full
