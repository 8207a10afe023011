"""One model on its way through an evaluation: its scores, part by part."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from calib_sweep.evaluation.corpora.corpus import score_corpus
from calib_sweep.evaluation.corpora.divergence import Divergence, flips
from calib_sweep.evaluation.items import item_table
from calib_sweep.evaluation.parts import (
    TASK,
    WINDOW,
    Part,
    headlines,
    mean_chance,
    mean_over,
    mean_perplexity,
    merged,
    unweighted_mean,
)
from calib_sweep.evaluation.reference import DenseReference
from calib_sweep.evaluation.scorers.scorer import Scorer
from calib_sweep.evaluation.tasks.group_scores import counted, with_groups
from calib_sweep.evaluation.tasks.zero_shot import PreparedTasks
from calib_sweep.evaluation.windows import Windows
from calib_sweep.results.means import ACC_MEAN, PPL_MEAN
from calib_sweep.results.record import PartNote

if TYPE_CHECKING:
    import pandas as pd


@dataclass(eq=False)
class Scores:
    """The scores of one model."""

    scores: dict[str, float]
    stderr: dict[str, float]  # of the scores that have one
    items: "pd.DataFrame" = field(repr=False)  # COLUMNS, one row per task item and per window
    versions: dict[str, object]  # of what asked (scorer), lm-eval and each task
    reference: DenseReference | None = field(repr=False)  # where the dense model was scored
    metrics: dict[str, dict[str, object]] = field(default_factory=dict)  # by score: direction
    parts: dict[str, PartNote] = field(default_factory=dict)  # corpora and tasks, by name


class Scoring:
    """One model on its way through the parts of the suite. `dense` None: it is the dense one."""

    def __init__(
        self,
        scorer: Scorer,
        divergence: Divergence | None,
        hashes: dict[str, str],
        dense: DenseReference | None,
    ) -> None:
        self.scorer, self.divergence, self.hashes = scorer, divergence, hashes
        self.dense = None if divergence is None or dense is None else dense.check(hashes)
        self.makes_reference = divergence is not None and dense is None

    def corpus(self, windows: Windows) -> Part:
        """Return perplexity and divergence of one corpus."""
        num_compared = self.divergence.num_tokens if self.divergence else 0
        return score_corpus(self.scorer, windows, num_compared, self.dense)

    def task(self, tasks: PreparedTasks, name: str) -> Part:
        """Return every metric of one task, and the flips. It is asked on its own.

        So its scores are the same to the last bit, whichever tasks are scored besides.
        """
        alone = tasks.only(name)
        task, chances = alone.score(self.scorer)[name], alone.chances[name]
        headline = None if task.headline is None else f"{task.headline}/{name}"
        found = Part(kind=TASK, name=name, headline=headline)
        for metric, value in task.metrics.items():
            found.add(metric, value, task.stderr.get(metric))
            if metric in task.directions:
                said: dict[str, object] = {"direction": task.directions[metric]}
                kind = metric.partition(",")[0]
                said |= {"chance": chances[kind]} if kind in chances else {}
                found.metrics[f"{metric}/{name}"] = said
        if task.written is not None:
            found.max_gen_toks = task.written.max_gen_toks
            found.add("cut", task.written.share_cut, None)
        if task.correct is not None and self.makes_reference:
            found.correct = task.correct
        elif task.correct is not None and self.dense is not None:
            found.add("flips", *flips(task.correct, self.dense.answers(name)))
        found.rows = {"kind": [TASK] * len(task.rows["name"]), **task.rows}
        return found

    def result(
        self, parts: Sequence[Part], tasks: PreparedTasks | None, identities: dict[str, str]
    ) -> Scores:
        """Put a model's scores together: of its parts, of groups of tasks, and means over them."""
        versions = {"scorer": self.scorer.engine, **(tasks.versions() if tasks else {})}
        parts = with_groups(tasks, parts) if tasks else parts
        in_means = list(counted(tasks, parts)) if tasks else parts
        scores, stderr = merged(p.scores for p in parts), merged(p.stderr for p in parts)
        for name, kind, mean in (
            (ACC_MEAN, TASK, unweighted_mean),
            (PPL_MEAN, WINDOW, mean_perplexity),
        ):
            if values := list(headlines(in_means, kind)):
                scores[name], error = mean(values)
                stderr |= {} if error is None else {name: error}
        table = item_table([part.rows for part in parts if part.rows])
        metrics = merged(part.metrics for part in parts)
        of_mean = {"chance": mean_chance(in_means), "over": mean_over(in_means, scores)}
        if known := {key: value for key, value in of_mean.items() if value is not None}:
            metrics[ACC_MEAN] = known
        reference = self._reference(parts) if self.makes_reference else None
        by_name = {part.name: part for part in parts}
        notes = {name: by_name[name].note(identity) for name, identity in identities.items()}
        return Scores(scores, stderr, table, versions, reference, metrics, notes)

    def _reference(self, parts: Sequence[Part]) -> DenseReference:
        return DenseReference(
            log_probs={part.name: part.log_probs for part in parts if part.log_probs is not None},
            top={part.name: part.top for part in parts if part.top is not None},
            correct={part.name: part.correct for part in parts if part.correct is not None},
            hashes=self.hashes,
        )
