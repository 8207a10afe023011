"""Tempered: remove the weights of least |W[o, i]| * ||X[:, i]||_2 ^ exponent, row by row.

Exponent 0 is magnitude, 1 is Wanda. A grid over exponents and draws, in the folder above this one:

    python -m calib_sweep -m --config-dir conf method=tempered method.exponent=0,0.5,1 seed=0,1

What a method may ask to know about a layer's inputs, filled with the calibration set for it:
`InputNorm` (input_norm.py), `Hessian` (hessian.py: X^T X and its inverse), `InputProfile` (AWQ's).
Without a `statistic` a method needs no data: `compress_weight` gets None, and a cell has no draw.

Shapes: O = out_features, I = in_features.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from calib_sweep.errors import collected, require
from calib_sweep.method.base import CompressedWeight, LayerMethod
from calib_sweep.method.selection.masks import lowest_per_row
from calib_sweep.method.settings import check_sparsity
from calib_sweep.method.statistics.input_norm import InputNorm
from calib_sweep.method.statistics.statistic import Statistic
from calib_sweep.values import is_number


@dataclass(frozen=True, kw_only=True)
class Tempered(LayerMethod):
    """Pruning between magnitude and Wanda."""

    sparsity: float  # fraction of weights set to zero, in [0, 1)
    exponent: float  # of the input norms, 0 or more

    statistic: ClassVar[type[Statistic] | None] = InputNorm

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(check_sparsity, self.sparsity)
            problems.of(self._check_exponent)

    def _check_exponent(self) -> None:
        require(
            is_number(self.exponent) and 0 <= self.exponent < math.inf,
            "method.exponent",
            self.exponent,
            "a number of 0 or more",
            "Example: method.exponent=0.5.",
        )

    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        """Return the new weight: a new tensor, as the one that is given must stay as it is."""
        assert isinstance(statistic, InputNorm)
        score_OI = weight_OI.float().abs() * statistic.norm_I() ** self.exponent
        mask_OI = lowest_per_row(score_OI, self.sparsity)
        return CompressedWeight(weight_OI=weight_OI.masked_fill(mask_OI, 0.0))
