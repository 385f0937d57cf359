"""Configuration files: what ``infflow train CONFIG.toml`` reads. Nothing here knows of the command
line.

| file | what it holds | who calls it |
|---|---|---|
| `config.py` | `Configuration`: from a file to network, start and arguments | commands |
| `sections.py`, `checks.py` | each setting with default, check and sentence | `config.py` |
| `sweep_file.py` | a configuration with a grid | `cli/sweep.py` |
| `toml_file.py` | keys with their lines, errors collected | `config.py`, `sweep_file.py` |
"""

from __future__ import annotations

from .config import Configuration, example_configuration, train_configuration, with_changes

__all__ = ["Configuration", "example_configuration", "train_configuration", "with_changes"]
