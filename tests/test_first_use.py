"""What the first use costs: how many functions the README's example compiles in an empty cache.

Seconds differ from machine to machine; the number of functions does not, and each costs about a
tenth of a second. ``make cold`` measures both.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: Functions of infflow: kernels that Python calls, and their parts.
MOST_KERNELS = 26
MOST_PARTS = 62
#: Functions of numba's own: empty arrays, maxima, products of matrices.
MOST_OF_NUMBA = 40
#: Kernels that belong to other activations, and to none that the example has.
FOREIGN = ("atoms_00", "atoms_01", "atoms_02", "atoms_12", "atoms_22", "tail_moments", "mixture")

COUNT = """
import json
from numba.core import event

rows = []

class Listener(event.Listener):
    def on_start(self, e):
        dispatcher = e.data["dispatcher"]
        function = dispatcher.py_func
        rows.append((type(dispatcher).__name__, function.__module__, function.__name__))

    def on_end(self, e):
        pass

event.register("numba:compile", Listener())
"""


def test_the_readmes_example_compiles_few_functions(tmp_path):
    text = (ROOT / "README.md").read_text()
    example = re.findall(r"```python\n(.*?)```", text, flags=re.S)[0]
    code = f"{COUNT}{example}\nprint(json.dumps(rows))\n"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
    )
    assert "compiling" not in done.stderr  # nobody looks
    rows = json.loads(done.stdout.splitlines()[-1])
    own = [row for row in rows if row[1].startswith("infflow")]
    kernels = [name for kind, _, name in own if kind == "_Kernel"]
    parts = [name for kind, _, name in own if kind == "_Part"]
    assert len(kernels) + len(parts) == len(own), "kernels are compiled by infflow.compiler.njit"
    assert not [name for name in kernels + parts if any(word in name for word in FOREIGN)]
    assert len(set(kernels)) == len(kernels), "a kernel was compiled for two layouts of an argument"
    assert 0 < len(kernels) <= MOST_KERNELS, sorted(kernels)
    assert 0 < len(parts) <= MOST_PARTS, sorted(parts)
    assert len(rows) - len(own) <= MOST_OF_NUMBA
