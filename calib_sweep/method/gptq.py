"""GPTQ: round weights column by column and let the columns to the right make up for it.

Frantar et al. 2022, arXiv:2210.17323, algorithm 1, as their code computes it:

    H = (2/N) sum x x^T + damping * mean(diag H) * 1        U^T U = H^-1, U upper triangular
    Q[o, i]  = the point of the grid of (o, group of i) nearest to W[o, i]
    err[o]   = (W[o, i] - Q[o, i]) / U[i, i]                W[o, j] -= err[o] * U[i, j] for j > i

Grids are those of `grid.py`. Which weights an integer grid is fitted to:

    group_size null        the dense row, before anything is changed
    static_groups          the dense weight, dead columns zeroed; groups are of neighbouring columns
    otherwise              the weight when the sweep reaches the group. `group_fit: published` lacks
                           the updates made inside the current block, as in the authors' code, where
                           groups narrower than `block_size` meet stale weights; `updated` has them.
                           Under act_order these are groups of columns that follow each other in
                           that order, so that a stored model needs the group of every column.

Grids of other formats (`float_formats.py`) are all fitted to the dense weight before the first
column is rounded, as in FP-Quant (arXiv:2509.23202), which has them so by default.

Features that were zero in every token are dead: their weights become zero after row grids are
fitted, and their diagonal 1 counts in the mean that scales the damping and in the order of
`act_order` (largest diagonal first). `block_size` only groups the arithmetic, apart from
`group_fit: published`. The average bits are RTN's, for integers `bits` + (16 + `bits`) / group
(symmetric: 16 / group) for scale and zero point; the column order of act_order is not counted.

Deviations: equal diagonals keep their order (the authors' sort may not); a factorisation that fails
is retried with more damping, and reported; a layer that no token reached, which the formulas would
erase, takes the identity for H, which is rounding to nearest. Not theirs, and off at 1 and null:
`off_diagonal`, by which the entries of H off its diagonal are multiplied first, and `weighting`,
with which grids are searched by errors that diag(H) weighs, as `rtn.py` does; with static_groups
that is llm-compressor's GPTQ with `imatrix_mse`.

Shapes: O = out_features, I = in_features, G = groups per row, B = columns of a block.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor

from calib_sweep.errors import collected, require
from calib_sweep.method.base import CompressedWeight, LayerMethod, Work, rounding_sweeps
from calib_sweep.method.column_rounding import Rounding
from calib_sweep.method.column_solver import ColumnSolver, column_blocks
from calib_sweep.method.gpu.precision import full_float32
from calib_sweep.method.grids.column_grids import ColumnGrids
from calib_sweep.method.grids.float_formats import OCP
from calib_sweep.method.grids.formats import FORMATS, INT, check_format, weight_format
from calib_sweep.method.grids.integer_format import IntegerFormat
from calib_sweep.method.grids.weight_format import WeightFormat, WeightGrid
from calib_sweep.method.settings import (
    UNSTRUCTURED,
    check_block_size,
    check_damping,
    check_flag,
    check_off_diagonal,
    check_weighting,
)
from calib_sweep.method.statistics.hessian import Hessian, InverseFactor
from calib_sweep.method.statistics.importance import importance_of
from calib_sweep.method.statistics.statistic import Statistic

PUBLISHED, UPDATED = "published", "updated"


@final
@dataclass(frozen=True, kw_only=True)
class GPTQ(LayerMethod):
    bits: int  # bits of a weight's code; of an integer 2 to 8
    group_size: int | None  # columns that share a scale; None: the whole row, or the format's own
    symmetric: bool  # whether the zero point is the middle of the grid; integers only
    mse: bool  # whether grids are shrunk to the least rounding error instead of min-max
    act_order: bool  # whether columns are rounded in descending order of their Hessian diagonal
    static_groups: bool  # whether all grids are fitted before the first column is rounded
    group_fit: str  # "published" or "updated": the weights that groups inside a block are fitted to
    damping: float  # fraction of the mean Hessian diagonal added to it
    off_diagonal: float  # what the Hessian's other entries are multiplied by, 0 to 1
    block_size: int  # columns updated together; moves numbers only through group_fit "published"
    format: str = INT  # what a code is: an integer, or a floating-point number of this format
    scale_rule: str = OCP  # of mxfp4: how a power of two is chosen
    weighting: str | None = None  # "inputs": grids shrunk by errors weighted with diag(H)
    tensor_factor: float | None = None  # no setting: shared with layers that runtimes fuse

    statistic: ClassVar[type[Statistic] | None] = Hessian

    def __post_init__(self) -> None:
        with collected() as problems:
            settings = self.format, self.bits, self.group_size, self.symmetric, self.scale_rule
            problems.of(check_format, *settings)
            problems.of(
                check_flag,
                "method.mse",
                self.mse,
                "Example: method.mse=false, as in published results.",
            )
            problems.of(
                check_flag, "method.act_order", self.act_order, "Example: method.act_order=false."
            )
            problems.of(check_weighting, self.weighting, self.mse)
            problems.of(check_damping, self.damping)
            problems.of(check_off_diagonal, self.off_diagonal)
            problems.of(check_block_size, self.block_size, UNSTRUCTURED)
            if self.format in FORMATS:  # which these two ask
                problems.of(self._check_static_groups)
                problems.of(self._check_group_fit)

    def _check_static_groups(self) -> None:
        check_flag(
            "method.static_groups", self.static_groups, "Example: method.static_groups=false."
        )
        require(
            not (self.static_groups and self._format.is_static),
            "method.static_groups",
            self.static_groups,
            f"false with method.format={self.format}, all of whose grids are fitted first anyway",
            "Type method.static_groups=false.",
        )
        require(
            not (self.static_groups and self.group_size is None),
            "method.static_groups",
            self.static_groups,
            "false with method.group_size=null, as the grid of a row is fitted first anyway",
            "Type method.static_groups=false, or method.group_size=128.",
        )

    def _check_group_fit(self) -> None:
        require(
            self.group_fit in (PUBLISHED, UPDATED),
            "method.group_fit",
            self.group_fit,
            f"{PUBLISHED} or {UPDATED}",
            f"Example: method.group_fit={PUBLISHED}, as the authors' code fits groups.",
        )
        require(
            self._fits_on_the_way or self.group_fit == PUBLISHED,
            "method.group_fit",
            self.group_fit,
            f"{PUBLISHED}, as all grids are fitted beforehand with these settings",
            f"Type method.group_fit={PUBLISHED}, or method.static_groups=false with groups.",
        )

    @full_float32()
    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        assert isinstance(statistic, Hessian), statistic
        factor = statistic.inverse_factor(
            self.damping, off_diagonal=self.off_diagonal, by_activation=self.act_order
        )
        importance = None
        if self.weighting is not None:
            importance = importance_of(statistic).to(weight_OI.device)
        return self.compress_by(ColumnSolver, weight_OI, factor.to(weight_OI.device), importance)

    def compress_by(
        self,
        solver_of: Callable[[Tensor, InverseFactor], ColumnSolver],
        weight_OI: Tensor,
        factor: InverseFactor,
        importance_I: Tensor | None = None,
    ) -> CompressedWeight:
        """Round column by column; `solver_of`: what makes up for the error of each.

        `importance_I`: how much errors count in the search for grids; None: as settings say.
        """
        num_in = weight_OI.shape[1]
        dense_OI = weight_OI.to(torch.float32)
        alive_OI = factor.without_dead(dense_OI)
        solver = solver_of(alive_OI, factor)
        grid = None
        if not self._fits_on_the_way:
            grid = self._format.fit(alive_OI if self.static_groups else dense_OI, importance_I)
        grids = self._column_grids(grid, dense_OI, factor.order_I, importance_I)
        # Column by column is a group of one: blocks are then plain multiples of the block size.
        whole = self.group_size if self.group_size and self.group_fit == UPDATED else 1
        for start, stop in column_blocks(num_in, self.block_size, whole):
            self._solve_block(solver, grids, start, stop)
        if grid is None and not self._scatters_groups:
            grid = grids.as_grid(self.bits, self.group_size)
        return CompressedWeight(
            weight_OI=solver.weight_OI(weight_OI.dtype),
            bits=self._format.average_bits(*weight_OI.shape),
            grid=grid,
            damping=factor.damping,
            note=factor.note(),
        )

    def for_fused(self, weights: Sequence[Tensor]) -> LayerMethod:
        return replace(self, tensor_factor=self._format.factor_of(weights))

    def work(self) -> Work:
        sweeps = rounding_sweeps(self.mse, self.weighting)
        return Work(passes=2, solves=True, column_steps=8, sweeps=sweeps)

    def _column_grids(
        self,
        grid: WeightGrid | None,
        dense_OI: Tensor,
        order_I: Tensor | None,
        importance_I: Tensor | None,
    ) -> ColumnGrids:
        """The grids by column; room for those that are fitted on the way."""
        num_in = dense_OI.shape[1]
        if grid is not None:
            return ColumnGrids.known(grid, num_in, order_I)
        assert self.group_size is not None
        if importance_I is not None and order_I is not None:
            importance_I = importance_I[order_I]
        levels = self._integers.levels
        return ColumnGrids.unknown(dense_OI, self.group_size, levels, importance_I)

    def _solve_block(self, solver: ColumnSolver, grids: ColumnGrids, start: int, stop: int) -> None:
        """Round columns start, ..., stop - 1; fit the grids of the groups that begin there."""
        size = self.group_size or len(solver.weight_IO)
        begun = slice(-(-start // size), -(-stop // size))
        if self._fits_on_the_way and self.group_fit == UPDATED and size < stop - start:
            importance_B = grids.importance(slice(start, stop))
            fitting = FittedRounding, self._integers, importance_B
            scale_BO, zero_BO = solver.solve(start, stop, *fitting)
            grids.set(begun, scale_BO[::size], zero_BO[::size])
            return
        if self._fits_on_the_way and begun.start < begun.stop:
            columns = slice(begun.start * size, begun.stop * size)
            grid = self._integers.fit(solver.weight_IO[columns].T, grids.importance(columns))
            grids.set(begun, grid.scale_OG.T, grid.zero_point_OG.T)
        rounding = grids.rounding(start, stop)
        solver.solve(start, stop, rounding.decision, *rounding.arguments, kernel=rounding.kernel)

    def grid_format(self) -> WeightFormat:
        require(
            not self._scatters_groups,
            "method.act_order",
            self.act_order,
            "false to save weights as integers, unless groups hold neighbouring columns",
            "Type method.act_order=false, method.static_groups=true or method.group_size=null.",
        )
        return self._format

    @property
    def _format(self) -> WeightFormat:
        return weight_format(
            self.format,
            self.bits,
            self.group_size,
            self.symmetric,
            searches=self.mse,
            scale_rule=self.scale_rule,
            tensor_factor=self.tensor_factor,
        )

    @property
    def _integers(self) -> IntegerFormat:
        """The format where grids are fitted on the way, which only those of integers are."""
        form = self._format
        assert isinstance(form, IntegerFormat), form
        return form

    @property
    def _scatters_groups(self) -> bool:
        """True where groups are of columns that are neighbours only in the order of rounding."""
        return self.act_order and self._fits_on_the_way

    @property
    def _fits_on_the_way(self) -> bool:
        """True where grids are fitted when the sweep reaches their groups."""
        return not self._format.is_static and self.group_size is not None and not self.static_groups


class FittedRounding(Rounding):
    """The same on grids that are fitted here, each when the turn of its group has come."""

    def __init__(self, weight_BO: Tensor, form: IntegerFormat, importance_B: Tensor | None) -> None:
        self._group_size, self._highest = form.group_size or len(weight_BO), 2**form.bits - 1
        self._form, self._importance_B = replace(form, group_size=None), importance_B
        empty_BO = torch.empty_like(weight_BO)
        super().__init__(weight_BO, self._highest, empty_BO, torch.empty_like(weight_BO))

    def decide(self, column: int, weight_BO: Tensor, taken_O: Tensor) -> None:
        if column % self._group_size == 0:
            group = slice(column, column + self._group_size)
            importance = None if self._importance_B is None else self._importance_B[group]
            grid = self._form.fit(weight_BO[group].T, importance)
            zero_1O = grid.zero_point_OG.T
            self._scale_BO[group] = grid.scale_OG.T
            self._low_BO[group], self._high_BO[group] = -zero_1O, self._highest - zero_1O
        super().decide(column, weight_BO, taken_O)

    def extras(self) -> tuple[Tensor, ...]:
        """Scale and zero point of each column."""
        return self._scale_BO, -self._low_BO
