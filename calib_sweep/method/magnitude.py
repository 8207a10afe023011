"""Magnitude pruning: remove the smallest weights of a layer. Needs no data.

The baseline of Han et al. 2015 (arXiv:1506.02626), layer by layer, in the form that the pruning
papers compare with:   score[o, i] = |W[o, i]|

    compare: layer   one threshold per layer; weights at the threshold go too, so at least one more
                     than `int(size * sparsity)`, and sparsity 0 removes the smallest and its ties
    compare: row     exactly `int(in_features * sparsity)` of each row, ties to the lower column;
                     Wanda's rule, so that the two differ in their scores alone
    pattern: N:M     N kept of every M neighbouring columns of a row

Shapes: O = out_features, I = in_features.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from calib_sweep.errors import collected
from calib_sweep.method.base import CompressedWeight, LayerMethod
from calib_sweep.method.selection.masks import lowest
from calib_sweep.method.settings import (
    check_compare,
    check_groups_fit,
    check_pattern,
    check_sparsity,
    num_kept_and_group_length,
)
from calib_sweep.method.statistics.statistic import Statistic


@final
@dataclass(frozen=True, kw_only=True)
class Magnitude(LayerMethod):
    sparsity: float  # fraction of weights set to zero, in [0, 1)
    pattern: str  # "unstructured" or "N:M", N kept of every M
    compare: str  # "layer" or "row": the weights that a weight is compared with

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(check_sparsity, self.sparsity)
            problems.of(check_pattern, self.pattern, self.sparsity)
            problems.of(check_compare, self.compare, self.pattern)

    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        score_OI = weight_OI.to(torch.float32).abs()
        mask_OI = lowest(score_OI, self.sparsity, self.pattern, self.compare)
        return CompressedWeight(weight_OI=weight_OI.masked_fill(mask_OI, 0.0))

    def check_shape(self, name: str, num_out: int, num_in: int) -> None:
        groups = num_kept_and_group_length(self.pattern)
        if groups is not None:
            check_groups_fit("method.pattern", self.pattern, groups[1], name, num_in)
