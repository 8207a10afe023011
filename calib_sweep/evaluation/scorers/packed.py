"""The engine `packed`: many items in a row, what their continuations share once (see `rows`).

The rows go through the model with explicit positions and a mask by which a branch sees its prefix
and itself. A model that does not honour both gives other answers: it is scored by `hflm` instead.

A place that is not seen has no weight, but 0 times what is not a number is not a number either:
where a ruined model overflows at one item, its whole row is lost. Requests without a number are
asked again, in rows of their own.

Each task has batches of its own, so that an answer does not depend on which other tasks are run.
Index tensors stay on the device for the next model. Nothing waits for the host before the end, and
sums are taken there, in order: on a GPU they would depend on which thread comes first.

Shapes: B rows at once, L places of a row, U places where a head is needed, P scored tokens,
V vocabulary, R requests.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep.cell import PACKED_VERSION
from calib_sweep.evaluation.requests import Answer, Requests
from calib_sweep.evaluation.scorers.forward import (
    logits_at,
    parts_of,
    tokens_at_once,
    with_rows,
)
from calib_sweep.evaluation.scorers.in_memory import InMemory
from calib_sweep.evaluation.scorers.lengths import check_lengths
from calib_sweep.evaluation.scorers.rows import Rows, alone, pack
from calib_sweep.evaluation.scorers.sharing import dealt, of_all
from calib_sweep.ranks import Ranks

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Places of a row. Of longer rows a GPU pads fewer and has fewer shapes; on a CPU attention over a
# row with a mask costs as much as over all of its pairs.
ROW_ON_GPU, ROW_ON_CPU = 1024, 48


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows that are forwarded together, on the model's device."""

    tokens_BL: "Tensor"
    positions_BL: "Tensor"
    until_BL: "Tensor"
    row_U: "Tensor"
    place_U: "Tensor"
    at_P: "Tensor"
    target_P: "Tensor"
    is_plain: bool  # one request in each row: the model's own mask and positions are right


@dataclass(frozen=True, eq=False)
class Layout:
    """All requests in batches, and whose tokens they score, in the order of batches."""

    own: list[int]  # the numbers of those batches that this rank forwards
    batches: list[Batch]  # these
    request_P: np.ndarray  # of the batches of all ranks


class PackedScorer(InMemory):
    """A transformers model in memory; requests are packed into rows."""

    engine = f"packed {PACKED_VERSION}"
    row_length: int | None = None  # places; longer items have longer rows; None: by device
    asks_again = True  # alone, what is not a number in a row with others
    masks_all = False  # a mask and positions for rows of one request, too: no result moves

    def loglikelihoods(self, requests: Requests) -> list[Answer]:
        """Return an answer to each request, in order."""
        device = self.model.device
        batch_tokens, is_full = tokens_at_once(self.batch_tokens, device), self.is_compiled
        row_length, ranks = self.row_length or row_on(device), self.ranks
        in_batches = partial(_in_batches, batch_tokens=batch_tokens, device=device, ranks=ranks)
        ways = (self.context_length, batch_tokens, row_length, str(device), is_full)
        laid_out = requests.kept(
            ("packed", *ways, ranks.index, ranks.count),
            lambda all_: in_batches(
                _packed(all_, self.context_length, row_length), is_full=is_full
            ),
        )
        with self._ready():
            total_R, missed_R = self._totals(laid_out, len(requests))
        lost = np.flatnonzero(np.isnan(total_R))
        if self.asks_again and len(lost):
            rows = alone(requests, lost.tolist(), self.context_length)
            again = in_batches(rows, is_full=False)  # shapes not to compile
            own = self._totals(again, len(requests))
            total_R[lost], missed_R[lost] = (of[lost] for of in own)
        return [Answer(float(t), not n) for t, n in zip(total_R, missed_R, strict=True)]

    def _totals(self, laid_out: Layout, num_requests: int) -> tuple[np.ndarray, np.ndarray]:
        """Return of each request its log-likelihood, and how many tokens are not the likeliest."""
        value_P, is_best_P = self._scored(laid_out)
        total_R = np.bincount(laid_out.request_P, value_P, num_requests)
        return total_R, np.bincount(laid_out.request_P, ~is_best_P, num_requests)

    def _scored(self, laid_out: Layout) -> tuple[np.ndarray, np.ndarray]:
        """Return of each scored token its log-likelihood, and whether it is the likeliest."""
        import torch

        values, best = [], []
        with torch.inference_mode():
            for batch in laid_out.batches:
                inputs = {"input_ids": batch.tokens_BL}
                if self.masks_all or not batch.is_plain:
                    inputs["position_ids"] = batch.positions_BL
                    inputs["attention_mask"] = mask(batch.until_BL, self.model.dtype)[:, None]
                logits_UV = logits_at(self.model, inputs, batch.row_U, batch.place_U)
                value_P, is_best_P = _of_targets(logits_UV, batch)
                values.append(value_P)
                best.append(is_best_P)
        found = list(zip(_on_host(values), _on_host(best), strict=True))
        value, is_best = zip(*of_all(self.ranks, laid_out.own, found), strict=True)
        return np.concatenate(value).astype(np.float64), np.concatenate(is_best)


def row_on(device: "torch.device") -> int:
    """Return the usual places of a row."""
    return ROW_ON_CPU if device.type == "cpu" else ROW_ON_GPU


def _packed(requests: Requests, context_length: int, row_length: int) -> list[Rows]:
    check_lengths(requests, context_length)
    return [
        rows
        for documents in requests.items.values()
        for rows in pack(requests, documents, context_length, row_length)
    ]


def _in_batches(
    packed: Sequence[Rows],
    batch_tokens: int,
    device: "torch.device",
    ranks: Ranks,
    *,
    is_full: bool,
) -> Layout:
    """Part rows into batches, as many rows in each as have `batch_tokens` places; at least one.

    `is_full`: the last batch has as many rows as the others, so that all have one shape.
    """
    parts: list[tuple[Rows, slice]] = []
    for rows in packed:
        num_rows, length = rows.tokens_RL.shape
        at_once = max(1, batch_tokens // length)
        parts += [(rows, slice(at, at + at_once)) for at in range(0, num_rows, at_once)]
    own = dealt([rows.tokens_RL[part].size for rows, part in parts], ranks)
    batches = [_batch(*parts[number], device, is_full=is_full) for number in own]
    return Layout(own, batches, np.concatenate([rows.request_P for rows in packed]))


def _batch(rows: Rows, part: slice, device: "torch.device", *, is_full: bool) -> Batch:
    """Put a part of the rows on the device."""
    import torch

    ends = [part.start, part.stop]
    heads = slice(*np.searchsorted(rows.row_U, ends))
    scored = slice(*np.searchsorted(rows.row_U[rows.at_P], ends))
    arrays = [of[part] for of in (rows.tokens_RL, rows.positions_RL, rows.until_RL)]
    if is_full:
        arrays = [with_rows(array, part.stop - part.start) for array in arrays]
    arrays += [rows.row_U[heads] - part.start, rows.place_U[heads]]
    arrays += [rows.at_P[scored] - heads.start, rows.target_P[scored]]
    tensors = (torch.from_numpy(array.copy()).to(device) for array in arrays)
    return Batch(*tensors, is_plain=bool(rows.is_plain_R[part].all()))


def mask(until_BL: "Tensor", dtype: "torch.dtype") -> "Tensor":
    """Return what is added to attention [B, L, L]: the least number where a place is not seen."""
    import torch

    place_L = torch.arange(until_BL.shape[1], device=until_BL.device)
    is_hidden_BLL = (place_L[:, None] < place_L) | (place_L[:, None] > until_BL[:, None])
    mask_BLL = torch.zeros(is_hidden_BLL.shape, dtype=dtype, device=until_BL.device)
    return mask_BLL.masked_fill_(is_hidden_BLL, torch.finfo(dtype).min)


def _on_host(parts: Sequence["Tensor"]) -> list[np.ndarray]:
    """Copy tensors to the host in one go, so that it waits once."""
    import torch

    if not parts:  # fewer batches than ranks
        return []
    whole = torch.cat(list(parts)).cpu()
    return [part.numpy() for part in whole.split([len(part) for part in parts])]


def _of_targets(logits_UV: "Tensor", batch: Batch) -> tuple["Tensor", "Tensor"]:
    """Return the log-likelihood of each scored token, and whether it is the likeliest, in float32.

    A token's is its logit less the logarithm of the sum over the vocabulary.
    """
    import torch

    total_U = torch.cat([part.float().logsumexp(-1) for part in parts_of(logits_UV)])
    best_U = logits_UV.argmax(-1)
    at_P, target_P = batch.at_P.to(logits_UV.device), batch.target_P.to(logits_UV.device)
    value_P = logits_UV[at_P, target_P].float() - total_U[at_P]
    return value_P, best_U[at_P] == target_P
