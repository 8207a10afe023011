"""Masks of the weights that go: True marks a weight to be set to zero, the lowest scores first.

Three comparison groups: the whole matrix (by a threshold, or an exact number), a row, M
neighbouring columns of a row.

Shapes: O = out_features, I = in_features.
"""

import torch
from torch import Tensor

from calib_sweep.method.settings import LAYER, num_kept_and_group_length
from calib_sweep.method.typed import unflatten


def lowest(score_OI: Tensor, sparsity: float, pattern: str, compare: str) -> Tensor:
    """Compare within the groups of a pattern N:M; else within the `layer`, or within each `row`."""
    groups = num_kept_and_group_length(pattern)
    if groups is not None:
        return lowest_in_groups(score_OI, *groups)
    if compare == LAYER:
        return at_or_below_threshold(score_OI, sparsity)
    return lowest_per_row(score_OI, sparsity)


def at_or_below_threshold(score_OI: Tensor, sparsity: float) -> Tensor:
    """Compare all scores of the matrix with its `int(size * sparsity)`-th in ascending order.

    The published rule of magnitude pruning and SparseGPT. The threshold itself goes as well, and so
    do its ties: at least one weight more than `int(size * sparsity)`, even at sparsity 0.
    """
    flat, rank = score_OI.flatten(), int(score_OI.numel() * sparsity)
    # The same number either way: selecting is faster on a CPU, sorting (ten times) on a GPU.
    threshold = flat.sort().values[rank] if flat.is_cuda else flat.kthvalue(rank + 1).values
    return score_OI <= threshold


def lowest_of_all(score_OI: Tensor, num_zeros: int) -> Tensor:
    """Mark exactly `num_zeros` scores of the matrix; ties: the first in memory."""
    if num_zeros == 0:
        return torch.zeros_like(score_OI, dtype=torch.bool)
    flat = score_OI.flatten()
    if flat.is_cuda:
        highest = flat.topk(num_zeros, largest=False, sorted=False).values.amax()
    else:
        highest = flat.kthvalue(num_zeros).values
    mask = flat < highest
    num_missing = num_zeros - int(mask.sum())
    mask[(flat == highest).nonzero().flatten()[:num_missing]] = True
    return mask.view_as(score_OI)


def lowest_per_row(score_OI: Tensor, sparsity: float) -> Tensor:
    """Mark exactly `int(in_features * sparsity)` scores in each row; ties: lower column first."""
    num_zeros = int(score_OI.shape[1] * sparsity)
    if score_OI.is_cuda or num_zeros == 0:
        order_OI = torch.sort(score_OI, dim=1, stable=True).indices
        mask_OI = torch.zeros_like(score_OI, dtype=torch.bool)
        return mask_OI.scatter_(1, order_OI[:, :num_zeros], True)
    # The same weights; selecting is faster on a CPU, sorting on a GPU.
    highest_O1 = score_OI.kthvalue(num_zeros, dim=1, keepdim=True).values
    mask_OI = score_OI <= highest_O1
    num_spared_O1 = mask_OI.sum(dim=1, keepdim=True) - num_zeros
    if bool(num_spared_O1.any()):
        is_tied_OI = score_OI == highest_O1
        rank_from_right_OI = is_tied_OI.flip(1).cumsum(dim=1).flip(1)
        mask_OI &= ~is_tied_OI | (rank_from_right_OI > num_spared_O1)
    return mask_OI


def lowest_in_groups(score_OI: Tensor, num_kept: int, group_length: int) -> Tensor:
    """Keep `num_kept` of every `group_length` neighbouring columns; ties: lower column goes."""
    score_OGM = unflatten(score_OI, 1, (-1, group_length))
    order_OGM = torch.sort(score_OGM, dim=2, stable=True).indices
    mask_OGM = torch.zeros_like(score_OGM, dtype=torch.bool)
    mask_OGM.scatter_(2, order_OGM[:, :, : group_length - num_kept], True)
    return mask_OGM.flatten(1)
