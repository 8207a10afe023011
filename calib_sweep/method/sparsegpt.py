"""SparseGPT: remove weights column by column and let the columns to the right make up for it.

Frantar & Alistarh 2023, arXiv:2301.00774, algorithm 1, as their code computes it:

    H = (2/N) sum x x^T + damping * mean(diag H) * 1        U^T U = H^-1, U upper triangular
    score[o, i] = W[o, i]^2 / U[i, i]^2
    W[o, j] -= (W[o, i] - Q[o, i]) / U[i, i] * U[i, j]      for j > i

Features that were zero in every token are dead: their weights become zero, and their diagonal 1
counts in the mean that scales the damping. Unstructured: all rows x `block_size` columns are one
comparison group, with scores of the weights as the earlier blocks left them; scores at the
threshold go too, so each block loses at least one weight more than `int(size * sparsity)`, and
sparsity 0 still removes one (and its ties) per block. N:M: the N kept of every M columns are
chosen when the sweep reaches the group, on weights already updated inside the block.

Where no token reached a layer H would be 0, and the rule above would erase the layer; instead H is
taken as the identity (nothing to repair) and the report says so.

Shapes: O = out_features, I = in_features, B = columns of a block.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from calib_sweep.method.base import CompressedWeight, LayerMethod
from calib_sweep.method.masks import at_or_below_threshold, lowest_in_groups
from calib_sweep.method.precision import full_float32
from calib_sweep.method.settings import (
    check_all,
    check_block_size,
    check_damping,
    check_groups_fit,
    check_pattern,
    check_sparsity,
    num_kept_and_group_length,
)
from calib_sweep.method.statistics import NO_TOKENS, Hessian, Statistic

STRIP_LENGTH = 32  # columns updated one by one before a matrix product; speed, not results


@final
@dataclass(frozen=True, kw_only=True)
class SparseGPT(LayerMethod):
    sparsity: float  # fraction of weights set to zero, in [0, 1)
    pattern: str  # "unstructured" or "N:M", N kept of every M
    damping: float  # fraction of the mean Hessian diagonal added to it
    block_size: int  # columns whose mask is chosen together; changes the result

    statistic: ClassVar[type[Statistic] | None] = Hessian

    def __post_init__(self) -> None:
        check_all(
            lambda: check_sparsity(self.sparsity),
            lambda: check_pattern(self.pattern, self.sparsity),
            lambda: check_damping(self.damping),
            lambda: check_block_size(self.block_size, self.pattern),
        )

    @full_float32()
    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        assert isinstance(statistic, Hessian), statistic
        num_in = weight_OI.shape[1]
        if statistic.num_tokens == 0:
            identity_II = torch.eye(num_in, device=weight_OI.device)
            pruned_OI = self._solve(weight_OI.to(torch.float32), identity_II)
            return CompressedWeight(weight_OI=pruned_OI.to(weight_OI.dtype), note=NO_TOKENS)
        factor = statistic.inverse_factor(self.damping)
        dead_I = factor.dead_I.to(weight_OI.device)
        alive_OI = weight_OI.to(torch.float32).masked_fill(dead_I, 0.0)
        pruned_OI = self._solve(alive_OI, factor.upper_II.to(weight_OI.device))
        return CompressedWeight(
            weight_OI=pruned_OI.to(weight_OI.dtype), damping=factor.damping, note=factor.note()
        )

    def check_shape(self, name: str, num_out: int, num_in: int) -> None:
        groups = num_kept_and_group_length(self.pattern)
        if groups is not None:
            check_groups_fit("method.pattern", self.pattern, groups[1], name, num_in)

    def _solve(self, weight_OI: Tensor, upper_II: Tensor) -> Tensor:
        """Prune and repair a float32 weight, given the factor of its inverse Hessian."""
        # Columns become rows, so that the loops below read and write contiguous memory.
        weight_IO = weight_OI.T.clone(memory_format=torch.contiguous_format)
        for start in range(0, len(weight_IO), self.block_size):
            stop = min(start + self.block_size, len(weight_IO))
            diagonal_B1 = upper_II.diagonal()[start:stop].unsqueeze(1)
            # Removing a weight w[i] takes w[i] * share[i, j] from the columns j to its right.
            share_BI = upper_II[start:stop, start:] / diagonal_B1
            removed_BO = self._solve_block(weight_IO[start:stop], share_BI, diagonal_B1.square())
            weight_IO[stop:].addmm_(share_BI[:, stop - start :].T, removed_BO, alpha=-1)
        return weight_IO.T.contiguous()

    def _solve_block(self, weight_BO: Tensor, share_BI: Tensor, square_B1: Tensor) -> Tensor:
        """Prune one block of columns in place; return what was removed from them.

        One column after the other inside short strips, the rest of the block strip by strip.
        """
        groups = num_kept_and_group_length(self.pattern)
        if groups is None:
            strip_length = STRIP_LENGTH
            mask_BO = at_or_below_threshold(weight_BO.square() / square_B1, self.sparsity)
            gone_BO = mask_BO.to(torch.float32)
        else:
            strip_length = max(STRIP_LENGTH // groups[1], 1) * groups[1]
            gone_BO = torch.zeros_like(weight_BO)
        for start in range(0, len(weight_BO), strip_length):
            stop = min(start + strip_length, len(weight_BO))
            for column in range(start, stop):
                if groups is not None and column % groups[1] == 0:
                    group = slice(column, column + groups[1])
                    score_MO = weight_BO[group].square() / square_B1[group]
                    gone_BO[group] = lowest_in_groups(score_MO.T, *groups).T.to(torch.float32)
                share_S = share_BI[column, column + 1 : stop]
                removed_O = weight_BO[column] * gone_BO[column]
                weight_BO[column + 1 : stop].addr_(share_S, removed_O, alpha=-1)
            removed_SO = weight_BO[start:stop] * gone_BO[start:stop]
            share_SB = share_BI[start:stop, stop : len(weight_BO)]
            weight_BO[stop:].addmm_(share_SB.T, removed_SO, alpha=-1)
        # A column is final once the sweep has passed it, so what it loses can be read off now.
        removed_BO = weight_BO * gone_BO
        weight_BO -= removed_BO
        return removed_BO
