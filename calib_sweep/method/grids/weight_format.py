"""What a method asks of the points that it rounds weights to, whatever these points are.

    WeightFormat    known from settings: fits a grid to weights, counts the bits of a weight
    WeightGrid      the scale of every group; rounds a matrix
    Levels          the points of a scale of 1; what a solver of columns needs of them

Integers (`grid.py`) and floating-point numbers of few bits (`float_formats.py`) are of this form.

Shapes: O = out_features, I = in_features, G = groups per row, B = columns of a block.
"""

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor

from calib_sweep.method.column_rounding import ColumnRounding


class Levels(Protocol):
    """The points of a grid of scale 1. Hashable: recorded launches are known by it."""

    def nearest(self, weight: Tensor, scale: Tensor, zero_point: Tensor | None) -> Tensor:
        """Return the point nearest to every weight, in its units; shapes broadcast."""
        ...

    def rounding(self, scale_BO: Tensor, zero_point_BO: Tensor | None) -> ColumnRounding:
        """Say how a block of columns with these scales is rounded, one after the other."""
        ...


class WeightGrid(Protocol):
    """Scale, and for integers zero point, of every group of a layer."""

    @property
    def scale_OG(self) -> Tensor: ...

    @property
    def zero_point_OG(self) -> Tensor | None: ...

    @property
    def group_size(self) -> int | None:
        """Columns of all groups but the last; None: one group."""
        ...

    @property
    def levels(self) -> Levels: ...

    def cpu(self) -> "WeightGrid": ...

    def round(self, weight_OI: Tensor) -> Tensor:
        """Return the nearest representable weight, float32."""
        ...


class WeightFormat(Protocol):
    """Settings of all grids that a method fits, known before any weight is read."""

    @property
    def bits(self) -> int:
        """Bits of a weight, without its share of a scale."""
        ...

    @property
    def group_size(self) -> int | None:
        """Neighbouring columns that share a scale; None: the whole row."""
        ...

    @property
    def is_static(self) -> bool:
        """Whether grids are always fitted to dense weights, before a solver changes any."""
        ...

    def fit(self, weight_OI: Tensor, importance_I: Tensor | None = None) -> WeightGrid:
        """Fit the grid of every group to these weights.

        `importance_I`: how much an error in each column counts, in a search of its own.
        """
        ...

    def average_bits(self, num_out: int, num_in: int) -> float:
        """Return the bits per weight of such a layer, its share of all scales included."""
        ...

    def factor_of(self, weights: Iterable[Tensor]) -> float | None:
        """Return the factor that layers share which runtimes fuse; None: they share none."""
        ...
