"""One page with every claim of the studies: what was measured, and whether it held.

    python scripts/make_claims_page.py

collects the tables of claims on docs/studies/*.md (which scripts/update_study_page.py wrote) into
docs/studies/claims.md, and adds the statements that other pages measure.
"""

import html
import re
from pathlib import Path

STUDIES = Path(__file__).parents[1] / "docs" / "studies"
PAGE = STUDIES / "claims.md"
#: beginning of a claim's source -> heading, and where the claims come from
SOURCES = {
    "paper": (
        "The paper",
        "Brea, Martinelli, Şimşek and Gerstner, *MLPGradientFlow: going with the flow of "
        "multilayer perceptrons* (2023), [arXiv:2301.10638](https://arxiv.org/abs/2301.10638) "
        "{cite}`brea2023`.",
    ),
    "blog": (
        "The blog post",
        "Cohen, *Does Gradient Flow Over Neural Networks Really Represent Gradient Descent?* "
        "(2022), [offconvex.org](http://www.offconvex.org/2022/01/06/gf-gd/) {cite}`cohen2022`.",
    ),
    "letter": (
        "The letter",
        "Klausmeier, *Reply to: Neural Network Back-Propagation Revisited with Ordinary "
        "Differential Equations* (30 June 2020), [eklausmeier.goip.de](https://eklausmeier.goip.de"
        "/blog/2020/06-30-reply-to-neural-network-back-propagation-revisited-with-ordinary-"
        "differential-equations) {cite}`klausmeier2020`.",
    ),
    "": ("Theory, other papers, and infflow's own", "Each line names its source."),
}
#: what a source says -> its entry in docs/references.bib
ENTRIES = {
    "paper": "brea2023",
    "blog": "cohen2022",
    "theorem": "elkabetz2021",
    "proposition": "elkabetz2021",
    "letter": "klausmeier2020",
    "Owens and Filkin": "owens1989",
    "Barrett and Dherin": "barrett2021",
    "Saad and Solla": "saad1995",
    "Safran and Shamir": "safran2018",
    "Safran, Yehudai": "safran2020",
    "Arjevani and Field": "arjevani2021",
    "Bahadur": "bahadur1966",
    "Goldt et al.": "goldt2019",
    "Ben Arous": "benarous2021",
    "Yoshida and Okada": "yoshida2019",
    "Lee, Goldt and Saxe": "lee2021",
    "Worschech and Rosenow": "worschech2024",
}
#: what claims of theory speak about -> the entry that derives it
THEORY = {
    "tr(H^+": "vandervaart1998",
    "displacement is -H^+": "vandervaart1998",
    "average": "simsek2023",
    "order parameters": "saad1995",
    "plateau": "saad1995",
}
HEAD = """# Claims and verdicts

{held} of {all} claims held. A claim that could not be measured as stated did not hold. Open a line for what was measured, how it was judged,
and the study with pictures and criteria. `python scripts/make_claims_page.py` makes this page from those of the studies.
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


def citation(source, claim):
    """The source in words, with links to its entries in the references."""
    keys = [key for words, key in ENTRIES.items() if words in source]
    if source == "theory":
        keys = [key for words, key in THEORY.items() if words in claim][:1]
    return f"{source} {{cite}}`{','.join(keys)}`" if keys else source


def together(rows):
    """Rows that differ in the case at the end of the sentence only: (sentence, rows by case)."""
    groups = {}
    for claim, *rest in rows:
        base, case = re.fullmatch(r"(.*?)(?: \(([^()]*)\)|: ([^:]*))?\.", claim).group(1, 2)
        case = case or claim[len(base) + 2 : -1]
        groups.setdefault((base, rest[0], rest[3]), []).append((claim, case, *rest))
    for (base, _, _), cases in groups.items():
        yield cases[0][0] if len(cases) == 1 else base + ".", [each[1:] for each in cases]


def with_powers(sentence):
    """Powers as HTML; the site's texts have theirs from docs/_ext/superscripts.py."""
    sentence = sentence.replace("sqrt(", "\u221a(").replace("grad L", "\u2207L")
    power = r"(?<=[\w)|])\^(?:\(([^()]*(?:\([^()]*\))?[^()]*)\)|(-\([^()]*\)|-?\d+|\+|-?\w))"
    return re.sub(power, lambda found: f"<sup>{found[1] or found[2]}</sup>", sentence)


def line(claim, cases):
    """One claim: verdict and sentence, and folded what was measured."""
    _, source, _, _, link = cases[0]
    held = sum(held == "yes" for _, _, held, _, _ in cases)
    verdict = "held" if held == len(cases) else "<b>not held</b>"
    if len(cases) > 1:
        verdict = (
            f"<b>{held} of {len(cases)} held</b>" if held < len(cases) else f"{held} of {held} held"
        )
    sentence = with_powers(html.escape(claim.replace("\\|", "|"), quote=False))
    body = ["| | measured |", "|---|---|"]
    for case, _, each, measured, _ in cases:
        label = f"{case or ''}{'' if each == 'yes' else ': **not held**'}" if len(cases) > 1 else ""
        body.append(f"| {label} | {measured} |")
    return "\n".join(
        [
            f"<details><summary>{verdict}: {sentence}</summary>",
            "",
            *body,
            "",
            f"Source: {citation(source, claim)}. Page: {link}.",
            "",
            "</details>",
            "",
        ]
    )


def page(folder=STUDIES):
    """The text of the page."""
    rows = [
        (claim, source, held, measured, f"[{path.stem}]({path.name})")
        for path in sorted(folder.glob("*.md"))
        if path.name != PAGE.name
        for claim, source, measured, held in claims(path)
    ]
    rows += [
        (claim, source, held, found, f"[{name}](../{name}.md)")
        for claim, source, held, found, name in ELSEWHERE
    ]
    parts = [HEAD.format(held=sum(row[2] == "yes" for row in rows), all=len(rows))]
    left = list(rows)
    for beginning, (heading, origin) in SOURCES.items():
        chosen = [row for row in left if row[1].startswith(beginning)]
        left = [row for row in left if row not in chosen]
        if not chosen:
            continue
        held = sum(row[2] == "yes" for row in chosen)
        parts.append(f"## {heading}: {held} of {len(chosen)} held\n\n{origin}\n")
        parts += [line(*group) for group in together(chosen)]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE}")
