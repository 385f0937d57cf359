"""``python -m infflow.cli``."""

from . import app

app(prog_name="infflow")
