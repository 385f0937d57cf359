"""Build sdist and wheel, look into them, and use the wheel where nothing else is installed.

    python scripts/release_check.py [--python EXE ...] [--oldest EXE]

The wheel goes into empty virtual environments, one for each Python, with its dependencies from the
package index, and runs all blocks of the README there, away from the sources. One more environment
has the oldest numba that is supported. Without ``--python`` all of 3.11 to 3.14 that are on the
path. Exit code 1 and a sentence if something is wrong.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LARGEST = 5_000_000  # bytes of a wheel
NEEDED = ("infflow/py.typed", "infflow/plotting/infflow.mplstyle")


def fail(sentence: str) -> None:
    sys.exit(f"release check: {sentence}")


def run(*command: str, **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        fail(f"{' '.join(command[:4])} ... failed:\n{done.stdout}{done.stderr}")
    return str(done.stdout)


def look_into_wheel(wheel: Path) -> None:
    """Size, needed files, one file of weights with its card per surrogate, nothing of the tests."""
    if wheel.stat().st_size > LARGEST:
        fail(
            f"{wheel.name} has {wheel.stat().st_size / 1e6:.1f} MB, more than "
            f"{LARGEST / 1e6:.0f} MB."
        )
    names = set(zipfile.ZipFile(wheel).namelist())
    missing = [name for name in NEEDED if name not in names]
    sources = sorted(
        path.name for path in (ROOT / "surrogates").glob("*") if path.suffix in (".npz", ".json")
    )
    missing += [name for name in sources if f"infflow/_surrogates/{name}" not in names]
    if missing:
        fail(f"{wheel.name} lacks {', '.join(missing)}.")
    strange = [name for name in names if not name.startswith("infflow") or "__pycache__" in name]
    if strange:
        fail(f"{wheel.name} holds {', '.join(strange[:5])}.")
    print(
        f"{wheel.name}: {wheel.stat().st_size / 1e6:.2f} MB, {len(names)} files, {len(sources)} "
        "of surrogates"
    )


def look_into_sdist(sdist: Path) -> None:
    """The sources, the tests and what the build needs."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    missing = [
        name
        for name in (
            "pyproject.toml",
            "README.md",
            "LICENSE",
            "CHANGELOG.md",
            "codemeta.json",
            "conda/recipe.yaml",
            "tests/test_package.py",
        )
        if name not in names
    ]
    if missing:
        fail(f"{sdist.name} lacks {', '.join(missing)}.")
    print(f"{sdist.name}: {sdist.stat().st_size / 1e6:.2f} MB, {len(names)} files")


def versions_agree(wheel: Path) -> None:
    """The version of the package, of the citation and of the changelog."""
    version = wheel.name.split("-")[1]
    if not re.fullmatch(r"\d+\.\d+\.\d+([.-]?(a|b|rc|dev)\d+)?", version):
        fail(f"{version} is not a semantic version.")
    if f"version: {version}\n" not in (ROOT / "CITATION.cff").read_text():
        fail(f"CITATION.cff does not say version {version}.")
    if f"## {version}" not in (ROOT / "CHANGELOG.md").read_text():
        fail(f"CHANGELOG.md has no section {version}.")


def use_wheel(wheel: Path, folder: Path, interpreter: str, *requirements: str) -> None:
    """Install into an empty environment; all blocks of the README and two commands."""
    folder.mkdir()
    python = str(folder / "venv" / "bin" / "python")
    run(interpreter, "-m", "venv", str(folder / "venv"))
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, str(wheel), *requirements)
    environment = {**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
    environment.pop("INFFLOW_QUIET", None)
    versions = (
        "import sys, numba, numpy; print('Python', sys.version.split()[0], 'numba', "
        "numba.__version__, 'numpy', numpy.__version__)"
    )
    print(run(python, "-c", versions, cwd=folder, env=environment).strip(), flush=True)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    for what in ("compiling", "compiled"):
        start = time.perf_counter()
        for block in blocks:
            output = run(python, "-W", "error", "-c", block, cwd=folder, env=environment)
        seconds = time.perf_counter() - start
        last = output.splitlines()[-1]
        print(f"  README, {what}: {seconds:.1f} s; last line: {last}", flush=True)
    command = str(folder / "venv" / "bin" / "infflow")
    run(command, "info", cwd=folder, env=environment)
    run(command, "surrogates", "list", cwd=folder, env=environment)


def oldest_numba() -> str:
    """The requirement of the oldest numba that pyproject.toml allows."""
    (found,) = re.findall(r'"numba>=([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    return f"numba=={found}.*"


def interpreters() -> list[str]:
    """All supported versions of Python that are on the path and start."""
    found = []
    for minor in range(11, 15):
        name = f"python3.{minor}"
        path = shutil.which(name)
        if path is not None and not subprocess.run([path, "-V"], capture_output=True).returncode:
            found.append(path)
        else:
            print(f"{name}: not found, left out")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Build wheel and sdist, and use the wheel.")
    parser.add_argument("--python", nargs="*", help="interpreters for the wheel")
    parser.add_argument("--oldest", help="the one for the oldest numba; the first unless given")
    options = parser.parse_args()
    pythons = options.python or interpreters() or [sys.executable]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(sys.executable, "-m", "build", "--outdir", str(folder / "dist"), str(ROOT))
        (wheel,) = (folder / "dist").glob("*.whl")
        (sdist,) = (folder / "dist").glob("*.tar.gz")
        look_into_wheel(wheel)
        look_into_sdist(sdist)
        versions_agree(wheel)
        for number, python in enumerate(pythons):
            use_wheel(wheel, folder / f"python{number}", python)
        use_wheel(wheel, folder / "oldest", options.oldest or pythons[0], oldest_numba())
    print("release check: passed")


if __name__ == "__main__":
    main()
