"""Input channels dealt to the groups of an N:M pattern, so that more of the scores is kept.

Zhang et al. 2024, "Plug-and-Play", ICLR 2024, section 3.2. What is kept of a group g of M channels
is the sum over rows of the N largest of the row's M scores in g.

    deal     channels in ascending order of their summed scores are dealt to the groups to and fro,
             position after position, so that every group gets strong and weak ones
    assign   for one position after the other: the channels that the groups hold there are assigned
             to the groups anew, the best of all assignments (a linear sum assignment problem)

Each assignment keeps at least as much as the one before, which it could choose.

Shapes: O = out_features, I = in_features = G * M, G = groups, M = channels of a group.
"""

import torch
from torch import Tensor

from calib_sweep.method.typed import best_assignment, unflatten


def deal_channels(score_OI: Tensor, group_length: int) -> Tensor:
    """Order of channels [I] in which every `group_length` that follow each other are a group."""
    ascending_I = score_OI.sum(dim=0).sort(stable=True).indices
    dealt_MG = unflatten(ascending_I, 0, (group_length, -1)).clone()
    dealt_MG[1::2] = dealt_MG[1::2].flip(1)
    return dealt_MG.T.flatten()


def assign_channels(score_OI: Tensor, order_I: Tensor, num_kept: int, group_length: int) -> Tensor:
    """The order after the best assignment of each position in turn."""
    order_GM = unflatten(order_I, 0, (-1, group_length)).clone()
    for position in range(group_length):
        others = [m for m in range(group_length) if m != position]
        kept_GG = kept_scores(
            score_OI[:, order_GM[:, others]], score_OI[:, order_GM[:, position]], num_kept
        )
        chosen_G = best_assignment(kept_GG)
        order_GM[:, position] = order_GM[chosen_G.to(order_GM.device), position]
    return order_GM.flatten()


def kept_scores(fixed_OGF: Tensor, candidate_OG: Tensor, num_kept: int) -> Tensor:
    """Return what group g (row) keeps when candidate k (column) joins its F = M - 1 fixed channels.

    The N largest of M scores, of which F are sorted already: the N - 1 largest of the F, and the
    larger of the N-th and the candidate.
    """
    descending_OGF = fixed_OGF.sort(dim=2, descending=True).values
    sure_G = descending_OGF[:, :, : num_kept - 1].sum(dim=(0, 2))
    last_OG = descending_OGF[:, :, num_kept - 1]
    joined_GG = torch.stack(
        [torch.maximum(last_O1, candidate_OG).sum(dim=0) for last_O1 in last_OG.T.unsqueeze(2)]
    )
    return sure_G.unsqueeze(1) + joined_GG
