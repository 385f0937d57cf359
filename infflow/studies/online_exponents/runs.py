"""Runs of the study: learning curves of a few order parameters each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..._validation import Array
from ...activations import polynomial
from ...networks.finite.net import Net
from ...networks.infinite.neti import NetI
from ...networks.infinite.targets.exponents import information_exponent
from ...networks.infinite.targets.polynomial_teacher import PolynomialTeacher
from ...networks.teacher import Teacher
from ...online.order_parameters import OrderParameters
from ...online.spectrum import Spectrum

#: a batch of so many samples has no noise
_NOISELESS = 10**12
#: eigenvalues of the power laws, and nodes of the Gauss rule that stands for them
_LEVELS = 10**5
_NODES = 60
#: directions l whose times to be learned, l^(1 + beta) / (2 rate lambda_1), are the window
_WINDOW = (10.0, 300.0)
_OUTPUT = (1, "identity", False)


def power_law(beta: float) -> dict[str, Any]:
    """Error of a linear student of eigenvalues l^-(1 + beta), while directions of the window are
    learned.
    """
    net = Net([(1, "identity", False), _OUTPUT], input_dim=2)
    neti = NetI(net, Teacher(net, [1.0, 0.0, 1.0]))
    spectrum = Spectrum.power_law(beta, _LEVELS, nodes=_NODES)
    dynamics = OrderParameters(neti, 0.5, 0.0, spectrum=spectrum, batch_size=_NOISELESS)
    zeros = np.zeros((len(spectrum), 1, 1))
    begin, end = np.array(_WINDOW) ** (1.0 + beta) / float(spectrum.eigenvalues[0])
    t = np.geomspace(begin, end, 41)
    run = dynamics.solve((zeros, zeros, [1.0]), t_eval=np.r_[0.0, t])
    error = run.generalization_error[1:]
    slope = np.polyfit(np.log(t), np.log(error), 1)[0]
    return {"t": t, "curve": error, "exponent": float(slope)}


def plateau(count: int, ratio: float, t_end: float) -> dict[str, Any]:
    """Learning curve of two erf students of two teachers, with ``count`` eigenvalues.

    They are a geometric sequence of equal shares with the mean 1; ``ratio`` is that of the
    largest to the smallest. Students start almost alike, with all overlaps spread evenly. The
    plateau counts in decades of time in which the error, between 50 % and 1 % of that at the start,
    falls more slowly than t^(-1/4).
    """
    values = np.geomspace(1.0, 1.0 / ratio, count) if count > 1 else np.ones(1)
    shares = np.full(count, 1.0 / count)
    spectrum = Spectrum(values / (shares @ values), shares)
    net = Net([(2, "erf", False), _OUTPUT], input_dim=4)
    star = net.pack([(np.eye(2, 4), None), (np.ones((1, 2)), None)])
    dynamics = OrderParameters(NetI(net, Teacher(net, star)), 0.5, 0.0, spectrum=spectrum)
    Q = np.array([[0.1, 0.0999], [0.0999, 0.1]])
    R = np.array([[0.01001, 0.00999], [0.00999, 0.01001]])
    if len(spectrum) > 1:
        Q, R = (spectrum.shares[:, None, None] * each for each in (Q, R))
    t = np.r_[0.0, np.geomspace(0.1, t_end, 400)]
    run = dynamics.solve((Q, R, np.ones(2)), t_eval=t)
    error = run.generalization_error[1:]
    slope = np.gradient(np.log(error), np.log(t[1:]))
    flat = (slope > -0.25) & (error < 0.5 * run.generalization_error[0])
    flat &= error > 1e-2 * run.generalization_error[0]
    step = math.log10(t[2] / t[1])
    return {"t": t[1:], "curve": error, "decades": float(step * flat.sum())}


def sphere(k: int, start: float, rate: float) -> dict[str, Any]:
    """Time in which one student on the sphere reaches the overlap 1/2 with a direction.

    Student and target are He_k/sqrt(k!), the loss is the correlation loss, without the noise of
    single samples. ``exponent`` is the information exponent of the target.
    """
    he = np.polynomial.hermite_e.herme2poly([0.0] * k + [1.0]) / math.sqrt(math.factorial(k))
    f = polynomial(he.tolist())
    net = Net([(1, f, False), _OUTPUT], input_dim=2)
    neti = NetI(net, PolynomialTeacher({(k,): 1.0}, np.eye(1, 2)), loss="correlation")
    dynamics = OrderParameters(neti, rate, 0.0, constraint="sphere", batch_size=_NOISELESS)
    # twice the time in which a student without the factor 1 - R^2 diverges
    rest = math.log(1.0 / start) if k == 2 else start ** (2 - k) / (k - 2)
    t = np.linspace(0.0, (rest + 2.0) / (rate * k), 4001)
    run = dynamics.solve(([[1.0]], [[start]], [1.0]), t_eval=t, rtol=1e-9, atol=1e-12)
    R = run.R[:, 0, 0]
    after = int(np.argmax(R > 0.5))
    time = np.interp(0.5, R[after - 1 : after + 1], t[after - 1 : after + 1])
    return {"time": float(time) if after else math.nan, "exponent": information_exponent(f)}


def tasks(overlap: float, switch: float, t_end: float) -> dict[str, Any]:
    """Errors of two tasks, one after the other, whose teachers have a given overlap.

    Two erf students with a head for each task; each teacher is one erf neuron.
    """
    student = Net([(2, "erf", False), (2, "identity", False)], input_dim=4)
    target = Net([(2, "erf", False), (2, "identity", False)], input_dim=4)
    V: Array = np.zeros((2, 4))
    V[0, 0] = 1.0
    V[1, :2] = overlap, math.sqrt(1.0 - overlap**2)
    neti = NetI(student, Teacher(target, target.pack([(V, None), (np.eye(2), None)])))
    rng = np.random.default_rng(0)
    theta = student.pack(
        [(0.1 * rng.standard_normal((2, 4)), None), (0.1 * rng.standard_normal((2, 2)), None)]
    )
    schedule = {"outputs": [(0.0, [1.0, 0.0]), (switch, [0.0, 1.0])]}
    dynamics = OrderParameters(neti, 0.5, 0.5, schedule=schedule)
    t = np.unique(np.r_[np.linspace(0.0, switch, 200), np.linspace(switch, t_end, 200)])
    run = dynamics.solve(theta, t_eval=t)
    first, second = run.output_errors.T
    at = int(np.searchsorted(t, switch))
    return {
        "t": t,
        "first": first,
        "second": second,
        "learned": float(first[at]),
        "forgotten": float(first[at:].max() - first[at]),
        "second_end": float(second[-1]),
    }
