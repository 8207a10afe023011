"""Reading a checkpoint by transformers: without its bars and reports, and what it raises."""

from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import SafetensorError


def unreadable() -> tuple[type[Exception], ...]:
    """What transformers raises where a file of a checkpoint is not as it expects."""
    from huggingface_hub.errors import StrictDataclassError

    told = (OSError, ValueError, ImportError, SafetensorError, StrictDataclassError)
    return (*told, TypeError, LookupError, AttributeError)  # by code that takes it for granted


def first_words(error: Exception) -> str:
    """What an error says up to the end of a line, and what kind it is where that tells more."""
    lines = [line.strip() for line in str(error).strip().split("\n")]
    text = " ".join(lines[:2] if lines[0].endswith((":", "of")) else lines[:1]).rstrip(".: ")
    is_bare = isinstance(error, TypeError | LookupError | AttributeError)
    return f"{type(error).__name__}: {text}" if is_bare else text


@contextmanager
def quiet() -> Iterator[None]:
    """Without loading bars, which would tear our progress display, and reports that we check."""
    from transformers.utils import logging as transformers_logging

    was_shown = transformers_logging.is_progress_bar_enabled()
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if was_shown:
            transformers_logging.enable_progress_bar()
