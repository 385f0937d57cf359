"""The convergence study on a problem small enough for a test."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from infflow.cli import app
from infflow.errors import DivergedError, InfflowError, StorageError
from infflow.networks.statistics import FiniteDataPrediction
from infflow.studies.finite_vs_infinite.convergence import (
    ConvergenceResult,
    Run,
    Setting,
    convergence,
)

KEYS = {
    "N",
    "mean_squared_distance",
    "predicted",
    "slope",
    "slope_ci",
    "seeds",
    "seeds_used",
    "infinite_loss",
}
SMALL = Setting(
    activation="erf",
    input_dim=3,
    teacher_width=3,
    student_width=1,
    N=(1000, 4000, 16000),
    seeds=12,
    seed=0,
)


@pytest.fixture(scope="module")
def small():
    return convergence(SMALL, jobs=1, progress=False)


def test_follows_the_law(small):
    """The measured mean agrees with the predicted prefactor within its own scatter, and the slope
    with -1.
    """
    assert all(len(small.used(N)) >= 10 for N in SMALL.N)
    deviation = np.abs(small.mean_squared_distance() - small.predicted()) / small.standard_error()
    # a mean of a dozen heavy-tailed squares: five standard errors
    assert deviation.max() < 5
    assert small.fit().slope_ci[0] < -1 < small.fit().slope_ci[1]


def test_saved_files(small, tmp_path):
    small.save(tmp_path)
    data = json.loads((tmp_path / "convergence.json").read_text())
    assert data.keys() >= KEYS
    assert data["N"] == list(SMALL.N)
    assert data["slope_ci"][0] < data["slope"] < data["slope_ci"][1]
    assert (tmp_path / "convergence.png").read_bytes().startswith(b"\x89PNG")
    assert "slope" in small.table() and repr(small) == small.table()


def synthetic(exponent, scatter=0.2, spoilt=0):
    """Runs that follow a power law exactly but for a scatter, some of them marked as lost."""
    rng = np.random.default_rng(0)
    setting = Setting(seeds=20)
    runs = [
        Run(
            N,
            seed,
            7.0 * N**exponent * np.exp(scatter * rng.standard_normal()),
            0.0,
            0.0,
            seed >= spoilt,
            0.0,
        )
        for N in setting.N
        for seed in range(20)
    ]
    return ConvergenceResult(
        setting, np.zeros(3), 0.1, 1e-16, 0.1, FiniteDataPrediction(7.0, 0.1, 1.0, 0.1, 3), runs
    )


@pytest.mark.parametrize("exponent", [-1.0, -0.5])
def test_fit_recovers_a_power_law(exponent):
    fit = synthetic(exponent).fit()
    assert fit.slope_ci[0] < exponent < fit.slope_ci[1]
    assert fit.slope == pytest.approx(exponent, abs=0.05)


def test_lost_runs_are_left_out_and_counted():
    result = synthetic(-1.0, spoilt=3)
    data = result.to_dict()
    assert data["seeds_used"] == [17] * 5
    assert len(data["excluded"]) == 15
    assert "15 runs in another basin" in result.table()
    with pytest.raises(DivergedError, match="slope"):
        synthetic(-1.0, spoilt=19).fit()


def test_no_slope_of_a_selection(tmp_path):
    """With 75 % of the runs in the basin there is none, with 80 % there is."""
    assert synthetic(-1.0, spoilt=4).fit().slope == pytest.approx(-1, abs=0.1)
    result = synthetic(-1.0, spoilt=5)
    with pytest.raises(DivergedError, match=r"75 of 100 runs stayed .* 80%"):
        result.fit()
    result.save(tmp_path)
    data = json.loads((tmp_path / "convergence.json").read_text())
    assert data["slope"] is data["slope_ci"] is None
    assert "75 of 100" in data["slope_refused"] and "no slope: 75 of 100" in result.table()
    assert synthetic(-1.0).to_dict()["slope_refused"] is None


def test_no_slope_where_the_distance_is_zero():
    result = synthetic(-1.0)
    result.theta = np.ones(3)
    result.runs = [run._replace(squared_distance=1e-17 / run.N) for run in result.runs]
    with pytest.raises(DivergedError, match="does not apply"):
        result.fit()


def test_a_number_of_samples_without_runs_spoils_nothing(tmp_path):
    result = synthetic(-1.0)
    result.runs = [run._replace(same_basin=run.N != 1000) for run in result.runs]
    result.save(tmp_path)
    data = json.loads((tmp_path / "convergence.json").read_text())
    assert (
        data["mean_squared_distance"][0]
        is data["standard_error"][0]
        is data["mean_loss_gap"][0]
        is None
    )
    assert data["seeds_used"] == [0, 20, 20, 20, 20]
    assert "nan" in result.table().splitlines()[1]


@pytest.mark.parametrize(
    "arguments,message",
    [
        ({"seedz": 3}, "seeds"),
        ({"setting": "erf"}, "Setting"),
        ({"N": 1000}, "list"),
        ({"N": (1000.0, 2000.0)}, "integer"),
        ({"N": (1000, 1000)}, "different"),
        ({"N": (0, 1000)}, "at least 1"),
        ({"seeds": 1}, "seeds"),
        ({"seed": -1}, "seed"),
        ({"noise": -1.0}, "noise"),
        ({"jobs": 0}, "jobs"),
        ({"activation": "erff"}, "erf"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InfflowError, match=message):
        convergence(progress=False, **arguments)


def test_keywords_change_a_setting():
    with pytest.raises(DivergedError, match="flat"):  # not the setting, which has a minimum
        convergence(SMALL, jobs=1, progress=False, input_dim=2, teacher_width=1, student_width=3)


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        synthetic(-1.0).save(tmp_path / "file" / "out")
    result = CliRunner().invoke(app, ["converge", "--out", str(tmp_path / "file" / "out")])
    assert result.exit_code == 1
    assert "cannot be made" in result.output


def test_refuses_flat_minima():
    """A student with as many neurons as the teacher needs has flat directions only if
    it has more.
    """
    flat = Setting(
        activation="erf", input_dim=2, teacher_width=1, student_width=3, N=(100, 200), seeds=2
    )
    with pytest.raises(DivergedError, match="flat"):
        convergence(flat, jobs=1, progress=False)


def test_command_line(tmp_path):
    arguments = [
        "converge",
        "--activation",
        "erf",
        "--input-dim",
        "3",
        "--teacher",
        "3",
        "--student",
        "1",
        "--n",
        "1000",
        "--n",
        "2000",
        "--seeds",
        "3",
        "--seed",
        "0",
        "--jobs",
        "1",
    ]
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout).keys() >= KEYS
    assert json.loads((tmp_path / "convergence.json").read_text())["seeds"] == 3


@pytest.mark.parametrize(
    "arguments,code,message",
    [
        (["converge", "--activation", "erff"], 2, "erf"),
        (["converge", "--seeds", "1"], 2, "seeds"),
        (["converge", "--n", "100"], 2, "two different"),
        (["converge", "--student", "many"], 2, "Invalid value"),
        (["converge", "--input-dim", "0"], 2, "--input-dim"),
        (["integral", "erf", "relu", "--u", "1.5"], 2, "u"),
        (["integral", "erf", "relu", "--method", "closd"], 2, "closed"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_bad_usage(arguments, code, message, tmp_path):
    extra = ["--out", str(tmp_path)] if arguments[0] == "converge" else []
    result = CliRunner().invoke(app, [*arguments, *extra])
    assert result.exit_code == code
    assert message in result.output


def test_integral_and_info():
    result = CliRunner().invoke(app, ["integral", "erf", "erf", "--u", "0.5", "--json"])
    assert json.loads(result.stdout)["value"] == pytest.approx(
        2 / np.pi * np.arcsin(0.25), rel=1e-15
    )
    assert "closed" in CliRunner().invoke(app, ["integral", "erf", "relu"]).stdout
    assert json.loads(CliRunner().invoke(app, ["info", "--json"]).stdout)["infflow"]
