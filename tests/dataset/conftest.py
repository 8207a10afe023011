"""A word tokenizer, small settings, and documents in which no word occurs twice."""

from collections.abc import Callable

import pytest
from helpers.sets import make_settings
from helpers.words import NUM_WORDS, make_tokenizer, text_of
from transformers import PreTrainedTokenizerFast

from calib_sweep.dataset.calibration.settings import Calibration


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture(scope="session")
def settings() -> Callable[..., Calibration]:
    """Calibration settings with small defaults."""
    return make_settings


@pytest.fixture(scope="session")
def documents() -> list[str]:
    """60 documents of 1 to 60 words; no word occurs twice anywhere, so any overlap shows."""
    texts, first = [], 0
    for number in range(60):
        length = 1 + (number * 7) % 60
        texts.append(text_of(first, length))
        first += length
    assert first < NUM_WORDS
    return texts
