"""Duplicates and what sets share, by hand."""

import pytest
from helpers.sets import make_set
from helpers.words import PAD, ids_of

from calib_sweep.inspection.shared import (
    find_duplicates,
    shared_documents,
    shared_windows,
)


def test_exact_duplicates_are_grouped():
    rows = [[1, 2], [3, 4], [1, 2], [5, 6], [3, 4], [1, 2]]
    assert find_duplicates(make_set(rows)) == [[0, 2, 5], [1, 4]]


def test_shared_documents_count_all_that_a_sample_touches():
    one = make_set([[1], [2]], names=["a", "b"])
    other = make_set([[1], [2]], names=["c", "b"])
    assert shared_documents(one, other) == 1
    other.samples[0]["documents"] = ["c", "a"]
    assert shared_documents(one, other) == 2


def test_shared_windows_by_hand():
    one = make_set([ids_of(0, 60)])  # 11 windows of 50
    other = make_set([ids_of(5, 60)])  # begins 5 later: 6 of them are there too
    assert shared_windows(one, other) == pytest.approx(6 / 11)
    assert shared_windows(one, one) == 1.0
    assert shared_windows(one, make_set([ids_of(500, 60)])) == 0.0
    assert shared_windows(make_set([ids_of(0, 49)]), one) == 0.0


def test_windows_do_not_reach_into_padding_or_the_next_sample():
    half = ids_of(0, 30)
    one = make_set([[*ids_of(0, 50), *[PAD] * 10]], lengths=[50])
    padded = make_set([[*ids_of(0, 49), *[PAD] * 11]], lengths=[49])
    assert shared_windows(one, padded) == 0.0
    assert shared_windows(padded, padded) == 0.0
    assert shared_windows(make_set([half, ids_of(30, 30)]), make_set([ids_of(0, 60)])) == 0.0
