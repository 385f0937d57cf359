"""Ctrl-C that a library has turned into another error still ends a run in order."""

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
    "optimizer", [name for name in OPTIMIZERS if name not in ("levenberg_marquardt", "gauss_newton")]
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
