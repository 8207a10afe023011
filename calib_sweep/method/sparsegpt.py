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
taken as the identity (nothing to repair) and the report says so.

Shapes: O = out_features, I = in_features, B = columns of a block.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from calib_sweep.errors import require
from calib_sweep.method.base import CompressedWeight, LayerMethod
from calib_sweep.method.gpu.cuda_graphs import as_one_launch
from calib_sweep.method.gpu.precision import full_float32
from calib_sweep.method.grids.grid import (
    Grid,
    GridFormat,
    average_bits,
    fit_grid,
    mean_group,
    nearest,
)
from calib_sweep.method.selection.masks import at_or_below_threshold, lowest_in_groups
from calib_sweep.method.settings import (
    check_all,
    check_bits,
    check_block_size,
    check_damping,
    check_group_size,
    check_groups_fit,
    check_pattern,
    check_sparsity,
    check_symmetric,
    num_kept_and_group_length,
)
from calib_sweep.method.statistics.statistic import NO_TOKENS, Hessian, Statistic

STRIP_LENGTH = 32  # columns updated one by one before a matrix product; speed, not results
MASK_BITS = 1  # per weight: whether it was kept


@final
@dataclass(frozen=True, kw_only=True)
class SparseGPT(LayerMethod):
    sparsity: float  # fraction of weights set to zero, in [0, 1)
    pattern: str  # "unstructured" or "N:M", N kept of every M
    bits: int | None  # bits of a kept weight's integer code, 2 to 8; None: kept weights stay as is
    group_size: int | None  # with bits: columns that share a scale; None: the whole row
    symmetric: bool  # with bits: whether the zero point is the middle of the grid
    damping: float  # fraction of the mean Hessian diagonal added to it
    block_size: int  # columns whose mask is chosen together; changes the result

    statistic: ClassVar[type[Statistic] | None] = Hessian

    def __post_init__(self) -> None:
        check_all(
            lambda: check_sparsity(self.sparsity),
            lambda: check_pattern(self.pattern, self.sparsity),
            self._check_grid,
            lambda: check_damping(self.damping),
            lambda: check_block_size(self.block_size, self.pattern),
        )

    def _check_grid(self) -> None:
        if self.bits is not None:
            check_bits(self.bits)
        check_group_size(self.group_size)
        check_symmetric(self.symmetric)
        for key, is_set in (
            ("group_size", self.group_size is not None),
            ("symmetric", self.symmetric),
        ):
            require(
                self.bits is not None or not is_set,
                f"method.{key}",
                getattr(self, key),
                "no grid setting without method.bits, which decides whether there is a grid",
                f"Set method.bits=4, or leave method.{key} as it is in sparsegpt.yaml.",
            )

    @full_float32()
    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        assert isinstance(statistic, Hessian), statistic
        dense_OI = weight_OI.to(torch.float32)
        damping, note, alive_OI = None, NO_TOKENS, dense_OI
        upper_II = torch.eye(weight_OI.shape[1], device=weight_OI.device)
        if statistic.num_tokens > 0:
            factor = statistic.inverse_factor(self.damping)
            damping, note = factor.damping, factor.note()
            alive_OI = dense_OI.masked_fill(factor.dead_I.to(weight_OI.device), 0.0)
            upper_II = factor.upper_II.to(weight_OI.device)
        grid = None
        if self.bits is not None:
            grid = fit_grid(dense_OI, self.bits, self.group_size, self.symmetric)
        new_OI, share_kept = self._solve(alive_OI, upper_II, grid)
        return CompressedWeight(
            weight_OI=new_OI.to(weight_OI.dtype),
            bits=self._average_bits(share_kept, weight_OI.shape[1]),
            damping=damping,
            grid=grid,
            note=note,
        )

    def check_shape(self, name: str, num_out: int, num_in: int) -> None:
        groups = num_kept_and_group_length(self.pattern)
        if groups is not None:
            check_groups_fit("method.pattern", self.pattern, groups[1], name, num_in)

    def grid_format(self) -> GridFormat:
        if self.bits is None:
            return super().grid_format()
        return GridFormat(bits=self.bits, group_size=self.group_size, symmetric=self.symmetric)

    def _average_bits(self, share_kept: float, num_in: int) -> float | None:
        if self.bits is None:
            return None
        dense = average_bits(self.bits, mean_group(num_in, self.group_size), self.symmetric)
        return dense - self.bits * (1 - share_kept) + MASK_BITS

    def _grid_of_columns(
        self, grid: Grid | None, start: int, stop: int
    ) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """Scale and zero point of these columns, [B, O]; None: nothing is rounded."""
        if grid is None:
            return None, None
        column_B = torch.arange(start, stop, device=grid.scale_OG.device)
        group_B = column_B // (self.group_size or stop)
        return grid.scale_OG.T[group_B], grid.zero_point_OG.T[group_B]

    def _solve(
        self, weight_OI: Tensor, upper_II: Tensor, grid: Grid | None
    ) -> tuple[Tensor, float]:
        """Prune (and round) and repair a float32 weight; the share of weights that were kept."""
        # Columns become rows, so that the loops below read and write contiguous memory.
        weight_IO = weight_OI.T.clone(memory_format=torch.contiguous_format)
        num_gone = torch.zeros((), dtype=torch.float64, device=weight_IO.device)
        for start in range(0, len(weight_IO), self.block_size):
            stop = min(start + self.block_size, len(weight_IO))
            diagonal_B1 = upper_II.diagonal()[start:stop].unsqueeze(1)
            # Taking e from the weight w[i] takes e * share[i, j] from the columns j to its right.
            share_BI = upper_II[start:stop, start:] / diagonal_B1
            weight_IO[start:stop], taken_BO, gone_BO = as_one_launch(
                SparseGPT._solve_block,
                self,
                weight_IO[start:stop],
                share_BI[:, : stop - start],
                diagonal_B1.square(),
                *self._grid_of_columns(grid, start, stop),
            )
            weight_IO[stop:].addmm_(share_BI[:, stop - start :].T, taken_BO, alpha=-1)
            num_gone += gone_BO.sum()
        return weight_IO.T.contiguous(), 1 - float(num_gone) / weight_IO.numel()

    def _solve_block(
        self,
        weight_BO: Tensor,
        share_BB: Tensor,
        square_B1: Tensor,
        scale_BO: Tensor | None,
        zero_point_BO: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """A block of columns solved, what was taken from its weights, and 1 where one was removed.

        One column after the other inside short strips, the rest of the block strip by strip.
        """
        work_BO, taken_BO = weight_BO.clone(), torch.empty_like(weight_BO)
        groups = num_kept_and_group_length(self.pattern)
        if groups is None:
            strip_length = STRIP_LENGTH
            mask_BO = at_or_below_threshold(weight_BO.square() / square_B1, self.sparsity)
            gone_BO = mask_BO.to(torch.float32)
        else:
            strip_length = max(STRIP_LENGTH // groups[1], 1) * groups[1]
            gone_BO = torch.zeros_like(weight_BO)
        for start in range(0, len(work_BO), strip_length):
            stop = min(start + strip_length, len(work_BO))
            for column in range(start, stop):
                if groups is not None and column % groups[1] == 0:
                    group = slice(column, column + groups[1])
                    score_MO = work_BO[group].square() / square_B1[group]
                    gone_BO[group] = lowest_in_groups(score_MO.T, *groups).T.to(torch.float32)
                taken_O = torch.mul(work_BO[column], gone_BO[column], out=taken_BO[column])
                if self.bits is not None and scale_BO is not None and zero_point_BO is not None:
                    kept_O = work_BO[column] - taken_O
                    rounded_O = nearest(kept_O, scale_BO[column], zero_point_BO[column], self.bits)
                    torch.sub(work_BO[column], rounded_O, out=taken_O)
                    work_BO[column] = rounded_O
                share_S = share_BB[column, column + 1 : stop]
                work_BO[column + 1 : stop].addr_(share_S, taken_O, alpha=-1)
            share_SB = share_BB[start:stop, stop:]
            work_BO[stop:].addmm_(share_SB.T, taken_BO[start:stop], alpha=-1)
        if self.bits is None:
            work_BO -= taken_BO
        return work_BO, taken_BO, gone_BO
