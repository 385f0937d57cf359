"""The documentation site is complete: `make docs` builds it with warnings as errors, and here is
what a build cannot know.
"""

import ast
import fnmatch
import importlib.util
import inspect
import re
from importlib import import_module
from pathlib import Path

import infflow as inf

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
ERRORS = {
    "InfflowError",
    "AccuracyWarning",
    "SingularMomentError",
}  # on the page of their module, which lists all


def listed():
    return set(re.findall(r"^   ([\w.]+)$", (DOCS / "api.md").read_text(), flags=re.M))


def test_reference_lists_every_public_name():
    assert set(inf.__all__) - {"__version__"} - ERRORS <= listed()
    assert set(inf._MODULES) <= listed()
    for name in listed():  # and nothing that does not exist
        module, _, last = name.rpartition(".")
        assert getattr(import_module(f"infflow.{module}") if module else inf, last) is not None


def test_every_public_name_has_an_example_and_a_see_also():
    """Examples are doctests, which the test run executes."""
    for name in {*inf.__all__, *inf._MODULES} - {"__version__"}:
        text = inspect.getdoc(getattr(inf, name))
        assert ">>> " in text.partition("Examples\n")[2], name
        assert "See Also\n" in text, name


def test_pages_and_docstrings_can_be_read():
    """Sentences are short, by ``scripts/check_pages.py``, which looks at the built site, too."""
    path = ROOT / "scripts" / "check_pages.py"
    spec = importlib.util.spec_from_file_location("check_pages", path)
    checks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(checks)
    assert checks.long_sentences({"page": "One " + "word " * 60 + "more."})[0]
    texts = {page.name: checks.prose(page.read_text()) for page in checks.pages()}
    assert checks.long_sentences(texts | checks.docstrings())[0] == []


def test_every_page_is_reached_from_the_index():
    entries = re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / "index.md").read_text(), flags=re.S)
    patterns = [
        line
        for block in entries
        for line in block.splitlines()
        if line and not line.startswith(":")
    ]
    reached = {path.resolve() for pattern in patterns for path in DOCS.glob(pattern + ".md")}
    pages = {path.resolve() for path in DOCS.rglob("*.md") if "_build" not in path.parts}
    assert pages - reached == {(DOCS / "index.md").resolve()}


def test_executed_cells_are_python():
    """They run when the site is built; a typing error shows here already."""
    found = 0
    for page in DOCS.rglob("*.md"):
        for cell in re.findall(
            r"```\{code-cell\} ipython3\n(.*?)```", page.read_text(), flags=re.S
        ):
            source = re.sub(r"\A---\n.*?\n---\n", "", cell, flags=re.S)
            ast.parse(re.sub(r"^:tags: .*", "", source))
            assert page.read_text().startswith("---\nfile_format: mystnb\n"), page.name
            found += 1
    assert found > 10


def test_migration_table_names_what_exists():
    """Every function that the table names has the keywords that it is given."""
    text = (DOCS / "migration.md").read_text()
    calls = [
        node
        for code in re.findall(r"`(inf\.[^`]*\))`", text)
        for node in ast.walk(ast.parse(code, mode="eval"))
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("inf.")
    ]
    assert len(calls) > 25
    for call in calls:
        owner = inf
        for part in ast.unparse(call.func).split(".")[1:]:
            owner = getattr(owner, part)
        given = [argument for argument in call.args if ast.unparse(argument) != "..."]
        inspect.signature(owner).bind_partial(
            *given, **{keyword.arg: None for keyword in call.keywords}
        )


def test_house_page_names_what_exists():
    """Files and names in its tables, members of the protocols."""
    text = (DOCS / "house.md").read_text()
    package = Path(inf.__file__).parent
    for path in set(re.findall(r"`([\w/]+(?:\.py|/))`", text)):
        assert any(package.glob(f"**/{path}")), path
    rows = re.findall(r"^\| `([\w/]+)\.py` \| (`[\w`, ]+`) \|", text, flags=re.M)
    assert len(rows) > 25
    for path, names in rows:
        module = import_module("infflow." + path.replace("/", "."))
        for name in names.strip("`").split("`, `"):
            assert hasattr(module, name), (path, name)
    homes = {
        "Evaluator": "integrals.evaluator",
        "Integrator": "flow.integrator",
        "Family": "flow.onestep",
        "Objective": "objective",
    }
    for name, home in homes.items():
        protocol = getattr(import_module(f"infflow.{home}"), name)
        members = (
            re.search(rf"\| `{name}`: (`[\w`, ]+`) \|", text).group(1).strip("`").split("`, `")
        )
        assert all(hasattr(protocol, member) for member in members), name


def test_maps_of_rooms_are_true_and_complete():
    """The table of an ``__init__`` names what is in its folder, and all of it."""
    package = Path(inf.__file__).parent
    maps = 0
    for init in package.glob("*/**/__init__.py"):
        room = init.parent
        document = ast.get_docstring(ast.parse(init.read_text())) or ""
        cells = [line.split("|")[1] for line in document.splitlines() if line.startswith("| ")]
        named = re.findall(r"`([\w*]+\.py|\w+/)`", " ".join(cells))
        maps += bool(named)
        files = [each for each in room.glob("*.py") if not each.name.startswith("__")]
        rooms = [each.parent for each in room.glob("*/__init__.py")]
        there = {each.name for each in files} | {f"{each.name}/" for each in rooms}
        for name in named:
            assert fnmatch.filter(there, name), (
                f"the map of {room} names {name}, which is not there"
            )
        for name in there if named else ():
            on_map = any(fnmatch.fnmatch(name, pattern) for pattern in named)
            assert on_map, f"the map of {room} lacks {name}"
    assert maps > 25


def test_powers_and_numbers_of_the_site():
    spec = importlib.util.spec_from_file_location(
        "superscripts", ROOT / "docs" / "_ext" / "superscripts.py"
    )
    extension = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(extension)

    def written(text):
        return [
            (type(piece).__name__, piece.astext())
            for k, part in enumerate(extension.POWER.split(text))
            for piece in (extension.raised(part) if k % 2 else extension.kept_together(part))
        ]

    assert written("N^(-1/2), k^2") == [
        ("Text", "N"),
        ("superscript", "−1/2"),
        ("Text", ", k"),
        ("superscript", "2"),
    ]
    assert written("t^-(1 + b)")[1] == ("superscript", "−(1 + b)")
    assert written("up to 1e-10.") == [("Text", "up to "), ("inline", "1e-10"), ("Text", ".")]
    assert written("a_1 and b") == [("Text", "a_1 and b")]
