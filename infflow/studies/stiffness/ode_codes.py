"""The ODE codes that a Python user has, driven one step at a time so that their counters can be
read over the run.

SciPy's LSODA and zvode, CVODE through scikit-sundae, and infflow's own integrators, on the gradient
flow of any objective, with the exact Jacobian, with differences of gradients, or without a matrix.
zvode stands for VODE: SciPy 1.17 has its vode in a translation that needs 13,543 steps for a linear
problem where zvode needs 150, both with the exact Jacobian. Without ``with_jacobian=True`` or a
``jac``, either one solves its implicit equations by fixed-point iteration and is no stiff solver at
all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..._validation import Array
from ...compile_time import running_time
from ...objective import Evaluation, Objective
from ...training import train

#: code -> the ways it can get its Jacobian
CODES = {
    "zvode": ("exact", "differences", "fixed point"),
    "lsoda": ("exact", "differences"),
    "cvode": ("exact", "differences", "products"),
    "rodas5p": ("exact",),
    "dopri5": ("none",),
    "rk4": ("none",),
}
#: zvode's counters in its work array (documented in its source; counted from zero)
_ZVODE = {
    "steps": 10,
    "gradients": 11,
    "jacobians": 12,
    "factorizations": 19,
    "iterations": 20,
    "newton_failures": 21,
    "rejected": 22,
}
COUNTERS = (
    "steps",
    "gradients",
    "jacobians",
    "products",
    "factorizations",
    "newton_failures",
    "rejected",
)


@dataclass
class Counted:
    """An objective that counts what is asked of it."""

    net: Any
    gradients: int = 0
    jacobians: int = 0
    products: int = 0

    @property
    def num_params(self) -> int:
        """Number of parameters."""
        return int(self.net.num_params)

    def evaluate(self, theta: Array, order: int = 0) -> Evaluation:
        """Passed on."""
        self.gradients += order >= 1
        self.jacobians += order >= 2
        found: Evaluation = self.net.evaluate(theta, order)
        return found

    def slope(self, theta: Array) -> Array:
        """Right-hand side of the flow."""
        self.gradients += 1
        return -np.asarray(self.net.evaluate(theta, 1).gradient)

    def jacobian(self, theta: Array) -> Array:
        """Its Jacobian."""
        self.jacobians += 1
        return -np.asarray(self.net.evaluate(theta, 2).hessian)

    def hvp(self, theta: Array, v: Array) -> Array:
        """Passed on."""
        self.products += 1
        found: Array = self.net.hvp(theta, v)
        return found


@dataclass
class Record:
    """Time, loss, seconds and counters after every step; the clock stands while a
    record is made.
    """

    net: Any
    rows: list[list[float]] = field(default_factory=list)
    seconds: float = 0.0
    _started: float = 0.0

    def start(self) -> None:
        """Let the clock run."""
        self._started = running_time()

    def add(self, t: float, theta: Array, counters: dict[str, float]) -> None:
        """Keep a step."""
        self.seconds += running_time() - self._started
        loss = self.net.evaluate(theta, 0).value
        self.rows.append(
            [t, loss, self.seconds, *(counters.get(name, math.nan) for name in COUNTERS)]
        )
        self.start()

    def arrays(self) -> dict[str, Array]:
        """Columns t, loss, seconds and the counters, one row for each step."""
        return dict(zip(("t", "loss", "seconds", *COUNTERS), np.array(self.rows).T, strict=True))


class Task(NamedTuple):
    """One flow by one code; every driver returns the point it came to, and the time there."""

    net: Counted
    theta: Array
    t_end: float
    jacobian: str
    tol: float
    record: Record
    code: str
    max_order: int
    seconds: float


def integrate(
    net: Objective,
    theta: Array,
    t_end: float,
    code: str,
    jacobian: str,
    tol: float,
    *,
    max_order: int = 5,
    seconds: float = 60.0,
) -> tuple[Array, dict[str, Array], bool]:
    """One flow: end point, the record of its steps, and whether it got to ``t_end`` within the time
    limit.
    """
    task = Task(Counted(net), theta, t_end, jacobian, tol, Record(net), code, max_order, seconds)
    driver: Callable[[Task], tuple[Array, float]] = {
        "zvode": _zvode,
        "lsoda": _lsoda,
        "cvode": _cvode,
    }.get(code, _infflow)
    task.record.start()
    end, t = driver(task)
    return end, task.record.arrays(), bool(t >= t_end * (1 - 1e-9))


def _zvode(task: Task) -> tuple[Array, float]:
    from scipy.integrate import ode

    net = task.net
    t_end = task.t_end
    record = task.record
    exact = (lambda t, z: net.jacobian(z.real)) if task.jacobian == "exact" else None
    solver = ode(lambda t, z: net.slope(z.real), exact)
    options: dict[str, Any] = {
        "method": "bdf",
        "with_jacobian": task.jacobian != "fixed point",
        "order": task.max_order,
    }
    solver.set_integrator(
        "zvode", rtol=task.tol, atol=task.tol, nsteps=10**6, **options
    ).set_initial_value(task.theta)
    end = task.theta
    while solver.t < t_end and record.seconds < task.seconds and solver.successful():
        point = solver.integrate(t_end, step=True).real.copy()
        if not np.isfinite(point).all():  # the code goes on with infinities
            return end, float(record.rows[-1][0]) if record.rows else 0.0
        end = point
        work = solver._integrator.iwork
        record.add(min(solver.t, t_end), end, {name: int(work[k]) for name, k in _ZVODE.items()})
    reached = float(solver.t)
    if reached > t_end:  # single steps do not stop at the end; the code interpolates back to it
        end = solver.integrate(t_end).real.copy()
    return end, reached


def _lsoda(task: Task) -> tuple[Array, float]:
    from scipy.integrate import LSODA

    net = task.net
    record = task.record
    exact = (lambda t, z: net.jacobian(z)) if task.jacobian == "exact" else None
    tolerances = {"rtol": task.tol, "atol": task.tol}
    solver = LSODA(lambda t, z: net.slope(z), 0.0, task.theta, task.t_end, jac=exact, **tolerances)
    steps = 0
    while solver.status == "running" and record.seconds < task.seconds:
        solver.step()
        steps += 1
        counters = {
            "steps": steps,
            "gradients": net.gradients,
            "jacobians": solver.njev,
            "factorizations": solver.nlu,
        }
        record.add(solver.t, solver.y, counters)
    return solver.y, float(solver.t)


def _cvode(task: Task) -> tuple[Array, float]:
    from sksundae.cvode import CVODE, CVODEJacTimes

    net = task.net
    t_end = task.t_end
    record = task.record

    def rhs(t: float, z: Array, out: Array) -> None:
        out[:] = net.slope(z)

    def matrix(t: float, z: Array, f: Array, out: Array) -> None:
        out[:] = net.jacobian(z)

    def product(t: float, z: Array, f: Array, v: Array, out: Array) -> None:
        out[:] = -net.hvp(np.array(z), np.array(v))

    options: dict[str, Any] = {
        "rtol": task.tol,
        "atol": task.tol,
        "max_order": task.max_order,
        "method": "BDF",
        "linsolver": "lapackdense",
    }
    if task.jacobian == "exact":
        options["jacfn"] = matrix
    elif task.jacobian == "products":
        options |= {"linsolver": "gmres", "jactimes": CVODEJacTimes(None, product)}
    solver = CVODE(rhs, **options)
    solver.init_step(0.0, task.theta)
    steps = 0
    t = 0.0
    end = task.theta
    while t < t_end and record.seconds < task.seconds:
        found = solver.step(t_end, "onestep", t_end)
        if found.status < 0:
            break
        steps = steps + 1
        t = float(found.t)
        end = np.array(found.y)
        factorized = math.nan if task.jacobian == "products" else float(found.njev)
        counters = {
            "steps": steps,
            "gradients": net.gradients,
            "jacobians": factorized,
            "products": net.products,
        }
        record.add(t, end, counters)
    return end, t


def _infflow(task: Task) -> tuple[Array, float]:
    net = task.net
    record = task.record

    def callback(progress: Any) -> None:
        counters = {"steps": progress.step, "gradients": net.gradients, "jacobians": net.jacobians}
        record.add(progress.t, progress.theta, counters)

    options: dict[str, Any] = {
        "rtol": task.tol,
        "atol": task.tol,
        "max_steps_newton": 0,
        "progress": False,
        "num_trajectory": 2,
    }
    found = train(
        net,
        task.theta,
        solver=task.code,
        t_end=task.t_end,
        max_time_flow=task.seconds,
        callback=callback,
        min_gradient_norm=0.0,
        **options,
    )
    if record.rows and found.flow.rejected is not None:
        record.rows[-1][3 + COUNTERS.index("rejected")] = found.flow.rejected
    if record.rows and found.flow.factorizations is not None:
        record.rows[-1][3 + COUNTERS.index("factorizations")] = found.flow.factorizations
    return found.theta_flow, float(found.trajectory.t[-1])
