"""Zero-shot tasks through lm-eval on a model in memory. The only file that imports lm_eval.

lm-eval's code makes everything that defines a number: documents, contexts, requests, encodings, batching, log-
likelihoods, filters, per-item metrics, aggregation and the closed-form standard errors. What its `simple_evaluate`
repeats for every model is done once here: tasks are loaded and requests built once, and each string is tokenised
once per tokenizer. Scores equal those of `simple_evaluate` item by item (tested).

The standard error of a mean is lm-eval's. Its other errors are bootstraps in a process pool; of these only that of
`perplexity` is given, by the delta method.
"""

import contextlib
import copy
import io
import json
import logging
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from calib_sweep.errors import ConfigError, require
from calib_sweep.evaluation.task_index import find_tasks

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from lm_eval.api.task import Task
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

KEY = "evaluation.zero_shot"
STORYCLOZE = "storycloze"
FEWSHOT_SEED = 1234  # lm-eval's default; draws nothing at zero shots


@dataclass(frozen=True, kw_only=True)
class ZeroShot:
    """Which tasks are run, and which metric of each counts."""

    tasks: list[str]
    headline: dict[
        str, str
    ]  # metric of a task that goes into acc/mean; acc where a task is not named
    include_path: str | None  # folder with task definitions of the user's own
    storycloze_path: str | None  # the file of StoryCloze, which cannot be downloaded; adds the task
    num_items: int | None  # the first so many items of each task; None: all
    batch_size: int  # sequences forwarded at once

    def __post_init__(self) -> None:
        require(
            isinstance(self.tasks, list | tuple)
            and len(self.tasks) > 0
            and all(isinstance(name, str) for name in self.tasks)
            and len(set(self.tasks)) == len(self.tasks),
            f"{KEY}.tasks",
            self.tasks,
            "a list of different task names",
            f"Type '{KEY}.tasks=[arc_easy,boolq]', or {KEY}=null for none.",
        )
        strangers = sorted(set(self.headline) - set(self.names()))
        require(
            not strangers,
            f"{KEY}.headline",
            strangers,
            "tasks that are run: " + ", ".join(self.names()),
            "Take the other names out of headline, or into tasks.",
        )
        for name, value in (("batch_size", self.batch_size), ("num_items", self.num_items)):
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            require(
                whole or (name == "num_items" and value is None),
                f"{KEY}.{name}",
                value,
                "an integer of at least 1",
                f"Type {KEY}.{name}=16.",
            )

    def names(self) -> list[str]:
        """Every task that is run."""
        return [*self.tasks, *([STORYCLOZE] if self.storycloze_path is not None else [])]

    def headline_of(self, task: str) -> str:
        return self.headline.get(task, "acc")

    def files(self) -> dict[str, Path]:
        """The YAML of each task; `ConfigError` lists every name that is not found."""
        from calib_sweep.miniature.tasks import task_folder

        own = [Path(self.include_path)] if self.include_path is not None else []
        return find_tasks(self.tasks, [*own, Path(task_folder())], f"{KEY}.tasks")

    def check(self) -> None:
        """Raise `ConfigError` with every problem that can be seen without loading a task."""
        problems = []
        for key, path, exists in (
            ("include_path", self.include_path, Path.is_dir),
            ("storycloze_path", self.storycloze_path, Path.is_file),
        ):
            if path is not None and not exists(Path(path)):
                problems.append(
                    ConfigError(f"{KEY}.{key}={path!r}: expected a path that exists. Correct it.")
                )
        try:
            self.files()
        except ConfigError as error:
            problems.append(error)
        if problems:
            raise ConfigError.merge(problems)


@dataclass(frozen=True, eq=False)
class TaskScore:
    """The result of one task on one model. Arrays have one entry per item, in the order of the documents."""

    metrics: dict[str, float]  # as lm-eval names them
    stderr: dict[str, float]
    headline: str
    correct: np.ndarray  # headline metric per item: 0/1
    rows: dict[str, list[Any]]  # columns of the per-item table


@dataclass(eq=False)
class PreparedTasks:
    """Tasks with their requests, ready for any number of models with this tokenizer."""

    settings: ZeroShot
    tokenizer: "PreTrainedTokenizerBase"
    tasks: dict[str, "Task"]
    item_hashes: dict[str, list[str]]  # task -> lm-eval's doc_hash of each item
    _encodings: dict[tuple[str, bool | None], list[int]] = field(default_factory=dict)

    def versions(self) -> dict[str, Any]:
        """lm-eval's version, and of each task the version its definition states."""
        import lm_eval

        return {"lm_eval": lm_eval.__version__} | {
            name: task.VERSION for name, task in self.tasks.items()
        }

    def score(self, model: "PreTrainedModel") -> dict[str, TaskScore]:
        """Run every task on `model`."""
        lm = _language_model(model, self.tokenizer, self.settings.batch_size, self._encodings)
        instances = [i for task in self.tasks.values() for i in task.instances]
        with _constant_global_seeds():
            _respond(lm, instances)
            return {name: self._collect(name, task) for name, task in self.tasks.items()}

    def _collect(self, name: str, task: "Task") -> TaskScore:
        task.apply_filters()
        raw: dict[str, list[Any]] = {}
        choices: list[int | None] = []
        for instances in _by_item(task.instances):
            choices.append(_choice(task, instances))
            for filter_name in instances[0].filtered_resps:
                responses = [instance.filtered_resps[filter_name] for instance in instances]
                for metric, value in task.process_results(instances[0].doc, responses).items():
                    key = metric if filter_name == "none" else f"{metric},{filter_name}"
                    raw.setdefault(key, []).append(value)
        metrics, stderr = _aggregate(task, raw)
        headline = self.settings.headline_of(name)
        _check_headline(name, headline, raw)
        correct = np.asarray(raw[headline], dtype=np.float64)
        rows = {
            "name": [name] * len(choices),
            "item": list(range(len(choices))),
            "item_hash": self.item_hashes[name],
            "correct": raw.get("acc", raw[headline]),
            "correct_norm": raw.get("acc_norm", [math.nan] * len(choices)),
            "choice": choices,
        }
        return TaskScore(metrics, stderr, headline, correct, rows)


def prepare_tasks(settings: ZeroShot, tokenizer: "PreTrainedTokenizerBase") -> PreparedTasks:
    """Load the tasks and build their requests."""
    from lm_eval.tasks import TaskManager

    files = settings.files()
    specs: list[Any] = [str(path) for path in files.values()]
    if settings.storycloze_path is not None:
        from calib_sweep.evaluation.storycloze import task_definition

        specs.append(task_definition(STORYCLOZE, Path(settings.storycloze_path)))
    with _constant_global_seeds():
        tasks = TaskManager(include_defaults=False).load(specs)["tasks"]
        for task in tasks.values():
            if task.get_config("num_fewshot") is None:
                task.set_config(key="num_fewshot", value=0)
            task.set_fewshot_seed(seed=FEWSHOT_SEED)
            # Its progress bar cannot be switched off otherwise.
            with contextlib.redirect_stderr(io.StringIO()):
                task.build_all_requests(limit=settings.num_items)
    hashes = {
        name: [_doc_hash(instances[0].doc) for instances in _by_item(task.instances)]
        for name, task in tasks.items()
    }
    # lm-eval gives a tokenizer without padding one of its own: not to the one that everybody shares.
    return PreparedTasks(settings, copy.deepcopy(tokenizer), tasks, hashes)


def _language_model(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    batch_size: int,
    encodings: dict[tuple[str, bool | None], list[int]],
) -> Any:
    """lm-eval's own language model around `model`, that looks an encoding up before it makes it."""
    from lm_eval.models.huggingface import HFLM

    class Resident(HFLM):
        def tok_encode(
            self, string: str, add_special_tokens: bool | None = None, *args: Any, **kwargs: Any
        ) -> list[int]:
            key = (string, add_special_tokens)
            if args or kwargs:
                return super().tok_encode(string, add_special_tokens, *args, **kwargs)
            if key not in encodings:
                encodings[key] = super().tok_encode(string, add_special_tokens)
            return encodings[key]

        def _loglikelihood_tokens(self, requests: Any, **kwargs: Any) -> Any:
            return super()._loglikelihood_tokens(requests, **(kwargs | {"disable_tqdm": True}))

    with _quiet("lm_eval.models.huggingface"):
        return Resident(
            pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=batch_size
        )


def _respond(lm: Any, instances: Sequence["Instance"]) -> None:
    """Put the model's response to every request into it, as lm-eval's evaluator does."""
    by_type: dict[str, list[Instance]] = {}
    for instance in instances:
        instance.resps, instance.filtered_resps = [], {}
        by_type.setdefault(instance.request_type, []).extend([instance] * (instance.repeats or 1))
    for request_type, requests in by_type.items():
        responses = getattr(lm, request_type)(requests, disable_tqdm=True)
        for response, instance in zip(responses, requests, strict=True):
            instance.resps.append(response)


def _by_item(instances: Sequence["Instance"]) -> Iterator[list["Instance"]]:
    """The requests of one document after the other."""
    by_item: dict[int, list[Instance]] = {}
    for instance in instances:
        assert instance.doc_id is not None
        by_item.setdefault(instance.doc_id, []).append(instance)
    for item in by_item.values():
        yield sorted(item, key=lambda instance: instance.idx)


def _choice(task: "Task", instances: Sequence["Instance"]) -> int | None:
    """The answer of highest log-likelihood; None where a task offers no choices."""
    if task.OUTPUT_TYPE != "multiple_choice":
        return None
    num_choices = len(task.doc_to_choice(instances[0].doc))  # type: ignore[attr-defined]
    return int(np.argmax([instance.resps[0][0] for instance in instances[:num_choices]]))


def _aggregate(
    task: "Task", raw: dict[str, list[Any]]
) -> tuple[dict[str, float], dict[str, float]]:
    """lm-eval's aggregation of each metric, and its standard error where one has a closed form."""
    from lm_eval.api.metrics import acc_all, mean, perplexity, stderr_for_metric

    metrics, stderr = {}, {}
    for key, values in raw.items():
        aggregate: Callable[..., Any] = task.aggregation()[key.split(",")[0]]  # type: ignore[index]
        metrics[key] = float(aggregate(values))
        if len(values) < 2:
            continue
        if aggregate in (mean, acc_all):
            error = stderr_for_metric(metric=aggregate, bootstrap_iters=1)
            assert error is not None
            stderr[key] = float(error(values))
        elif aggregate is perplexity:
            stderr[key] = metrics[key] * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return metrics, stderr


def _check_headline(task: str, headline: str, raw: dict[str, list[Any]]) -> None:
    binary = [key for key, values in raw.items() if all(value in (0, 1) for value in values)]
    require(
        headline in binary,
        f"{KEY}.headline.{task}",
        headline,
        "a metric of the task that is right or wrong for each item: "
        + (", ".join(binary) or "it has none"),
        f"Type '{KEY}.headline={{{task}: METRIC}}', or leave the task out.",
    )


def _doc_hash(doc: Any) -> str:
    from lm_eval.utils import handle_non_serializable, hash_string

    return hash_string(
        json.dumps(doc, indent=2, default=handle_non_serializable, ensure_ascii=False)
    )


@contextlib.contextmanager
def _quiet(logger_name: str) -> Iterator[None]:
    """Silence the advice that lm-eval gives on every model that is already in memory."""
    logger = logging.getLogger(logger_name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def _constant_global_seeds() -> Iterator[None]:
    """The global seeds that lm-eval sets, for the few tasks that draw from them; then as they were before."""
    import torch

    before = random.getstate(), np.random.get_state(), torch.random.get_rng_state()  # noqa: NPY002
    random.seed(0)
    np.random.seed(FEWSHOT_SEED)  # noqa: NPY002
    torch.manual_seed(FEWSHOT_SEED)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.random.set_rng_state(before[2])
