"""Find and certify spurious minima of ReLU students with as many neurons as the teacher.

    python scripts/certify_spurious_minima.py [--write]

Students and teachers have k ReLU neurons in k dimensions, all output weights one, teachers
orthonormal; only the first layer is trained. Safran and Shamir (ICML 2018) proved that there are
minima that are not global for 6 <= k <= 20. For each k the gradient flow is followed from random
starts until it ends in one, which ``inf.certify`` proves. ``--write`` puts the table into
docs/certificates.md. Takes about a minute.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

import infflow as inf
from infflow.classification.point_kind import Classification
from infflow.proofs.certify import Certificate

PAGE = Path(__file__).parent.parent / "docs" / "certificates.md"
BEGIN = "<!-- table of scripts/certify_spurious_minima.py -->"
END = "<!-- end of table -->"
GLOBAL = 1e-3  # a flow that falls below this loss is on its way to a global minimum
HEADER = (
    "| k | starts | loss | half of it | smallest eigenvalue | critical point within | unique "
    "within | students | proof, s |"
)


class Finding(NamedTuple):
    starts: int
    certificate: Certificate
    classification: Classification
    seconds: float


def problem(k: int) -> tuple[inf.NetI, np.ndarray]:
    """The network, and which parameters are frozen: the output weights."""
    net = inf.Net([(k, "relu", False), (1, "identity", False)], input_dim=k)
    teacher = inf.Teacher(net, net.pack([(np.eye(k), None), (np.ones((1, k)), None)]))
    return inf.NetI(net, teacher), np.arange(net.num_params) >= k * k


def search(k: int, max_starts: int = 1000) -> Finding:
    """Random starts until a minimum that is not global is certified."""
    neti, frozen = problem(k)
    eta = (~frozen).astype(float)
    for seed in range(max_starts):
        W = np.random.default_rng(seed).standard_normal((k, k)) / np.sqrt(k)
        start = neti.pack([(W, None), (np.ones((1, k)), None)])
        coarse = inf.train(
            neti,
            start,
            eta=eta,
            rtol=1e-3,
            atol=1e-3,
            t_end=300.0,
            min_loss=GLOBAL,
            max_steps_newton=0,
            num_trajectory=2,
            progress=False,
        )
        if coarse.loss <= GLOBAL:
            continue
        theta = inf.train(neti, coarse.theta, eta=eta, progress=False).theta
        started = time.perf_counter()
        certificate = inf.certify(neti, theta, frozen=frozen)
        seconds = time.perf_counter() - started
        if certificate.is_minimum and certificate.loss.lower > GLOBAL:
            return Finding(seed + 1, certificate, inf.classify(neti, theta, frozen=frozen), seconds)
    raise SystemExit(f"k = {k}: no spurious minimum in {max_starts} starts")


def row(k: int, found: Finding) -> str:
    """One line of the table."""
    proof = found.certificate
    roles = found.classification.structure.roles
    counts = {
        role: [r.role.name for r in roles].count(role)
        for role in ("COPY", "OPPOSED", "AVERAGE", "UNALIGNED")
    }
    students = ", ".join(f"{n} {role.lower()}" for role, n in counts.items() if n)
    low, high = proof.loss
    return (
        f"| {k} | {found.starts} | {(low + high) / 2:.15f} | {(low + high) / 4:.15f} | "
        f"{found.classification.eigenvalues[0]:.4f} "
        f"| {proof.radius:.0e} | {proof.uniqueness_radius:.0e} | {students} | {found.seconds:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--k",
        type=int,
        nargs="+",
        default=list(range(6, 13)),
        help="numbers of neurons (default: 6 to 12)",
    )
    parser.add_argument(
        "--write", action="store_true", help="put the table into docs/certificates.md"
    )
    arguments = parser.parse_args()
    lines = [HEADER, "|" + "---|" * (HEADER.count("|") - 1)]
    print("\n".join(lines))
    for k in arguments.k:
        lines.append(row(k, search(k)))
        print(lines[-1], flush=True)
    if arguments.write:
        page = PAGE.read_text(encoding="utf-8")
        before = page.split(BEGIN)[0]
        after = page.split(END)[1]
        PAGE.write_text(
            f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
