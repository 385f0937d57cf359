"""What other catalogues say of the package agrees with pyproject.toml."""

import importlib
import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import infflow as inf

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DEPENDENCIES = dict(
    re.fullmatch(r"([\w-]+)(>=[\d.]+)", each).groups() for each in PROJECT["dependencies"]
)
OLDEST_PYTHON = PROJECT["requires-python"].removeprefix(">=")


@pytest.fixture(scope="module")
def recipe():
    return yaml.safe_load((ROOT / "conda/recipe.yaml").read_text())


def test_citation():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == inf.__version__ and cited["license"] == PROJECT["license"]
    assert [each["name"] for each in cited["authors"]] == [
        each["name"] for each in PROJECT["authors"]
    ]
    assert cited["cff-version"] == "1.2.0" and {"message", "title", "type"} <= set(cited)


def test_codemeta():
    found = json.loads((ROOT / "codemeta.json").read_text())
    assert found["@context"] == "https://w3id.org/codemeta/3.0"
    assert found["@type"] == "SoftwareSourceCode"
    for name in ("name", "description", "keywords"):
        assert found[name] == PROJECT[name], name
    assert found["version"] == inf.__version__
    assert found["license"].rpartition("/")[2] == PROJECT["license"]
    assert [each["name"] for each in found["author"]] == [e["name"] for e in PROJECT["authors"]]
    assert found["softwareRequirements"] == PROJECT["dependencies"]
    assert found["runtimePlatform"] == f"Python {PROJECT['requires-python']}"
    (cited,) = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    article = found["referencePublication"]
    assert (article["name"], article["url"]) == (cited["title"], cited["url"])


def test_recipe(recipe):
    assert recipe["schema_version"] == 1
    assert recipe["context"] == {"version": inf.__version__, "python_min": OLDEST_PYTHON}
    assert recipe["package"] == {"name": PROJECT["name"], "version": "${{ version }}"}
    run = dict(line.split(" ", 1) for line in recipe["requirements"]["run"])
    assert run.pop("python") == ">=${{ python_min }}"
    wanted = {"matplotlib-base" if k == "matplotlib" else k: v for k, v in DEPENDENCIES.items()}
    assert run == wanted
    scripts = [f"{name} = {target}" for name, target in PROJECT["scripts"].items()]
    assert recipe["build"]["python"]["entry_points"] == scripts
    assert recipe["build"]["noarch"] == "python"
    assert recipe["about"]["license"] == PROJECT["license"]
    assert recipe["about"]["summary"] == PROJECT["description"]
    assert (ROOT / recipe["about"]["license_file"]).exists()
    # every test names what there is
    for module in recipe["tests"][0]["python"]["imports"]:
        __import__(module)


def test_commands_of_the_recipe(recipe, capsys):
    from typer.testing import CliRunner

    from infflow.cli import app

    for line in recipe["tests"][1]["script"]:
        name, *arguments = line.split()
        assert name in PROJECT["scripts"]
        assert CliRunner().invoke(app, arguments).exit_code == 0, line


def test_extras():
    extras = PROJECT["optional-dependencies"]
    assert {"jax", "torch", "sweep", "proof", "docs", "test", "bench"} <= set(extras)
    # messages that tell to install an extra name one that exists
    for path in (ROOT / "infflow").rglob("*.py"):
        for named in re.findall(r"infflow\[([\w,]+)\]", path.read_text()):
            assert set(named.split(",")) <= set(extras), path


def test_oldest_versions_are_said_once():
    assert OLDEST_PYTHON == "3.11"
    oldest = {int(each.rpartition(".")[2]) for each in PROJECT["classifiers"] if ":: 3." in each}
    assert min(oldest) == 11


# -- the history of the benchmarks -----------------------------------------------------------------


def test_history_and_its_page(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT))
    history = importlib.import_module("benchmarks.history")
    rows = history.read()
    assert rows and all(set(row["microseconds"]) <= set(history.SENTENCES) for row in rows)
    assert all(re.fullmatch(r"[0-9a-f]{9}\+?", row["commit"]) for row in rows)
    assert history.PAGE.read_text() == history.page(rows)  # nobody edits it by hand
    # a run appends one line, and the cases are those of the page
    monkeypatch.setattr(history, "HISTORY", tmp_path / "history.jsonl")
    monkeypatch.setattr(history, "PAGE", tmp_path / "history.md")
    monkeypatch.setattr(history, "microseconds", lambda call: call() is not None and 2.0)
    history.main([])
    history.main([])
    first, second = history.read(tmp_path / "history.jsonl")
    first.pop("load")
    second.pop("load")
    assert first == second and list(first["microseconds"]) == list(history.SENTENCES)
    text = (tmp_path / "history.md").read_text()
    assert text.count(f"| {first['commit']} |") == 2
    history.main(["--page-only"])
    assert (tmp_path / "history.md").read_text() == text
