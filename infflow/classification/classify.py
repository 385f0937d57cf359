"""What kind of point was found: minimum, degenerate minimum, saddle, or not converged."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validation import Array, as_choice, as_flag, as_integer, counted, public
from ..channels import Limit
from ..errors import DivergedError, InvalidTypeError, InvalidValueError, ShapeError, TooLargeError
from ..memory import SPECTRUM, require_memory
from ..networks.finite.net import Net
from ..networks.frozen import free_parameters, frozen_by
from ..networks.infinite.families.orbits import SymmetricNetI
from ..networks.infinite.neti import NetI
from ..networks.inputs import sample_size
from ..networks.teacher import Teacher
from ..terminal import Bar
from ..threads import limit_for
from .at_infinity import end_at_infinity, what_runs_off
from .curvature import Curvature, DenseCurvature, Product, ProductCurvature, products
from .few_inputs import InFewInputs
from .hidden import is_piecewise_linear
from .kantorovich import Samples, newton_numbers
from .kinks import OnKinks, TangentLoss, on_kinks
from .point_kind import Classification, PointKind
from .rest import all_of_it, smallest_of_it
from .structure import duplicate_groups, find_structure
from .symmetric import classify_family
from .symmetries import FlatDirections, Symmetry, families, flat_space
from .verdict import HESSIAN_NOISE, is_level, verdict

METHODS = ("auto", "dense", "lanczos")

#: up to this many free parameters all eigenvalues are computed, whatever is asked for; above this
#: many only where it is
_SMALL = 64
_LARGE = 6000
#: a squared error below this fraction of E|y|^2 is zero
_ZERO_LOSS = 1e-13


@public
def classify(
    net: Net | NetI | SymmetricNetI,
    theta: Any,
    frozen: ArrayLike | None = None,
    teacher: Teacher | None = None,
    samples: int = 8,
    seed: int = 0,
    *,
    eta: Any = None,
    method: str = "auto",
    progress: bool = True,
) -> Classification:
    r"""Say what kind of point ``theta`` is: small gradients and eigenvalues near zero prove
    nothing.

    Directions that symmetries make flat are removed: scaling of homogeneous neurons, duplicated,
    dead and linearly dependent neurons, mixtures of linear or quadratic neurons, null inputs,
    changes that cancel in piecewise linear layers on finite data, lengths of weights in the
    spherical parametrization. On the rest the Newton-Kantorovich number
    :math:`h = \beta\, |\text{step}|\, K` decides whether a critical point is near
    (:math:`h \le 1/2`), and the signs of the eigenvalues what it is. K is sampled on the ball
    around theta, so this is strong evidence, not a proof; :func:`infflow.certify` proves.

    Parameters
    ----------
    net : Net with data, NetI, or SymmetricNetI
        Of a family the whole network is judged: index, flat directions and eigenvalues are those of
        the whole, with their multiplicities; Newton's numbers, K too, are of the family.
    theta : (P,) array or Result
        Where; usually what :func:`infflow.train` returned, which knows its ``eta``.
    frozen : (P,) boolean array, optional
        Parameters that are held fixed (those with ``eta = 0``); they take no part.
    teacher : Teacher, optional
        For a ``Net``: the teacher whose neurons the students are compared with. A ``NetI`` knows
        its own.
    samples : int
        Number of random directions for K; each costs some ten Hessian-vector products.
    seed : int
        Where the directions come from.
    eta : number or (P,) array, optional
        As in :func:`infflow.train`: entries 0 freeze a parameter. In the place of ``frozen``; where
        both are left out, that of the ``Result`` counts.
    method : {"auto", "dense", "lanczos"}
        How the Hessian is judged: by all its eigenvalues, or from Hessian-vector products alone by
        the smallest ones. "auto" takes the second above 6000 free parameters, and where matrices do
        not fit in memory.
    progress : bool
        Say on a terminal or in a notebook what is being computed.

    Returns
    -------
    Classification
        ``kind`` is a :class:`PointKind`; printing it explains everything.

    Raises
    ------
    TooLargeError
        If matrices do not fit in memory, with ``method="dense"``, or directions that a symmetry
        leaves flat.
    InfflowError
        If an argument cannot be used, or the Hessian at theta is infinite or overflows.

    See Also
    --------
    certify : a proof.
    hessian_eigenvalues : the spectrum.
    unique_solutions : which runs found the same.

    Notes
    -----
    A loss below 1e-13 of that of the zero function counts as zero: there, directions without
    curvature are called flat even without a symmetry behind them. Elsewhere unexplained directions
    without curvature make the point NOT_CONVERGED, since second derivatives then cannot tell a
    minimum from a saddle or a slow path; unless the gradient vanishes along them and others have
    negative curvature, which makes it a saddle in any case.

    Where nothing shows that a critical point is near, neurons of a network with one hidden layer
    may look as if they were running off. Then the end at infinity is searched in regular
    coordinates. It may be a pair that merges while its output weights run off, a neuron whose bias
    runs off to where the activation is straight or an exponential, or one that becomes a kink or a
    step. If the loss falls all the way to a minimum there, the kind is ``AT_INFINITY``.

    On finite data a kink of relu, leaky_relu or abs may meet a sample exactly, so that the gradient
    jumps there. Where such kinks hold the point (one hidden layer), the loss along them is judged,
    and a minimum is a KINK_MINIMUM: the loss also grows across the kinks, to first order.

    Biases and weights of deep nets are covered layer by layer; the structure is about the first
    hidden layer.

    Where the weights of a NetI span fewer inputs than there are (:func:`infflow.reduce`), the point
    is judged in these (unless ``method="lanczos"``), and ``reduction`` says so. Index, flat
    directions and spectrum are those of the whole network; K is sampled on a ball of the span and
    of one further input for each eigenvalue of the covariance.

    With ``method="lanczos"`` an eigenvalue counts as zero if it is below its error bound, about
    1e-9 of the largest. If a positive one is found, all that are zero or negative are below it;
    ``unknown`` says what is not known.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
    >>> inf.classify(neti, [1.0, 0.0, 1.0]).kind.name
    'MINIMUM'
    """
    held = frozen_by(net, theta, frozen, eta)
    if isinstance(net, SymmetricNetI):
        settings = (teacher, samples, seed, method, progress)
        return _classify_family(net, getattr(theta, "theta", theta), held, settings)
    known = getattr(theta, "limit", None)
    theta = np.array(_checked(net, getattr(theta, "theta", theta)))
    free = free_parameters(held, net.num_params)
    teacher = _checked_teacher(net, teacher)
    method = as_choice("method", method, METHODS)
    few = None if method == "lanczos" else InFewInputs.of(net, theta, free)
    place = _Place(net, theta, free, teacher) if few is None else _Place.in_few(few)
    number = sample_size(samples, place.net.num_params, "samples", minimum=1)
    seed = as_integer("seed", seed, minimum=0)
    dense = _is_dense(method, place.net.num_params, len(place.free))
    progress = as_flag("progress", progress)
    held_on = on_kinks(net, theta, free) if isinstance(net, Net) and dense else None
    quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
    with limit_for(place.net.num_params), _bar(progress) as bar, quiet:
        if isinstance(place.net, NetI):  # integrals as accurate as they get
            place = replace(place, net=place.net.frozen(place.theta))
        drawn = Samples(number, seed, bar.update, place.weights)
        if held_on is not None:
            return _classify_on_kinks(place, held_on, drawn, bar)
        found = _classify(place, drawn, dense, bar)
        found = found if few is None else few.whole(found)
        if found.kind is not PointKind.NOT_CONVERGED:
            return found
        bar.stage("ends at infinity")
        limit = known or end_at_infinity(net, theta, free, few)
        if limit is None:
            return replace(found, reason=found.reason + what_runs_off(net, theta, free))
        return _at_infinity(found, limit)


def _at_infinity(found: Classification, limit: Limit) -> Classification:
    """What was found on a path that ends at infinity."""
    return replace(
        found,
        kind=PointKind.AT_INFINITY,
        index=limit.index,
        expected_loss=limit.loss_at_infinity,
        reason="",
        limit=limit,
    )


def _is_dense(method: str, num_params: int, num_free: int) -> bool:
    """Whether matrices are formed."""
    if num_free <= _SMALL:
        method = "dense"
    if method == "auto":
        try:
            require_memory(num_params, "the Hessian and its spectrum", SPECTRUM)
        except TooLargeError:
            return False
        return num_free <= _LARGE
    if method == "dense":
        remedy = 'Use method="lanczos", which never forms it.'
        require_memory(num_params, "the Hessian and its spectrum", SPECTRUM, remedy)
    return method == "dense"


@dataclass(frozen=True)
class _Place:
    """Which point of which network is judged."""

    net: Net | NetI
    theta: Array
    free: NDArray[np.intp]
    teacher: Teacher | None
    weights: Array | None = None  #: how many parameters each free one stands for

    @classmethod
    def in_few(cls, few: InFewInputs) -> _Place:
        """The point in the inputs that the weights span."""
        net = few.net
        teacher = net.teacher if isinstance(net.teacher, Teacher) else None
        return cls(net, few.theta, few.free, teacher, few.weights)


def _classify(place: _Place, samples: Samples, dense: bool, bar: Bar) -> Classification:
    net = place.net
    theta = place.theta
    free = place.free
    teacher = place.teacher
    bar.stage("Hessian")
    value, gradient, curvature, here = _evaluate(net, theta, free, dense, bar)
    g = gradient[free]
    bar.stage("symmetries")
    noise = HESSIAN_NOISE * curvature.norm
    is_plain = not _is_regularized(net, theta)
    flat, flats = flat_space(
        families(net, theta, dense),
        g,
        curvature,
        free,
        len(theta),
        noise,
        is_plain,
        place.weights,
    )
    gap = noise
    zero_loss = False
    excess = _relative_excess(net, theta, value)
    if excess <= _ZERO_LOSS:
        zero_loss = True
        gap = noise + 10.0 * _curvature_left(net, excess) * curvature.norm
    bar.stage("eigenvalues")
    if isinstance(curvature, DenseCurvature):
        rest = all_of_it(curvature, g, flat, gap, place.weights)
    else:
        rest = smallest_of_it(curvature, g, flat, gap, place.weights)
    bar.stage("Lipschitz constant")
    newton = newton_numbers(net, theta, free, rest, here, samples)
    at_rest = is_level(value, g, curvature.diagonal, theta[free], rest.null, 0.0)
    # Newton's step to the critical point, to second order, turns the gradient by so much
    level = is_level(
        value, g, curvature.diagonal, theta[free], flat, newton.lipschitz * newton.length**2
    )
    counts = rest.multiplicities
    index = int(counts[rest.is_negative].sum())
    nulls = int(counts[rest.is_null].sum())
    kind, reason = verdict(
        newton, index, 0 if zero_loss else nulls, at_rest, level, bool(flats) or nulls > 0
    )
    if nulls:
        why = Symmetry.ZERO_LOSS if zero_loss else Symmetry.UNKNOWN
        flats = (*flats, FlatDirections(why, -1, (), nulls))
    unknown = rest.unknown
    if (
        not dense
        and isinstance(net, Net)
        and any(is_piecewise_linear(f) for f in net.layers[0].activations)
    ):
        unknown = (
            *unknown,
            "flat directions of piecewise linear layers as a whole were not looked for",
        )
    return Classification(
        kind,
        index,
        flats,
        rest.eigenvalues if not zero_loss else rest.eigenvalues[~rest.is_null],
        value,
        float(np.abs(g).max()),
        max(value - newton.gain, _noise(net)),
        newton,
        reason,
        duplicate_groups(net, theta) if len(net.layers) > 1 else (),
        find_structure(net, theta, teacher) if teacher is not None else None,
        "dense" if dense else "lanczos",
        unknown,
        counts if not zero_loss else counts[~rest.is_null],
    )


def _classify_on_kinks(place: _Place, point: OnKinks, samples: Samples, bar: Bar) -> Classification:
    """A point that is held on kinks, by the loss along them."""
    net = place.net
    assert isinstance(net, Net)
    here = point.cell.start
    T = point.tangents
    H = here.hessian
    assert H is not None
    curvature = DenseCurvature(H)
    noise = HESSIAN_NOISE * curvature.norm
    bar.stage("symmetries")
    flat, flats = flat_space(
        families(net, place.theta),
        T @ here.gradient,
        DenseCurvature(T @ H @ T.T),
        place.free,
        len(place.theta),
        noise,
        not _is_regularized(net, place.theta),
    )
    flat = point.flat(flat)
    bar.stage("eigenvalues")
    rest = all_of_it(curvature, here.gradient, flat, noise, None)
    bar.stage("Lipschitz constant")
    loss = TangentLoss(point.cell)
    y = point.cell.origin
    every = np.arange(len(y))
    newton = newton_numbers(loss, y, every, rest, lambda v: H @ v, samples)
    at = here.value, here.gradient, curvature.diagonal, y
    at_rest = is_level(*at, rest.null, 0.0)
    level = is_level(*at, flat, newton.lipschitz * newton.length**2)
    index = int(rest.is_negative.sum())
    nulls = int(rest.is_null.sum())
    kind, reason = verdict(newton, index, nulls, at_rest, level, bool(flats) or nulls > 0)
    if kind in (PointKind.MINIMUM, PointKind.DEGENERATE_MINIMUM):
        kind = PointKind.KINK_MINIMUM
    if nulls:
        flats = (*flats, FlatDirections(Symmetry.UNKNOWN, -1, (), nulls))
        if reason and point.touched:
            reason += (
                f" {counted(point.touched, 'kink')} more met here without holding the point, which "
                "may lie at the border of a flat region."
            )
    step = np.zeros_like(place.theta)
    step[place.free] = T @ newton.step
    return Classification(
        kind,
        index,
        flats,
        rest.eigenvalues,
        here.value,
        float(np.abs(T @ here.gradient).max(initial=0.0)),
        max(here.value - newton.gain, 0.0),
        replace(newton, step=step),
        reason,
        duplicate_groups(net, place.theta),
        None if place.teacher is None else find_structure(net, place.theta, place.teacher),
        multiplicities=rest.multiplicities,
        kinks=point.kinks,
    )


def _classify_family(
    fam: SymmetricNetI, z: Any, held: Any, settings: tuple[Any, ...]
) -> Classification:
    """The point of a family, for the whole network that it stands for."""
    teacher, samples, seed, method, progress = settings
    z = np.array(fam.check(z))
    free = free_parameters(held, fam.num_params)
    fam.require_frozen(~np.isin(np.arange(fam.num_params), free))
    if not fam.is_whole:
        raise InvalidValueError(
            f"classify speaks about whole networks, and teachers={list(fam.teachers)} are not all "
            "integers. Use fam.resized(teachers=[...]), or fam.symmetry_types(z)."
        )
    if teacher is not None:
        raise InvalidValueError(
            "teacher is for a Net; a SymmetricNetI has its own, leave the argument out."
        )
    if as_choice("method", method, METHODS) == "lanczos":
        raise InvalidValueError(
            "method is 'lanczos'; the Hessian of a family is small matrices, whose eigenvalues are "
            "all computed. Leave the argument out."
        )
    number = sample_size(samples, fam.num_params, "samples", minimum=1)
    seed = as_integer("seed", seed, minimum=0)
    with _bar(as_flag("progress", progress)) as bar:
        return classify_family(fam, z, free, Samples(number, seed, bar.update))


def _checked(net: Any, theta: Any) -> Array:
    if not isinstance(net, (Net, NetI)):
        raise InvalidTypeError(
            f"net is a {type(net).__name__}; classify knows the symmetries of an inf.Net with "
            "data and of an inf.NetI."
        )
    if isinstance(net, Net):
        _ = net.data  # raises without
    checked: Array = net.layout.check(theta)
    return checked


def _checked_teacher(net: Net | NetI, teacher: Teacher | None) -> Teacher | None:
    if isinstance(net, NetI):
        if teacher is not None:
            raise InvalidValueError(
                "teacher is for a Net; a NetI has its own, leave the argument out."
            )
        return net.teacher if isinstance(net.teacher, Teacher) else None
    if teacher is None:
        return None
    if not isinstance(teacher, Teacher):
        raise InvalidTypeError(f"teacher is a {type(teacher).__name__}; an inf.Teacher is needed.")
    if teacher.net.input_dim != net.input_dim or min(len(teacher.net.layers), len(net.layers)) < 2:
        raise ShapeError(
            f"teacher {teacher.net!r} and net {net!r} cannot be compared: both need a hidden "
            "layer and the same inputs."
        )
    return teacher


def _evaluate(
    net: Net | NetI, theta: Array, free: NDArray[np.intp], dense: bool, bar: Bar
) -> tuple[float, Array, Curvature, Product]:
    """Loss, gradient (P,), Hessian on the free parameters, and its product with vectors."""
    found = net.evaluate(theta, 2 if dense else 1)
    value = found.value
    gradient = found.g
    if not (math.isfinite(value) and np.isfinite(gradient).all()):
        raise DivergedError("loss or gradient is not finite at this theta: numbers overflow.")
    here = products(net, theta, free, bar.update)
    if not dense:
        return value, gradient, ProductCurvature(here, len(free)), here
    if not np.isfinite(found.H).all():
        raise DivergedError("the Hessian is not finite at this theta: numbers overflow.")
    matrix = found.H if len(free) == len(theta) else found.H[np.ix_(free, free)]
    return value, gradient, DenseCurvature(matrix), here


def _is_regularized(net: Net | NetI, theta: Array) -> bool:
    """Whether barrier, ridge or pairs to merge act at theta, which breaks all symmetries but
    permutations.
    """
    student = net.student if isinstance(net, NetI) else net
    return net.regularization.acts_at(student.normalized(theta))


def _relative_excess(net: Net | NetI, theta: Array, value: float) -> float:
    """Loss above that of the noise, relative to that of the zero function; infinite where targets
    do not make it zero.
    """
    unlike = not net.loss.is_zero_at_target if isinstance(net, Net) else net.loss != "squared"
    if unlike or _is_regularized(net, theta):
        return math.inf
    noise = _noise(net)
    silent = theta.copy()
    silent[net.layout.blocks[-1].start :] = 0.0
    scale = net.evaluate(silent, 0).value - noise
    resolution = float(np.finfo(float).eps) * value  # noise hides as much of the rest
    return max(value - noise, resolution) / scale if scale > 0.0 else math.inf


def _curvature_left(net: Net | NetI, excess: float) -> float:
    """Curvature, relative to the largest, that a loss next to zero can have along a direction that
    is flat at zero.

    A loss that grows with the fourth power of a distance d has the curvature d^2; with kinks
    (collinear ramps that move apart) it grows with the third and has the curvature d.
    """
    kinked = any(f.kinks for layer in net.layers[:-1] for f in layer.activations)
    return excess ** (1 / 3 if kinked else 1 / 2)


def _noise(net: Net | NetI) -> float:
    """What label noise adds to the loss, which cannot fall below it."""
    if not isinstance(net, NetI):
        return 0.0
    if net.loss != "squared":  # linear in the second layer
        return -math.inf
    return net.teacher.noise * net.teacher.noise * net.output_dim


def _bar(wanted: bool) -> Bar:
    """A line that says what is being computed, and how many Hessian-vector products were made for
    it.
    """
    return Bar(
        wanted,
        bar_format="classify: {desc} [{elapsed}, {n_fmt} Hessian-vector products]",
        leave=False,
    )
