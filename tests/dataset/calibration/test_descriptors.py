"""The descriptors of a set's tokens, by hand, and where they are kept."""

import numpy as np
import pytest

from calib_sweep.dataset.calibration.artifact import draw_or_load
from calib_sweep.dataset.calibration.descriptors import OF_TOKENS, describe_tokens
from calib_sweep.dataset.vocabulary import Vocabulary


def test_descriptors_of_a_small_set():
    """Eight tokens, 4 times 1 and once 2, 3, 4, 5: entropy 0.5 * 1 + 4 / 8 * 3 = 2 bits."""
    found = describe_tokens(np.array([[1, 1, 2, 3], [1, 1, 4, 5]]), None)
    assert found == {
        "entropy": pytest.approx(2.0),
        "unique_share": 5 / 8,
        "duplicates": 0.0,
        "filled": 1.0,
    }


def test_padding_is_no_token_and_a_repeated_sample_is_a_duplicate():
    tokens_NT = np.array([[7, 7, 0, 0], [7, 7, 0, 0]])
    found = describe_tokens(tokens_NT, np.array([2, 2]))
    assert (found["entropy"], found["unique_share"]) == (0.0, 0.25)
    assert (found["duplicates"], found["filled"]) == (0.5, 0.5)


def test_they_stand_in_the_card_of_a_set_drawn_now_or_before(tmp_path, tokenizer, settings):
    for _ in range(2):
        drawn = draw_or_load(tmp_path, Vocabulary(name="r"), tokenizer, settings(), 0)
        assert drawn.card["descriptors"] == describe_tokens(drawn.tokens_NT, drawn.lengths_N)
        assert tuple(drawn.card["descriptors"]) == OF_TOKENS
