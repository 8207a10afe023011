"""Tasks through lm-eval, on any scorer: choices, whole texts and written answers, few-shot or none.

lm-eval's code makes everything that defines a number: documents, contexts, requests, encodings,
filters, metrics, aggregation, closed-form standard errors. What its `simple_evaluate` repeats for
every model is done once here: tasks are loaded, requests built and strings tokenised once per
tokenizer, and the tokens are kept for other processes (`tokenised`). Answers equal those of
`simple_evaluate` item by item (tested); log-likelihoods of packed rows do but for the last digits.

The standard error of a mean is lm-eval's. Its other errors are bootstraps in a pool of processes;
of these only that of `perplexity` is given, by the delta method.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from calib_sweep.errors import ConfigError, collected
from calib_sweep.evaluation.items import Table
from calib_sweep.evaluation.requests import Requests, by_document
from calib_sweep.evaluation.scorers.scorer import Scorer
from calib_sweep.evaluation.tasks.chance import chances
from calib_sweep.evaluation.tasks.checks import (
    check_metric_names,
    refuse_programs,
    require_headline,
)
from calib_sweep.evaluation.tasks.definitions import (
    GENERATED,
    STORYCLOZE,
    metric_key,
    storycloze_definition,
)
from calib_sweep.evaluation.tasks.item_groups import groups_of
from calib_sweep.evaluation.tasks.item_text import ItemRuns, strings_of_items
from calib_sweep.evaluation.tasks.loading import explained, loading, templates_of_tasks
from calib_sweep.evaluation.tasks.settings import KEY, ZeroShot
from calib_sweep.evaluation.tasks.task_scores import TaskScore, by_item, collect, values_of
from calib_sweep.evaluation.tasks.written import Writing, Written, answer, summary, writings
from calib_sweep.seeding import constant_global_seeds

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from calib_sweep.evaluation.harness import Encoder, Instance, Spec, Task
    from calib_sweep.evaluation.tokenised import Shelf


@dataclass(eq=False)
class PreparedTasks:
    """Tasks with their requests, ready for any number of models with this tokenizer."""

    settings: ZeroShot
    encoder: "Encoder"
    tasks: "dict[str, Task]"
    item_hashes: dict[str, list[str]]  # task -> lm-eval's doc_hash of each item
    item_groups: dict[str, list[str]]  # the same of what items share, where they have such a field
    specs: "dict[str, Spec]" = field(default_factory=dict, repr=False)  # where each is defined
    shelf: "Shelf | None" = None  # where token ids are kept for other processes
    _pages: dict[int, tuple[list[int], Requests]] = field(default_factory=dict, repr=False)
    _alone: "dict[str, PreparedTasks]" = field(default_factory=dict, repr=False)

    def versions(self) -> dict[str, object]:
        """Return lm-eval's version, and of each task the version that its definition states."""
        from calib_sweep.evaluation.harness import VERSION

        groups = {name: group.version for name, group in self.settings.selection.groups.items()}
        own = {name: task.VERSION for name, task in self.tasks.items()}
        return {"lm_eval": VERSION, **groups, **own}

    def only(self, name: str) -> "PreparedTasks":
        """Return one of the tasks, with requests of its own: the same object each time."""
        if name not in self._alone:
            alone = {name: self.tasks[name]}
            self._alone[name] = replace(self, tasks=alone, _pages={}, _alone={})
        return self._alone[name]

    def score(self, scorer: Scorer) -> dict[str, TaskScore]:
        """Run every task."""
        with constant_global_seeds(), templates_of_tasks(self.settings):
            self._respond(scorer)
            cut = answer(scorer, self.writings, self.encoder, replicate=0)
            draws = {name: [values_of(task)] for name, task in self.tasks.items()}
            for replicate in range(1, self.settings.repeats):
                drawn = [one for one in self.writings if one.is_drawn]
                for one in drawn:
                    one.instance.resps = []
                again = answer(scorer, drawn, self.encoder, replicate)
                for name, own in again.items():
                    cut[name] += own
                    draws[name].append(values_of(self.tasks[name]))
        written = summary(self.writings, cut)
        return {name: self._collect(name, draws[name], written.get(name)) for name in self.tasks}

    @cached_property
    def item_runs(self) -> dict[str, ItemRuns]:
        """The runs of tokens by which items are known again in a calibration set, by task."""
        tokenizer, shelf = self.encoder.tokenizer, self.shelf
        return {
            name: ItemRuns.of(strings_of_items(task), tokenizer, shelf)
            for name, task in self.tasks.items()
        }

    @cached_property
    def chances(self) -> dict[str, dict[str, float]]:
        """What guessing scores in each task, by metric without its filter, where it is known."""
        return {name: chances(task) for name, task in self.tasks.items()}

    @cached_property
    def requests(self) -> Requests:
        """The requests of all tasks but those that score whole texts.

        `ConfigError` names answers that have no token of their own: nothing could be scored.
        """
        instances = self._instances("loglikelihood")
        items = by_document((str(one.task_name), one.doc_id) for one in instances)
        requests = Requests((self.encoder.pair(*one.args) for one in instances), items)
        problems: dict[str, str] = {}  # of each task the first
        for instance, request in zip(instances, requests, strict=True):
            if not request.continuation:
                problems.setdefault(str(instance.task_name), _no_token(instance))
        if problems:
            raise ConfigError(*problems.values())
        return requests

    @cached_property
    def writings(self) -> list[Writing]:
        """The requests of tasks whose answers are written."""
        instances = [one for task in self.tasks.values() for one in task.instances]
        asked = [one for one in instances if one.request_type == GENERATED]
        return writings(asked, self.encoder, self.settings.max_gen_toks)

    def asked(self, context_length: int) -> list[Requests]:
        """Return all that a model is asked for likelihoods, the windows of whole texts too."""
        pages = self._instances("loglikelihood_rolling")
        return [self.requests, *([self._parted(pages, context_length)[1]] if pages else [])]

    def _instances(self, request_type: str) -> "list[Instance]":
        """Every request of a type as lm-eval sees it, as often as it is to be answered."""
        found = (instance for task in self.tasks.values() for instance in task.instances)
        of_type = (instance for instance in found if instance.request_type == request_type)
        return [instance for one in of_type for instance in [one] * (one.repeats or 1)]

    def _respond(self, scorer: Scorer) -> None:
        """Put the model's answer to every request into it, as lm-eval's evaluator does."""
        for task in self.tasks.values():
            for instance in task.instances:
                instance.resps, instance.filtered_resps = [], {}
        if self.requests:
            answers = scorer.loglikelihoods(self.requests)
            for instance, answer in zip(self._instances("loglikelihood"), answers, strict=True):
                instance.resps.append(answer)
        if pages := self._instances("loglikelihood_rolling"):
            counts, windows = self._parted(pages, scorer.context_length)
            values = (answer.log_likelihood for answer in scorer.loglikelihoods(windows))
            for page, count in zip(pages, counts, strict=True):
                page.resps.append(sum(islice(values, count)))

    def _parted(
        self, pages: "Sequence[Instance]", context_length: int
    ) -> tuple[list[int], Requests]:
        """Return the number of windows of each text, and all windows: once for each length."""
        if context_length not in self._pages:
            windows = [self.encoder.rolling(page.args[0], context_length) for page in pages]
            named = zip(pages, windows, strict=True)
            keys = ((str(page.task_name), k) for page, own in named for k in range(len(own)))
            items = by_document((task, number) for number, (task, _) in enumerate(keys))
            every = Requests((one for own in windows for one in own), items)
            self._pages[context_length] = [len(own) for own in windows], every
        return self._pages[context_length]

    def _collect(
        self, name: str, draws: list[dict[str, list[object]]], written: Written | None
    ) -> TaskScore:
        hashes, headline = self.item_hashes[name], self.settings.headline_of(name)
        groups = self.item_groups.get(name, [None] * len(hashes))
        columns: Table = {"name": [name] * len(hashes), "item_hash": hashes, "group": groups}
        return collect(self.tasks[name], name, headline, draws, columns, written)


def prepare_tasks(
    settings: ZeroShot, tokenizer: "PreTrainedTokenizerBase", shelf: "Shelf | None" = None
) -> PreparedTasks:
    """Load the tasks and build their requests.

    `shelf`: where token ids are kept for other processes; None: nowhere.
    """
    settings.check_definitions()  # before any of their code runs
    from calib_sweep.evaluation.harness import Encoder, doc_hash

    specs: dict[str, Spec] = settings.specs()
    if settings.storycloze_path is not None:
        specs[STORYCLOZE] = storycloze_definition(Path(settings.storycloze_path))
    with collected() as problems, loading(settings):
        tasks = {name: problems.of(_build, name, spec, settings) for name, spec in specs.items()}
    documents = {
        name: [instances[0].doc for instances in by_item(task.instances)]
        for name, task in tasks.items()
    }
    hashes = {name: [doc_hash(document) for document in own] for name, own in documents.items()}
    with collected() as problems:
        found = {
            name: problems.of(groups_of, name, own, settings.groups, doc_hash)
            for name, own in documents.items()
        }
    groups = {name: own for name, own in found.items() if own is not None}
    encoder = Encoder(tokenizer, shelf)
    for task in tasks.values():
        encoder.strings.learn(partial(_ask, encoder, task))
    return PreparedTasks(settings, encoder, tasks, hashes, groups, specs, shelf)


def _ask(encoder: "Encoder", task: "Task") -> None:
    """Ask for the tokens of all that a task asks."""
    for instance in task.instances:
        if instance.request_type == "loglikelihood":
            encoder.pair(*instance.args)
        else:
            encoder.tok_encode(instance.args[0])


def check_own_items(settings: ZeroShot, tokenizer: "PreTrainedTokenizerBase") -> None:
    """Build the tasks of the user's own, so that what is wrong with their items is seen in time."""
    if (alone := settings.own_alone()) is not None:
        _ = prepare_tasks(alone, tokenizer).requests


def _build(name: str, spec: "Spec", settings: ZeroShot) -> "Task":
    """One task with its requests; `ConfigError` for whatever its definition raises."""
    from calib_sweep.evaluation.harness import filter_names, is_dangerous, load_task

    with explained(name, spec):
        task = load_task(name, spec, settings.num_items, settings.shots_of(name))
    refuse_programs(name, is_dangerous(task), settings.trust_task_code)
    headline, filters = settings.headline_of(name), filter_names(task)
    metrics = [metric_key(metric, one) for one in filters for metric in task.aggregation()]
    check_metric_names(name, metrics)
    if headline is not None:
        require_headline(name, headline, metrics)
    return task


def _no_token(instance: "Instance") -> str:
    context, answer = map(str, instance.args)
    return (
        f"{KEY}.tasks={instance.task_name!r}: expected answers with a token of their own, but "
        f"answer {instance.idx} of item {instance.doc_id}, {answer!r} after {context[-20:]!r}, has "
        "none with this tokenizer. Correct the item, or begin the answer with a space."
    )
