"""AWQ: scale up the input features that matter before rounding, then clip.

Lin et al. 2023, arXiv:2306.00978, eq. 4 and 5, as their code (llm-awq) computes it, per block:

    s_r = mean|x|^r, clamped to 1e-4 and above, divided by sqrt(max s_r * min s_r)
    r*  = argmin_r || f(x; W) - f(x; round(W diag(s_r)) diag(1/s_r)) ||^2,  r = 0, 1/n, .. 1 - 1/n

for every group of layers that read one tensor x. f is the smallest module around the group, run on
all calibration tokens with every other weight dense: attention for q, k and v, the MLP for gate and
up, the layer itself for a layer alone (whose error needs no run, only sum x x^T). Of equal errors
the smallest r is kept; r = 0 is no scaling. All groups of a block are searched on the dense block,
then scaled: x is divided by s in the norm or layer that makes it, columns of W are multiplied, and
the dense block computes what it did. Last, weights are clipped and rounded, as in
clipped_rounding.py, but those of queries and keys are not clipped: their outputs are multiplied
with each other, so that an error of one of them alone says little.

The next block sees the outputs of the dense block: walk.propagate=published means dense here. The
layer after attention is scaled only where the matrix of values and its own have one shape.

Deviations: mean|x| and the search are float32 (half precision in the authors' code). Behind a GELU,
where the authors divide its output in a module of their own, the scale stays in the weights, as
round(W diag(s)) diag(1/s): the same function, and a model that any software can load, but that
layer is on no grid, and its average bits count 16 more per column. Not theirs, and used where
`format` says so: the formats of `float_formats.py` whose groups are parts of rows. For BLOOM and
Falcon, f is attention, the MLP or the block, run on what it is really fed; the authors feed the
whole block with the normed inputs of the layer.

Shapes: O = out_features, I = in_features.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, final

import torch
from torch import Tensor

from calib_sweep.errors import collected, require
from calib_sweep.method.base import BlockMethod, BlockPlan, DenseBlock, ScalingGroup, Work
from calib_sweep.method.clipped_rounding import ClippedRounding, fit_as_awq
from calib_sweep.method.grids.float_formats import OCP
from calib_sweep.method.grids.formats import FORMATS, FP8_BLOCK, INT, check_format, weight_format
from calib_sweep.method.grids.weight_format import WeightFormat
from calib_sweep.method.settings import (
    check_groups_fit,
    check_positive_int,
)
from calib_sweep.method.statistics.input_profile import InputProfile
from calib_sweep.method.statistics.statistic import Statistic
from calib_sweep.values import is_number

SMALLEST_SCALE = 1e-4
KNOWN = tuple(form for form in FORMATS if form != FP8_BLOCK)  # rows are clipped on their own


@final
@dataclass(frozen=True, kw_only=True)
class AWQ(BlockMethod):
    bits: int  # bits of a weight's code; of an integer 2 to 8
    group_size: int | None  # columns that share a scale; None: the whole row, or the format's own
    symmetric: bool  # whether the zero point is the middle of the grid; integers only
    scale_steps: int  # exponents tried; 1: only 0, which scales nothing
    clip_steps: int  # limits per unit of shrinkage
    max_shrink: float  # largest fraction by which a limit is lowered; 0: nothing is clipped
    format: str = INT  # what a code is: an integer, or a floating-point number of this format
    scale_rule: str = OCP  # of mxfp4: how a power of two is chosen

    statistic: ClassVar[type[Statistic] | None] = InputProfile
    propagates_dense: ClassVar[bool] = True

    def __post_init__(self) -> None:
        with collected() as problems:
            settings = self.format, self.bits, self.group_size, self.symmetric, self.scale_rule
            problems.of(check_format, *settings, known=KNOWN)
            for key in ("scale_steps", "clip_steps"):
                remedy = f"Example: method.{key}=20, the published value."
                problems.of(check_positive_int, f"method.{key}", getattr(self, key), remedy)
            problems.of(self._check_max_shrink)
        self._check_limits()

    def _check_max_shrink(self) -> None:
        require(
            is_number(self.max_shrink) and 0 <= self.max_shrink < 1,
            "method.max_shrink",
            self.max_shrink,
            "a fraction in [0, 1)",
            "Example: method.max_shrink=0.5, the published value; 0 clips nothing.",
        )

    def _check_limits(self) -> None:
        """The first limit clips nothing: a search of one would be a setting without effect."""
        require(
            self.max_shrink == 0 or int(self.max_shrink * self.clip_steps) >= 2,
            "method.max_shrink",
            self.max_shrink,
            f"0, or so much that it spans two of the {self.clip_steps} steps of method.clip_steps",
            "Example: method.max_shrink=0.5 method.clip_steps=20, the published values.",
        )

    def work(self) -> Work:
        clips = int(self.max_shrink * self.clip_steps)
        return Work(
            passes=3 + self.scale_steps,  # observe, find modules' inputs, propagate; run modules
            sweeps=8 * (self.scale_steps + clips),
        )

    def check_shape(self, name: str, num_out: int, num_in: int) -> None:
        size = self.grid_format().group_size
        if self.group_size is not None:
            check_groups_fit("method.group_size", self.group_size, self.group_size, name, num_in)
        elif size is not None:
            check_groups_fit("method.format", self.format, size, name, num_in)

    def grid_format(self) -> WeightFormat:
        return self._format()

    def _format(self, tensor_factor: float | None = None) -> WeightFormat:
        settings = self.format, self.bits, self.group_size, self.symmetric
        return weight_format(*settings, scale_rule=self.scale_rule, tensor_factor=tensor_factor)

    def plan_block(self, block: DenseBlock) -> BlockPlan:
        scales = {group: self._search_scale(block, group) for group in block.groups}
        kept = {
            name: scale_I
            for group, scale_I in scales.items()
            for name in group.layers
            if group.folds_into is None
        }
        methods = {
            name: ClippedRounding(
                bits=self.bits,
                group_size=self.group_size,
                symmetric=self.symmetric,
                clip_steps=self.clip_steps,
                max_shrink=0.0 if name in block.score_layers else self.max_shrink,
                scale_I=kept.get(name),
                format=self.format,
                scale_rule=self.scale_rule,
            )
            for name in block.weights
        }
        folded = {group: s_I for group, s_I in scales.items() if group.folds_into is not None}
        return BlockPlan(scales=folded, methods=methods)

    def _search_scale(self, block: DenseBlock, group: ScalingGroup) -> Tensor:
        """The scale [I] that changes the output of the inspected module least."""
        weights = {name: block.weights[name] for name in group.layers}
        seen = [block.statistics[name] for name in group.layers if name in block.statistics]
        magnitude_I = _mean_magnitude_I(seen, weights[group.layers[0]])
        ratios = [step / self.scale_steps for step in range(self.scale_steps)]
        scales = [scale_of(magnitude_I, ratio) for ratio in ratios]
        candidates = [partial(self._rounded, weights, scale_I) for scale_I in scales]
        errors = block.output_errors(group, candidates)
        best = min(range(len(scales)), key=lambda step: _or_infinite(errors[step]))
        if not math.isfinite(errors[best]):
            layers = ", ".join(group.layers)
            raise ArithmeticError(
                f"no scale of {layers} leaves finite outputs; the dense model may overflow, too. "
                "Try model.dtype=bfloat16 or model.dtype=float32."
            )
        return scales[best]

    def _rounded(self, weights: Mapping[str, Tensor], scale_I: Tensor) -> dict[str, Tensor]:
        """round(W diag(s)) diag(1/s), in the dtype of W."""
        scaled = {name: w_OI.to(torch.float32) * scale_I for name, w_OI in weights.items()}
        form = self._format(self._format().factor_of(scaled.values()))
        return {
            name: (fit_as_awq(s_OI, form).round(s_OI) / scale_I).to(weights[name].dtype)
            for name, s_OI in scaled.items()
        }


def scale_of(magnitude_I: Tensor, ratio: float) -> Tensor:
    """The scale that an exponent gives, from the mean magnitudes of the features."""
    scale_I = magnitude_I.pow(ratio).clamp(min=SMALLEST_SCALE)
    return scale_I / (scale_I.max() * scale_I.min()).sqrt()


def _mean_magnitude_I(profiles: Sequence[Statistic], weight_OI: Tensor) -> Tensor:
    """Mean magnitude over all tokens; those of experts are of one tensor, which they share out."""
    distinct = {id(profile): profile for profile in profiles}.values()
    total = sum(profile.sum_weights for profile in distinct)
    mean_I = weight_OI.new_zeros(weight_OI.shape[1], dtype=torch.float32)
    for profile in distinct:
        assert isinstance(profile, InputProfile), profile
        mean_I += profile.mean_magnitude_I() * (profile.sum_weights / (total or 1))
    return mean_I


def _or_infinite(error: float) -> float:
    return error if math.isfinite(error) else math.inf
