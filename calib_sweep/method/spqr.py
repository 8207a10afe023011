"""SpQR: GPTQ on small groups whose grids are themselves quantized, with outliers kept as they are.

Dettmers et al. 2023, arXiv:2306.03078, as their code computes it. U is the upper factor of the
inverse Hessian as in GPTQ, d = diag(U), W the weight updated so far, g(W) its nearest grid point:

    threshold  = outlier_threshold * mean_j(var_o(W[o, j]) / d[j]^2), of the dense weight
    gain[o, j] = E(group) - E(group without j, grid refitted without j), E = sum ((W - g(W)) / d)^2
    a group's grid is fitted with weights of gain > threshold replaced by the mean of the others
    W[o, j] is kept where ((W[o, j] - g(W[o, j])) / d[j])^2 > threshold, and rounded elsewhere
    err[o]     = (W[o, j] - Q[o, j]) / d[j]              W[o, k] -= err[o] * U[j, k] for k > j

Grids as in `bilevel_grid.py`: on the second level the scales, and apart from them the zero points,
of `second_group_size` neighbouring rows are put on a grid of their own.

Against GPTQ: groups are fitted to fresh weights; the damping is taken *before* dead features get
their diagonal of 1, and the column order from the undamped diagonal, dead features last. Weights of
dead features are zeroed before they are rounded: stored is the point nearest to 0 of a grid that
need not contain 0.

Average bits, g = columns of a group, r = rows of a second-level one:
bits + (scale_bits + zero_bits) / g + 2 * (16 + 16) / (g * r) + 32 * share of outliers. A scale or
zero point without a second level takes 16 bits, and its part of the third term is left out (the
authors' script leaves it in); a row as one group is counted too. The column order is not counted.

Deviations: only min-max grids without rounded zero points (the authors' sym, round_zero and
qq_zero_sym are left out); leave-one-out grids are computed only where they differ from the group's,
at its two extremes; no block cuts a group (the authors' do where the lengths do not fit, and the
columns beyond the cut are stale); equal diagonals keep their order; a factorisation that fails is
retried with more damping, and reported; a layer that no token reached takes the identity for H. Not
theirs, and off at 1: `off_diagonal`, by which the entries of H off its diagonal are multiplied.

Shapes: O = out_features, I = in_features, C = columns of a group, B = columns of a block.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from calib_sweep.errors import collected, require
from calib_sweep.method.base import CompressedWeight, LayerMethod, Work
from calib_sweep.method.column_solver import ColumnSolver, Decision, column_blocks
from calib_sweep.method.gpu.precision import full_float32
from calib_sweep.method.grids.bilevel_grid import (
    BilevelGrid,
    grid_between,
    leave_one_out_gain,
    second_level,
)
from calib_sweep.method.grids.grid import mean_group
from calib_sweep.method.settings import (
    UNSTRUCTURED,
    check_bits,
    check_block_size,
    check_damping,
    check_flag,
    check_group_size,
    check_off_diagonal,
    check_positive_int,
)
from calib_sweep.method.statistics.hessian import Hessian
from calib_sweep.method.statistics.statistic import Statistic
from calib_sweep.values import is_number

HALF_BITS = 16  # a number kept in half precision
OUTLIER_BITS = 32  # an outlier: its value in half precision and its position


@final
@dataclass(frozen=True, kw_only=True)
class SpQR(LayerMethod):
    bits: int  # bits of a weight's integer code, 2 to 8
    group_size: int | None  # columns that share a grid; None: the whole row
    scale_bits: int | None  # bits of a scale's integer code; None: no second level for scales
    zero_bits: int | None  # bits of a zero point's integer code; None: no second level for them
    second_group_size: int  # rows whose scales (zero points) share a second-level grid
    outlier_threshold: float | None  # squared error relative to the layer's scale; None: keep none
    per_row: bool  # whether every row has its grids; False: all rows share a group's grid
    act_order: bool  # whether columns are rounded in descending order of their Hessian diagonal
    damping: float  # fraction of the mean Hessian diagonal added to it
    off_diagonal: float  # what the Hessian's other entries are multiplied by, 0 to 1
    block_size: int  # columns updated together

    statistic: ClassVar[type[Statistic] | None] = Hessian

    def __post_init__(self) -> None:
        key = "method.second_group_size"
        remedy = f"Example: {key}=16, the published value."
        with collected() as problems:
            problems.of(check_bits, self.bits)
            problems.of(check_group_size, self.group_size)
            problems.of(_check_second_bits, "method.scale_bits", self.scale_bits)
            problems.of(_check_second_bits, "method.zero_bits", self.zero_bits)
            problems.of(check_positive_int, key, self.second_group_size, remedy)
            problems.of(self._check_outlier_threshold)
            problems.of(self._check_per_row)
            problems.of(
                check_flag, "method.act_order", self.act_order, "Example: method.act_order=true."
            )
            problems.of(check_damping, self.damping)
            problems.of(check_off_diagonal, self.off_diagonal)
            problems.of(check_block_size, self.block_size, UNSTRUCTURED)

    def _check_outlier_threshold(self) -> None:
        threshold = self.outlier_threshold
        require(
            threshold is None or (is_number(threshold) and 0 <= threshold < float("inf")),
            "method.outlier_threshold",
            threshold,
            "a number >= 0, or null",
            "Example: method.outlier_threshold=0.2, as in the authors' README; null keeps none.",
        )

    def _check_per_row(self) -> None:
        check_flag("method.per_row", self.per_row, "Example: method.per_row=true.")
        refined = (self.scale_bits, self.zero_bits, self.outlier_threshold)
        require(
            self.per_row or refined == (None, None, None),
            "method.per_row",
            self.per_row,
            "true with a second level or with outliers, which need a grid for every row",
            "Type method.per_row=true, or set scale_bits, zero_bits and outlier_threshold to null.",
        )

    @full_float32()
    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        assert isinstance(statistic, Hessian), statistic
        factor = statistic.inverse_factor(
            self.damping,
            off_diagonal=self.off_diagonal,
            by_activation=self.act_order,
            dead_first=False,
        ).to(weight_OI.device)
        solver = ColumnSolver(factor.without_dead(weight_OI.to(torch.float32)), factor)
        threshold = self._threshold(solver)
        size = self.group_size or weight_OI.shape[1]
        num_outliers = torch.zeros((), dtype=torch.int64, device=weight_OI.device)
        scale_O = zero_O = None
        for start, stop in column_blocks(weight_OI.shape[1], self.block_size, size):
            if size > self.block_size and start % size == 0:
                group = slice(start, start + size)
                grid = self.fit(solver.weight_IO[group], solver.diagonal_I[group], threshold)
                scale_O, zero_O = grid.scale_O, grid.zero_point_O
            diagonal_B = solver.diagonal_I[start:stop]
            arguments = self, diagonal_B, threshold, scale_O, zero_O
            (is_outlier_BO,) = solver.solve(start, stop, SparingRounding, *arguments)
            num_outliers += is_outlier_BO.sum()
        return CompressedWeight(
            weight_OI=solver.weight_OI(weight_OI.dtype),
            bits=self._average_bits(int(num_outliers), weight_OI),
            damping=factor.damping,
            note=factor.note(),
        )

    def work(self) -> Work:
        fits = 40 / (self.group_size or 128)  # operations to fit the grid of a group of columns
        return Work(passes=2, solves=True, column_steps=14 + fits)

    def _threshold(self, solver: ColumnSolver) -> Tensor | None:
        """The squared error above which a weight is kept; None: none is."""
        if self.outlier_threshold is None:
            return None
        spread_I = solver.weight_IO.var(dim=1) / solver.diagonal_I.square()
        return self.outlier_threshold * spread_I.mean()

    def fit(self, weight_CO: Tensor, diagonal_C: Tensor, threshold: Tensor | None) -> BilevelGrid:
        """Fit the grid of a group, refitted without its likely outliers, second level applied."""
        if threshold is not None:
            gain_CO = leave_one_out_gain(weight_CO, diagonal_C, self.bits)
            is_kept_CO = gain_CO <= threshold
            mean_O = (weight_CO * is_kept_CO).sum(dim=0) / is_kept_CO.sum(dim=0).clamp_min(1)
            weight_CO = torch.where(is_kept_CO, weight_CO, mean_O)
        if self.per_row:
            grid = grid_between(weight_CO.amin(dim=0), weight_CO.amax(dim=0), self.bits)
        else:
            low_1, high_1 = weight_CO.amin().unsqueeze(0), weight_CO.amax().unsqueeze(0)
            grid = grid_between(low_1, high_1, self.bits)
        return BilevelGrid(
            scale_O=second_level(grid.scale_O, self.scale_bits, self.second_group_size),
            zero_point_O=second_level(grid.zero_point_O, self.zero_bits, self.second_group_size),
            highest=grid.highest,
        )

    def check_shape(self, name: str, num_out: int, num_in: int) -> None:
        if self.scale_bits is not None or self.zero_bits is not None:
            require(
                num_out % self.second_group_size == 0,
                "method.second_group_size",
                self.second_group_size,
                f"a divisor of the {num_out} output features of {name}",
                "Type a divisor, or method.scale_bits=null method.zero_bits=null.",
            )
        if self.outlier_threshold is not None:
            size = self.group_size or num_in
            require(
                num_out > 1 and size > 1 and num_in % size != 1,
                "method.outlier_threshold",
                self.outlier_threshold,
                f"null for {num_out} rows of {num_in} columns in groups of {size} ({name}): the "
                "scale of outliers is a variance over rows, and a group must outlive a weight",
                "Type method.outlier_threshold=null, or another method.group_size.",
            )

    def _average_bits(self, num_outliers: int, weight_OI: Tensor) -> float:
        num_out, num_in = weight_OI.shape
        group = mean_group(num_in, self.group_size) * (1 if self.per_row else num_out)
        bits = float(self.bits)
        for second_bits in (self.scale_bits, self.zero_bits):
            bits += (HALF_BITS if second_bits is None else second_bits) / group
            if second_bits is not None:
                bits += 2 * HALF_BITS / (group * self.second_group_size)
        return bits + OUTLIER_BITS * num_outliers / weight_OI.numel()


class SparingRounding(Decision):
    """Weights rounded to their group's grid, but outliers, which are kept.

    Without a scale, the grids of the block's groups are fitted here, each in its turn.
    """

    def __init__(
        self,
        weight_BO: Tensor,
        method: SpQR,
        diagonal_B: Tensor,
        threshold: Tensor | None,
        scale_O: Tensor | None,
        zero_O: Tensor | None,
    ) -> None:
        self._method, self._diagonal_B, self._threshold = method, diagonal_B, threshold
        self._grid = None
        if scale_O is not None and zero_O is not None:
            highest = 2**method.bits - 1
            self._grid = BilevelGrid(scale_O=scale_O, zero_point_O=zero_O, highest=highest)
        self._size = (method.group_size or len(weight_BO)) if self._grid is None else None
        self._new_BO = torch.empty_like(weight_BO)
        self._is_outlier_BO = torch.zeros_like(weight_BO, dtype=torch.bool)

    def decide(self, column: int, weight_BO: Tensor, taken_O: Tensor) -> None:
        if self._size is not None and column % self._size == 0:
            group = slice(column, column + self._size)
            diagonal_C = self._diagonal_B[group]
            self._grid = self._method.fit(weight_BO[group], diagonal_C, self._threshold)
        assert self._grid is not None
        weight_O, new_O = weight_BO[column], self._new_BO[column]
        rounded_O = self._grid.round(weight_O)
        torch.sub(weight_O, rounded_O, out=taken_O)
        if self._threshold is None:
            new_O.copy_(rounded_O)
            return
        error_O = taken_O / self._diagonal_B[column]
        is_outlier_O = torch.gt(error_O.square_(), self._threshold, out=self._is_outlier_BO[column])
        torch.where(is_outlier_O, weight_O, rounded_O, out=new_O)
        taken_O.masked_fill_(is_outlier_O, 0.0)

    def new_BO(self, weight_BO: Tensor) -> Tensor:
        return self._new_BO

    def extras(self) -> tuple[Tensor]:
        return (self._is_outlier_BO,)


def _check_second_bits(key: str, bits: object) -> None:
    require(
        bits is None or (isinstance(bits, int) and 2 <= bits <= 8),
        key,
        bits,
        "an integer from 2 to 8, or null",
        f"Example: {key}=3, as in the authors' README; null keeps half precision.",
    )
