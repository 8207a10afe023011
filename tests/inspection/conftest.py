"""A word tokenizer and small settings."""

from collections.abc import Callable

import pytest
from helpers.sets import make_settings
from helpers.words import make_tokenizer
from transformers import PreTrainedTokenizerFast

from calib_sweep.dataset.calibration.settings import Calibration


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture(scope="session")
def settings() -> Callable[..., Calibration]:
    return make_settings
