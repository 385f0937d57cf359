"""Which networks, inputs and states the equations of order parameters cover."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._validation import Array, as_real_array
from ..errors import InvalidTypeError, InvalidValueError, ShapeError
from ..networks.infinite.neti import NetI
from ..networks.infinite.targets.polynomial_teacher import PolynomialTeacher
from ..networks.teacher import Teacher
from .spectrum import WHITE, Groups, Spectrum, groups_of_covariance
from .state import Coordinates, OrderState

# A covariance may miss semidefiniteness by this fraction of its trace.
_ROUNDING = 1e-10


def check_network(neti: Any) -> None:
    """Refuse what the equations do not cover, with the remedy."""
    if not isinstance(neti, NetI):
        raise InvalidTypeError(f"neti is a {type(neti).__name__}; an inf.NetI is needed.")
    teacher = neti.teacher
    if not isinstance(teacher, (Teacher, PolynomialTeacher)):
        raise InvalidTypeError(
            f"the teacher is a {type(teacher).__name__}; order parameters need a network or a "
            "polynomial as teacher: inf.Teacher(net, theta), inf.PolynomialTeacher(terms, V)."
        )
    nets = {"student": neti.student}
    if isinstance(teacher, Teacher):
        nets["teacher"] = teacher.net
    for name, net in nets.items():
        if any(layer.bias for layer in net.layers):
            raise InvalidValueError(
                f"the {name} has biases; order parameters are implemented for networks without. "
                "Use (width, activation, False) in both layers."
            )
    if neti.unit_rows is not None:
        raise InvalidValueError(
            "the student has parametrization 'spherical'; order parameters need 'standard'. Use "
            'OrderParameters(..., constraint="sphere"), which keeps rows on their spheres.'
        )
    if neti.student.weight_factors != (1.0, 1.0):
        raise InvalidValueError(
            f"the student has parametrization {neti.student.parametrization!r}; 'standard' is "
            "needed. Factors c of a layer are c^2 in its rate."
        )
    if math.isfinite(neti.regularization.maxnorm):
        raise InvalidValueError(
            "maxnorm is finite; the barrier is no function of Q and R alone. Use ridge instead."
        )
    if neti.regularization.merge:
        raise InvalidValueError(
            "merge is given; order parameters have no term for it. Use ridge, or leave it out."
        )


def groups_of(neti: NetI, spectrum: Any) -> Groups:
    """Groups of eigenvalues of the input, or of a spectrum in its place."""
    components = neti.input.components()
    if len(components) > 1:
        raise InvalidValueError(
            f"the input is a mixture of {len(components)} Gaussians; order parameters need one "
            "Gaussian without mean. Use input=None or inf.Gaussian(0.0, cov)."
        )
    _, mean, root = components[0]
    if mean is not None and np.any(mean):
        raise InvalidValueError(
            f"the input has a mean of length {np.linalg.norm(mean):.3g}; order parameters need a "
            "Gaussian without mean. Use inf.Gaussian(0.0, cov)."
        )
    white = root is None or np.array_equal(neti.input.covariance(), np.eye(neti.input_dim))
    if spectrum is None:
        return WHITE if white else groups_of_covariance(neti.input.covariance())
    if not isinstance(spectrum, Spectrum):
        raise InvalidTypeError(
            f"spectrum is a {type(spectrum).__name__}; an inf.Spectrum(eigenvalues, shares) is "
            "needed."
        )
    if not white:
        raise InvalidValueError(
            "both a spectrum and a coloured input are given; the spectrum stands for the "
            "covariance of the input. Use input=None with it."
        )
    return Groups(spectrum.eigenvalues, spectrum.shares, None)


def checked_state(state: Any, where: Coordinates, T: Array) -> OrderState:
    """``(Q, R, v)`` as arrays of the right shapes, with an axis of groups; or an error."""
    if not isinstance(state, (tuple, list)) or len(state) != 3:
        raise InvalidTypeError(
            f"state is a {type(state).__name__}; a tuple (Q, R, v) is needed, e.g. from "
            "OrderParameters.state(theta)."
        )
    K = where.K
    M = where.M
    O = where.O
    G = where.G
    Q, R, v = (
        as_real_array(name, value) for name, value in zip(("Q", "R", "v"), state, strict=True)
    )
    if v.shape == (K,) and O == 1:
        v = v[None]
    groups = (G,) if G > 1 else ()
    wanted = {"Q": (Q, (*groups, K, K)), "R": (R, (*groups, K, M)), "v": (v, (O, K))}
    for name, (value, shape) in wanted.items():
        if value.shape != shape:
            note = f", one matrix for each of {G} groups of eigenvalues" if name != "v" else ""
            raise ShapeError(
                f"{name} has shape {value.shape}; {shape} is needed{note if G > 1 else ''}."
            )
    Q = Q.reshape(G, K, K)
    R = R.reshape(G, K, M)
    scale = float(np.abs(np.einsum("gii", Q)).sum() + np.einsum("gii", T).sum())
    if np.abs(Q - Q.transpose(0, 2, 1)).max() > _ROUNDING * scale:
        raise InvalidValueError(
            "Q is not symmetric; it is the matrix of overlaps w_i.w_k. Pass (Q + Q.T) / 2."
        )
    Q = (Q + Q.transpose(0, 2, 1)) / 2
    for q, r, t in zip(Q, R, T, strict=True):
        smallest = float(np.linalg.eigvalsh(np.block([[q, r], [r.T, t]]))[0])
        if smallest < -_ROUNDING * scale:
            raise InvalidValueError(
                f"((Q, R), (R', T)) has the eigenvalue {smallest:.3g}: no weights have these "
                "overlaps. Each R_in^2 must be at most Q_ii T_nn, and so on; take Q and R from "
                "weights, e.g. by OrderParameters.state(theta)."
            )
    return OrderState(Q, R, v)
