"""One model on its way through an evaluation: its scores, part by part."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep.evaluation.corpora.divergence import Divergence, flips, kl, mean_kl
from calib_sweep.evaluation.corpora.perplexity import nll, perplexity
from calib_sweep.evaluation.items import Table, item_table, window_table
from calib_sweep.evaluation.reference import DenseReference
from calib_sweep.evaluation.scorers.scorer import Scorer, scored_parts
from calib_sweep.evaluation.tasks.zero_shot import PreparedTasks, TaskScore
from calib_sweep.evaluation.windows import Windows
from calib_sweep.results.means import ACC_MEAN, PPL_MEAN, geometric_mean, geometric_stderr

if TYPE_CHECKING:
    import pandas as pd


@dataclass(eq=False)
class Scores:
    """The scores of one model."""

    scores: dict[str, float]
    stderr: dict[str, float]  # of the scores that have one
    items: "pd.DataFrame" = field(repr=False)  # COLUMNS, one row per task item and per window
    versions: dict[str, object]  # of lm-eval and of each task
    reference: DenseReference | None = field(repr=False)  # where the dense model was scored
    metrics: dict[str, dict[str, object]] = field(default_factory=dict)  # by score: direction


class Scoring:
    """One model on its way through the parts of the suite."""

    def __init__(
        self,
        scorer: Scorer,
        divergence: Divergence | None,
        hashes: dict[str, str],
        dense: DenseReference | None,
    ) -> None:
        self.scorer, self.divergence = scorer, divergence
        self.dense = self.reference = None
        if divergence is not None and dense is not None:
            self.dense = dense.check(hashes)
        elif divergence is not None:
            self.reference = DenseReference(log_probs={}, correct={}, hashes=hashes)
        self.scores: dict[str, float] = {}
        self.stderr: dict[str, float] = {}
        self.metrics: dict[str, dict[str, object]] = {}
        self.tables: list[Table] = []
        self._corpora: list[str] = []  # names of their perplexities

    def add(self, name: str, value: float, stderr: float | None) -> None:
        """Keep a score and, where it has one, its standard error."""
        self.scores[name] = value
        if stderr is not None:
            self.stderr[name] = stderr

    def add_corpus(self, windows: Windows) -> None:
        """Add perplexity and KL of one corpus, from one forward pass over its windows."""
        import torch

        num_tokens = self.divergence.num_tokens if self.divergence else 0
        budget = windows.num_scored_among(num_tokens)
        targets_P = windows.targets()
        nll_P = np.empty(windows.num_positions)
        kl_P = np.full(windows.num_positions, math.nan)
        kept: list[torch.Tensor] = []
        for part, log_probs_PV in scored_parts(self.scorer, windows):
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
        self._corpora.append(f"ppl/{windows.label}")
        self.add(self._corpora[-1], *perplexity(nll_N))
        if self.reference is not None:
            self.reference.log_probs[windows.label] = torch.cat(kept)
        elif self.dense is not None:
            self.add(f"kl/{windows.label}", *mean_kl(windows.by_window(kl_P[:budget])))
        self.tables.append(window_table(windows, nll_N, kl_P))

    def add_tasks(self, tasks: PreparedTasks) -> None:
        """Add every metric of every task, the mean of the headlines, and the flips."""
        headlines: list[tuple[float, float | None]] = []
        for name, task in tasks.score(self.scorer).items():
            for metric, value in task.metrics.items():
                self.add(f"{metric}/{name}", value, task.stderr.get(metric))
                if metric in task.directions:
                    self.metrics[f"{metric}/{name}"] = {"direction": task.directions[metric]}
            if task.headline is not None:
                headlines.append((task.metrics[task.headline], task.stderr.get(task.headline)))
            self._add_flips(name, task)
            self.tables.append({"kind": ["task"] * len(task.rows["name"]), **task.rows})
        if headlines:
            self.add(ACC_MEAN, *_unweighted_mean(headlines))

    def add_mean_perplexity(self) -> None:
        """Add the geometric mean over the corpora scored, if there are any."""
        if self._corpora:
            ppl_C = np.array([self.scores[name] for name in self._corpora])
            stderr_C = np.array([self.stderr.get(name, math.nan) for name in self._corpora])
            mean = geometric_mean(ppl_C)
            error = geometric_stderr(mean, ppl_C, stderr_C)
            self.add(PPL_MEAN, mean, None if math.isnan(error) else error)

    def result(self, versions: dict[str, object]) -> Scores:
        """Return all that was scored."""
        table = item_table(self.tables)
        return Scores(self.scores, self.stderr, table, versions, self.reference, self.metrics)

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
