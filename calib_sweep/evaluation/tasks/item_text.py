"""The text of test items, as far as a calibration set can hold it.

It is every string of an item, whatever its fields are called, and what a model is asked about it:
fields are joined there. Few-shot examples are training items, so that of a task with examples the
strings alone are taken. An item that has no 13 tokens in a row cannot be known again.

Shapes: R runs of tokens, W different ones.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep.dataset.calibration.overlap import Overlap, SetRuns, different, runs_of_texts
from calib_sweep.evaluation.tasks.task_scores import by_item
from calib_sweep.evaluation.tokenised import Shelf, token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from calib_sweep.evaluation.harness import Instance, Task


@dataclass(frozen=True, eq=False)
class ItemRuns:
    """The runs of 13 tokens of all items of a task."""

    hashes_R: np.ndarray
    item_R: np.ndarray  # the number of its item
    num_items: int

    @classmethod
    def of(
        cls,
        strings: Sequence[Iterable[str]],
        tokenizer: "PreTrainedTokenizerBase",
        shelf: Shelf | None = None,
    ) -> "ItemRuns":
        """Tokenise the strings of each item; each run of an item counts once.

        `shelf`: where token ids are kept for other processes; None: nowhere.
        """
        different = [list(dict.fromkeys(own)) for own in strings]
        item_K = np.repeat(np.arange(len(different)), [len(own) for own in different])
        texts = [text for own in different for text in own]
        hashes_R, text_R = runs_of_texts(token_ids(tokenizer, texts, special=False, shelf=shelf))
        order_R = np.lexsort((hashes_R, item_K[text_R]))
        hashes_R, item_R = hashes_R[order_R], item_K[text_R][order_R]
        is_new_R = np.ones(len(hashes_R), dtype=bool)
        is_new_R[1:] = (np.diff(item_R) > 0) | (hashes_R[1:] != hashes_R[:-1])
        return cls(hashes_R[is_new_R], item_R[is_new_R], len(different))

    @cached_property
    def different_W(self) -> np.ndarray:
        """The different runs, sorted."""
        return different(self.hashes_R)

    def overlap(self, runs: SetRuns) -> Overlap:
        """Measure what a calibration set and these items share."""
        found = runs.overlap(self.different_W)
        items = int(self.seen(runs).sum()) if found.share else 0
        return Overlap(share=found.share, samples=found.samples, items=items)

    def seen(self, runs: SetRuns) -> np.ndarray:
        """Mark the items more than half of whose runs stand in the set [items]."""
        num_all = np.bincount(self.item_R, minlength=self.num_items)
        num_held = np.bincount(self.item_R[runs.holds(self.hashes_R)], minlength=self.num_items)
        return 2 * num_held > num_all


def strings_of_items(task: "Task") -> list[list[str]]:
    """Return the strings of each item of a task, in order."""
    from calib_sweep.evaluation.harness import num_shots

    is_alone = not num_shots(task)
    return [
        [*strings_of(own[0].doc), *(_asked(own) if is_alone else [])]
        for own in by_item(task.instances)
    ]


def _asked(instances: "Sequence[Instance]") -> Iterator[str]:
    """Yield what a model is asked about an item: with one answer, others stand in its fields."""
    first, *rest = instances
    yield "".join(part for part in first.args[:2] if isinstance(part, str))
    yield from dict.fromkeys(one.args[0] for one in rest if one.args[0] != first.args[0])


def strings_of(value: object) -> Iterator[str]:
    """Yield every string with text inside an item, in order."""
    if isinstance(value, str):
        if value.strip():
            yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from strings_of(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from strings_of(part)
