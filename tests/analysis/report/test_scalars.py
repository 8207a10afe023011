"""The numbers that are charted over sweeps, against what the scores were made of."""

import json

import numpy as np
import pytest
from helpers.simulated import SETTINGS, normal, row, rows_of

from calib_sweep.analysis.report.scalars import scalars
from calib_sweep.analysis.report.write import write_report
from calib_sweep.analysis.tables.tables import Evidence, all_tables

ACCURACY = "acc/mean"


def charted(rows):
    return scalars(all_tables(rows, Evidence(), SETTINGS), {ACCURACY: "accuracy"})


def of(found, name, method="gptq"):
    return found[f"analysis/{name}/{ACCURACY}/tiny/{method}"]


def test_spreads_of_draws_and_datasets_and_their_share():
    """Draws -1, 0, 1 point around the means 50, 54, 58: SDs 1 and sqrt(16 - 1/3) points."""
    value = 0.5 + 0.04 * np.arange(3)[:, None] + 0.01 * np.array([-1.0, 0, 1])
    value_MDSE = np.stack([value, value + 0.001 * normal("scalars", 3, 3)])[..., None]
    found = charted(rows_of(value_MDSE, metrics=[ACCURACY]))
    assert of(found, "draw_sd") == pytest.approx(0.01)
    assert of(found, "mean") == pytest.approx(0.54)
    assert of(found, "dataset_sd") == pytest.approx(0.01 * np.sqrt(16 - 1 / 3))
    assert of(found, "icc") == pytest.approx((16 - 1 / 3) / (16 - 1 / 3 + 1))


def test_claims_are_counted_by_kind():
    value_MDSE = np.stack([np.full((1, 5), 0.7), np.full((1, 5), 0.5)])[..., None]
    value_MDSE = value_MDSE + 0.001 * normal("scalars/claims", 2, 1, 5, 1)
    rows = rows_of(value_MDSE, metrics=[ACCURACY])
    tables = all_tables(rows, Evidence(), SETTINGS)
    found = scalars(tables, {ACCURACY: "accuracy"})
    assert found["analysis/num_claims/methods"] == 1
    counted = {name: n for name, n in found.items() if name.startswith("analysis/num_claims/")}
    total = counted.pop("analysis/num_claims/all")
    assert total == sum(counted.values()) <= found["analysis/num_tested/all"]
    seeds = tables["power"].query("goal == 'half_width' and target == 0.01 and method == 'gptq'")
    assert of(found, "seeds_needed") == seeds["seeds"].max()


def test_what_is_not_known_is_no_zero():
    """One dataset: no spread between datasets; a method that reads no data has an exact 0."""
    rows = rows_of(0.5 + 0.01 * normal("scalars/one", 1, 1, 3, 1), metrics=[ACCURACY])
    found = charted([*rows, row("magnitude", 0.4)])
    assert f"analysis/dataset_sd/{ACCURACY}/tiny/gptq" not in found
    assert f"analysis/icc/{ACCURACY}/tiny/gptq" not in found
    assert of(found, "draw_sd", "magnitude") == 0
    assert all(np.isfinite(list(found.values())))


def test_a_sweep_with_nothing_to_chart_says_that_nothing_is_claimed():
    nothing = {"analysis/num_claims/all": 0, "analysis/num_tested/all": 0}
    assert charted([]) == nothing
    mean = {"analysis/mean/acc/mean/tiny/dense": 0.5}
    assert charted([row("dense", 0.5)]) == nothing | mean


def test_they_lie_beside_the_page(two_methods, undrawn):
    write_report(two_methods.folder)
    written = json.loads((two_methods.folder / "report" / "scalars.json").read_text())
    assert written["analysis/draw_sd/acc/mean/tiny/wanda"] == pytest.approx(0.01 * 2.5**0.5)
    assert {name.split("/")[0] for name in written} == {"analysis"}
