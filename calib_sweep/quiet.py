"""Keep other libraries quiet: no bars over ours, no reports of what we check ourselves."""

import contextlib
import io
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Show no loading bars, which would tear our progress display, and no reports that we check."""
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


@contextlib.contextmanager
def quiet_datasets() -> Iterator[None]:
    """Silence the `datasets` library: its bars, and what it logs of an error that it raises too."""
    import datasets

    were_on = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with quiet_logger("datasets", logging.CRITICAL):
            yield
    finally:
        if were_on:
            datasets.enable_progress_bars()


@contextlib.contextmanager
def offline_hub() -> Iterator[None]:
    """Have the hub's clients look into their cache only, without asking: they retry for long."""
    from datasets import config
    from huggingface_hub import constants

    name, places = "HF_HUB_OFFLINE", (config.__dict__, constants.__dict__)
    before = [place[name] for place in places]
    for place in places:
        place[name] = True
    try:
        yield
    finally:
        for place, was_offline in zip(places, before, strict=True):
            place[name] = was_offline


def no_progress_bars() -> contextlib.AbstractContextManager:
    """Nothing on stderr, for code that takes no word against its bars. Log lines stay."""
    return contextlib.redirect_stderr(io.StringIO())


@contextlib.contextmanager
def quiet_logger(logger_name: str, least: int = logging.ERROR) -> Iterator[None]:
    """Let errors alone through from the logger of this name; others with `least`."""
    logger = logging.getLogger(logger_name)
    before = logger.level
    logger.setLevel(least)
    try:
        yield
    finally:
        logger.setLevel(before)
