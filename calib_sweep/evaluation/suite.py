"""The evaluation of a model: perplexity of corpora, zero-shot tasks, divergence from the dense model.

    evaluation.check(context_length)            everything that can be wrong, before a weight is read
    prepared = evaluation.prepare(tokenizer)    corpora tokenised, requests built: once per process
    dense = prepared.score(model, None)         the dense model; dense.reference is what others are compared with
    scores = prepared.score(model, reference)   any other model

Names of scores: ppl/<corpus>@<seq_len>, kl/<corpus>@<seq_len>, acc/<task> and the task's other metrics as lm-eval
names them, acc/mean (unweighted, over the headline metric of each task), flips/<task> (of the headline metric).
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from calib_sweep.errors import ConfigError, require
from calib_sweep.evaluation.divergence import Divergence, flips, kl, mean_kl
from calib_sweep.evaluation.perplexity import (
    Perplexity,
    Windows,
    log_probs,
    nll,
    perplexity,
    prepare_windows,
    targets,
)
from calib_sweep.evaluation.reference import DenseReference
from calib_sweep.evaluation.zero_shot import PreparedTasks, ZeroShot, prepare_tasks

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

COLUMNS = {
    "kind": "string",  # "task" or "window"
    "name": "string",  # task, or <corpus>@<seq_len>
    "item": "int64",  # position of the document among the task's, of the window in its corpus
    "item_hash": "string",  # lm-eval's hash of the document; SHA-256 of the window's token ids
    "correct": "float64",  # acc of the item (of a task without acc: its headline metric)
    "correct_norm": "float64",  # acc_norm of the item, where the task has it
    "choice": "Int64",  # the answer of highest log-likelihood, where there are choices
    "nll": "float64",  # mean over the window's scored tokens, in nats
    "kl": "float64",  # mean over the window's tokens inside the divergence budget, in nats
    "tokens": "Int64",  # scored tokens of the window
}

Progress = Callable[[int, int, str], None]  # parts done, parts in all, the part that begins


@dataclass
class Scores:
    """What one model scored."""

    scores: dict[str, float] = field(default_factory=dict)
    stderr: dict[str, float] = field(default_factory=dict)  # of the scores that have one
    items: "pd.DataFrame" = field(default=None, repr=False)  # type: ignore[assignment]
    versions: dict[str, Any] = field(default_factory=dict)  # lm-eval's and each task's
    reference: DenseReference | None = field(default=None, repr=False)  # of the dense model only

    def add(self, name: str, value: tuple[float, float | None]) -> None:
        """Keep a score and, where it has one, its standard error."""
        self.scores[name] = value[0]
        if value[1] is not None:
            self.stderr[name] = value[1]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Settings of the three parts; None leaves a part out."""

    perplexity: Perplexity | None
    zero_shot: ZeroShot | None
    divergence: Divergence | None

    def __post_init__(self) -> None:
        require(
            self.perplexity is not None or self.zero_shot is not None,
            "evaluation",
            "nothing",
            "perplexity, zero_shot or both",
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

    def fingerprint(self) -> str | None:
        """Content hash of the local files that are scored; None where all is pinned elsewhere."""
        parts = [part for part in (self.perplexity, self.zero_shot) if part is not None]
        hashes = [known for part in parts for known in part.fingerprints() if known is not None]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()[:16] if hashes else None

    def prepare(self, tokenizer: "PreTrainedTokenizerBase") -> "PreparedSuite":
        """Tokenise the corpora and build the requests of the tasks, for any number of models."""
        windows = prepare_windows(self.perplexity, tokenizer) if self.perplexity else []
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
        return {window.label: window.hash for window in self.windows} | {
            name: hashlib.sha256("".join(hashes).encode()).hexdigest()
            for name, hashes in (self.tasks.item_hashes if self.tasks else {}).items()
        }

    def score(
        self,
        model: "PreTrainedModel",
        dense: DenseReference | None,
        on_progress: Progress | None = None,
    ) -> Scores:
        """Score `model`. `dense` is None for the dense model itself, whose scores carry the reference."""
        import pandas as pd

        report = on_progress or (lambda done, total, part: None)
        wanted = self.hashes() if self.settings.divergence else {}
        reference = DenseReference({}, {}, wanted) if dense is None else dense.check(wanted)
        result = Scores(reference=reference if dense is None and wanted else None)
        tables = []
        num_parts = len(self.windows) + (self.tasks is not None)
        for index, windows in enumerate(self.windows):
            report(index, num_parts, windows.label)
            tables.append(self._score_windows(model, windows, dense, reference, result))
        if self.tasks is not None:
            report(len(self.windows), num_parts, "tasks")
            tables += self._score_tasks(model, self.tasks, dense, reference, result)
        report(num_parts, num_parts, "")
        columns = {
            name: pd.array([v for t in tables for v in _column(t, name)], dtype=kind)
            for name, kind in COLUMNS.items()
        }
        result.items = pd.DataFrame(columns)
        return result

    def _score_windows(
        self,
        model: "PreTrainedModel",
        windows: Windows,
        dense: DenseReference | None,
        reference: DenseReference,
        result: Scores,
    ) -> dict[str, list[Any]]:
        """Perplexity and divergence of one corpus from one forward pass; its rows of the item table."""
        import torch

        assert self.settings.perplexity is not None
        num_windows, seq_len = windows.tokens_NT.shape
        divergence = self.settings.divergence
        budget = divergence.num_positions(num_windows, seq_len) if divergence else 0
        targets_P = targets(windows)
        nll_P = np.empty(windows.num_positions)
        kl_P = np.full(windows.num_positions, math.nan)
        kept = []
        for part, log_probs_PV in log_probs(model, windows, self.settings.perplexity.batch_tokens):
            nll_P[part] = nll(log_probs_PV, targets_P[part])
            inside = slice(part.start, min(part.stop, budget))
            if inside.start >= inside.stop:
                continue
            log_probs_PV = log_probs_PV[: inside.stop - inside.start]
            if dense is None:
                kept.append(log_probs_PV.half().cpu())
            else:
                dense_PV = dense.part(windows.label, inside, budget, log_probs_PV.shape[-1])
                kl_P[inside] = kl(dense_PV, log_probs_PV)
        nll_N = nll_P.reshape(num_windows, -1).mean(1)
        result.add(f"ppl/{windows.label}", perplexity(nll_N))
        if dense is None and kept:
            reference.log_probs[windows.label] = torch.cat(kept)
        elif dense is not None and divergence:
            result.add(f"kl/{windows.label}", mean_kl(kl_P[:budget], seq_len))
        return _window_rows(windows, nll_N, kl_P)

    def _score_tasks(
        self,
        model: "PreTrainedModel",
        tasks: PreparedTasks,
        dense: DenseReference | None,
        reference: DenseReference,
        result: Scores,
    ) -> list[dict[str, list[Any]]]:
        """Metrics of every task, their mean, and the flips; the rows of the item table."""
        task_scores = tasks.score(model)
        for name, task in task_scores.items():
            for metric, value in task.metrics.items():
                result.add(f"{metric}/{name}", (value, task.stderr.get(metric)))
            if dense is None:
                reference.correct[name] = task.correct
            elif self.settings.divergence:
                result.add(f"flips/{name}", flips(task.correct, dense.correct[name]))
        headlines = [task.metrics[task.headline] for task in task_scores.values()]
        errors = [task.stderr.get(task.headline) for task in task_scores.values()]
        known = [error for error in errors if error is not None]
        # Tasks share no items, so the errors of their means are independent.
        error = (
            math.sqrt(sum(e**2 for e in known)) / len(errors) if len(known) == len(errors) else None
        )
        result.add("acc/mean", (sum(headlines) / len(headlines), error))
        result.versions = tasks.versions()
        return [
            {"kind": ["task"] * len(task.correct), **task.rows} for task in task_scores.values()
        ]


def _window_rows(windows: Windows, nll_N: np.ndarray, kl_P: np.ndarray) -> dict[str, list[Any]]:
    num_windows, seq_len = windows.tokens_NT.shape
    kl_NP = kl_P.reshape(num_windows, -1)
    inside_N = (~np.isnan(kl_NP)).sum(1)
    kl_N = np.where(inside_N > 0, np.nansum(kl_NP, 1) / np.maximum(inside_N, 1), math.nan)
    return {
        "kind": ["window"] * num_windows,
        "name": [windows.label] * num_windows,
        "item": list(range(num_windows)),
        "item_hash": [hashlib.sha256(row.tobytes()).hexdigest() for row in windows.tokens_NT],
        "nll": nll_N.tolist(),
        "kl": kl_N.tolist(),
        "tokens": [seq_len - 1] * num_windows,
    }


def _column(table: dict[str, list[Any]], name: str) -> list[Any]:
    return table.get(name, [None] * len(table["name"]))
