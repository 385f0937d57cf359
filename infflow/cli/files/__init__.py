"""Configuration files: what ``infflow train CONFIG.toml`` reads. Nothing here knows of the command
line.
"""

from __future__ import annotations

from .config import Configuration, example_configuration, train_configuration, with_changes

__all__ = ["Configuration", "example_configuration", "train_configuration", "with_changes"]
