"""Random choices for the text generator.

Only `Generator.random` is used, whose stream is the raw bits of PCG64, so that the text does not
change with the numpy version.
"""

from collections.abc import Sequence
from typing import TypeVar

from calib_sweep.seeding import stream

Item = TypeVar("Item")


class Draw:
    """Picks from sequences with its own named stream."""

    def __init__(self, name: str, *parts: str | int) -> None:
        self._generator = stream(name, *parts)
        self._buffer: list[float] = []

    def unit(self) -> float:
        """Uniform in [0, 1)."""
        if not self._buffer:
            self._buffer = self._generator.random(256).tolist()
        return self._buffer.pop()

    def below(self, bound: int) -> int:
        return int(self.unit() * bound)

    def between(self, low: int, high: int) -> int:
        """An integer from low to high, both included."""
        return low + int(self.unit() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        return self.unit() < probability

    def pick(self, items: Sequence[Item]) -> Item:
        return items[int(self.unit() * len(items))]

    def sample(self, items: Sequence[Item], count: int) -> list[Item]:
        """`count` different positions of `items`, in random order."""
        pool = list(items)
        return [pool.pop(int(self.unit() * len(pool))) for _ in range(count)]

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        return self.sample(items, len(items))
