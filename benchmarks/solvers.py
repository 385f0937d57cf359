"""Integrators of the gradient flow at equal distance to a reference trajectory.

    python -m benchmarks solvers

Two problems: the paper's 33 parameters on 10,000 samples (2 inputs, 8 softplus neurons, teacher of
4), and infinite data with 10 students, 10 teachers and 20 inputs (erf, no biases, 210 parameters);
t = 0 to 1000. infflow's methods stand beside SciPy's, scikit-sundae's CVODE, diffrax and
torchdiffeq, driven by infflow's own evaluations and, on finite data, by jitted JAX in float64 (each
where it is installed). Every method runs at several tolerances; from these its processor time at
the wanted distance is interpolated. The table is written to ``docs/benchmarks/solvers.md``.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)

import numpy as np

import infflow as inf

TARGET = Path(__file__).parents[1] / "docs" / "benchmarks" / "solvers.md"
T_END = 1000.0
TIMES = np.r_[0.0, np.geomspace(1e-2, T_END, 60)]
TOLERANCES = 10.0 ** -np.arange(3, 9)
DISTANCE = 1e-5
LIMIT = 30.0  # processor seconds of a run, after which smaller tolerances are not tried


class Functions(NamedTuple):
    """What drives an integrator: gradient and Hessian at a point."""

    gradient: Callable
    hessian: Callable


class Run(NamedTuple):
    seconds: float
    distance: float
    gradients: int


def finite() -> tuple[inf.Net, np.ndarray]:
    X = np.random.default_rng(0).normal(size=(10_000, 2))
    teacher = inf.Net([(4, "softplus", True), (1, "identity", True)], input_dim=2)
    y = teacher.predict(inf.random_params(teacher, 1, init="standard_normal"), X)
    net = inf.Net([(8, "softplus", True), (1, "identity", True)], input=X, target=y)
    return net, inf.random_params(net, 2)


def infinite() -> tuple[inf.NetI, np.ndarray]:
    layers = [(10, "erf", False), (1, "identity", False)]
    teacher = inf.Net(layers, input_dim=20)
    net = inf.NetI(
        inf.Net(layers, input_dim=20), inf.Teacher(teacher, inf.random_params(teacher, 1))
    )
    return net, inf.random_params(net, 2)


def own(net) -> Functions:
    return Functions(lambda x: net.evaluate(x, 1).gradient, lambda x: net.evaluate(x, 2).hessian)


def jax_loss(net) -> Callable:
    """The finite-data loss of a softplus network with one hidden layer, written again in JAX."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    X = jnp.asarray(net.data.X)
    y = jnp.asarray(net.data.target).ravel()
    where = net.unpack(np.arange(net.num_params, dtype=float))
    (W, b), (a, c) = [
        [jnp.asarray(np.asarray(part).astype(int)) for part in pair] for pair in where
    ]

    def loss(theta):
        hidden = jax.nn.softplus(X @ theta[W].T + theta[b])
        return jnp.mean((hidden @ theta[a].ravel() + theta[c].ravel()[0] - y) ** 2)

    return loss


def by_jax(net) -> Functions:
    """Jitted gradient and Hessian."""
    import jax

    loss = jax_loss(net)
    gradient = jax.jit(jax.grad(loss))
    hessian = jax.jit(jax.hessian(loss))
    found = Functions(lambda x: np.asarray(gradient(x)), lambda x: np.asarray(hessian(x)))
    point = np.random.default_rng(0).normal(
        size=net.num_params
    )  # compiles, and proves that it is the same loss
    np.testing.assert_allclose(
        found.gradient(point), own(net).gradient(point), rtol=1e-10, atol=1e-12
    )
    np.testing.assert_allclose(found.hessian(point), own(net).hessian(point), rtol=1e-9, atol=1e-11)
    return found


class Counted:
    """Functions with a count of the gradients."""

    def __init__(self, functions: Functions) -> None:
        self.functions = functions
        self.gradients = 0

    def rhs(self, t, x):
        self.gradients += 1
        return -self.functions.gradient(np.array(x))

    def jacobian(self, t, x):
        return -self.functions.hessian(np.array(x))


def by_scipy(method: str, exact: bool) -> Callable:
    def solve(functions, start, tolerance):
        from scipy.integrate import solve_ivp

        counted = Counted(functions)
        jacobian = {"jac": counted.jacobian} if exact else {}
        options = {
            "method": method,
            "t_eval": TIMES,
            "rtol": tolerance,
            "atol": tolerance,
            **jacobian,
        }
        return solve_ivp(counted.rhs, (0.0, T_END), start, **options).y.T, counted.gradients

    return solve


def by_sundae(exact: bool) -> Callable:
    def solve(functions, start, tolerance):
        from sksundae.cvode import CVODE

        counted = Counted(functions)

        def rhs(t, x, out):
            out[:] = counted.rhs(t, x)

        def jacobian(t, x, f, out):
            out[:] = counted.jacobian(t, x)

        kind = {"linsolver": "dense" if len(start) < 100 else "lapackdense"}
        options = {
            "rtol": tolerance,
            "atol": tolerance,
            **kind,
            **({"jacfn": jacobian} if exact else {}),
        }
        return CVODE(rhs, **options).solve(TIMES, start).y, counted.gradients

    return solve


def by_diffrax(net) -> Callable:
    """Kvaerno5, with everything in JAX, compiled before it is timed."""
    import diffrax
    import jax
    import jax.numpy as jnp

    slope = jax.grad(jax_loss(net))

    def solve(functions, start, tolerance):
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, theta, args: -slope(theta)),
            diffrax.Kvaerno5(),
            0.0,
            T_END,
            None,
            jnp.asarray(start),
            saveat=diffrax.SaveAt(ts=jnp.asarray(TIMES)),
            max_steps=100_000,
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
        )
        return np.asarray(found.ys), int(found.stats["num_steps"])

    return solve


def by_torchdiffeq(functions, start, tolerance):
    import torch
    from torchdiffeq import odeint

    counted = Counted(functions)

    def rhs(t, x):
        return torch.from_numpy(counted.rhs(0.0, x.numpy()))

    with torch.no_grad():
        path = odeint(
            rhs,
            torch.from_numpy(start),
            torch.from_numpy(TIMES),
            rtol=tolerance,
            atol=tolerance,
            method="dopri5",
        )
    return path.numpy(), counted.gradients


def by_infflow(net, solver: str, options: dict) -> Callable:
    def solve(functions, start, tolerance):
        found = inf.train(
            net,
            start,
            solver=solver,
            solver_options=options,
            rtol=tolerance,
            atol=tolerance,
            t_end=T_END,
            t_eval=TIMES,
            max_steps_newton=0,
            max_time_flow=np.inf,
            progress=False,
        )
        return found.trajectory.theta, found.flow.gradients

    return solve


OURS = {
    "gear": ("gear", {}),
    "rodas5p": ("rodas5p", {}),
    "rodas3": ("rodas3", {}),
    "exprb": ("exprb", {}),
    "kencarp58": ("kencarp58", {}),
    "cvode_bdf, dense": ("cvode_bdf", {"linear_solver": "dense"}),
    "cvode_bdf, GMRES": ("cvode_bdf", {"linear_solver": "gmres"}),
    "cvode_bdf, switch": ("cvode_bdf", {"linear_solver": "switch"}),
    "lsoda": ("lsoda", {}),
    "tsit5": ("tsit5", {}),
}


def curve(
    solve: Callable, functions: Functions | None, start: np.ndarray, reference: np.ndarray
) -> list[Run]:
    """Processor time and distance at every tolerance until the distance is small enough."""
    runs: list[Run] = []
    for tolerance in TOLERANCES:
        best = np.inf
        total = 0.0
        for again in range(3):  # twice at least: the first run may compile
            begin = time.process_time()
            path, gradients = solve(functions, start, tolerance)
            best = min(best, time.process_time() - begin)
            total += time.process_time() - begin
            if total > (1.0 if again else 10.0):
                break
        distance = np.inf
        if path.shape == reference.shape:
            distance = float(np.linalg.norm(path - reference, axis=1).max())
        runs.append(Run(best, distance, gradients))
        if distance < DISTANCE or best > LIMIT:
            break
    return runs


def at_distance(runs: list[Run]) -> Run | None:
    """Time and gradients at the wanted distance, log-log between the two runs around it; None if it
    was not reached.
    """
    for before, after in zip([None, *runs], runs, strict=False):
        if after.distance <= DISTANCE:
            if before is None or not np.isfinite(before.distance):
                return after
            part = np.log(before.distance / DISTANCE) / np.log(before.distance / after.distance)
            mix = lambda a, b: float(np.exp((1 - part) * np.log(a) + part * np.log(b)))  # noqa: B023, E731
            return Run(
                mix(before.seconds, after.seconds),
                DISTANCE,
                round(mix(before.gradients, after.gradients)),
            )
    return None


def peers(net, is_finite: bool) -> Iterator[tuple[str, str, Callable, Functions]]:
    drivers = {"infflow": own(net)}
    has_jax = is_finite and importlib.util.find_spec("jax") is not None
    if has_jax:
        drivers = {"JAX": by_jax(net), **drivers}
    for driver, functions in drivers.items():
        for exact in (False, True):
            jacobian = "exact Jacobian" if exact else "differences"
            for method in ("LSODA", "BDF", "Radau"):
                yield f"SciPy {method}, {jacobian}", driver, by_scipy(method, exact), functions
            yield f"scikit-sundae CVODE, {jacobian}", driver, by_sundae(exact), functions
        if importlib.util.find_spec("torchdiffeq") is not None:
            yield "torchdiffeq dopri5", driver, by_torchdiffeq, functions
    if has_jax and importlib.util.find_spec("diffrax") is not None:
        yield "diffrax Kvaerno5", "JAX", by_diffrax(net), drivers["JAX"]


def compare(title: str, net, start: np.ndarray, is_finite: bool) -> list[str]:
    tight = by_infflow(net, "rodas5p", {})
    reference = tight(None, start, 1e-11)[0]
    rows: list[tuple[str, str, Run | None]] = []

    def add(name: str, driver: str, solve: Callable, functions: Functions | None) -> None:
        rows.append((name, driver, at_distance(curve(solve, functions, start, reference))))
        print(*rows[-1], flush=True)

    for name, (solver, options) in OURS.items():
        add(f"**{name}**", "infflow", by_infflow(net, solver, options), None)
    for name, driver, solve, functions in peers(net, is_finite):
        add(name, driver, solve, functions)
    best = min(run.seconds for name, _, run in rows if run and name.startswith("**"))
    lines = [
        f"## {title}",
        "",
        "| method | evaluations by | gradients | processor time, ms | over infflow's best |",
        "|---|---|---|---|---|",
    ]
    for name, driver, run in sorted(rows, key=lambda row: row[2].seconds if row[2] else np.inf):
        values = (
            f"{run.gradients} | {1e3 * run.seconds:.0f} | {run.seconds / best:.1f}"
            if run
            else "- | did not get there | -"
        )
        lines.append(f"| {name} | {driver} | {values} |")
    return [*lines, ""]


class Timed:
    """A network whose evaluations are timed."""

    def __init__(self, net) -> None:
        self.net = net
        self.num_params = net.num_params
        self.inside = 0.0
        self.calls = 0

    def evaluate(self, theta, order=0):
        begin = time.process_time()
        found = self.net.evaluate(theta, order)
        self.inside += time.process_time() - begin
        self.calls += 1
        return found

    def hvp(self, theta, v):
        begin = time.process_time()
        found = self.net.hvp(theta, v)
        self.inside += time.process_time() - begin
        self.calls += 1
        return found


def outside(net, start: np.ndarray, name: str) -> tuple[float, int, float]:
    """Seconds per accepted step outside of the network (the median step), steps, and evaluations
    per step.
    """
    solver, options = OURS[name]
    medians = []
    for _ in range(7):
        timed = Timed(net)
        marks = []
        inf.train(
            timed,
            start,
            solver=solver,
            solver_options=options,
            t_end=T_END if solver != "tsit5" else 10.0,
            num_trajectory=2,
            max_steps_newton=0,
            progress=False,
            callback=lambda now: marks.append(time.process_time() - timed.inside),  # noqa: B023
        )
        medians.append(np.median(np.diff(marks)[1:]))
    return min(medians), len(marks) - 1, timed.calls / (len(marks) - 1)


def overhead(net, start: np.ndarray) -> list[str]:
    """Time per accepted step outside of the network, with all samples and with so few that they
    stay in the cache.
    """
    few = net.with_data(net.data.X[:100], net.data.target[:100])
    lines = [
        "| method | steps | evaluations per step | microseconds outside | with 100 samples |",
        "|---|---|---|---|---|",
    ]
    for name in OURS:
        seconds, steps, calls = outside(net, start, name)
        lines.append(
            f"| {name} | {steps} | {calls:.1f} | {1e6 * seconds:.0f} | "
            f"{1e6 * outside(few, start, name)[0]:.0f} |"
        )
        print(lines[-1], flush=True)
    return [*lines, ""]


def limits(net) -> list[str]:
    """What the evaluations and factorisations of a step cost, without any integrator."""
    from scipy.linalg.lapack import dgetrf, dpotrf

    theta = inf.random_params(net, 2)
    matrix = net.evaluate(theta, 2).hessian + 10.0 * np.eye(net.num_params)
    step = 1e-9 * np.arange(1, 101)  # a new point every time, as on a path
    parts = {
        "loss and gradient": lambda k: net.evaluate(theta + step[k], 1),
        "loss, gradient and Hessian": lambda k: net.evaluate(theta + step[k], 2),
        "Cholesky factorisation": lambda k: dpotrf(matrix, lower=1),
        "LU factorisation": lambda k: dgetrf(matrix),
        "eigendecomposition": lambda k: np.linalg.eigh(matrix),
    }
    lines = ["| part | milliseconds |", "|---|---|"]
    for name, call in parts.items():
        times = []
        for k in range(100):
            begin = time.perf_counter()
            call(k)
            times.append(time.perf_counter() - begin)
        lines.append(f"| {name} | {1e3 * np.median(times):.3f} |")
        print(lines[-1], flush=True)
    return [*lines, ""]


def to_the_end() -> list[str]:
    """Flow and Newton's method from random starts, as ``train`` does by default, and with other
    solvers.
    """
    net, _ = infinite()
    lines = [
        "| solver | processor time, s (five starts) | gradient norm at most | losses |",
        "|---|---|---|---|",
    ]
    for solver in ("auto", "cvode_bdf", "rodas5p", "exprb", "lsoda"):
        seconds = []
        found = []
        inf.train(net, inf.random_params(net, 2), solver=solver, progress=False)  # compiles
        for seed in range(2, 7):
            begin = time.process_time()
            found.append(
                inf.train(net, inf.random_params(net, seed), solver=solver, progress=False)
            )
            seconds.append(time.process_time() - begin)
        norms = max(result.gradient_norm for result in found)
        losses = ", ".join(f"{result.loss:.2g}" for result in found)
        lines.append(
            f"| {solver} | {', '.join(f'{x:.2f}' for x in seconds)} | {norms:.0e} | {losses} |"
        )
        print(lines[-1], flush=True)
    return [*lines, ""]


SIZES = {
    10: (2, 4),
    100: (5, 19),
    1000: (20, 49),
    10_000: (50, 199),
}  # parameters: hidden neurons, inputs
CANDIDATES = (
    "gear",
    "rodas5p",
    "exprb",
    "cvode_bdf, dense",
    "cvode_bdf, switch",
    "cvode_bdf, GMRES",
)


def sized(parameters: int, data: int | None) -> tuple:
    """An erf network without biases, its teacher of the same size, on infinite data or on so many
    samples.
    """
    hidden, inputs = SIZES[parameters]
    student = inf.Net([(hidden, "erf", False), (1, "identity", False)], input_dim=inputs)
    net = inf.NetI(student, inf.Teacher(student, inf.random_params(student, 1)))
    return net if data is None else net.sample(data, 3), inf.random_params(net, 2)


def sizes() -> list[str]:
    """Every candidate at the default tolerances, for the choice that ``solver="auto"`` makes."""
    lines = [
        "| parameters | data | method | steps | processor time, s | distance |",
        "|---|---|---|---|---|---|",
    ]
    for parameters in SIZES:
        for data in (None, 2000):
            net, start = sized(parameters, data)
            tight = (
                "rodas5p"
                if parameters <= 100
                else "cvode_bdf, dense"
                if parameters <= 1000
                else "cvode_bdf, GMRES"
            )
            reference = by_infflow(net, *OURS[tight])(
                None, start, 1e-11 if parameters <= 100 else 1e-9
            )[0]
            for name in CANDIDATES if parameters <= 1000 else CANDIDATES[-1:]:
                solver, options = OURS[name]
                begin = time.process_time()
                found = inf.train(
                    net,
                    start,
                    solver=solver,
                    solver_options=options,
                    t_end=T_END,
                    t_eval=TIMES,
                    max_steps_newton=0,
                    max_time_flow=np.inf,
                    progress=False,
                    reduce=False,  # sizes are those of the problem
                )
                seconds = time.process_time() - begin
                path = found.trajectory.theta
                reached = path.shape == reference.shape
                distance = (
                    f"{np.linalg.norm(path - reference, axis=1).max():.0e}"
                    if reached
                    else "time is up"
                )
                what = "infinite" if data is None else f"{data} samples"
                lines.append(
                    f"| {parameters} | {what} | {name} | {found.flow.steps} | {seconds:.3f} | "
                    f"{distance} |"
                )
                print(lines[-1], flush=True)
    return [*lines, ""]


def write_finite() -> list[str]:
    net, start = finite()
    lines = compare("Finite data: 33 parameters, 10,000 samples", net, start, True)
    return [
        *lines,
        "Processor time per accepted step outside of the network, at tolerances of 1e-6:",
        "",
        *overhead(net, start),
    ]


def write_infinite() -> list[str]:
    net, start = infinite()
    lines = compare(
        "Infinite data: 10 students, 10 teachers, 20 inputs, erf, 210 parameters", net, start, False
    )
    lines += ["What its parts cost:", "", *limits(net)]
    return [
        *lines,
        "The same network to the end of the path, flow and Newton's method:",
        "",
        *to_the_end(),
    ]


def write_sizes() -> list[str]:
    title = [
        "## Sizes, at tolerances of 1e-6",
        "",
        "erf networks without biases, teachers of the same size, t = 0 to 1000.",
        "",
    ]
    return [*title, *sizes()]


SECTIONS = (write_finite, write_infinite, write_sizes)


def main() -> None:
    warnings.filterwarnings("ignore")
    inf.set_num_threads(1)
    text = [
        "# Speed: integrators against other libraries",
        "",
        (
            f"t = 0 to {T_END:g}; processor time (one thread, {platform.machine()}) at which the "
            "largest distance |theta(t) - reference(t)|"
        ),
        (
            f"over {len(TIMES)} times is {DISTANCE:g}, interpolated between tolerances; bold: "
            "infflow. The reference is rodas5p at 1e-11."
        ),
        "diffrax reports steps, not gradients. Made by `python -m benchmarks solvers`.",
        "",
    ]
    for section in SECTIONS:
        text += section()
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text("\n".join(text).rstrip() + "\n")


if __name__ == "__main__":
    main()
