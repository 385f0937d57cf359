"""A network in the inputs that its weights span: the same loss in few parameters.

For Gaussian input the gradient flow never leaves the smallest subspace that contains the rows of
the student's and the teacher's weights and the means of the input, and that every covariance maps
into itself. In an orthonormal basis of it the network has n inputs in the place of D, and the same
loss. What is left of the Hessian are K x K matrices, one for each eigenvalue of the covariance on
the other D - n inputs, which come with the multiplicity of that eigenvalue.
"""

from __future__ import annotations

import copy
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..._validation import Array, as_integer, counted, public, shown
from ...errors import InvalidTypeError, InvalidValueError, MethodError, SingularMomentError
from ...integrals.jets import J11, J20
from ...rotation import Rotation
from ...threads import limit_for
from ..inputs import Gaussian, GaussianMixture
from ..teacher import Teacher
from .invariant import Left, Span, covariances, is_known, span, take_apart
from .neti import NetI
from .population_loss import PopulationLoss
from .targets.function_teacher import FunctionTeacher
from .targets.polynomial_teacher import PolynomialTeacher

#: a row may lie outside of the span by this fraction of its length, and of that of the longest
_OWN = 1e-10
_LONGEST = 1e-13


class Part(NamedTuple):
    """Parameters on which the Hessian does not mix with the others."""

    where: NDArray[np.intp]  #: they stand in the parameters of :attr:`Reduction.extended`
    multiplicity: int  #: how often the whole network has them


class Reduction:
    """An infinite-data network in the n inputs that its weights span; made by :func:`reduce`.

    Attributes
    ----------
    net : NetI
        The same student, teacher, input and regularisation in n inputs.
    theta : (P_n,) array
        The point that was given, as parameters of ``net``.
    basis : (D, n) array
        Orthonormal columns: input weights are ``W = W_n basis'``.
    multiplicities : tuple of int
        Dimensions of the rest of the input, one for each eigenvalue of the covariance there (for
        each set of eigenvalues, of a mixture).
    variances : (G, C) array
        These eigenvalues, one column for each component of the input.
    """

    def __init__(self, full: NetI, found: Span) -> None:
        self._full = full
        self._span = found
        self._left = [each for each in found.left if each.multiplicity]
        self.basis = found.basis
        self.rotation = Rotation(found.basis, full.layout.blocks[0].width)
        self.multiplicities = tuple(each.multiplicity for each in self._left)
        self.variances = np.array([each.block.variances for each in self._left])
        self.net = self._in_few([])
        self.theta = np.zeros(self.net.num_params)  # set by who makes it

    @property
    def input_dim(self) -> int:
        """Number n of inputs of ``net``."""
        return self.basis.shape[1]

    @property
    def multiplicity(self) -> int:
        """D - n, the number of inputs outside of the span."""
        return sum(self.multiplicities)

    @property
    def is_smaller(self) -> bool:
        """Whether there are fewer inputs than before."""
        return self.multiplicity > 0

    def __str__(self) -> str:
        few = counted(self.net.num_params, "parameter")
        return (
            f"{self.input_dim:,} of {self._full.input_dim:,} inputs, {few} in the place of "
            f"{self._full.num_params:,}"
        )

    def __repr__(self) -> str:
        return f"Reduction({self})"

    # -------------------------------------------------------------------------------- points

    def lift(self, theta_n: Any) -> Array:
        """Parameters (P,) of the whole network from parameters (P_n,) of ``net``."""
        return self.rotation.lift(self.net.check(theta_n))

    def restrict(self, theta: Any) -> Array:
        """Parameters (P_n,) of ``net`` from parameters (P,) of the whole network.

        Raises
        ------
        InvalidValueError
            If a row of W lies outside of the span by more than 1e-10 of its length (or 1e-13 of
            the longest row).
        """
        theta = self._full.check(theta)
        outside = self.rotation.outside(theta)
        lengths = np.linalg.norm(self._full.layout.views(theta)[0][0], axis=1)
        allowed = np.maximum(_OWN * lengths, _LONGEST * lengths.max())
        if (outside > allowed).any():
            worst = int(np.argmax(outside - allowed))
            raise InvalidValueError(
                f"theta is not in the span: the weights of neuron {worst} lie outside of it by "
                f"{outside[worst]:.3g} of their length {lengths[worst]:.3g}. Make a reduction at "
                "this theta, inf.reduce(neti, theta)."
            )
        return self.rotation.restrict(theta)

    # -------------------------------------------------------------------- outside of the span

    def perpendicular(self, theta_n: Any, group: int | None = None) -> Array:
        """The Hessian J on input weights along one direction outside of the span.

        The Hessian of the whole network is that of ``net`` on the span, and J on each of the
        ``multiplicity`` other inputs; nothing mixes them.

        Parameters
        ----------
        theta_n : (P_n,) array
            Parameters of ``net``.
        group : int, optional
            Which entry of ``multiplicities``; needed where there are several.

        Returns
        -------
        ndarray (K, K)
            Symmetric. For standard normal input ``J_ij = 2 (a_i.a_j) E[f_i' f_j'] + 2 delta_ij
            E[(a_i.e) f_i'']`` with the residual e = student - teacher; times the eigenvalue of the
            covariance and the squared factor of the parametrization for others; plus ridge,
            barrier and pairs to merge. In the spherical parametrization J_ij/(|w_i| |w_j|), less
            (g_i.w_i)/|w_i|^3 on the diagonal, with the gradient g in weights of length one.

        Raises
        ------
        InvalidValueError
            If nothing is left outside of the span, or several groups are and none is chosen.
        SingularMomentError
            If the Hessian is infinite there.
        """
        index = self._group(group)
        theta_n = self.net.check(theta_n)
        if all(type(part.loss) is PopulationLoss for part in self.net._components):
            return self._from_jets(theta_n, self._left[index].block.variances)
        return self._from_products(theta_n, index)

    def _from_products(self, theta_n: Array, index: int) -> Array:
        """J from Hessian-vector products of the extended network: any loss, and the slow twin."""
        where = self.parts[1 + index].where
        directions = np.zeros((self.extended.num_params, len(where)))
        directions[where, np.arange(len(where))] = 1.0
        J = self.extended.hvp(self.extend(theta_n), directions)[where]
        return (J + J.T) / 2

    def _from_jets(self, theta_n: Array, variances: Array) -> Array:
        """J from the jets of all pairs, as the kernels of the Hessian put it together."""
        net = self.net
        K = self.rotation.width
        J = np.zeros((K, K))
        for part, state, variance in zip(
            net._components, net._states(theta_n, 2), variances, strict=True
        ):
            twice = 2.0 * state.S
            own = twice[:, :K] * state.jets[:, :K, J11]
            own[np.diag_indices(K)] += np.einsum("ij,ij->i", twice, state.jets[:, :, J20])
            J += part.weight * variance * own
        J *= (self._scale(self.input_dim) * net.student.weight_factors[0]) ** 2
        if not np.isfinite(J).all():
            raise SingularMomentError("the Hessian outside of the span is infinite or overflows.")
        if net.regularization.active:
            net.regularization.add_outside(net.student.normalized(theta_n), J)
        if net.unit_rows is not None:  # directions outside of the span are tangents of the spheres
            ((_, _, lengths),) = net.unit_rows.split(theta_n)
            J /= np.outer(lengths, lengths)
            gradient = net.acting_gradient(theta_n)
            J[np.diag_indices(K)] -= net.unit_rows.radial_slopes(theta_n, gradient)
        return (J + J.T) / 2

    def _group(self, group: Any) -> int:
        number = len(self._left)
        if not number:
            raise InvalidValueError(
                "the weights span all inputs, so that no direction is perpendicular to them."
            )
        if group is None and number > 1:
            raise InvalidValueError(
                f"{number} eigenvalues of the covariance are left outside of the span, with the "
                f"multiplicities {self.multiplicities}; give the group, 0 to {number - 1}."
            )
        return 0 if group is None else as_integer("group", group, minimum=0, maximum=number - 1)

    @cached_property
    def extended(self) -> NetI:
        """The network in the inputs of ``net`` and one more for each group outside of the span."""
        return self._in_few(self._left) if self._left else self.net

    def extend(self, theta_n: Array) -> Array:
        """Parameters of :attr:`extended` (no weights on its last inputs) from those of ``net``."""
        return self.widened(theta_n, np.zeros((self.rotation.width, len(self._left))))

    def widened(self, vector: NDArray[Any], columns: NDArray[Any]) -> NDArray[Any]:
        """A vector (P_n,) with further columns (K, m) behind those of W."""
        few = self.rotation.num_weights[1]
        W = vector[:few].reshape(self.rotation.width, -1)
        return np.concatenate([np.hstack([W, columns]).ravel(), vector[few:]])

    @cached_property
    def parts(self) -> list[Part]:
        """Parameters of :attr:`extended`: those of ``net``, and those of each group."""
        K = self.rotation.width
        n = self.input_dim
        G = len(self._left)
        numbers = np.arange(self.extended.num_params)
        W = numbers[: K * (n + G)].reshape(K, n + G)
        own = np.concatenate([W[:, :n].ravel(), numbers[K * (n + G) :]])
        return [
            Part(own, 1),
            *(Part(W[:, n + g], each.multiplicity) for g, each in enumerate(self._left)),
        ]

    @property
    def weights(self) -> Array:
        """Multiplicity of each parameter of :attr:`extended`."""
        found = np.empty(self.extended.num_params)
        for part in self.parts:
            found[part.where] = part.multiplicity
        return found

    def outward(self, group: int, theta_n: Array) -> Reduction:
        """The reduction with one more input, a direction of a group; its weights there are 0."""
        chosen = self._left[group]
        direction = chosen.vector()[:, None]
        used = np.hstack([chosen.used, chosen.block.project(direction.T).T])
        basis = np.hstack([self.basis, direction])
        left = [
            Left(each.block, used, each.multiplicity - 1) if each is chosen else each
            for each in self._left
        ]
        other = Reduction(self._full, Span(basis, left))
        other.theta = self.widened(theta_n, np.zeros((self.rotation.width, 1)))
        return other

    def directions(self) -> list[Array]:
        """Orthonormal bases (D, multiplicity) of what is outside of the span, for each group."""
        return [each.complement() for each in self._left]

    def extended_rotation(self) -> Rotation:
        """That of :attr:`extended`, with one direction of the input for each group."""
        columns = [self.basis, *(each.vector()[:, None] for each in self._left)]
        return Rotation(np.hstack(columns), self.rotation.width)

    # ---------------------------------------------------------------------------- the network

    def _in_few(self, more: list[Left]) -> NetI:
        """The network in the basis, and in one input of each group besides."""
        full = self._full
        n = self.input_dim + len(more)
        if n == full.input_dim and not self._left:
            return full
        scale = self._scale(n)
        V = np.pad(full.teacher_units.W @ self.basis, ((0, 0), (0, len(more)))) / scale
        return full.replace(
            student=_without_data(full.student, input_dim=n),
            teacher=_teacher(full, V),
            input=self._input(more, scale),
        )

    def _scale(self, n: int) -> float:
        """Of n inputs: ntk divides by the root of their number, so that few have to be smaller."""
        if self._full.student.parametrization != "ntk":
            return 1.0
        return float(np.sqrt(n / self._full.input_dim))

    def _input(self, more: list[Left], scale: float) -> Any:
        """The distribution of the inputs in the basis, times ``scale``."""
        full = self._full.input
        matrices = covariances(full)
        n = self.input_dim + len(more)
        if matrices is None:
            return None if scale == 1.0 else Gaussian(np.zeros(n), scale * scale)
        Q = self.basis
        own = [Q.T @ matrix @ Q for matrix in matrices]
        covs = np.zeros((len(own), n, n))
        for c, cov in enumerate(own):
            covs[c, : len(cov), : len(cov)] = (cov + cov.T) / 2
            for g, each in enumerate(more):
                covs[c, len(cov) + g, len(cov) + g] = each.block.variances[c]
        covs *= scale * scale
        if isinstance(full, Gaussian):
            return Gaussian(scale * np.pad(full.mean @ Q, (0, len(more))), covs[0])
        assert isinstance(full, GaussianMixture)
        means = scale * np.pad(full.means @ Q, ((0, 0), (0, len(more))))
        return GaussianMixture(full.weights, means, covs)


def _without_data(net: Any, **changes: Any) -> Any:
    return net.replace(input=None, target=None, weights=None, **changes)


def _teacher(full: NetI, V: Array) -> Any:
    """The teacher with other input weights (M, n), which act as they are."""
    teacher = full.teacher
    if isinstance(teacher, FunctionTeacher | PolynomialTeacher):
        other = copy.copy(teacher)
        other.V = V
        return other
    units = full.teacher_units
    hidden, output = teacher.net.layout.blocks
    net = _without_data(teacher.net, input_dim=V.shape[1], parametrization="standard")
    theta = net.pack(
        [
            (V, units.b if hidden.bias else None),
            (units.B.T, units.c if output.bias else None),
        ]
    )
    return Teacher(net, theta, teacher.noise)


def obstacle(net: Any) -> str:
    """Why an objective cannot be reduced, whatever its parameters; empty if it can."""
    if not isinstance(net, NetI):
        return f"net is a {type(net).__name__}, and only a NetI is known to depend on few inputs"
    if not is_known(net.input):
        return f"the input is a {type(net.input).__name__}"
    if type(net.teacher) not in (Teacher, FunctionTeacher, PolynomialTeacher):
        return f"the teacher is a {type(net.teacher).__name__}"
    return ""


def smallest(net: NetI, theta: Array) -> Reduction:
    """The reduction at a checked theta of a network without :func:`obstacle`."""
    with limit_for(0):  # tall and thin matrices, for which threads cost more than they gain
        return _smallest(net, theta)


def _smallest(net: NetI, theta: Array) -> Reduction:
    W = net.layout.views(theta)[0][0]
    means = [c.mean for c in net.input.components() if c.mean is not None and c.mean.any()]
    rows = np.concatenate([net.teacher_units.W, W, *(mean[None] for mean in means)])
    D = net.input_dim
    if len(rows) >= D:  # nobody needs to know the eigenvalues of the covariance
        found = Reduction(net, Span(np.eye(D), []))
    else:
        found = Reduction(net, span(take_apart(net.input), rows))
    found.theta = found.rotation.restrict(theta)
    return found


@public
def reduce(neti: NetI, theta: Any) -> Reduction:
    r"""The network in the inputs that the weights at ``theta`` span.

    For input :math:`\mathcal{N}(m, s^2 1)` the span is that of the rows of W and V and of m:
    :math:`\min(D, K + M + 1)` inputs at most. For other covariances it is the smallest subspace
    that contains them and that the covariance maps into itself, found by its spectral projectors;
    for mixtures one that all covariances map into themselves. Loss, gradient flow, gradient
    descent, Newton's method, trust regions and L-BFGS are the same in ``net`` as in the whole
    network.

    Parameters
    ----------
    neti : NetI
        In any parametrization, with any regularisation.
    theta : (P,) array or Result
        Parameters, whose input weights belong to the span.

    Returns
    -------
    Reduction
        ``net``, ``theta``, ``lift``, ``restrict``, ``perpendicular``, ``multiplicity``. Where the
        weights span all inputs, ``net`` has all of them, and ``multiplicity`` is 0.

    Raises
    ------
    InvalidTypeError
        If ``neti`` is no NetI.
    MethodError
        If its input or teacher is none of those that are covered.
    ShapeError, InvalidValueError
        If ``theta`` cannot be used.

    See Also
    --------
    train : does it by itself.
    hessian_eigenvalues : spectra by it.

    Notes
    -----
    Eigenvalues of a covariance that differ by less than 1e-12 of the largest count as equal.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(2, "erf", False), (1, "identity", False)], input_dim=1000)
    >>> teacher = inf.Teacher(net, inf.random_params(net, rng=1, init="standard_normal"))
    >>> neti = inf.NetI(net, teacher)
    >>> theta = inf.random_params(net, rng=2)
    >>> red = inf.reduce(neti, theta)
    >>> red.net.num_params, red.multiplicity, red.perpendicular(red.theta).shape
    (10, 996, (2, 2))
    >>> abs(red.net.evaluate(red.theta).value / neti.evaluate(theta).value - 1.0) < 1e-12
    True
    """
    if not isinstance(neti, NetI):
        raise InvalidTypeError(
            f"neti is {shown(neti)}; an inf.NetI is needed, whose loss depends on few inputs."
        )
    theta = neti.check(getattr(theta, "theta", theta))
    why = obstacle(neti)
    if why:
        raise MethodError(f"the network cannot be reduced: {why}.")
    return smallest(neti, theta)
