import numpy as np
import pytest
from helpers.simulated import normal
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from calib_sweep.analysis.inference.paired_items import (
    Part,
    item_parts,
    mcnemar_p,
    mean_of_tasks,
    t_test,
    together,
)


def test_one_cell_is_the_paired_t_test():
    x_I = normal("paired", 40) + 0.3
    items, both = item_parts(x_I[None], ["web"])
    wanted = stats.ttest_1samp(x_I, 0.0)
    low, high, p = t_test(x_I.mean(), together(Part(0.0, 1.0), items, both), 40)
    assert (low, high) == pytest.approx(tuple(wanted.confidence_interval()))
    assert p == pytest.approx(wanted.pvalue)
    assert both.variance == 0


def by_pairs(x_CI, dataset_C, group_I):
    """The parts as sums over pairs of scores that share items or draws, the slow way."""
    datasets = sorted(set(dataset_C))
    weight_C = np.array([1 / len(datasets) / dataset_C.count(d) for d in dataset_C])
    num_I, groups = x_CI.shape[1], sorted(set(group_I))
    mean_I = weight_C @ x_CI
    items = both = 0.0
    for i in range(num_I):
        for j in range(num_I):
            if group_I[i] != group_I[j]:
                continue
            items += (mean_I[i] - mean_I.mean()) * (mean_I[j] - mean_I.mean())
            for d in datasets:
                own = x_CI[[c for c, other in enumerate(dataset_C) if other == d]]
                away = own - own.mean(0) - own.mean(1)[:, None] + own.mean()
                n = len(own)
                both += np.sum(away[:, i] * away[:, j]) / (n - 1) / n / len(datasets) ** 2
    scale = len(groups) / (len(groups) - 1) / num_I**2
    return scale * items, scale * both


@pytest.mark.parametrize("group_I", [list(range(12)), [0, 0, 0, 1, 1, 2, 3, 3, 3, 3, 4, 4]])
def test_the_parts_are_those_of_sums_over_pairs(group_I):
    datasets = ["a", "a", "a", "b", "b", "b", "b"]
    x_CI = normal("parts", 7, 12) + normal("parts/item", 12)
    items, both = item_parts(x_CI, datasets, np.array(group_I))
    wanted = by_pairs(x_CI, datasets, group_I)
    assert (items.variance, both.variance) == pytest.approx(wanted)
    num_groups = len(set(group_I))
    assert (items.df, both.df) == (num_groups - 1, (2 + 3) * (num_groups - 1))


def test_a_worked_example():
    """Two draws, four items: xbar_i = 0, .5, .5, 1; the residuals are all .25 but for the sign."""
    items, both = item_parts(np.array([[0, 0, 1, 1], [0, 1, 0, 1]]), ["web", "web"])
    assert items.variance == pytest.approx(0.5 / 3 / 4)
    assert both.variance == pytest.approx((1.0 / 3 / 4) / 2)


SIZES = [(1, 3, 0.02), (1, 5, 0.0), (1, 5, 0.05), (4, 3, 0.05)]


@pytest.mark.parametrize(("num_datasets", "num_draws", "draw_sd"), SIZES)
@pytest.mark.parametrize("group", [1, 10])
def test_the_interval_holds_for_other_draws_and_other_items(
    num_datasets, num_draws, draw_sd, group
):
    """Items of .3, draws of `draw_sd`, and what is of both; 95 % of 1,000 studies, SE 0.7 %."""
    num_items, num_studies = 100, 1000
    name, n = f"crossed/{num_datasets}/{num_draws}/{draw_sd}/{group}", num_datasets * num_draws
    group_I = np.repeat(np.arange(num_items // group), group)
    item = 0.3 * normal(f"{name}/item", num_studies, 1, num_items // group)[..., group_I]
    draw = draw_sd * normal(f"{name}/draw", num_studies, n, 1)
    both = 0.2 * normal(f"{name}/both", num_studies, n, num_items // group)[..., group_I]
    datasets = np.repeat(np.arange(num_datasets), num_draws).tolist()
    inside = 0
    for x_CI in item + draw + both + 0.1 * normal(f"{name}/rest", num_studies, n, num_items):
        square_D = x_CI.mean(1).reshape(num_datasets, num_draws).var(axis=1, ddof=1)
        variance, df = square_D / num_draws / num_datasets**2, num_draws - 1
        draws = Part(variance.sum(), variance.sum() ** 2 / (variance**2 / df).sum())
        part = together(draws, *item_parts(x_CI, datasets, group_I))
        low, high, _ = t_test(x_CI.mean(), part, num_draws)
        inside += low <= 0 <= high
    assert 92.5 <= 100 * inside / num_studies <= 98.0


def test_tasks_share_no_items_so_their_variances_add():
    joined = mean_of_tasks([Part(0.04, 10.0), Part(0.02, 5.0)])
    assert joined.variance == pytest.approx(0.06 / 4)
    assert joined.df == pytest.approx(0.06**2 / (0.04**2 / 10 + 0.02**2 / 5))


def test_what_draws_and_items_both_hold_is_counted_once():
    joined = together(Part(0.04, 4.0), Part(0.03, 99.0), Part(0.01, 400.0))
    assert joined.variance == pytest.approx(0.06)
    wanted = 0.06**2 / (0.04**2 / 4 + 0.03**2 / 99 + 0.01**2 / 400)
    assert joined.df == pytest.approx(wanted)


def test_draws_that_vary_no_more_than_their_items_add_nothing():
    items = Part(0.04, 99.0)
    assert together(Part(0.01, 4.0), items, Part(0.02, 400.0)) == items


@pytest.mark.parametrize(("won", "lost"), [(0, 5), (3, 9), (6, 6), (20, 4), (0, 0)])
def test_the_exact_test_of_one_draw_is_mcnemars(won, lost):
    x_I = np.array([1] * won + [-1] * lost + [0] * 30)
    table = [[15, won], [lost, 15]]
    assert mcnemar_p(x_I) == pytest.approx(mcnemar(table, exact=True).pvalue)
