"""SparseGPT: remove weights column by column and let the columns to the right make up for it.

Frantar & Alistarh 2023, arXiv:2301.00774, algorithm 1, as their code computes it:

    H = (2/N) sum x x^T + damping * mean(diag H) * 1        U^T U = H^-1, U upper triangular
    score[o, i] = W[o, i]^2 / U[i, i]^2                     the lowest get keep[o, i] = 0
    Q[o, i] = keep[o, i] * W[o, i]; with `bits`, the point of the grid of `grid.py` nearest to that
    W[o, j] -= (W[o, i] - Q[o, i]) / U[i, i] * U[i, j]      for j > i

Features that were zero in every token are dead: their weights become zero, and their diagonal 1
counts in the mean that scales the damping. Unstructured: all rows x `block_size` columns are one
comparison group, with scores of the weights as the earlier blocks left them; scores at the
threshold go too, so each block loses at least one weight more than `int(size * sparsity)`, and
sparsity 0 still removes one (and its ties) per block. N:M: the N kept of every M columns are
chosen when the sweep reaches the group, on weights already updated inside the block.

With `bits`, grids are fitted to the dense weight beforehand, before dead columns are zeroed; a
removed weight stays exactly 0, and a kept one may round to 0. The published code has one asymmetric
grid per row (`group_size: null`, `symmetric: false`). Average bits, g = columns of a group, as the
paper counts them: a bit per weight says which are kept, and
bits * share of kept weights + 1 + (16 + bits) / g (symmetric: 16 / g).

Where no token reached a layer H would be 0, and the rule above would erase the layer; instead H is
taken as the identity (nothing to repair) and the report says so. Not theirs, and off at 1:
`off_diagonal`, by which the entries of H off its diagonal are multiplied first.

Shapes: O = out_features, I = in_features, B = columns of a block.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor

from calib_sweep.errors import collected, require
from calib_sweep.method.base import CompressedWeight, LayerMethod, Work
from calib_sweep.method.column_solver import ColumnSolver, Decision, column_blocks
from calib_sweep.method.gpu.precision import full_float32
from calib_sweep.method.grids.column_grids import ColumnGrids
from calib_sweep.method.grids.float_formats import OCP
from calib_sweep.method.grids.formats import INT, check_format, weight_format
from calib_sweep.method.grids.weight_format import Levels, WeightFormat
from calib_sweep.method.selection.masks import at_or_below_threshold, lowest_in_groups
from calib_sweep.method.settings import (
    check_block_size,
    check_damping,
    check_group_size,
    check_groups_fit,
    check_off_diagonal,
    check_pattern,
    check_sparsity,
    check_symmetric,
    num_kept_and_group_length,
)
from calib_sweep.method.statistics.hessian import Hessian
from calib_sweep.method.statistics.statistic import Statistic

STRIP_LENGTH = 32  # columns updated one by one before a matrix product; speed, not results
MASK_BITS = 1  # per weight: whether it was kept


@final
@dataclass(frozen=True, kw_only=True)
class SparseGPT(LayerMethod):
    sparsity: float  # fraction of weights set to zero, in [0, 1)
    pattern: str  # "unstructured" or "N:M", N kept of every M
    bits: int | None  # bits of a kept weight's code; of an integer 2 to 8; None: it stays as it is
    group_size: int | None  # with bits: as in RTN
    symmetric: bool  # with bits: whether the zero point is the middle of the grid; integers only
    damping: float  # fraction of the mean Hessian diagonal added to it
    off_diagonal: float  # what the Hessian's other entries are multiplied by, 0 to 1
    block_size: int  # columns whose mask is chosen together; changes the result
    format: str = INT  # with bits: what a code is, an integer or a number of this format
    scale_rule: str = OCP  # of mxfp4: how a power of two is chosen
    tensor_factor: float | None = None  # no setting: shared with layers that runtimes fuse

    statistic: ClassVar[type[Statistic] | None] = Hessian

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(check_sparsity, self.sparsity)
            problems.of(check_pattern, self.pattern, self.sparsity)
            problems.of(self._check_grid)
            problems.of(check_damping, self.damping)
            problems.of(check_off_diagonal, self.off_diagonal)
            problems.of(check_block_size, self.block_size, self.pattern)

    def _check_grid(self) -> None:
        if self.bits is not None:
            grid = self.format, self.bits, self.group_size, self.symmetric, self.scale_rule
            check_format(*grid)
        check_group_size(self.group_size)
        check_symmetric(self.symmetric)
        for key, is_set in (
            ("group_size", self.group_size is not None),
            ("symmetric", self.symmetric),
            ("format", self.format != INT),
            ("scale_rule", self.scale_rule != OCP),
        ):
            require(
                self.bits is not None or not is_set,
                f"method.{key}",
                getattr(self, key),
                "no setting of a grid while method.bits=null, which means that there is none",
                f"Type method.bits=4, or leave method.{key} as in conf/method/sparsegpt.yaml.",
            )

    @full_float32()
    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        assert isinstance(statistic, Hessian), statistic
        num_in = weight_OI.shape[1]
        dense_OI = weight_OI.to(torch.float32)
        grid = None if self.bits is None else self.grid_format().fit(dense_OI)
        grids = None if grid is None else ColumnGrids.known(grid, num_in)
        factor = statistic.inverse_factor(self.damping, off_diagonal=self.off_diagonal)
        factor = factor.to(weight_OI.device)
        solver = ColumnSolver(
            factor.without_dead(dense_OI), factor, strip_length=self._strip, divides_rows=True
        )
        num_gone = torch.zeros((), dtype=torch.float64, device=weight_OI.device)
        for start, stop in column_blocks(num_in, self.block_size):
            square_B1 = solver.diagonal_I[start:stop].square().unsqueeze(1)
            grid_BO = (None, None) if grids is None else grids.of_columns(start, stop)
            settings = self.pattern, self.sparsity, None if grids is None else grids.levels
            (gone_BO,) = solver.solve(start, stop, Pruning, *settings, square_B1, *grid_BO)
            num_gone += gone_BO.sum()
        return CompressedWeight(
            weight_OI=solver.weight_OI(weight_OI.dtype),
            bits=self._average_bits(1 - float(num_gone) / weight_OI.numel(), weight_OI),
            damping=factor.damping,
            grid=grid,
            note=factor.note(),
        )

    def work(self) -> Work:
        return Work(passes=2, solves=True, column_steps=4 if self.bits is None else 12)

    def check_shape(self, name: str, num_out: int, num_in: int) -> None:
        groups = num_kept_and_group_length(self.pattern)
        if groups is not None:
            check_groups_fit("method.pattern", self.pattern, groups[1], name, num_in)

    def for_fused(self, weights: Sequence[Tensor]) -> LayerMethod:
        if self.bits is None:
            return self
        return replace(self, tensor_factor=self.grid_format().factor_of(weights))

    def grid_format(self) -> WeightFormat:
        if self.bits is None:
            return super().grid_format()
        return weight_format(
            self.format,
            self.bits,
            self.group_size,
            self.symmetric,
            scale_rule=self.scale_rule,
            tensor_factor=self.tensor_factor,
        )

    def _average_bits(self, share_kept: float, weight_OI: Tensor) -> float | None:
        if self.bits is None:
            return None
        dense = self.grid_format().average_bits(*weight_OI.shape)
        return dense - self.bits * (1 - share_kept) + MASK_BITS

    @property
    def _strip(self) -> int:
        """Columns of a strip, which cuts no group of a pattern."""
        groups = num_kept_and_group_length(self.pattern)
        return STRIP_LENGTH if groups is None else max(STRIP_LENGTH // groups[1], 1) * groups[1]


class Pruning(Decision):
    """Weights removed by their scores, and with a grid the others rounded."""

    def __init__(
        self,
        weight_BO: Tensor,
        pattern: str,
        sparsity: float,
        levels: Levels | None,
        square_B1: Tensor,
        scale_BO: Tensor | None,
        zero_BO: Tensor | None,
    ) -> None:
        self._groups = num_kept_and_group_length(pattern)
        self._square_B1, self._levels = square_B1, levels
        self._scale_BO, self._zero_BO = scale_BO, zero_BO
        self._gone_BO = torch.zeros_like(weight_BO)  # 1 where a weight is removed
        self._rounded_BO = None if scale_BO is None else torch.empty_like(weight_BO)
        if self._groups is None:
            score_BO = weight_BO.square() / square_B1
            self._gone_BO.copy_(at_or_below_threshold(score_BO, sparsity))

    def decide(self, column: int, weight_BO: Tensor, taken_O: Tensor) -> None:
        if self._groups is not None and column % self._groups[1] == 0:
            group = slice(column, column + self._groups[1])
            score_MO = weight_BO[group].square() / self._square_B1[group]
            self._gone_BO[group] = lowest_in_groups(score_MO.T, *self._groups).T.to(torch.float32)
        torch.mul(weight_BO[column], self._gone_BO[column], out=taken_O)
        if self._rounded_BO is not None:
            self._rounded_BO[column] = self._nearest_O(column, weight_BO[column] - taken_O)
            torch.sub(weight_BO[column], self._rounded_BO[column], out=taken_O)

    def _nearest_O(self, column: int, kept_O: Tensor) -> Tensor:
        assert self._levels is not None and self._scale_BO is not None
        zero_O = None if self._zero_BO is None else self._zero_BO[column]
        return self._levels.nearest(kept_O, self._scale_BO[column], zero_O)

    def new_BO(self, weight_BO: Tensor) -> Tensor:
        if self._rounded_BO is not None:
            return self._rounded_BO
        return weight_BO.sub_(weight_BO * self._gone_BO)

    def extras(self) -> tuple[Tensor]:
        return (self._gone_BO,)
