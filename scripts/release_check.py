"""Build sdist and wheel, look into them, and use the wheel where nothing else is installed.

    python scripts/release_check.py

The wheel goes into an empty virtual environment, with its dependencies from the package index, and
runs the README's example there, away from the sources. Exit code 1 and a sentence if something is
wrong.
"""

from __future__ import annotations

import os
import re
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


def use_wheel(wheel: Path, folder: Path) -> None:
    """Install into an empty environment; the README's example and two commands."""
    python = folder / "venv" / "bin" / "python"
    run(sys.executable, "-m", "venv", str(folder / "venv"))
    constraints = str(ROOT / "constraints.txt")
    run(
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-c",
        constraints,
        str(wheel),
    )
    example = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)[0]
    environment = {**os.environ, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
    for what in ("compiling", "compiled"):
        start = time.perf_counter()
        output = run(str(python), "-c", example, cwd=folder, env=environment)
        print(
            f"README example, {what}: {time.perf_counter() - start:.1f} s; last line: "
            f"{output.splitlines()[-1]}"
        )
    command = folder / "venv" / "bin" / "infflow"
    print(run(str(command), "info", cwd=folder, env=environment).splitlines()[0])
    print(run(str(command), "surrogates", "list", cwd=folder, env=environment).strip())


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(sys.executable, "-m", "build", "--outdir", str(folder / "dist"), str(ROOT))
        (wheel,) = (folder / "dist").glob("*.whl")
        (sdist,) = (folder / "dist").glob("*.tar.gz")
        look_into_wheel(wheel)
        look_into_sdist(sdist)
        versions_agree(wheel)
        use_wheel(wheel, folder)
    print("release check: passed")


if __name__ == "__main__":
    main()
