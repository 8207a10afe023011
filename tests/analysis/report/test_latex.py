"""Tables for a paper: they fit a column at 10 points, and compile where a LaTeX is installed."""

import re
import shutil
import subprocess
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from helpers.simulated import normal
from matplotlib.ft2font import FT2Font

from calib_sweep.analysis.report.write import write_report

COLUMN_PT = 345  # of article at 10 points
GAP_PT = 12  # between two columns of a tabular: twice \tabcolsep
PLAIN = {r"\textless{}": "<", "$-$": "--", r" $\downarrow$": " +", r" $\uparrow$": " +"}


@pytest.fixture
def tables(sweep, undrawn):
    """Tables of four methods on three datasets, with dense, in numbers of common size."""
    told = {"acc/mean": {"chance": 0.25}}
    sweep.add("dense", {"ppl/a@64": 5.12, "acc/x": 0.75, "acc/mean": 0.75}, metrics=told)
    methods, datasets = (
        ("gptq", "magnitude", "sparsegpt", "wanda"),
        ("c4", "slimpajama", "wikitext2"),
    )
    for (m, d, seed), noise in np.ndenumerate(normal("latex", 4, 3, 5)):
        ppl, acc = 11.5 + m + 0.4 * noise, 0.6 - 0.03 * m + 0.01 * noise
        scores = {"ppl/a@64": ppl, "acc/x": acc, "acc/mean": acc}
        sweep.add(methods[m], scores, dataset=datasets[d], seed=seed)
    write_report(sweep.folder)
    return sorted((sweep.folder / "report" / "tables").glob("*.tex"))


def width_pt(tex):
    """The natural width of a tabular in Computer Modern at 10 points."""
    font = FT2Font(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "cmr10.ttf"))
    font.set_size(10, 72)

    def of(cell):
        for latex, plain in PLAIN.items():
            cell = cell.replace(latex, plain)
        cell = re.sub(r"\\textbf\{(.*)\}", r"\1", cell.strip())
        font.set_text(re.sub(r"\\([%_#&])", r"\1", cell))
        return font.get_width_height()[0] / 64

    rows = [line[:-3].split(" & ") for line in tex.splitlines() if line.endswith(r"\\")]
    return sum(max(map(of, column)) for column in zip(*rows, strict=True)) + GAP_PT * (
        len(rows[0]) - 1
    )


def test_the_headline_tables_fit_a_column_of_print(tables):
    widths = {path.stem: width_pt(path.read_text()) for path in tables}
    kinds = (
        "summary",
        "recovery",
        "methods",
        "methods_on",
        "datasets",
        "variance_components",
        "ranking",
    )
    assert {f"{kind}_{word}" for kind in kinds for word in ("accuracy", "perplexity")} <= set(
        widths
    )
    assert {name: width for name, width in widths.items() if width > COLUMN_PT} == {}


def test_what_is_recovered_has_a_table_of_its_own(tables):
    heads = {path.stem: path.read_text().splitlines()[4] for path in tables}
    assert heads["recovery_accuracy"].endswith(r"& n & recovery, \% & above chance, \% \\")
    assert heads["recovery_perplexity"].endswith(r"& n & recovery, \% \\")


def test_each_kind_of_pair_has_a_table_of_its_own(tables):
    heads = {path.stem: path.read_text().splitlines()[4] for path in tables}
    assert heads["methods_accuracy"] == (r"A & B & A $-$ B (95 \%), points & new dataset & p \\")
    assert heads["methods_on_perplexity"] == r"A & B & dataset & A / B (95 \%) & p \\"
    assert heads["datasets_perplexity"] == r"method & A & B & A / B (95 \%) & p \\"
    assert not any(".." in path.read_text() for path in tables)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_the_tables_compile_without_a_word_of_complaint(tables, tmp_path):
    inputs = "\n".join(rf"\input{{{path}}}" + "\n" for path in tables)
    head = "\\documentclass{article}\\usepackage{booktabs,graphicx}\\begin{document}\n"
    (tmp_path / "all.tex").write_text(f"{head}{inputs}\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert "Overfull" not in done.stdout
