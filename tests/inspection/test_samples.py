"""Descriptors of samples by hand, and what stands out."""

import numpy as np
import pytest
from helpers.sets import make_set
from helpers.words import PAD

from calib_sweep.inspection.samples import describe_samples, find_outliers, robust_z


def test_descriptors_by_hand():
    described = describe_samples(
        make_set(
            [[7, 7, 8, 9], [7, 8, PAD, PAD]],
            texts=["one\ntwo\n\none \nthree", "a1 b2 !"],
            lengths=[4, 2],
        )
    )
    assert described["length"].tolist() == [4, 2]
    assert described["unique_share"].tolist() == [0.75, 1.0]
    assert described["repeated_lines"].tolist() == [0.25, 0.0]
    assert described["non_alphabetic"].tolist() == [0.0, 0.6]
    assert (described["compression"] > 0).all()


def test_repetitive_text_compresses_and_an_empty_text_is_harmless():
    described = describe_samples(make_set([[1], [1], [1]], ["word " * 200, "a quick fox", ""]))
    repetitive, short, empty = described["compression"]
    assert repetitive < 0.1 < short and empty == 1.0
    assert described["repeated_lines"][2] == described["non_alphabetic"][2] == 0


def test_robust_z_by_hand():
    # Median 3, absolute deviations 2 1 0 1 97, their median 1.
    z = robust_z(np.array([1.0, 2.0, 3.0, 4.0, 100.0]))
    assert np.allclose(z, 0.6745 * np.array([-2, -1, 0, 1, 97]))


def test_robust_z_where_most_values_are_equal():
    z = robust_z(np.array([0.0] * 9 + [1.0]))
    assert np.allclose(z, [0] * 9 + [1 / (1.253314 * 0.1)])
    assert robust_z(np.full(5, 0.3)).tolist() == [0] * 5


def test_outliers_are_listed_worst_first():
    values = np.array([1.0, 2.0, 3.0, 4.0, 100.0])
    found = find_outliers({"length": values, "unique_share": -10 * values, "flat": np.ones(5)})
    assert [(sample, name) for sample, name, _, _ in found] == [
        (4, "length"),
        (4, "unique_share"),
    ]
    assert found[0][2:] == (100.0, pytest.approx(0.6745 * 97))
