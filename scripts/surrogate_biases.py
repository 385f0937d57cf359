"""Can a perceptron stand in for integrals of neurons with biases? A table of docs/surrogates.md.

    python scripts/surrogate_biases.py [--steps 60] [--points 3000] [--write]

Fits E[f(r1 x + b1) f(r2 y + b2)] over its largest size by the same perceptron, with two hidden
layers of 30 softplus neurons and as many steps of Levenberg and Marquardt's method, once as a
function of (r1, r2, u) and once of (r1, r2, u, b1, b2). Errors are those at as many held-out
points, of values, and of derivatives in b1 or, without biases, in u.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import infflow as inf

PAGE = Path(__file__).parents[1] / "docs" / "surrogates.md"
BEGIN = "<!-- table of scripts/surrogate_biases.py -->"
END = "<!-- end of biases -->"
WIDTH = 30
NAMES = ("tanh", "arctan")
#: Step of central differences of the perceptron.
STEP = 1e-5


def points(number, biases, seed):
    """Arguments (n, 3 or 5), within what networks of a few inputs have."""
    rng = np.random.default_rng(seed)
    r = 10 ** rng.uniform(-1.0, 0.5, (number, 2))
    u = rng.uniform(-1.0, 1.0, (number, 1))
    b = rng.uniform(-2.0, 2.0, (number, 2))
    return np.hstack([r, u, b]) if biases else np.hstack([r, u])


def exact(name, X):
    """Values (n,)."""
    b = X[:, 3:].T if X.shape[1] == 5 else (0.0, 0.0)
    return inf.gaussian_moment(name, name, X[:, 0], X[:, 1], X[:, 2], *b)


def coordinates(X):
    """What the perceptron sees: logarithms of the r, and the others."""
    return np.hstack([np.log10(X[:, :2]), X[:, 2:]])


def slope(function, X, column):
    """Central differences (n,) in one argument."""
    shift = np.zeros(X.shape[1])
    shift[column] = STEP
    return (function(X + shift) - function(X - shift)) / (2 * STEP)


def row(name, biases, number, steps):
    """One line of the table."""
    start = time.process_time()
    X, held = points(number, biases, 0), points(number, biases, 1)
    y, wanted = exact(name, X), exact(name, held)
    layers = [(WIDTH, "softplus", True), (WIDTH, "softplus", True), (1, "identity", True)]
    net = inf.Net(layers, input=coordinates(X), target=y)
    result = inf.train(
        net,
        inf.random_params(net, 0),
        max_steps_flow=0,
        optimizer="levenberg_marquardt",
        max_steps_newton=steps,
        max_time_newton=np.inf,
        progress=False,
    )
    spent = time.process_time() - start

    def fitted(at):
        return net.predict(result.theta, coordinates(at))[:, 0]

    column = 3 if biases else 2
    inside = held[np.abs(held[:, 2]) < 1.0 - 2 * STEP]
    values = np.abs(fitted(held) - wanted)
    slopes = np.abs(
        slope(fitted, inside, column) - slope(lambda at: exact(name, at), inside, column)
    )
    cells = [name, "yes" if biases else "no", str(net.num_params)]
    cells += [f"{np.median(e):.0e} ({np.quantile(e, 0.99):.0e})" for e in (values, slopes)]
    return "| " + " | ".join([*cells, f"{spent:.0f}"]) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--points", type=int, default=3000)
    parser.add_argument("--write", action="store_true", help="put the table into the page")
    options = parser.parse_args()
    lines = [
        "| activation | biases | parameters | value | first derivative | processor time, s |",
        "|---|---|---:|---|---|---:|",
    ]
    for name in NAMES:
        for biases in (False, True):
            lines.append(row(name, biases, options.points, options.steps))
            print(lines[-1], flush=True)
    if options.write:
        text = PAGE.read_text()
        before, rest = text.split(BEGIN)
        _, after = rest.split(END)
        PAGE.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + after)


if __name__ == "__main__":
    main()
