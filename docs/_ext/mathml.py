r"""Formulas become MathML when the site is built.

Browsers lay MathML out by themselves. So pages load no script for it, show their formulas at once,
and read well from a disk, in a text browser and aloud. A formula keeps its LaTeX in an annotation,
and LaTeX that cannot be converted is an error of the build.
"""

import re
from xml.etree import ElementTree

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.util import logging

MACROS = {
    r"\E": r"\mathbb{E}",
    r"\R": r"\mathbb{R}",
    r"\T": r"\top",
    r"\lvert": "|",
    r"\rvert": "|",
    r"\tr": r"\mathrm{tr}\,",
    r"\diag": r"\mathrm{diag}",
    r"\eps": r"\varepsilon",
    r"\erf": r"\mathrm{erf}",
    r"\relu": r"\mathrm{relu}",
    r"\step": r"\mathrm{step}",
    r"\He": r"\mathrm{He}",
}
SPACE = "{http://www.w3.org/1998/Math/MathML}"
logger = logging.getLogger(__name__)


def mathml(latex, display):
    """A ``<math>`` element with the LaTeX as annotation."""
    source = re.sub(r"\\[A-Za-z]+", lambda name: MACROS.get(name.group(), name.group()), latex)
    source = source.replace("{aligned}", "{split}")
    if r"\\" in source and r"\begin" not in source:
        source = r"\begin{split}" + source + r"\end{split}"
    element = convert(source, display=display)
    if unknown := re.search(r"\\[A-Za-z]+|<mi>&</mi>", element):
        raise ValueError(f"{unknown.group()} cannot be converted")
    element = with_details(element)
    escaped = latex.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    annotation = f'<annotation encoding="application/x-tex">{escaped}</annotation>'
    inner = re.search(r"<math[^>]*>(.*)</math>", element, flags=re.S).group(1)
    opening = f'<math xmlns="http://www.w3.org/1998/Math/MathML" display="{display}">'
    return f"{opening}<semantics>{inner}{annotation}</semantics></math>"


def with_details(element):
    """Primes beside what they belong to: as superscripts, browsers raise and shrink them twice.
    Bars close to what is between them, since browsers take them for relations.
    """
    root = ElementTree.fromstring(element)
    for node in root.iter():
        parts = list(node)
        name = node.tag.removeprefix(SPACE)
        if name == "mo" and node.text == "|":
            node.attrib |= {"lspace": "0.05em", "rspace": "0.05em"}
        if name not in ("msup", "msubsup") or not set(parts[-1].itertext()) <= set("′″‴"):
            continue
        prime = ElementTree.Element(f"{SPACE}mo", lspace="0em", rspace="0.05em")
        prime.text = "".join(parts[-1].itertext())
        base = parts[0]
        if name == "msubsup":
            base = ElementTree.Element(f"{SPACE}msub")
            base.extend(parts[:2])
        node.clear()
        node.tag = f"{SPACE}mrow"
        node.extend([base, prime])
    ElementTree.register_namespace("", SPACE.strip("{}"))
    return ElementTree.tostring(root, encoding="unicode")


def write(translator, node, display):
    """Convert the formula of a node."""
    try:
        return mathml(node.astext().strip(), display)
    except Exception as error:  # the converter raises classes of its own
        logger.warning("formula %r: %s: %s", node.astext(), type(error).__name__, error)
        return translator.encode(node.astext())


def visit_math(translator, node):
    """Within a line."""
    translator.body.append(write(translator, node, "inline"))
    raise nodes.SkipNode


def visit_math_block(translator, node):
    """On lines of its own, which scroll where the page is narrow."""
    translator.body.append(f'<div class="math">{write(translator, node, "block")}</div>\n')
    raise nodes.SkipNode


def setup(app):
    """Register the renderer, which ``html_math_renderer`` names."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
