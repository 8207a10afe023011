"""Cells whose scores cannot be true: refused by name, the others reported."""

import io
import math

import pytest
from rich.console import Console

from calib_sweep.analysis.report.opened import Report
from calib_sweep.analysis.report.terminal import terminal_summary
from calib_sweep.analysis.report.write import require_records, write_report
from calib_sweep.analysis.scores.table import read_cells, read_rows
from calib_sweep.analysis.settings import read_settings
from calib_sweep.errors import ConfigError

pytestmark = pytest.mark.usefixtures("undrawn")


def refused(folder, declared=None):
    cells = read_cells(folder, declared or {})
    told = {c["cell_id"]: c["error"]["message"] for c in cells if c["status"] == "refused"}
    assert all(why.startswith("refused: ") for why in told.values())
    return {cell_id: why.removeprefix("refused: ") for cell_id, why in told.items()}


def test_a_method_in_percent_beside_one_in_fractions_is_refused_and_the_other_told(sweep):
    for seed in range(5):
        sweep.add("wanda", {"acc/mean": 0.60 + 0.01 * seed}, dataset="web", seed=seed)
        sweep.add("gptq", {"acc/mean": 61.0 + seed}, dataset="web", seed=seed)
    found = refused(sweep.folder)
    assert len(found) == 5 and all("gptq" in name for name in found)
    assert set(found.values()) >= {"acc/mean is 61, expected 0 to 1, a fraction: is it in percent?"}
    rows = read_rows(sweep.folder)
    assert {row["method"] for row in rows if row["metric"]} == {"wanda"}
    assert {row["status"] for row in rows if row["method"] == "gptq"} == {"refused"}
    write_report(sweep.folder)
    page = (sweep.folder / "report" / "report.md").read_text()
    assert "gptq web" in page and "is it in percent?" in page
    report = Report.of(sweep.folder)
    assert report.count.done == 5 and report.count.failed == 5
    assert list(report.tables["summary"]["method"]) == ["wanda"]
    assert set(report.tables["missing"]["status"]) == {"refused"}


@pytest.mark.parametrize("value", [0.0, -3.0, 0.5])
def test_a_perplexity_below_one_wins_against_nobody(two_methods, value):
    two_methods.add("magnitude", {"ppl/a@64": value, "ppl/b@64": 4.0}, dataset="web", seed=0)
    (why,) = refused(two_methods.folder).values()
    assert why == f"ppl/a@64 is {value:g}, expected 1 or more"
    assert "magnitude" not in {
        row["method"] for row in read_rows(two_methods.folder) if row["metric"]
    }


def test_many_flaws_of_a_cell_are_told_in_short(sweep):
    sweep.add("wanda", {f"acc/{task}": 50.0 for task in "abcde"}, dataset="web", seed=0)
    (why,) = refused(sweep.folder).values()
    assert why.count("expected") == 3 and why.endswith("; and 2 more")


def test_a_diverged_cell_is_not_refused(sweep):
    sweep.add("wanda", {"ppl/a@64": "Infinity", "ppl/b@64": None}, dataset="web", seed=0)
    sweep.add("wanda", {"ppl/a@64": 1e9}, dataset="web", seed=1)
    assert refused(sweep.folder) == {}


def test_a_sweep_in_percent_says_what_to_type(sweep):
    for seed in range(3):
        sweep.add("wanda", {"acc/x": 60.0 + seed}, dataset="web", seed=seed)
    with pytest.raises(ConfigError) as error:
        require_records(sweep.folder)
    assert "all 3 cells are refused" in str(error.value)
    assert (
        f"python -m calib_sweep import {sweep.folder} {sweep.folder}_in_fractions --percent"
        in str(error.value)
    )


def test_a_range_that_is_configured_counts(sweep):
    sweep.add("wanda", {"acc/mean": 60.0}, dataset="web", seed=0)
    settings = read_settings(["analysis.metrics={acc: {high: 100, scale: plain, unit: points}}"])
    assert refused(sweep.folder, settings.metrics) == {}
    report = Report.of(sweep.folder, settings)
    assert report.tables["summary"]["mean"].tolist() == [60.0]
    assert "60.000" in report.printed("summary_accuracy").markdown


def test_directions_come_with_the_records_and_one_that_disagrees_is_refused(sweep):
    told = {"rouge": {"direction": 1}}
    for seed in range(4):
        for method, value in (("gptq", 3.0), ("wanda", 2.0)):
            own = told if seed < 3 or method == "gptq" else {"rouge": {"direction": -1}}
            score = {"rouge": value + 0.1 * (seed % 2) * (method == "gptq")}
            sweep.add(method, score, dataset="web", seed=seed, metrics=own)
    (name,) = (refused(sweep.folder)).items()
    assert name[1] == "rouge has direction -1, and 1 in other records"
    found = Report.of(sweep.folder).tables["comparisons"].set_index("dataset").loc["web"]
    assert found["verdict"] == "a better" and found["a"] == "gptq"
    assert math.isclose(found["prob_better"], 1.0)
    assert refused(sweep.folder, {"rouge": {"direction": 1}}) == {}


def test_a_direction_that_is_no_direction_is_refused(sweep):
    wrong = {"rouge": {"direction": "NaN"}}
    sweep.add("gptq", {"rouge": 1.0}, dataset="web", seed=0, metrics=wrong)
    (why,) = refused(sweep.folder).values()
    assert why.startswith("metrics.rouge.direction='NaN': expected 1 (more is better)")


def test_a_score_is_made_a_headline_by_name(sweep):
    for seed in range(5):
        for method, value in (("gptq", 30.0), ("wanda", 20.0)):
            score = {"bleu/wmt": value + seed + 0.3 * (seed % 2) * (method == "gptq")}
            sweep.add(method, score, dataset="web", seed=seed)
    (said,) = Report.of(sweep.folder).conclusion
    assert "'analysis.metrics={bleu: {headline: true}}'" in said
    settings = read_settings(["analysis.metrics={bleu: {headline: true}}"])
    report = Report.of(sweep.folder, settings)
    assert report.printed("summary_BLEU_wmt").markdown
    assert "gptq beats wanda" in " ".join(report.conclusion), report.conclusion
    assert report.conclusion[0].startswith("BLEU (wmt) of gptq moves by")
    write_report(sweep.folder, settings)
    console = Console(width=120, record=True, file=io.StringIO())
    shown = terminal_summary(sweep.folder, title="made up", declared=settings.metrics)
    console.print(shown)
    assert "BLEU (wmt)" in console.export_text()
