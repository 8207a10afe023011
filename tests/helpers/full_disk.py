"""A disk that has no room for more: what the operating system answers, not what a test makes up."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_room(num_bytes: int = 1024) -> Iterator[None]:
    """Meanwhile no file of this process can grow beyond so many bytes: `OSError` says so."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
