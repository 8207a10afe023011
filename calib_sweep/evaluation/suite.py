"""The evaluation of a model: perplexity, zero-shot tasks, divergence from the dense model.

    evaluation.check(context_length)            all that can be wrong, before a weight is read
    prepared = evaluation.prepare(tokenizer)    corpora tokenised, requests built: once per process
    scorer = prepared.scorer(model)             what asks the model
    dense = prepared.score(scorer, None)        the dense model, with the reference for the others
    scores = prepared.score(scorer, dense.reference)

Scores, with corpora named <corpus>@<seq_len>, and +<stride> where windows overlap:

    ppl/<corpus>         perplexity; ppl/geomean over the corpora
    kl/<corpus>          divergence, with kl_median, kl_p99, kl_p999 and same_top
    acc/<task>           and whatever else lm-eval reports of a task or of a group of tasks
    acc/mean             unweighted, of the headline metric of each task and group that is listed
    flips/<task>         of the headline metric
    cut/<task>           of written answers: the share that reached the bound
"""

import copy
import dataclasses
import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from calib_sweep.dataset.base import TextDataset
from calib_sweep.dataset.calibration.overlap import Overlap, SetRuns
from calib_sweep.dataset.documents.files import content_hash, reader_of
from calib_sweep.errors import Problems, collected, require
from calib_sweep.evaluation.corpora.divergence import Divergence
from calib_sweep.evaluation.corpora.perplexity import Perplexity
from calib_sweep.evaluation.parts import Part, identity, settings_of
from calib_sweep.evaluation.reference import DenseReference
from calib_sweep.evaluation.requests import Requests
from calib_sweep.evaluation.scorers.engines import probed, scorer_of, scoring_as, shared
from calib_sweep.evaluation.scorers.packed import PackedScorer
from calib_sweep.evaluation.scorers.scorer import Scorer
from calib_sweep.evaluation.scoring import Scores, Scoring
from calib_sweep.evaluation.tasks.contents import contents
from calib_sweep.evaluation.tasks.settings import ZeroShot
from calib_sweep.evaluation.tasks.zero_shot import (
    PreparedTasks,
    check_own_items,
    prepare_tasks,
)
from calib_sweep.evaluation.tokenised import Shelf
from calib_sweep.evaluation.windows import Windows, check_corpus, windows_of
from calib_sweep.hashing import file_sha256
from calib_sweep.model.vocabulary import check_ids
from calib_sweep.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Progress = Callable[[int, int, str], None]  # parts done, parts in all, the part that begins


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Settings of the three parts; None leaves a part out."""

    perplexity: Perplexity | None
    zero_shot: ZeroShot | None
    divergence: Divergence | None
    compile: bool = False  # decoder blocks, while packed rows and windows are scored

    def __post_init__(self) -> None:
        kinds = {"perplexity": Perplexity, "zero_shot": ZeroShot, "divergence": Divergence}
        for key, kind in kinds.items():
            part = getattr(self, key)
            require(
                part is None or isinstance(part, kind),
                f"evaluation.{key}",
                part,
                "its keys, or null to leave it out",
                f"Set one of its keys, or type evaluation.{key}=null.",
            )
        require(
            isinstance(self.compile, bool),
            "evaluation.compile",
            self.compile,
            "true or false",
            "Example: evaluation.compile=true.",
        )
        require(
            self.perplexity is not None or self.zero_shot is not None,
            "evaluation",
            None,
            "perplexity, zero_shot or both, but both are null",
            "Leave evaluation.perplexity=null or evaluation.zero_shot=null out.",
        )

    def check(self, context_length: int | None) -> None:
        """Raise `ConfigError` with all problems at once. Reads no weights, loads no task."""
        with collected() as problems:
            if self.perplexity is not None:
                problems.of(self.perplexity.check, context_length)
            if self.zero_shot is not None:
                problems.of(self.zero_shot.check, context_length)

    def check_text(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        num_embeddings: int | None,
        problems: Problems,
    ) -> None:
        """Check that each corpus fills a window, and that each item of own tasks can be scored.

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
        self, dataset: TextDataset, tokenizer: "PreTrainedTokenizerBase", num_embeddings: int
    ) -> None:
        assert self.perplexity is not None
        windows = windows_of(dataset, tokenizer, **self.perplexity.cutting(dataset.name))
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

    def of_check(self) -> "Evaluation | None":
        """Return the part whose text a check reads: corpora, and tasks of the user's own."""
        tasks = self.zero_shot.own_alone() if self.zero_shot else None
        if tasks is None and self.perplexity is None:
            return None
        return dataclasses.replace(self, zero_shot=tasks)

    def prepare(
        self, tokenizer: "PreTrainedTokenizerBase", results_dir: Path | None = None
    ) -> "PreparedSuite":
        """Tokenise the corpora and build the tasks' requests, for any number of models.

        `results_dir`: where token ids are kept for other processes; None: nowhere.
        """
        windows, shelf = [], Shelf.of(tokenizer, results_dir)
        if self.perplexity is not None:
            cutting = self.perplexity.cutting
            cut = partial(windows_of, shelf=shelf)
            with collected() as problems:
                windows = [
                    problems.of(partial(cut, **cutting(one.name)), one, tokenizer)
                    for one in self.perplexity.datasets()
                ]
        tokenizer = copy.deepcopy(tokenizer)  # lm-eval adds padding: not to the one that all share
        tasks = prepare_tasks(self.zero_shot, tokenizer, shelf) if self.zero_shot else None
        return PreparedSuite(self, tokenizer, windows, tasks)

    def scorer(self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> Scorer:
        """Return what asks `model`. A class of your own may return another scorer."""
        return scorer_of(
            self.zero_shot.scorer if self.zero_shot else "packed",
            model,
            tokenizer,
            batch_tokens=self.zero_shot.batch_tokens if self.zero_shot else None,
            window_tokens=self.perplexity.batch_tokens if self.perplexity else None,
            is_compiled=self.compile,
        )


@dataclass(eq=False)
class PreparedSuite:
    """Everything that does not depend on the model."""

    settings: Evaluation
    tokenizer: "PreTrainedTokenizerBase"
    windows: list[Windows]
    tasks: PreparedTasks | None
    # What scores a dense model, found out once; the model is the same one for all cells.
    _engines: "WeakKeyDictionary[PreTrainedModel, str]" = field(
        default_factory=WeakKeyDictionary, repr=False
    )

    def scorer(
        self, model: "PreTrainedModel", engine: str | None = None, ranks: Ranks = ALONE
    ) -> Scorer:
        """Return what asks `model`.

        engine: what scored the dense model, as its record says; None: this is the dense one, and
        when it is first met it is found out whether it can be packed. ranks: that share the cell.
        """
        scorer = self.settings.scorer(model, self.tokenizer)
        if engine is None and isinstance(scorer, PackedScorer):
            packed = scorer
            engine = ranks.from_rank(0, lambda: self._engine_of(model, packed))
        return shared(scorer if engine is None else scoring_as(scorer, engine), ranks)

    def _engine_of(self, model: "PreTrainedModel", scorer: PackedScorer) -> str:
        if model not in self._engines:
            self._engines[model] = probed(scorer, self._asked(scorer), self.windows)
        return self._engines[model]

    def _asked(self, scorer: Scorer) -> list[Requests]:
        """Return all that tasks ask, in the requests that are scored, too."""
        if self.tasks is None:
            return []
        alone = map(self.tasks.only, self.tasks.tasks)
        return [requests for task in alone for requests in task.asked(scorer.context_length)]

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
        """Measure what a calibration set shares with scored windows and items, by their names."""
        runs = SetRuns(tokens_NT, lengths_N)
        found: dict[str, Overlap] = {w.label: runs.overlap(w.runs) for w in self.windows}
        tasks = self.tasks.item_runs if self.tasks else {}
        found |= {name: items.overlap(runs) for name, items in tasks.items()}
        numbers = {name: dataclasses.asdict(one).items() for name, one in found.items()}
        return {name: {k: v for k, v in own if v is not None} for name, own in numbers.items()}

    def identities(self, scorer: Scorer, dense: DenseReference | None) -> dict[str, str]:
        """Return by name what the scores of each part depend on, but the model: a hash."""
        compared = dense if self.settings.divergence is not None else None
        return {
            name: identity(
                content=content,
                asked_by=scorer.engine,
                is_compiled=self.settings.compile,
                dense=None if compared is None else compared.content_of(name),
            )
            for name, content in self._contents.items()
        }

    def is_all(self, known: Collection[str]) -> bool:
        """Tell whether no part is left to be scored."""
        return self._contents.keys() <= set(known)

    @cached_property
    def _contents(self) -> dict[str, str]:
        """Hash of each part: its windows or its text and settings; how much of it is compared."""
        found: dict[str, object] = {w.label: w.hash() for w in self.windows}
        found |= contents(self.tasks) if self.tasks else {}
        compared = settings_of(self.settings.divergence)
        return {name: identity(own=own, compared=compared) for name, own in found.items()}

    def score(
        self,
        scorer: Scorer,
        dense: DenseReference | None,
        on_progress: Progress | None = None,
        known: Mapping[str, Part] | None = None,
        on_part: Callable[[Part], None] | None = None,
    ) -> Scores:
        """Score a model; `dense` is None for the dense model itself, and it makes the reference.

        `known`: parts that were scored before; they are not scored again. `on_part`: is given each
        part as it is scored. Without `settings.divergence` no reference is made, and one that is
        given is not looked at.
        """
        report = on_progress or (lambda done, total, part: None)
        scoring = Scoring(scorer, self.settings.divergence, self.hashes(), dense)
        parts = dict(known or {})
        asks = {one.label: partial(scoring.corpus, one) for one in self.windows}
        if self.tasks is not None:
            asks |= {name: partial(scoring.task, self.tasks, name) for name in self.tasks.tasks}
        missing = [name for name in asks if name not in parts]
        for index, name in enumerate(missing):
            report(index, len(missing), name)
            parts[name] = asks[name]()
            if on_part is not None:
                on_part(parts[name])
        report(len(missing), len(missing), "")
        identities = self.identities(scorer, dense)
        return scoring.result([parts[name] for name in identities], self.tasks, identities)
