"""Swapping weights of a mask, row by row: one that is removed comes back, one that is kept goes.

    r[o]   sum over the removed weights of row o of a loss D[o, i]; each swap moves it towards 0:
           while r > 0 the first of `Candidates.above` comes back, while r < 0 the first of `below`

A side is walked once from its best end. So is the list of those that may go in exchange, and both
stand at the same place: the number of swaps that the row has tried towards that side.

Shapes: O = rows, I = columns, M = columns of a group.
"""

from typing import Protocol

import torch
from torch import Tensor

from calib_sweep.method.typed import unflatten


class Candidates:
    """The removed weights that may come back: by D / spread, the largest first or the smallest."""

    def __init__(self, loss_OI: Tensor, spread_I: Tensor, gone_OI: Tensor) -> None:
        """`spread_I` may be 0, where D is 0 in every token or the same in all."""
        gain_OI = torch.where(gone_OI & (loss_OI != 0), loss_OI / spread_I, 0.0)
        self._ascending_OI = gain_OI.sort(dim=1, stable=True).indices
        self._num_above_O = (gain_OI > 0).sum(dim=1)
        self._num_below_O = (gain_OI < 0).sum(dim=1)

    def at(self, place_O: Tensor, is_above_O: Tensor) -> tuple[Tensor, Tensor]:
        """Column that comes back in each row, and whether there is one."""
        last = self._ascending_OI.shape[1] - 1
        number_O = torch.where(is_above_O, self._num_above_O, self._num_below_O)
        index_O = torch.where(is_above_O, last - place_O, place_O).clamp(0, last)
        return _at(self._ascending_OI, index_O), place_O < number_O


class Partners(Protocol):
    """The kept weights that may go for one that comes back."""

    def at(self, place_O: Tensor, is_above_O: Tensor, back_O: Tensor) -> tuple[Tensor, Tensor]:
        """Column that goes in each row for column `back_O`, and whether there is one."""
        ...


class SignedPartners:
    """Those whose own loss counters r, the lowest scores first."""

    def __init__(self, loss_OI: Tensor, score_OI: Tensor, gone_OI: Tensor) -> None:
        self._lists: dict[bool, tuple[Tensor, Tensor]] = {}
        for is_above, counters_OI in ((True, loss_OI < 0), (False, loss_OI > 0)):
            may_go_OI = counters_OI & ~gone_OI
            order_OI = score_OI.masked_fill(~may_go_OI, torch.inf).sort(dim=1, stable=True).indices
            self._lists[is_above] = order_OI, may_go_OI.sum(dim=1)

    def at(self, place_O: Tensor, is_above_O: Tensor, back_O: Tensor) -> tuple[Tensor, Tensor]:
        (above_OI, num_above_O), (below_OI, num_below_O) = self._lists[True], self._lists[False]
        index_O = place_O.clamp(max=above_OI.shape[1] - 1)
        out_O = torch.where(is_above_O, _at(above_OI, index_O), _at(below_OI, index_O))
        return out_O, place_O < torch.where(is_above_O, num_above_O, num_below_O)


class GroupPartners:
    """The lowest score among those of the group of the weight that comes back, each once."""

    def __init__(self, score_OI: Tensor, gone_OI: Tensor, group_length: int) -> None:
        kept_OI = score_OI.masked_fill(gone_OI, torch.inf)
        self._kept_OGM = unflatten(kept_OI, 1, (-1, group_length))
        self._row_O = torch.arange(len(score_OI), device=score_OI.device)

    def at(self, place_O: Tensor, is_above_O: Tensor, back_O: Tensor) -> tuple[Tensor, Tensor]:
        length = self._kept_OGM.shape[2]
        group_O = back_O // length
        score_O, member_O = self._kept_OGM[self._row_O, group_O].min(dim=1)
        self._kept_OGM[self._row_O, group_O, member_O] = torch.inf
        return group_O * length + member_O, score_O < torch.inf


def swapped(
    loss_OI: Tensor,
    gone_OI: Tensor,
    candidates: Candidates,
    partners: Partners,
    *,
    max_cycles: int,
    threshold: float,
    same_sign: bool,
) -> Tensor:
    """The mask of removed weights after at most `max_cycles` swaps in each row.

    A row ends when |r| is not above `threshold`; with `same_sign`, before r would turn its sign.
    """
    gone_OI = gone_OI.clone()
    error_O = torch.where(gone_OI, loss_OI, 0.0).sum(dim=1)
    sign_O, goes_on_O = error_O.sign(), torch.ones_like(error_O, dtype=torch.bool)
    tried_O2 = torch.zeros(len(error_O), 2, dtype=torch.long, device=error_O.device)
    row_O = torch.arange(len(error_O), device=error_O.device)
    for _ in range(max_cycles):
        is_above_O = error_O > 0
        side_O = is_above_O.long()
        back_O, is_candidate_O = candidates.at(_at(tried_O2, side_O), is_above_O)
        out_O, is_partner_O = partners.at(_at(tried_O2, side_O), is_above_O, back_O)
        tried_O2[row_O, side_O] += 1
        after_O = error_O + _at(loss_OI, out_O) - _at(loss_OI, back_O)
        is_pair_O = is_candidate_O & is_partner_O
        goes_on_O &= error_O.abs() > threshold
        if same_sign:
            goes_on_O &= ~is_pair_O | (after_O.sign() == sign_O)
        if not bool(goes_on_O.any()):
            break
        swaps_O = goes_on_O & is_pair_O
        error_O = torch.where(swaps_O, after_O, error_O)
        gone_OI[row_O[swaps_O], out_O[swaps_O]] = True
        gone_OI[row_O[swaps_O], back_O[swaps_O]] = False
    return gone_OI


def _at(value_OI: Tensor, index_O: Tensor) -> Tensor:
    """The element of each row at its index."""
    return value_OI.gather(1, index_O.unsqueeze(1)).squeeze(1)
