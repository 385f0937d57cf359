"""Run the benchmarks of this folder, each in a process of its own on one thread:
``python -m benchmarks [NAME ...]``.
"""

from __future__ import annotations

import os
import pkgutil
import subprocess
import sys

from benchmarks import __path__ as folder

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)


def main(selected: list[str]) -> int:
    found = [
        module.name for module in pkgutil.iter_modules(folder) if not module.name.startswith("_")
    ]
    unknown = sorted(set(selected) - set(found))
    if unknown:
        print(f"unknown: {', '.join(unknown)}; known: {', '.join(found)}", file=sys.stderr)
        return 2
    failed = []
    for name in selected or found:
        print(f"== {name}", flush=True)
        if subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}"], env={**os.environ, **ONE_THREAD}
        ).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
