"""Manners for other people's code in this process: no advice, no progress bars, no traces."""

import contextlib
import io
import logging
import random
from collections.abc import Iterator
from typing import Any

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


@contextlib.contextmanager
def sandboxed_templates(holder: Any) -> Iterator[None]:
    """Have the module that holds Jinja's environment as `env` render in a sandbox.

    Without it a template can run any code. What is rendered is the same.
    """
    from jinja2.sandbox import SandboxedEnvironment

    before = holder.env
    holder.env = SandboxedEnvironment(
        loader=before.loader,
        undefined=before.undefined,
        keep_trailing_newline=before.keep_trailing_newline,
    )
    holder.env.filters = before.filters
    try:
        yield
    finally:
        holder.env = before
