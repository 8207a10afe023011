"""GPTQ: round weights column by column and let the columns to the right make up for it.

Frantar et al. 2022, arXiv:2210.17323, algorithm 1, as their code computes it:

    H = (2/N) sum x x^T + damping * mean(diag H) * 1        U^T U = H^-1, U upper triangular
    Q[o, i]  = the point of the grid of (o, group of i) nearest to W[o, i]
    err[o]   = (W[o, i] - Q[o, i]) / U[i, i]                W[o, j] -= err[o] * U[i, j] for j > i

Grids are those of `grid.py`. Which weights a grid is fitted to:

    group_size null        the dense row, before anything is changed
    static_groups          the dense weight, dead columns zeroed; groups are of neighbouring columns
    otherwise              the weight when the sweep reaches the group. `group_fit: published` lacks
                           the updates made inside the current block, as in the authors' code, where
                           groups narrower than `block_size` meet stale weights; `updated` has them.
                           Under act_order these are groups of columns that follow each other in
                           that order, so that a stored model needs the group of every column.

Features that were zero in every token are dead: their weights become zero after row grids are
fitted, and their diagonal 1 counts in the mean that scales the damping and in the order of
`act_order` (largest diagonal first). `block_size` only groups the arithmetic, apart from
`group_fit: published`. The average bits are RTN's: `bits` + (16 + `bits`) / group (symmetric:
16 / group) for scale and zero point; the column order of act_order is not counted.

Deviations: equal diagonals keep their order (the authors' sort may not); a factorisation that fails
is retried with more damping, and reported; a layer that no token reached, which the formulas would
erase, takes the identity for H, which is rounding to nearest.

Shapes: O = out_features, I = in_features, G = groups per row, B = columns of a block.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from calib_sweep.errors import require
from calib_sweep.method.base import CompressedWeight, LayerMethod
from calib_sweep.method.column_blocks import column_blocks
from calib_sweep.method.gpu.cuda_graphs import as_one_launch
from calib_sweep.method.gpu.precision import full_float32, has_kernels
from calib_sweep.method.grids.grid import Grid, GridFormat, average_bits, fit_grid, mean_group
from calib_sweep.method.grids.grid_search import search_grid
from calib_sweep.method.settings import (
    UNSTRUCTURED,
    check_all,
    check_bits,
    check_block_size,
    check_damping,
    check_flag,
    check_group_size,
    check_symmetric,
)
from calib_sweep.method.statistics.statistic import NO_TOKENS, Hessian, InverseFactor, Statistic

PUBLISHED, UPDATED = "published", "updated"


@dataclass(frozen=True, kw_only=True)
class _Grids:
    """The grids of a layer, and which of them each column uses."""

    scale_GO: Tensor
    zero_point_GO: Tensor
    group_I: Tensor

    def as_grid(self, bits: int, group_size: int | None) -> Grid:
        scale_OG, zero_point_OG = self.scale_GO.T, self.zero_point_GO.T
        return Grid(
            scale_OG=scale_OG, zero_point_OG=zero_point_OG, bits=bits, group_size=group_size
        )


@final
@dataclass(frozen=True, kw_only=True)
class GPTQ(LayerMethod):
    bits: int  # bits of a weight's integer code, 2 to 8
    group_size: int | None  # columns that share a scale; None: the whole row
    symmetric: bool  # whether the zero point is the middle of the grid
    mse: bool  # whether grids are shrunk to the least rounding error instead of min-max
    act_order: bool  # whether columns are rounded in descending order of their Hessian diagonal
    static_groups: bool  # whether all grids are fitted before the first column is rounded
    group_fit: str  # "published" or "updated": the weights that groups inside a block are fitted to
    damping: float  # fraction of the mean Hessian diagonal added to it
    block_size: int  # columns updated together; moves numbers only through group_fit "published"

    statistic: ClassVar[type[Statistic] | None] = Hessian

    def __post_init__(self) -> None:
        check_all(
            lambda: check_bits(self.bits),
            lambda: check_group_size(self.group_size),
            lambda: check_symmetric(self.symmetric),
            lambda: check_flag("method.mse", self.mse, "Published results use method.mse=false."),
            lambda: check_flag(
                "method.act_order", self.act_order, "The published default is false."
            ),
            self._check_static_groups,
            self._check_group_fit,
            lambda: check_damping(self.damping),
            lambda: check_block_size(self.block_size, UNSTRUCTURED),
        )

    def _check_static_groups(self) -> None:
        check_flag("method.static_groups", self.static_groups, "The published default is false.")
        require(
            not (self.static_groups and self.group_size is None),
            "method.static_groups",
            self.static_groups,
            "false where a row is one group, whose grid is always fitted first",
            "Set method.static_groups=false, or method.group_size=128.",
        )

    def _check_group_fit(self) -> None:
        require(
            self.group_fit in (PUBLISHED, UPDATED),
            "method.group_fit",
            self.group_fit,
            f"{PUBLISHED} or {UPDATED}",
            f"To compute what the authors' code computes, set method.group_fit={PUBLISHED}.",
        )
        require(
            self._fits_on_the_way or self.group_fit == PUBLISHED,
            "method.group_fit",
            self.group_fit,
            f"{PUBLISHED} where no group is fitted on the way: all grids are there beforehand",
            f"Set method.group_fit={PUBLISHED}, or a method.group_size without static_groups.",
        )

    @full_float32()
    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        assert isinstance(statistic, Hessian), statistic
        dense_OI = weight_OI.to(torch.float32)
        group = mean_group(weight_OI.shape[1], self.group_size)
        bits = average_bits(self.bits, group, self.symmetric)
        if statistic.num_tokens == 0:
            identity_II = torch.eye(weight_OI.shape[1], device=weight_OI.device)
            rounded_OI, grid = self._round(dense_OI, dense_OI, identity_II, None)
            return CompressedWeight(
                weight_OI=rounded_OI.to(weight_OI.dtype), bits=bits, grid=grid, note=NO_TOKENS
            )
        factor: InverseFactor = statistic.inverse_factor(self.damping, by_activation=self.act_order)
        device = weight_OI.device
        alive_OI = dense_OI.masked_fill(factor.dead_I.to(device), 0.0)
        order_I = None if factor.order_I is None else factor.order_I.to(device)
        rounded_OI, grid = self._round(dense_OI, alive_OI, factor.upper_II.to(device), order_I)
        return CompressedWeight(
            weight_OI=rounded_OI.to(weight_OI.dtype),
            bits=bits,
            grid=grid,
            damping=factor.damping,
            note=factor.note(),
        )

    def grid_format(self) -> GridFormat:
        require(
            not self._scatters_groups,
            "method.act_order",
            self.act_order,
            "groups of neighbouring columns, or a row as one group, to save weights as integers",
            "Set method.static_groups=true, method.act_order=false or method.group_size=null.",
        )
        return GridFormat(bits=self.bits, group_size=self.group_size, symmetric=self.symmetric)

    @property
    def _scatters_groups(self) -> bool:
        """Whether groups are of columns that follow each other only in the order of rounding."""
        return self.act_order and self._fits_on_the_way

    @property
    def _fits_on_the_way(self) -> bool:
        """Whether grids are fitted when the sweep reaches their groups."""
        return self.group_size is not None and not self.static_groups

    def _round(
        self, dense_OI: Tensor, alive_OI: Tensor, upper_II: Tensor, order_I: Tensor | None
    ) -> tuple[Tensor, Grid | None]:
        """Round in the given order of columns; `upper_II` is in that order already.

        Returns the grids as well, unless their groups are not of neighbouring columns.
        """
        grids = self._grids(dense_OI, alive_OI, order_I)
        # Columns become rows, so that the loop below reads and writes contiguous memory.
        weight_IO = alive_OI.T if order_I is None else alive_OI.T[order_I]
        weight_IO = weight_IO.clone(memory_format=torch.contiguous_format)
        self._solve(weight_IO, upper_II, grids)
        if order_I is not None:
            weight_IO = torch.empty_like(weight_IO).index_copy_(0, order_I, weight_IO)
        grid = None if self._scatters_groups else grids.as_grid(self.bits, self.group_size)
        return weight_IO.T.contiguous(), grid

    def _grids(self, dense_OI: Tensor, alive_OI: Tensor, order_I: Tensor | None) -> _Grids:
        """Grids that are known beforehand; room for those that the sweep will fit."""
        num_out, num_in = dense_OI.shape
        size = self.group_size or num_in
        column_I = torch.arange(num_in, device=dense_OI.device)
        if self.group_size is None:
            scale_GO, zero_point_GO = self._fit(dense_OI, size)
        elif self.static_groups:
            scale_GO, zero_point_GO = self._fit(alive_OI, size)
            column_I = column_I if order_I is None else order_I
        else:
            scale_GO = dense_OI.new_empty(-(-num_in // size), num_out)
            zero_point_GO = torch.empty_like(scale_GO)
        return _Grids(scale_GO=scale_GO, zero_point_GO=zero_point_GO, group_I=column_I // size)

    def _fit(self, weight_OI: Tensor, group_size: int) -> tuple[Tensor, Tensor]:
        fit = search_grid if self.mse else fit_grid
        grid = fit(weight_OI, self.bits, group_size, self.symmetric)
        return grid.scale_OG.T.contiguous(), grid.zero_point_OG.T.contiguous()

    def _solve(self, weight_IO: Tensor, upper_II: Tensor, grids: _Grids) -> None:
        """Round a float32 weight in place, given the factor of its inverse Hessian."""
        num_in = len(weight_IO)
        size = self.group_size or num_in
        fits_updated = self._fits_on_the_way and self.group_fit == UPDATED
        # Column by column is a group of one: blocks are then plain multiples of the block size.
        for start, stop in column_blocks(num_in, self.block_size, size if fits_updated else 1):
            refits = fits_updated and size < stop - start
            if self._fits_on_the_way and not refits:
                self._fit_groups(weight_IO, grids, -(-start // size), -(-stop // size))
            group_B = grids.group_I[start:stop]
            weight_IO[start:stop], error_BO, *refitted = self._round_fast(
                weight_IO[start:stop],
                upper_II[start:stop, start:stop],
                grids.scale_GO[group_B],
                grids.zero_point_GO[group_B],
                refits,
            )
            weight_IO[stop:].addmm_(upper_II[start:stop, stop:].T, error_BO, alpha=-1)
            if refits:
                fitted = slice(start // size, -(-stop // size))
                grids.scale_GO[fitted], grids.zero_point_GO[fitted] = (x[::size] for x in refitted)

    def _fit_groups(self, weight_IO: Tensor, grids: _Grids, first: int, end: int) -> None:
        """Fit grids first, ..., end - 1 to the weights as they are now."""
        size = self.group_size or len(weight_IO)
        if first < end:
            group_OI = weight_IO[first * size : end * size].T
            grids.scale_GO[first:end], grids.zero_point_GO[first:end] = self._fit(group_OI, size)

    def _round_fast(
        self, weight_BO: Tensor, upper_BB: Tensor, scale_BO: Tensor, zero_BO: Tensor, refits: bool
    ) -> tuple[Tensor, ...]:
        """`_round_block`, or what does the same in fewer launches where there is a GPU."""
        if refits or not has_kernels(weight_BO):
            arguments = weight_BO, upper_BB, scale_BO, zero_BO, refits
            return as_one_launch(GPTQ._round_block, self, *arguments)
        from calib_sweep.method.gpu.kernels import round_columns  # where there is Triton

        return round_columns(weight_BO, upper_BB, scale_BO, zero_BO, 2**self.bits - 1)

    def _round_block(
        self,
        weight_BO: Tensor,
        upper_BB: Tensor,
        scale_BO: Tensor,
        zero_point_BO: Tensor,
        refits: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One block of columns rounded, the scaled error of each, and its grid.

        `refits`: the grids of the block's groups are fitted here, each when its turn has come.
        """
        work_BO, scale_BO = weight_BO.clone(), scale_BO.clone()
        lowest_BO, highest_BO = -zero_point_BO, 2**self.bits - 1 - zero_point_BO
        rounded_BO, error_BO = torch.empty_like(work_BO), torch.empty_like(work_BO)
        for column in range(len(work_BO)):
            if refits and column % (self.group_size or 1) == 0:
                group = slice(column, column + (self.group_size or 1))
                scale_BO[group], zero_1O = self._fit(work_BO[group].T, len(work_BO[group]))
                lowest_BO[group], highest_BO[group] = -zero_1O, 2**self.bits - 1 - zero_1O
            # With z = zero point, clamp(round(w / s) + z, 0, max) - z, in fewer steps.
            level_O = (work_BO[column] / scale_BO[column]).round_()
            level_O.clamp_(lowest_BO[column], highest_BO[column])
            torch.mul(level_O, scale_BO[column], out=rounded_BO[column])
            error_O = torch.sub(work_BO[column], rounded_BO[column], out=error_BO[column])
            error_O.div_(upper_BB[column, column])
            work_BO[column + 1 :].addr_(upper_BB[column, column + 1 :], error_O, alpha=-1)
        return rounded_BO, error_BO, scale_BO, -lowest_BO
