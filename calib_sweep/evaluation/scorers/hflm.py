"""The engine `hflm`: requests go through lm-eval's class HFLM, a row for each.

It answers whatever architecture the model has. A task is forwarded after the other, so that an
answer does not depend on which other tasks are run.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, NamedTuple

from calib_sweep.evaluation.requests import Answer, Request, Requests
from calib_sweep.evaluation.scorers.forward import tokens_at_once
from calib_sweep.evaluation.scorers.in_memory import InMemory
from calib_sweep.evaluation.scorers.lengths import check_lengths
from calib_sweep.evaluation.scorers.sharing import dealt, of_all

if TYPE_CHECKING:
    from calib_sweep.evaluation.harness import Resident


class HFLMScorer(InMemory):
    """A transformers model in memory; requests go through lm-eval's class HFLM."""

    engine = f"hflm {version('lm_eval')}"
    is_whole = True  # the plain forward, whatever a model makes of its logits

    @cached_property
    def _lm(self) -> "Resident":
        from calib_sweep.evaluation.harness import Resident

        return Resident(self.model, self.tokenizer)

    def loglikelihoods(self, requests: Requests) -> list[Answer]:
        """Return an answer to each request, in order."""
        batch_tokens = tokens_at_once(self.batch_tokens, self.model.device)
        laid_out = requests.kept(
            ("HFLM", batch_tokens, self.context_length),
            lambda all_: _batches_of(all_, batch_tokens, self.context_length),
        )
        own = dealt([one.num_places for one in laid_out], self.ranks)
        found = [
            self._lm.answers([requests[i] for i in one.requests], one.num_kept)
            for one in (laid_out[number] for number in own)
        ]
        answers: dict[int, Answer] = {}
        for one, replies in zip(laid_out, of_all(self.ranks, own, found), strict=True):
            answers |= zip(one.requests, replies, strict=True)
        return [answers[i] for i in range(len(requests))]


class Batch(NamedTuple):
    """Requests that are forwarded together."""

    requests: list[int]
    num_kept: int  # positions at the end that need logits
    num_places: int


def _batches_of(requests: Requests, batch_tokens: int, context_length: int) -> list[Batch]:
    """List requests to forward together."""
    check_lengths(requests, context_length)
    found = []
    for items in requests.items.values():
        for indices in batches(requests, [i for item in items for i in item], batch_tokens):
            own = [requests[i] for i in indices]
            rows = {tuple(one.context + one.continuation[:-1]) for one in own}
            num_places = len(rows) * min(max(map(len, rows)), context_length)
            found.append(Batch(indices, num_scored(own, context_length), num_places))
    return found


def batches(
    requests: Sequence[Request], indices: Sequence[int], batch_tokens: int
) -> Iterator[list[int]]:
    """Yield which of the requests at `indices` are forwarded together, in lm-eval's order.

    Requests that differ in their last token alone are one row. Rows go from long to short, as many
    at once as have `batch_tokens` places where each is as long as the first; at least one. Equal
    rows that score more or fewer tokens are apart: lm-eval takes all for as long as one of them.
    """
    rows: dict[tuple[tuple[int, ...], int], list[int]] = {}
    for index in indices:
        context, continuation = requests[index]
        inputs = tuple(context + continuation[:-1])
        rows.setdefault((inputs, len(continuation)), []).append(index)

    def order(row: list[int]) -> tuple[int, list[int]]:
        context, continuation = requests[max(row, key=lambda i: len(requests[i].continuation))]
        return -len(context + continuation), context + continuation

    ordered = sorted(rows.items(), key=lambda row: order(row[1]))
    batch: list[int] = []
    held: set[tuple[int, ...]] = set()
    num_rows = 1
    for (inputs, _), row in ordered:
        if len(held) == num_rows or inputs in held:
            yield batch
            batch, held = [], set()
        if not held:
            num_rows = max(1, batch_tokens // len(inputs))
        held.add(inputs)
        batch += row
    if batch:
        yield batch


def num_scored(requests: Sequence[Request], context_length: int) -> int:
    """Count the positions from the end of a right-padded batch that hold all that is scored."""
    inputs = [min(len(r.context) + len(r.continuation) - 1, context_length) for r in requests]
    first = min(n - len(r.continuation) for n, r in zip(inputs, requests, strict=True))
    return max(inputs) - first
