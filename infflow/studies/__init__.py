"""Studies: what the paper, the blog post and the letter claim, measured.

``infflow study NAME`` runs one, :func:`run_study` from Python.

| room or file | what it holds |
|---|---|
| `registry.py` | the studies by name |
| `study.py` | settings, claims, results, tables: shared by all |
| `descent_vs_flow/`, `stiffness/` | the blog post; the letter |
| `finite_vs_infinite/` | the paper's law of 1/N |
| `landscape_atlas/`, `online_sgd/` | critical points of small students; order parameters |
| `online_exponents/` | power laws, plateaus, spheres, tasks one after the other |
| `families/` | families of symmetric networks |
| `dynamics.py` | the closing question of the blog post |
| `infinite_width/` | finite width beside the kernels of infinite width |
| `flow_accuracy.py`, `fixed_points.py`, `speed.py` | the paper's other figures |
| `objectives.py` | small losses that studies share |
"""

from .registry import STUDIES, Study, run_study
from .study import Claim, StudyResult, StudySetting

__all__ = ["STUDIES", "Claim", "Study", "StudyResult", "StudySetting", "run_study"]
