import json
import math
import subprocess
import sys

import numpy as np
import pytest
from helpers.repository import ROOT

from calib_sweep.analysis.report.write import write_report
from calib_sweep.analysis.scores.table import UNNAMED, read_rows, read_table, settings_of
from calib_sweep.analysis.tables.controls import count_cells

ANALYSIS = ROOT / "calib_sweep" / "analysis"


def one(rows, **wanted):
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    assert len(found) == 1, (wanted, found)
    return found[0]


def test_a_record_of_four_fields_is_enough(sweep):
    record = {"schema": 1, "status": "done", "cell": {"model": "m", "method": "gptq"}}
    sweep.write("from_elsewhere", record | {"scores": {"ppl/wikitext2@2048": 5.5}})
    row = one(read_rows(sweep.folder), metric="ppl/wikitext2@2048")
    assert (row["model"], row["method"], row["value"]) == ("m", "gptq", 5.5)
    assert (row["dataset"], row["seed"], row["replicate"]) == (None, None, 0)
    assert (row["settings"], row["cell_id"], row["status"]) == ("", "from_elsewhere", "done")


def test_perplexity_over_corpora_is_their_geometric_mean_in_each_cell(sweep):
    sweep.add(
        "dense", {"ppl/a@64": 2.0, "ppl/b@64": 8.0, "acc/mean": 0.5}, stderr={"ppl/a@64": 0.1}
    )
    rows = read_rows(sweep.folder)
    assert one(rows, metric="ppl/geomean")["value"] == pytest.approx(4.0)
    assert math.isnan(one(rows, metric="ppl/geomean")["stderr"])
    assert one(rows, metric="ppl/a@64")["stderr"] == 0.1


def test_the_error_of_a_geometric_mean_is_that_of_independent_corpora(sweep):
    """2 +- 2 % and 8 +- 1.5 %: the mean of their logarithms has half of 2.5 %."""
    errors = {"ppl/a@64": 0.04, "ppl/b@64": 0.12}
    sweep.add("dense", {"ppl/a@64": 2.0, "ppl/b@64": 8.0}, stderr=errors)
    row = one(read_rows(sweep.folder), metric="ppl/geomean")
    assert row["stderr"] == pytest.approx(4.0 * 0.025 / 2)


def test_accuracy_over_tasks_is_their_mean_where_a_cell_has_none(sweep):
    scores = {"acc/a": 0.4, "acc_norm/a": 0.9, "acc_norm/b": 0.8, "flips/a": 0.1}
    sweep.add("dense", scores, stderr={"acc/a": 0.03, "acc_norm/b": 0.04})
    row = one(read_rows(sweep.folder), metric="acc/mean")
    assert row["value"] == pytest.approx(0.6)
    assert row["stderr"] == pytest.approx(0.05 / 2)


def test_tasks_that_were_left_out_of_the_mean_on_purpose_stay_out(sweep):
    config = {"evaluation": {"zero_shot": {"tasks": ["a"], "headline": {"a": None}}}}
    sweep.add("dense", {"acc/a": 0.4}, config=config)
    assert {row["metric"] for row in read_rows(sweep.folder)} == {"acc/a"}


def test_no_mean_is_made_over_tasks_that_other_cells_of_the_model_were_not_scored_on(sweep):
    sweep.add("wanda", {"acc/a": 0.4, "acc/b": 0.8}, dataset="d", seed=0)
    sweep.add("gptq", {"acc/a": 0.4}, dataset="d", seed=0)
    assert {row["metric"] for row in read_rows(sweep.folder)} == {"acc/a", "acc/b"}


def test_a_recorded_mean_accuracy_is_kept_and_has_no_error_of_other_tasks(sweep):
    sweep.add("dense", {"acc/a": 0.4, "acc/mean": 0.7}, stderr={"acc/a": 0.03})
    row = one(read_rows(sweep.folder), metric="acc/mean")
    assert row["value"] == 0.7
    assert math.isnan(row["stderr"])


def test_a_cell_with_a_seed_and_no_dataset_read_data_that_has_no_name(sweep):
    """Scores from elsewhere: not one of the methods whose one value stands for every seed."""
    for seed in range(2):
        sweep.add("wanda", {"acc/mean": 0.5 + seed / 10}, seed=seed)
        sweep.add("dense", {"acc/mean": 0.9}, seed=seed)
    rows = read_rows(sweep.folder)
    assert {(r["method"], r["dataset"]) for r in rows} == {("wanda", UNNAMED), ("dense", None)}


def test_an_empty_name_of_a_dataset_is_none(sweep):
    cell = {"model": "m", "method": "rtn", "dataset": ""}
    sweep.write("rtn", {"schema": 1, "status": "done", "scores": {"acc/x": 0.5}, "cell": cell})
    assert one(read_rows(sweep.folder), metric="acc/x")["dataset"] is None


def test_an_infinite_perplexity_is_kept_and_a_missing_score_is_no_number(sweep):
    sweep.add("wanda", {"ppl/a@64": math.inf, "ppl/b@64": 2.0, "acc/x": None}, dataset="d", seed=0)
    rows = read_rows(sweep.folder)
    assert one(rows, metric="ppl/geomean")["value"] == math.inf
    assert math.isnan(one(rows, metric="acc/x")["value"])


def test_failed_damaged_and_unfinished_cells_are_rows_without_a_metric(sweep):
    error = {"type": "RuntimeError", "message": "no Cholesky\nblock 1", "where": "..."}
    sweep.add("wanda", {}, dataset="d", seed=3, status="failed", error=error)
    damaged = sweep.add("wanda", {"acc/mean": 0.5}, dataset="d", seed=4)
    damaged.write_text(damaged.read_text()[:40])
    (sweep.folder / "set_aside").mkdir()
    (sweep.folder / "set_aside" / "record.broken-1234.json").write_text("{")
    (sweep.folder / "running").mkdir()
    (sweep.folder / "running" / "config.yaml").touch()
    (sweep.folder / "report").mkdir()
    rows = read_rows(sweep.folder)
    assert [row["metric"] for row in rows] == [None] * 4
    failed = one(rows, status="failed")
    assert (failed["seed"], failed["error"]) == (3, "RuntimeError: no Cholesky")
    unreadable = {row["cell_id"]: row["error"] for row in rows if row["status"] == "unreadable"}
    assert "record.json is damaged: it is no JSON" in unreadable[damaged.parent.name]
    assert unreadable["set_aside"] == "damaged record, set aside: record.broken-1234.json"
    assert one(rows, status="unfinished")["cell_id"] == "running"
    assert damaged.exists()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"schema": 99}, "made by a newer calib_sweep (schema 99, this version reads 1)"),
        ({"cell": {"model": "m"}}, "it has no cell.method"),
        (
            {"cell": {"model": "m", "method": "wanda", "seed": "0"}},
            'its cell.seed is "0", expected a whole number or null',
        ),
        ({"scores": {"acc/mean": "high"}}, "a number or null by name"),
        ({"scores": [1.0]}, "its scores is [1.0], expected a number or null by name"),
    ],
)
def test_a_record_of_another_shape_is_unreadable_and_says_why(sweep, change, why):
    cell = {"model": "m", "method": "wanda", "dataset": "d", "seed": 0}
    record = {"schema": 1, "status": "done", "cell": cell, "scores": {"acc/mean": 0.5}}
    sweep.write("cell", record | change)
    (row,) = read_rows(sweep.folder)
    assert row["status"] == "unreadable"
    assert why in row["error"]


def test_a_failed_cell_that_was_scored_has_no_scores_in_any_table(sweep):
    error = {"type": "OSError", "message": "No space left on device"}
    at = {"dataset": "d", "seed": 0}
    for seed in range(3):
        sweep.add("wanda", {"acc/mean": 0.5}, dataset="d", seed=seed)
    sweep.add("gptq", {"acc/mean": 0.9}, **at, status="failed", error=error)
    rows = read_rows(sweep.folder)
    row = one(rows, method="gptq")
    assert (row["metric"], row["status"]) == (None, "failed") and np.isnan(row["value"])
    assert row["error"] == "OSError: No space left on device"
    count = count_cells(rows)
    assert (count.total, count.done, count.failed) == (4, 3, 1)
    write_report(sweep.folder)
    tables = sweep.folder / "report" / "tables"
    assert "gptq" not in (tables / "summary.csv").read_text()
    assert "gptq,d,0,failed,OSError: No space" in (tables / "missing.csv").read_text()


def test_settings_are_columns_and_a_default_equals_the_same_value_typed(sweep):
    for seed, (typed, sparsity) in enumerate([({}, 0.5), ({"method.sparsity": 0.5}, 0.5)]):
        config = {"method": {"sparsity": sparsity}, "model": {"device": f"cuda:{seed}"}}
        sweep.add("wanda", {"acc/mean": 0.5}, dataset="d", seed=seed, settings=typed, config=config)
    rows = read_rows(sweep.folder)
    assert [row["settings"] for row in rows] == ["method.sparsity=0.5"] * 2
    assert [settings_of(row) for row in rows] == [{"method.sparsity": 0.5}] * 2


def test_cells_of_one_name_are_told_apart_by_what_differs_in_their_configuration(sweep):
    for path in ("a/notes.txt", "b/notes.txt"):
        config = {"dataset": {"path": path, "name": "notes"}}
        sweep.add("wanda", {"acc/mean": 0.5}, dataset="notes", seed=0, config=config)
    rows = read_rows(sweep.folder)
    assert [row["settings"] for row in rows] == [
        "dataset.path=a/notes.txt",
        "dataset.path=b/notes.txt",
    ]
    assert {row["status"] for row in rows} == {"done"}


def test_a_selector_is_one_column_and_its_settings_are_columns_where_they_differ(sweep):
    """A band has ends, others have none: that does not tell cells apart beyond the name."""
    selectors = [
        None,
        {"_target_": "a.Zipf", "name": "zipf", "pool_size": 64},
        {"_target_": "a.Band", "name": "length", "pool_size": 64, "low": 0.5},
    ]

    def add(selector, **settings):
        dataset = {"_target_": "a.Text", "name": "web"}
        config = {"dataset": dataset if selector is None else {**dataset, "selector": selector}}
        sweep.add("wanda", {"acc/a": 0.5}, dataset="web", seed=0, config=config, settings=settings)

    for selector in selectors:
        add(selector)
    columns = {str(settings_of(row)) for row in read_rows(sweep.folder)}
    assert columns == {str({"dataset.selector": name}) for name in (None, "zipf", "length")}
    add({**selectors[1], "pool_size": 128}, **{"dataset.selector": "zipf"})
    named = {row["settings"] for row in read_rows(sweep.folder)}
    assert named == {
        "dataset.selector=null",
        "dataset.selector=zipf dataset.selector.pool_size=64",
        "dataset.selector=zipf dataset.selector.pool_size=128",
        "dataset.selector=length dataset.selector.pool_size=64",
    }


def test_what_generated_text_goes_on_from_is_one_column_of_names(sweep):
    def add(dataset):
        config, name = {"dataset": dataset}, dataset["name"]
        sweep.add("wanda", {"acc/a": 0.5}, dataset=name, seed=0, config=config)

    add({"_target_": "a.Text", "name": "other"})
    for domain in ("web", "wiki"):
        prefix = {"_target_": "a.Text", "name": f"mini_{domain}", "domain": domain}
        add({"_target_": "a.Written", "name": "continued", "prefix": prefix})
        columns = {str(settings_of(row)) for row in read_rows(sweep.folder)}
        assert ("dataset.prefix" in str(columns)) == (domain == "wiki")  # one is no column
    names = [{"dataset.prefix": name} for name in ("mini_web", "mini_wiki")]
    assert columns == {str(settings) for settings in [*names, {}]}


def test_two_selectors_of_one_name_are_not_pooled(sweep):
    """A class of one's own beside a copy of zipf.yaml whose name was left as it is."""
    for kind in ("a.Zipf", "mine.Own"):
        selector = {"_target_": kind, "name": "zipf", "pool_size": 64}
        config = {"dataset": {"_target_": "a.Text", "name": "web", "selector": selector}}
        sweep.add("wanda", {"acc/a": 0.5}, dataset="web", seed=0, config=config)
    rows = read_rows(sweep.folder)
    assert {row["status"] for row in rows} == {"done"}
    assert {settings_of(row)["dataset.selector._target_"] for row in rows} == {"a.Zipf", "mine.Own"}


def test_settings_that_cannot_move_a_cell_are_not_its_settings(sweep):
    typed = {"calibration.num_samples": 8, "method.sparsity": 0.6, "evaluation.batch_size": 4}
    sweep.add("magnitude", {"acc/mean": 0.4}, settings=typed)
    sweep.add("wanda", {"acc/mean": 0.4}, dataset="d", seed=0, settings=typed)
    sweep.add("dense", {"acc/mean": 0.5}, settings={"method.sparsity": 0.6})
    settings = {row["method"]: row["settings"] for row in read_rows(sweep.folder)}
    assert settings["magnitude"] == "method.sparsity=0.6"
    assert settings["wanda"] == "calibration.num_samples=8 method.sparsity=0.6"
    assert settings["dense"] == ""


def test_of_two_cells_nothing_tells_apart_the_later_counts_and_the_other_is_named(sweep):
    at = {"finished_at": "2026-01-02"}, {"finished_at": "2026-01-01"}
    later = sweep.add("wanda", {"acc/mean": 0.6}, dataset="d", seed=0, **at[0])
    sweep.add("wanda", {"acc/mean": 0.5}, dataset="d", seed=0, **at[1])
    status = {row["cell_id"]: row["status"] for row in read_rows(sweep.folder)}
    assert status.pop(later.parent.name) == "done"
    assert list(status.values()) == ["superseded"]


def test_the_table_has_typed_columns_and_missing_settings(two_methods):
    two_methods.add("rtn", {"acc/mean": 0.4}, settings={"method.bits": 4})
    table = read_table(two_methods.folder)
    assert list(table.columns[:6]) == [
        "model",
        "method",
        "dataset",
        "seed",
        "replicate",
        "method.bits",
    ]
    assert str(table["seed"].dtype) == "Int64"
    wanda = table[(table["method"] == "wanda") & (table["metric"] == "ppl/a@64")]
    assert sorted(wanda["value"]) == pytest.approx([2.01, 2.02, 2.03, 2.04, 2.05])
    assert table[table["method"] == "rtn"]["seed"].isna().all()
    assert table["method.bits"].notna().sum() == 1
    assert np.isfinite(table["value"]).all()


def test_analysis_needs_no_torch_and_the_end_of_a_sweep_no_pandas_nor_matplotlib(two_methods):
    files = sorted(ANALYSIS.rglob("[a-z]*.py"))
    names = [path.relative_to(ANALYSIS).with_suffix("").as_posix() for path in files]
    modules = [f"calib_sweep.analysis.{name.replace('/', '.')}" for name in names]
    code = f"""
import sys, io, json
from rich.console import Console
from calib_sweep.analysis.report.write import is_current
from calib_sweep.analysis.report.terminal import terminal_summary
is_current({str(two_methods.folder)!r})
Console(file=io.StringIO()).print(terminal_summary({str(two_methods.folder)!r}, title="sweep"))
early = [m for m in ("torch", "pandas", "matplotlib", "scipy") if m in sys.modules]
for module in {modules!r}:
    __import__(module)
late = [m for m in ("torch", "transformers", "datasets") if m in sys.modules]
print(json.dumps([early, late]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[], []]
    assert len(modules) >= 40
