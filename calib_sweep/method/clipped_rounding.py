"""Rounding to grids whose largest weights are clipped where that helps: AWQ's second half.

    w ~ scale * (q - zero_point),   q = clamp(round(w / scale) + zero_point, 0, 2^bits - 1)

    scale = max(max w - min w, 1e-5) / (2^bits - 1),   zero_point = clamp(-round(min w / scale))
    symmetric: scale = max(max |w|, 1e-5) / (2^(bits - 1) - 1),   zero_point = 2^(bits - 1)

per group of neighbouring columns of a row, as in the published code (llm-awq). Unlike the grid of
GPTQ, zero need not lie between the ends: a group of positive weights only gets the zero point 0 and
clips those above max w - min w. The symmetric form stands in the authors' code behind an assertion
that always fails; here it does what it says.

Formats other than integers (`float_formats.py`) have no such grid of their own: there a scale is
fitted to the largest limited weight of its group.

Clipping: the weights of a group are limited to p * max |w|, p = 1, 1 - 1/n, ... > 1 - max_shrink,
before the grid is fitted to them; that p wins which changes the group's part of the output least,

    min_p  sum over spaced tokens ((w - w_p) . x)^2  =  (w - w_p)^T C (w - w_p)

with w_p the clipped and rounded weights and C the sum of x x^T over these tokens, which
input_profile.py explains; of equal errors the widest p.

Shapes: O = out_features, I = in_features, G = groups per row, C = columns of a group.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor

from calib_sweep.method.base import CompressedWeight, LayerMethod
from calib_sweep.method.gpu.precision import full_float32
from calib_sweep.method.grids.float_formats import OCP
from calib_sweep.method.grids.formats import INT, weight_format
from calib_sweep.method.grids.grid import SCALE_BITS, Grid
from calib_sweep.method.grids.integer_format import IntegerFormat
from calib_sweep.method.grids.weight_format import WeightFormat, WeightGrid
from calib_sweep.method.statistics.input_profile import InputProfile
from calib_sweep.method.statistics.statistic import Statistic
from calib_sweep.method.typed import unflatten

SMALLEST_RANGE = 1e-5
SCALE_KEPT = "the scale of its inputs stays in the weights: nothing before this layer can absorb it"
NO_TOKENS = "no calibration token reached this layer: rounded without clipping"


def fit_range(weight_OI: Tensor, bits: int, group_size: int | None, symmetric: bool) -> Grid:
    """Fit one grid per `group_size` columns of a row (None: one per row) to its range."""
    size = group_size or weight_OI.shape[1]
    weight_OGC = unflatten(weight_OI.to(torch.float32), 1, (-1, size))
    if symmetric:
        high_OG = weight_OGC.abs().amax(dim=2)
        scale_OG = high_OG.clamp(min=SMALLEST_RANGE) / (2 ** (bits - 1) - 1)
        zero_point_OG = torch.full_like(scale_OG, 2 ** (bits - 1))
    else:
        low_OG, high_OG = weight_OGC.amin(dim=2), weight_OGC.amax(dim=2)
        scale_OG = (high_OG - low_OG).clamp(min=SMALLEST_RANGE) / (2**bits - 1)
        zero_point_OG = -(low_OG / scale_OG).round()
        zero_point_OG = zero_point_OG.clamp(0, 2**bits - 1)
    return Grid(scale_OG=scale_OG, zero_point_OG=zero_point_OG, bits=bits)


def fit_as_awq(weight_OI: Tensor, form: WeightFormat) -> WeightGrid:
    """Fit a grid of AWQ: integers have one of their own, other formats theirs."""
    if isinstance(form, IntegerFormat):
        return fit_range(weight_OI, form.bits, form.group_size, form.symmetric)
    return form.fit(weight_OI)


@final
@dataclass(frozen=True, kw_only=True)
class ClippedRounding(LayerMethod):
    bits: int  # bits of a weight's integer code
    group_size: int | None  # columns that share a scale; None: the whole row
    symmetric: bool  # whether the zero point is the middle of the grid
    clip_steps: int  # limits per unit of shrinkage
    max_shrink: float  # largest fraction by which a limit is lowered; 0: nothing is clipped
    scale_I: Tensor | None  # kept in the weight, which divides inputs by it; None: none is
    format: str = INT  # what a code is: an integer, or a floating-point number of this format
    scale_rule: str = OCP  # of mxfp4: how a power of two is chosen
    tensor_factor: float | None = None  # shared with layers that runtimes fuse

    statistic: ClassVar[type[Statistic] | None] = InputProfile

    @full_float32()
    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        assert isinstance(statistic, InputProfile), statistic
        num_out, num_in = weight_OI.shape
        group_size = self._format.group_size or num_in
        bits = self._format.average_bits(num_out, num_in)
        scaled_OI = weight_OI.to(torch.float32)
        if self.scale_I is not None:
            bits += SCALE_BITS / num_out
            scaled_OI = scaled_OI * self.scale_I
        if self.max_shrink > 0:
            scaled_OI = self._clip(scaled_OI, self._products_GCC(statistic, group_size))
        grid = self._fit(scaled_OI)
        rounded_OI = grid.round(scaled_OI)
        notes = [_unusual(statistic)]
        if self.scale_I is not None:
            rounded_OI, grid = rounded_OI / self.scale_I, None
            notes.insert(0, SCALE_KEPT)
        return CompressedWeight(
            weight_OI=rounded_OI.to(weight_OI.dtype),
            bits=bits,
            grid=grid,
            note="; ".join(filter(None, notes)) or None,
        )

    def for_fused(self, weights: Sequence[Tensor]) -> LayerMethod:
        if self.scale_I is not None:  # the weights that are rounded are others, and fused with none
            return self
        return replace(self, tensor_factor=self._format.factor_of(weights))

    @property
    def _format(self) -> WeightFormat:
        settings = self.format, self.bits, self.group_size, self.symmetric
        return weight_format(
            *settings, scale_rule=self.scale_rule, tensor_factor=self.tensor_factor
        )

    def _fit(self, weight_OI: Tensor) -> WeightGrid:
        return fit_as_awq(weight_OI, self._format)

    def _products_GCC(self, profile: InputProfile, group_size: int) -> Tensor:
        """Sum of x x^T over the spaced tokens, inputs divided by the scale that is kept here."""
        products_GCC = profile.spaced_products_GCC(group_size)
        if self.scale_I is None:
            return products_GCC
        scale_GC = unflatten(self.scale_I, 0, (-1, group_size))
        return products_GCC / (scale_GC.unsqueeze(1) * scale_GC.unsqueeze(2))

    def _clip(self, weight_OI: Tensor, products_GCC: Tensor) -> Tensor:
        """Limit the weights of every group to where rounding changes its output least."""
        weight_OGC = unflatten(weight_OI, 1, products_GCC.shape[:2])
        highest_OG1 = weight_OGC.abs().amax(dim=2, keepdim=True)
        best_OG1 = highest_OG1.clone()
        lowest_error_OG1 = torch.full_like(highest_OG1, torch.inf)
        for step in range(int(self.max_shrink * self.clip_steps)):
            limit_OG1 = highest_OG1 * (1 - step / self.clip_steps)
            limited_OI = weight_OGC.clamp(-limit_OG1, limit_OG1).flatten(1)
            change_OI = weight_OI - self._fit(limited_OI).round(limited_OI)
            error_OG1 = _output_error_OG1(change_OI, products_GCC)
            is_better_OG1 = error_OG1 < lowest_error_OG1
            lowest_error_OG1 = torch.where(is_better_OG1, error_OG1, lowest_error_OG1)
            best_OG1 = torch.where(is_better_OG1, limit_OG1, best_OG1)
        return weight_OGC.clamp(-best_OG1, best_OG1).flatten(1)


def _unusual(profile: InputProfile) -> str | None:
    """Say what was out of the ordinary about the inputs; None when nothing was."""
    if profile.num_tokens == 0:
        return NO_TOKENS
    num_dead = int((profile.mean_magnitude_I() == 0).sum())
    return f"{num_dead} dead input features, whose error counts for nothing" if num_dead else None


def _output_error_OG1(change_OI: Tensor, products_GCC: Tensor) -> Tensor:
    """Squared change of each group's part of each output, summed over the spaced tokens."""
    change_GOC = unflatten(change_OI, 1, products_GCC.shape[:2]).transpose(0, 1)
    error_GO1 = ((change_GOC @ products_GCC) * change_GOC).sum(dim=2, keepdim=True)
    return error_GO1.transpose(0, 1)
