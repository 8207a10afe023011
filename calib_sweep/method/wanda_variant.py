"""Wanda's variant: rows lose as many weights as their own scores say, not all the same number.

Sun et al. 2023, arXiv:2306.11695, the `use_variant` of the authors' code. In each row the weights
of ascending score[o, i] = |W[o, i]| * ||X[:, i]||_2 go while their scores sum to at most a share
alpha of the row's total, and with the last of them go its ties. One alpha per layer, by bisection:

    it starts at 0.4 in [0, 0.8] and halves the bracket, until the layer's sparsity is within 0.001
    of `sparsity`, or the bracket is narrower than 0.001

So the sparsity that is reached is near the one asked for, and above what alpha 0.8 removes it is
not reached at all; then the report says so. The published code has no N:M form of it.

Deviation: a row whose smallest score is already above its share keeps all of its weights (where the
authors' code reads in front of the row's first weight, an error).

Shapes: O = out_features, I = in_features.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from calib_sweep.method.base import CompressedWeight, LayerMethod
from calib_sweep.method.settings import check_sparsity
from calib_sweep.method.statistics.input_norm import InputNorm
from calib_sweep.method.statistics.statistic import Statistic
from calib_sweep.method.wanda import input_weighted, unusual

FIRST_ALPHA = 0.4
LARGEST_ALPHA = 0.8
TOLERANCE = 0.001  # of the sparsity, and of alpha


@final
@dataclass(frozen=True, kw_only=True)
class WandaVariant(LayerMethod):
    sparsity: float  # fraction of weights set to zero that is aimed at, in [0, 1)

    statistic: ClassVar[type[Statistic] | None] = InputNorm

    def __post_init__(self) -> None:
        check_sparsity(self.sparsity)

    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        assert isinstance(statistic, InputNorm), statistic
        mask_OI = self._mask(input_weighted(weight_OI.to(torch.float32).abs(), statistic))
        notes = [unusual(statistic)]
        reached = _share(mask_OI)
        if abs(reached - self.sparsity) > TOLERANCE:
            notes.append(
                f"sparsity {self.sparsity:g} not reached: the search ended at {reached:.4f}"
            )
        return CompressedWeight(
            weight_OI=weight_OI.masked_fill(mask_OI, 0.0),
            note="; ".join(filter(None, notes)) or None,
        )

    def _mask(self, score_OI: Tensor) -> Tensor:
        """True where a weight goes, for the alpha that the bisection ends at."""
        ascending_OI = score_OI.sort(dim=1).values
        summed_OI, total_O1 = ascending_OI.cumsum(dim=1), score_OI.sum(dim=1, keepdim=True)

        def mask_for(alpha: float) -> Tensor:
            num_gone_O1 = (summed_OI <= alpha * total_O1).sum(dim=1, keepdim=True)
            threshold_O1 = ascending_OI.gather(1, (num_gone_O1 - 1).clamp_min(0))
            return (score_OI <= threshold_O1) & (num_gone_O1 > 0)

        low, alpha, high = 0.0, FIRST_ALPHA, LARGEST_ALPHA
        mask_OI = mask_for(alpha)
        while abs(_share(mask_OI) - self.sparsity) > TOLERANCE and high - low >= TOLERANCE:
            if _share(mask_OI) > self.sparsity:
                alpha, high = (alpha + low) / 2, alpha
            else:
                alpha, low = (alpha + high) / 2, alpha
            mask_OI = mask_for(alpha)
        return mask_OI


def _share(mask_OI: Tensor) -> float:
    return int(mask_OI.sum()) / mask_OI.numel()
