"""The door to lm-eval: tasks, encodings, metrics and its model class. Only this file imports it.

Import this file inside functions: lm-eval takes seconds to import, and most commands need none of
it.
"""

import contextlib
import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from lm_eval import __version__, utils
from lm_eval.api.group import Group
from lm_eval.api.instance import Instance
from lm_eval.api.metrics import acc_all, mean, perplexity, stderr_for_metric
from lm_eval.api.model import TemplateLM
from lm_eval.api.task import ConfigurableTask
from lm_eval.config.group import AggMetricConfig
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import (
    handle_stop_sequences,
    has_bos_prefix,
    normalize_gen_kwargs,
    postprocess_generated_text,
    resolve_max_length,
)
from lm_eval.tasks import TaskManager

from calib_sweep import valid_json
from calib_sweep.evaluation.requests import Answer, Request
from calib_sweep.evaluation.templates import templates_of
from calib_sweep.evaluation.tokenised import Shelf, Strings
from calib_sweep.quiet import quiet_logger

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

VERSION = __version__
FEWSHOT_SEED = 1234  # lm-eval's default; draws nothing at zero shots

__all__ = ["Instance"]

HFLM_: Any = HFLM  # what registers the class hides its type
Spec = str | dict[str, Any]  # the path of a task's YAML, or what that holds


class Task(Protocol):
    """A task of lm-eval's, as far as it is asked here."""

    VERSION: int | str | None
    OUTPUT_TYPE: str | None
    instances: list[Instance]

    def apply_filters(self) -> object: ...
    def process_results(self, doc: object, results: list[Any]) -> dict[str, object]: ...
    def aggregation(self) -> dict[str, Callable[..., float]]: ...
    def doc_to_choice(self, doc: object) -> Sequence[object]: ...


def templates(*, are_trusted: bool) -> contextlib.AbstractContextManager[None]:
    """Have templates of tasks rendered in a sandbox, unless somebody vouches for them."""
    return templates_of(utils, are_trusted=are_trusted)


def load_task(name: str, spec: Spec, num_items: int | None, num_fewshot: int | None = None) -> Task:
    """Load a task and build its requests, zero-shot unless it or `num_fewshot` says otherwise.

    A definition that says 0 keeps it, as in lm-eval. Anything may be raised: what a task names is
    other people's code.
    """
    task: Any = open_task(name, spec)
    own = task.get_config("num_fewshot")
    if own != 0 and (own is None or num_fewshot is not None):
        task.set_config(key="num_fewshot", value=num_fewshot or 0)
    task.set_fewshot_seed(seed=FEWSHOT_SEED)
    task.build_all_requests(limit=num_items)
    return task


def open_task(name: str, spec: Spec) -> object:
    """Load the task of a file, of settings, or of a file that they `include` and change."""
    if isinstance(spec, str) or "include" not in spec:
        return TaskManager(include_defaults=False).load([spec])["tasks"][name]
    changes = dict(spec)
    folder = Path(changes.pop("include")).parent
    manager = TaskManager(include_path=folder, include_defaults=False)
    return manager.load([{"group": "changed", "task": [changes]}])["tasks"][name]


def aggregate_group(
    name: str,
    settings: Mapping[str, object],
    tasks: Sequence[Task],
    found: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """Return lm-eval's aggregates over the tasks of a group, under its names, with `sample_count`.

    `found`: by task its metrics and their errors under lm-eval's names, and `sample_len`. Items
    that flipped are aggregated like the first metric.
    """
    own: Any = {key: settings.get(key) for key in ("aggregate_metric_list", "metadata")}
    group = Group.from_config({"group": name, **own})
    listed = group.aggregate_metric_list or []
    flips = [AggMetricConfig("flips", weight_by_size=one.weight_by_size) for one in listed[:1]]
    group.aggregate_metric_list = [*listed, *flips]
    for task in tasks:
        group.add(task)  # pyright: ignore[reportArgumentType]
    with quiet_logger("lm_eval.api.group"):  # tells of metrics that some tasks do not have
        return dict(group.aggregate(found))  # pyright: ignore[reportArgumentType]


def is_dangerous(task: Task) -> bool:
    """Tell whether a task runs what a model writes as a program."""
    return bool(getattr(task, "UNSAFE_CODE", False))


def counts_itself(task: Task) -> bool:
    """Tell whether code of the task's own says what an answer scores."""
    own: Any = task
    is_ours = type(own).process_results is ConfigurableTask.process_results
    return not is_ours or callable(own.config.process_results)


def num_shots(task: Any) -> int:
    """Return how many examples stand before each item of a task."""
    return task.get_config("num_fewshot") or 0


def filter_names(task: Task) -> list[str]:
    """Return the names of what a task does to responses before it counts them."""
    own: Any = task
    return [one.name for one in own._filters]


def doc_hash(doc: object) -> str:
    """Return lm-eval's hash of an item."""
    text = valid_json.dumps(
        doc, indent=2, default=utils.handle_non_serializable, ensure_ascii=False
    )
    return utils.hash_string(text)


def aggregate(
    task: Task, values: Mapping[str, list[Any]]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return lm-eval's aggregate of each metric, and its standard error if of a closed form."""
    metrics, stderr = {}, {}
    for key, items in values.items():
        function = task.aggregation().get(key.split(",")[0], mean)  # lm-eval's choice, if none
        metrics[key] = float(function(items))
        if len(items) < 2:
            continue
        if function in (mean, acc_all):
            error = stderr_for_metric(function, bootstrap_iters=1)
            assert error is not None
            stderr[key] = float(error(items))
        elif function is perplexity:
            stderr[key] = metrics[key] * float(np.std(items, ddof=1)) / math.sqrt(len(items))
    return metrics, stderr


def is_mean(task: Task, key: str) -> bool:
    """Tell whether a metric is aggregated by the mean over items, as lm-eval does by default."""
    return task.aggregation().get(key.split(",")[0], mean) is mean


def generation_settings(
    arguments: Mapping[str, Any], encoder: "Encoder"
) -> tuple[list[str], int, bool, dict[str, Any]]:
    """Return stop strings, the bound in tokens, whether tokens are drawn, and what else is set."""
    settings: dict[str, Any] = dict(normalize_gen_kwargs(dict(arguments), encoder.max_gen_toks))
    eos = str(encoder.tokenizer.decode([encoder.eot_token_id], skip_special_tokens=False))
    stop = handle_stop_sequences(settings.pop("until"), eos=eos)
    bound, is_drawn = settings.pop("max_gen_toks"), settings.pop("do_sample")
    if not is_drawn:
        settings.pop("temperature", None)
    return [one for one in stop if one], bound, is_drawn, settings


def directions(task: Task, metrics: Iterable[str]) -> dict[str, int]:
    """Return 1 for each of `metrics` of which more is better, -1 where less is.

    Those of which lm-eval does not know are left out.
    """
    own: Any = task
    told = own.higher_is_better()
    found = {metric: told.get(metric.split(",")[0]) for metric in metrics}
    return {
        metric: 1 if is_more else -1 for metric, is_more in found.items() if is_more is not None
    }


def context_length(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> int:
    """Return how many tokens HFLM lets a model read at once."""
    return resolve_max_length(model.config, tokenizer, default=HFLM_._DEFAULT_MAX_LENGTH)


class Encoder(TemplateLM):
    """Text to requests, as HFLM does it; each string is tokenised once. Scores nothing."""

    add_bos_token = custom_prefix_token_id = None

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", shelf: Shelf | None = None) -> None:
        """`shelf`: where tokens are kept for other processes; None: nowhere."""
        super().__init__()
        self.tokenizer = tokenizer
        self.strings = Strings(self, shelf)

    @property
    def prefix_token_id(self) -> int:
        """The token that stands for an empty context."""
        return HFLM_.prefix_token_id.fget(self)

    @cached_property
    def _prefix(self) -> str:
        return str(self.tokenizer.decode(self.prefix_token_id))

    @property
    def eot_token_id(self) -> int:
        """The token at the end of a text."""
        return HFLM_.eot_token_id.fget(self)

    @property
    def max_gen_toks(self) -> int:
        """Tokens to write where a task does not bound them."""
        return HFLM_.max_gen_toks.fget(self)

    def written(self, tokens: list[int], stop: Sequence[str], bound: int) -> tuple[str, bool]:
        """Return the text that counts of what was written, and whether it ended by itself."""
        text = str(self.tokenizer.decode(tokens, skip_special_tokens=True))
        kept = postprocess_generated_text(text, list(stop), None)
        is_whole = len(tokens) < bound or kept != text or tokens[-1] == self.eot_token_id
        return kept, is_whole

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: object
    ) -> list[int]:
        """Return the tokens of a text; `add_special_tokens` None: as the tokenizer does."""
        return self.strings.ids(string, add_special_tokens)

    def tokenise(self, string: str, wanted: bool | None) -> list[int]:
        """Return the tokens of a string that is not known yet."""
        return HFLM_.tok_encode(self, string, wanted)

    def is_special(self, string: str, wanted: bool | None) -> bool:
        """Tell whether special tokens are added to a string: as `HFLM.tok_encode` decides it."""
        return not has_bos_prefix(string, self._prefix) if wanted is None else wanted

    def pair(self, context: str, answer: str) -> Request:
        """Return the tokens of an answer after its context; one token stands for an empty one."""
        if context:
            return Request(*self._encode_pair(context, answer))
        tokens = self.tok_encode(answer, add_special_tokens=False)
        if tokens[:1] == [self.prefix_token_id]:
            return Request(tokens[:1], tokens[1:])
        return Request([self.prefix_token_id], tokens)

    def rolling(self, text: str, context_length: int) -> list[Request]:
        """Part a text into requests that score each of its tokens once."""
        windows = utils.get_rolling_token_windows(
            self.tok_encode(text), self.prefix_token_id, context_length, context_len=1
        )
        return [Request(*utils.make_disjoint_window(window)) for window in windows]

    def _loglikelihood_tokens(self, requests: Any, **_: object) -> Any: ...
    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> Any: ...
    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> Any: ...


class Resident(HFLM_):
    """HFLM around a loaded model: logits only at scored positions.

    lm-eval takes its positions from the end of what it gets, so a model whose forward can do that
    makes logits for the scored end of a batch alone.
    """

    num_kept = 0  # positions at the end whose logits are made; 0: all

    def __init__(self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> None:
        """`tokenizer` is given a padding token if it has none."""
        self.keeps_some = "logits_to_keep" in inspect.signature(model.forward).parameters
        with quiet_logger("lm_eval.models.huggingface"):
            super().__init__(model, "causal", tokenizer=tokenizer)

    def answers(self, requests: Sequence[Request], num_kept: int) -> list[Answer]:
        """Forward `requests` together, with logits for the last `num_kept` positions."""
        self.num_kept, self.batch_size_per_gpu = num_kept, len(requests)
        labelled: Any = [(None, *request) for request in requests]
        with quiet_logger("lm_eval.models.huggingface"):  # warns of each request that is cut
            return [Answer(*a) for a in self._loglikelihood_tokens(labelled, disable_tqdm=True)]

    def _model_call(self, inps: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        keep = {"logits_to_keep": self.num_kept} if self.keeps_some else {}
        with torch.inference_mode():
            return self.model(inps, use_cache=False, **keep).logits
