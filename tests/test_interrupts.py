"""Ctrl-C that a library has turned into another error still ends a run in order."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from analytic_objectives import TanhNetwork

from infflow.fixedpoints import OPTIMIZERS
from infflow.flow import SOLVERS
from infflow.interrupts import plain_interrupts
from infflow.stopping import StopReason
from infflow.storage import load_archive, save_archive
from infflow.training import train


def as_numba_does():
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt as error:
        raise SystemError("CPUDispatcher returned a result with an exception set") from error


def as_zipfile_does():
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        raise ValueError("Can't close the ZIP file while there is an open writing handle on it.")  # noqa: B904


@pytest.mark.parametrize("raises", [as_numba_does, as_zipfile_does])
def test_every_form_becomes_plain(raises):
    with pytest.raises(KeyboardInterrupt), plain_interrupts():
        raises()


def test_other_errors_pass():
    with pytest.raises(ZeroDivisionError), plain_interrupts():
        1 / 0  # noqa: B018
    try:
        raise KeyError("handled")
    except KeyError:
        with pytest.raises(ZeroDivisionError), plain_interrupts():
            1 / 0  # noqa: B018


class Interrupted(TanhNetwork):
    """Raises numba's error in one of its evaluations."""

    def __init__(self, left):
        super().__init__()
        self.left = left

    def count(self):
        self.left -= 1
        if self.left == 0:
            as_numba_does()

    def evaluate(self, theta, order=0):
        self.count()
        return super().evaluate(theta, order)

    def hvp(self, theta, v):
        self.count()
        return super().hvp(theta, v)


@pytest.mark.parametrize("left", [4, 9])
@pytest.mark.parametrize("solver", SOLVERS)
def test_flows(solver, left):
    options = {"step_size": 1e-3} if solver in ("gd", "adam") else {}
    net = Interrupted(left)
    result = train(net, net.start, solver=solver, t_end=20.0, max_steps_newton=0, **options)
    assert result.status is StopReason.INTERRUPTED
    assert result.loss == TanhNetwork().evaluate(result.theta).value


@pytest.mark.parametrize("left", [4, 9])
@pytest.mark.parametrize(
    "optimizer",
    [name for name in OPTIMIZERS if name not in ("levenberg_marquardt", "gauss_newton")],
)
def test_searches(optimizer, left):
    net = Interrupted(left)
    result = train(net, net.start, optimizer=optimizer, max_steps_flow=0)
    assert result.status is StopReason.INTERRUPTED
    assert result.loss == TanhNetwork().evaluate(result.theta).value


def test_archives(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    save_archive(path, "infflow.Test", {"theta": np.ones(3)}, {})
    before = path.read_bytes()
    monkeypatch.setattr("numpy.savez_compressed", lambda *_, **__: as_zipfile_does())
    with pytest.raises(KeyboardInterrupt):
        save_archive(path, "infflow.Test", {"theta": np.zeros(3)}, {})
    assert path.read_bytes() == before and load_archive(path, "infflow.Test")[0]["theta"][0] == 1.0


# --------------------------------------------------------------------------------------------------
# SIGTERM


TRAIN = """
import signal, sys, threading
import numpy as np
import infflow as inf
sys.path.insert(0, "tests")
from analytic_objectives import TanhNetwork

net = TanhNetwork()
options = {"solver": "rk4", "solver_options": {"step": 1e-3}}
options |= {"max_steps_newton": 0, "progress": False}
options |= {"min_gradient_norm": 0.0, "min_loss": 0.0}

def terminate(now):
    if now.step == 20:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)  # some send it twice

"""


def python(code, folder):
    root = Path(__file__).parent.parent
    command = [sys.executable, "-c", TRAIN + code, str(folder / "run.npz")]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)


def test_sigterm_saves_the_checkpoint_and_ends_the_process(tmp_path):
    done = python(
        "inf.train(net, net.start, callback=terminate, checkpoint=sys.argv[1], "
        "**options)\nprint(1)",
        tmp_path,
    )
    assert done.returncode == -signal.SIGTERM and not done.stdout and "Traceback" not in done.stderr
    net = TanhNetwork()
    options = {
        "solver": "rk4",
        "solver_options": {"step": 1e-3},
        "max_steps_newton": 0,
        "progress": False,
    }
    options |= {"min_gradient_norm": 0.0, "min_loss": 0.0, "max_steps_flow": 30}
    steps = []
    found = train(
        net,
        net.start,
        checkpoint=tmp_path / "run.npz",
        callback=lambda now: steps.append(now.step),
        **options,
    )
    assert found.flow.steps == 30 and min(steps) in (
        19,
        20,
    )  # a step that was not kept whole is done again
    expected = train(net, net.start, **options)
    np.testing.assert_array_equal(found.theta, expected.theta)


def test_sigterm_is_left_alone_without_a_checkpoint(tmp_path):
    done = python("inf.train(net, net.start, callback=terminate, **options)", tmp_path)
    assert done.returncode == -signal.SIGTERM and not list(tmp_path.iterdir())


def test_a_handler_of_the_user_decides(tmp_path):
    code = """
seen = []
signal.signal(signal.SIGTERM, lambda *details: seen.append(details))
options |= {"checkpoint": sys.argv[1], "max_steps_flow": 30}
result = inf.train(net, net.start, callback=terminate, **options)
print(len(seen), result.flow.steps, result.status.name)
"""
    assert python(code, tmp_path).stdout == "2 30 MAX_STEPS\n"


def test_the_handler_is_restored_and_other_threads_have_none(tmp_path):
    code = """
before = signal.getsignal(signal.SIGTERM)
inside = []
watch = lambda now: inside.append(signal.getsignal(signal.SIGTERM) is before)
options |= {"checkpoint": sys.argv[1], "max_steps_flow": 1}
call = lambda: inf.train(net, net.start, callback=watch, **options)
call()
print(set(inside), signal.getsignal(signal.SIGTERM) is before)
inside.clear()
import os
os.remove(sys.argv[1])
thread = threading.Thread(target=call)
thread.start()
thread.join()
print(set(inside))
"""
    assert python(code, tmp_path).stdout == "{False} True\n{True}\n"
