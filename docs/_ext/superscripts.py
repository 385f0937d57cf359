"""Powers in running text become superscripts when the site is built.

Docstrings, claims and tables write ``k^2``, ``N^(-1/2)``, ``H^+`` and ``|grad L|^2``, as they are
read on a terminal. Code and formulas stay as they are.
"""

import re

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

#: a power behind a letter, digit or bracket: a number, a name, a plus, or anything in brackets
POWER = re.compile(r"(?<=[\w)\]|}])\^(\([^()]*(?:\([^()]*\))?[^()]*\)|-?\d+(?:\.\d+)?|\+|-?\w)")
WORDS = (
    (re.compile(r"\bgrad (?=[LRf](?![a-z]))"), "∇"),
    (re.compile(r"\bsqrt(?=\()"), "√"),
    (re.compile(r"(?<=\|)theta\b|\btheta(?=_[a-zA-Z]\b|\*|['’|])"), "θ"),
)
AS_IT_IS = (
    nodes.literal,
    nodes.literal_block,
    nodes.math,
    nodes.math_block,
    nodes.raw,
    nodes.comment,
)


def without_brackets(exponent):
    """``(-1/2)`` as ``-1/2``, with a minus sign that is one."""
    bare = exponent[1:-1] if exponent.startswith("(") else exponent
    return bare.replace("-", "−")


class Superscripts(SphinxPostTransform):
    """Split texts at powers."""

    default_priority = 400

    def run(self, **options):
        """Of one page."""
        for text in list(self.document.findall(nodes.Text)):
            if not any(isinstance(parent, AS_IT_IS) for parent in ancestors(text)):
                self.split(text)

    def split(self, text):
        """Replace one text by texts and superscripts, where it has powers."""
        written = str(text)
        for pattern, sign in WORDS:
            written = pattern.sub(sign, written)
        parts = POWER.split(written)
        if len(parts) == 1:
            if written != str(text):
                text.parent.replace(text, nodes.Text(written))
            return
        found = []
        for k, part in enumerate(parts):
            if k % 2:
                exponent = without_brackets(part)
                found.append(nodes.superscript(exponent, exponent))
            elif part:
                found.append(nodes.Text(part))
        text.parent.replace(text, found)


def ancestors(node):
    """What a node is in, from the inside out."""
    while node.parent is not None:
        node = node.parent
        yield node


def setup(app):
    """Tell Sphinx."""
    app.add_post_transform(Superscripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
