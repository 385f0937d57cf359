"""Kernels that are compiled ahead of their first use."""

import pytest
from typer.testing import CliRunner

from infflow import warmup
from infflow.cli import app


@pytest.mark.parametrize("name", warmup.WORKLOADS)
def test_every_workload_runs(name):
    warmup.WORKLOADS[name]()


def test_workloads_reach_what_is_called_from_python():
    """Next to a teacher, with neurons that part from one, and with sampled fourth moments."""
    from infflow.networks.infinite.near_teacher import differences_kernels, realizable_kernels
    from infflow.online.equations import fourth_kernels

    for name in ("series and mixtures", "closed forms", "order parameters"):
        warmup.WORKLOADS[name]()
    reached = (
        *(getattr(realizable_kernels, name) for name in ("match", "survey", "split", "integral")),
        *(getattr(differences_kernels, name) for name in ("geometry", "shifts", "series_sums")),
        differences_kernels.coincident_sums,
        fourth_kernels.sample_sums,
    )
    assert all(kernel.signatures for kernel in reached)


def test_workloads_run_in_processes():
    assert list(warmup.warm_up(1, ("elu",))) == ["elu"]


def test_the_command_says_what_it_does(monkeypatch):
    monkeypatch.setattr(warmup, "warm_up", lambda jobs: iter(["elu", "integrators"]))
    result = CliRunner().invoke(app, ["warmup", "--jobs", "1"])
    assert result.exit_code == 0
    assert "compiled: elu\ncompiled: integrators\n" in result.output
    assert "kernels are compiled" in result.output
    assert CliRunner().invoke(app, ["warmup", "--jobs", "0"]).exit_code == 2
