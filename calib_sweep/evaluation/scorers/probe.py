"""Whether an engine says of a model what the model says itself, asked one request at a time.

Packed rows need a model that honours a mask and positions that it is given. Some do not: ALiBi
counts places of a row, a sliding window is lost, a recurrent state runs on from one item to the
next, positions are taken from the mask, the forward raises. No list of architectures tells: a
window harms longer items alone. So a few of the very requests are scored both ways:

    the one that reaches furthest back      windows; rotary frequencies that change with the length
    the one with the most places            what counts places on from branch to branch
    the shortest                            states that are handed on, and soon forgotten
    the first two of each shape             one request; one token; more; contexts that differ

They stand among others, in rows as long as usual, and all rows get a mask, as any of them may
elsewhere. The first windows of a corpus are scored too.

What may differ is rounding. It is measured: the same requests a second time, two at once and
padded on the right, which a causal model does not see. `MARGIN` times the largest difference is
allowed, but no less and no more than `ROUNDING`.

Shapes: R rows, B of them at once, T tokens, P scored tokens, V vocabulary.
"""

import copy
import dataclasses
import inspect
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from calib_sweep.errors import ConfigError
from calib_sweep.evaluation.requests import Request, Requests
from calib_sweep.evaluation.scorers.packed import PackedScorer, row_on
from calib_sweep.evaluation.scorers.rows import items_of
from calib_sweep.evaluation.scorers.scorer import Scorer, scored_parts
from calib_sweep.evaluation.windows import Windows

if TYPE_CHECKING:
    from torch import Tensor

NEEDED = {"attention_mask", "position_ids"}  # arguments of a forward
NUM_OF_SHAPE = 2  # items of each shape
NUM_WINDOWS = 2
ROW = 4096  # places
LONGEST = 2  # times the usual row; the rows of the probe are as long, where there are items
NUM_PAIRS = 6  # of rows, the shortest with the longest and so on: rounding is measured on them
MARGIN = 4
MAX_ELEMENTS = 2**26  # float32 log-probabilities at once: 256 MiB; it moves no result
# By dtype: the least and the most that passes for rounding, in nats over the root of the number of
# tokens, as errors of tokens add up like independent ones. The least is a little more than models
# of all architectures show in memory; it decides where the second measurement shows nothing. A
# wrong mask or position moves random models by 0.1 to 3. Who is further than the most from itself
# is so by more than rounding: what is computed depends on the company in the batch.
ROUNDING = {"float32": (3e-5, 1e-3), "float16": (0.02, 0.1), "bfloat16": (0.1, 0.5)}


class Row(NamedTuple):
    """A request, or a window, by itself."""

    tokens: list[int]
    scored: list[int]  # places of scored tokens, in order; never the first


def difference(
    scorer: PackedScorer, asked: Sequence[Requests], windows: Windows | None
) -> str | None:
    """Return where `scorer` says another thing than its model's plain forward; None: nowhere."""
    import torch

    model, scorer = scorer.model, copy.copy(scorer)
    company = LONGEST * (scorer.row_length or row_on(model.device))
    scorer.masks_all, scorer.is_compiled = True, False  # few shapes, used once
    scorer.asks_again = False  # what is not a number where it has company is a difference
    scorer.row_length = ROW  # long and short together: what is said may depend on the company
    if left_out := NEEDED - set(inspect.signature(model.forward).parameters):
        return f"its forward takes no {' and no '.join(sorted(left_out))}"
    rows: list[Row] = []
    found: list[float] = []
    try:
        requests, num_compared = few(asked, scorer.context_length, company)
        if num_compared:
            rows += [_row(request) for request in requests[:num_compared]]
            answers = scorer.loglikelihoods(requests)[:num_compared]
            found += [answer.log_likelihood for answer in answers]
        if windows is not None:
            first = _first(windows)
            rows += _rows(first)
            found += _totals(scorer, first)
    except (torch.OutOfMemoryError, ConfigError):
        raise  # which says nothing of the model
    except Exception as error:  # the border to models, which are other people's code
        return f"its forward raises {type(error).__name__} ({(str(error).splitlines() or [''])[0]})"
    return _apart(model, rows, np.array(found)) if rows else None


def _apart(model: Any, rows: Sequence[Row], found_R: np.ndarray) -> str | None:
    """Return which row has another log-likelihood alone than `found_R`; None: no row."""
    shortest = sorted(range(len(rows)), key=lambda r: len(rows[r].tokens))
    pairs = list(zip(shortest, reversed(shortest), strict=True))[: (len(rows) + 1) // 2]
    pairs = pairs[:: -(-len(pairs) // NUM_PAIRS)]
    alone_R, padded_R = plain(model, rows, [[r] for r in shortest]), plain(model, rows, pairs)
    root_R, twice = np.sqrt([len(row.scored) for row in rows]), np.unique(pairs)
    rounding = float(np.max((np.abs(padded_R - alone_R) / root_R)[twice]))
    limits = ROUNDING.get(str(model.dtype).removeprefix("torch."), ROUNDING["float32"])
    allowed = float(np.clip(MARGIN * rounding, *limits))
    apart_R = np.nan_to_num(np.abs(found_R - alone_R) / root_R, nan=np.inf)
    worst = int(np.argmax(apart_R))
    if apart_R[worst] <= allowed:
        return None
    tokens, scored = rows[worst]
    return (
        f"the last {len(scored)} of {len(tokens)} tokens have log-likelihood {found_R[worst]:.5g} "
        f"in a row with others, and {alone_R[worst]:.5g} alone"
    )


def few(asked: Sequence[Requests], context_length: int, company: int) -> tuple[Requests, int]:
    """Return the requests of a few items: those at the ends, and the first of each shape.

    And how many these are: others follow that fill a row of `company` places with them.
    """
    items = [
        [_cut(requests[i], context_length) for i in item]
        for requests in asked
        for documents in requests.items.values()
        for item in documents
    ]
    if not items:
        return Requests([]), 0
    reach = [max(len(r.context) + len(r.continuation) for r in item) for item in items]
    places = [_num_places(item, context_length) for item in items]
    picked = {int(np.argmax(reach)), int(np.argmax(places)), int(np.argmin(places))}
    by_shape: dict[tuple[bool, ...], list[int]] = {}
    for number, item in enumerate(items):
        by_shape.setdefault(_shape(item), []).append(number)
    picked.update(number for own in by_shape.values() for number in own[:NUM_OF_SHAPE])
    order = sorted(range(len(items)), key=lambda number: (number not in picked, number))
    filled = np.cumsum([places[number] for number in order])
    num_taken = max(len(picked), int(np.searchsorted(filled, company)) + 1)
    taken = [items[number] for number in order[:num_taken]]
    numbers = iter(range(sum(map(len, taken))))
    requests = Requests(
        (request for item in taken for request in item),
        {"": [[next(numbers) for _ in item] for item in taken]},
    )
    return requests, sum(map(len, taken[: len(picked)]))


def _num_places(item: Sequence[Request], context_length: int) -> int:
    """Count the places of a row that an item takes."""
    return max(own.num_places for own in items_of(item, range(len(item)), context_length))


def _shape(item: Sequence[Request]) -> tuple[bool, ...]:
    """Tell items apart that are laid out in other ways."""
    return (
        len(item) == 1,
        all(request.context == item[0].context for request in item),
        all(len(request.continuation) == 1 for request in item),
    )


def _cut(request: Request, context_length: int) -> Request:
    """Leave out what the model does not see."""
    num_seen = max(1, context_length + 1 - len(request.continuation))
    return request._replace(context=request.context[-num_seen:])


def _row(request: Request) -> Row:
    """Return a request as a row."""
    tokens = request.context + request.continuation
    return Row(tokens, list(range(len(request.context), len(tokens))))


def _first(windows: Windows) -> Windows:
    """Return the first windows of a corpus."""
    parts = {"tokens_NT": windows.tokens_NT, "scored_NT": windows.scored_NT}
    return dataclasses.replace(windows, **{key: of[:NUM_WINDOWS] for key, of in parts.items()})


def _rows(windows: Windows) -> list[Row]:
    """Return those windows of which a token is scored as rows."""
    pairs = zip(windows.tokens_NT, windows.scored_NT, strict=True)
    return [Row(own.tolist(), np.flatnonzero(is_T).tolist()) for own, is_T in pairs if is_T.any()]


def _totals(scorer: Scorer, windows: Windows) -> list[float]:
    """Return the log-likelihood of the scored tokens of each window that has one."""
    import torch

    value_P = np.empty(windows.num_positions)
    targets_P = windows.targets()
    for part, log_probs_PV in scored_parts(scorer, windows):
        targets = torch.from_numpy(targets_P[part]).to(log_probs_PV.device)
        value_P[part] = _of_targets(log_probs_PV, targets)
    return [float(own.sum()) for own in windows.by_window(value_P) if len(own)]


def plain(model: Any, rows: Sequence[Row], batches: Iterable[Sequence[int]]) -> np.ndarray:
    """Return the log-likelihood of each row's scored tokens by the forward of `model` alone.

    batches: the rows that are forwarded together, padded on the right.
    """
    import torch

    value_R = np.full(len(rows), np.nan)
    for batch in batches:
        length = max(len(rows[r].tokens) for r in batch) - 1  # nothing comes after the last token
        padded = [(rows[r].tokens[:-1] + [0] * length)[:length] for r in batch]
        with torch.inference_mode():
            input_BT = torch.tensor(padded, device=model.device)
            logits_BTV = model(input_ids=input_BT, use_cache=False).logits
            for r, logits_TV in zip(batch, logits_BTV, strict=True):
                value_R[r] = _total(logits_TV, rows[r])
    return value_R


def _total(logits_TV: "Tensor", row: Row) -> float:
    """Return the log-likelihood of the scored tokens of a row, in float32."""
    import torch

    scored_P = torch.tensor(row.scored, device=logits_TV.device)
    tokens_T = torch.tensor(row.tokens, device=logits_TV.device)
    total = 0.0
    for part_P in scored_P.split(max(1, MAX_ELEMENTS // logits_TV.shape[-1])):
        log_probs_PV = logits_TV[part_P - 1].float().log_softmax(-1)
        total += _of_targets(log_probs_PV, tokens_T[part_P]).sum()
    return float(total)


def _of_targets(log_probs_PV: "Tensor", targets_P: "Tensor") -> np.ndarray:
    """Return the log-probability of each target."""
    return log_probs_PV.gather(1, targets_P[:, None])[:, 0].double().cpu().numpy()
