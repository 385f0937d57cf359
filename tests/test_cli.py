"""The command line as a user meets it: files, exit codes, Ctrl-C, messages."""

import csv
import json
import os
import re
import shlex
import signal
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

import infflow as inf
from infflow.cli import app

CONFIG = """
seed = 3
[student]
hidden = 2
input_dim = 3
activation = "erf"
bias = false
output_bias = false
[teacher]
hidden = 2
[output]
plot = false
"""
SWEEP = """
config = "config.toml"
[grid]
seed = [0, 1]
student.hidden = [1, 2]
"""
COMMANDS = {
    "train": ["config", "--example", "--seed", "--out", "--json"],
    "sweep": [
        "sweep",
        "--example",
        "--seed",
        "--out",
        "--json",
        "--slot",
        "--slots",
        "--scheduler",
        "--retry-failed",
    ],
    "converge": ["--seed", "--out", "--json"],
    "integral": ["--r1", "--seed", "--out", "--json"],
    "info": ["--json"],
    "warmup": ["--jobs"],
    "study": ["--seed", "--out", "--json", "--quick"],
    "surrogates list": ["--seed", "--out", "--json"],
    "surrogates verify": ["--seed", "--out", "--json", "--points"],
    "surrogates train": ["--seed", "--out", "--json"],
}


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def config(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG)
    (tmp_path / "sweep.toml").write_text(SWEEP)
    return tmp_path / "config.toml"


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command):
    shown = run(*command.split(), "--help")
    assert shown.exit_code == 0
    assert f"Example: infflow {command}" in shown.output
    for option in COMMANDS[command]:
        assert option in shown.output


@pytest.mark.parametrize("group", [[], ["surrogates"]])
def test_lists_of_commands_have_whole_sentences(group):
    listed = run(*group, "--help").output.partition("Commands:")[2].strip().splitlines()
    assert len(listed) >= 3
    assert all(line.endswith(".") and "..." not in line for line in listed)


def test_bad_usage_has_exit_code_2(tmp_path):
    for arguments in (
        ["nonsense"],
        ["train", "--nonsense"],
        ["train"],
        ["sweep"],
        ["train", tmp_path / "none.toml"],
    ):
        done = run(*arguments)
        assert done.exit_code == 2 and "Traceback" not in done.output, arguments
    assert "--example > config.toml" in run("train").output


def test_info_shows_versions_threads_and_cache():
    report = json.loads(run("info", "--json").stdout)
    assert report["infflow"] == inf.__version__ and report["numpy"] == np.__version__
    assert (
        report["numba_threads"] >= 1
        and report["blas_threads"] >= 1
        and os.path.isdir(report["cache"])
    )
    assert f"numpy            {np.__version__}\n" in run("info").stdout


def test_integral():
    report = json.loads(run("integral", "relu", "relu", "--u", 0.5, "--json").stdout)
    assert report["value"] == inf.gaussian_moment("relu", "relu", 1.0, 1.0, 0.5)
    done = run("integral", "relu", "rleu")
    assert done.exit_code == 2 and "Did you mean 'relu'?" in done.output


def test_integral_writes_what_it_says(tmp_path):
    asked = ("integral", "erf", "relu", "--u", 0.5, "--b1", 0.25, "--p", 1)
    plain = run(*asked)
    done = run(*asked, "--seed", 3, "--out", tmp_path / "new" / "folder")
    file = tmp_path / "new" / "folder" / "integral.json"
    assert done.exit_code == 0 and done.stdout == f"{plain.stdout}wrote {file}\n"
    report = json.loads(file.read_text())
    assert (report["f"], report["g"], report["u"], report["b1"], report["orders"]) == (
        "erf",
        "relu",
        0.5,
        0.25,
        [1, 0],
    )
    assert report["value"] == inf.gaussian_moment("erf", "relu", 1.0, 1.0, 0.5, 0.25, orders=(1, 0))
    (tmp_path / "file").touch()
    assert run(*asked, "--out", tmp_path / "file").exit_code == 2
    assert run(*asked, "--seed", -1).exit_code == 2


@pytest.mark.parametrize("keep", [True, False])
def test_an_interrupted_training_says_where_it_goes_on(tmp_path, monkeypatch, keep):
    """A line names the checkpoint, if there is one."""
    from infflow.surrogates.training import recipe

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe, "exact_parts", interrupted)
    more = () if keep else ("--no-resume",)
    done = run("surrogates", "train", "tanh", "--out", tmp_path, *more)
    file = tmp_path / ".tanh.checkpoint.npz"
    assert done.exit_code == 1 and "infflow: interrupted" in done.stderr
    assert file.exists() == keep == (f"the same command goes on from {file}" in done.stderr)


def test_surrogates_write_cards_and_what_was_verified(tmp_path):
    done = run("surrogates", "list", "--seed", 0, "--out", tmp_path, "--json")
    assert done.exit_code == 0
    cards = json.loads(done.stdout)
    assert json.loads((tmp_path / "surrogates.json").read_text()) == cards and "tanh" in cards
    assert run("surrogates", "list", "--out", tmp_path).stdout.endswith(
        f"wrote {tmp_path / 'surrogates.json'}\n"
    )
    done = run(
        "surrogates",
        "verify",
        "tanh",
        "--points",
        100,
        "--networks",
        0,
        "--out",
        tmp_path / "new",
        "--json",
    )
    report = json.loads((tmp_path / "new" / "verification.json").read_text())
    assert report == json.loads(done.stdout) and report["tanh"]["points"] == 100
    assert done.exit_code == (0 if report["tanh"]["holds"] else 1)


@pytest.mark.parametrize("module", ["infflow", "infflow.cli"])
def test_the_package_runs_as_a_module(module):
    done = subprocess.run(
        [sys.executable, "-m", module, "integral", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0 and "Usage: infflow integral" in done.stdout


# --------------------------------------------------------------------------------------------------
# train


def test_train_writes_the_result_of_the_library(config, tmp_path):
    done = run("train", config, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report == summary(tmp_path / "out") and report["files"] == ["result.npz", "summary.json"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == report["files"]
    from infflow.cli.files import Configuration

    settings = Configuration.load(config)
    net = settings.problem()
    expected = inf.train(net, settings.start(net), progress=False)
    found = inf.Result.load(tmp_path / "out" / "result.npz")
    assert report["converged"] and report["seed"] == 3 and report["parameters"] == 8
    # the callback of the command makes SUNDIALS evaluate at more points, which changes the last
    # digits of the path
    np.testing.assert_allclose(found.theta, expected.theta, rtol=1e-6)
    assert found.gradient_norm < 1e-14 and report["loss"] == found.loss


def test_train_says_one_line_per_event(config, tmp_path):
    done = run("train", config, "--out", tmp_path / "out", "--seed", 5)
    assert done.exit_code == 0 and "Result: loss" in done.stdout and "converged" in done.stdout
    lines = done.stderr.splitlines()
    assert lines[0].startswith("training: NetI") and lines[0].endswith("8 parameters, seed 5")
    assert lines[1].startswith("flow: step 0, t 0, loss ") and lines[-1].startswith("newton: ")
    assert len(lines) <= 6 and summary(tmp_path / "out")["seed"] == 5


def test_train_draws_a_picture(config, tmp_path):
    config.write_text(CONFIG.replace("plot = false", "plot = true"))
    assert run("train", config, "--out", tmp_path / "out").exit_code == 0
    assert (tmp_path / "out" / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_train_refuses_bad_files_before_it_writes(config, tmp_path):
    config.write_text(CONFIG.replace("hidden", "hiden") + "[flow]\nsolver = 3\n")
    done = run("train", config, "--out", tmp_path / "out")
    assert done.exit_code == 2 and not (tmp_path / "out").exists()
    assert (
        "5 errors:" in done.stderr
        and "line 4: student.hiden is not known in [student]. Did you mean 'hidden'?" in done.stderr
    )
    assert "line 14: flow.solver is 3; a function" in done.stderr
    config.write_text(CONFIG)
    done = run("train", config, "--out", config / "out")
    assert done.exit_code == 2 and "cannot make the folder" in done.stderr
    assert run("train", config, "--seed", -1, "--out", tmp_path / "out").exit_code == 2


def test_train_reports_failure_with_exit_code_1(config, tmp_path):
    config.write_text(CONFIG + "[flow]\nsolver = 'gd'\nstep_size = 50.0\n")
    done = run("train", config, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert report["status"] == "NON_FINITE" and not report["converged"]


def test_train_goes_on_after_a_limit(config, tmp_path):
    slow = CONFIG + "[flow]\nsolver = 'rodas5p'\nmax_steps = {}\n[newton]\nmax_steps = 0\n"
    config.write_text(slow.format(4))
    report = json.loads(run("train", config, "--out", tmp_path / "out", "--json").stdout)
    assert (
        report["status"] == "MAX_STEPS"
        and report["flow_steps"] == 4
        and "checkpoint.npz" in report["files"]
    )
    config.write_text(slow.format(30))
    done = run("train", config, "--out", tmp_path / "out", "--json")
    assert "going on from a checkpoint" in done.stderr
    run("train", config, "--out", tmp_path / "undisturbed")
    found, expected = (
        inf.Result.load(tmp_path / name / "result.npz") for name in ("out", "undisturbed")
    )
    np.testing.assert_array_equal(found.theta, expected.theta)
    assert found.flow.steps == expected.flow.steps == 30


def infflow(*arguments):
    command = [sys.executable, "-m", "infflow.cli", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a child inherits that it is ignored in the background
    try:
        return subprocess.Popen(command, **pipes)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("number", "end"),
    [(signal.SIGINT, "t_end = 1e6\n"), (signal.SIGTERM, "")],
    ids=["ctrl_c", "sigterm_of_a_batch_system"],
)
def test_signals_leave_a_state_that_can_be_resumed(config, tmp_path, number, end):
    out = tmp_path / "out"
    endless = (
        CONFIG
        + f"[flow]\nsolver = 'rk4'\noptions = {{{{step = 1e-3}}}}\n{end}"
        + "max_steps = {}\n[newton]\nmax_steps = 0\n"
    )
    config.write_text(endless.format(10**9))
    process = infflow("train", config, "--out", out, "--json")
    assert process.stderr.readline().startswith("training")
    assert process.stderr.readline().startswith("flow: step")
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=300)
    report = json.loads(stdout)
    assert (
        process.returncode == 1 and report["interrupted"] and "the same command goes on" in stderr
    )
    config.write_text(endless.format(report["flow_steps"] + 5))
    done = run("train", config, "--out", out, "--json")
    assert done.exit_code == 0 and "going on from a checkpoint" in done.stderr
    assert json.loads(done.stdout)["flow_steps"] == report["flow_steps"] + 5


# -----------------------------------------------------------------------------------------------
# what cannot be written


def shell(arguments, redirection):
    command = (
        f"{shlex.quote(sys.executable)} -m infflow.cli {shlex.join(map(str, arguments))} "
        f"{redirection}"
    )
    return subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, timeout=120)


needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
SHORT = [
    ["--help"],
    ["info"],
    ["integral", "erf", "relu"],
    ["train", "--example"],
    ["sweep", "--example"],
    ["study"],
]


@needs_full
@pytest.mark.parametrize(
    "arguments", [*SHORT, ["train", "--help"], ["surrogates", "list"], ["info", "--json"]]
)
def test_a_full_device_is_one_line(arguments):
    done = shell(arguments, "> /dev/full")
    assert done.returncode == 1
    assert done.stderr == (
        "infflow: cannot write the output: No space left on device. Make room, or choose "
        "another place.\n"
    )


@pytest.mark.parametrize("arguments", SHORT[:2])
def test_a_closed_output_is_one_line(arguments):
    done = shell(arguments, ">&-")
    assert done.returncode == 1
    assert re.fullmatch(
        "infflow: cannot write the output: the standard output is closed. .*\n", done.stderr
    )


def test_a_pipe_that_nobody_reads_is_one_line():
    stderr = shell(["info"], "| true").stderr
    assert stderr in (
        "",
        "infflow: cannot write the output: Broken pipe. Make room, or choose another place.\n",
    )


@needs_full
def test_nothing_can_be_written_anywhere():
    assert shell(["info"], "> /dev/full 2> /dev/full").returncode == 1


@needs_full
def test_a_picture_on_a_full_device_is_one_line(config, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "loss.png").symlink_to("/dev/full")
    config.write_text(CONFIG.replace("plot = false", "plot = true"))
    done = run("train", config, "--out", out)
    assert done.exit_code == 1 and "No space left on device" in done.stderr.splitlines()[-1]
    assert (out / "result.npz").exists()


def test_a_file_as_folder_is_bad_usage(config):
    done = run("train", config, "--out", config)
    assert (
        done.exit_code == 2
        and "there is a file of that name. Give another one with --out" in done.stderr
    )


# --------------------------------------------------------------------------------------------------
# sweep


def rows(folder, name="table.csv"):
    with open(folder / name, newline="") as file:
        return list(csv.DictReader(file))


def test_sweep_trains_the_grid_and_goes_on(config, tmp_path):
    out = tmp_path / "out"
    arguments = ("sweep", tmp_path / "sweep.toml", "--out", out, "--backend", "sequential")
    done = run(*arguments)
    assert done.exit_code == 0 and "4 done" in done.stdout
    events = done.stderr.splitlines()
    assert len(events) == 4 and events[0].startswith("done 1: seed=0, student.hidden=1: loss ")
    found = rows(out)
    assert [(row["seed"], row["student.hidden"]) for row in found] == [
        ("0", "1"),
        ("0", "2"),
        ("1", "1"),
        ("1", "2"),
    ]
    again = run(*arguments, "--json")
    assert again.stderr == "", "nothing is left to do"
    assert [row["loss"] for row in json.loads(again.stdout)] == [
        float(row["loss"]) for row in found
    ]
    import tomllib

    from infflow.cli.files import Configuration
    from infflow.cli.files.config import with_changes

    table = with_changes(tomllib.loads(CONFIG), {"seed": 1, "student.hidden": 2})
    settings = Configuration.from_dict(table)
    net = settings.problem()
    expected = inf.train(net, settings.start(net), progress=False)
    np.testing.assert_array_equal(inf.Sweep.load(out / "runs.db").result(3).theta, expected.theta)


def test_sweep_in_slots(config, tmp_path):
    out = tmp_path / "out"
    for slot in (0, 1):
        done = run(
            "sweep",
            tmp_path / "sweep.toml",
            "--out",
            out,
            "--backend",
            "sequential",
            "--slot",
            slot,
            "--slots",
            2,
        )
        assert done.exit_code == 0 and len(rows(out, f"table.slot{slot}of2.csv")) == 2
    done = run("sweep", tmp_path / "sweep.toml", "--out", out)
    assert done.exit_code == 0 and done.stderr == "" and len(rows(out)) == 4


def test_sweep_with_failures_has_exit_code_1(config, tmp_path):
    (tmp_path / "sweep.toml").write_text(
        SWEEP + "student.theta = [[0.1, 0.2, 0.3, 0.4]]\n"
    )  # too short for two neurons
    done = run(
        "sweep", tmp_path / "sweep.toml", "--out", tmp_path / "out", "--backend", "sequential"
    )
    assert done.exit_code == 1 and "2 done, 2 failed" in done.stdout
    assert done.stderr.count("failed: seed=") == 2 and "ShapeError" in done.stderr
    done = run("sweep", tmp_path / "sweep.toml", "--out", tmp_path / "out2", "--seed", 3)
    assert done.exit_code == 2 and "a grid without seed" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_sweep_that_is_stopped_goes_on(config, tmp_path, number):
    out = tmp_path / "out"
    (tmp_path / "sweep.toml").write_text('config = "config.toml"\n[grid]\nseed = {stop = 400}\n')
    process = infflow("sweep", tmp_path / "sweep.toml", "--out", out, "--jobs", 2)
    assert process.stderr.readline().startswith("done 1")
    process.send_signal(number)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 1 and "interrupted" in stderr and "Traceback" not in stderr
    table = inf.Sweep.load(out / "runs.db")
    status = [row["status"] for row in table]
    assert (
        len(table) == 400 and 1 <= status.count("done") < 400 and set(status) == {"done", "pending"}
    )


def test_help_loads_no_heavy_packages():
    code = "import sys, infflow.cli; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"numpy", "numba", "scipy", "sympy", "matplotlib", "sklearn", "joblib"} & set(loaded)


@pytest.mark.parametrize(
    "arguments",
    [
        ["integral", "erf", "relu", "--p", "-1"],
        ["converge", "--teacher", "0"],
        ["converge", "--jobs", "0"],
        ["converge", "--n", "0"],
        ["converge", "--seeds", "1"],
        ["converge", "--noise", "-1"],
        ["surrogates", "verify", "tanh", "--points", "0"],
        ["surrogates", "verify", "tanh", "--seed", "-1"],
    ],
)
def test_numbers_out_of_range_are_told_by_the_name_of_the_option(arguments):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert f"Invalid value for '{arguments[-2]}'" in result.stderr
