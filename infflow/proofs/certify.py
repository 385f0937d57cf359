"""Proofs of critical points of infinite-data networks in ball arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validation import Array, as_flag, as_integer, public, shown
from ..classification.hidden import hidden_layers, homogeneity
from ..errors import InvalidTypeError, InvalidValueError
from ..memory import require_memory
from ..networks.frozen import free_parameters, frozen_by
from ..networks.infinite.families.orbits import SymmetricNetI
from ..networks.infinite.neti import NetI
from ..networks.unit_rows import UnitRows
from ..terminal import Bar
from .ball import working_precision
from .certificate import Certificate
from .families import certify_family
from .krawczyk import Proof
from .network import BallNetwork, covered_teacher
from .span import ShortProblem, prove, short_problem

#: most bits of the ball arithmetic, beyond which a proof takes for ever
_MOST_BITS = 10**6
#: memory of all matrices of balls together, in matrices of float64
_BALL_MATRICES = 100


@public
def certify(
    net: NetI | SymmetricNetI,
    theta: Any,
    frozen: ArrayLike | None = None,
    gauge: str | None = "auto",
    precision: int = 128,
    *,
    eta: Any = None,
    progress: bool = True,
) -> Certificate:
    r"""Prove that exactly one critical point of the infinite-data loss is near ``theta``, and what
    it is.

    Gradient and Hessian are evaluated in ball arithmetic; Krawczyk's test proves existence and
    uniqueness in a box around theta, Gershgorin's discs after a change of basis give the inertia of
    the Hessian.

    Parameters
    ----------
    net : NetI or SymmetricNetI
        A family speaks about the whole network that it stands for: existence is proved in its few
        parameters, and index and positive count all eigenvalues of the whole, for any number of
        neurons. A NetI has to be without biases, barrier, ridge and merge, in the standard or the
        spherical parametrization, with centred Gaussian input. Activations of both are identity,
        square, cube, erf, normal_cdf, gelu, gaussian, relu, leaky_relu, abs, or polynomials of
        one's own. The proof is about these functions, as ``assumptions`` prints them, not about
        their float64 weights: leaky_relu has the slope 1/100 exactly, gaussian is
        :math:`e^{-x^2/2}`. Only polynomials of one's own have float64 coefficients by definition,
        those of ``Activation.polynomial``.
    theta : (P,) array or Result
        An accurate critical point, as Newton's method finds it; a ``Result`` knows its ``eta``.
    frozen : (P,) boolean array, optional
        Parameters held at their values; the statement is about the loss as a function of the
        others. For a family all output weights, or none.
    gauge : "auto" or None
        "auto" also holds one output weight of each homogeneous neuron at its value (the largest),
        unless frozen parameters fix its scaling already. The gradient along the scaling vanishes
        everywhere, so that nothing is lost: a critical point of the restricted loss is one of the
        loss, and the Hessian has an additional zero eigenvalue for each gauge. In the spherical
        parametrization the largest weight of each row is held, in the place of its length.
    precision : int
        Bits of the ball arithmetic.
    eta : number or (P,) array, optional
        As in :func:`infflow.train`, in the place of ``frozen``: entries 0 freeze a parameter. Where
        both are left out, that of the ``Result`` counts.
    progress : bool
        Count evaluations in ball arithmetic on a terminal or in a notebook.

    Returns
    -------
    Certificate
        True if the proof succeeded; otherwise its ``reason`` says why not.

    Raises
    ------
    MissingPackageError
        Without python-flint (``pip install 'infflow[proof]'``).
    MethodError
        If the network is not covered: with biases (also if their values are zero), other
        activations, a barrier, ridge or merge, another parametrization, an input with a mean, a
        mixture, a teacher that is a function. :func:`infflow.classify` covers these, with evidence
        in the place of a proof.
    TooLargeError
        If matrices of balls would not fit in memory.
    InfflowError
        If another argument cannot be used.

    See Also
    --------
    classify : evidence, for all networks.
    train : finds the point.

    Notes
    -----
    Let :math:`C g` be the Newton step at the centre, and :math:`X` a box of radius :math:`r` around
    it. Then :math:`|C g| + |1 - C H(X)|\, r < r` (largest components and row sums) implies that
    :math:`X` contains exactly one zero of :math:`g` (R. Krawczyk, Computing 4 (1969) 187-201; S.
    Rump, Acta Numerica 19 (2010) 287-449, section 13). The proof relies on python-flint being
    correct; numbers in float64 are only guesses, and bounds rounded outwards.

    With standard normal input and more than 150 parameters the proof takes place in the inputs that
    the weights span, and one more for each student. This is enough for any number of inputs (see
    :func:`infflow.reduce`). Index, uniqueness and radii are those of the whole network, and
    ``assumptions`` says which inputs these were.

    The teacher's parameters and the frozen ones are the float64 numbers that were given, exactly.

    Examples
    --------
    >>> import infflow as inf
    >>> net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    >>> neti = inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0]))
    >>> proof = inf.certify(neti, [1.0, 0.0, 1.0])
    >>> bool(proof), proof.is_minimum
    (True, True)
    """
    if not isinstance(net, (NetI, SymmetricNetI)):
        raise InvalidTypeError(
            f"net is a {type(net).__name__}; certify needs an inf.NetI (infinite data) or an "
            "inf.SymmetricNetI."
        )
    held_fixed = frozen_by(net, theta, frozen, eta)
    theta = np.array(net.check(getattr(theta, "theta", theta)))
    free = free_parameters(held_fixed, net.num_params)
    if gauge is not None and not (isinstance(gauge, str) and gauge == "auto"):
        raise InvalidValueError(f"gauge is {shown(gauge)}; 'auto' or None is needed.")
    precision = as_integer("precision", precision, minimum=64, maximum=_MOST_BITS)
    if isinstance(net, SymmetricNetI):
        _require_memory(net.num_params)
        fixed = ~np.isin(np.arange(net.num_params), free)
        return certify_family(net, theta, fixed, gauge is not None, precision)
    covered_teacher(net)
    problem = short_problem(net, theta, free)
    _require_memory((net if problem is None else problem.net).num_params)
    counting = "certify: {n_fmt} evaluations in ball arithmetic [{elapsed}]"
    bar = Bar(as_flag("progress", progress), bar_format=counting, leave=False, delay=0.5)
    with working_precision(precision), bar:
        network = BallNetwork(net if problem is None else problem.net)
        if problem is None:
            held = _gauge(net, theta, free) if gauge == "auto" else ()
            found = Proof(network, theta, np.setdiff1d(free, held), bar).run()
        else:
            few = problem.free(free)
            own = _gauge(problem.net, problem.theta, few) if gauge == "auto" else ()
            found = prove(problem, theta, np.setdiff1d(few, own), bar)
            held = tuple(int(k) for k in problem.whole(np.array(own, dtype=np.intp)))
    frozen = np.setdiff1d(np.arange(len(theta)), free)
    lines = _assumptions(net, network, problem, len(frozen), held)
    return found.certificate(theta, frozen, held, lines, precision)


def _gauge(net: NetI, theta: Array, free: NDArray[np.intp]) -> tuple[int, ...]:
    """For each homogeneous neuron whose scaling is free, the index of its largest output weight;
    in the spherical parametrization that of the largest weight of each row whose length is free.
    """
    if net.unit_rows is not None:
        return _largest_of_rows(net.unit_rows, theta, free)
    (layer,) = hidden_layers(net, theta)
    held = []
    for i, f in enumerate(layer.activations):
        moved = np.concatenate(
            [layer.in_index[i][layer.incoming[i, :-1] != 0.0], layer.out_index[:, i]]
        )
        moved = moved[theta[moved] != 0.0]
        largest = layer.out_index[np.argmax(np.abs(layer.outgoing[:, i])), i]
        if homogeneity(f) and theta[largest] != 0.0 and np.isin(moved, free).all():
            held.append(int(largest))
    return tuple(held)


def _largest_of_rows(rows: UnitRows, theta: Array, free: NDArray[np.intp]) -> tuple[int, ...]:
    """In each row without a frozen weight that is not zero, where its largest weight stands."""
    held = []
    for each in rows.rows:
        places = np.arange(each.start, each.entries.stop).reshape(each.width, each.fan_in)
        for row in places:
            if np.isin(row[theta[row] != 0.0], free).all():
                held.append(int(row[np.argmax(np.abs(theta[row]))]))
    return tuple(held)


def _require_memory(num_params: int) -> None:
    remedy = "Use inf.classify, which gives evidence in the place of a proof."
    require_memory(num_params, "the Hessian in ball arithmetic", _BALL_MATRICES, remedy)


def _assumptions(
    net: NetI,
    network: BallNetwork,
    problem: ShortProblem | None,
    frozen: int,
    held: tuple[int, ...],
) -> tuple[str, ...]:
    lines = [
        f"infinite data, loss E|student - teacher|^2 without a factor 1/2, input {net.input!r}"
    ]
    lines += dict.fromkeys(f.formula for f in [*network.f, *network.g])
    if net.input.components()[0].root is not None:
        lines.append("the covariance of the input is that of its float64 root: root @ root.T")
    if problem is not None:
        lines.append(str(problem))
    if frozen:
        lines.append(
            f"{frozen} parameters are frozen at their values; the statement is about the others"
        )
    if net.unit_rows is not None:
        lines.append("input weights enter as w/|w|")
    if held and net.unit_rows is not None:
        lines.append(
            f"gauge: input weights theta[{', '.join(map(str, held))}] hold the lengths of their "
            "rows, on which the loss does not depend; "
            f"in all parameters the critical points form a family of dimension {len(held)}"
        )
    elif held:
        lines.append(
            f"gauge: output weights theta[{', '.join(map(str, held))}] hold the scaling of their "
            "homogeneous neurons; "
            f"in all parameters the critical points form a family of dimension {len(held)}"
        )
    return tuple(lines)
