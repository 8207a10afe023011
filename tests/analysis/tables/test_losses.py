import numpy as np
import pytest
from helpers.item_files import write_items
from helpers.simulated import normal
from scipy import stats

from calib_sweep.analysis.inference.paired_items import Part, item_parts, together
from calib_sweep.analysis.scores.arrays import score_arrays
from calib_sweep.analysis.scores.items import read_items
from calib_sweep.analysis.scores.table import read_cells, to_rows
from calib_sweep.analysis.tables.losses import LOST, ONE_SCORE, loss_table
from calib_sweep.seeding import stream

NUM_ITEMS = 100


def losses(sweep):
    cells = read_cells(sweep.folder)
    table = loss_table(score_arrays(to_rows(cells)), read_items(sweep.folder, cells))
    return table.set_index(["method", "metric"])


def answers(name, share, num_items=NUM_ITEMS):
    return (stream(f"tests/losses/{name}").random(num_items) < share).astype(float)


def add(sweep, method, items, **where):
    """A cell of these tasks (0 and 1) and corpora (losses), with its items."""
    scores = {f"acc/{name}": own.mean() for name, own in items.items() if "@" not in name}
    scores |= {f"ppl/{name}": np.exp(own.mean()) for name, own in items.items() if "@" in name}
    path = sweep.add(method, scores, **where).with_name("items.parquet")
    for name, own in items.items():
        is_corpus = "@" in name
        column, kind = ("nll", "window") if is_corpus else ("correct", "task")
        write_items(path, own, name, column=column, kind=kind)


def dense_items():
    return {"x": answers("x", 0.8), "y": answers("y", 0.7, 60), "a@8": 1 + normal("a", 9) / 9}


@pytest.fixture
def drawn(sweep):
    """Dense and wanda on five draws of two tasks and a corpus."""
    add(sweep, "dense", dense_items())
    for seed in range(5):
        own = {"x": answers(f"x{seed}", 0.6), "y": answers(f"y{seed}", 0.5, 60)}
        own["a@8"] = dense_items()["a@8"] + 0.1 + 0.02 * normal("draws", 5, 9)[seed]
        add(sweep, "wanda", own, dataset="web", seed=seed)
    return sweep


def test_draws_and_items_are_counted_together(drawn):
    own = losses(drawn).loc[("wanda", "acc/x")]
    x_CI = np.stack([answers(f"x{seed}", 0.6) for seed in range(5)]) - answers("x", 0.8)
    assert own["population"] == "draws and items"
    assert (own["n"], own["num_items"], own["num_groups"]) == (5, NUM_ITEMS, NUM_ITEMS)
    assert own["estimate"] == pytest.approx(x_CI.mean())
    draws = Part(x_CI.mean(1).var(ddof=1) / 5, 4.0)
    part = together(draws, *item_parts(x_CI, [0] * 5))
    assert own["se"] == pytest.approx(np.sqrt(part.variance))
    half = stats.t.isf(0.025, part.df) * own["se"]
    assert (own["lo"], own["hi"]) == pytest.approx((x_CI.mean() - half, x_CI.mean() + half))
    assert own["p"] == pytest.approx(2 * stats.t.sf(-x_CI.mean() / own["se"], part.df))
    of_draws = stats.ttest_1samp(x_CI.mean(1), 0.0)
    assert own["draws_p"] == pytest.approx(of_draws.pvalue)
    ends = of_draws.confidence_interval()
    assert (own["draws_lo"], own["draws_hi"]) == pytest.approx(tuple(ends))


def test_a_mean_over_tasks_has_the_items_of_each(drawn):
    table = losses(drawn)
    parts = []
    for name, share, num in (("x", 0.6, 100), ("y", 0.5, 60)):
        draws = np.stack([answers(f"{name}{seed}", share, num) for seed in range(5)])
        parts.append(item_parts(draws - dense_items()[name], [0] * 5))
    own = table.loc[("wanda", "acc/mean")]
    wanted = sum(items.variance for items, _ in parts) / 4
    assert own["items_se"] == pytest.approx(np.sqrt(wanted))
    assert own["num_items"] == 160
    mean = (
        table.loc[("wanda", "acc/x"), "estimate"] + table.loc[("wanda", "acc/y"), "estimate"]
    ) / 2
    assert own["estimate"] == pytest.approx(mean)


def test_perplexity_is_compared_by_windows_on_the_log_scale(drawn):
    own = losses(drawn).loc[("wanda", "ppl/geomean")]
    x_CI = 0.1 + 0.02 * normal("draws", 5, 9)
    assert own["estimate"] == pytest.approx(x_CI.mean(), rel=1e-5)
    assert own["items_se"] == pytest.approx(x_CI.mean(0).std(ddof=1) / 3, rel=1e-4)


def test_items_of_a_passage_count_as_one(sweep):
    """Twenty passages of five items that are lost or kept together: 20 items, five times each."""
    groups = [str(i // 5) for i in range(NUM_ITEMS)]
    kept_G = {seed: answers(f"passages{seed}", 0.8, 20) for seed in range(3)}
    write_items(
        sweep.add("dense", {"acc/x": 1.0}).with_name("items.parquet"), np.ones(100), groups=groups
    )
    for seed, own_G in kept_G.items():
        record = sweep.add("wanda", {"acc/x": own_G.mean()}, dataset="web", seed=seed)
        write_items(record.with_name("items.parquet"), np.repeat(own_G, 5), groups=groups)
    own = losses(sweep).loc[("wanda", "acc/x")]
    x_CG = np.stack(list(kept_G.values())) - 1
    draws = Part(x_CG.mean(1).var(ddof=1) / 3, 2.0)
    part = together(draws, *item_parts(x_CG, [0] * 3))
    assert (own["num_items"], own["num_groups"]) == (100, 20)
    assert own["se"] == pytest.approx(np.sqrt(part.variance))
    assert own["df"] == pytest.approx(part.df)


def test_one_draw_of_grouped_items_has_no_mcnemar(sweep):
    groups = [str(i // 5) for i in range(NUM_ITEMS)]
    for method, right in (("dense", 100), ("rtn", 90)):
        record = sweep.add(method, {"acc/x": right / 100})
        value_I = np.repeat([1.0, 0.0], [right, 100 - right])
        write_items(record.with_name("items.parquet"), value_I, groups=groups)
    own = losses(sweep).loc[("rtn", "acc/x")]
    by_passage = np.repeat([0.0, -1.0], [18, 2])
    assert own["p"] == pytest.approx(stats.ttest_1samp(by_passage, 0.0).pvalue)
    assert own["p"] > 10 * 2 * 0.5**10


def test_a_method_without_data_has_other_items_but_no_other_draws(sweep):
    add(sweep, "dense", {"x": np.repeat([1.0, 0.0], [60, 40])})
    add(sweep, "rtn", {"x": np.repeat([1.0, 0.0], [50, 50])})
    add(sweep, "wanda", {"x": np.repeat([1.0, 0.0, 1.0], [52, 47, 1])}, dataset="web", seed=0)
    table = losses(sweep).xs("acc/x", level="metric")
    assert table["population"].to_dict() == {"rtn": "items", "wanda": "items of one draw"}
    assert table.loc["rtn", "p"] == pytest.approx(2 * 0.5**10)  # McNemar: 0 of 10
    assert table.loc["wanda", "p"] == pytest.approx(2 * (1 + 9) * 0.5**9)  # 1 of 9
    assert table["draws_se"].isna().all()


def test_methods_that_read_no_data_need_no_other_beside_them(sweep):
    add(sweep, "dense", {"x": np.repeat([1.0, 0.0], [60, 40])})
    for replicate, right in enumerate((50, 40)):
        add(sweep, "rtn", {"x": np.repeat([1.0, 0.0], [right, 100 - right])}, replicate=replicate)
    own = losses(sweep).loc[("rtn", "acc/x")]
    assert (own["population"], own["n"]) == ("items", 1)
    assert own["estimate"] == pytest.approx(-0.1)  # of the first replicate
    assert own["p"] == pytest.approx(2 * 0.5**10)


def test_one_draw_of_each_of_several_datasets_stands_for_datasets(sweep):
    sweep.add("dense", {"acc/x": 0.7})
    scores = [0.60, 0.64, 0.65, 0.61]
    for dataset, score in zip("abcd", scores, strict=True):
        sweep.add("wanda", {"acc/x": score}, dataset=dataset, seed=0)
    own = losses(sweep).loc[("wanda", "acc/x")]
    wanted = stats.ttest_1samp(np.array(scores) - 0.7, 0.0)
    assert own["population"] == "datasets"
    assert own["p"] == pytest.approx(wanted.pvalue)


def test_without_items_the_draws_are_left(two_methods):
    own = losses(two_methods).loc[("wanda", "acc/x")]
    wanted = stats.ttest_1samp(np.array([0.71, 0.72, 0.73, 0.74, 0.75]) - 0.8, 0.0)
    assert own["population"] == "draws"
    assert own["p"] == pytest.approx(wanted.pvalue)
    assert own["num_items"] != own["num_items"]


def test_items_of_another_list_than_denses_are_not_compared(sweep):
    add(sweep, "dense", {"x": answers("x", 0.8)})
    for seed in range(3):
        record = sweep.add("wanda", {"acc/x": 0.5}, dataset="web", seed=seed)
        value_I = np.repeat([1.0, 0.0], 50)
        hashes = [f"other{i}" for i in range(100)]
        write_items(record.with_name("items.parquet"), value_I, hashes=hashes)
    own = losses(sweep).loc[("wanda", "acc/x")]
    assert own["population"] == "draws"


def test_what_cannot_be_tested_says_why(sweep):
    sweep.add("dense", {"acc/x": 0.7, "ppl/a@8": 5.0})
    for seed in range(2):
        sweep.add("wanda", {"acc/x": 0.6, "ppl/a@8": None}, dataset="web", seed=seed)
    table = losses(sweep)
    assert table.loc[("wanda", "acc/x"), "reason"] == "too few draws"
    assert table.loc[("wanda", "ppl/a@8"), "reason"] == LOST
    assert table["p"].isna().all()


def test_the_same_loss_on_three_draws_is_no_proof_and_one_score_has_no_test(sweep):
    """Signs alone could have done it: of three draws 2 of 8 times, of five 2 of 32."""
    sweep.add("dense", {"acc/x": 0.7})
    sweep.add("rtn", {"acc/x": 0.6})
    for method, num in (("gptq", 3), ("wanda", 5)):
        for seed in range(num):
            sweep.add(method, {"acc/x": 0.6}, dataset="web", seed=seed)
    own = losses(sweep).xs("acc/x", level="metric")
    assert own["p"].dropna().to_dict() == {"gptq": 1 / 4, "wanda": 1 / 16}
    assert own.loc["rtn", "reason"] == ONE_SCORE


def test_a_diverged_draw_leaves_no_interval_from_nothing_to_a_million(sweep):
    sweep.add("dense", {"ppl/a@8": 5.0})
    for seed, score in enumerate((7.0, 1e9, 7.1, 7.2, 6.9)):
        sweep.add("wanda", {"ppl/a@8": score}, dataset="web", seed=seed)
    own = losses(sweep).loc[("wanda", "ppl/a@8")]
    assert own["reason"] == LOST
    assert np.isnan([own["estimate"], own["lo"], own["p"]]).all()


def test_without_dense_there_is_no_loss(sweep):
    for seed in range(3):
        sweep.add("wanda", {"acc/x": 0.6}, dataset="web", seed=seed)
    assert losses(sweep).empty
