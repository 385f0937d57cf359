"""Sphinx configuration. ``make docs`` builds the site into docs/_build/html; every warning is an
error.
"""

import builtins
import enum
import inspect
import os
import re
import sys
import typing
from pathlib import Path

import infflow

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

os.environ["INFFLOW_QUIET"] = "1"  # pages say nothing of what compiled while they were made

# autodoc reads comments of attributes from the source of a module, which it looks up by its public
# name.
for name in infflow._MODULES:
    sys.modules.setdefault(f"infflow.{name}", getattr(infflow, name))

project = "infflow"
author = "The infflow authors"
project_copyright = "2026, the infflow authors"
release = infflow.__version__
version = ".".join(release.split(".")[:2])

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinxcontrib.bibtex",
    "mathml",  # in _ext
    "superscripts",  # in _ext
]
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
html_math_renderer = "mathml"
exclude_patterns = ["_build"]
suppress_warnings = ["toc.empty_glob"]  # folders may be empty
templates_path = ["_templates"]

# Pages: ```python blocks are run by the tests; {code-cell} blocks are run here, and their outputs
# shown.
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_timeout = 600  # with an empty cache the first cell compiles
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True

# API reference: one page per public name, from the docstrings (numpydoc style).
autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say types and shapes, typed_signature the rest
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_google_docstring = False
napoleon_use_param = False  # types are prose, "(P,) array", and not links
napoleon_use_rtype = False
GROUPS = ("The path", "The search", "When it stops", "What is kept", "How it runs")  # of train
napoleon_custom_sections = [(name, "params_style") for name in ("Attributes", *GROUPS)]
nitpicky = True

html_domain_indices = False  # the reference lists modules
html_theme = "furo"
html_title = f"infflow {release}"
html_show_sourcelink = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
copybutton_exclude = ".linenos, .gp, .go"


def escape_bars(app, what, name, obj, options, lines):
    """Docstrings write norms and absolute values as |x|, which reStructuredText would read as
    substitutions.
    """
    literal = None  # indentation of the paragraph that announced a literal block
    for i, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if literal is not None and line.strip() and indent <= literal:
            literal = None
        if literal is None and not line.lstrip().startswith((">>>", "...")):
            parts = re.split(r"(``.*?``|`[^`]*`)", line)
            lines[i] = "".join(
                part if part.startswith("`") else part.replace("|", r"\|") for part in parts
            )
        if literal is None and line.rstrip().endswith("::"):
            literal = indent


def tables_of_rooms(app, what, name, obj, options, lines):
    """Docstrings of packages have a map of their files, a table in markdown: write it in
    reStructuredText.
    """
    rows = [k for k, line in enumerate(lines) if line.startswith(r"\|")]
    if what != "module" or len(rows) < 3:
        return
    cells = [[c.strip() for c in lines[k].strip("\\| ").split(r" \| ")] for k in rows]
    table = [".. list-table::", "   :header-rows: 1", ""]
    for row in cells[:1] + cells[2:]:
        texts = [re.sub(r"`([^`]+)`", r"``\1``", each) for each in row]
        table += [f"   {'*' if k == 0 else ' '} - {text}" for k, text in enumerate(texts)]
    lines[rows[0] : rows[-1] + 1] = [*table, ""]


class Written:
    """An annotation as it stands in the source."""

    def __init__(self, text):
        self.text = text

    def __repr__(self):
        return self.text


def written(parameter):
    """A parameter with its annotation as the source has it; dots for a default that is made."""
    note = getattr(parameter.annotation, "__forward_arg__", parameter.annotation)
    if isinstance(note, str):
        parameter = parameter.replace(annotation=Written(note))
    if str(parameter.default) == "<factory>":
        parameter = parameter.replace(default=Written("..."))
    return parameter


def list_members(app, what, name, obj, options, lines):
    """Members of enumerations, with their values."""
    if inspect.isclass(obj) and issubclass(obj, enum.Enum):
        lines += ["", *(f"* ``{member.name}``: {member.value}" for member in obj)]


def typed_signature(app, what, name, obj, options, signature, return_annotation):
    """Signatures with the types that the source writes, aliases not resolved."""
    if what not in ("function", "method", "class") or not signature:
        return None
    try:
        found = inspect.signature(obj)
    except (TypeError, ValueError):
        return None
    if inspect.isclass(obj) and issubclass(obj, enum.Enum):
        return "", None
    parameters = [written(each) for each in found.parameters.values() if each.name[0] != "_"]
    if what == "method" and parameters and parameters[0].name in ("self", "cls"):
        parameters = parameters[1:]
    returned = found.return_annotation
    text = str(found.replace(parameters=parameters, return_annotation=found.empty))
    return text, returned if isinstance(returned, str) and what != "class" else None


def find_by_last_name(app, env, node, contnode):
    """Docstrings name classes and errors without the module where they live: link to the one with
    that name.

    Names that are not on this site but exist in the package become text; others stay unresolved,
    which is an error.
    """
    if node.get("refdomain") != "py":
        return None
    domain = env.domains["py"]
    name = node["reftarget"].split(".")[-1]
    found = {full for full in domain.objects if full.split(".")[-1] == name}
    if len(found) == 1:
        return domain.resolve_xref(
            env, node["refdoc"], app.builder, "obj", found.pop(), node, contnode
        )
    return contnode if exists(node["reftarget"], node.get("py:class")) else None


OTHERS = {"collections", "matplotlib", "np", "numpy", "os", "pathlib", "scipy", "sympy", "typing"}


def exists(target, class_name):
    """Whether the package has a module, a module-level name, or (in a docstring of a class) an
    attribute of this name; types of other packages in signatures count, too.
    """
    name = target.split(".")[-1]
    first = re.split(r"[.\[]", target)[0]
    if first in OTHERS or hasattr(builtins, first) or hasattr(typing, first):
        return True
    modules = [module for key, module in sys.modules.items() if key.partition(".")[0] == "infflow"]
    if target in sys.modules or any(name in vars(module) for module in modules):
        return True
    owner = getattr(infflow, class_name or "", None)
    return owner is not None and (
        hasattr(owner, name) or re.search(rf"^ *{name} : ", owner.__doc__, re.M) is not None
    )


def setup(app):
    """Connect them to Sphinx."""
    app.connect("autodoc-process-docstring", escape_bars)
    app.connect("autodoc-process-docstring", tables_of_rooms)
    app.connect("autodoc-process-docstring", list_members)
    app.connect("autodoc-process-signature", typed_signature)
    app.connect("missing-reference", find_by_last_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
