import numpy as np
import pytest
from helpers.simulated import SETTINGS, normal, row, rows_of

from calib_sweep.analysis.scores.table import Row
from calib_sweep.analysis.tables.sensitivity import COLUMNS
from calib_sweep.analysis.tables.tables import Evidence, all_tables


def table_of(rows: list[Row]):
    return all_tables(rows, Evidence(), SETTINGS)["sensitivity"].set_index(["method", "metric"])


def test_the_three_parts_of_a_method_are_those_of_its_scores_and_records():
    """Two datasets of three draws: variance within 1 and 4, means 10 and 20; items add 2."""
    value = np.array([[9.0, 10.0, 11.0], [18.0, 20.0, 22.0]]).reshape(1, 2, 3, 1)
    found = table_of(rows_of(value, stderr=2.0)).loc[("gptq", "acc/task0")]
    draw, dataset = 2.5, 10**2 / 2 - 2.5 / 3
    assert found["draw_sd"] ** 2 == pytest.approx(draw)
    assert found["dataset_sd"] ** 2 == pytest.approx(dataset)
    assert found["item_se"] == 2.0
    total = draw + dataset + 4.0
    shares = found[["draw_share", "dataset_share", "item_share"]].tolist()
    assert shares == pytest.approx([draw / total, dataset / total, 4.0 / total])
    assert (found["n"], found["num_datasets"]) == (6, 2)
    assert found["draw_lo"] < found["draw_sd"] < found["draw_hi"]
    assert np.isnan(found["dataset_lo"])
    assert found["note"] == "dataset has 1 degree of freedom: no interval"


def test_perplexity_is_on_the_log_scale_throughout():
    log = 2 + 0.1 * normal("sensitivity", 1, 1, 5, 1)
    rows = [
        {**own, "stderr": 0.03 * own["value"]}
        for own in rows_of(np.exp(log), metrics=["ppl/a@64"], datasets=["web"])
    ]
    found = table_of(rows).loc[("gptq", "ppl/a@64")]
    assert found["draw_sd"] == pytest.approx(log.std(ddof=1))
    assert found["item_se"] == pytest.approx(0.03)
    assert np.isnan(found["dataset_share"])
    assert found["draw_share"] + found["item_share"] == pytest.approx(1)


def test_what_reads_no_data_does_not_move_and_one_score_has_no_sd():
    rows = [row("magnitude", 0.4, stderr=0.1), row("wanda", 0.5, dataset="web", seed=0)]
    found = table_of(rows)
    assert list(found.reset_index().reindex(columns=COLUMNS).columns) == COLUMNS
    still, single = found.loc[("magnitude", "acc/mean")], found.loc[("wanda", "acc/mean")]
    assert (still["draw_sd"], still["dataset_sd"], still["item_share"]) == (0, 0, 1)
    assert still["note"] == "reads no data: neither draw nor dataset moves it"
    assert np.isnan(single["draw_sd"]) and single["note"] == "too few scores: no SD"
    assert single["n"] == 1


def test_one_seed_on_each_dataset_does_not_tell_draw_from_dataset():
    found = table_of(rows_of(normal("one each", 1, 5, 1, 1))).loc[("gptq", "acc/task0")]
    assert found[["draw_sd", "dataset_sd", "draw_share"]].isna().all()
    assert found["note"] == "one seed in each dataset: dataset and draw cannot be told apart"
    assert (found["n"], found["num_datasets"]) == (5, 5)
