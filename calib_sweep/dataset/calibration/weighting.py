"""How much each token of a calibration set counts in what methods learn of a layer's inputs.

    tokens         every token once
    sequences      every sample as much as any other, however long it is: mean length / own length,
                   as H = mean over samples of (1 / length) X^T X (MaCa, arXiv:2602.07465)
    answers_only   tokens that are answers once, all others not at all

Padding never counts. Weights add up to the number of tokens that count (`sequences`), or are 0 and
1 (`answers_only`): where all tokens count once there are none, and results are those of `tokens`.

Shapes: N = samples, T = tokens in a sample.
"""

import numpy as np

from calib_sweep.dataset.calibration.calibration_set import CalibrationSet, not_padding
from calib_sweep.dataset.calibration.settings import ANSWERS_ONLY, SEQUENCES, TOKENS, WEIGHTINGS
from calib_sweep.errors import ConfigError, require

KEY = "calibration.weighting"
REMEDY = f"type {KEY}={TOKENS}"


def token_weights(drawn: CalibrationSet, weighting: str) -> np.ndarray | None:
    """Return how often each token counts, float32 [N, T], 0 at padding; None: every token once.

    Raises `ConfigError` where no token would count.
    """
    assert weighting in WEIGHTINGS, weighting
    if weighting == TOKENS:
        return None
    is_token_NT = not_padding(drawn.tokens_NT, drawn.lengths_N)
    weights_NT = _of_sequences(is_token_NT) if weighting == SEQUENCES else _of_answers(drawn)
    weights_NT = np.where(is_token_NT, weights_NT, 0).astype(np.float32)
    return None if (weights_NT[is_token_NT] == 1).all() else weights_NT


def _of_sequences(is_token_NT: np.ndarray) -> np.ndarray:
    """Mean length over own length, [N, 1]."""
    lengths_N1 = is_token_NT.sum(axis=1, keepdims=True)
    return lengths_N1[lengths_N1 > 0].mean() / np.maximum(lengths_N1, 1)


def require_answers(name: object, tells_answers: bool, weighting: str) -> None:
    """Refuse to weight answers of a dataset that does not tell which tokens these are."""
    require(
        tells_answers or weighting != ANSWERS_ONLY,
        KEY,
        weighting,
        f"a dataset that marks its answers, but {name!r} does not tell which tokens are answers",
        f"Choose one of conversations, such as dataset=chat, or {REMEDY}.",
    )


def _of_answers(drawn: CalibrationSet) -> np.ndarray:
    """1 at answers, 0 elsewhere, [N, T]."""
    answers_NT, name = drawn.answers_NT, drawn.card.get("dataset")
    require_answers(name, answers_NT is not None, ANSWERS_ONLY)
    assert answers_NT is not None
    if not (answers_NT & not_padding(drawn.tokens_NT, drawn.lengths_N)).any():
        num_samples, seq_len = drawn.tokens_NT.shape
        raise ConfigError(
            f"{KEY}={ANSWERS_ONLY!r}: expected answers in the set of seed "
            f"{drawn.card.get('seed')}, but none of the tokens of dataset {name!r} is one "
            f"({num_samples} x {seq_len} tokens). Raise calibration.seq_len so that samples reach "
            f"the answers, or {REMEDY}."
        )
    return answers_NT
