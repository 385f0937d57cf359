"""Powers in running text become superscripts when the site is built, and numbers stay on one line.

Docstrings, claims and tables write ``k^2``, ``N^(-1/2)``, ``H^+`` and ``|grad L|^2``, as they are
read on a terminal. Code and formulas stay as they are.
"""

import re

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

#: a power behind a letter, digit or bracket: a number, a name, a plus, or anything in brackets
POWER = re.compile(r"(?<=[\w)\]|}])\^(-?\([^()]*(?:\([^()]*\))?[^()]*\)|-?\d+(?:\.\d+)?|\+|-?\w)")
#: what a line must not end within
NUMBER = re.compile(r"(?<![\w.])(-?\d[\d.,]*e-\d+)(?!\w)")
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
)


def without_brackets(exponent):
    """``(-1/2)`` as ``-1/2``, with a minus sign that is one; ``-(1 + b)`` keeps its brackets."""
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
        found = [
            piece
            for k, part in enumerate(POWER.split(written))
            for piece in (raised(part) if k % 2 else kept_together(part))
        ]
        if len(found) > 1 or any(str(piece) != str(text) for piece in found):
            text.parent.replace(text, found)


def raised(power):
    """A superscript."""
    exponent = without_brackets(power)
    return [nodes.superscript(exponent, exponent)]


def kept_together(text):
    """Texts, and between them numbers such as 1e-10, within which no line ends."""
    for k, part in enumerate(NUMBER.split(text)):
        if k % 2:
            yield nodes.inline(part, part, classes=["number"])
        elif part:
            yield nodes.Text(part)


def ancestors(node):
    """What a node is in, from the inside out."""
    while node.parent is not None:
        node = node.parent
        yield node


def setup(app):
    """Tell Sphinx."""
    app.add_post_transform(Superscripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
