"""One place for each argument of train: what its signature, docstring, files and messages say is in
TrainSettings.
"""

import dataclasses
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from analytic_objectives import TanhNetwork
from test_flow import LeastSquares

import infflow as inf
from infflow.cli.files import Configuration, with_changes
from infflow.cli.files.sections import SECTIONS
from infflow.errors import ConfigurationError, InfflowError, StorageError, UnknownNameError
from infflow.fixedpoints import OPTIMIZERS, gauss_newton
from infflow.fixedpoints.quasi_newton import QuasiNewton
from infflow.fixedpoints.trust_region import TrustRegion
from infflow.flow import SOLVERS
from infflow.flow.cvode import CvodeBdf
from infflow.flow.descent import Adam
from infflow.flow.gear import GearBdf
from infflow.settings import FIELDS, PATH, VIEW, TrainSettings

SOLVERS_PAGE = Path(__file__).parent.parent / "docs" / "solvers.md"


# ----------------------------------------------------------------------------------------------
# signature, docstring


def test_the_signature_of_train_is_that_of_the_fields():
    parameters = list(inspect.signature(inf.train).parameters.values())
    assert [each.name for each in parameters[:2]] == ["net", "theta0"]
    assert all(each.kind is inspect.Parameter.KEYWORD_ONLY for each in parameters[2:])
    shown = [(each.name, each.default, each.annotation) for each in parameters[2:]]
    assert shown == [(name, item.default, item.type) for name, item in FIELDS.items()]


def parameters_of_docstring():
    """(names before the colon, text) of each entry."""
    doc = inspect.getdoc(inf.train)
    section = doc.split("Parameters\n----------\n")[1].split("\n\nReturns\n")[0]
    entries = re.findall(r"^(\w+) : .*\n((?:    .*\n?)+)", section, flags=re.M)
    return {name: " ".join(text.split()) for name, text in entries}


def test_each_entry_of_the_docstring_begins_with_the_sentence_of_its_field():
    entries = parameters_of_docstring()
    assert list(entries)[:6] == ["net", "theta0", "t_end", "solver", "eta", "progress"]
    assert sorted(entries) == sorted(["net", "theta0", *FIELDS])
    for name, item in FIELDS.items():
        head, _, listed = item.metadata["sentence"].partition(": ")
        assert entries[name][0].isupper()
        assert (entries[name][0].lower() + entries[name][1:]).startswith(head), name
        for word in filter(None, listed.split(", ")):  # names of methods
            assert f"``{word}``" in entries[name] or f'``"{word}"``' in entries[name], (name, word)


# -------------------------------------------------------------------------------------------------
# what is recorded


def test_what_results_record():
    net = TanhNetwork()
    given = {
        "t_end": 1,
        "eta": np.float64(1.0),
        "num_trajectory": 5,
        "max_steps_newton": 0,
        "callback": id,
    }
    settings = inf.train(net, net.start, max_steps_flow=0, **given).settings
    assert list(settings) == [
        "net",
        *(name for name in FIELDS if name not in ("progress", "callback", "observables")),
    ]
    default = {name: item.default for name, item in FIELDS.items()}
    expected = {**default, **given, "max_steps_flow": 0}
    assert all(settings[name] == expected[name] for name in settings if name != "net")
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrainSettings().rtol = 1.0


#: an argument, and another one beside those of the first call
CHANGED = {
    "solver": "adam",
    "t_end": 6.0,
    "rtol": 1e-3,
    "atol": 1e-3,
    "eta": 0.5,
    "step_size": 0.02,
    "solver_options": {"seed": 1},
    "num_trajectory": 20,
    "t_eval": [0.0, 0.01],
    "observables": {"first": lambda theta: theta[0]},
    "max_time_flow": 50.0,
    "max_steps_flow": 4,
    "optimizer": "bfgs",
    "optimizer_options": {"scale": 10.0},
    "max_time_newton": 50.0,
    "max_steps_newton": 3,
    "min_loss": 1e-20,
    "min_gradient_norm": 1e-10,
    "patience": 100,
    "batch_size": 5,
    "progress": False,
    "callback": lambda now: None,
    "reduce": False,
}


#: test_dynamics.py asks the same of dynamics
NOT_WITH_DESCENT = ("polish", "checkpoint", "dynamics")


@pytest.mark.parametrize("name", [each for each in FIELDS if each not in NOT_WITH_DESCENT])
def test_a_checkpoint_agrees_in_what_decides_the_path_and_in_nothing_else(name, tmp_path):
    net = LeastSquares(np.random.default_rng(1).normal(size=(20, 3)), np.arange(20.0))
    first = {"solver": "gd", "step_size": 0.01, "batch_size": 4, "t_end": 5.0, "max_steps_flow": 2}
    first |= {"max_steps_newton": 0, "checkpoint": tmp_path / "run.npz"}
    inf.train(net, np.zeros(3), **first)
    again = {**first, name: CHANGED[name]}
    if name == "optimizer_options":
        again["optimizer"] = "bfgs"
    if FIELDS[name].metadata["decides"] == PATH:
        with pytest.raises(StorageError, match="checkpoint of another run"):
            inf.train(net, np.zeros(3), **again)
    else:
        inf.train(net, np.zeros(3), **again)
    assert (
        FIELDS[name].metadata["decides"] != VIEW
        or name not in inf.train(net, np.zeros(3), **first).settings
    )


# --------------------------------------------------------------------------------------------------
# TOML files

TABLE = {"student": {"hidden": 2, "input_dim": 2}, "teacher": {"hidden": 2}}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("flow.t_end", 1e-310, "at least 1e-300"),
        ("flow.rtol", 1e-200, "at least 1e-100"),
        ("flow.num_trajectory", 10**7, "at most 1000000"),
        ("flow.eta", [1.0, -1.0], "flow.eta must not be negative"),
        ("flow.max_steps", -1, "flow.max_steps is -1; it must be at least 0"),
        ("newton.max_time", -1.0, "newton.max_time is -1; it must be at least 0"),
        ("stop.patience", 0, "stop.patience is 0; it must be at least 1"),
    ],
)
def test_files_refuse_what_train_refuses(key, value, message):
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        Configuration.from_dict(with_changes(TABLE, {key: value}))
    section, last = key.split(".")
    item = next(item for item in dataclasses.fields(SECTIONS[section]) if item.name == last)
    name = item.metadata["of_train"]
    with pytest.raises(InfflowError, match=name):
        dataclasses.replace(TrainSettings(), **{name: value}).checked()


def test_tables_of_files_have_defaults_and_sentences_of_train():
    arguments = Configuration.from_dict(TABLE).train_arguments()
    assert TrainSettings(**arguments) == TrainSettings()
    for section in ("flow", "newton", "stop"):
        for item in dataclasses.fields(SECTIONS[section]):
            known = FIELDS[item.metadata["of_train"]]
            assert item.metadata["sentence"] == known.metadata["sentence"]
            assert item.name in known.name, "a name in a table is a part of that of the argument"


# --------------------------------------------------------------------------------------- options of
# single methods


def option_table(registry):
    """Rows of docs/solvers.md: an option, the methods that have it, and its sentence."""
    rows = {}
    for method in registry.values():
        for name, option in method.options.items():
            rows.setdefault((name, option.sentence), []).append(f"`{method.name}`")
    return [
        f"| `{name}` | {', '.join(methods)} | {sentence} |"
        for (name, sentence), methods in rows.items()
    ]


@pytest.mark.parametrize(
    "registry", [SOLVERS, OPTIMIZERS], ids=["solver_options", "optimizer_options"]
)
def test_the_page_shows_every_option_with_its_sentence(registry, request):
    argument = "solver_options" if registry is SOLVERS else "optimizer_options"
    page = SOLVERS_PAGE.read_text()
    table = page.split(f"| `{argument}` | of | what it does |\n|---|---|---|\n")[1].split("\n\n")[0]
    assert table.splitlines() == option_table(registry)


@pytest.mark.parametrize(
    "method", [*SOLVERS.values(), *OPTIMIZERS.values()], ids=lambda method: method.name
)
def test_an_option_that_is_not_known_is_answered_with_all_that_are(method):
    with pytest.raises(UnknownNameError) as caught:
        method.check_options({"no such option": 1})
    for name, option in method.options.items():
        assert f"{name} ({option.sentence})" in str(caught.value)
    assert method.check_options(None) == method.check_options({}) == {}
    with pytest.raises(InfflowError, match="a dictionary such as"):
        method.check_options([("step", 1.0)])


@pytest.mark.parametrize(
    ("method", "option", "function"),
    [
        (SOLVERS["cvode_bdf"], "krylov_dim", CvodeBdf),
        (SOLVERS["gear"], "max_order", GearBdf),
        (SOLVERS["adam"], "beta1", Adam),
        (SOLVERS["adam"], "beta2", Adam),
        (SOLVERS["adam"], "epsilon", Adam),
        (OPTIMIZERS["newton"], "radius", TrustRegion),
        (OPTIMIZERS["bfgs"], "scale", QuasiNewton),
        (OPTIMIZERS["gauss_newton"], "damping", gauss_newton.search),
        (OPTIMIZERS["gauss_newton"], "seed", gauss_newton.search),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "name", ""),
)
def test_sentences_say_the_default(method, option, function):
    said = re.search(r"(\S+) unless given", method.options[option].sentence).group(1)
    assert float(said) == inspect.signature(function).parameters[option].default
