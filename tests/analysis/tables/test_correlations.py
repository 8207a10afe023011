import dataclasses

import numpy as np
import pytest
from helpers.simulated import SETTINGS, array_of, normal
from scipy import stats

from calib_sweep.analysis.inference.correlation import correlate
from calib_sweep.analysis.tables.correlations import COLUMNS, correlation_table

METRICS = ["acc/mean", "acc/x", "ppl/a@64"]


def related(name, rho, num_sweeps, num_S):
    x, other = normal(f"{name}/x", num_sweeps, num_S), normal(f"{name}/y", num_sweeps, num_S)
    return x, rho * x + np.sqrt(1 - rho**2) * other


def test_rho_is_spearmans_and_few_draws_are_permuted_in_every_way():
    x, y = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([2.0, 1.0, 4.0, 3.0, 5.0])
    n, rho, low, high, p = correlate([(x, y)], **SETTINGS.resampling)
    assert (n, rho) == (5, pytest.approx(0.8))
    wanted = stats.permutation_test(
        (x,),
        lambda x: stats.spearmanr(x, y).statistic,
        permutation_type="pairings",
        n_resamples=np.inf,
    )
    assert p == pytest.approx(wanted.pvalue) == pytest.approx(16 / 120)
    assert low < rho < high


def test_a_worked_example_of_two_datasets():
    """Of 5 and 9 draws: weights 2 and 6, variances of z (1 + rho^2 / 2) / (n - 3)."""
    x, y = np.array([1, 2, 3, 4, 5]), np.array([2, 1, 4, 3, 5])
    more, other = np.arange(9), np.array([4, 3, 0, 1, 2, 5, 8, 6, 7])
    rho = stats.spearmanr(more, other).statistic
    n, seen, low, high, _ = correlate([(x, y), (more, other)], **SETTINGS.resampling)
    assert (n, seen) == (14, pytest.approx((2 * 0.8 + 6 * rho) / 8))
    variance = 0.25**2 * (1 + 0.8**2 / 2) / 2 + 0.75**2 * (1 + rho**2 / 2) / 6
    half = stats.t.isf(0.025, 3 + 7) * np.sqrt(variance)
    z = np.arctanh(seen)
    assert (low, high) == (pytest.approx(np.tanh(z - half)), pytest.approx(np.tanh(z + half)))


@pytest.mark.parametrize("num_S", [5, 10, 20])
def test_draws_that_have_nothing_to_do_with_each_other_keep_the_level(num_S):
    pairs = zip(*related("level", 0.0, 400, num_S), strict=True)
    found = np.array([correlate([pair], **SETTINGS.resampling) for pair in pairs])
    assert np.mean(found[:, 4] <= 0.05) <= 0.08
    assert np.mean((found[:, 2] <= 0) & (found[:, 3] >= 0)) >= 0.93


def test_the_interval_holds_a_true_rank_correlation():
    true_rho = 6 / np.pi * np.arcsin(0.7 / 2)
    pairs = zip(*related("held", 0.7, 400, 10), strict=True)
    found = np.array([correlate([pair], **SETTINGS.resampling) for pair in pairs])
    held = (found[:, 2] <= true_rho) & (true_rho <= found[:, 3])
    assert 0.92 <= held.mean() <= 0.99


def test_pooling_leaves_out_what_lies_between_datasets():
    """Within both datasets perplexity and accuracy fall together, between them they do not."""
    x = np.arange(6.0)
    blocks = [(x, x), (x + 100, x - 100)]
    n, rho, _, _, p = correlate(blocks, **SETTINGS.resampling)
    assert (n, rho) == (12, pytest.approx(1.0, abs=1e-6))
    assert p < 0.01


def test_the_table_has_each_dataset_and_all_and_only_the_headline_accuracy():
    value = normal("table", 2, 2, 6, 3)
    array = array_of(value, metrics=METRICS)
    table = correlation_table([array], SETTINGS)
    assert list(table.columns) == COLUMNS
    assert table[["method", "dataset"]].to_numpy().tolist() == [
        [method, dataset]
        for method in ("gptq", "sparsegpt")
        for dataset in ("text00", "text01", "")
    ]
    assert set(table["y"]) == {"acc/mean"}
    first = table.iloc[0]
    wanted = stats.spearmanr(value[0, 0, :, 2], value[0, 0, :, 0]).statistic
    assert first["rho"] == pytest.approx(wanted)


def test_four_draws_or_a_score_that_never_moves_say_nothing():
    few = array_of(normal("few", 1, 1, 4, 3), metrics=METRICS)
    still = normal("still", 1, 1, 8, 3)
    still[..., 2] = 1.0
    still = array_of(still, metrics=METRICS)
    assert correlation_table([few, still], SETTINGS).empty
    other = dataclasses.replace(SETTINGS, seed=9)
    assert correlation_table([still], other).empty
