"""Pools written by hand."""

from collections.abc import Callable

import numpy as np
import pytest
from helpers.words import make_tokenizer

from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.dataset.selector.base import Pool

TOKENIZER = make_tokenizer()


@pytest.fixture
def pool_of() -> Callable[..., Pool]:
    """`pool_of(rows)`: a pool of token rows, padded with 3, or of texts."""

    def make(rows, texts=None, seed=0, model=None) -> Pool:
        width = max(map(len, rows))
        tokens_NT = np.full((len(rows), width), 3, dtype=np.int64)
        for place, row in enumerate(rows):
            tokens_NT[place, : len(row)] = row
        texts = [" ".join(map(str, row)) for row in rows] if texts is None else texts
        return Pool(
            candidates=CalibrationSet(
                tokens_NT=tokens_NT,
                lengths_N=np.array([len(row) for row in rows]),
                samples=[{"document": str(i), "offset": 0, "text": t} for i, t in enumerate(texts)],
                card={},
            ),
            draw_name="pool",
            seed=seed,
            tokenizer=TOKENIZER,
            model=model,
        )

    return make
