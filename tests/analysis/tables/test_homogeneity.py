import numpy as np
import pandas as pd
import pytest
from helpers.simulated import array_of, normal, rows_of
from scipy import stats

from calib_sweep.analysis.inference.homogeneity import contrasts, f_in_blocks
from calib_sweep.analysis.scores.arrays import score_arrays
from calib_sweep.analysis.tables.homogeneity import homogeneity_table
from calib_sweep.seeding import stream


def shared_draws(num_M, num_D, num_S, num_E, ratio=1.0):
    """Two parts of each score's variance: one that methods share, one of their own."""
    value = normal("shared", 1, num_D, num_S, num_E) + normal("own", num_M, num_D, num_S, num_E)
    value[0] *= ratio
    return value


@pytest.mark.parametrize("sizes", [(2, 1, 10), (4, 1, 5), (4, 3, 5), (3, 3, 3)])
def test_equal_variances_are_called_unequal_in_5_of_100_sweeps(sizes):
    table = homogeneity_table([array_of(shared_draws(*sizes, 1500))])
    found = table[table["kind"] == "method"]
    assert len(found) == 1500
    assert np.mean(found["p"] < 0.05) == pytest.approx(0.05, abs=0.017)


def test_a_method_that_moves_three_times_as_much_is_found():
    table = homogeneity_table([array_of(shared_draws(3, 2, 8, 100, ratio=3.0))])
    found = table[table["kind"] == "method"]
    assert np.mean(found["p"] < 0.05) > 0.9
    assert np.mean(found["largest_sd"] / found["smallest_sd"]) > 2


def test_datasets_are_compared_one_way():
    array = array_of(shared_draws(1, 3, 6, 1))
    table = homogeneity_table([array])
    (found,) = table[table["kind"] == "dataset"].itertuples()
    size_D = [np.abs(contrasts(value_SE)[:, 0]) for value_SE in array.value_MDSE[0]]
    assert found.p == pytest.approx(stats.f_oneway(*size_D).pvalue)


def test_contrasts_have_the_sd_of_the_draws_and_blocks_take_out_what_is_shared():
    draw_S = np.array([[3.0], [5.0], [10.0]])
    assert np.mean(contrasts(draw_S) ** 2) == pytest.approx(np.var(draw_S, ddof=1))
    block_C = np.array([1.0, 5.0, 9.0])
    statistic, *df = f_in_blocks(
        np.stack([block_C, block_C + np.array([1.0, 2.0, 3.0])])[..., None]
    )
    # differences 1, 2, 3: paired t = 2 / (1 / sqrt(3)), F = t^2
    assert (statistic[0], df) == (pytest.approx(12.0), [1, 2])


def test_seeds_are_taken_in_their_own_order_whichever_record_is_read_first():
    rows = rows_of(shared_draws(3, 2, 6, 2))
    shuffled = [rows[i] for i in stream("tests/shuffled").permutation(len(rows))]
    first, again = (homogeneity_table(score_arrays(own)) for own in (rows, shuffled))
    assert len(first) == 2 + 3 * 2
    pd.testing.assert_frame_equal(first, again)


def test_any_order_of_seeds_gives_a_test_of_the_same_level():
    value = shared_draws(3, 2, 5, 1500)
    seen = []
    for order in ([0, 1, 2, 3, 4], [3, 0, 4, 2, 1]):
        table = homogeneity_table([array_of(value[:, :, order])])
        seen.append(table[table["kind"] == "method"]["p"].to_numpy())
        assert np.mean(seen[-1] < 0.05) == pytest.approx(0.05, abs=0.017)
    assert not np.allclose(*seen)
