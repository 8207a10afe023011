"""What was compared: zeros, bits, seconds and memory of each method, and whether they are alike."""

import math

import pytest

import calib_sweep
from calib_sweep.analysis.report import compared
from calib_sweep.analysis.report.opened import Report
from calib_sweep.analysis.report.write import write_report
from calib_sweep.analysis.tables.compared import unlike

GIB = 2**30


def add(sweep, method, seed, *, sparsity, bits, seconds=2.0, memory=1.0, removed=None, **settings):
    note = {"sparsity": sparsity, "bits": bits, "num_weights": 10, "seconds": seconds}
    note |= {} if removed is None else {"removed": removed}
    sweep.add(
        method,
        {"acc/mean": 0.5 + 0.01 * seed},
        dataset="web",
        seed=seed,
        compression=note,
        timings_s={"load": 1.0, "compress": seconds, "evaluate": 3.0},
        peak_memory_bytes=memory * GIB,
        environment={"device": "NVIDIA H100", "processor": "x"},
        config={
            "method": {"_target_": "a.b", "group_size": None, **settings},
            "calibration": {"num_samples": 128, "seq_len": 2048},
        },
    )


@pytest.fixture
def three(sweep):
    """Five cells each of gptq and rtn in four bits, and sparsegpt at half zeros."""
    for seed in range(5):
        add(sweep, "gptq", seed, sparsity=0.001, bits=4.25, seconds=10.0 + seed, memory=seed)
        add(sweep, "rtn", seed, sparsity=0.002, bits=4.25, num_bits=4)
        add(sweep, "sparsegpt", seed, sparsity=0.5, bits=None, sparsity_asked=0.5)
    return sweep


def test_each_method_has_what_was_counted_and_what_it_took(three):
    table = Report.of(three.folder).tables["compared"].set_index("method")
    gptq = table.loc["gptq"]
    assert (gptq["cells"], gptq["bits"], gptq["compress_s"]) == (5, 4.25, 12.0)
    assert (gptq["total_s"], gptq["peak_memory_gib"]) == (16.0, 4.0)
    assert gptq["device"] == "NVIDIA H100" and gptq["calibration"] == "128 x 2048 tokens"
    assert table.loc["rtn", "settings"] == "num_bits=4"
    assert math.isnan(table.loc["sparsegpt", "bits"])


def test_methods_that_were_not_compressed_alike_are_told_where_they_are_ranked(three):
    report = Report.of(three.folder)
    said = (
        "The methods were not compressed alike: gptq and rtn have 4.25 bits per weight; "
        "sparsegpt has 50.0 % zeros."
    )
    assert said in report.conclusion
    only = report.tables["compared"].query("method != 'sparsegpt'")
    assert unlike(only, "tiny") == {} and list(compared.sentences(only, "tiny")) == []


@pytest.mark.parametrize(
    ("sparsity", "bits", "alike"),
    [(0.5, 4.0, True), (0.504, 4.04, True), (0.51, 4.0, False), (0.5, 3.0, False)],
)
def test_half_a_point_of_zeros_is_alike_and_a_bit_is_not(sweep, sparsity, bits, alike):
    add(sweep, "a", 0, sparsity=0.5, bits=4.0)
    add(sweep, "b", 0, sparsity=sparsity, bits=bits)
    add(sweep, "dense", 0, sparsity=0.0, bits=None)
    found = unlike(Report.of(sweep.folder).tables["compared"], "tiny")
    assert (found == {}) == alike


def test_the_page_has_them_beside_each_other_and_nothing_where_nothing_was_measured(three, undrawn):
    write_report(three.folder)
    page = (three.folder / "report" / "report.md").read_text()
    chapter = page.split("## What was compared")[1].split("\n## ")[0]
    assert (
        "| gptq | - | 128 x 2048 tokens | 5 | 0.1 | 4.25 | 12 s | 16 s | 4.0 | NVIDIA H100 |"
        in chapter
    )
    assert "| sparsegpt | sparsity_asked=0.5 | 128 x 2048 tokens | 5 | 50.0 | - | 2.0 s" in chapter


def test_what_removed_parts_would_save_is_shown_where_parts_were_removed(three):
    for seed, share in enumerate([0.25, 0.3]):
        add(three, "shortgpt", seed, sparsity=share, bits=None, removed={"share": share})
    table = Report.of(three.folder).tables["compared"].set_index("method")
    assert tuple(table.loc["shortgpt", ["removed_min", "removed_max"]]) == (0.25, 0.3)
    assert math.isnan(table.loc["gptq", "removed"])
    (shown,) = [
        block for block in compared.write(table.reset_index()) if hasattr(block, "meanings")
    ]
    column = shown.header.index("saved, %")
    assert {row[0]: row[column] for row in shown.rows}["shortgpt"] == "27.5 (25.0..30.0)"


def test_nothing_is_shown_where_nothing_was_measured(two_methods):
    table = Report.of(two_methods.folder).tables["compared"]
    assert len(table) == 3 and compared.write(table) == []


def test_load_scores_has_what_was_measured(three):
    table = calib_sweep.load_scores(three.folder)
    own = table[(table["method"] == "gptq") & (table["seed"] == 3)].iloc[0]
    assert (own["bits"], own["compress_s"], own["total_s"]) == (4.25, 13.0, 17.0)
    assert own["peak_memory_gib"] == 3.0
