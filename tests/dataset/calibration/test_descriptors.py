"""The descriptors of a set's tokens, by hand, and where they are kept."""

import numpy as np
import pytest

from calib_sweep.dataset.calibration.artifact import draw_or_load
from calib_sweep.dataset.calibration.descriptors import (
    OF_TOKENS,
    describe_tokens,
    diversities,
    repetition,
    zipf_exponent,
)
from calib_sweep.dataset.vocabulary import Vocabulary


def test_descriptors_of_a_small_set():
    """Eight tokens, 4 times 1 and once 2, 3, 4, 5: entropy 0.5 * 1 + 4 / 8 * 3 = 2 bits."""
    found = describe_tokens(np.array([[1, 1, 2, 3], [1, 1, 4, 5]]), None, vocabulary=10)
    assert found == {
        "entropy": pytest.approx(2.0),
        "unique_share": 5 / 8,
        "duplicates": 0.0,
        "filled": 1.0,
        "repetition": 1 / 4,  # the second 1 of each
        "coverage": 0.5,
        "diversity": pytest.approx((5 / 8 + 5 / 6 + 4 / 4 + 2 / 2) / 4),
        "zipf": pytest.approx(0.821654, abs=1e-6),  # 0.957498 ln 4 / 1.615491, of ranks 1 to 5
    }


def test_frequencies_that_halve_with_twice_the_rank_have_exponent_one():
    assert zipf_exponent(np.array([3, 12, 4, 6])) == pytest.approx(1.0)
    assert zipf_exponent(np.array([5, 5, 5])) == pytest.approx(0.0, abs=1e-12)
    assert zipf_exponent(np.array([7])) is None


def test_runs_and_repetition_are_those_of_a_slow_count():
    generator = np.random.default_rng(0)
    tokens_NT = generator.integers(0, 5, (7, 12))
    lengths_N = generator.integers(1, 13, 7)
    rows = [tuple(row[:n]) for row, n in zip(tokens_NT.tolist(), lengths_N, strict=True)]
    seen_before = [[t in row[:i] for i, t in enumerate(row)] for row in rows]
    slow = [sum(seen) / len(seen) for seen in seen_before]
    assert repetition(tokens_NT, lengths_N) == pytest.approx(slow)
    for n, found in enumerate(diversities(tokens_NT, lengths_N), 1):
        runs = [row[i : i + n] for row in rows for i in range(len(row) - n + 1)]
        assert found == pytest.approx(len(set(runs)) / len(runs))


def test_samples_of_one_token_have_no_longer_runs():
    found = describe_tokens(np.array([[3], [4]]), None)
    assert (found["diversity"], found["repetition"], found["coverage"]) == (1.0, 0.0, None)


@pytest.mark.slow
def test_the_exponent_of_a_uniform_vocabulary_is_near_the_published_one():
    """Williams et al. print 0.49 for Llama 3.1 and 128 x 2048 tokens: theirs is this definition."""
    drawn = np.random.default_rng(0).integers(0, 128_256, 128 * 2048)
    found = zipf_exponent(np.unique(drawn, return_counts=True)[1])
    assert found == pytest.approx(0.49, abs=0.03)


def test_padding_is_no_token_and_a_repeated_sample_is_a_duplicate():
    tokens_NT = np.array([[7, 7, 0, 0], [7, 7, 0, 0]])
    found = describe_tokens(tokens_NT, np.array([2, 2]))
    assert (found["entropy"], found["unique_share"]) == (0.0, 0.25)
    assert (found["duplicates"], found["filled"]) == (0.5, 0.5)


def test_they_stand_in_the_card_of_a_set_drawn_now_or_before(tmp_path, tokenizer, settings):
    for _ in range(2):
        drawn = draw_or_load(tmp_path, Vocabulary(name="r"), tokenizer, settings(), 0)
        assert drawn.card["descriptors"] == describe_tokens(
            drawn.tokens_NT, drawn.lengths_N, len(tokenizer)
        )
        assert tuple(drawn.card["descriptors"]) == OF_TOKENS
