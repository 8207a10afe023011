"""Which cells are left out, as all that they scored stands in others of the same weights."""

import pytest

from calib_sweep.analysis.report.findings import findings
from calib_sweep.analysis.scores.contained import without_contained
from calib_sweep.analysis.scores.table import to_rows
from calib_sweep.analysis.tables.controls import count_cells, failures

SMALL, LARGE, OTHER = {"a": "1"}, {"a": "1", "b": "2"}, {"b": "2", "c": "3"}


def cell(name, method, parts, weights="w", finished="2026-01-01", **changes):
    """A done cell whose parts have these identities; its evaluation is the names of the parts."""
    return {
        "cell_id": name,
        "status": "done",
        "cell": {"model": "m", "method": method, "dataset": None, "seed": None},
        "config": {"evaluation": {"names": sorted(parts), "scorer": {"batch_tokens": len(name)}}},
        "compression": {"id": method, "fingerprint": weights},
        "parts": {part: {"identity": one, "headline": None} for part, one in parts.items()},
        "scores": {f"ppl/{part}": 2.0 for part in parts},
        "finished_at": finished,
    } | changes


def left_out(*cells):
    return sorted(one["cell_id"] for one in without_contained(cells) if one["status"] != "done")


def test_a_cell_is_left_out_where_another_scored_the_same_and_more():
    assert left_out(cell("few", "wanda", SMALL), cell("many", "wanda", LARGE)) == ["few"]
    assert left_out(cell("few", "wanda", SMALL), cell("other", "wanda", OTHER)) == []
    assert left_out(cell("two", "wanda", LARGE), cell("other", "wanda", OTHER)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": "others"},
        {"parts": {"a": "another text", "b": "2"}},
        {"status": "failed"},
        {"compression": {"id": "wanda"}},
        {"compression": {"id": "at sparsity 0.6", "fingerprint": "w"}},
        {"compression": None},
    ],
)
def test_only_by_a_done_cell_of_the_same_weights_and_the_same_parts(changes):
    parts, status = changes.pop("parts", LARGE), changes.get("status", "done")
    cells = [cell("few", "wanda", SMALL), cell("many", "wanda", parts, **changes)]
    assert left_out(*cells) == (["many"] if status == "failed" else [])


def test_of_two_that_scored_the_same_the_later_one_counts():
    early, late = cell("x", "wanda", SMALL), cell("a", "wanda", SMALL, finished="2026-01-02")
    assert left_out(early, late) == left_out(late, early) == ["x"]
    again = cell("y", "wanda", SMALL)
    assert left_out(early, again) == left_out(again, early) == ["x"]


def test_a_dense_cell_stays_as_long_as_a_cell_is_compared_with_it():
    dense = [cell("d-few", "dense", SMALL), cell("d-many", "dense", LARGE)]
    wanda, rtn = cell("w-few", "wanda", SMALL), cell("r-few", "rtn", SMALL)
    more = cell("w-many", "wanda", LARGE), cell("r-many", "rtn", LARGE)
    assert left_out(*dense, wanda, rtn) == []
    assert left_out(*dense, wanda, rtn, more[0]) == ["w-few"]
    assert left_out(*dense, wanda, rtn, *more) == ["d-few", "r-few", "w-few"]
    assert left_out(*dense) == ["d-few"]


def test_what_is_left_out_is_said_once_and_tells_no_settings_apart():
    cells = [cell("d-few", "dense", SMALL), cell("d-many", "dense", LARGE)]
    cells += [cell("w-few", "wanda", SMALL), cell("w-many", "wanda", LARGE)]
    rows = to_rows(without_contained(cells))
    assert {row["cell_id"] for row in rows if row["metric"]} == {"d-many", "w-many"}
    assert {row["settings"] for row in rows} == {""}
    count = count_cells(rows)
    assert (count.total, count.done, count.failed, count.contained) == (2, 2, 0, 2)
    assert failures(rows) == []
    (said,) = findings(rows, [])
    assert said.startswith("2 done cells are left out") and "d-few, w-few" in said
