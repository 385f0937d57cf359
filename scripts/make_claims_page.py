"""One page with every claim of the studies: what was measured, and whether it held.

    python scripts/make_claims_page.py

collects the tables of claims on docs/studies/*.md (which scripts/update_study_page.py wrote) into docs/studies/claims.md.
"""

from pathlib import Path

STUDIES = Path(__file__).parents[1] / "docs" / "studies"
PAGE = STUDIES / "claims.md"
#: beginning of a claim's source -> heading
SOURCES = {
    "paper": "The paper (Brea, Martinelli, Şimşek and Gerstner 2023)",
    "blog": "The blog post (Cohen 2022)",
    "letter": "The letter (Klausmeier 2020)",
    "": "Theory, other papers, and infflow's own",
}
HEAD = """# Every claim on one page

Made by `python scripts/make_claims_page.py` from the pages of the studies, where the measurements, the criteria and the pictures are. A claim
that could not be measured as stated did not hold.
"""


def claims(path):
    """Rows (claim, source, measured, held) of the first table after the mark."""
    text = path.read_text().partition("<!-- numbers: ")[2]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    rows = []
    for line in lines:
        cells = [cell.strip() for cell in line.replace("\\|", "\0").strip("| ").split(" | ")]
        if len(cells) != 4 or cells[3] not in ("yes", "**no**"):
            if rows:
                break
            continue
        rows.append([cell.replace("\0", "\\|") for cell in cells])
    return rows


def page(folder=STUDIES):
    """The text of the page."""
    rows = [(path.stem, *row) for path in sorted(folder.glob("*.md")) if path.name != PAGE.name for row in claims(path)]
    parts = [HEAD]
    left = list(rows)
    for beginning, heading in SOURCES.items():
        chosen = [row for row in left if row[2].startswith(beginning)]
        left = [row for row in left if row not in chosen]
        if not chosen:
            continue
        held = sum(row[4] == "yes" for row in chosen)
        parts.append(f"## {heading}\n\n{held} of {len(chosen)} held.\n")
        parts.append("| claim | source | held | measured | study |\n|---|---|---|---|---|")
        parts += [f"| {c} | {s} | {h} | {m} | [{name}]({name}.md) |" for name, c, s, m, h in chosen]
        parts.append("")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE}")
