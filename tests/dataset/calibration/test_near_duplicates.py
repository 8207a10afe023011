"""MinHash against the exact Jaccard index of sets of runs."""

import numpy as np
import pytest

from calib_sweep.dataset.calibration.near_duplicates import (
    PERMUTATIONS,
    RUN,
    near_duplicates,
    signatures,
    similarity,
)


def runs(row):
    return {tuple(row[i : i + RUN]) for i in range(len(row) - RUN + 1)}


def jaccard(one, other):
    one, other = runs(one), runs(other)
    return len(one & other) / len(one | other)


def altered(row, generator, num):
    """The row with tokens replaced at `num` places."""
    row = row.copy()
    row[generator.choice(len(row), num, replace=False)] = generator.integers(5000, 9000, num)
    return row


@pytest.fixture(scope="module")
def rows():
    """A row, and others with more and more of its tokens replaced."""
    generator = np.random.default_rng(0)
    first = generator.integers(10, 4000, size=400)
    return np.stack([first, *(altered(first, generator, num) for num in (2, 8, 30, 100))])


def test_the_estimate_is_the_jaccard_index_within_its_error(rows):
    signature = signatures(rows, None)
    exact = np.array([[jaccard(one, other) for other in rows] for one in rows])
    error = np.sqrt(exact * (1 - exact) / PERMUTATIONS)
    assert (np.abs(similarity(signature, signature) - exact) <= 4 * error + 1e-12).all()
    assert exact[0, 1] > 0.9 and 0.3 < exact[0, 3] < 0.7  # or nothing was tried


def test_pairs_above_the_threshold_are_named_in_order(rows):
    copies = np.stack([rows[4], rows[0], rows[1], rows[0]])
    pairs = near_duplicates(signatures(copies, None), 0.8)
    assert [(a, b) for a, b, _ in pairs] == [(1, 2), (1, 3), (2, 3)] and pairs[1][2] == 1.0


def test_padding_does_not_count(rows):
    padded = np.full((2, 400), 3)
    padded[:, :50] = rows[0, :50]
    padded[1, 50:] = 7
    one, other = signatures(padded, np.array([50, 50]))
    assert np.array_equal(one, other)
    assert np.array_equal(one, signatures(rows[:1, :50], None)[0])


def test_samples_shorter_than_a_run_are_alike_only_if_equal():
    tokens = np.array([[1, 2, 9, 9, 9, 9], [1, 2, 8, 8, 8, 8], [1, 3, 9, 9, 9, 9]])
    signature = signatures(tokens, np.array([2, 2, 2]))
    assert [(a, b) for a, b, _ in near_duplicates(signature)] == [(0, 1)]


def test_order_and_repetition_of_runs_do_not_count():
    """Jaccard is of sets: a text repeated has its runs, and few more where it joins."""
    once = np.arange(100, 200)
    twice = np.concatenate([once, once])
    tokens = np.full((2, 200), 0)
    tokens[0, :100], tokens[1] = once, twice
    signature = signatures(tokens, np.array([100, 200]))
    assert jaccard(once, twice) == 96 / 100
    assert similarity(signature[:1], signature[1:])[0, 0] > 0.9
