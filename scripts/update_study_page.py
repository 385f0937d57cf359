"""Put the numbers and the picture of a finished study on its page.

    infflow study landscape --out out/studies/landscape
    python scripts/update_study_page.py out/studies/landscape

replaces what is between the two marks in docs/studies/landscape.md by the text that the study
wrote, and docs/images/study_landscape.png (or several).
"""

import argparse
import json
import sys
from pathlib import Path

from PIL import Image  # comes with matplotlib

BEGIN = "<!-- numbers: written by scripts/update_study_page.py -->"
END = "<!-- end of numbers -->"


def update(folder, docs):
    """Write the page and the picture of the study in ``folder``; returns the page's path."""
    summary = json.loads((folder / "summary.json").read_text())
    name = summary["study"]
    page = docs / "studies" / f"{name}.md"
    text = page.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(
            f"{page} lacks the marks {BEGIN!r} and {END!r}. Write them where the numbers go."
        )
    numbers = (folder / f"{name}.md").read_text().strip()
    page.write_text(f"{before}{BEGIN}\n\n{numbers}\n\n{END}{after}")
    for each in summary["pictures"]:
        picture = Image.open(folder / each).convert("RGB").quantize(256)  # half of the size
        picture.save(docs / "images" / f"study_{each}", optimize=True)
    return page


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, help="what --out of infflow study was")
    parser.add_argument("--docs", type=Path, default=Path(__file__).parents[1] / "docs")
    arguments = parser.parse_args()
    for folder in arguments.folders:
        try:
            print(f"wrote {update(folder, arguments.docs)}")
        except (OSError, ValueError, KeyError) as error:
            sys.exit(f"{folder}: {error}")


if __name__ == "__main__":
    main()
