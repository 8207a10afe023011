"""Manners for other people's code in this process: no advice, no progress bars, no traces."""

import contextlib
import io
import logging
import random
from collections.abc import Iterator

import numpy as np


@contextlib.contextmanager
def quiet(logger_name: str) -> Iterator[None]:
    """Errors alone from the logger of this name."""
    logger = logging.getLogger(logger_name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def no_progress_bars() -> contextlib.AbstractContextManager:
    """Nothing on stderr, for code that takes no word against its bars. Log lines stay."""
    return contextlib.redirect_stderr(io.StringIO())


@contextlib.contextmanager
def constant_global_seeds() -> Iterator[None]:
    """The global seeds that lm-eval sets, for tasks that draw; then as they were before."""
    import torch

    before = random.getstate(), np.random.get_state(), torch.random.get_rng_state()  # noqa: NPY002
    random.seed(0)
    np.random.seed(1234)  # noqa: NPY002
    torch.default_generator.manual_seed(1234)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.random.set_rng_state(before[2])
