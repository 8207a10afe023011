"""The folder in which processes keep for each other what they made of documents.

Where it is changes no draw, so it is not handed down through datasets: whoever draws says it once.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from calib_sweep.places import DOCUMENTS

_results_dir: ContextVar[Path | None] = ContextVar("results_dir", default=None)


@contextlib.contextmanager
def kept_in(results_dir: Path | None) -> Iterator[None]:
    """Keep what the block makes of documents in `results_dir`; None: nowhere."""
    before = _results_dir.set(results_dir)
    try:
        yield
    finally:
        _results_dir.reset(before)


def kept_documents() -> Path | None:
    """Return the folder of what is kept; None: nothing is."""
    results_dir = _results_dir.get()
    return None if results_dir is None else Path(results_dir) / DOCUMENTS
