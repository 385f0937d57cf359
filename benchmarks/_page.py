"""The command line of benchmarks that make one page."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path


def write(page: Callable[[int], str], target: Path, description: str | None, repeat: int) -> None:
    """Make a page from ``repeat`` calls for each mean, write it, and print it."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=repeat, help="calls of each mean")
    parser.add_argument("--out", type=Path, default=target)
    arguments = parser.parse_args()
    text = page(arguments.repeat)
    arguments.out.write_text(text)
    print(text)
