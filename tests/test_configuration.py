"""Configuration files: everything that can be said, and every way to say it wrong."""

import inspect
import tomllib
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import infflow as inf
from infflow.cli.files import (
    Configuration,
    example_configuration,
    train_configuration,
    with_changes,
)
from infflow.cli.files.sections import SECTIONS
from infflow.cli.files.sweep_file import SweepFile, example_sweep
from infflow.cli.files.toml_file import lines_of_keys, toml_value
from infflow.errors import ConfigurationError, InvalidValueError

SMALL = {
    "student": {
        "hidden": 2,
        "input_dim": 3,
        "activation": "erf",
        "bias": False,
        "output_bias": False,
    },
    "teacher": {"hidden": 2, "seed": 4},
}


def write(tmp_path, text, name="config.toml"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def errors(tmp_path, text, load=Configuration.load):
    with pytest.raises(ConfigurationError) as caught:
        load(write(tmp_path, text))
    head, *lines = str(caught.value).splitlines()
    assert head.startswith(str(tmp_path / "config.toml"))
    return [line.strip() for line in lines]


# --------------------------------------------------------------------------------------------------
# the example


def test_the_example_works_and_shows_every_setting_with_its_default(tmp_path):
    text = example_configuration()
    config = Configuration.load(write(tmp_path, text))
    for name, kind in SECTIONS.items():
        section = text.split(f"[{name}]\n")[1].split("\n\n")[0]
        for item in fields(kind):
            assert f"\n{item.name} = " in f"\n{section}" or f"\n# {item.name} = " in f"\n{section}"
    plain = Configuration.from_dict(
        {"student": {"hidden": 3, "input_dim": 5}, "teacher": {"hidden": 4}}
    )
    assert plain == config, "what the example says is what is taken if nothing is said"
    net = config.problem()
    assert isinstance(net, inf.NetI) and net.num_params == 22
    np.testing.assert_array_equal(config.start(net), inf.random_params(net, 0))


def test_examples_of_what_is_off_are_valid_by_themselves():
    lines = example_configuration().splitlines()
    off = {}
    for line in lines:
        if line.startswith("["):
            section = line.strip("[]")
        elif line.startswith("# ") and " = " in line and section:
            off[section, line[2:].split(" = ")[0]] = tomllib.loads(line[2:])
        elif not line:
            section = None
    assert {
        ("flow", "step_size"),
        ("data", "samples"),
        ("input", "components"),
        ("student", "theta"),
    } <= off.keys()
    for (section, key), values in off.items():
        check = next(item for item in fields(SECTIONS[section]) if item.name == key).metadata[
            "check"
        ]
        check(key, values[key])


# --------------------------------------------------------------------------------------------------
# what it builds


def test_settings_reach_networks_and_train():
    table = with_changes(
        SMALL,
        {
            "seed": 7,
            "student.activation": ["tanh"],
            "student.parametrization": "ntk",
            "teacher.activation": "relu",
            "teacher.bias": True,
            "teacher.noise": 0.5,
            "loss.rtol": 1e-8,
            "loss.ridge": 0.1,
            "input.mean": [1.0, 0.0, 0.0],
            "flow.solver": "rk4",
            "flow.max_time": 3.0,
            "flow.options.step": 0.01,
            "newton.max_steps": 4,
            "stop.patience": 10,
        },
    )
    config = Configuration.from_dict(table)
    net = config.problem()
    student = inf.Net(
        [(2, "tanh", False), (1, "identity", False)], input_dim=3, parametrization="ntk"
    )
    teacher_net = inf.Net(
        [(2, "relu", True), (1, "identity", False)], input_dim=3, parametrization="ntk"
    )
    teacher = inf.Teacher(teacher_net, inf.random_params(teacher_net, 4, "standard_normal"), 0.5)
    expected = inf.NetI(
        student, teacher, inf.Gaussian([1.0, 0, 0], np.eye(3)), rtol=1e-8, ridge=0.1
    )
    theta = config.start(net)
    np.testing.assert_array_equal(theta, inf.random_params(expected, 7))
    assert inf.loss(net, theta) == inf.loss(expected, theta)
    arguments = config.train_arguments()
    assert arguments["solver"] == "rk4" and arguments["solver_options"] == {"step": 0.01}
    assert (
        arguments["max_time_flow"] == 3.0
        and arguments["max_steps_newton"] == 4
        and arguments["patience"] == 10
    )


def test_every_argument_of_train_is_a_setting():
    known = set(inspect.signature(inf.train).parameters) - {
        "net",
        "theta0",
        "progress",
        "callback",
        "checkpoint",
    }
    assert set(Configuration.from_dict(SMALL).train_arguments()) == known


def test_an_unchanged_configuration_trains_as_the_library():
    found = train_configuration(config=SMALL, seed=5)
    net = Configuration.from_dict(SMALL).problem()
    np.testing.assert_array_equal(
        found.theta, inf.train(net, inf.random_params(net, 5), progress=False).theta
    )


def test_samples_of_shallow_and_deep_teachers():
    shallow = Configuration.from_dict(
        with_changes(SMALL, {"data.samples": 50, "data.seed": 3})
    ).problem()
    infinite = Configuration.from_dict(SMALL).problem()
    np.testing.assert_array_equal(shallow.data.X, infinite.sample(50, 3).data.X)
    deep = {
        "student.hidden": [2, 3],
        "student.activation": ["erf", "tanh"],
        "data.samples": 50,
        "student.bias": True,
    }
    net = Configuration.from_dict(
        with_changes(SMALL, {**deep, "teacher.hidden": [2], "teacher.activation": "erf"})
    ).problem()
    assert [layer.width for layer in net.layers] == [2, 3, 1] and net.data.X.shape == (50, 3)
    teacher = inf.Net([(2, "erf", True), (1, "identity", False)], input_dim=3)
    expected = teacher.predict(inf.random_params(teacher, 4, "standard_normal"), net.data.X)
    np.testing.assert_array_equal(net.data.target, expected)


def test_inputs():
    mixture = {
        "components": [
            {"weight": 0.5, "mean": [m, 0, 0], "covariance": np.eye(3).tolist()} for m in (-1, 1)
        ]
    }
    net = Configuration.from_dict({**SMALL, "input": mixture}).problem()
    np.testing.assert_allclose(net.input.covariance(), np.diag([2.0, 1.0, 1.0]), rtol=0, atol=1e-15)
    net = Configuration.from_dict(
        {**SMALL, "input": {"covariance": (2 * np.eye(3)).tolist()}}
    ).problem()
    np.testing.assert_array_equal(net.input.covariance(), 2 * np.eye(3))


def test_data_of_a_file_relative_to_the_configuration(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 4))
    y = rng.integers(0, 3, 20)
    np.savez(tmp_path / "data.npz", X=X, y=y, weights=np.arange(20.0))
    text = (
        '[student]\nhidden = 2\noutput_dim = 3\n[data]\nfile = "data.npz"\nloss = "cross_entropy"\n'
    )
    net = Configuration.load(write(tmp_path, text)).problem()
    expected = inf.Net(
        [(2, "softplus", True), (3, "identity", True)],
        input=X,
        target=y,
        weights=np.arange(20.0),
        loss="cross_entropy",
    )
    theta = inf.random_params(net, 0)
    assert inf.loss(net, theta) == inf.loss(expected, theta)
    (tmp_path / "data.npz").write_bytes(b"nothing")
    assert errors(tmp_path, text)[0].startswith(
        f"line 4: [data]: {tmp_path / 'data.npz'} cannot be read"
    )
    np.savez(tmp_path / "data.npz", Z=X)
    assert "holds Z; arrays X, y" in errors(tmp_path, text)[0]
    (tmp_path / "data.npz").unlink()
    assert "does not exist" in errors(tmp_path, text)[0]


def test_parameters_may_be_given():
    config = Configuration.from_dict(
        with_changes(SMALL, {"teacher.theta": list(range(8)), "student.theta": [0.5] * 8})
    )
    net = config.problem()
    np.testing.assert_array_equal(net.teacher.theta, np.arange(8.0))
    np.testing.assert_array_equal(config.start(net), np.full(8, 0.5))


# --------------------------------------------------------------------------------------------------
# errors

WRONG = {  # a value that is wrong in every field
    "student": {
        "hidden": "[3, 0]",
        "input_dim": '"five"',
        "activation": '"sotfplus"',
        "bias": "1",
        "output_dim": "0",
        "output_bias": '"yes"',
        "parametrization": '"standart"',
        "init": '"glorot"',
        "theta": '["a"]',
    },
    "teacher": {
        "hidden": "2.5",
        "activation": "[3]",
        "bias": "[]",
        "output_bias": "0",
        "parametrization": "3",
        "init": "true",
        "seed": "-1",
        "theta": "nan",
        "noise": "-0.1",
    },
    "input": {"mean": "1.0", "covariance": "[1.0]", "components": "[{weight = 1}]"},
    "data": {"samples": "0", "seed": "1.5", "file": "3", "loss": '"mea"'},
    "loss": {
        "method": '"auot"',
        "rtol": "0",
        "outside": '"no"',
        "maxnorm": '"inf"',
        "ridge": "-1",
        "merge": "[0, 1]",
    },
    "flow": {
        "solver": '"rodas6p"',
        "t_end": "-1.0",
        "rtol": "nan",
        "atol": "[]",
        "eta": '"one"',
        "step_size": "0.0",
        "batch_size": "1.0",
        "num_trajectory": "1",
        "observables": '"lambda_min"',
        "t_eval": "[[1.0]]",
        "max_time": "-1",
        "max_steps": "-1",
        "reduce": '"yes"',
        "options": "3",
        "dynamics": '{kind = "ball"}',
    },
    "newton": {
        "optimizer": '"nweton"',
        "max_time": "true",
        "max_steps": "1e3",
        "polish": "true",
        "options": '"x"',
    },
    "stop": {"min_loss": '"0"', "min_gradient_norm": "-1.0", "patience": "0"},
    "output": {"folder": "3", "plot": '"no"', "checkpoint": "1"},
}


def test_errors_in_every_field_are_listed_at_once_with_their_lines(tmp_path):
    lines = ["seed = -3"]
    expected = {"seed": 1}
    for section, values in WRONG.items():
        assert values.keys() == {item.name for item in fields(SECTIONS[section])}, "every field"
        lines += ["", f"[{section}]"]
        for key, value in values.items():
            lines.append(f"{key} = {value}")
            expected[f"{section}.{key}"] = len(lines)
    found = errors(tmp_path, "\n".join(lines))
    assert len(found) == len(expected)
    for (name, number), message in zip(expected.items(), found, strict=True):
        assert message.startswith(f"line {number}: {name}")
        assert any(word in message for word in (" is ", " holds ", " has ")), message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sede = 3", ["line 1: sede is not known. Did you mean 'seed'?"]),
        ("[flwo]\nsolver = 3", ["line 1: flwo is not known. Did you mean 'flow'?"]),
        (
            "[flow]\n\nslover = 'gd'",
            ["line 3: flow.slover is not known in [flow]. Did you mean 'solver'?"],
        ),
        ("flow = 3", ["line 1: flow is 3; a table [flow] is needed."]),
        (
            "[stop]\nxyz = 1",
            [
                (
                    "line 2: stop.xyz is not known in [stop]. Known: min_loss, min_gradient_norm, "
                    "patience."
                )
            ],
        ),
        (
            "[flow]\nsolver = 'cvode_bdf'\n[flow.options]\nmax_ordr = 2",
            [
                (
                    "line 4: flow.options: option 'max_ordr' of solver 'cvode_bdf' is not known. "
                    "Did you mean 'max_order'?"
                )
            ],
        ),
        ("[flow]\noptions = {step = 1.0}", ["line 2: flow.options is for a method that is named"]),
        (
            "[student]\nhidden = 2",
            ["a table [teacher] is missing", "line 1: student.input_dim is missing"],
        ),
        (
            "[data]\nsamples = 3\nfile = 'x'\n[student]\nhidden = 1",
            ["line 3: data.file gives inputs and targets; remove"],
        ),
        (
            "[data]\nloss = 'cross_entropy'",
            ["line 2: data.loss is 'cross_entropy', which needs labels"],
        ),
        (
            (
                "[student]\nhidden = [2, 2]\ninput_dim = 3\nactivation = ['erf', 'erf', "
                "'erf']\n[teacher]\nhidden = 1"
            ),
            [
                "line 1: [student]: activation has 3 entries and hidden 2",
                "line 5: [teacher]: activation has 3",
            ],
        ),
        (
            "[input]\nmean = [0.0, 1.0]\ncovariance = [[1.0]]",
            ["line 1: [input]: cov has shape (1, 1)"],
        ),
        (
            (
                "[input]\nmean = [0.0]\ncomponents = [{weight = 1.0, mean = [0.0], covariance = "
                "[[1.0]]}]"
            ),
            ["line 3: [input] has components, and"],
        ),
    ],
)
def test_messages(tmp_path, text, expected):
    needed = "" if "student" in text else "\n[student]\nhidden = 2\ninput_dim = 2\n"
    needed += (
        ""
        if {"teacher", "hidden"} & set(text.split()) or "[student]" in text
        else "[teacher]\nhidden = 1\n"
    )
    found = errors(tmp_path, text + needed)
    assert len(found) == len(expected)
    for message, start in zip(found, expected, strict=True):
        assert message.startswith(start), message


def test_files_that_are_no_toml(tmp_path):
    with pytest.raises(ConfigurationError, match=r"config.toml is not TOML: .*line 2"):
        Configuration.load(write(tmp_path, "seed = 1\nseed = = 2"))
    with pytest.raises(ConfigurationError, match="does not exist"):
        Configuration.load(tmp_path / "none.toml")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Configuration.load(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Configuration.load(tmp_path / "binary.toml")


def test_lines_of_keys():
    text = '''# comment
a = 1
b.c = [
  # a comment with ] in it
  1, 2,
]
"d.e" = """
[no table]
f = 1
"""
[g.h]  # comment
i = {j = 1, k = {l = 2}}

[[m]]
n = 1
[[m]]
n = 2
[m.o]
p = 3
[[m.q]]
r = 4
'''
    lines = lines_of_keys(text)
    assert (
        lines[("a",)] == 2
        and lines[("b", "c")] == 3
        and lines[("d.e",)] == 7
        and ("f",) not in lines
    )
    assert lines[("g",)] == lines[("g", "h")] == 11 and lines[("g", "h", "i", "k", "l")] == 12
    assert (
        lines[("m", 0, "n")] == 15
        and lines[("m", 1, "n")] == 17
        and lines[("m", 1, "o", "p")] == 19
    )
    assert lines[("m", 1, "q", 0, "r")] == 21


values = st.recursive(
    st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False)
    | st.text("ab \"\\'#[]=é", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from("abcdef"), values, min_size=1), st.integers(0, 3))
def test_values_are_written_and_found_again(table, gap):
    text = "".join("\n" * gap + f"{key} = {toml_value(value)}\n" for key, value in table.items())
    assert tomllib.loads(text) == table
    found = lines_of_keys(text)
    assert [found[(key,)] for key in table] == [(k + 1) * (gap + 1) for k in range(len(table))]


# --------------------------------------------------------------------------------------------------
# sweeps


def test_sweep_files(tmp_path):
    write(tmp_path, example_configuration())
    plan = SweepFile.load(write(tmp_path, example_sweep(), "sweep.toml"))
    assert plan.folder == "out/sweep" and plan.config["teacher"]["hidden"] == 4
    assert plan.grid == {
        "seed": [0, 1, 2, 3],
        "student.hidden": [2, 3],
        "student.activation": ["erf", "softplus"],
    }
    inline = (
        "[config.student]\nhidden = 2\ninput_dim = 3\n[config.teacher]\nhidden = "
        '1\n[grid]\n"teacher.seed" = [1, 2]\n'
    )
    assert SweepFile.load(write(tmp_path, inline, "inline.toml")).grid == {"teacher.seed": [1, 2]}


def test_errors_of_sweep_files(tmp_path):
    base = "[config]\nstudent.hidden = 2\nstudent.input_dim = 3\nteacher.hidden = 1\n"
    found = errors(
        tmp_path,
        "gird = 1\nfolder = 3\n"
        + base
        + (
            "[grid]\nseed = 3\nstudent.hidden = {start = 3, stop = 3}\nflow.rtol = {start = "
            "1.5, stop = 2}\n"
        ),
        SweepFile.load,
    )
    assert [message.split(";")[0] for message in found] == [
        "line 1: gird is not known. Did you mean 'grid'?",
        "line 2: folder is 3",
        "line 8: grid.seed is 3",
        "line 9: grid.student.hidden is []",
        "line 10: grid.flow.rtol is no range",
    ]
    found = errors(
        tmp_path,
        base + '[grid]\nseed = [1, -1]\nstudent.hiden = [1, 2]\nflow.solver = ["gd", "rodas6p"]\n',
        SweepFile.load,
    )
    assert [message.split(".")[0] for message in found] == [
        "line 6: seed is -1; it must be at least 0",
        "line 7: student",
        "line 8: flow",
    ]
    assert "Did you mean 'hidden'?" in found[1] and "Did you mean 'rodas5p'?" in found[2]
    assert "config is missing" in errors(tmp_path, "[grid]\nseed = [1]", SweepFile.load)[0]
    assert "grid is empty" in errors(tmp_path, base + "[grid]", SweepFile.load)[0]
    assert (
        "none.toml does not exist"
        in errors(tmp_path, "config = 'none.toml'\n[grid]\nseed = [1]", SweepFile.load)[0]
    )
    with pytest.raises(InvalidValueError, match=r"seed\.x cannot be set: seed is 3"):
        with_changes({"seed": 3}, {"seed.x": 1})
