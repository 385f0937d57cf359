"""The line about compiling: once, late enough, and only where a person looks."""

import io
import sys
from types import SimpleNamespace

import pytest

from infflow import compile_notice, terminal


def happening(module):
    function = SimpleNamespace(__module__=module)
    return SimpleNamespace(data={"dispatcher": SimpleNamespace(py_func=function)})


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(compile_notice.time, "perf_counter", lambda: now[0])
    return now


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(compile_notice, "is_watched", lambda: True)
    monkeypatch.setattr(compile_notice, "say", lambda: lines.append(compile_notice.MESSAGE))
    return lines


def compile_one(listener, clock, seconds, module="infflow.flow.gear_kernels"):
    listener.on_start(happening(module))
    clock[0] += seconds
    listener.on_end(happening(module))


def test_it_is_said_once_and_not_for_one_small_kernel(clock, said):
    listener = compile_notice._Listener()
    compile_one(listener, clock, 0.3)
    assert not said
    compile_one(listener, clock, 0.3)
    assert not said  # nobody waits any more
    compile_one(listener, clock, 0.3)
    compile_one(listener, clock, 0.3)
    assert said == [compile_notice.MESSAGE]


def test_functions_that_are_compiled_within_one_count_once(clock, said):
    listener = compile_notice._Listener()
    listener.on_start(happening("infflow.a"))
    clock[0] += 0.4
    listener.on_start(happening("infflow.b"))
    clock[0] += 0.4
    listener.on_end(happening("infflow.b"))
    assert listener.spent == 0.0
    listener.on_end(happening("infflow.a"))
    assert listener.spent == pytest.approx(0.8)


def test_functions_of_others_are_none_of_its_business(clock, said):
    listener = compile_notice._Listener()
    for _ in range(3):
        compile_one(listener, clock, 1.0, "somebody.elses")
    assert not said


def test_nothing_is_written_into_a_pipe(clock, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    listener = compile_notice._Listener()
    for _ in range(3):
        compile_one(listener, clock, 1.0)
    assert stream.getvalue() == ""


@pytest.mark.parametrize("where", ["terminal", "notebook"])
def test_a_person_is_told_on_the_error_stream(clock, monkeypatch, where):
    stream = io.StringIO()
    monkeypatch.delenv("INFFLOW_QUIET", raising=False)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(terminal, "on_terminal", lambda: where == "terminal")
    monkeypatch.setattr(terminal, "in_notebook", lambda: where == "notebook")
    listener = compile_notice._Listener()
    for _ in range(3):
        compile_one(listener, clock, 1.0)
    assert stream.getvalue() == compile_notice.MESSAGE + "\n"


def test_workers_and_pages_are_quiet(monkeypatch):
    monkeypatch.setattr(terminal, "on_terminal", lambda: True)
    monkeypatch.delenv("INFFLOW_QUIET", raising=False)
    assert terminal.is_watched()
    monkeypatch.setenv("INFFLOW_QUIET", "1")
    assert not terminal.is_watched()
    monkeypatch.delenv("INFFLOW_QUIET")
    worker = SimpleNamespace(name="SpawnProcess-1")
    monkeypatch.setattr(terminal.multiprocessing, "current_process", lambda: worker)
    assert not terminal.is_watched()


def test_a_notebook_is_known_by_its_shell(monkeypatch):
    class ZMQInteractiveShell:
        pass

    class TerminalInteractiveShell:
        pass

    class Shell(ZMQInteractiveShell):  # of a service
        pass

    for shell, expected in (
        (ZMQInteractiveShell(), True),
        (Shell(), True),
        (TerminalInteractiveShell(), False),
    ):
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda s=shell: s))
        assert terminal.in_notebook() is expected
    monkeypatch.delitem(sys.modules, "IPython")
    assert not terminal.in_notebook()
