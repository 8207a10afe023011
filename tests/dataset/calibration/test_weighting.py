"""How much each token counts, from lengths and marks of answers."""

import numpy as np
import pytest

from calib_sweep.dataset.calibration.artifact import describe_draw
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.dataset.calibration.settings import WEIGHTINGS, Calibration
from calib_sweep.dataset.calibration.weighting import token_weights
from calib_sweep.errors import ConfigError


def set_of(lengths=None, answers=None, shape=(3, 4)):
    return CalibrationSet(
        tokens_NT=np.zeros(shape, dtype=np.int64),
        lengths_N=None if lengths is None else np.array(lengths),
        answers_NT=None if answers is None else np.array(answers, dtype=bool),
        samples=[],
        card={"dataset": "talk", "seed": 7},
    )


def test_every_sequence_counts_once():
    weights = token_weights(set_of(lengths=[4, 1, 1]), "sequences")
    assert weights is not None and weights.dtype == np.float32
    assert weights.tolist() == [[0.5] * 4, [2, 0, 0, 0], [2, 0, 0, 0]]
    assert weights.sum(axis=1).tolist() == [2, 2, 2]  # mean length


def test_tokens_count_once_and_sequences_of_one_length_too():
    assert token_weights(set_of(lengths=[4, 1, 1]), "tokens") is None
    assert token_weights(set_of(lengths=[3, 3, 3]), "sequences") is None
    assert token_weights(set_of(), "sequences") is None


def test_answers_count_once_and_nothing_else():
    answers = [[0, 1, 1, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    assert np.array_equal(token_weights(set_of(answers=answers), "answers_only"), answers)
    weights = token_weights(set_of(answers=answers, lengths=[2, 2, 4]), "answers_only")
    assert weights.tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_a_set_that_is_all_answers_counts_as_one_of_tokens():
    answers = [[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]]
    assert token_weights(set_of(answers=answers, lengths=[3, 1, 2]), "answers_only") is None


@pytest.mark.parametrize(
    ("drawn", "message"),
    [
        (set_of(), "'talk' does not tell which tokens are answers"),
        (set_of(answers=np.zeros((3, 4))), "set of seed 7, but none of the .* 'talk'.*3 x 4"),
        (set_of(answers=np.eye(3, 4, 1), lengths=[1, 1, 1]), "none of the tokens"),
    ],
)
def test_a_set_without_answers_is_refused(drawn, message):
    with pytest.raises(ConfigError, match=f"calibration.weighting='answers_only'.*{message}"):
        token_weights(drawn, "answers_only")


def test_all_weightings_are_of_one_set(tokenizer):
    class Nothing:
        name = "nothing"

        def fingerprint(self):
            return None

    dataset = Nothing()
    sizes = {"num_samples": 2, "seq_len": 8, "design": "disjoint", "window": "slice", "bos": "none"}
    described = [
        describe_draw(dataset, tokenizer, Calibration(**sizes, weighting=weighting), 0, None)
        for weighting in WEIGHTINGS
    ]
    assert described[0] == described[1] == described[2]
    with pytest.raises(
        ConfigError, match=r"calibration\.weighting='words': expected one of tokens"
    ):
        Calibration(**sizes, weighting="words")
