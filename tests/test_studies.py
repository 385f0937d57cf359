"""Every study of the registry runs in its quick version and writes what it promises."""

import json
import os
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from infflow.cli import app
from infflow.errors import DivergedError, InfflowError, InvalidTypeError
from infflow.storage import plain, write_json
from infflow.studies import STUDIES, Claim, StudyResult, StudySetting, run_study
from infflow.studies.study import markdown_table, run_grid


@pytest.fixture(scope="module", params=sorted(STUDIES))
def quick(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return run_study(request.param, quick=True, out=folder, progress=False), folder


def test_summary(quick):
    result, folder = quick
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["study"] == result.name == folder.name.rstrip("0123456789")
    assert summary.keys() >= {
        "settings",
        "claims",
        "pictures",
        "numbers",
        "wall_seconds",
        "version",
        "platform",
    }
    assert (
        summary["settings"].keys() == {f.name for f in fields(result.setting)} >= {"seeds", "seed"}
    )
    assert summary["claims"], "a study makes claims"
    sentences = [claim["sentence"] for claim in summary["claims"]]
    assert len(set(sentences)) == len(sentences)
    for claim in summary["claims"]:
        assert claim.keys() == {"sentence", "source", "value", "held", "note"}
        assert isinstance(claim["held"], bool)
        assert claim["sentence"].endswith(".") and claim["source"]
        assert claim["value"] is not None or claim["note"], "no value, and no reason why"
        assert claim["held"] or claim["value"] is not None or claim["note"]
    for picture in summary["pictures"]:
        content = (folder / picture).read_bytes()
        assert content.startswith(b"\x89PNG") and len(content) < 300_000


def test_report_has_every_claim(quick):
    result, folder = quick
    text = (folder / f"{result.name}.md").read_text()
    for claim in result.claims():
        assert claim.sentence.replace("|", "\\|") in text
    assert result.table().strip() in text


def test_a_stopped_study_continues(quick):
    """The finished runs are in the folder: a second call has the same numbers, measured times
    included.
    """
    result, folder = quick
    again = run_study(result.name, quick=True, out=folder, progress=False)
    assert [claim.to_dict() for claim in again.claims()] == [
        claim.to_dict() for claim in result.claims()
    ]
    assert again.table() == result.table()


def test_settings(quick):
    result, _ = quick
    module = STUDIES[result.name].load()
    assert isinstance(module.QUICK, module.Setting) and issubclass(module.Setting, StudySetting)
    assert module.Setting() != module.QUICK, "the quick version is smaller"
    with pytest.raises(FrozenInstanceError):
        module.QUICK.seeds = 3
    with pytest.raises(InfflowError, match="seeds"):
        run_study(result.name, quick=True, seeds=0)
    with pytest.raises(InfflowError, match="Did you mean 'seed"):
        run_study(result.name, quick=True, seedz=2)


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_each_is_listed(name):
    listed = CliRunner().invoke(app, ["study"])
    assert listed.exit_code == 0
    assert f"{name} " in listed.output and STUDIES[name].title in listed.output


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["landscap"], "Did you mean 'landscape'"),
        (["landscape", "--quick", "--seeds", "0"], "at least 1"),
        (["landscape", "--quick", "--jobs", "0"], "jobs"),
        (["landscape", "--quick", "--seed", "-1"], "seed"),
    ],
)
def test_bad_usage(arguments, message, tmp_path):
    result = CliRunner().invoke(app, ["study", *arguments, "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert message in result.output


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(
        app, ["study", "landscape", "--quick", "--out", str(tmp_path / "file" / "out")]
    )
    assert result.exit_code == 2
    assert "cannot make the folder" in result.output


def test_a_claim_is_plain():
    claim = Claim("A sentence.", "theory", {"x": np.float64(np.nan), "y": np.arange(2)}, np.True_)
    assert claim.to_dict() == {
        "sentence": "A sentence.",
        "source": "theory",
        "value": {"x": None, "y": [0, 1]},
        "held": True,
        "note": "",
    }
    with pytest.raises(InvalidTypeError, match="held"):
        Claim("A sentence.", "theory", 1.0, None)
    with pytest.raises(InvalidTypeError, match="held"):
        Claim("A sentence.", "theory", 1.0, 1)


def test_plain_is_json(tmp_path):
    write_json(
        tmp_path / "x.json",
        plain({"a": (np.inf, np.int64(3)), 2: [np.array([[np.nan, 1.0]])]}, nan=False),
    )
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": [None, 3], "2": [[[None, 1.0]]]}


def test_markdown_table():
    text = markdown_table("a | b", [(1, 0.123456), (None, float("nan"))])
    assert text == "| a | b |\n|---|---|\n| 1 | 0.1235 |\n| - | - |"


def test_base_class_asks_for_claims():
    with pytest.raises(NotImplementedError):
        StudyResult(StudySetting(), [], 0.0).claims()


def square(x, shift):
    if x < 0:
        raise ValueError("negative")
    with open(os.environ["INFFLOW_TEST_LOG"], "a") as log:
        log.write(f"{x}\n")
    return {"y": x * x + shift, "twice": np.array([x, x], dtype=float)}


@pytest.mark.parametrize(
    "grid", [{"x": [1, 2], "shift": [10]}, [{"x": 1, "shift": 10}, {"x": 2, "shift": 10}]]
)
@pytest.mark.parametrize("stored", [True, False])
def test_run_grid(grid, stored, tmp_path, monkeypatch):
    monkeypatch.setenv("INFFLOW_TEST_LOG", str(tmp_path / "log"))
    folder = tmp_path if stored else None
    for _ in range(2):  # made, then read
        rows = run_grid(square, grid, folder=folder, jobs=1, progress=False)
        assert [(row["x"], row["shift"], row["y"], row["twice"].tolist()) for row in rows] == [
            (1, 10, 11, [1.0, 1.0]),
            (2, 10, 14, [2.0, 2.0]),
        ]
        assert all(row["wall_time"] > 0 for row in rows)
    assert len((tmp_path / "log").read_text().split()) == (2 if stored else 4), (
        "stored runs are not repeated"
    )


def test_finished_runs_survive_a_failure(tmp_path, monkeypatch):
    monkeypatch.setenv("INFFLOW_TEST_LOG", str(tmp_path / "log"))
    with pytest.raises(DivergedError, match=r"1 of 3 runs failed.*negative"):
        run_grid(square, {"x": [1, -1, 2], "shift": [0]}, folder=tmp_path, jobs=1, progress=False)
    run_grid(square, {"x": [1, 2], "shift": [0]}, folder=tmp_path, jobs=1, progress=False)
    assert (tmp_path / "log").read_text().split() == ["1", "2"]


def test_page_of_a_study(tmp_path):
    """The script puts numbers between the marks of the page, twice in a row as well, and copies the
    picture.
    """
    script = Path(__file__).parents[1] / "scripts" / "update_study_page.py"
    out = tmp_path / "out"
    docs = tmp_path / "docs"
    for folder in (out, docs / "studies", docs / "images"):
        folder.mkdir(parents=True)
    (out / "summary.json").write_text(json.dumps({"study": "x", "pictures": ["x.png"]}))
    Image.new("RGB", (4, 3), "red").save(out / "x.png")
    command = [sys.executable, str(script), str(out), "--docs", str(docs)]
    page = docs / "studies" / "x.md"
    page.write_text("# X\n\nno marks\n")
    failed = subprocess.run(command, capture_output=True, text=True)
    assert failed.returncode == 1 and "lacks the marks" in failed.stderr
    marks = "<!-- numbers: written by scripts/update_study_page.py -->", "<!-- end of numbers -->"
    page.write_text(f"# X\n\n{marks[0]}\nold\n{marks[1]}\n\nEnd.\n")
    for text in ("first", "second"):
        (out / "x.md").write_text(f"{text}\n")
        subprocess.run(command, check=True, capture_output=True)
        assert page.read_text() == f"# X\n\n{marks[0]}\n\n{text}\n\n{marks[1]}\n\nEnd.\n"
    assert Image.open(docs / "images" / "study_x.png").convert("RGB").getpixel((1, 1)) == (
        255,
        0,
        0,
    )
