import dataclasses

import numpy as np
import pandas as pd
import pytest
from helpers.simulated import COMPONENTS, SETTINGS, crossed, normal, row, rows_of

from calib_sweep.analysis.scores.table import read_rows
from calib_sweep.analysis.tables.tables import Evidence, all_tables

PROMISED = {
    "summary": "model method dataset metric n mean mean_lo mean_hi sd sd_lo sd_hi min max dense "
    "drop chance recovery recovery_above_chance",
    "variance_components": "model method metric component variance sd sd_lo sd_hi share icc",
    "comparisons": "model metric kind design a b dataset n_pairs lost_a lost_b mean_diff lo hi p "
    "p_holm p_bh p_flip prob_better prob_lo prob_hi mde new_lo new_hi new_p verdict",
    "claims": "kind model metric method a b dataset n estimate lo hi p weight p_sweep winner "
    "reason",
}
OTHERS = {
    "dataset_spreads",
    *("ranking", "power", "controls", "notes", "missing", "tails", "uncertainty"),
    *("rank_probabilities", "rank_stability", "dataset_comparisons", "spreads"),
    *("flips", "unstable_items", "iqm", "profiles", "sizes", "size_floors"),
    *("published", "compared"),
    *("correlations", "covariates", "tasks", "equivalence"),
    *("sensitivity", "over_models", "improvement"),
    *("losses", "experts"),
}


def tables_of(rows, settings=SETTINGS):
    return all_tables(rows, Evidence(), settings)


def test_every_table_is_there_with_its_columns():
    tables = tables_of([*rows_of(crossed("all", 2, 2, 3, 1, COMPONENTS)), row("dense", 1.0)])
    assert set(tables) == {*PROMISED, *OTHERS}
    for name, columns in PROMISED.items():
        assert list(tables[name].columns) == columns.split()


@pytest.mark.parametrize("rows", [[], [row("dense", 1.0)], [row("rtn", 1.0), row("dense", 1.0)]])
def test_a_sweep_with_next_to_nothing_has_all_tables_with_columns_and_no_comparison(rows):
    tables = tables_of(rows)
    assert set(tables) == {*PROMISED, *OTHERS}
    assert len(tables["summary"]) == len(rows)
    assert tables["comparisons"].empty and tables["variance_components"].empty
    for name, columns in PROMISED.items():
        assert list(tables[name].columns) == columns.split()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_intervals():
    rows = rows_of(crossed("bytes", 3, 3, 5, 2, COMPONENTS))
    first, again = tables_of(rows), tables_of(list(reversed(rows)))
    for name, table in first.items():
        assert table.to_csv() == again[name].to_csv(), name
    other = tables_of(rows, dataclasses.replace(SETTINGS, seed=1))
    changed = {name for name in first if first[name].to_csv() != other[name].to_csv()}
    assert {"variance_components", "rank_stability"} <= changed
    assert not {"summary", "uncertainty", "spreads", "missing"} & changed


def test_a_folder_with_nothing_but_schema_status_cell_and_scores_is_analysed(sweep):
    value = 0.5 + 0.05 * crossed("folder", 2, 3, 4, 1, COMPONENTS)
    for (m, d, s, _), score in np.ndenumerate(value):
        scores = {"acc/mean": float(score), "ppl/a@64": float(np.exp(score))}
        sweep.add(("gptq", "wanda")[m], scores, dataset=f"text{d}", seed=s)
    tables = tables_of(read_rows(sweep.folder))
    pooled = tables["comparisons"].query("dataset == '' and kind == 'method'")
    assert pooled["n_pairs"].tolist() == [12] * 3  # accuracy, perplexity, its geometric mean
    wanted = (value[0] - value[1]).mean()
    assert pooled["mean_diff"].to_numpy() == pytest.approx(wanted)
    assert set(tables["variance_components"]["method"]) == {"gptq", "wanda", "*"}


def test_several_models_never_meet():
    first, second = (
        rows_of(normal(f"model {name}", 2, 2, 3, 1), model=name) for name in ("opt", "llama")
    )
    together = tables_of([*first, *second])
    apart = [tables_of(own) for own in (second, first)]
    for name in ("variance_components", "ranking", "summary"):
        joined = pd.concat([tables[name] for tables in apart], ignore_index=True)
        pd.testing.assert_frame_equal(together[name], joined)
    columns = ["model", "a", "b", "mean_diff", "lo", "p"]
    joined = pd.concat([tables["comparisons"] for tables in apart], ignore_index=True)
    pd.testing.assert_frame_equal(together["comparisons"][columns], joined[columns])


def test_notes_say_what_has_no_number_and_why():
    notes = tables_of(rows_of(normal("notes", 2, 1, 2, 1)))["notes"]
    said = {(note["table"], note["note"]) for note in notes.to_dict("records")}
    assert ("summary", "2 of at least 3 seeds: no interval") in said
    lacking = "one dataset: what lies between datasets cannot be seen"
    assert ("variance_components", lacking) in said


def test_an_unbalanced_design_uses_all_it_has():
    value = crossed("holes", 3, 3, 5, 1, COMPONENTS)
    value[2, 2] = np.nan  # a method without one dataset
    value[0, 0, 3:] = np.nan  # another with fewer seeds there
    tables = tables_of(rows_of(value))
    counts = tables["summary"].set_index(["method", "dataset"])["n"].to_dict()
    assert counts["gptq", "text00"] == 3
    assert ("spqr", "text02") not in counts
    assert len(tables["missing"]) == 2 + 5
    pooled = tables["comparisons"].query("dataset == '' and a == 'gptq' and b == 'spqr'")
    assert pooled["n_pairs"].tolist() == [8]
    star = tables["variance_components"].query("method == '*'")
    assert star["variance"].notna().all()
