"""The scripts run, write what they promise, and refuse bad options."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


def run(script, *arguments):
    command = [sys.executable, "-W", "error", str(ROOT / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    out = tmp_path_factory.mktemp("digits")
    done = run("scripts/train_digits.py", "--quick", "--seconds", "0.5", "--out", str(out))
    assert done.returncode == 0, done.stderr
    return out, done.stdout, json.loads((out / "digits.json").read_text())


def test_digits_report(digits):
    _, _, report = digits
    assert report["setting"]["parameters"] == 64 * 10 + 10 + 10 * 10 + 10
    assert report["setting"]["samples"] + report["setting"]["test_samples"] == 1797
    assert report["initial_loss"] > 2.0  # log 10 = 2.3 for ten classes that are equally likely
    flow, adam, lbfgs = report["runs"]
    assert (flow["arguments"]["solver"], adam["arguments"]["solver"]) == ("cvode_bdf", "adam")
    assert flow["hvps"] > 0 and flow["gradients"] > 0
    assert adam["hvps"] == 0 and adam["gradients"] == adam["steps"] + 1
    assert lbfgs["loss"] < 0.2


def test_digits_loss_decreases_along_every_curve(digits):
    _, _, report = digits
    for one in report["runs"]:
        seconds = np.array(one["curve"]["seconds"])
        loss = np.array(one["curve"]["loss"])
        assert loss[0] == report["initial_loss"], "every run starts at the same point"
        assert (np.diff(seconds) > 0).all() and seconds[-1] <= one["seconds"]
        assert loss[-1] < loss[0]
        # the same sum over samples, in blocks of another size
        assert one["loss"] <= loss[-1] * (1 + 1e-12), "the result is at least as good as the end"
        assert len(one["curve"]["test_accuracy"]) == len(loss)
        assert 0 <= one["gradient_time"] + one["hvp_time"] <= one["seconds"]


def test_digits_prints_a_table_and_draws_a_picture(digits):
    out, printed, report = digits
    for one in report["runs"]:
        assert f"| {one['name']} | {one['loss']:.3e} |" in printed
    assert "of flow and Adam" in printed
    assert (out / "digits.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hidden", "0"], "'0' is not a positive integer"),
        (["--activation", "sotfplus"], "Did you mean 'softplus'?"),
    ],
)
def test_digits_refuses_bad_options(arguments, message, tmp_path):
    done = run("scripts/train_digits.py", *arguments, "--out", str(tmp_path / "none"))
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "none").exists()


def test_plain_regression_is_far_worse_than_a_surrogate():
    """``test_surrogate_training.py`` asks a surrogate of as many points for a median below 1e-4."""
    done = run("scripts/surrogate_baseline.py", "tanh", "--points", "400", "--held-out", "200")
    assert done.returncode == 0, done.stderr
    name, median = re.match(r"(\w+): median (\S+),", done.stdout).groups()
    assert name == "tanh"
    assert 1e-4 < float(median) < 0.1  # E f^2 is at most 1
