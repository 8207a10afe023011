"""How long the parts of a cell take."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Timings:
    """Wall-clock seconds of named parts."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def of(self, part: str, before: Callable[[], float] = lambda: 0.0) -> Iterator[None]:
        """Measure a part. `before`: seconds that it took in processes that were killed."""
        start = time.perf_counter()
        yield
        self.seconds[part] = time.perf_counter() - start + before()
