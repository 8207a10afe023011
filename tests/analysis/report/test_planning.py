import dataclasses

import numpy as np
import pandas as pd
from helpers.simulated import SETTINGS, normal, rows_of

from calib_sweep.analysis.inference.power import seeds_for_difference
from calib_sweep.analysis.report.planning import MIN_SEEDS, next_step
from calib_sweep.analysis.tables.tables import Evidence, all_tables

WORDS = {"ppl/geomean": "perplexity", "acc/mean": "accuracy"}


def said(value, metrics=("acc/mean",), settings=SETTINGS):
    tables = all_tables(rows_of(value, metrics=metrics), Evidence(), settings)
    return tables, [
        text.replace("\N{NO-BREAK SPACE}", " ") for text in next_step(tables, "tiny", WORDS)
    ]


def test_the_open_pair_is_named_with_target_seeds_power_level_and_population():
    value = 0.5 + 0.01 * normal("next", 2, 3, 5, 1)
    tables, (text,) = said(value)
    row = tables["power"].query("goal == 'open'").iloc[0]
    assert text == (
        "In accuracy the smallest open difference is that of gptq and sparsegpt: if it is truly "
        f"0.5 points on these 3 datasets, it takes {row['seeds']:.0f} seeds of each dataset to "
        f"show it with 80 % probability (at the level of its claim, {100 * row['alpha']:.2g} %); "
        "there are 5."
    )


def test_a_perplexity_is_a_ratio_and_the_users_target_counts():
    value = np.exp(3 + 0.05 * normal("ratio", 2, 1, 5, 1))
    settings = dataclasses.replace(SETTINGS, targets=[0.1])
    _, (text,) = said(value, ["ppl/geomean"], settings)
    assert "if it is truly x1.105 on this dataset, it takes" in text


def test_what_the_seeds_would_have_shown_is_not_planned_again():
    _, (text,) = said(0.5 + 0.0005 * normal("enough", 2, 1, 5, 1))
    assert text.startswith(
        "In accuracy a true difference of 0.5 points between gptq and sparsegpt on this dataset "
        "would have shown with 80 % probability with the 5 seeds that there are"
    )


def test_nothing_is_open_where_all_is_claimed_and_two_seeds_are_too_few():
    value = 0.5 + 0.001 * normal("closed", 2, 1, 5, 1)
    value[1] += 0.1
    assert said(value)[1] == []
    assert said(value[:, :, :2])[1] == [MIN_SEEDS]
    assert (
        next_step(
            {
                "power": pd.DataFrame(columns=["model", "goal"]),
                "claims": pd.DataFrame(columns=["model", "kind", "reason"]),
            },
            "tiny",
            WORDS,
        )
        == []
    )


def test_a_difference_that_is_claimed_on_these_may_be_open_for_a_new_dataset():
    value = 0.5 + 0.001 * normal("new", 2, 3, 5, 1)
    value[1] += np.reshape([0.01, 0.03, 0.08], (3, 1, 1))
    tables, (text,) = said(value)
    row = tables["power"].query("goal == 'open_for_new'").iloc[0]
    claim = tables["claims"].query("kind == 'new_dataset'").iloc[0]
    assert (row["n"], round(row["alpha"], 9)) == (3, 0.05) and claim["winner"] == ""
    assert row["target"] == abs(claim["estimate"]) / 2
    mean_D = (value[1] - value[0]).mean(axis=1)[:, 0]
    assert abs(row["sd"] - mean_D.std(ddof=1)) < 1e-9
    wanted = seeds_for_difference(row["sd"], row["target"], 0.8, is_paired=True, known_df=2.0)
    assert row["seeds"] == wanted
    assert text == (
        "In accuracy it is open whether gptq or sparsegpt does better on a new dataset: if they "
        f"truly differ by 2 points there, it takes {wanted:.0f} datasets with as many seeds each "
        "to show it with 80 % probability (at the level of its claim, 5 %); there are 3."
    )
