"""DASH-Q: rounding in groups whose scale and offset are fitted to the weights that inputs use most.

Kim et al. 2026, arXiv:2604.13806, algorithm 1. Of the Hessian only the diagonal is kept, h[j] = sum
of x_j^2, as the rest is said to be noise in a small calibration set. So columns are never made to
repair each other; per row and group, with p = h / sum h, E[.] = sum of p times . and
q in {0, ..., 2^bits - 1}:

    w^     = s q - z
    start    s = (max w - min w) / (2^bits - 1),   z = -min w
    repeat `iterations` times:
        q  = clamp(round((w + z) / s))
        s' = E[(w - E[w]) (q - E[q])] / (E[(q - E[q])^2] + ridge),   z' = s' E[q] - E[w]
        s  = step s' + (1 - step) s,                                 z = step z' + (1 - step) z
    end      q = clamp(round((w + z) / s))

Scales are at least 1e-8. Offsets are not whole multiples of the scale: 0 need not be on a grid, and
average bits count half-precision numbers for both, bits + 32 / group.

Deviations: a group whose features were all zero in every token, and a layer that no token reached,
take equal h; the formulas would make such weights one number, which is right for inputs of zeros
only.

Shapes: O = out_features, I = in_features, R = rows at once, G = groups per row, C = columns of a
group.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from calib_sweep.errors import collected, require
from calib_sweep.method.base import CompressedWeight, LayerMethod, Work
from calib_sweep.method.grids.grid import mean_group
from calib_sweep.method.settings import check_bits, check_group_size, check_positive_int
from calib_sweep.method.statistics.importance import importance_of, unusual
from calib_sweep.method.statistics.input_norm import InputNorm
from calib_sweep.method.statistics.statistic import Statistic
from calib_sweep.method.typed import unflatten
from calib_sweep.values import is_number

HALF_BITS = 16  # a number kept in half precision
SMALLEST_SCALE = 1e-8
# Weights that are fitted at once: rows do not know of each other. Few enough for a CPU's cache.
ON_CPU, ON_GPU = 2**17, 2**26


@final
@dataclass(frozen=True, kw_only=True)
class DashQ(LayerMethod):
    bits: int  # bits of a weight's integer code, 2 to 8
    group_size: int | None  # columns that share scale and offset; None: the whole row
    iterations: int  # times that codes, then scale and offset are fitted
    step: float  # how far scale and offset move to their new values, in (0, 1]
    ridge: float  # added to the variance of the codes, above 0

    statistic: ClassVar[type[Statistic] | None] = InputNorm

    def __post_init__(self) -> None:
        remedy = "Example: method.iterations=9, the published value."
        with collected() as problems:
            problems.of(check_bits, self.bits)
            problems.of(check_group_size, self.group_size)
            problems.of(check_positive_int, "method.iterations", self.iterations, remedy)
            problems.of(self._check_step)
            problems.of(self._check_ridge)

    def _check_step(self) -> None:
        require(
            is_number(self.step) and 0 < self.step <= 1,
            "method.step",
            self.step,
            "a number above 0, at most 1",
            "Example: method.step=0.5, the published value.",
        )

    def _check_ridge(self) -> None:
        require(
            is_number(self.ridge) and 0 < self.ridge < math.inf,
            "method.ridge",
            self.ridge,
            "a number above 0",
            "Example: method.ridge=0.01, the published value.",
        )

    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        assert statistic is not None
        num_in = weight_OI.shape[1]
        weight_I = importance_of(statistic).to(weight_OI.device)
        num_rows = max((ON_GPU if weight_OI.is_cuda else ON_CPU) // num_in, 1)
        new_OI = torch.empty_like(weight_OI)
        for columns, width in self._equal_groups(num_in):
            p_GC = shares(unflatten(weight_I[columns], 0, (-1, width)))
            for first in range(0, len(weight_OI), num_rows):
                rows = slice(first, first + num_rows)
                w_RI = weight_OI[rows, columns].to(torch.float32)
                w_RGC = unflatten(w_RI, 1, (-1, width))
                new_OI[rows, columns] = self._rounded(w_RGC, p_GC).flatten(1)
        bits = self.bits + 2 * HALF_BITS / mean_group(num_in, self.group_size)
        return CompressedWeight(weight_OI=new_OI, bits=bits, note=unusual(statistic))

    def _equal_groups(self, num_in: int) -> list[tuple[slice, int]]:
        """Columns whose groups are of one width, and that width; a last group may be shorter."""
        width = min(self.group_size or num_in, num_in)
        rest = num_in % width
        whole = slice(num_in - rest), width
        return [whole, (slice(num_in - rest, num_in), rest)] if rest else [whole]

    def work(self) -> Work:
        return Work(passes=2, sweeps=25 + 10 * self.iterations)

    def _rounded(self, w_RGC: Tensor, p_GC: Tensor) -> Tensor:
        """Return s q - z of every weight."""
        highest = 2**self.bits - 1
        low_RG1, high_RG1 = w_RGC.amin(dim=2, keepdim=True), w_RGC.amax(dim=2, keepdim=True)
        s_RG1, z_RG1 = ((high_RG1 - low_RG1) / highest).clamp_min_(SMALLEST_SCALE), -low_RG1
        mean_w_RG1 = (p_GC * w_RGC).sum(dim=2, keepdim=True)
        pull_RGC = p_GC * (w_RGC - mean_w_RG1)
        q_RGC, product_RGC = torch.empty_like(w_RGC), torch.empty_like(w_RGC)
        for _ in range(self.iterations):
            torch.add(w_RGC, z_RG1, out=q_RGC).div_(s_RG1).round_().clamp_(0, highest)
            mean_q_RG1 = torch.mul(q_RGC, p_GC, out=product_RGC).sum(dim=2, keepdim=True)
            q_RGC -= mean_q_RG1
            covariance_RG1 = torch.mul(q_RGC, pull_RGC, out=product_RGC).sum(dim=2, keepdim=True)
            torch.mul(q_RGC, q_RGC, out=product_RGC).mul_(p_GC)
            variance_RG1 = product_RGC.sum(dim=2, keepdim=True)
            new_s_RG1 = (covariance_RG1 / (variance_RG1 + self.ridge)).clamp_min_(SMALLEST_SCALE)
            new_z_RG1 = new_s_RG1 * mean_q_RG1 - mean_w_RG1
            s_RG1 = self.step * new_s_RG1 + (1 - self.step) * s_RG1
            z_RG1 = self.step * new_z_RG1 + (1 - self.step) * z_RG1
        torch.add(w_RGC, z_RG1, out=q_RGC).div_(s_RG1).round_().clamp_(0, highest)
        return q_RGC.mul_(s_RG1).sub_(z_RG1)


def shares(weight_GC: Tensor) -> Tensor:
    """Divide by the sum over the group; equal shares where that is 0."""
    sum_G1 = weight_GC.sum(dim=1, keepdim=True)
    return torch.where(sum_G1 > 0, weight_GC / sum_G1, 1 / weight_GC.shape[1])
