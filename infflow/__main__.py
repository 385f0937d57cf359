"""``python -m infflow``."""

from .cli import app

app(prog_name="infflow")
