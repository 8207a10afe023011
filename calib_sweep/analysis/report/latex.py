"""A table as LaTeX, ready for a paper: booktabs, directions and units in the headings.

    \\usepackage{booktabs,graphicx}
    \\begin{table}\\caption{...}\\input{report/tables/summary_accuracy}\\end{table}

A table wider than the line is made as wide as the line (graphicx), in one column or in two.

At 10 points the headline tables fit a column of 345 pt (article) with names of common length.

The best value of a model is bold. Intervals stand after their value, in brackets.
"""

import re

from calib_sweep.analysis.report.document import Table

# What LaTeX would take for its own. "-" alone is an empty place, "+1" and "-1" are numbers.
SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
}
ARROWS = {1: r" $\uparrow$", -1: r" $\downarrow$", 0: ""}
FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
NEGATIVE = re.compile(r"(?<![\w.)-])-(?=\d|inf)")
# "(0.4..0.6)" after a number, or the two ends alone.
INTERVAL = re.compile(r"\(?(?P<low>[^\s()]+?)\.\.(?P<high>[^\s()]+)\)?")


def escaped(text: str) -> str:
    """Return `text` as LaTeX prints it, character by character."""
    return "".join(SPECIAL.get(character, character) for character in text)


def to_latex(table: Table, title: str, *, direction: int = 0) -> str:
    """Write `table` as a tabular; `direction` of its first numbers: +1 more is better."""
    kinds = "l" * table.num_names + "r" * (len(table.header) - table.num_names)
    heads = [escaped(heading).replace(" - ", " $-$ ") for heading in table.header]
    if table.num_names < len(heads):
        heads[table.num_names] += ARROWS[direction]
    lines = [
        f"% {' '.join(title.split())}",
        FIT,
        f"\\begin{{tabular}}{{@{{}}{kinds}@{{}}}}",
        "\\toprule",
    ]
    lines += [f"{' & '.join(heads)} \\\\", "\\midrule"]
    for r, row in enumerate(table.rows):
        cells = [_cell(table, text, r, c) for c, text in enumerate(row)]
        lines.append(f"{' & '.join(cells)} \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}%", "}", ""])


def _cell(table: Table, text: str, r: int, c: int) -> str:
    if text == "-":
        return "--"
    shown = " ".join(text.split())
    is_number = c >= table.num_names
    shown = escaped(INTERVAL.sub(r"[\g<low>, \g<high>]", shown) if is_number else shown)
    shown = NEGATIVE.sub(r"$-$", shown) if is_number else shown
    return rf"\textbf{{{shown}}}" if (r, c) in table.best else shown
