"""Numbers and names that docs/analysis.md tells its readers."""

import pkgutil
import re

import numpy as np
import pytest
from helpers.repository import ROOT
from helpers.simulated import SETTINGS, normal, rows_of

from calib_sweep.analysis import inference, tables
from calib_sweep.analysis.inference import intervals
from calib_sweep.analysis.inference.power import noncentrality
from calib_sweep.analysis.tables.tables import Evidence, all_tables

TEXT = (ROOT / "docs" / "analysis.md").read_text(encoding="utf-8")


def section(title):
    return TEXT.split(f"\n## {title}")[1].split("\n## ")[0]


def test_the_example_on_an_own_matrix_prints_what_it_says(capsys):
    text = section("Use the statistics on your own matrix")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (printed,) = re.findall(r"```text\n(.*?)```", text, flags=re.DOTALL)
    exec(code, {})
    assert capsys.readouterr().out == printed


def test_every_file_of_statistics_is_named():
    text = section("Use the statistics on your own matrix")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split(" | ")[0])}
    files = {file.name for file in pkgutil.iter_modules(inference.__path__)}
    assert named == files - {"typed_scipy"}


def test_every_file_that_makes_a_table_is_there():
    rows = re.findall(r"^\| `.*\| (`.*?) \|$", section("The files of numbers"), flags=re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    files = {file.name for file in pkgutil.iter_modules(tables.__path__)}
    assert len(rows) > 10 and named <= files


def test_every_table_is_explained_and_nothing_else():
    named = re.findall(r"^\| (`.*?) \|", section("The files of numbers"), flags=re.MULTILINE)
    told = {name for names in named for name in re.findall(r"`(\w+)`", names)}
    rows = rows_of(0.5 + 0.1 * normal("docs", 2, 2, 3, 2))
    assert told == set(all_tables(rows, Evidence(), SETTINGS)) - {"notes"}


@pytest.mark.parametrize(
    ("claim", "numbers"),
    [
        (
            "between {:.1f} and {:.1f} times",
            lambda: np.array(intervals.sd_interval(np.array(1.0), np.array(5))),
        ),
        (
            "best of 5 lies {:.1f} SDs above the mean, the best of 10 {:.1f}",
            lambda: [normal("best", 100_000, k).max(axis=1).mean() for k in (5, 10)],
        ),
        ("standard error of {:.1f} points", lambda: [100 * np.sqrt(0.65 * 0.35 / 100)]),
        (
            "ten pairs see {:.1f} SD, two samples of ten {:.1f}",
            lambda: noncentrality(np.array([9, 18]), 0.8) * np.sqrt([1 / 10, 2 / 10]),
        ),
        (
            "three seeds see nothing below {:.0f} SDs",
            lambda: noncentrality(np.array([4]), 0.8) * np.sqrt([2 / 3]),
        ),
    ],
)
def test_what_common_practice_hides_is_as_large_as_it_says(claim, numbers):
    assert claim.format(*numbers()) in section("Common practice, and what it hides")


def test_the_table_of_common_practice_can_be_read_at_a_glance():
    lines = section("Common practice, and what it hides").strip().splitlines()
    rows = [line for line in lines if line.startswith("| ")][1:]
    assert len(rows) == 10 and all(line.count(" | ") == 2 for line in rows)
