"""A pair of methods over models: the table against a case by hand, and how often it claims."""

import numpy as np
import pandas as pd
import pytest
from helpers.simulated import SETTINGS, normal, row, rows_of

from calib_sweep.analysis.inference.multiplicity import holm_corrected
from calib_sweep.analysis.inference.random_effects import over_models
from calib_sweep.analysis.tables.over_models import COLUMNS
from calib_sweep.analysis.tables.tables import Evidence, all_tables

ACCURACY, PERPLEXITY = "acc/mean", "ppl/geomean"


def table_of(rows: list) -> pd.DataFrame:
    return all_tables(rows, Evidence(), SETTINGS)["over_models"]


def model_rows(model: str, lead: float, *, metric: str = ACCURACY, **fields: object) -> list:
    """gptq ahead of wanda by `lead` on each of three draws of one dataset, plus -e, 0, e."""
    value_MDSE = np.zeros((2, 1, 3, 1))
    value_MDSE[0, 0, :, 0] = np.array([lead - 0.001, lead, lead + 0.001])
    named = {"methods": ("gptq", "wanda"), "metrics": [metric]}
    return rows_of(0.5 + value_MDSE, **named, model=model, **fields)


def test_models_count_once_each():
    """Leads of 1, 2 and 6 points: mean 3, and t(2) s / sqrt(3) with s^2 = 7."""
    leads = {"llama": 0.01, "opt": 0.02, "qwen": 0.06}
    found = table_of([row for name, lead in leads.items() for row in model_rows(name, lead)])
    assert list(found.columns) == COLUMNS
    (row,) = found.to_dict("records")
    assert (row["a"], row["b"], row["models"]) == ("gptq", "wanda", "llama, opt, qwen")
    assert (row["num_models"], row["num_ahead"]) == (3, 3)
    assert row["estimate"] == pytest.approx(0.03)
    assert row["hi"] - 0.03 == pytest.approx(0.01 * 4.302653 * np.sqrt(7 / 3), rel=1e-6)
    # The draws' SD is 0.001 on each model, so that e^2 is 1e-6 / 3.
    assert row["tau"] == pytest.approx(np.sqrt(7e-4 - 1e-6 / 3))
    assert row["winner"] == ""


def test_leads_that_are_alike_are_a_claim_with_the_winner_by_direction():
    for metric, winner in ((ACCURACY, "gptq"), (PERPLEXITY, "wanda")):
        leads = {"llama": 0.050, "opt": 0.051, "qwen": 0.049}
        rows = [row for k, lead in leads.items() for row in model_rows(k, lead, metric=metric)]
        (row,) = table_of(rows).to_dict("records")
        assert row["winner"] == winner
        assert row["num_ahead"] == (3 if winner == "gptq" else 0)


@pytest.mark.parametrize("rows", [[], [row("dense", 1.0)], model_rows("opt", 0.1)])
def test_one_model_has_no_row(rows):
    found = table_of(rows)
    assert found.empty and list(found.columns) == COLUMNS


def test_a_model_run_with_two_settings_counts_once_under_each():
    rows = []
    for dtype in ("float16", "float32"):
        for name, lead in (("opt", 0.01), ("llama", 0.03)):
            rows += model_rows(name, lead, **{"model.dtype": dtype})
    found = table_of(rows)
    assert found["settings"].tolist() == ["dtype=float16", "dtype=float32"]
    assert found["models"].tolist() == ["llama, opt"] * 2


def test_models_that_each_have_a_setting_of_their_own_are_still_several():
    rows = [
        *model_rows("opt", 0.01, **{"model.dtype": "float16"}),
        *model_rows("llama", 0.03, **{"model.dtype": "float32"}),
    ]
    assert table_of(rows)["num_models"].tolist() == [2]


def test_a_pair_that_a_model_lacks_is_told_of_the_others():
    rows = [row for k, lead in enumerate((0.01, 0.02, 0.03)) for row in model_rows(f"m{k}", lead)]
    kept = [row for row in rows if not (row["model"] == "m1" and row["method"] == "wanda")]
    (found,) = table_of(kept).to_dict("records")
    assert (found["num_models"], found["models"]) == (2, "m0, m2")


@pytest.mark.parametrize("num_K", [3, 5, 10])
def test_where_nothing_differs_on_average_few_sweeps_claim_anything(num_K):
    """Four methods, five draws, two scores: method:model SD of half a draw's."""
    num_B, name = 1000, f"over_models/{num_K}"
    of_model = 0.5 * normal(f"{name}/model", num_K, 4, 2 * num_B)
    draws = normal(f"{name}/draw", 5, num_K, 4, 2 * num_B)
    pairs = [(a, b) for a in range(4) for b in range(a)]
    x_SKPE = np.stack([draws[:, :, a] - draws[:, :, b] for a, b in pairs], axis=2)
    of_model_KPE = np.stack([of_model[:, a] - of_model[:, b] for a, b in pairs], axis=1)
    mean, se = x_SKPE.mean(0) + of_model_KPE, x_SKPE.std(0, ddof=1) / np.sqrt(5)
    shape = (num_K, -1)
    given = (mean.reshape(shape), se.reshape(shape), np.full_like(se, 4).reshape(shape))
    p_PB2 = over_models(*given).p.reshape(len(pairs), num_B, 2)
    claims = [(holm_corrected(p_PB2[:, b].ravel()) < 0.05).any() for b in range(num_B)]
    assert np.mean(claims) <= 0.06
    assert np.mean(p_PB2 < 0.05) == pytest.approx(0.05, abs=0.008)
