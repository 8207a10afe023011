"""Wanda: remove the weights that move a layer's output least, row by row.

Sun et al. 2023, arXiv:2306.11695, eq. 1:   score[o, i] = |W[o, i]| * ||X[:, i]||_2
Rows are compared only with themselves, so each output keeps the same number of weights: exactly
`int(in_features * sparsity)` go, ties to the lower column; sparsity 0 removes nothing.
N:M: N kept of every M neighbouring columns of a row. No weight is updated. Features that were zero
in every token are dead: their weights score 0 and go first.

Shapes: O = out_features, I = in_features.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from calib_sweep.errors import collected
from calib_sweep.method.base import CompressedWeight, LayerMethod
from calib_sweep.method.selection.masks import lowest
from calib_sweep.method.settings import (
    ROW,
    check_groups_fit,
    check_pattern,
    check_sparsity,
    num_kept_and_group_length,
)
from calib_sweep.method.statistics.input_norm import InputNorm
from calib_sweep.method.statistics.statistic import Statistic

NO_TOKENS = "no calibration token reached this layer: input norms taken as equal"


@final
@dataclass(frozen=True, kw_only=True)
class Wanda(LayerMethod):
    sparsity: float  # fraction of weights set to zero, in [0, 1)
    pattern: str  # "unstructured" or "N:M", N kept of every M

    statistic: ClassVar[type[Statistic] | None] = InputNorm

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(check_sparsity, self.sparsity)
            problems.of(check_pattern, self.pattern, self.sparsity)

    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        assert isinstance(statistic, InputNorm), statistic
        score_OI = input_weighted(weight_OI.to(torch.float32).abs(), statistic)
        mask_OI = lowest(score_OI, self.sparsity, self.pattern, compare=ROW)
        return CompressedWeight(
            weight_OI=weight_OI.masked_fill(mask_OI, 0.0),
            note=unusual(statistic),
        )

    def check_shape(self, name: str, num_out: int, num_in: int) -> None:
        groups = num_kept_and_group_length(self.pattern)
        if groups is not None:
            check_groups_fit("method.pattern", self.pattern, groups[1], name, num_in)


def input_weighted(size_OI: Tensor, statistic: InputNorm) -> Tensor:
    """Wanda's score of weights of these sizes; without a token, the sizes themselves."""
    if statistic.num_tokens == 0:
        return size_OI
    return size_OI * statistic.norm_I().to(size_OI.device)


def unusual(statistic: InputNorm) -> str | None:
    """Say what was out of the ordinary about the inputs; None when nothing was."""
    if statistic.num_tokens == 0:
        return NO_TOKENS
    num_dead = int((statistic.norm_I() == 0).sum())
    return f"{num_dead} dead input features, whose weights score 0" if num_dead else None
