"""The evaluation of a model: perplexity, zero-shot tasks, divergence from the dense model.

    evaluation.check(context_length)            all that can be wrong, before a weight is read
    prepared = evaluation.prepare(tokenizer)    corpora tokenised, requests built: once per process
    dense = prepared.score(model, None)         the dense model, with the reference for the others
    scores = prepared.score(model, dense.reference)

Scores: ppl/<corpus>@<seq_len>, kl/<corpus>@<seq_len>, acc/<task> and whatever else lm-eval reports
of the task, acc/mean (unweighted, over each task's headline metric), flips/<task> (of that metric).
"""

import dataclasses
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from calib_sweep.dataset.calibration.overlap import overlap
from calib_sweep.dataset.documents.files import content_hash, reader_of
from calib_sweep.errors import ConfigError, Problems, require
from calib_sweep.evaluation.divergence import Divergence, flips, kl, mean_kl
from calib_sweep.evaluation.items import Table, item_table, window_table
from calib_sweep.evaluation.perplexity import Perplexity, log_probs, nll, perplexity
from calib_sweep.evaluation.reference import DenseReference
from calib_sweep.evaluation.tasks import ZeroShot
from calib_sweep.evaluation.windows import Windows, check_corpus, windows_of
from calib_sweep.evaluation.zero_shot import (
    PreparedTasks,
    TaskScore,
    check_own_items,
    prepare_tasks,
)
from calib_sweep.hashing import file_sha256
from calib_sweep.model.vocabulary import check_ids

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Progress = Callable[[int, int, str], None]  # parts done, parts in all, the part that begins


@dataclass(eq=False)
class Scores:
    """What one model scored."""

    scores: dict[str, float]
    stderr: dict[str, float]  # of the scores that have one
    items: "pd.DataFrame" = field(repr=False)  # COLUMNS, one row per task item and per window
    versions: dict[str, Any]  # of lm-eval and of each task
    reference: DenseReference | None = field(repr=False)  # where the dense model was scored


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Settings of the three parts; None leaves a part out."""

    perplexity: Perplexity | None
    zero_shot: ZeroShot | None
    divergence: Divergence | None

    def __post_init__(self) -> None:
        kinds = {"perplexity": Perplexity, "zero_shot": ZeroShot, "divergence": Divergence}
        for key, kind in kinds.items():
            part = getattr(self, key)
            require(
                part is None or isinstance(part, kind),
                f"evaluation.{key}",
                part,
                "to keep its keys, or null to leave it out",
                f"Type evaluation.{key}=null, or set one of its keys.",
            )
        require(
            self.perplexity is not None or self.zero_shot is not None,
            "evaluation",
            None,
            "perplexity, zero_shot or both, and both are null",
            "Leave one of evaluation.perplexity and evaluation.zero_shot as it was.",
        )

    def check(self, context_length: int | None) -> None:
        """Raise `ConfigError` with all problems at once. Reads no weights, loads no task."""
        problems = []
        for check in (
            lambda: self.perplexity and self.perplexity.check(context_length),
            lambda: self.zero_shot and self.zero_shot.check(),
        ):
            try:
                check()
            except ConfigError as error:
                problems.append(error)
        if problems:
            raise ConfigError.merge(problems)

    def check_text(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        num_embeddings: int | None,
        problems: Problems,
    ) -> None:
        """Whether each corpus fills a window, and each item of own tasks can be scored.

        `num_embeddings`: of the model, where known; a corpus may hold tokens that have none.
        """
        if self.perplexity is not None:
            seq_len, bos = self.perplexity.seq_len, self.perplexity.bos
            for dataset in self.perplexity.datasets():
                problems.of(partial(check_corpus, dataset, tokenizer, seq_len=seq_len, bos=bos))
                if num_embeddings is not None and num_embeddings < len(tokenizer):
                    problems.of(self._check_ids, dataset, tokenizer, num_embeddings)
        if self.zero_shot is not None:
            problems.of(check_own_items, self.zero_shot, tokenizer)

    def _check_ids(
        self, dataset: Any, tokenizer: "PreTrainedTokenizerBase", num_embeddings: int
    ) -> None:
        assert self.perplexity is not None
        settings = {key: getattr(self.perplexity, key) for key in ("seq_len", "bos", "max_windows")}
        windows = windows_of(dataset, tokenizer, **settings)
        key, place_of = "evaluation.perplexity.corpora", "window {}".format
        check_ids(key, dataset.name, windows.tokens_NT, num_embeddings, place_of)

    def fingerprint(self) -> str | None:
        """Content hash of the local files that are scored; None where there are none."""
        corpora = self.perplexity.datasets() if self.perplexity else []
        parts = [part for corpus in corpora if (part := corpus.fingerprint())]
        files = self.zero_shot.own_files() if self.zero_shot else []
        parts += [file_sha256(file) for file in files]
        return hashlib.sha256("".join(parts).encode()).hexdigest()[:32] if parts else None

    def sources(self) -> dict[str, str]:
        """The text that is scored: name -> content hash or address, of corpora and own tasks."""
        corpora = self.perplexity.datasets() if self.perplexity else []
        texts = {name: text for corpus in corpora for name, text in corpus.sources().items()}
        files = self.zero_shot.own_files() if self.zero_shot else []
        return texts | {str(file): content_hash(file) for file in files if reader_of(file)}

    def prepare(self, tokenizer: "PreTrainedTokenizerBase") -> "PreparedSuite":
        """Tokenise the corpora and build the tasks' requests, for any number of models."""
        windows, problems = [], []
        if self.perplexity is not None:
            settings = self.perplexity
            for dataset in settings.datasets():
                try:
                    windows.append(
                        windows_of(
                            dataset,
                            tokenizer,
                            seq_len=settings.seq_len,
                            bos=settings.bos,
                            max_windows=settings.max_windows,
                        )
                    )
                except ConfigError as error:
                    problems.append(error)
        if problems:
            raise ConfigError.merge(problems)
        tasks = prepare_tasks(self.zero_shot, tokenizer) if self.zero_shot else None
        return PreparedSuite(self, windows, tasks)


@dataclass(eq=False)
class PreparedSuite:
    """Everything that does not depend on the model."""

    settings: Evaluation
    windows: list[Windows]
    tasks: PreparedTasks | None

    def hashes(self) -> dict[str, str]:
        """Content hashes of what is scored: token ids of each corpus, documents of each task."""
        tasks = self.tasks.item_hashes if self.tasks else {}
        return {windows.label: windows.hash() for windows in self.windows} | {
            name: hashlib.sha256("".join(hashes).encode()).hexdigest()
            for name, hashes in tasks.items()
        }

    def overlap(
        self, tokens_NT: np.ndarray, lengths_N: np.ndarray | None
    ) -> dict[str, dict[str, float]]:
        """What of a calibration set stands in the scored windows of each corpus."""
        found = {w.label: overlap(tokens_NT, lengths_N, w.runs) for w in self.windows}
        return {label: dataclasses.asdict(one) for label, one in found.items()}

    def score(
        self,
        model: "PreTrainedModel",
        dense: DenseReference | None,
        on_progress: Progress | None = None,
    ) -> Scores:
        """Score `model`; `dense` is None for the dense model itself, and it makes the reference.

        Without `settings.divergence` no reference is made, and one that is given is not looked at.
        """
        report = on_progress or (lambda done, total, part: None)
        scoring = _Scoring(self, model, dense)
        num_parts = len(self.windows) + (self.tasks is not None)
        for index, windows in enumerate(self.windows):
            report(index, num_parts, windows.label)
            scoring.add_corpus(windows)
        if self.tasks is not None:
            report(len(self.windows), num_parts, "tasks")
            scoring.add_tasks(self.tasks)
        report(num_parts, num_parts, "")
        return Scores(
            scoring.scores,
            scoring.stderr,
            item_table(scoring.tables),
            self.tasks.versions() if self.tasks else {},
            scoring.reference,
        )


class _Scoring:
    """One model on its way through the parts of the suite."""

    def __init__(
        self, suite: PreparedSuite, model: "PreTrainedModel", dense: DenseReference | None
    ) -> None:
        self.suite, self.model = suite, model
        self.divergence = suite.settings.divergence
        self.dense = self.reference = None
        if self.divergence is not None and dense is not None:
            self.dense = dense.check(suite.hashes())
        elif self.divergence is not None:
            self.reference = DenseReference(log_probs={}, correct={}, hashes=suite.hashes())
        self.scores: dict[str, float] = {}
        self.stderr: dict[str, float] = {}
        self.tables: list[Table] = []

    def add(self, name: str, value: float, stderr: float | None) -> None:
        """Keep a score and, where it has one, its standard error."""
        self.scores[name] = value
        if stderr is not None:
            self.stderr[name] = stderr

    def add_corpus(self, windows: Windows) -> None:
        """Perplexity and KL of one corpus, from one forward pass over its windows."""
        import torch

        assert self.suite.settings.perplexity is not None
        batch_tokens = self.suite.settings.perplexity.batch_tokens
        num_tokens = self.divergence.num_tokens if self.divergence else 0
        budget = windows.num_scored_among(num_tokens)
        targets_P = windows.targets()
        nll_P = np.empty(windows.num_positions)
        kl_P = np.full(windows.num_positions, math.nan)
        kept: list[torch.Tensor] = []
        for part, log_probs_PV in log_probs(self.model, windows, batch_tokens):
            nll_P[part] = nll(log_probs_PV, targets_P[part])
            inside = slice(part.start, min(part.stop, budget))
            if inside.start >= inside.stop:
                continue
            log_probs_PV = log_probs_PV[: inside.stop - inside.start]
            if self.reference is not None:
                kept.append(log_probs_PV.half().cpu())
            elif self.dense is not None:
                shape = (budget, log_probs_PV.shape[-1])
                kl_P[inside] = kl(self.dense.part(windows.label, inside, shape), log_probs_PV)
        nll_N = np.array([part.mean() for part in windows.by_window(nll_P)])
        self.add(f"ppl/{windows.label}", *perplexity(nll_N))
        if self.reference is not None:
            self.reference.log_probs[windows.label] = torch.cat(kept)
        elif self.dense is not None:
            self.add(f"kl/{windows.label}", *mean_kl(windows.by_window(kl_P[:budget])))
        self.tables.append(window_table(windows, nll_N, kl_P))

    def add_tasks(self, tasks: PreparedTasks) -> None:
        """Every metric of every task, the mean of the headlines, and the flips."""
        headlines: list[tuple[float, float | None]] = []
        for name, task in tasks.score(self.model).items():
            for metric, value in task.metrics.items():
                self.add(f"{metric}/{name}", value, task.stderr.get(metric))
            if task.headline is not None:
                headlines.append((task.metrics[task.headline], task.stderr.get(task.headline)))
            self._add_flips(name, task)
            self.tables.append({"kind": ["task"] * len(task.rows["name"]), **task.rows})
        if headlines:
            self.add("acc/mean", *_unweighted_mean(headlines))

    def _add_flips(self, name: str, task: TaskScore) -> None:
        if task.correct is None:
            return
        if self.reference is not None:
            self.reference.correct[name] = task.correct
        elif self.dense is not None:
            self.add(f"flips/{name}", *flips(task.correct, self.dense.answers(name)))


def _unweighted_mean(values: list[tuple[float, float | None]]) -> tuple[float, float | None]:
    """The mean, and its SE: tasks share no items, so their errors are independent."""
    mean = sum(value for value, _ in values) / len(values)
    errors = [error for _, error in values if error is not None]
    if len(errors) < len(values):
        return mean, None
    return mean, math.sqrt(sum(error**2 for error in errors)) / len(values)
