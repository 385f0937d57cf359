"""The gallery of docs/pictures.md: one small picture per function of ``infflow.plotting``.

    python scripts/make_pictures.py [--out docs/images]

The run is a student of four softplus neurons beside a teacher of three, with three inputs. Takes
some seconds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import infflow as inf
from infflow import plotting


def run():
    """The infinite-data network of the gallery and its run."""
    teacher_net = inf.Net([(3, "softplus", False), (1, "identity", False)], input_dim=3)
    student = inf.Net([(4, "softplus", False), (1, "identity", False)], input_dim=3)
    V = np.array([[1.6, 0.0, 0.3], [-0.8, 1.3, 0.0], [-0.7, -1.3, 0.4]])
    teacher = inf.Teacher(teacher_net, teacher_net.pack([(V, None), ([[1.0, 1.0, -1.0]], None)]))
    net = inf.NetI(student, teacher)
    theta = 0.5 * inf.random_params(student, rng=5)
    return net, inf.train(net, theta, num_trajectory=160, progress=False)


def online():
    """Two erf students of two teachers, which they cannot tell apart for some time."""
    net = inf.Net([(2, "erf", False), (1, "identity", False)], input_dim=4)
    neti = inf.NetI(
        net, inf.Teacher(net, net.pack([(np.eye(2, 4), None), (np.ones((1, 2)), None)]))
    )
    W = 0.02 * np.random.default_rng(0).standard_normal((2, 4))
    return inf.OrderParameters(neti, 0.5, 0.0).solve(
        net.pack([(W, None), (np.ones((1, 2)), None)]), t_end=160.0
    )


def branch():
    """Relu students of which one is off, in their real number."""
    fam = inf.SymmetricNetI("relu", teachers=[1, 9])
    z = fam.pack([-0.7, 1.0], [0.0, 0.0], [[0.0, 0.13], [0.2, 0.0]])
    minimum = inf.train(fam, z, max_steps_flow=0, progress=False)
    return inf.continuation(lambda k: fam.resized([1, k - 1]), minimum, 10.0, 4.0)


def atlas():
    """Two relu students of four orthonormal teachers."""
    net = inf.Net([(4, "relu", False), (1, "identity", False)], input_dim=4)
    teacher = inf.Teacher(net, net.pack([(np.eye(4), None), (np.ones((1, 4)), None)]))
    student = inf.Net([(2, "relu", False), (1, "identity", False)], input_dim=4)
    return inf.atlas(inf.NetI(student, teacher), 60, progress=False)


def pictures():
    """Name of each picture and the axes it is drawn in."""
    net, result = run()
    yield "loss", plotting.plot_loss(result)
    yield "neurons", plotting.plot_neurons(net, result)
    yield "overlaps", plotting.plot_overlaps(net, result, ax=plotting.new_axes(3.6, 4.2))
    yield "spectrum", plotting.plot_spectrum(net, result)
    yield "alignment", plotting.plot_alignment(net, result)
    yield "integral", plotting.plot_integral("relu", "tanh")
    yield "online", online().plot()
    yield "branch", branch().plot()
    yield "atlas", atlas().plot()
    study = inf.convergence(N=[1000, 3000, 10000], seeds=8, progress=False)
    yield "study", plotting.plot_convergence(study)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent.parent / "docs" / "images"
    )
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for name, ax in pictures():
        ax.figure.savefig(folder / f"picture_{name}.png", dpi=100)
        print(folder / f"picture_{name}.png")


if __name__ == "__main__":
    main()
