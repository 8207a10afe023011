"""Training items of tasks as calibration text: what is asked, the answers, the reasoning.

No item that is scored is ever drawn. The split that is scored is refused by its name, and each item
is compared with all that are scored by its text: one that is among them is left out. If those of a
split are, the split is refused.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from calib_sweep.dataset.answered import AnsweredDataset
from calib_sweep.dataset.documents.marked import MarkedDocuments, MarkedText
from calib_sweep.errors import ConfigError, collected, require
from calib_sweep.evaluation.parts import identity
from calib_sweep.evaluation.tasks.item_text import strings_of
from calib_sweep.evaluation.tasks.loading import explained, loading, templates_of_tasks
from calib_sweep.evaluation.tasks.settings import KEY, ZeroShot
from calib_sweep.evaluation.tasks.solved import FORMS, document_of
from calib_sweep.hashing import file_sha256
from calib_sweep.values import is_int

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from calib_sweep.evaluation.harness import Spec

NUM_PROBED = 50  # items of a split; if all of them are scored, the split is one that is scored

Item = Mapping[str, object]
Content = frozenset[str]


@dataclass(frozen=True, eq=False)
class TrainingItems:
    """The training items of one task."""

    name: str
    task: Any  # of lm-eval's
    split: str
    items: Sequence[Item]
    scored: frozenset[Content]  # the contents of all items that are scored

    @classmethod
    def of(cls, name: str, spec: "Spec", split: str | None) -> "TrainingItems":
        """Load a task; `split`: its name of the items, None: that which it trains on."""
        from calib_sweep.evaluation.harness import open_task

        with explained(name, spec):
            task: Any = open_task(name, spec)
            scored_split = _scored_split(task)
            wanted = split or getattr(task.config, "training_split", None)
            _check_split(name, task, wanted, scored_split)
            items = _items(task, split)
            scored = frozenset(content_of(item) for item in task.eval_docs)
        found = cls(name, task, wanted or "training", items, scored)
        first = items[: min(NUM_PROBED, len(items))]
        if not len(items) or all(found.is_scored(item) for item in _rows(first)):
            what = "has none" if not len(items) else f"holds items of {scored_split!r}"
            raise ConfigError(
                f"{KEY}.tasks={name!r}: expected training items, but its split {found.split!r} "
                f"{what}{', which is scored' if len(items) else ''}. Choose another task, or name "
                "another split with dataset.split=SPLIT."
            )
        return found

    def is_scored(self, item: Item) -> bool:
        """Tell whether an item, by its text, is one that is scored."""
        content = content_of(item)
        if content in self.scored:
            return True
        # A scored item may hide what a training item tells: its reasoning, its answer.
        return any(part <= content for text in content for part in self._parts.get(text, ()))

    @cached_property
    def _parts(self) -> dict[str, list[Content]]:
        """Contents that are scored, by the longest of their texts; none of single words alone."""
        found: dict[str, list[Content]] = {}
        for content in self.scored:
            text = max(content, key=lambda text: (len(text), text), default="")
            if " " in text:
                found.setdefault(text, []).append(content)
        return found

    def unscored(self, first: int, count: int) -> list[Item]:
        """Return the items from number `first` on, at most `count`, without those scored."""
        stop = min(first + count, len(self.items))
        found = (self.items[number] for number in range(first, stop))
        return [item for item in found if not self.is_scored(item)]


@dataclass(frozen=True, kw_only=True)
class TaskItems(AnsweredDataset):
    """The training items of tasks; several tasks follow each other."""

    name: str  # label in records and tables; also names the random streams of the draw
    tasks: list[str]  # tasks, groups or tags of lm-eval
    form: str  # plain | answered | chain_of_thought
    items: int  # in a document
    split: str | None  # null: the one that a task trains on
    reasoning: str | None  # column of the reasoning; null: the first known one
    include_path: str | None  # folder with task definitions of the user's own
    trust_task_code: bool  # whether code that tasks of the user's own name may run
    license: str | None

    def __post_init__(self) -> None:
        with as_dataset(), collected() as problems:
            problems.of(self._settings)
            for key, accepts, expected, example in (
                ("form", self.form in FORMS, f"one of {', '.join(FORMS)}", "answered"),
                ("items", is_int(self.items, 1), "an integer >= 1", "5"),
                ("split", _is_name(self.split), "the name of a split, or null", "train"),
                ("reasoning", _is_name(self.reasoning), "a column, or null", "rationale"),
            ):
                remedy = f"Example: dataset.{key}={example}."
                value = getattr(self, key)
                problems.of(require, accepts, f"dataset.{key}", value, expected, remedy)

    def _settings(self) -> ZeroShot:
        is_list = isinstance(self.tasks, list | tuple) and all(map(_is_name, self.tasks))
        return ZeroShot(
            tasks=self.tasks,
            headline=dict.fromkeys(self.tasks) if is_list else {},  # nothing is scored
            include_path=self.include_path,
            storycloze_path=None,
            num_items=None,
            trust_task_code=self.trust_task_code,
        )

    @cached_property
    def settings(self) -> ZeroShot:
        """The tasks as an evaluation names them."""
        with as_dataset():
            return self._settings()

    @cached_property
    def pools(self) -> list[TrainingItems]:
        """The items of every task; `ConfigError` for all that have none."""
        with as_dataset():
            self.settings.check()
            specs = self.settings.specs()
            with collected() as problems, loading(self.settings):
                return [
                    problems.of(TrainingItems.of, name, spec, self.split)
                    for name, spec in specs.items()
                ]

    def prefetch(self) -> None:
        """Download what is not in the local cache yet, and prove that it can be read."""
        _ = self.pools

    def documents_for(self, tokenizer: "PreTrainedTokenizerBase") -> MarkedDocuments:
        """Return the items in order, so many to a document."""
        places = [
            (pool, first)
            for pool in self.pools
            for first in range(0, len(pool.items), self.items)
        ]  # fmt: skip

        def read(positions: Sequence[int]) -> list[MarkedText]:
            with as_dataset(), templates_of_tasks(self.settings):
                return [self._text(*places[position]) for position in positions]

        def name(position: int) -> str:
            pool, first = places[position]
            return f"{pool.name}/{pool.split}/{first}"

        return MarkedDocuments(num_documents=len(places), read=read, id=name, is_complete=False)

    def _text(self, pool: TrainingItems, first: int) -> MarkedText:
        with explained(pool.name, self.settings.specs()[pool.name]):
            items = pool.unscored(first, self.items)
            return document_of(pool.task, items, self.form, self.reasoning)

    def provenance(self) -> dict[str, object]:
        """Return where the items are from, for the card of every set."""
        return {
            "source": "training items of lm-eval's tasks",
            "lm_eval": version("lm_eval"),
            "splits": {pool.name: pool.split for pool in self.pools},
            "form": self.form,
            "items": self.items,
            "license": self.license,
        }

    def fingerprint(self) -> str:
        """Hash the definitions, the files of the user's own, and the version of lm-eval."""
        from calib_sweep.evaluation.tasks.contents import definition_of

        with as_dataset():
            return identity(
                lm_eval=version("lm_eval"),
                definitions=[definition_of(spec) for spec in self.settings.specs().values()],
                files=[file_sha256(file) for file in self.settings.own_files()],
            )


def content_of(item: object) -> Content:
    """Return the texts of an item: its strings with a space, without case and layout.

    Names and numbers of items differ where texts are equal, and labels of scored items are hidden.
    """
    texts = [" ".join(text.lower().split()) for text in strings_of(item)]
    return frozenset(text for text in texts if " " in text or not text.isascii()) or frozenset(
        texts
    )


@contextlib.contextmanager
def as_dataset() -> Iterator[None]:
    """Name the keys of a dataset in what is wrong with its tasks."""
    try:
        yield
    except ConfigError as error:
        raise type(error)(
            *(one.replace(f"{KEY}.", "dataset.") for one in error.problems)
        ) from error


def _scored_split(task: Any) -> str:
    config = task.config
    names = (getattr(config, key, None) for key in ("test_split", "validation_split"))
    return str(next((name for name in names if name is not None), "test"))


def _check_split(name: str, task: Any, wanted: str | None, scored: str) -> None:
    """Refuse a split that is scored or is not there, and a task that trains on none."""
    splits = list(task.dataset) if isinstance(getattr(task, "dataset", None), Mapping) else []
    others = [split for split in splits if split != scored]
    remedy = f"Type dataset.split={others[0]}, or choose" if others else "Choose"
    if wanted is None and not task.has_training_docs():
        what = (
            f"but it names none; it has {', '.join(splits) or 'no splits'}, and {scored} is scored"
        )
    elif wanted == scored:
        what = f"but its split {scored!r} is the one that is scored"
    elif splits and wanted is not None and wanted not in splits:
        what = f"but it has no split {wanted!r}, only {', '.join(splits)}"
    else:
        return
    raise ConfigError(
        f"{KEY}.tasks={name!r}: expected a task with training items, {what}. {remedy} another task."
    )


def _items(task: Any, split: str | None) -> Sequence[Item]:
    if split is None:
        found = task.training_docs()
    else:
        process = task.config.process_docs
        found = task.dataset[split] if process is None else process(task.dataset[split])
    return found if hasattr(found, "__getitem__") and hasattr(found, "__len__") else list(found)


def _rows(items: Any) -> list[Item]:
    """Rows of a slice: a table of the `datasets` library gives columns for it."""
    if not isinstance(items, Mapping):
        return list(items)
    return [dict(zip(items, row, strict=True)) for row in zip(*items.values(), strict=True)]


def _is_name(value: object) -> bool:
    return value is None or (isinstance(value, str) and value != "")
