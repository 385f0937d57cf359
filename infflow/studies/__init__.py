"""Studies: what the paper, the blog post and the letter claim, measured.

``infflow study NAME`` runs one, :func:`run_study` from Python.
"""

from .registry import STUDIES, Study, run_study
from .study import Claim, StudyResult, StudySetting

__all__ = ["STUDIES", "Claim", "Study", "StudyResult", "StudySetting", "run_study"]
