"""Loss that each fixed-point method reaches from the same points: the table of docs/newton.md.

Teachers of M sigmoid neurons with normally distributed parameters, students of K, 2 inputs, 1000
samples, 6 seeds. A search by L-BFGS of 300 steps leads to the points from which all methods start,
with 5000 steps or 8 seconds each.
"""

import argparse

import numpy as np

import infflow as inf
from infflow.fixedpoints import OPTIMIZERS, FixedPointProblem
from infflow.stopping import StopRules

METHODS = [
    ("newton", {}),
    ("newton", {"linear_solver": "cg"}),
    ("levenberg_marquardt", {}),
    ("bfgs", {}),
    ("lbfgs", {}),
    ("slsqp", {"library": "scipy"}),
]


def setting(K, M, seed, samples=1000):
    teacher = inf.Net([(M, "sigmoid", True), (1, "identity", True)], input_dim=2)
    theta = inf.random_params(teacher, seed, init="standard_normal")
    X = np.random.default_rng(seed + 77).normal(size=(samples, 2))
    net = inf.Net(
        [(K, "sigmoid", True), (1, "identity", True)], input=X, target=teacher.predict(theta, X)
    )
    return net, inf.random_params(net, seed + 1000)


def search(name, net, theta, steps, seconds, **options):
    problem = FixedPointProblem(net, theta, np.ones(len(theta), dtype=bool))
    rules = StopRules(seconds, steps, min_loss=2e-32, min_gradient_norm=1e-15, patience=10**6)
    return OPTIMIZERS[name].run(problem, theta, rules, **options)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=8.0)
    arguments = parser.parse_args()
    print("| K, M | method | losses | median steps | median seconds |\n|---|---|---|---|---|")
    for K, M in ((4, 4), (4, 2), (8, 2)):
        starts = []
        for seed in range(arguments.seeds):
            net, theta = setting(K, M, seed)
            starts.append((net, search("lbfgs", net, theta, 300, 60.0).theta))
        for name, options in METHODS:
            found = [
                search(name, net, theta, arguments.steps, arguments.seconds, **options)
                for net, theta in starts
            ]
            losses = ", ".join(f"{one.loss:.0e}" for one in found)
            steps = int(np.median([one.statistics.steps for one in found]))
            seconds = np.median([one.statistics.wall_time for one in found])
            label = name + "".join(f" {value}" for value in options.values())
            print(f"| {K}, {M} | {label} | {losses} | {steps} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main()
