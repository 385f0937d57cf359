"""Check that pages and docstrings can be read, and that the built site stands by itself.

    python scripts/check_pages.py                         # sentences of pages and public docstrings
    python scripts/check_pages.py --site docs/_build/html # and what the site loads, shows and links
    python scripts/check_pages.py --longest 20            # the longest sentences, to work on

Sentences have at most 25 words in the median of a page, and at most 45 each. Code and formulas
count as one word; code blocks do not count. A cell of a table may list things, with semicolons
between them.
"""

import argparse
import inspect
import re
import statistics
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
MEDIAN, LONGEST = 25, 45
# Pages whose sentences nobody has gone through yet. The list may only shrink.
UNREAD: set[str] = set()

ABBREVIATIONS = r"(?<!\be\.g)(?<!\bi\.e)(?<!\betc)(?<!\bvs)(?<!\bcf)(?<!\bal)(?<!\beq)(?<!\bPhys)"
END = re.compile(
    ABBREVIATIONS + r"[.!?][)\"”*_]*\s+(?=[\"“(*_`$\[]*([A-Z0-9`$\[(*]|infflow|numba))"
)


def prose(markdown):
    """The running text of a page: without code, with one word for a formula or a link's target."""
    text = re.sub(r"\A---\n.*?\n---\n", "", markdown, flags=re.S)
    text = re.sub(r"^( *)(```+|:::+)\{(note|tip|warning|admonition)\}[^\n]*", "", text, flags=re.M)
    text = re.sub(r"^( *)(```+).*?^\1\2`*[ ]*$", "\n\n", text, flags=re.M | re.S)
    text = re.sub(r"^:::+[^\n]*$", "\n", text, flags=re.M)
    text = re.sub(r"(?m)^(    +|\t)(?![-*+0-9]).*$", lambda m: m.group(0).strip(), text)
    text = re.sub(r"\$\$.*?\$\$", " FORMULA ", text, flags=re.S)
    text = re.sub(r"\$[^$\n]+(\n[^$\n]+)?\$", "FORMULA", text)
    text = re.sub(r"\{(\w+)\}`[^`]*`", "ROLE", text)
    text = re.sub(r"``[^`]+``|`[^`]+`", "CODE", text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)\s]*\)", r"\1", text)
    return re.sub(r"</?\w+[^>]*>", "\n\n", text)


def blocks(text):
    """Paragraphs, list items, headings and cells of tables, each of which ends its sentence."""
    block = []
    for line in [*text.splitlines(), ""]:
        stripped = line.strip()
        starts = re.match(r"([-*+]|\d+\.|#+|>)\s", stripped)
        if not stripped or starts or stripped.startswith("|"):
            yield " ".join(block)
            block = []
        if stripped.startswith("|"):
            yield from (part.strip() for part in re.split(r"\||; ", stripped.strip("|")))
        elif stripped:
            block.append(stripped[starts.end() :] if starts else stripped)


def sentences(text):
    """All sentences of a text, without tables' rules and headings' marks."""
    for block in blocks(text):
        for sentence in END.sub("\0", block).split("\0"):
            if len(re.findall(r"[A-Za-z]", sentence)) > 1:
                yield sentence.strip()


def words(sentence):
    """How many words a sentence has; numbers, names and symbols are words, operators are not."""
    return len([word for word in sentence.split() if re.search(r"\w", word)])


def pages():
    """Pages of the documentation and of the repository's front."""
    files = [path for path in DOCS.rglob("*.md") if not {"_build", "_api"} & set(path.parts)]
    return [*sorted(files), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def docstrings():
    """Text of every public name and of its public members, by name."""
    sys.path.insert(0, str(ROOT))
    import infflow as inf

    found = {}
    for name in sorted(set(inf.__all__) | set(inf._MODULES)):
        thing = getattr(inf, name)
        members = {name: thing}
        if inspect.ismodule(thing):
            public = getattr(thing, "__all__", [])
            members |= {f"{name}.{each}": getattr(thing, each) for each in public}
        if inspect.isclass(thing):
            members |= {
                f"{name}.{each}": value
                for each, value in vars(thing).items()
                if not each.startswith("_")
            }
        for each, value in members.items():
            text = getattr(value, "__doc__", None)
            if isinstance(text, str) and not isinstance(value, (int, float, str)):
                found[each] = plain(inspect.cleandoc(text))
    return found


def plain(docstring):
    """A numpydoc docstring as running text: examples and literal blocks left out."""
    text = re.sub(r"(?m)^(Examples)\n-+\n(.*\n?)*?(?=^\S[^\n]*\n---|\Z)", "", docstring)
    text = re.sub(r"(?m)^ *(>>>|\.\.\.).*\n(?:(?! *>>>)(?!\n).*\n)*", "\n", text + "\n")
    text = re.sub(r"::\n\n(?:(?: +.*)?\n)+", ".\n\n", text)
    text = re.sub(r"(?m)^\.\. math::.*\n(?:\n| +.*\n)*", "\n", text)
    text = re.sub(r"(?m)^.*\n[-=]{3,}$", "\n", text)
    text = re.sub(r":\w+:`[^`]*`|``[^`]+``|`[^`]+`", "CODE", text)
    return re.sub(r"(?m)^(\S[^\n]*? : [^\n]*)$", r"\n\1\n", text)


def long_sentences(texts):
    """Complaints about texts, a dictionary from their names, and all lengths for the list."""
    complaints, lengths = [], []
    for name, text in texts.items():
        counts = [(words(each), each) for each in sentences(text)]
        lengths += [(count, name, each) for count, each in counts]
        complaints += [
            f"{name}: {count} words: {each[:90]}..." for count, each in counts if count > LONGEST
        ]
        full = [count for count, _ in counts if count > 3]
        if full and statistics.median(full) > MEDIAN:
            complaints.append(f"{name}: {statistics.median(full)} words a sentence in the median")
    return complaints, sorted(lengths, reverse=True)


#: the attribute by which an element loads something
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Page(HTMLParser):
    """What one page of the site loads, shows and links."""

    def __init__(self, path):
        super().__init__()
        self.loads, self.links, self.no_alt, self.complaints = [], [], [], []
        text = path.read_text(encoding="utf-8")
        self.feed(text)
        self.loads += re.findall(r"(?:@import|url\()\s*[\"']?(https?://[^\"')\s]+)", text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        resource = given.get(LOADED.get(tag, ""))
        if resource and given.get("rel") not in ("canonical", "index", "search", "next", "prev"):
            self.loads.append(resource)
        if tag == "img" and len((given.get("alt") or "").split()) < 3:
            self.no_alt.append(given.get("src"))
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])


def site_complaints(site):
    """External resources, images without alt text, and pages that no page links to.

    A page of the navigation is linked from every page; what counts are links in the text of other
    pages and the navigation alike, so that a page is found that is built and stands nowhere.
    """
    complaints, linked = [], set()
    built = {path.resolve() for path in site.rglob("*.html")}
    for path in sorted(built):
        page = Page(path)
        name = path.relative_to(site.resolve())
        complaints += [
            f"{name}: loads {each}" for each in page.loads if re.match(r"(https?:)?//", each)
        ]
        complaints += [f"{name}: no alt text of three words: {each}" for each in page.no_alt]
        targets = [urlsplit(link) for link in page.links]
        there = {
            (path.parent / unquote(link.path)).resolve()
            for link in targets
            if link.path and not link.netloc
        }
        linked |= there - {path}
        complaints += [
            f"{name}: links to {each.name}, which is not there"
            for each in there
            if each.suffix == ".html" and each not in built
        ]
    for style in site.rglob("*.css"):
        loads = re.findall(
            r"(?:@import\s+[\"']?|url\(\s*[\"']?)((?:https?:)?//[^\"')]+)", style.read_text()
        )
        complaints += [f"{style.relative_to(site)}: loads {each}" for each in loads]
    alone = {path for path in built - linked if path.name not in ("genindex.html", "search.html")}
    complaints += [
        f"{path.relative_to(site.resolve())}: no page links to it" for path in sorted(alone)
    ]
    return complaints


def main():
    """Print complaints; fail if there are any."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--site", type=Path, help="folder of the built site")
    parser.add_argument("--longest", type=int, default=0, help="list this many long sentences")
    parser.add_argument("--only", default="", help="only pages and names that contain this")
    options = parser.parse_args()
    texts = {str(path.relative_to(ROOT)): prose(path.read_text()) for path in pages()}
    texts |= docstrings()
    chosen = {name: text for name, text in texts.items() if options.only in name}
    complaints, lengths = long_sentences(chosen)
    for count, name, sentence in lengths[: options.longest]:
        print(f"{count:4d} {name}: {sentence}")
    complaints = [each for each in complaints if each.partition(":")[0] not in UNREAD]
    if options.site:
        complaints += site_complaints(options.site)
    print("\n".join(complaints) or "pages: no complaint")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
