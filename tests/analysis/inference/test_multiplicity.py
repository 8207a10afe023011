from itertools import combinations

import numpy as np
import pytest
from helpers.simulated import normal
from scipy import stats
from statsmodels.stats.multitest import multipletests

from calib_sweep.analysis.inference.multiplicity import bh_corrected, holm_corrected, weighted_holm


def closed(p_K, weight_K):
    """Weighted Bonferroni tests of every intersection: the slow way, straight from the closure."""
    num = len(p_K)
    sets = [np.array(own) for size in range(1, num + 1) for own in combinations(range(num), size)]
    p_of_set = [
        min(1.0, min(p_K[k] * weight_K[own].sum() / weight_K[k] for k in own)) for own in sets
    ]
    return np.array(
        [max(p for p, own in zip(p_of_set, sets, strict=True) if k in own) for k in range(num)]
    )


@pytest.mark.parametrize("number", range(40))
def test_weighted_holm_is_the_closed_test(number):
    num = 1 + number % 7
    p = np.minimum(stats.norm.sf(normal(f"closed/p{number}", num)) ** 2, 1.0)
    weight = np.exp(2 * normal(f"closed/w{number}", num))
    assert weighted_holm(p, weight) == pytest.approx(closed(p, weight))


@pytest.mark.parametrize("number", range(10))
def test_equal_weights_are_plain_holm_and_only_ratios_of_weights_matter(number):
    p = stats.norm.sf(normal(f"plain/{number}", 12)) / 4
    wanted = multipletests(p, method="holm")[1]
    assert holm_corrected(p) == pytest.approx(wanted)
    assert weighted_holm(p, np.full(12, 0.3)) == pytest.approx(wanted)
    weight = np.exp(normal(f"plain/w{number}", 12))
    assert weighted_holm(p, 7 * weight) == pytest.approx(weighted_holm(p, weight))


def test_a_worked_example_of_weights():
    """p / w = 0.02, 0.16, 0.05: first 0.01 / 0.5, then 0.0125 * 0.5 / 0.25, then 0.04."""
    found = weighted_holm(np.array([0.01, 0.04, 0.0125]), np.array([0.5, 0.25, 0.25]))
    assert found == pytest.approx([0.02, 0.04, 0.025])


def test_a_test_that_was_not_made_does_not_count():
    p, weight = np.array([0.03, np.nan, 0.001, 0.2]), np.array([1.0, 5.0, 2.0, 1.0])
    found, known = weighted_holm(p, weight), np.isfinite(p)
    assert found[known] == pytest.approx(weighted_holm(p[known], weight[known]))
    assert np.isnan(found[1])
    assert np.isnan(weighted_holm(np.full(3, np.nan), np.ones(3))).all()
    assert weighted_holm(np.zeros(0), np.zeros(0)).size == 0


def test_corrections_are_statsmodels_and_leave_out_what_has_no_p():
    p = np.array([0.03, np.nan, 0.001, 0.2, 0.04, 0.001, 0.9])
    known = np.isfinite(p)
    for found, name in ((holm_corrected(p), "holm"), (bh_corrected(p), "fdr_bh")):
        assert found[known] == pytest.approx(multipletests(p[known], method=name)[1])
        assert np.isnan(found[~known]).all()
