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
from infflow import terminal
from infflow.studies.finite_vs_infinite.convergence import Setting, convergence
from infflow.terminal import Bar, on_terminal


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


def test_nobody_else_makes_bars():
    package = Path(inf.__file__).parent
    making = [path.name for path in package.rglob("*.py") if "tqdm" in path.read_text()]
    assert sorted(making) == ["compile_notice.py", "terminal.py"]


@pytest.mark.parametrize("where", ["on_terminal", "in_notebook"])
def test_a_bar_is_shown_where_a_person_watches(monkeypatch, where):
    monkeypatch.delenv("INFFLOW_QUIET", raising=False)
    for name in ("on_terminal", "in_notebook"):
        monkeypatch.setattr(terminal, name, lambda name=name: name == where)
    monkeypatch.setattr(sys, "stderr", screen := io.StringIO())
    with Bar(total=4.0, desc="path") as bar:
        bar.move_to(1.0)
        bar.move_to(3.0)
        bar.update(1, "done")
    assert "path: 100%" in screen.getvalue() and "done" in screen.getvalue()
    assert list(Bar(total=2, desc="parts").over("ab")) == ["a", "b"]
    assert "parts: 100%" in screen.getvalue()
    monkeypatch.setattr(sys, "stderr", silent := io.StringIO())
    with Bar(False, total=4.0) as bar:
        bar.update()
        bar.stage("nothing")
    monkeypatch.setenv("INFFLOW_QUIET", "1")
    assert list(Bar().over("ab")) == ["a", "b"]
    assert silent.getvalue() == ""


def test_online_learning_has_a_bar(monkeypatch):
    monkeypatch.delenv("INFFLOW_QUIET", raising=False)
    net = inf.Net([(1, "erf", False), (1, "identity", False)], input_dim=2)
    dynamics = inf.OrderParameters(inf.NetI(net, inf.Teacher(net, [1.0, 0.0, 1.0])), 0.5)
    told = []
    monkeypatch.setattr(Bar, "move_to", lambda self, position: told.append(position))
    dynamics.solve([0.5, 0.5, 1.0], 2.0)
    assert told == sorted(told) and told[-1] == 2.0
    dynamics.simulate([0.5, 0.5, 1.0], 100, [0.0, 10.0])
    assert told[-1] > 8.0


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
