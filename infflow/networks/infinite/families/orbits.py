"""Networks whose students shadow blocks of orthonormal teachers: as many numbers as blocks, for any
number of neurons.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...._validation import (
    Array,
    as_array,
    as_choice,
    as_flag,
    as_integer,
    as_items,
    as_number,
    as_real_array,
    as_rng,
    as_vector,
    public,
    shown,
)
from ....activations import Activation, resolve
from ....errors import (
    InvalidTypeError,
    InvalidValueError,
    ShapeError,
    SingularMomentError,
    TooLargeError,
)
from ....integrals.registry import EVALUATORS
from ....memory import shortage
from ....objective import Evaluation, required
from ...finite.net import Net
from ...replacement import changed, recorded
from ...teacher import Teacher
from ..neti import NetI
from .orbit_loss import OrbitLoss
from .orbit_pairs import Places
from .orbit_spectrum import (
    FinerFamily,
    Pattern,
    SymmetryType,
    across_types,
    symmetry_type,
    trivial_type,
)

#: How the integrals may be evaluated.
METHODS = ("auto", *(name for name, evaluator in EVALUATORS.items() if evaluator.automatic))
#: entries of a symmetric point differ by this at most, relative to the largest
_SYMMETRIC = 1e-9
#: eigenvalues below this fraction of the largest of their type count as zero
_FLAT = 1e-10
#: bytes for each weight of a network that is lifted: teacher, student, layouts, copies
_WEIGHT = 64


class Entries(NamedTuple):
    """Weights of one student of each block; 0 where a family has no such entry."""

    own: Array  #: (B,) on the teacher that it shadows
    within: Array  #: (B,) on the other teachers of that block
    between: Array  #: (B, B_teachers) on those of each other block


class Whole(NamedTuple):
    """A whole network and its parameters."""

    neti: NetI
    theta: Array


class Divided(NamedTuple):
    """A family with finer blocks, and the same point of it."""

    family: SymmetricNetI
    z: Array


class OrbitSpectrum(NamedTuple):
    """Eigenvalues (n,), ascending, and how often each occurs (n,)."""

    values: Array
    multiplicities: Any


class SymmetricNetI:
    r"""Students that shadow orthonormal teachers, block by block, with standard normal inputs.

    Teachers have orthonormal weights and output weights one, and come in blocks. A block of
    students that shadows a block of teachers has one student for each of them, with weight ``own``
    on that teacher, ``within`` on the others of the block, and ``between`` on every other block.
    These numbers are the parameters z, whatever the number k of teachers. Permutations of the
    neurons within blocks leave the loss and such points as they are. So a critical point of the
    family is one of the whole network, and the gradient flow of the whole stays in the family.

    Solvers treat a family like a :class:`~infflow.NetI`. ``multiplicities`` says how many
    parameters of the whole network each entry of z stands for, :math:`m_i`. The squared length of a
    vector of the whole is :math:`\sum_i m_i z_i^2`. With a number ``eta`` :func:`infflow.train`
    takes the flow of the whole, :math:`\dot z_i = -\eta\, \partial_i L / m_i`; Newton's method
    measures its steps in the same way. An ``eta`` of shape (P,) is taken as it is; ``fam.eta`` is
    the one that stands for 1.

    Parameters
    ----------
    activation : str or Activation
        Of students and teachers.
    teachers : sequence of float
        Sizes of the blocks of teachers, at least 1; they may be real, for example to follow a
        critical point in the number of neurons.
    students : sequence of int or None, optional
        For each block of students the number of the teacher block that it shadows, or None for one
        free student. Several may shadow the same block. By default one for each block.
    train_second_layer : bool
        Whether output weights of students, one for each block, are parameters; else they are one.
    method : {"auto", "closed", "hermite", "numeric", "cubature"}
        How the Gaussian integrals are evaluated, as in :class:`~infflow.NetI`.
    rtol : float
        Tolerance of the integrals; closed forms are exact to rounding.
    inputs : float, optional
        Number of inputs of the whole network; by default as many as there are teachers. On further
        ones all weights are zero. They change neither loss nor gradient, but the whole has more
        parameters, whose Hessian belongs to spectrum and index.

    Raises
    ------
    InvalidTypeError, InvalidValueError, ShapeError, UnknownNameError
        If an argument cannot be used, such as a block of size 0, or a student that shadows a block
        that does not exist.
    MethodError
        If the method is not defined for the activation.

    See Also
    --------
    NetI : one network.
    continuation : follow a point in the number of neurons.
    certify : prove it.

    Notes
    -----
    The loss is :math:`\E\,|\text{student}(x) - \text{teacher}(x)|^2` without a factor 1/2. It is a
    sum over orbits of pairs of neurons. The Hermite terms of order 0 and 1 of the residual are
    squares of sums and are evaluated as such, so that nothing cancels in the :math:`k^2` pairs of
    many neurons (polynomials, atoms and waves; other activations lose digits as :math:`k^2`).

    References
    ----------
    Y. Arjevani and M. Field, Symmetry and critical points for a model shallow neural network,
    Physica D 427, 2021. I. Safran, G. Yehudai, O. Shamir, The effects of mild over-parameterization
    on the optimization landscape of shallow ReLU neural networks, 2020.

    Examples
    --------
    Seven relu students, of which one has not found its teacher:

    >>> import infflow as inf
    >>> fam = inf.SymmetricNetI("relu", teachers=[1, 6], students=[0, 1])
    >>> z0 = fam.pack(own=[-0.6, 1.0], within=[0.0, 0.0], between=[[0.0, 0.2], [0.3, 0.0]])
    >>> minimum = inf.train(fam, z0, max_steps_flow=0, progress=False)
    >>> round(minimum.loss, 8)
    0.04640543
    >>> values, multiplicities = fam.spectrum(minimum.theta)
    >>> round(float(values[0]) / 2, 7), int(multiplicities[0]), int(multiplicities.sum())
    (0.014059, 5, 49)
    """

    _arguments: dict[str, Any]  # the constructor's; resized reads them

    @public
    @recorded()
    def __init__(
        self,
        activation: str | Activation = "relu",
        teachers: Any = (1, 6),
        students: Any = None,
        train_second_layer: bool = False,
        method: str = "auto",
        rtol: float = 1e-10,
        inputs: Any = None,
    ) -> None:
        self.activation = resolve(activation)
        self.teachers = _as_sizes(teachers)
        self.students = _as_students(students, len(self.teachers))
        self.train_second_layer = as_flag("train_second_layer", train_second_layer)
        self.method = as_choice("method", method, METHODS)
        self.rtol = as_number("rtol", rtol, minimum=0.0, strict=True)
        k = self.num_teachers
        self.num_inputs = k if inputs is None else as_number("inputs", inputs, minimum=k)
        self._loss = self._orbit_loss(self.teachers, self.students)
        self._finer: tuple[FinerFamily, OrbitLoss, list[Pattern]] | None = None

    def _orbit_loss(self, sizes: Sequence[float], students: Sequence[int | None]) -> OrbitLoss:
        return OrbitLoss(
            self.activation, sizes, students, self.train_second_layer, self.method, self.rtol
        )

    # ------------------------------------------------------------------------------- properties

    @property
    def num_params(self) -> int:
        """Number P of parameters z."""
        return self._loss.num_params

    @property
    def multiplicities(self) -> Array:
        """How many parameters of the whole network each entry of z stands for, (P,)."""
        return self._loss.multiplicities.copy()

    @property
    def eta(self) -> Array:
        """Rates (P,) with which the flow of z is that of the whole network, 1/multiplicities."""
        return 1.0 / self._loss.multiplicities

    @property
    def places(self) -> Places:
        """Where the entries are in z; -1 for those that do not exist."""
        return self._loss.places

    @property
    def block_sizes(self) -> tuple[float, ...]:
        """Students of each block."""
        return tuple(self._loss.rows.counts.tolist())

    @property
    def num_students(self) -> float:
        """Number K of students of the whole network."""
        return float(self._loss.rows.counts.sum())

    @property
    def num_teachers(self) -> float:
        """Number k of its teachers, and of its inputs."""
        return float(sum(self.teachers))

    @property
    def is_whole(self) -> bool:
        """Whether all block sizes are integers, so that there is a whole network."""
        return all(size.is_integer() for size in (*self.teachers, self.num_inputs))

    def __repr__(self) -> str:
        sizes = [int(q) if q.is_integer() else q for q in self.teachers]
        second = ", train_second_layer=True" if self.train_second_layer else ""
        if self.num_inputs != self.num_teachers:
            D = self.num_inputs
            second += f", inputs={int(D) if D.is_integer() else D}"
        return (
            f"SymmetricNetI({self.activation.name!r}, teachers={sizes}, "
            f"students={list(self.students)}{second})"
        )

    # ------------------------------------------------------------------------------- parameters

    def check(self, z: Any) -> Array:
        """``z`` as a finite float64 vector (P,), or an error."""
        return as_vector("z", z, self.num_params, f"the parameters of {self!r}")

    @public
    def pack(self, own: Any, within: Any, between: Any, output_weights: Any = None) -> Array:
        """The parameters z (P,) with these entries; what :meth:`unpack` gives.

        Parameters
        ----------
        own, within : (B,) arrays
        between : (B, B_teachers) array
            Entries that the family does not have are not looked at.
        output_weights : (B,) array, optional
            With ``train_second_layer``; ones if not given.

        Raises
        ------
        InfflowError
            If an array has another shape or is not finite.
        """
        B = len(self.students)
        M = len(self.teachers)
        arrays = [as_vector("own", own, B), as_vector("within", within, B)]
        table = as_real_array("between", between)
        if table.shape != (B, M):
            raise ShapeError(f"between has shape {table.shape}; ({B}, {M}) is needed.")
        if output_weights is not None and not self.train_second_layer:
            raise InvalidValueError(
                "output_weights are parameters with train_second_layer=True only; leave them out."
            )
        a = np.ones(B) if output_weights is None else as_vector("output_weights", output_weights, B)
        places = self.places
        z = np.empty(self.num_params)
        for at, entries in (
            (places.own, arrays[0]),
            (places.within, arrays[1]),
            (places.between, table),
            (places.output, a),
        ):
            z[at[at >= 0]] = entries[at >= 0]
        return z

    @public
    def unpack(self, z: Any) -> Entries:
        """Entries by name: own (B,), within (B,), between (B, B_teachers).

        0 stands where the family has no such entry: ``own`` and ``within`` of free students,
        ``within`` of blocks of size 1, ``between`` of a block with that which it shadows.
        """
        padded = np.append(self.check(z), 0.0)
        places = self.places
        return Entries(padded[places.own], padded[places.within], padded[places.between])

    @public
    def output_weights(self, z: Any) -> Array:
        """Output weights (B,) of the students of each block; ones if they are not parameters."""
        padded = np.append(self.check(z), 1.0)
        return padded[self.places.output]

    @public
    def random(self, rng: Any) -> Array:
        """Random parameters z (P,): weights of students whose squared length is one on average.

        Parameters
        ----------
        rng : int or numpy.random.Generator

        Returns
        -------
        (P,) array
            Each own teacher, rest of its block, and other block has the same share of that length.
            Output weights are one.
        """
        generator = as_rng(rng)
        rows = self._loss.rows
        z = np.ones(self.num_params)
        for entries, sizes in zip(rows.entries, rows.sizes, strict=True):
            exists = sizes != 0.0
            share = 1.0 / (exists.sum() * np.abs(sizes[exists]))
            z[entries[exists]] = generator.standard_normal(exists.sum()) * np.sqrt(share)
        return z

    # ------------------------------------------------------------------------------ derivatives

    def evaluate(self, z: Any, order: int = 0) -> Evaluation:
        r"""Loss, and gradient (P,) in z from order 1, and Hessian (P, P) at order 2.

        Derivatives are plain ones: with :math:`E` the matrix that lifts z to the whole network, the
        gradient is :math:`E^\T \nabla L` and the Hessian :math:`E^\T H E`.

        Raises
        ------
        ShapeError, InvalidValueError
            If z has another shape or is not finite.
        SingularMomentError
            If the Hessian is infinite at z.
        """
        z = self.check(z)
        order = as_integer("order", order, minimum=0, maximum=2)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            value, scale, gradient, H = self._loss.evaluate(z, order)
        if H is not None and math.isfinite(value) and not np.isfinite(H).all():
            raise SingularMomentError(
                "the Hessian is infinite: a student has a kink and lies at zero, or the kinks of "
                "two neurons are parallel. Move one of them, or use a smooth activation."
            )
        # Never report less than can be resolved: a rounding error below zero is no solution.
        floor = float(np.finfo(np.float64).eps) * scale
        return Evaluation(floor if value < floor else value, gradient, H)

    def hvp(self, z: Any, v: Any) -> Array:
        """Hessian in z times ``v`` of shape (P,) or (P, m)."""
        v = as_real_array("v", v, ndim=(1, 2))
        if len(v) != self.num_params:
            raise ShapeError(f"v has shape {v.shape}; ({self.num_params},) or (.., m) is needed.")
        product: Array = self.evaluate(z, 2).H @ v
        return product

    def loss_rounding(self, z: Any, value: float) -> float:
        """Rounding error to expect of the loss at z, from the terms that it is the sum of."""
        as_number("value", value, infinite=True)
        scale = self._loss.evaluate(self.check(z), 0)[1]
        return 2.0 * float(np.finfo(np.float64).eps) * scale

    def frozen(self, z: Any, rtol: float = 1e-14) -> SymmetricNetI:
        """The same loss with a fixed choice of evaluators, as :meth:`infflow.NetI.frozen`."""
        z = self.check(z)
        rtol = as_number("rtol", rtol, minimum=0.0)
        if self._loss.is_smooth:
            return self
        other = copy.copy(self)
        other._loss = self._loss.frozen(z, rtol)
        return other

    # --------------------------------------------------------------------------------- the whole

    @public
    def lift(self, z: Any) -> Whole:
        """The whole network at the point z.

        Returns
        -------
        named tuple (neti, theta)
            A :class:`~infflow.NetI` of K students and k teachers, without biases, and its
            parameters: students in the order of the blocks, teachers too, output weights last.
            Where output weights are no parameters of the family, ``whole_frozen`` says which
            entries of theta those are.

        Raises
        ------
        InvalidValueError
            If block sizes are not integers.
        TooLargeError
            If the network would not fit in memory.
        """
        z = self.check(z)
        self._require_whole("lift")
        K, k, D = (int(n) for n in (self.num_students, self.num_teachers, self.num_inputs))
        needed = _WEIGHT * (K * D + k * D)
        if (K + k) * D > 10**6 and shortage(needed) is not None:
            raise TooLargeError(
                f"a network of {K} students in {D} inputs takes about {needed / 2**30:.3g} GiB. "
                "The family itself has the same losses, spectra and flows: work with z."
            )
        student, teacher = (
            Net([(n, self.activation, False), (1, "identity", False)], input_dim=D) for n in (K, k)
        )
        theta_star = np.concatenate([np.eye(k, D).ravel(), np.ones(k)])
        neti = NetI(student, Teacher(teacher, theta_star), method=self.method, rtol=self.rtol)
        return Whole(neti, np.append(z, (1.0, 0.0))[self._spread()])

    def _require_whole(self, what: str) -> None:
        if not self.is_whole:
            raise InvalidValueError(
                f"{what} needs blocks of integer sizes, and they are {list(self.teachers)}: there "
                "is no such network. Use fam.resized(teachers=[...]) with integers."
            )

    def _spread(self) -> Any:
        """The entry of z that each parameter of the whole is equal to; P is 1, and P + 1 is 0."""
        sizes = [int(q) for q in self.teachers]
        places = self.places
        P = self.num_params
        rows = []
        outputs = []
        for i, shadowed in enumerate(self.students):
            count = 1 if shadowed is None else sizes[shadowed]
            parts = []
            for j, q in enumerate(sizes):
                part = np.full((count, q), places.between[i, j])
                if j == shadowed:
                    part[:] = places.within[i]
                    np.fill_diagonal(part, places.own[i])
                parts.append(part)
            further = int(self.num_inputs) - sum(sizes)
            parts.append(np.full((count, further), P + 1))
            rows.append(np.hstack(parts).ravel())
            outputs.append(np.full(count, P if places.output[i] < 0 else places.output[i]))
        return np.concatenate([*rows, *outputs])

    @property
    def whole_frozen(self) -> Any:
        """Which parameters of the whole network (booleans) are output weights that stay one."""
        self._require_whole("whole_frozen")
        return self._spread() == self.num_params

    @public
    def restrict(self, theta: Any) -> Array:
        """The parameters z (P,) of a symmetric point of the whole network.

        Parameters
        ----------
        theta : array_like
            As :meth:`lift` gives it. Entries that the family has equal may differ by rounding, and
            are averaged.

        Raises
        ------
        ShapeError
            If theta has another length than the whole network.
        InvalidValueError
            If theta is no symmetric point, or block sizes are not integers.
        """
        self._require_whole("restrict")
        source = self._spread()
        theta = as_vector("theta", theta, len(source), f"the whole network of {self!r}")
        P = self.num_params
        counts = np.bincount(source, minlength=P)[:P]
        z: Array = np.bincount(source, theta, minlength=P)[:P] / counts
        symmetric = np.append(z, (1.0, 0.0))[source]
        left = np.abs(symmetric - theta)
        worst = int(left.argmax())
        if left[worst] > _SYMMETRIC * max(1.0, float(np.abs(theta).max())):
            raise InvalidValueError(
                f"theta is no symmetric point of {self!r}: theta[{worst}] is {theta[worst]:.6g}, "
                f"where its orbit has {symmetric[worst]:.6g}. Neurons have to be "
                "in the order of lift, and equal within blocks."
            )
        return z

    @public
    def symmetry_types(self, z: Any, frozen: Any = None) -> list[SymmetryType]:
        r"""The Hessian of the whole network at z, one small matrix for each symmetry type.

        Parameters
        ----------
        z : (P,) array
        frozen : (P,) boolean array, optional
            Parameters that are held, in the whole network too: all output weights, or none.

        Returns
        -------
        list of SymmetryType
            The trivial one, in which the family itself moves, first. Its matrix is the Hessian in
            orthonormal coordinates, :math:`\sqrt{m_i}\, z_i` with the multiplicities :math:`m_i`.
            Of the others each matrix stands for ``dimension`` equal blocks of the Hessian. See
            :mod:`.orbit_spectrum` for the types. Further inputs have types of their own, whose
            vectors are the weights of the student blocks on one of them.

        Raises
        ------
        InvalidValueError
            If a block has a size between 1 and 2, for which there are no such types, or other
            parameters are frozen.
        SingularMomentError
            If the Hessian is infinite at z.
        """
        z = self.check(z)
        for j, size in enumerate(self.teachers):
            if 1.0 < size < 2.0:
                raise InvalidValueError(
                    f"teacher block {j} has {size:g} members; symmetry types exist for 1, and for "
                    "2 and more. The Hessian of the family alone is fam.evaluate(z, 2).H."
                )
        held = self.require_frozen(frozen)
        trivial = trivial_type(self.evaluate(z, 2).H, self._loss.multiplicities)
        if held:
            keep = np.flatnonzero(~as_array("frozen", frozen))
            trivial = trivial._replace(
                hessian=trivial.hessian[np.ix_(keep, keep)], vectors=trivial.vectors[:, keep]
            )
        if self._finer is None:
            finer = FinerFamily(self.teachers, self.students, self.train_second_layer)
            loss = self._orbit_loss(finer.sizes, finer.students)
            self._finer = finer, loss, finer.patterns()
        finer, loss, patterns = self._finer
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            H = required("hessian", loss.evaluate(z[finer.source], 2)[3])
        chosen = [each.without_outputs() for each in patterns] if held else patterns
        found = [trivial, *(symmetry_type(each, H, loss.multiplicities) for each in chosen)]
        further = self.num_inputs - self.num_teachers
        if further:
            found += across_types(self._loss.across(z), self.teachers, self.students, further)
        return found

    def require_frozen(self, frozen: Any) -> bool:
        """Whether all output weights are frozen; an error where other parameters are."""
        if frozen is None:
            return False
        mask = as_array("frozen", frozen)
        if mask.dtype != np.bool_ or mask.shape != (self.num_params,):
            raise InvalidTypeError(
                f"frozen is an array of {mask.dtype} of shape {mask.shape}; booleans of shape "
                f"({self.num_params},) are needed."
            )
        outputs = np.zeros(self.num_params, dtype=bool)
        outputs[self.places.output[self.places.output >= 0]] = True
        if not mask.any():
            return False
        if not (mask == outputs).all():
            raise InvalidValueError(
                "frozen holds some weights, and in a family only all output weights together can "
                "be held: the symmetry types of the whole network are not defined otherwise."
            )
        return True

    @public
    def spectrum(self, z: Any) -> OrbitSpectrum:
        """Eigenvalues of the Hessian of the whole network at z.

        Returns
        -------
        named tuple (values, multiplicities)
            Ascending, one entry for each eigenvalue of each symmetry type. Multiplicities are
            integers that sum to the number of parameters of the whole network; for blocks of real
            size they are real.

        Raises
        ------
        InfflowError
            As :meth:`symmetry_types`.
        """
        types = self.symmetry_types(z)
        values = np.concatenate([np.linalg.eigvalsh(each.hessian) for each in types])
        counts = np.repeat(
            np.array([each.dimension for each in types]), [len(each.hessian) for each in types]
        )
        order = np.argsort(values, kind="stable")
        return OrbitSpectrum(values[order], counts[order])

    @public
    def index(self, z: Any) -> int | float:
        """Number of negative eigenvalues of the Hessian of the whole network at z.

        Those within 1e-10 of zero, relative to the largest of their symmetry type, do not count:
        scaling of homogeneous neurons leaves the loss as it is. Real where block sizes are.
        """
        total: int | float = 0
        for each in self.symmetry_types(z):
            values = np.linalg.eigvalsh(each.hessian)
            limit = -_FLAT * float(np.abs(values).max())
            total += each.dimension * int((values < limit).sum())
        return total

    @public
    def resized(self, teachers: Any) -> SymmetricNetI:
        """The same family with other sizes of the teacher blocks.

        Parameters
        ----------
        teachers : sequence of float
            As many as before. A block of size 1 has no entry ``within``, so that z has one entry
            fewer for each student block that shadows it.

        Raises
        ------
        InfflowError
            If sizes cannot be used.
        """
        sizes = _as_sizes(teachers)
        if len(sizes) != len(self.teachers):
            raise ShapeError(
                f"teachers has {len(sizes)} sizes; {len(self.teachers)} are needed, one for each "
                "block."
            )
        return self.replace(teachers=sizes)

    @public
    def divide(self, z: Any, block: int, apart: int = 1) -> Divided:
        """The same point in a family whose blocks are finer.

        Parameters
        ----------
        z : (P,) array
        block : int
            The teacher block of q members that is divided into two, in its place; with it the
            student blocks that shadow it.
        apart : int
            Members of the first of the two; the second has q - apart of them.

        Returns
        -------
        named tuple (family, z)

        Raises
        ------
        InvalidValueError
            If there is no such block, or one of the two would have less than one member.
        """
        z = self.check(z)
        block = as_integer("block", block, minimum=0, maximum=len(self.teachers) - 1)
        apart = as_integer("apart", apart, minimum=1, maximum=2**53)
        size = self.teachers[block]
        if size - apart < 1.0:
            raise InvalidValueError(
                f"apart is {apart}, and teacher block {block} has {size:g} members; both parts "
                "need at least one."
            )
        parts = [[q] for q in self.teachers]
        parts[block] = [float(apart), size - apart]
        finer = FinerFamily(self.teachers, self.students, self.train_second_layer, parts)
        family = self.replace(teachers=finer.sizes, students=finer.students)
        return Divided(family, z[finer.source])

    def replace(self, **changes: Any) -> SymmetricNetI:
        """The same with other arguments of the constructor; everything else is kept."""
        return SymmetricNetI(**changed(self, {}, changes))


def _as_sizes(teachers: Any) -> tuple[float, ...]:
    """Sizes of blocks, at least 1 each."""
    items = as_items("teachers", teachers, "a list of block sizes")
    if not items:
        raise InvalidValueError("teachers is empty; at least one block of teachers is needed.")
    return tuple(as_number(f"teachers[{j}]", size, minimum=1.0) for j, size in enumerate(items))


def _as_students(students: Any, num_blocks: int) -> tuple[int | None, ...]:
    """Numbers of the blocks that are shadowed."""
    if students is None:
        return tuple(range(num_blocks))
    items = as_items("students", students, "a list of block numbers or None")
    if not items:
        raise InvalidValueError("students is empty; at least one block of students is needed.")
    found: list[int | None] = []
    for i, shadowed in enumerate(items):
        if shadowed is None:
            found.append(None)
            continue
        number = as_integer(f"students[{i}]", shadowed)
        if not 0 <= number < num_blocks:
            raise InvalidValueError(
                f"students[{i}] is {shown(shadowed)}, but there are {num_blocks} blocks of "
                f"teachers, 0 to {num_blocks - 1}. None stands for one free student."
            )
        found.append(number)
    return tuple(found)
