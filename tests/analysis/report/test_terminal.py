import io
import math
import re

import numpy as np
import pytest
from rich.console import Console

from calib_sweep.analysis import formatting
from calib_sweep.analysis.inference.sample import describe
from calib_sweep.analysis.report.terminal import terminal_summary
from calib_sweep.analysis.report.write import write_report
from calib_sweep.analysis.scores.table import read_rows


def shown(what, *, width=120, title="sweep made_up", seconds=None):
    """The lines that a console of `width` columns prints."""
    console = Console(width=width, file=io.StringIO(), record=True, legacy_windows=False)
    console.print(terminal_summary(what, title=title, seconds=seconds))
    return console.export_text().splitlines()


def test_the_table_is_as_a_person_should_see_it(two_methods, monkeypatch):
    monkeypatch.chdir(two_methods.folder.parent.parent)
    assert shown(two_methods.folder, width=100, seconds=38) == [
        "sweep made_up: 11 cells, 11 done, 0 failed, 38 s",
        " " * 21 + "perplexity (geometric mean of 2 corpora)   accuracy, % (mean of 2 tasks)",
        "method     dataset    mean     SD      min..max  n  vs dense    "
        "mean   SD    min..max  n  vs dense",
        "dense      -         2.000      -             -  1         -    "
        "70.0    -           -  1         -",
        "sparsegpt  web       3.060  0.032  3.020..3.100  5    +1.060    "
        "65.0  1.6  63.0..67.0  5      -5.0",
        "wanda      web       4.060  0.032  4.020..4.100  5    +2.060    "
        "63.0  1.6  61.0..65.0  5      -7.0",
    ]


def test_without_a_report_there_is_a_table_and_no_sentence(two_methods):
    assert shown(read_rows(two_methods.folder)) == shown(two_methods.folder)


@pytest.fixture
def wide_sweep(sweep):
    """Two models, two settings, long names: wider than most terminals."""
    for model in ("Llama-3.1-8B", "opt-6.7b"):
        sweep.add("dense", {"ppl/a@64": 5.0, "acc/x": 0.7, "acc/mean": 0.7}, model=model)
        for seed in range(3):
            for sparsity in (0.5, 0.6):
                scores = {"ppl/a@64": 1234.5 + seed, "acc/x": 0.6, "acc/mean": 0.6 + 0.01 * seed}
                sweep.add(
                    "sparsegpt",
                    scores,
                    model=model,
                    dataset="mini_filtered",
                    seed=seed,
                    settings={"method.sparsity": sparsity},
                )
    return sweep


@pytest.mark.parametrize("width", [120, 100, 80])
def test_numbers_are_whole_and_stay_on_their_line(wide_sweep, width):
    lines = shown(wide_sweep.folder, width=width)
    assert max(map(len, lines)) <= width
    rows = [line for line in lines if "1234.5..1236.5" in line]
    assert len(rows) == 4
    for row in rows:
        assert {"1235.5", "1.00", "3", "+1230.5"} <= set(row.split())
    assert sum("60.0..62.0" in line for line in lines) == 4
    assert sum(" -9.0" in line for line in lines) == 4


def test_model_and_settings_are_columns_only_where_they_differ(wide_sweep, two_methods):
    header = next(line for line in shown(wide_sweep.folder) if "method" in line)
    assert header.split()[:4] == ["model", "method", "dataset", "sparsity"]


def test_one_setting_for_all_is_no_column(sweep):
    settings = {"method.sparsity": 0.5}
    sweep.add("wanda", {"acc/mean": 0.5}, dataset="d", seed=0, settings=settings)
    assert "sparsity" not in "".join(shown(sweep.folder))


def test_failed_cells_are_listed_with_the_first_line_of_their_error(two_methods):
    error = {"type": "RuntimeError", "message": "[no] Cholesky\nsecond line", "where": ""}
    settings = {"method.sparsity": 0.9}
    two_methods.add(
        "wanda", {}, dataset="web", seed=7, status="failed", error=error, settings=settings
    )
    lines = shown(two_methods.folder)
    assert lines[0] == "sweep made_up: 12 cells, 11 done, 1 failed"
    (failed,) = [line for line in lines if line.startswith("failed:")]
    assert failed == (
        "failed: tiny wanda web seed 7 method.sparsity=0.9: RuntimeError: [no] Cholesky"
    )


def test_a_sweep_with_nothing_but_failures_has_a_title_and_a_list(sweep):
    sweep.add("dense", {}, status="failed", error={"type": "OSError", "message": ""})
    lines = shown(sweep.folder)
    assert lines[0] == "sweep made_up: 1 cell, 0 done, 1 failed"
    assert lines[1] == "failed: tiny dense: OSError: no message"


def test_only_what_was_scored_has_a_column_group(sweep):
    sweep.add("wanda", {"ppl/wikitext2@2048": 5.0}, dataset="d", seed=0)
    text = "\n".join(shown(sweep.folder))
    assert "perplexity (wikitext2@2048)" in text
    assert "accuracy" not in text


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (3.14159, 2, "3.14"),
        (12345.678, 4, "12346"),
        (312.456, 3, "312.46"),
        (2.5e6, 3, "2.50e+06"),
        (math.inf, 2, "inf"),
        (math.nan, 2, "nan"),
    ],
)
def test_numbers_have_no_more_digits_than_they_can_bear(value, decimals, text):
    assert formatting.number(value, decimals) == text


def test_an_sd_of_zero_is_told_from_a_small_one_and_from_an_undefined_one():
    assert formatting.sd_text(0.0, 3, 2) == "0"
    assert formatting.sd_text(1e-9, 3, 2) == "<0.01"
    assert formatting.sd_text(math.nan, 1, 2) == "-"


def test_decimals_follow_the_median_sd_within_limits():
    def of(*sds):
        return [describe(np.array([5.0, 5.0 + sd * math.sqrt(2)])) for sd in sds]

    assert formatting.decimals("ppl/geomean", of(0.017, 0.019)) == 3
    assert formatting.decimals("ppl/geomean", of(1e-9)) == 4
    assert formatting.decimals("ppl/geomean", []) == 2
    assert formatting.decimals("acc/mean", of(0.013)) == 1
    assert formatting.decimals("acc/mean", of(0.002)) == 2


def test_seconds_are_said_as_people_do():
    said = [formatting.duration(seconds) for seconds in (1.24, 38.2, 125, 3780)]
    assert said == ["1.2 s", "38 s", "2 min 5 s", "1 h 3 min"]


def test_after_the_report_the_terminal_says_its_conclusion(two_methods, undrawn):
    write_report(two_methods.folder)
    lines = shown(two_methods.folder, width=300)
    said = [line for line in lines if line[:1].isalpha()]
    starts = [
        "Perplexity of sparsegpt moves by (SD): 1.0 %",
        "Perplexity of wanda moves by (SD)",
        "With the draw sparsegpt moves 1.33 times as far as wanda in perplexity",
        "Accuracy of sparsegpt moves by (SD): 1.6 points",
        "Accuracy of wanda moves by (SD)",
        "How far the draw moves",
        "sparsegpt beats wanda on web: x0.75",
    ]
    first = next(i for i, line in enumerate(said) if line.startswith(starts[0]))
    told = said[first:]
    assert [t[: len(s)] for t, s in zip(told, starts, strict=False)] == starts
    assert "In accuracy sparsegpt and wanda cannot be told apart on web (95 % -1.9..5.9" in told[6]
    claimed = "Of sweeps in which nothing differs, at most 5 % would make any such claim."
    assert claimed in told and lines[-1].startswith("report:")


def test_sentences_are_wrapped_with_numbers_and_units_on_one_line(two_methods, undrawn):
    write_report(two_methods.folder)
    lines = shown(two_methods.folder, width=60)
    assert max(map(len, lines)) <= 60
    assert not any(re.match(r" *(%|points?)\b", line) or line.endswith(" 95") for line in lines)
    assert any(line.startswith("  ") and "95 %" in line for line in lines)
