"""Random choices for the text generator.

Only `Generator.random` and multiplication are used, which give the same bits everywhere, so that
the text does not change with the machine or the numpy version.
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
            self._buffer = self._generator.random(512).tolist()
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

    def ranked(self, items: Sequence[Item]) -> Item:
        """Early items more often: position x has a density proportional to 1 / sqrt(x)."""
        unit = self.unit()
        return items[int(unit * unit * len(items))]

    def sample(self, items: Sequence[Item], count: int) -> list[Item]:
        """`count` different positions of `items`, in random order."""
        pool = list(items)
        return [pool.pop(int(self.unit() * len(pool))) for _ in range(count)]

    def ranked_sample(self, items: Sequence[Item], count: int) -> list[Item]:
        """`count` different positions, early ones more likely and mostly first."""
        pool = list(items)
        units = [self.unit() for _ in range(count)]
        return [pool.pop(int(unit * unit * len(pool))) for unit in units]

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        return self.sample(items, len(items))
