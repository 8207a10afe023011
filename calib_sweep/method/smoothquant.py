"""SmoothQuant: move what is hard to quantise from the inputs of layers into their weights.

Xiao et al. 2023, arXiv:2211.10438, as their code computes it. For layers that read one norm's
output x, with weights W of all of them, of a router that reads it, too:

    a[j] = max over calibration tokens of |x[j]|
    m[j] = max(max over layers and rows of |W[o, j]|, 1e-5)
    s[j] = max(a[j]^alpha / m[j]^(1 - alpha), 1e-5)

The norm's gain and bias are divided by s, the columns of the weights multiplied: the dense model
stays what it was. Then `base` rounds the weights, and the cell's `activations` quantise the inputs:
without them smoothing has no use. Only what a norm feeds is smoothed, as in the authors' code:
queries, keys, values and the layers that begin an MLP, not those after attention and at its end.

The published a is of the dense model, hence `propagate` is dense unless it is set. Deviations: all
is in float32, where the authors compute in half precision; grids of RTN and GPTQ have 255 steps of
max |W| / 127.5, theirs 254 of max |W| / 127. A router reads the norm, too: it is scaled, and its
weights are in m, but it is not rounded.

Shapes: O = out_features, I = in_features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast, final

import torch
from torch import Tensor

from calib_sweep.errors import collected, require
from calib_sweep.method.base import (
    BlockMethod,
    BlockPlan,
    DenseBlock,
    LayerMethod,
    ScalingGroup,
    Work,
    check_base,
)
from calib_sweep.method.grids.weight_format import WeightFormat
from calib_sweep.method.statistics.input_range import InputRange
from calib_sweep.method.statistics.statistic import Statistic
from calib_sweep.values import is_number

SMALLEST = 1e-5  # of a column's largest weight, and of a scale


@final
@dataclass(frozen=True, kw_only=True)
class SmoothQuant(BlockMethod):
    alpha: float  # share of the difficulty that weights take over, 0 to 1
    base: LayerMethod  # rounds the smoothed weights

    statistic: ClassVar[type[Statistic] | None] = InputRange
    propagates_dense: ClassVar[bool] = True
    scales_behind_norms: ClassVar[bool] = True

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(self._check_alpha)
            problems.of(self._check_base)

    def _check_alpha(self) -> None:
        require(
            is_number(self.alpha) and 0 <= self.alpha <= 1,
            "method.alpha",
            self.alpha,
            "a number from 0 to 1",
            "Example: method.alpha=0.85, as published for LLaMA-2-7B; 0.5 for OPT.",
        )

    def _check_base(self) -> None:
        base = cast(object, self.base)
        require(
            isinstance(base, LayerMethod),
            "method.base",
            base,
            "a method that compresses one layer at a time, such as RTN or GPTQ",
            "See conf/method/smoothquant.yaml for one.",
        )
        check_base(self.base)

    def work(self) -> Work:
        again = self.base.statistic is not None  # observed once more, after scale was moved
        return self.base.work()._replace(passes=2 + again)

    def check_shape(self, name: str, num_out: int, num_in: int) -> None:
        self.base.check_shape(name, num_out, num_in)

    def grid_format(self) -> WeightFormat:
        return self.base.grid_format()

    def plan_block(self, block: DenseBlock) -> BlockPlan:
        behind_norms = [
            group
            for group in block.groups
            if group.folds_into is not None and group.folds_into not in block.weights
        ]
        scales = {group: self._scale_I(block, group) for group in behind_norms}
        return BlockPlan(scales=scales, methods=dict.fromkeys(block.weights, self.base))

    def _scale_I(self, block: DenseBlock, group: ScalingGroup) -> Tensor:
        weights = [block.weights[name] for name in group.layers]
        weights += [block.follower_weights[name] for name in group.followers]
        seen = [block.statistics[name] for name in group.layers if name in block.statistics]
        m_I = torch.stack([weight_OI.float().abs().amax(dim=0) for weight_OI in weights]).amax(0)
        a_I = _magnitude_I(seen, m_I)
        m_I = m_I.clamp(min=SMALLEST)
        return (a_I.pow(self.alpha) / m_I.pow(1 - self.alpha)).clamp(min=SMALLEST)


def _magnitude_I(seen: Sequence[Statistic], like_I: Tensor) -> Tensor:
    """Largest magnitude over all tokens; those of experts are of one tensor, which they share."""
    a_I = torch.zeros_like(like_I)
    for statistic in seen:
        assert isinstance(statistic, InputRange), statistic
        a_I = torch.maximum(a_I, statistic.magnitude_I().to(a_I.device))
    return a_I
