"""Text that others typed computes nothing in a spreadsheet and commands no terminal."""

import csv
import io
import json

import pandas as pd
import pyarrow as pa
import pytest
from rich.console import Console

from calib_sweep.analysis.report.document import Paragraph, to_markdown
from calib_sweep.analysis.report.terminal import terminal_summary
from calib_sweep.analysis.report.write import write_report
from calib_sweep.analysis.scores.sidecars import unfit
from calib_sweep.analysis.tables.spreadsheet import as_data, frame_csv, rows_csv

FORMULAS = ["=1+cmd|'/C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1"]
RED = "\x1b[31m"


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_that_a_spreadsheet_would_compute_gets_an_apostrophe(text):
    assert as_data(text).startswith("'")
    assert frame_csv(pd.DataFrame({"why": [text]})).splitlines()[1].lstrip(b'"').startswith(b"'")


def test_numbers_and_ordinary_text_stay_as_they_are():
    for cell in ("-1", "+1.5e-3", "-inf", "a=b", "", "wanda", -1, None, 0.5):
        assert as_data(cell) == cell
    frame = pd.DataFrame({"seed": ["-1", "", 3], "value": [-1.0, 0.1 + 0.2, float("nan")]})
    assert frame_csv(frame) == b"seed,value\n-1,-1\n,0.3\n3,\n"
    assert rows_csv([["hash", "=1"], ["a,b", "2"]]) == b'hash,\'=1\n"a,b",2\n'


def test_control_characters_of_a_record_reach_no_file_and_no_terminal(sweep):
    error = {"type": "E", "message": f"{RED}gone\x07 [click](http://example.com)", "where": ""}
    for seed in range(3):
        scores = {"ppl/a@64": 2.0 + seed / 100, f"acc/{RED}x": 0.5 + seed / 100}
        sweep.add("wanda", scores, dataset=f"{RED}web", seed=seed)
        sweep.add(f"=1+cmd{RED}", scores, dataset=f"{RED}web", seed=seed)
    sweep.add("wanda", {}, dataset="web", seed=7, status="failed", error=error)
    (sweep.folder / f"{RED}unreadable").mkdir()
    (sweep.folder / f"{RED}unreadable" / "record.json").write_text("{")
    write_report(sweep.folder)
    console = Console(file=io.StringIO(), width=200)
    console.print(terminal_summary(sweep.folder, title=f"sweep {RED}"))
    written = {
        p.name: p.read_text() for p in (sweep.folder / "report").rglob("*.*") if p.suffix != ".png"
    }
    written["terminal"] = console.file.getvalue()
    assert [name for name, text in written.items() if "\x1b" in text or "\x07" in text] == []
    assert "\\x1b[31mgone\\x07" in written["terminal"] and "\\x1b[31mgone" in written["index.html"]
    assert "\\[click](http" in written["report.md"]
    (cell, *_) = [
        row for row in csv.DictReader(io.StringIO(written["summary.csv"])) if "cmd" in row["method"]
    ]
    assert cell["method"].startswith("'=1+cmd")


def test_brackets_make_no_links_in_markdown():
    assert to_markdown([Paragraph("[a](http://b)")]) == "\\[a](http://b)\n"


def test_a_damaged_conclusion_leaves_the_terminal_its_table(two_methods, undrawn):
    write_report(two_methods.folder)
    path = two_methods.folder / "report" / "conclusion.json"
    for damaged in ("{", json.dumps({"a": 1}), json.dumps([1])):
        path.write_text(damaged)
        console = Console(file=io.StringIO(), width=200)
        console.print(terminal_summary(two_methods.folder, title="sweep"))
        assert "3.020..3.100" in console.file.getvalue()
        assert "beats" not in console.file.getvalue()


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("name", [1, 2]),
        ("item", ["a", "b"]),
        ("item", [0, None]),
        ("correct", ["yes", "no"]),
        ("nll", [[1.0], [2.0]]),
    ],
)
def test_a_column_of_items_of_another_type_is_named(column, values):
    good = {"kind": ["task"] * 2, "name": ["x"] * 2, "item": [0, 1], "correct": [1.0, None]}
    assert unfit(pa.table(good)) is None
    assert f"as {column}" in unfit(pa.table({**good, column: values}))


def test_the_report_goes_on_without_items_of_another_type(two_methods, undrawn):
    (folder, *_) = sorted(two_methods.folder.glob("*wanda*"))
    odd = {"kind": ["task"], "name": ["x"], "item": ["first"], "correct": [1.0]}
    pd.DataFrame(odd).to_parquet(folder / "items.parquet")
    write_report(two_methods.folder)
    said = json.loads((two_methods.folder / "report" / "conclusion.json").read_text())
    assert any("items.parquet has" in sentence and folder.name in sentence for sentence in said)
