"""RIA: remove the weights that matter least to their row and to their column, given the input.

Zhang et al. 2024, "Plug-and-Play", ICLR 2024, relative importance and activations:

    importance[o, i] = |W[o, i]| / sum_i |W[o, i]| + |W[o, i]| / sum_o |W[o, i]|
    score[o, i]      = importance[o, i] * ||X[:, i]||_2 ^ exponent

A weight counts relative to all weights of its output and of its input, so that no channel is lost
as a whole. Which scores are compared:

    compare: layer   one threshold per layer, as the authors' code does by default; weights at the
                     threshold go too, at least one more than `int(size * sparsity)`
    compare: row     exactly `int(in_features * sparsity)` of each row (their `per_outneuron`)
    pattern: N:M     N kept of every M columns: neighbours, or with `permutation` the columns that
                     `channel_permutation.py` puts together (their `reallocation`, and then `lsa`)

A permutation moves no weight here: zeros stand in the columns as the model has them, and are N:M
once the columns are put in that order. No weight is updated.

Deviations: scores are computed in float32 (the authors divide in the model's own dtype); a row or
column of zeros has importance 0 (theirs is undefined); their `fast` and other column scores for the
permutation, and their combination with SparseGPT's repair, are left out.

Shapes: O = out_features, I = in_features.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from calib_sweep.errors import collected, require
from calib_sweep.method.base import CompressedWeight, LayerMethod
from calib_sweep.method.selection.channel_permutation import assign_channels, deal_channels
from calib_sweep.method.selection.masks import lowest, lowest_in_groups
from calib_sweep.method.settings import (
    UNSTRUCTURED,
    check_compare,
    check_groups_fit,
    check_pattern,
    check_sparsity,
    num_kept_and_group_length,
)
from calib_sweep.method.statistics.input_norm import InputNorm
from calib_sweep.method.statistics.statistic import Statistic
from calib_sweep.method.wanda import unusual
from calib_sweep.values import is_number

REALLOCATION, ASSIGNMENT = "reallocation", "assignment"


@final
@dataclass(frozen=True, kw_only=True)
class RIA(LayerMethod):
    sparsity: float  # fraction of weights set to zero, in [0, 1)
    pattern: str  # "unstructured" or "N:M", N kept of every M
    compare: str  # "layer" or "row": the weights that a weight is compared with
    exponent: float  # of the input norm; 0: relative importance alone
    permutation: str | None  # with N:M: "reallocation" or "assignment"; None: neighbouring columns

    statistic: ClassVar[type[Statistic] | None] = InputNorm

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(check_sparsity, self.sparsity)
            problems.of(check_pattern, self.pattern, self.sparsity)
            problems.of(check_compare, self.compare, self.pattern)
            problems.of(self._check_exponent)
            problems.of(self._check_permutation)

    def _check_exponent(self) -> None:
        require(
            is_number(self.exponent) and 0 <= self.exponent < float("inf"),
            "method.exponent",
            self.exponent,
            "a number >= 0",
            "Example: method.exponent=0.5, the published value.",
        )

    def _check_permutation(self) -> None:
        accepted = (None,) if self.pattern == UNSTRUCTURED else (None, REALLOCATION, ASSIGNMENT)
        require(
            self.permutation in accepted,
            "method.permutation",
            self.permutation,
            f"null; with a pattern N:M also {REALLOCATION} or {ASSIGNMENT}",
            "Type method.permutation=null, or method.pattern=2:4 with method.sparsity=0.5.",
        )

    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        assert isinstance(statistic, InputNorm), statistic
        score_OI = relative_importance(weight_OI.to(torch.float32).abs())
        if statistic.num_tokens > 0:
            score_OI *= statistic.norm_I().to(score_OI.device).pow(self.exponent)
        return CompressedWeight(
            weight_OI=weight_OI.masked_fill(self._mask(score_OI), 0.0),
            note=unusual(statistic) if self.exponent > 0 else None,  # else inputs count for nothing
        )

    def check_shape(self, name: str, num_out: int, num_in: int) -> None:
        groups = num_kept_and_group_length(self.pattern)
        if groups is not None:
            check_groups_fit("method.pattern", self.pattern, groups[1], name, num_in)

    def _mask(self, score_OI: Tensor) -> Tensor:
        groups = num_kept_and_group_length(self.pattern)
        if self.permutation is None or groups is None:
            return lowest(score_OI, self.sparsity, self.pattern, self.compare)
        order_I = deal_channels(score_OI, groups[1])
        if self.permutation == ASSIGNMENT:
            order_I = assign_channels(score_OI, order_I, *groups)
        mask_OI = torch.empty_like(score_OI, dtype=torch.bool)
        mask_OI[:, order_I] = lowest_in_groups(score_OI[:, order_I], *groups)
        return mask_OI


def relative_importance(size_OI: Tensor) -> Tensor:
    """Shares of a row's and of a column's total, added; `size_OI`: |W|, float32."""
    smallest = torch.finfo(size_OI.dtype).tiny
    row_O1 = size_OI.sum(dim=1, keepdim=True).clamp_min(smallest)
    column_1I = size_OI.sum(dim=0, keepdim=True).clamp_min(smallest)
    return size_OI / row_O1 + size_OI / column_1I
