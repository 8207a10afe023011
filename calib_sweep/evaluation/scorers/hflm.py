"""The engine `hflm`: requests go through lm-eval's class HFLM, a row for each.

It answers whatever architecture the model has. A task is forwarded after the other, so that an
answer does not depend on which other tasks are run.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING

from calib_sweep.evaluation.requests import Answer, Request, Requests
from calib_sweep.evaluation.scorers.forward import tokens_at_once
from calib_sweep.evaluation.scorers.in_memory import InMemory
from calib_sweep.evaluation.scorers.lengths import check_lengths

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
        answers: dict[int, Answer] = {}
        batch_tokens = tokens_at_once(self.batch_tokens, self.model.device)
        for batch, num_kept in requests.kept(
            ("HFLM", batch_tokens, self.context_length),
            lambda own: _batches_of(own, batch_tokens, self.context_length),
        ):
            found = self._lm.answers([requests[i] for i in batch], num_kept)
            answers |= zip(batch, found, strict=True)
        return [answers[i] for i in range(len(requests))]


def _batches_of(
    requests: Requests, batch_tokens: int, context_length: int
) -> list[tuple[list[int], int]]:
    """List requests to forward together, with the number of positions that need logits."""
    check_lengths(requests, context_length)
    return [
        (batch, num_scored([requests[i] for i in batch], context_length))
        for items in requests.items.values()
        for batch in batches(requests, [i for item in items for i in item], batch_tokens)
    ]


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
