"""Samples that were written, as the arrays of a set.

Shapes: N samples, T tokens of a sample.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.dataset.generating.first_words import start_token

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def assemble(
    written: Sequence[Sequence[int]],
    calibration: Calibration,
    tokenizer: "PreTrainedTokenizerBase",
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the tokens [N, T] and, where texts stand alone, their lengths [N]."""
    if calibration.window != "document":
        return np.array(written, dtype=np.int64), None
    padding = tokenizer.pad_token_id
    padding = start_token(tokenizer) if padding is None else padding
    tokens_NT = np.full((len(written), calibration.seq_len), padding, dtype=np.int64)
    for row, tokens in enumerate(written):
        tokens_NT[row, : len(tokens)] = tokens
    return tokens_NT, np.array([len(tokens) for tokens in written], dtype=np.int64)
