"""Zero-shot tasks through lm-eval on a model in memory. The only file that imports lm_eval.

lm-eval's code makes everything that defines a number: documents, contexts, requests, encodings,
batches, log-likelihoods, filters, metrics, aggregation, closed-form standard errors. What its
`simple_evaluate` repeats for every model is done once here: tasks are loaded, requests built and
strings tokenised once per tokenizer. Scores equal those of `simple_evaluate` item by item (tested).

The standard error of a mean is lm-eval's. Its other errors are bootstraps in a pool of processes;
of these only that of `perplexity` is given, by the delta method.
"""

import contextlib
import copy
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from calib_sweep import valid_json
from calib_sweep.errors import FETCH, ConfigError, UnavailableError, collected
from calib_sweep.evaluation.definitions import (
    GENERATED,
    STORYCLOZE,
    metric_key,
    storycloze_definition,
)
from calib_sweep.evaluation.requests import Encoder, batches, by_item, num_scored, require_tokens
from calib_sweep.evaluation.sandbox import sandboxed_templates
from calib_sweep.evaluation.tasks import KEY, ZeroShot, generated_error, require_headline
from calib_sweep.quiet import no_progress_bars, quiet_logger
from calib_sweep.seeding import constant_global_seeds

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from lm_eval.api.task import Task
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

FEWSHOT_SEED = 1234  # lm-eval's default; draws nothing at zero shots

Encodings = dict[tuple[str, bool | None], list[int]]  # (text, add_special_tokens) -> token ids


@dataclass(frozen=True, eq=False)
class TaskScore:
    """One task on one model. Arrays and columns have one entry per item, in document order."""

    metrics: dict[str, float]  # as lm-eval names them
    stderr: dict[str, float]
    headline: str | None
    correct: np.ndarray | None  # headline metric per item, 0/1; None where there is no headline
    rows: dict[str, list[Any]]  # columns of the per-item table


@dataclass(eq=False)
class PreparedTasks:
    """Tasks with their requests, ready for any number of models with this tokenizer."""

    settings: ZeroShot
    tokenizer: "PreTrainedTokenizerBase"
    tasks: dict[str, "Task"]
    item_hashes: dict[str, list[str]]  # task -> lm-eval's doc_hash of each item
    _encodings: Encodings = field(default_factory=dict, repr=False)

    def versions(self) -> dict[str, Any]:
        """lm-eval's version, and of each task the version that its definition states."""
        import lm_eval

        tasks = {name: task.VERSION for name, task in self.tasks.items()}
        return {"lm_eval": lm_eval.__version__, **tasks}

    def score(self, model: "PreTrainedModel") -> dict[str, TaskScore]:
        """Run every task on `model`."""
        lm = _language_model(model, self.tokenizer, self.settings.batch_size, self._encodings)
        with constant_global_seeds(), _templates(self.settings):
            _respond(lm, [i for task in self.tasks.values() for i in task.instances])
            return {name: self._collect(name, task) for name, task in self.tasks.items()}

    def _collect(self, name: str, task: Any) -> TaskScore:
        """Filters, per-item metrics and aggregation, as in lm-eval's evaluator."""
        task.apply_filters()
        values: dict[str, list[Any]] = {}
        choices: list[int | None] = []
        for instances in by_item(task.instances):
            choices.append(_choice(task, instances))
            for filter_name in instances[0].filtered_resps:
                responses = [instance.filtered_resps[filter_name] for instance in instances]
                for metric, value in task.process_results(instances[0].doc, responses).items():
                    key = metric if filter_name == "none" else f"{metric},{filter_name}"
                    values.setdefault(key, []).append(value)
        headline = self.settings.headline_of(name)
        if headline is not None:
            binary = [key for key, items in values.items() if all(i in (0, 1) for i in items)]
            require_headline(name, headline, binary)
        missing = [math.nan] * len(choices)
        rows = {
            "name": [name] * len(choices),
            "item": list(range(len(choices))),
            "item_hash": self.item_hashes[name],
            "correct": values.get("acc", values[headline] if headline else missing),
            "correct_norm": values.get("acc_norm", missing),
            "choice": choices,
        }
        correct = np.asarray(values[headline], dtype=np.float64) if headline else None
        return TaskScore(*_aggregate(task, values), headline, correct, rows)


def prepare_tasks(settings: ZeroShot, tokenizer: "PreTrainedTokenizerBase") -> PreparedTasks:
    """Load the tasks and build their requests."""
    settings.check_definitions()  # before any of their code runs
    specs: dict[str, Any] = {name: str(path) for name, path in settings.files().items()}
    if settings.storycloze_path is not None:
        specs[STORYCLOZE] = storycloze_definition(Path(settings.storycloze_path))
    with (
        collected() as problems,
        constant_global_seeds(),
        _templates(settings),
        quiet_logger("lm_eval.api.task"),
        no_progress_bars(),
    ):
        tasks = {name: problems.of(_build, name, spec, settings) for name, spec in specs.items()}
    hashes = {
        name: [_doc_hash(instances[0].doc) for instances in by_item(task.instances)]
        for name, task in tasks.items()
    }
    # lm-eval gives a tokenizer without padding some of its own: not the one that all share.
    return PreparedTasks(settings, copy.deepcopy(tokenizer), tasks, hashes)


def check_own_items(settings: ZeroShot, tokenizer: "PreTrainedTokenizerBase") -> None:
    """Build the tasks of the user's own, so that what is wrong with their items is seen in time."""
    own = settings.own_tasks()
    if not own:
        return
    headline = {name: metric for name, metric in settings.headline.items() if name in own}
    alone = replace(settings, tasks=list(own), storycloze_path=None, headline=headline)
    tasks = prepare_tasks(alone, tokenizer).tasks
    require_tokens(Encoder(tokenizer), [i for task in tasks.values() for i in task.instances])


def _templates(settings: ZeroShot) -> contextlib.AbstractContextManager:
    """How templates are rendered: those of the user's own tasks cannot reach into Python."""
    from lm_eval import utils

    is_trusted = settings.trust_task_code or not settings.own_tasks()
    return contextlib.nullcontext() if is_trusted else sandboxed_templates(utils)


def _build(name: str, spec: Any, settings: ZeroShot) -> "Task":
    """One task with its requests, zero-shot unless its definition says otherwise."""
    from lm_eval.tasks import TaskManager

    where = f"{KEY}.tasks={name!r}: expected a task that lm-eval can build"
    try:
        task: Any = TaskManager(include_defaults=False).load([spec])["tasks"][name]
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=FEWSHOT_SEED)
        task.build_all_requests(limit=settings.num_items)
    except OSError as error:
        raise UnavailableError(
            f"{where}, and its items are neither on this machine nor can they be fetched "
            f"({_first_line(error)}). {FETCH}"
        ) from error
    except Exception as error:  # the border to task definitions, which are other people's code
        raise ConfigError(
            f"{where}, not one that fails: {_first_line(error)}. See {spec}."
        ) from error
    if any(instance.request_type == GENERATED for instance in task.instances):
        raise generated_error(name)  # a class, whose YAML does not say so
    headline = settings.headline_of(name)
    if headline is not None:
        filters = [one.name for one in task._filters]
        metrics = [metric_key(metric, one) for one in filters for metric in task.aggregation()]
        require_headline(name, headline, metrics)
    return task


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def _language_model(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    batch_size: int,
    encodings: Encodings,
) -> Any:
    """lm-eval's language model around `model`, without what it would do in vain.

    A string is tokenised once, for all models. Logits are made for the scored end of a batch alone,
    where the model's forward can do that: lm-eval takes its positions from the end of what it gets.
    """
    import torch
    from lm_eval.models import huggingface

    base: Any = huggingface.HFLM
    keeps_some = "logits_to_keep" in inspect.signature(model.forward).parameters

    class Resident(base):
        num_kept = 0  # positions at the end whose logits are made; 0: all

        def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kw: Any) -> Any:
            if kw:
                return super().tok_encode(string, add_special_tokens, **kw)
            key = (string, add_special_tokens)
            if key not in encodings:
                encodings[key] = super().tok_encode(string, add_special_tokens)
            return encodings[key]

        def _model_call(self, inps: Any, attn_mask: Any = None, labels: Any = None) -> Any:
            keep = {"logits_to_keep": self.num_kept} if keeps_some else {}
            with torch.inference_mode():
                return self.model(inps, use_cache=False, **keep).logits

        def _loglikelihood_tokens(self, requests: Any, *args: Any, **kw: Any) -> Any:
            kw["disable_tqdm"] = True
            results: list[Any] = [None] * len(requests)
            for batch in batches(requests, self.batch_size):
                part = [requests[i] for i in batch]
                self.num_kept = num_scored(part, self.max_length)
                for i, result in zip(
                    batch, super()._loglikelihood_tokens(part, *args, **kw), strict=True
                ):
                    results[i] = result
            return results

    with quiet_logger("lm_eval.models.huggingface"):
        return Resident(
            pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=batch_size
        )


def _respond(lm: Any, instances: Sequence["Instance"]) -> None:
    """Put the model's response to every request into it, as lm-eval's evaluator does."""
    by_type: dict[str, list[Instance]] = {}
    for instance in instances:
        instance.resps, instance.filtered_resps = [], {}
        by_type.setdefault(instance.request_type, []).extend([instance] * (instance.repeats or 1))
    require_tokens(lm, instances)
    for request_type, requests in by_type.items():
        responses = getattr(lm, request_type)(requests, disable_tqdm=True)
        for response, instance in zip(responses, requests, strict=True):
            instance.resps.append(response)


def _choice(task: Any, instances: Sequence["Instance"]) -> int | None:
    """The answer of highest log-likelihood; None where a task offers no choices."""
    if task.OUTPUT_TYPE != "multiple_choice":
        return None
    num_choices = len(task.doc_to_choice(instances[0].doc))
    return int(np.argmax([instance.resps[0][0] for instance in instances[:num_choices]]))


def _aggregate(
    task: Any, values: dict[str, list[Any]]
) -> tuple[dict[str, float], dict[str, float]]:
    """lm-eval's aggregate of each metric, and its standard error where it has a closed form."""
    from lm_eval.api.metrics import acc_all, mean, perplexity, stderr_for_metric

    metrics, stderr = {}, {}
    for key, items in values.items():
        aggregate: Callable[..., Any] = task.aggregation()[key.split(",")[0]]
        metrics[key] = float(aggregate(items))
        if len(items) < 2:
            continue
        if aggregate in (mean, acc_all):
            error = stderr_for_metric(metric=aggregate, bootstrap_iters=1)
            assert error is not None
            stderr[key] = float(error(items))
        elif aggregate is perplexity:
            stderr[key] = metrics[key] * float(np.std(items, ddof=1)) / math.sqrt(len(items))
    return metrics, stderr


def _doc_hash(doc: Any) -> str:
    from lm_eval.utils import handle_non_serializable, hash_string

    text = valid_json.dumps(doc, indent=2, default=handle_non_serializable, ensure_ascii=False)
    return hash_string(text)
