"""A worker's memory between cells: the model, its tokenizer, the evaluation's requests.

And with whom it shares them: `ranks`.

One of each at a time: cells are ordered so that the same ones follow each other. `content` is the
hash of the files that a part reads: what changed on disk is loaded anew.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from calib_sweep.cell import Cell
from calib_sweep.drawing import DenseModel
from calib_sweep.evaluation.reference import DenseReference
from calib_sweep.model.additions import remove_additions
from calib_sweep.model.input_quantizer import remove_input_quantizers
from calib_sweep.parts.building import Builder
from calib_sweep.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from calib_sweep.parts.interfaces import Evaluation, Model, PartialParts, PreparedEvaluation

# Changes a dense model in place; returns what undoes it, but for the values of its parameters.
Prepare = Callable[["PreTrainedModel"], Callable[[], None]]


class Session:
    """Loads on demand, restores the weights that compression changed, forgets after a failure."""

    def __init__(self, builder: Builder | None = None, ranks: Ranks = ALONE) -> None:
        self.builder, self.ranks = builder or Builder(), ranks
        self.forget()

    def forget(self) -> None:
        """Drop everything: after a failure nothing that is loaded is trusted."""
        self._model_key: tuple[Model, str | None] | None = None
        self._model: PreTrainedModel | None = None
        self._pristine: dict[torch.nn.Parameter, torch.Tensor] = {}
        self._undo: Callable[[], None] | None = None
        self._tokenizer_key: tuple[Model, str | None] | None = None
        self._tokenizer: PreTrainedTokenizerBase | None = None
        self._suite_key: tuple[Evaluation, str | None, PreTrainedTokenizerBase] | None = None
        self._suite: PreparedEvaluation | None = None
        self._reference_key: tuple[Path, str | None] | None = None
        self._reference: DenseReference | None = None

    def model(
        self, part: "Model", content: str | None, prepare: Prepare | None = None
    ) -> "PreTrainedModel":
        """Load the dense model of `part`, or give one that a cell compressed its weights back.

        `prepare`: what a cell does to the dense model before it is compressed.
        """
        if self._model is None or self._model_key != (part, content):
            self._model, self._pristine, self._undo = None, {}, None  # before the next one: memory
            self._model, self._model_key = part.load(), (part, content)
            parameters = self._model.parameters()  # tools of others may change any
            self._pristine = {p: p.detach().to("cpu", copy=True) for p in parameters}
        if self._undo is not None:
            self._undo, undo = None, self._undo
            undo()
        with torch.no_grad():
            for parameter, weight in self._pristine.items():
                parameter.copy_(weight)
        remove_input_quantizers(self._model)
        remove_additions(self._model)
        if prepare is not None:
            self._undo = prepare(self._model)
        return self._model

    def dense(self, cell: Cell, parts: "PartialParts") -> DenseModel:
        """Load the dense model of `cell`, to draw sets by as many threads as a run does."""
        if cell.config["num_threads"] is not None:
            torch.set_num_threads(cell.config["num_threads"])
        assert parts.model is not None
        content = parts.model.fingerprint()
        model = self.model(parts.model, content)
        return DenseModel.of(cell, content, parts.code.get("model"), model)

    def tokenizer(self, part: "Model", content: str | None) -> "PreTrainedTokenizerBase":
        """Load the tokenizer of `part`."""
        if self._tokenizer is None or self._tokenizer_key != (part, content):
            self._tokenizer, self._tokenizer_key = part.load_tokenizer(), (part, content)
        return self._tokenizer

    def suite(
        self,
        part: "Evaluation",
        content: str | None,
        tokenizer: "PreTrainedTokenizerBase",
        results_dir: Path | None = None,
    ) -> "PreparedEvaluation":
        """Prepare the evaluation: its corpora tokenised and its requests built.

        `results_dir`: where other processes keep token ids, and find them.
        """
        if self._suite is None or self._suite_key != (part, content, tokenizer):
            self._suite = part.prepare(tokenizer, results_dir)
            self._suite_key = (part, content, tokenizer)
        return self._suite

    def reference(self, folder: Path, content: str | None) -> DenseReference:
        """Load what the dense cell left in `folder`.

        `content`: the hash that its record keeps of it; None: an earlier version kept none.
        """
        is_other = self._reference_key != (folder, content) or content is None
        if self._reference is None or is_other:
            self._reference = None
            self._reference = DenseReference.load(folder, content)
            self._reference_key = (folder, content)
        return self._reference
