"""Kernels that are compiled ahead of their first use."""

import pytest
from typer.testing import CliRunner

from infflow import warmup
from infflow.cli import app


@pytest.mark.parametrize("name", warmup.WORKLOADS)
def test_every_workload_runs(name):
    warmup.WORKLOADS[name]()


def test_workloads_run_in_processes():
    assert list(warmup.warm_up(1, ("elu",))) == ["elu"]


def test_the_command_says_what_it_does(monkeypatch):
    monkeypatch.setattr(warmup, "warm_up", lambda jobs: iter(["elu", "integrators"]))
    result = CliRunner().invoke(app, ["warmup", "--jobs", "1"])
    assert result.exit_code == 0
    assert "compiled: elu\ncompiled: integrators\n" in result.output
    assert "kernels are compiled" in result.output
    assert CliRunner().invoke(app, ["warmup", "--jobs", "0"]).exit_code == 2
