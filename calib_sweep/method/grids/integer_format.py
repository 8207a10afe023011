"""The format of weights that hold integers: min-max grids, or those that the search shrinks.

Shapes: O = out_features, I = in_features.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from torch import Tensor

from calib_sweep.method.grids.grid import Grid, Integers, average_bits, fit_grid, mean_group
from calib_sweep.method.grids.grid_search import search_grid


@final
@dataclass(frozen=True, kw_only=True)
class IntegerFormat:
    """Settings of integer grids."""

    bits: int
    group_size: int | None  # neighbouring columns that share a scale; None: the whole row
    symmetric: bool  # whether every zero point is 2^(bits - 1)
    searches: bool = False  # whether grids are shrunk to the least rounding error

    @property
    def is_static(self) -> bool:
        return False

    @property
    def levels(self) -> Integers:
        return Integers(bits=self.bits)

    def fit(self, weight_OI: Tensor, importance_I: Tensor | None = None) -> Grid:
        settings = self.bits, self.group_size, self.symmetric
        if self.searches or importance_I is not None:
            return search_grid(weight_OI, *settings, importance_I)
        return fit_grid(weight_OI, *settings)

    def average_bits(self, num_out: int, num_in: int) -> float:
        return average_bits(self.bits, mean_group(num_in, self.group_size), self.symmetric)

    def factor_of(self, weights: Iterable[Tensor]) -> None:
        return None
