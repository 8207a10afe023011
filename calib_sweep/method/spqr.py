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
retried with more damping, and reported; a layer that no token reached takes the identity for H.

Shapes: O = out_features, I = in_features, C = columns of a group, B = columns of a block.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from calib_sweep.errors import require
from calib_sweep.method.base import CompressedWeight, LayerMethod
from calib_sweep.method.column_blocks import column_blocks
from calib_sweep.method.gpu.cuda_graphs import as_one_launch
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
    check_all,
    check_bits,
    check_block_size,
    check_damping,
    check_flag,
    check_group_size,
    check_positive_int,
)
from calib_sweep.method.statistics.statistic import NO_TOKENS, Hessian, Statistic

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
    block_size: int  # columns updated together

    statistic: ClassVar[type[Statistic] | None] = Hessian

    def __post_init__(self) -> None:
        key, remedy = "method.second_group_size", "The published value is 16."
        check_all(
            lambda: check_bits(self.bits),
            lambda: check_group_size(self.group_size),
            lambda: _check_second_bits("method.scale_bits", self.scale_bits),
            lambda: _check_second_bits("method.zero_bits", self.zero_bits),
            lambda: check_positive_int(key, self.second_group_size, remedy),
            self._check_outlier_threshold,
            self._check_per_row,
            lambda: check_flag("method.act_order", self.act_order, "The README's setting is true."),
            lambda: check_damping(self.damping),
            lambda: check_block_size(self.block_size, UNSTRUCTURED),
        )

    def _check_outlier_threshold(self) -> None:
        threshold = self.outlier_threshold
        is_number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
        require(
            threshold is None or (is_number and 0 <= threshold < float("inf")),
            "method.outlier_threshold",
            threshold,
            "a number, 0 or more, or null",
            "The README's setting is 0.2; to keep no outliers, set method.outlier_threshold=null.",
        )

    def _check_per_row(self) -> None:
        check_flag("method.per_row", self.per_row, "The README's setting is true.")
        refined = (self.scale_bits, self.zero_bits, self.outlier_threshold)
        require(
            self.per_row or refined == (None, None, None),
            "method.per_row",
            self.per_row,
            "true with a second level or with outliers, which need the grid of every row",
            "Set method.per_row=true, or scale_bits, zero_bits and outlier_threshold to null.",
        )

    @full_float32()
    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        assert isinstance(statistic, Hessian), statistic
        weight_IO = weight_OI.to(torch.float32).T.clone(memory_format=torch.contiguous_format)
        damping, note, order_I = None, NO_TOKENS, None
        upper_II = torch.eye(len(weight_IO), device=weight_IO.device)
        if statistic.num_tokens > 0:
            factor = statistic.inverse_factor(
                self.damping, by_activation=self.act_order, dead_first=False
            )
            damping, note, order_I = factor.damping, factor.note(), factor.order_I
            upper_II = factor.upper_II.to(weight_IO.device)
            weight_IO[factor.dead_I.to(weight_IO.device)] = 0.0
        if order_I is not None:
            order_I = order_I.to(weight_IO.device)
            weight_IO = weight_IO[order_I]
        num_outliers = self._solve(weight_IO, upper_II)
        if order_I is not None:
            weight_IO = torch.empty_like(weight_IO).index_copy_(0, order_I, weight_IO)
        return CompressedWeight(
            weight_OI=weight_IO.T.to(weight_OI.dtype).contiguous(),
            bits=self._average_bits(num_outliers, weight_OI),
            damping=damping,
            note=note,
        )

    def check_shape(self, name: str, num_out: int, num_in: int) -> None:
        if self.scale_bits is not None or self.zero_bits is not None:
            require(
                num_out % self.second_group_size == 0,
                "method.second_group_size",
                self.second_group_size,
                f"a divisor of out_features {num_out} ({name})",
                "Set method.second_group_size to one, or method.scale_bits and zero_bits to null.",
            )
        if self.outlier_threshold is not None:
            size = self.group_size or num_in
            require(
                num_out > 1 and size > 1 and num_in % size != 1,
                "method.outlier_threshold",
                self.outlier_threshold,
                f"null for {num_out} rows of {num_in} columns in groups of {size} ({name}): the "
                "scale of outliers is a variance over rows, and a group must outlive a weight",
                "Set method.outlier_threshold=null, or another method.group_size.",
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

    def _solve(self, weight_IO: Tensor, upper_II: Tensor) -> int:
        """Round a float32 weight in place; returns the number of outliers."""
        num_in = len(weight_IO)
        size = self.group_size or num_in
        diagonal_I = upper_II.diagonal()
        threshold = None
        if self.outlier_threshold is not None:
            scale = (weight_IO.var(dim=1) / diagonal_I.square()).mean()
            threshold = self.outlier_threshold * scale
        num_outliers = torch.zeros((), dtype=torch.int64, device=weight_IO.device)
        grid = None
        for start, stop in column_blocks(num_in, self.block_size, size):
            if size > self.block_size and start % size == 0:
                group = slice(start, start + size)
                grid = self._fit(weight_IO[group], diagonal_I[group], threshold)
            weight_IO[start:stop], error_BO, is_outlier_BO = as_one_launch(
                SpQR._round_block,
                self,
                weight_IO[start:stop],
                upper_II[start:stop, start:stop],
                threshold,
                None if grid is None else grid.scale_O,
                None if grid is None else grid.zero_point_O,
            )
            num_outliers += is_outlier_BO.sum()
            weight_IO[stop:].addmm_(upper_II[start:stop, stop:].T, error_BO, alpha=-1)
        return int(num_outliers)

    def _round_block(
        self,
        weight_BO: Tensor,
        upper_BB: Tensor,
        threshold: Tensor | None,
        scale_O: Tensor | None,
        zero_point_O: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One block of columns rounded, the scaled error of each, and which weights were kept.

        Without a scale, the grids of the block's groups are fitted here, each in its turn.
        """
        weight_BO, error_BO = weight_BO.clone(), torch.empty_like(weight_BO)
        is_outlier_BO = torch.zeros_like(weight_BO, dtype=torch.bool)
        grid = None
        if scale_O is not None and zero_point_O is not None:
            grid = BilevelGrid(scale_O=scale_O, zero_point_O=zero_point_O, highest=2**self.bits - 1)
        size = self.group_size or len(weight_BO)
        for column in range(len(weight_BO)):
            if scale_O is None and column % size == 0:
                group = slice(column, column + size)
                grid = self._fit(weight_BO[group], upper_BB.diagonal()[group], threshold)
            assert grid is not None
            error_BO[column], is_outlier_O = _round_column(
                weight_BO[column:], upper_BB[column, column:], grid, threshold
            )
            if is_outlier_O is not None:
                is_outlier_BO[column] = is_outlier_O
        return weight_BO, error_BO, is_outlier_BO

    def _fit(self, weight_CO: Tensor, diagonal_C: Tensor, threshold: Tensor | None) -> BilevelGrid:
        """The grid of a group, refitted without its likely outliers, second level applied."""
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


def _round_column(
    weight_BO: Tensor, upper_B: Tensor, grid: BilevelGrid, threshold: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Round the first of these columns, repair the others; its scaled error and its outliers."""
    rounded_O = grid.round(weight_BO[0])
    error_O = (weight_BO[0] - rounded_O).div_(upper_B[0])
    is_outlier_O = None
    if threshold is not None:
        is_outlier_O = error_O.square() > threshold
        rounded_O = torch.where(is_outlier_O, weight_BO[0], rounded_O)
        error_O.masked_fill_(is_outlier_O, 0.0)
    weight_BO[1:].addr_(upper_B[1:], error_O, alpha=-1)
    weight_BO[0] = rounded_O
    return error_O, is_outlier_O


def _check_second_bits(key: str, bits: object) -> None:
    require(
        bits is None or (isinstance(bits, int) and 2 <= bits <= 8),
        key,
        bits,
        "a whole number from 2 to 8, or null",
        f"The README's setting is {key}=3; null keeps half precision.",
    )
