"""The studies by name, and how one is run; a new study is a module and one line here."""

from __future__ import annotations

from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from .._validation import as_choice, as_integer
from ..errors import InvalidTypeError
from ..storage import make_folder
from .study import StudyResult, StudySetting


class Study(NamedTuple):
    """A line of the registry.

    The module defines ``Setting`` (a frozen subclass of :class:`StudySetting`; its defaults make
    the full run), ``QUICK`` (a Setting whose run ends within 25 seconds) and
    ``run(setting, *, jobs, folder, progress) -> StudyResult``.
    """

    name: str
    module: str
    title: str

    def load(self) -> ModuleType:
        """The module."""
        return import_module(f"{__package__}.{self.module}")


STUDIES: dict[str, Study] = {
    study.name: study
    for study in (
        Study(
            "flow-accuracy",
            "flow_accuracy",
            "distance, progress and loss of every integrator at equal time",
        ),
        Study(
            "convergence",
            "finite_vs_infinite.claims",
            "finite against infinite data: the law of 1/N, its prefactor, and where it ends",
        ),
        Study(
            "landscape",
            "landscape_atlas.claims",
            "an atlas of critical points of small students of orthonormal teachers",
        ),
        Study(
            "families",
            "families.claims",
            "spurious minima of relu networks of any size, and copies and averages of erf",
        ),
        Study(
            "fixed-points",
            "fixed_points",
            "how near to a fixed point every method gets, and what was found",
        ),
        Study(
            "infinite-width",
            "infinite_width.claims",
            "networks of finite width beside the kernels of infinite width",
        ),
        Study("speed", "speed", "gradients and Hessians against PyTorch and JAX"),
        Study(
            "descent-vs-flow",
            "descent_vs_flow.claims",
            "when gradient descent follows gradient flow",
        ),
        Study(
            "dynamics",
            "dynamics",
            "large steps, momentum, noise and natural gradients, and the flows that model them",
        ),
        Study(
            "stiffness",
            "stiffness.claims",
            "what stiff solvers do on classification and regression",
        ),
        Study(
            "online-sgd",
            "online_sgd.claims",
            "order parameters against simulated online SGD and published formulas",
        ),
        Study(
            "online-exponents",
            "online_exponents.claims",
            "online learning: power laws, plateaus, information exponents, forgetting",
        ),
    )
}


def run_study(
    name: str,
    *,
    quick: bool = False,
    jobs: int = 1,
    out: Any = None,
    progress: bool = True,
    **changes: Any,
) -> StudyResult:
    """Run a study and save what came of it.

    Parameters
    ----------
    name : str
        One of ``STUDIES``.
    quick : bool
        A small version of at most 25 seconds.
    jobs : int
        Worker processes; -1: as many as there are cores.
    out : path, optional
        Folder for ``summary.json``, the picture, the text of the page, and the finished runs, with
        which a stopped study continues.
    progress : bool
        Show a bar on a terminal.
    **changes
        Fields of the study's ``Setting``, such as ``seeds`` and ``seed``.

    Returns
    -------
    StudyResult

    Raises
    ------
    UnknownNameError
        If there is no such study or field; the message suggests the nearest.
    InvalidTypeError, InvalidValueError, StorageError
        If an argument cannot be used.
    """
    module = STUDIES[as_choice("study", name, STUDIES)].load()
    jobs = as_integer("jobs", jobs) if jobs == -1 else as_integer("jobs", jobs, minimum=1)
    setting = _changed(module.QUICK if quick else module.Setting(), changes)
    folder = None if out is None else make_folder(_as_folder(out))
    result: StudyResult = module.run(setting, jobs=jobs, folder=folder, progress=progress)
    if folder is not None:
        result.save(folder)
    return result


def _changed(setting: StudySetting, changes: dict[str, Any]) -> StudySetting:
    for field in changes:
        as_choice("the keyword", field, [f.name for f in fields(setting)])
    return replace(setting, **changes)


def _as_folder(out: Any) -> Path:
    try:
        return Path(out).expanduser()
    except TypeError:
        raise InvalidTypeError(f"out is {out!r}; the name of a folder is needed.") from None
