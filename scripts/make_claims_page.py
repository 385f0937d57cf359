"""One page with every claim of the studies: what was measured, and whether it held.

    python scripts/make_claims_page.py

collects the tables of claims on docs/studies/*.md (which scripts/update_study_page.py wrote) into
docs/studies/claims.md, and adds the statements that other pages measure.
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

#: statements that no study measures: (statement, source, held, what was found, page in docs/)
ELSEWHERE = [
    (
        (
            "The infinite-data loss consists of low-dimensional Gaussian integrals whatever the "
            "input dimension; those of linear, relu and erf are closed forms."
        ),
        "paper, finite versus infinite data",
        "yes",
        (
            "two-dimensional integrals and their derivatives; closed forms of many more "
            "activations, biases included"
        ),
        "gallery",
    ),
    (
        (
            "Accurate integrals in every step of a solver take too long, so that fitted "
            "perceptrons "
            "should replace them."
        ),
        "paper, finite versus infinite data",
        "**no**",
        (
            "closed forms and series at 1e-10 are 2.6 to 56 times faster than a perceptron of 2 x "
            "96 neurons"
        ),
        "surrogates",
    ),
    (
        (
            "Perceptrons of 2 x 96 neurons give losses and gradients within 1e-5, Hessians within "
            "1e-3."
        ),
        "paper, finite versus infinite data",
        "yes",
        (
            "median losses within 6e-8, gradients 3e-7, Hessians 2e-6 for the worst of six "
            "activations, largest 3e-7, 1e-6, 1e-5"
        ),
        "surrogates",
    ),
    (
        "The flow on the fitted perceptrons should be followed by fine-tuning with the integrals.",
        "paper, finite versus infinite data",
        "yes",
        (
            "three flows: the fixed point moves by 2e-5 to 2e-4, the exact gradient norm falls "
            "from "
            "3e-8 to 4e-7 to below 1e-15"
        ),
        "surrogates",
    ),
    (
        "Hessians are computed at least 5 times faster than in PyTorch.",
        "paper, abstract",
        "yes",
        "34 times and more, of both of PyTorch's functions",
        "studies/speed",
    ),
    (
        "Rodas5, KenCarp58 and Newton's method need Hessians; the others do not (table 2).",
        "paper, table 2",
        "yes",
        "Newton's method and CVODE also run on Hessian-vector products alone",
        "solvers",
    ),
    (
        (
            "A network of 79,510 parameters with 70,000 samples in 784 dimensions can be "
            "integrated "
            "with CVODE."
        ),
        "paper, conclusions",
        "yes",
        "29 steps to the loss 8e-3, on synthetic data of these sizes",
        "benchmarks/large",
    ),
    (
        "LSODA is a better choice than zvode.",
        "letter",
        "yes",
        (
            "exact Jacobians, four problems, four tolerances: 0.7 to 1.6 times as many steps, and "
            "an end 1.6 to 26 times nearer to the flow's"
        ),
        "studies/stiffness",
    ),
]


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
    rows = [
        (path.stem, *row)
        for path in sorted(folder.glob("*.md"))
        if path.name != PAGE.name
        for row in claims(path)
    ]
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
    parts.append(
        "## Statements measured on other pages\n\n| statement | source | held | found | page "
        "|\n|---|---|---|---|---|"
    )
    parts += [
        f"| {s} | {source} | {h} | {found} | [{name}](../{name}.md) |"
        for s, source, h, found, name in ELSEWHERE
    ]
    parts.append("")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE}")
