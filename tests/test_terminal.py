"""Whether a bar is shown: one function decides, and a process without a standard error runs all the
same.
"""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import sweep_functions

import infflow as inf
from infflow.studies.finite_vs_infinite.convergence import Setting, convergence
from infflow.terminal import on_terminal


class Screen(io.StringIO):
    def isatty(self):
        return True


def test_what_is_a_terminal(monkeypatch):
    closed = Screen()
    closed.close()
    for stream, wanted in (
        (Screen(), True),
        (io.StringIO(), False),
        (None, False),
        (object(), False),
    ):
        monkeypatch.setattr(sys, "stderr", stream)
        assert on_terminal() is wanted
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    assert on_terminal() is False


def test_nobody_else_asks():
    package = Path(inf.__file__).parent
    asking = [path.name for path in package.rglob("*.py") if "isatty" in path.read_text()]
    assert asking == ["terminal.py"]


def net():
    return inf.Net(
        [(1, "tanh", True), (1, "identity", True)],
        input=[[0.0], [1.0], [2.0]],
        target=[0.0, 1.0, 0.0],
    )


SMALL = Setting(
    activation="erf", input_dim=2, teacher_width=2, student_width=1, N=(1000, 2000), seeds=2, seed=0
)
RUNS = {
    "train": lambda folder: inf.train(net(), np.ones(4), max_steps_flow=3, max_steps_newton=1),
    "train_many": lambda folder: inf.train_many(
        net(), [np.ones(4)], n_jobs=1, max_steps_flow=3, max_steps_newton=1
    ),
    "sweep": lambda folder: inf.sweep(
        sweep_functions.draw, {"seed": [0]}, folder / "a.db", backend="sequential"
    ),
    "convergence": lambda folder: convergence(SMALL, jobs=1),
}


@pytest.mark.parametrize("name", RUNS)
def test_without_a_standard_error(tmp_path, monkeypatch, name):
    monkeypatch.setattr(sys, "stderr", None)
    RUNS[name](tmp_path)
