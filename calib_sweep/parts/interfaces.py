"""The parts of a cell, as the rest of the program sees them. `building` makes them.

Model        a causal language model and its tokenizer
Method       how its weights are compressed: the abstract classes of method/base.py
Rotation     which coordinates the dense model is put into first: rotation/settings.py
Activations  how inputs of its layers are quantised: the abstract class of activations/base.py
Dataset      where calibration sets come from: the abstract classes of dataset/base.py
Evaluation   what a model is scored on; prepared once, it scores any number of models
Tracking     the mirrors of the records, such as W&B

Whatever is wrong with the settings of a part is raised as `ConfigError`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from calib_sweep.cell import Cell
from calib_sweep.errors import Problems
from calib_sweep.ranks import ALONE, Ranks
from calib_sweep.results.record import Record
from calib_sweep.results.store import Store

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from calib_sweep.activations.base import Activations
    from calib_sweep.compression.settings import Walk
    from calib_sweep.dataset.base import Dataset
    from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
    from calib_sweep.dataset.calibration.settings import Calibration
    from calib_sweep.drawing import DenseModel
    from calib_sweep.evaluation.corpora.divergence import Divergence
    from calib_sweep.evaluation.corpora.perplexity import Perplexity
    from calib_sweep.evaluation.parts import Part
    from calib_sweep.evaluation.reference import DenseReference
    from calib_sweep.evaluation.scorers.scorer import Scorer
    from calib_sweep.evaluation.scoring import Scores
    from calib_sweep.evaluation.suite import Progress
    from calib_sweep.method.base import Method
    from calib_sweep.method.grids.weight_format import WeightFormat
    from calib_sweep.rotation.settings import Rotation

Undo = Callable[[], None]


class Model(Protocol):
    """A causal language model and its tokenizer. Only `load` reads weights."""

    @property
    def path(self) -> str: ...  # where it is, as the user typed it
    def load(self) -> "PreTrainedModel": ...  # in eval mode, on its device
    def load_tokenizer(self) -> "PreTrainedTokenizerBase": ...
    def skeleton(self) -> "PreTrainedModel": ...  # on the device meta
    def fingerprint(self) -> str | None: ...  # hash of its local files; None: on the hub
    def context_length(self) -> int | None: ...  # tokens; None: no limit is known
    def num_embeddings(self) -> int | None: ...  # token ids; None: not known
    def linear_shapes(self) -> list[tuple[str, int, int]]: ...  # name, out_features, in_features
    def check_checkpoint(self) -> None: ...
    def check_packable(self, form: "WeightFormat") -> None: ...
    def prefetch(self) -> None: ...


class PreparedEvaluation(Protocol):
    """An evaluation with its corpora tokenised and its requests built."""

    def scorer(
        self,
        model: "PreTrainedModel",
        engine: str | None = None,  # that scored the dense model; None: it is the dense model
        ranks: Ranks = ALONE,  # that share what is asked
    ) -> "Scorer": ...  # what asks the model
    def overlap(
        self, tokens_NT: "np.ndarray", lengths_N: "np.ndarray | None"
    ) -> Mapping[str, Mapping[str, float]]: ...  # by corpus and task: `Overlap` of a set
    def score(
        self,
        scorer: "Scorer",
        dense: "DenseReference | None",  # None: it is the dense model itself
        on_progress: "Progress | None" = None,
        known: "Mapping[str, Part] | None" = None,  # scored before
        on_part: "Callable[[Part], None] | None" = None,  # is given each that is scored now
    ) -> "Scores": ...
    def identities(
        self, scorer: "Scorer", dense: "DenseReference | None"
    ) -> Mapping[str, str]: ...  # of each part, what its scores depend on but the model: a hash
    def is_all(self, known: Collection[str]) -> bool: ...  # whether no part is left to score


class Evaluation(Protocol):
    """The corpora and tasks that a model is scored on."""

    @property
    def perplexity(self) -> "Perplexity | None": ...
    @property
    def divergence(self) -> "Divergence | None": ...
    def check(self, context_length: int | None) -> None: ...  # without a look at any text
    def check_text(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        num_embeddings: int | None,
        problems: Problems,
    ) -> None: ...
    def fingerprint(self) -> str | None: ...  # hash of the local files that are scored
    def sources(self) -> Mapping[str, str]: ...  # name -> content hash or address of the text
    def of_check(self) -> "Evaluation | None": ...  # the part whose text a check reads
    def prepare(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        results_dir: Path | None = None,  # where other processes find what was tokenised
    ) -> PreparedEvaluation: ...


class Tracking(Protocol):
    """The mirrors of the records. Whatever goes wrong in them ends no cell and no sweep."""

    def log(self, cell: Cell, record: Record, store: Store) -> None: ...
    def log_missing(self, cells: Sequence[Cell], store: Store) -> None: ...
    def log_report(self, store: Store) -> None: ...  # the last call of a sweep


@dataclass(frozen=True, kw_only=True)
class PartialParts:
    """The parts of one cell, as far as they can be built; None where one cannot."""

    model: Model | None
    method: "Method | None"
    rotation: "Rotation | None"  # None, too, where the model stays as it is
    activations: "Activations | None"  # None, too, where inputs stay as they come
    dataset: "Dataset | None"  # None, too, for a method that needs no data
    evaluation: Evaluation | None
    calibration: "Calibration | None"  # with the dataset
    walk: "Walk | None"
    seed: int | None
    code: Mapping[str, str]  # part: hash of its classes' code, where some are not ours

    def draw(
        self,
        results_dir: Path,
        tokenizer: "PreTrainedTokenizerBase",
        dense: "DenseModel | None" = None,
    ) -> "CalibrationSet | None":
        """Return the calibration set of the cell, shared by every method; None without data.

        `dense`: the model, for a dataset that needs it.
        """
        if self.dataset is None:
            return None
        from calib_sweep.dataset.calibration.artifact import draw_or_load
        from calib_sweep.drawing import draw_once

        assert self.calibration is not None and self.seed is not None
        how = tokenizer, self.calibration, self.seed, self.code.get("dataset")
        if self.dataset.needs_model:
            assert dense is not None, "a check draws nothing with the model"
            drawn = draw_once(results_dir, self.dataset, dense, *how)
        else:
            drawn = draw_or_load(results_dir, self.dataset, *how)
        self.check_tokens(drawn)
        return drawn

    def check_tokens(self, drawn: "CalibrationSet") -> None:
        """Raise `ConfigError` where the model does not know a token of a set, or none counts."""
        from calib_sweep.dataset.calibration.weighting import token_weights
        from calib_sweep.model.vocabulary import check_ids

        assert self.dataset is not None and self.model is not None
        assert self.calibration is not None
        token_weights(drawn, self.calibration.weighting)
        num_embeddings = self.model.num_embeddings()
        if num_embeddings is not None:
            check_ids(
                "dataset",
                self.dataset.name,
                drawn.tokens_NT,
                num_embeddings,
                lambda row: f"document {drawn.samples[row].get('document')} (seed {self.seed})",
            )


@dataclass(frozen=True, kw_only=True)
class Parts(PartialParts):
    """The parts of one cell, all that it needs."""

    model: Model
    method: "Method"
    evaluation: Evaluation
    walk: "Walk"

    def prepare(self, model: "PreTrainedModel") -> Undo:
        """Do to the dense model what comes before its compression; return what undoes it.

        But for the values of its parameters.
        """
        if self.rotation is None:
            return lambda: None
        return self.rotation.apply(model, is_quantized=self.activations is not None)


if TYPE_CHECKING:
    from calib_sweep.evaluation import suite
    from calib_sweep.model.loading import HubModel
    from calib_sweep.tracking.base import Trackers

    def these_fit(
        model: HubModel, evaluation: suite.Evaluation, tracking: Trackers
    ) -> tuple[Model, Evaluation, Tracking]:
        return model, evaluation, tracking  # or pyright complains
