"""Order parameters and exact noise: what groups of eigenvalues, polynomials and quadratures cost.

    python -m benchmarks online
    python -m benchmarks.online [--repeat 30] [--out PAGE]

Times are the smallest of five means of processor time; the page is written to
docs/benchmarks/online.md.
"""

from __future__ import annotations

import platform
import time
from pathlib import Path

import numpy as np

import infflow as inf

from . import _page

TARGET = Path(__file__).parents[1] / "docs" / "benchmarks" / "online.md"
D = 20
GROUPS = (1, 2, 3, 5)


def seconds(function, repeat):
    """The smallest of five means over ``repeat`` calls."""
    function()
    found = []
    for _ in range(5):
        begin = time.process_time()
        for _ in range(repeat):
            function()
        found.append((time.process_time() - begin) / repeat)
    return min(found)


def network(f, K, M, teacher=None, **options):
    """Random students of an erf teacher, or of another one, and parameters."""
    net = inf.Net([(K, f, False), (1, "identity", False)], input_dim=D)
    theta = inf.random_params(net, rng=1, init="standard_normal")
    if teacher is None:
        target = inf.Net([(M, f, False), (1, "identity", False)], input_dim=D)
        star = inf.random_params(target, rng=2, init="standard_normal")
        teacher = inf.Teacher(target, star, noise=0.1)
    return inf.NetI(net, teacher, **options), theta


def both(dynamics, theta):
    """Right-hand side and Jacobian at a point."""
    state = dynamics.state(theta)

    def run():
        dynamics.derivative(state)
        dynamics.jacobian(state)

    return run


def groups(repeat):
    """Lines of the table by number of eigenvalues."""
    for f in ("erf", "relu", "gelu"):
        times = []
        for count in GROUPS:
            variances = np.repeat(np.geomspace(0.5, 2.0, count), -(-D // count))[:D]
            given = None if count == 1 else inf.Gaussian(0.0, variances)
            neti, theta = network(f, 3, 2, input=given)
            dynamics = inf.OrderParameters(neti, 0.3, 0.1)
            times.append(seconds(both(dynamics, theta), repeat))
        cells = [f"{1e3 * t:.2f} ({t / times[0]:.2f})" for t in times]
        yield "| " + " | ".join([f, *cells]) + " |"


def sides(repeat):
    """Lines of right-hand sides alone."""
    for f, K in (("erf", 5), ("relu", 2), ("erf", 10)):
        neti, theta = network(f, K, K)
        dynamics = inf.OrderParameters(neti, 0.3, 0.1)
        state = dynamics.state(theta)
        time = seconds(lambda d=dynamics, s=state: d.derivative(s), repeat)
        yield f"| {f}, K = M = {K} | {1e3 * time:.3f} |"


def polynomials(repeat):
    """Lines of polynomial teachers beside an erf teacher of as many directions."""
    terms = {
        "z1 z2": {(1, 1): 1.0},
        "z1 z2 z3": {(1, 1, 1): 1.0},
        "staircase z1 + z1 z2 + z1 z2 z3": {(1, 0, 0): 1.0, (1, 1, 0): 1.0, (1, 1, 1): 1.0},
        "He_4(z1)": {(4,): 1.0},
    }
    for name, chosen in terms.items():
        k = len(next(iter(chosen)))
        polynomial = inf.PolynomialTeacher(chosen, np.eye(k, D))
        times = []
        for teacher in (None, polynomial):
            neti, theta = network("erf", 4, k, teacher)
            for order in (1, 2):
                run = seconds(lambda n=neti, t=theta, o=order: n.evaluate(t, o), repeat)
                times.append(run)
        ratios = (times[2] / times[0], times[3] / times[1])
        cells = [f"{1e3 * t:.3f}" for t in times] + [f"{r:.2f}" for r in ratios]
        yield "| " + " | ".join([name, *cells]) + " |"


def covariances():
    """Lines of exact covariances, and of 100,000 points for the same network."""
    for f, K, M, inputs, biases in (
        ("erf", 10, 10, 20, False),
        ("erf", 3, 4, 1000, False),
        ("relu", 3, 3, 20, False),
        ("softplus", 3, 8, 9, False),
        ("tanh", 3, 3, 20, True),
        ("gelu", 5, 5, 20, True),
    ):
        net = inf.Net([(K, f, biases), (1, "identity", biases)], input_dim=inputs)
        target = inf.Net([(M, f, biases), (1, "identity", biases)], input_dim=inputs)
        theta = inf.random_params(net, rng=1) + 0.1 * biases
        neti = inf.NetI(net, inf.Teacher(target, inf.random_params(target, rng=2)))
        exact, sampled = (
            seconds(lambda n=neti, t=theta, m=m: inf.gradient_covariance(n, t, method=m), 1)
            for m in ("exact", "sampling")
        )
        kind = f"{f}, {inputs}-{K} ({M}){', biases' if biases else ''}"
        yield f"| {kind} | {net.num_params:,} | {1e3 * exact:.0f} | {1e3 * sampled:.0f} |"


def page(repeat):
    """The page in markdown."""
    machine = f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}"
    header = ["activation", *(f"G = {count}" for count in GROUPS)]
    lines = (
        "# Speed: order parameters and exact noise",
        "",
        "Made by `python -m benchmarks online` on one thread: " + machine + ".",
        "",
        "## Groups of eigenvalues",
        "",
        "Right-hand side and Jacobian of 3 students and 2 teachers, milliseconds, by the number of "
        "different eigenvalues of the input; in brackets relative to one.",
        "",
        "| " + " | ".join(header) + " |",
        "|" + "---|" * len(header),
        *groups(repeat),
        "",
        "## Right-hand sides",
        "",
        "Both layers, label noise; milliseconds.",
        "",
        "| network | right-hand side |",
        "|---|---|",
        *sides(repeat),
        "",
        "## Polynomial teachers",
        "",
        "Gradient and Hessian of the loss of 4 erf students in 20 inputs, milliseconds: of an erf "
        "teacher with as many directions, of the polynomial, and their ratio.",
        "",
        "| polynomial | erf: gradient | Hessian | polynomial: gradient | Hessian | "
        "gradient, ratio | Hessian, ratio |",
        "|" + "---|" * 7,
        *polynomials(repeat),
        "",
        "## Covariance of gradients",
        "",
        "`inf.gradient_covariance` by both methods, milliseconds; networks are inputs-students "
        "(teachers). Those of sampling have errors of per cents, exact ones nine or ten digits: "
        "arcsines for erf, closed forms for relu, quadrature in planes for the others.",
        "",
        "| network | parameters | exact | 100,000 points |",
        "|---|---|---|---|",
        *covariances(),
        "",
    )
    return "\n".join(lines)


def main() -> None:
    _page.write(page, TARGET, __doc__, 30)


if __name__ == "__main__":
    main()
