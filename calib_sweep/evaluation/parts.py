"""Parts: what one corpus or one task says of a model. Its scores are put together from them.

A part stands on its own: its scores, their errors, its rows of the table of items and, of the dense
model, its share of the reference belong together. They depend on the model, on who asks it, on the
part's own text and settings, and on nothing that is scored besides. So a part that was scored
before can stand in the place of one that is scored now: `identity` says whether it is the same.

The scores of a part are called metric/<its name>.
"""

import dataclasses
import hashlib
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep import valid_json
from calib_sweep.evaluation.items import Table
from calib_sweep.results.means import geometric_mean, geometric_stderr
from calib_sweep.results.record import PartNote
from calib_sweep.settings import EXECUTION_KEYS

if TYPE_CHECKING:
    from torch import Tensor

WINDOW, TASK = "window", "task"  # kinds, as the table of items calls them


@dataclass(eq=False, kw_only=True)
class Part:
    """The scores of one corpus or task."""

    kind: str  # WINDOW or TASK
    name: str  # <corpus>@<seq_len>, or the task
    headline: str | None  # its score that goes into the mean over corpora or tasks
    scores: dict[str, float] = field(default_factory=dict)
    stderr: dict[str, float] = field(default_factory=dict)  # of the scores that have one
    metrics: dict[str, dict[str, object]] = field(default_factory=dict)  # by score: direction
    rows: Table = field(default_factory=dict, repr=False)  # of the table of items
    log_probs: "Tensor | None" = field(default=None, repr=False)  # of the dense model, float16
    top: "Tensor | None" = field(default=None, repr=False)  # its likeliest tokens, int32
    correct: np.ndarray | None = field(default=None, repr=False)  # of the dense model, per item
    max_gen_toks: int | None = None  # tokens that a written answer may have
    taken_from: str | None = None  # the cell of the same weights that scored it

    def note(self, own_identity: str) -> PartNote:
        """Return what a record says of the part."""
        note: PartNote = {"identity": own_identity, "headline": self.headline}
        if self.max_gen_toks is not None:
            note["max_gen_toks"] = self.max_gen_toks
        return note if self.taken_from is None else {**note, "taken_from": self.taken_from}

    def add(self, metric: str, value: float, stderr: float | None) -> None:
        """Keep a score and, where it has one, its standard error."""
        self.scores[f"{metric}/{self.name}"] = value
        if stderr is not None:
            self.stderr[f"{metric}/{self.name}"] = stderr


def name_of(score: str) -> str:
    """Return the name of the part whose score this is; `mean` and `geomean` are of no part."""
    return score.partition("/")[2]


def identity(**content: object) -> str:
    """Hash all that the scores of a part depend on, but the model."""
    text = valid_json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def settings_of(part: object, without: Collection[str] = ()) -> dict[str, object]:
    """Return the settings of a dataclass that can move a score, but for those in `without`."""
    left_out = {*EXECUTION_KEYS, *without}
    known = dataclasses.fields(part) if dataclasses.is_dataclass(part) else ()
    return {one.name: getattr(part, one.name) for one in known if one.name not in left_out}


def headlines(parts: Iterable[Part], kind: str) -> Iterator[tuple[float, float | None]]:
    """Yield the headline score of each part of a kind that has one, and its standard error."""
    for part in parts:
        if part.kind == kind and part.headline is not None:
            yield part.scores[part.headline], part.stderr.get(part.headline)


def mean_chance(parts: Iterable[Part]) -> float | None:
    """Return what guessing scores in the mean over tasks; None where it is not known of one."""
    counted = [part for part in parts if part.kind == TASK and part.headline is not None]
    told = [part.metrics.get(str(part.headline), {}).get("chance") for part in counted]
    known = [chance for chance in told if isinstance(chance, int | float)]
    return sum(known) / len(known) if counted and len(known) == len(counted) else None


def mean_over(parts: Iterable[Part], scores: Iterable[str]) -> str | None:
    """Name what the mean over tasks is over; None where all that have an accuracy are meant."""
    counted = [part.name for part in parts if part.kind == TASK and part.headline is not None]
    accuracies = (score for score in scores if score.split("/")[0] in ("acc", "acc_norm"))
    usual = {name_of(score) for score in accuracies} - {"mean"}
    return ", ".join(counted) if counted and set(counted) != usual else None


def unweighted_mean(values: list[tuple[float, float | None]]) -> tuple[float, float | None]:
    """The mean, and its SE: tasks share no items, so their errors are independent."""
    mean = sum(value for value, _ in values) / len(values)
    errors = [error for _, error in values if error is not None]
    if len(errors) < len(values):
        return mean, None
    return mean, math.sqrt(sum(error**2 for error in errors)) / len(values)


def mean_perplexity(values: list[tuple[float, float | None]]) -> tuple[float, float | None]:
    """The geometric mean of the corpora's perplexities, and its SE."""
    ppl_C = np.array([value for value, _ in values])
    stderr_C = np.array([math.nan if error is None else error for _, error in values])
    mean = geometric_mean(ppl_C)
    error = geometric_stderr(mean, ppl_C, stderr_C)
    return mean, None if math.isnan(error) else error


def merged(dictionaries: Iterable[Mapping[str, object]]) -> dict:
    """Return the entries of all in one."""
    return {key: value for one in dictionaries for key, value in one.items()}
