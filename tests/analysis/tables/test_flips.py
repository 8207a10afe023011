import numpy as np
import pytest
from helpers.item_files import write_items
from helpers.simulated import normal
from scipy import stats
from statsmodels.stats.contingency_tables import cochrans_q
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

from calib_sweep.analysis.inference.flips import split, systematic_sd
from calib_sweep.analysis.scores.arrays import score_arrays
from calib_sweep.analysis.scores.items import Items, read_items
from calib_sweep.analysis.scores.table import read_cells, to_rows
from calib_sweep.analysis.tables.flips import flip_table, unstable_table
from calib_sweep.seeding import stream

NUM_ITEMS = 400


def answers(name, num_draws, num_sweeps, shift_sd=0.0):
    """0/1 answers [sweep, draw, item]: most items nearly sure, some open; draws share a shift."""
    logit_I = 2.5 * normal("items", NUM_ITEMS) + 0.7
    shift = shift_sd * normal(f"{name}/shift", num_sweeps, num_draws, 1)
    right = stats.norm.cdf(logit_I + shift)
    uniform = stream(f"tests/{name}").random((num_sweeps, num_draws, NUM_ITEMS))
    return (uniform < right).astype(float)


def p_of(own):
    return stats.chi2.sf((own.n - 1) * own.variance / own.floor_variance, own.n - 1)


@pytest.mark.parametrize("num_draws", [3, 5, 10])
def test_independent_flips_are_all_floor(num_draws):
    splits = [split(value_SI) for value_SI in answers("flips", num_draws, 1000)]
    variance = np.mean([own.variance for own in splits])
    assert np.mean([own.floor_variance for own in splits]) == pytest.approx(variance, rel=0.07)
    found = np.mean([p_of(own) < 0.05 for own in splits])
    assert found == pytest.approx(0.05, abs=0.021)


def test_a_shift_that_all_items_share_is_systematic():
    splits = [split(value_SI) for value_SI in answers("shift", 10, 300, shift_sd=0.5)]
    assert np.mean([p_of(own) < 0.05 for own in splits]) > 0.95
    pure = stats.norm.cdf(
        2.5 * normal("items", NUM_ITEMS) + 0.7 + 0.5 * normal("many", 4000, 1)
    ).mean(1)
    systematic = np.mean([own.variance - own.floor_variance for own in splits])
    assert systematic == pytest.approx(pure.var(), rel=0.1)


@pytest.mark.parametrize("num_draws", [3, 5, 10, 20])
def test_items_that_flip_in_groups_are_no_shift(num_draws):
    """Passages of ten items that flip whole: nothing is systematic, and intervals say so."""
    group_I = np.repeat(np.arange(NUM_ITEMS // 10), 10)
    grouped, alone, found = [], [], []
    for value_SI in answers(f"grouped/{num_draws}", num_draws, 400)[..., ::10]:
        own = split(value_SI[:, group_I], group_I)
        grouped.append(systematic_sd(own)[1] == 0)
        alone.append(systematic_sd(split(value_SI[:, group_I]))[1] == 0)
        found.append(p_of(own) < 0.05)
    assert np.mean(grouped) >= 0.94
    assert np.mean(alone) < 0.5
    assert np.mean(found) <= 0.08


def test_a_shift_with_heavy_tails_is_held_nine_times_in_ten():
    """Exponential shifts of ability on 20 draws: 83 in 100 without the stretch."""
    draw = stream("tests/flips/heavy")
    base_I = 2.5 * draw.standard_normal(200) + 0.7
    mean = stats.norm.cdf(base_I + 0.3 * (draw.exponential(size=(20000, 1)) - 1)).mean(1)
    held = []
    for _ in range(300):
        right_SI = stats.norm.cdf(base_I + 0.3 * (draw.exponential(size=(20, 1)) - 1))
        own = split((draw.random(right_SI.shape) < right_SI).astype(float))
        _, low, high = systematic_sd(own)
        held.append(low <= mean.std() <= high)
    assert np.mean(held) > 0.86


def test_a_worked_example_of_groups():
    """Passages {1, 2} and {3}, right (1, 1, 0) and (0, 1, 0): sums 2, 0 and 1, 0; Var 1/2, 0."""
    own = split(np.array([[1, 1, 0], [0, 1, 0]]), np.array(["a", "a", "b"]))
    assert own.num_groups == 2
    assert own.floor_variance == pytest.approx(0.5 / 9)


def test_a_worked_example():
    """Four items on two draws: right on (1, 1), (1, 0), (0, 1), (0, 0)."""
    own = split(np.array([[1, 1, 0, 0], [1, 0, 1, 0]]))
    assert own.variance == 0
    assert own.floor_variance == pytest.approx((0.5 + 0.5) / 16)
    assert (own.unstable, own.agreement, own.kappa) == (0.5, 0.5, 0.0)
    assert own.ceiling == pytest.approx(0.25)


def test_the_test_is_cochrans_q_and_kappa_is_fleiss():
    value_SI = answers("agree", 6, 1)[0]
    own = split(value_SI)
    wanted = cochrans_q(value_SI.T)
    assert p_of(own) == pytest.approx(wanted.pvalue)
    counts, _ = aggregate_raters(value_SI.T.astype(int))
    assert own.kappa == pytest.approx(fleiss_kappa(counts))
    pairs = [np.mean(value_SI[i] == value_SI[j]) for i in range(6) for j in range(i)]
    assert own.agreement == pytest.approx(np.mean(pairs))


def tables(sweep):
    cells = read_cells(sweep.folder)
    items = read_items(sweep.folder, cells)
    arrays = score_arrays(to_rows(cells))
    return flip_table(arrays, items), unstable_table(arrays, items), items


@pytest.fixture
def two_tasks(sweep):
    """Five draws of two tasks and two corpora with their items."""
    for seed in range(5):
        x, y = answers("x", 5, 1)[0, seed], answers("y", 5, 1)[0, seed, :100]
        nll = {"a@8": 2 + 0.1 * normal("nll/a", 5, 6)[seed], "b@8": np.full(6, 1.5)}
        scores = {"acc/x": x.mean(), "acc_norm/x": 0.9, "acc/y": y.mean()}
        scores |= {"acc/mean": (x.mean() + y.mean()) / 2}
        scores |= {f"ppl/{name}": np.exp(own.mean()) for name, own in nll.items()}
        record = sweep.add("wanda", scores, dataset="web", seed=seed)
        path = record.with_name("items.parquet")
        write_items(path, x, "x")
        write_items(path, y, "y")
        for name, own in nll.items():
            write_items(path, own, name, column="nll", kind="window")
    return sweep


def test_every_score_that_is_a_mean_of_items_is_split(two_tasks):
    flips, _, items = tables(two_tasks)
    flips = flips.set_index("metric")
    assert set(flips.index) == {"acc/x", "acc/y", "acc/mean", "ppl/a@8", "ppl/b@8", "ppl/geomean"}
    value_SI = answers("x", 5, 1)[0]
    own = flips.loc["acc/x"]
    assert (own["n"], own["num_items"]) == (5, NUM_ITEMS)
    assert own["sd"] == pytest.approx(value_SI.mean(1).std(ddof=1))
    share_I = value_SI.mean(0)
    floor = np.sqrt(np.sum(share_I * (1 - share_I)) * 5 / 4) / NUM_ITEMS
    assert own["floor"] == pytest.approx(floor)
    assert own["p"] == pytest.approx(cochrans_q(value_SI.T).pvalue)
    mean = flips.loc["acc/mean"]
    assert mean["floor"] == pytest.approx(np.hypot(floor, flips.loc["acc/y", "floor"]) / 2)
    windows = 2 + 0.1 * normal("nll/a", 5, 6)
    assert flips.loc["ppl/a@8", "sd"] == pytest.approx(windows.mean(1).std(ddof=1), rel=1e-4)
    assert flips.loc["ppl/geomean", "sd"] == pytest.approx(flips.loc["ppl/a@8", "sd"] / 2, rel=1e-4)
    assert np.isnan(flips.loc["ppl/b@8", "p"])
    assert "acc_norm/x" not in items.scores
    assert (flips["num_groups"] == flips["num_items"]).all()


def test_items_of_a_passage_raise_the_floor_of_their_task(sweep):
    value_SI = np.repeat(answers("passages", 5, 1)[0, :, :30], 10, axis=1)
    for seed, value_I in enumerate(value_SI):
        record = sweep.add("wanda", {"acc/x": value_I.mean()}, dataset="web", seed=seed)
        groups = [str(i // 10) for i in range(300)] if seed else None
        write_items(record.with_name("items.parquet"), value_I, groups=groups)
    own = tables(sweep)[0].iloc[0]
    assert (own["num_items"], own["num_groups"]) == (300, 30)
    assert own["floor"] == pytest.approx(split(value_SI[:, ::10]).floor_variance ** 0.5)


def test_the_interval_of_the_systematic_part_is_that_of_the_sd_less_the_floor(two_tasks):
    own = tables(two_tasks)[0].set_index("metric").loc["acc/x"]
    high = own["sd"] * np.sqrt(4 / stats.chi2.ppf(0.025, 4))
    assert own["systematic_hi"] == pytest.approx(np.sqrt(high**2 - own["floor"] ** 2))
    assert own["systematic_lo"] <= own["systematic"] <= own["systematic_hi"]


def test_the_interval_of_a_mean_over_tasks_is_stretched_where_its_draws_have_heavy_tails(sweep):
    right = [20, 20, 21, 20, 19, 20, 20, 21, 19, 35]  # of 40, on ten draws
    for seed, num in enumerate(right):
        value_I = np.repeat([1.0, 0.0], [num, 40 - num])
        record = sweep.add(
            "wanda", {"acc/x": num / 40, "acc/mean": num / 40}, dataset="a", seed=seed
        )
        write_items(record.with_name("items.parquet"), value_I)
    flips = tables(sweep)[0].set_index("metric")["systematic_hi"]
    assert flips["acc/mean"] == pytest.approx(flips["acc/x"])
    plain = np.sqrt(9 / stats.chi2.ppf(0.025, 9)) * np.std(right, ddof=1) / 40
    assert flips["acc/mean"] > 1.2 * plain


def test_unstable_items_are_listed_most_unstable_first(two_tasks):
    _, unstable, _ = tables(two_tasks)
    own = unstable[unstable["metric"] == "acc/x"]
    share_I = answers("x", 5, 1)[0].mean(0)
    assert len(own) == min(50, np.sum((share_I > 0) & (share_I < 1)))
    assert own["instability"].is_monotonic_decreasing
    first = own.iloc[0]
    assert first["share_right"] == pytest.approx(share_I[first["item"]])
    assert first["item_hash"] == f"hash{first['item']}"


def test_cells_with_other_items_are_never_compared_item_by_item(sweep):
    for seed in range(4):
        value = answers("z", 4, 1)[0, seed, :50]
        record = sweep.add("wanda", {"acc/x": value.mean()}, dataset="web", seed=seed)
        hashes = [f"other{i}" for i in range(50)] if seed == 3 else None
        write_items(record.with_name("items.parquet"), value, hashes=hashes)
    flips, _, _ = tables(sweep)
    assert flips["n"].tolist() == [3]


def test_without_items_there_is_nothing_to_split(two_methods):
    flips, unstable, items = tables(two_methods)
    assert flips.empty and unstable.empty and not items.scores
    assert Items().of("acc/x", ["a"])[1] == []
