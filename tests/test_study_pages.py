"""Every study has a page with numbers and a picture, and the page of all claims is the one that
they give.
"""

import importlib.util
from pathlib import Path

import pytest

from infflow.studies.registry import STUDIES

ROOT = Path(__file__).parents[1]


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", STUDIES)
def test_page_has_claims_and_picture(name):
    assert load("make_claims_page").claims(ROOT / "docs" / "studies" / f"{name}.md")
    assert (ROOT / "docs" / "images" / f"study_{name}.png").exists()


def test_page_of_claims_is_up_to_date():
    script = load("make_claims_page")
    assert script.page() == script.PAGE.read_text()
