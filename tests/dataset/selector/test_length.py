"""Bands of quantiles, of lengths for one."""

import numpy as np
import pytest

from calib_sweep.dataset.selector.length import LengthBand
from calib_sweep.errors import ConfigError


def band(low=0.5, high=1.0, pool_size=None):
    return LengthBand(name="length", pool_size=pool_size, low=low, high=high)


def lengths(pool_of, *values):
    return pool_of([[9] * value for value in values])


def test_a_band_by_hand(pool_of):
    pool = lengths(pool_of, 5, 1, 4, 2, 3, 6)
    assert band().select(pool, 3).chosen.tolist() == [0, 2, 5]  # 5, 4, 6: the longer half
    assert band(0, 0.5).select(pool, 2).chosen.tolist() == [1, 3]  # 1, 2 of 1, 2, 3
    assert band(1 / 3, 2 / 3).select(pool, 2).chosen.tolist() == [2, 4]
    assert band().select(pool, 3).scores_C.tolist() == [5, 1, 4, 2, 3, 6]


def test_equal_lengths_count_in_the_order_of_the_pool(pool_of):
    assert band(0, 0.5).select(lengths(pool_of, 2, 2, 1, 2), 2).chosen.tolist() == [0, 2]


@pytest.mark.parametrize(("low", "high"), [(0, 0.8), (0.13, 0.57), (0.9, 1), (0, 1)])
def test_every_chosen_length_lies_between_those_left_out(pool_of, low, high):
    values = np.random.default_rng(0).integers(1, 60, size=100)
    chosen = band(low, high).select(lengths(pool_of, *values), 10).chosen
    ordered = np.sort(values)
    first, end = round(100 * low), round(100 * high)
    assert (values[chosen] >= ordered[first]).all() and (values[chosen] <= ordered[end - 1]).all()
    assert (np.diff(chosen) > 0).all()


def test_more_samples_begin_with_the_same_ones(pool_of):
    pool = lengths(pool_of, *range(1, 41))
    few, many = (band().select(pool, n).chosen.tolist() for n in (5, 15))
    assert many[:5] == few


def test_lengths_that_are_all_equal_choose_nothing(pool_of):
    with pytest.raises(ConfigError, match=r"different lengths .* all 3 have 4 tokens"):
        band().select(lengths(pool_of, 4, 4, 4), 1)


@pytest.mark.parametrize("ends", [(0.5, 0.5), (0.6, 0.5), (-0.1, 1), (0, 1.1), ("a", 1), (0, True)])
def test_a_band_that_is_none_is_refused(ends):
    with pytest.raises(ConfigError, match=r"dataset\.selector\.low and dataset\.selector\.high="):
        band(*ends)


def test_a_band_too_narrow_for_the_set_is_refused_before_the_pool_is_drawn():
    band(0.5, 1, pool_size=8).check(4)
    with pytest.raises(ConfigError, match=r"at least calibration\.num_samples=5 .* it holds 4"):
        band(0.5, 1, pool_size=8).check(5)
