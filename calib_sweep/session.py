"""What a worker keeps loaded between cells: the model, its tokenizer, the evaluation's requests.

One of each at a time: cells are ordered so that the same ones follow each other. `content` is the
hash of the files that a part reads: what changed on disk is loaded anew.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from calib_sweep import atomic
from calib_sweep.building import Builder
from calib_sweep.evaluation.reference import DenseReference
from calib_sweep.model.blocks import decoder_blocks
from calib_sweep.model.input_quantizer import remove_input_quantizers


class Session:
    """Loads on demand, restores the weights that compression changed, forgets after a failure."""

    def __init__(self, builder: Builder | None = None) -> None:
        self.builder = builder or Builder()
        self.forget()

    def forget(self) -> None:
        """Drop everything: after a failure nothing that is loaded is trusted."""
        self._model_key: Any = None
        self._model: Any = None
        self._pristine: dict[torch.nn.Parameter, torch.Tensor] = {}
        self._tokenizer_key: Any = None
        self._tokenizer: Any = None
        self._suite_key: Any = None
        self._suite: Any = None
        self._reference_key: Any = None
        self._reference: DenseReference | None = None

    def model(self, part: Any, content: str | None) -> Any:
        """The dense model of `part`; one that an earlier cell compressed has its weights back."""
        if self._model_key != (part, content):
            self._model, self._pristine = None, {}  # before the next one is loaded: memory
            self._model, self._model_key = part.load(), (part, content)
            self._pristine = {p: p.detach().to("cpu", copy=True) for p in self._block_parameters()}
        with torch.no_grad():
            for parameter, weight in self._pristine.items():
                parameter.copy_(weight)
        remove_input_quantizers(self._model)
        return self._model

    def _block_parameters(self) -> list[torch.nn.Parameter]:
        return list(decoder_blocks(self._model).parameters())

    def tokenizer(self, part: Any, content: str | None) -> Any:
        """The tokenizer of `part`."""
        if self._tokenizer_key != (part, content):
            self._tokenizer, self._tokenizer_key = part.load_tokenizer(), (part, content)
        return self._tokenizer

    def suite(self, part: Any, content: str | None, tokenizer: Any) -> Any:
        """The evaluation of `part` with its corpora tokenised and its requests built."""
        if self._suite_key != (part, content, tokenizer):
            self._suite, self._suite_key = part.prepare(tokenizer), (part, content, tokenizer)
        return self._suite

    def reference(self, folder: Path, content: str | None) -> DenseReference:
        """What the dense cell left in `folder`; `content` None: by a version that kept no hash."""
        if self._reference_key != (folder, content) or content is None:
            self._reference = None
            self._reference = DenseReference.load(folder, content)
            self._reference_key = (folder, content)
        assert self._reference is not None
        return self._reference

    def save(self, folder: Path, write: Callable[[Any, Any, Path], None]) -> None:
        """Have `write(model, tokenizer, folder)` write the model as it is now, all or nothing."""
        with atomic.replacing_folder(folder) as partial:  # one there is of a worker that died
            write(self._model, self._tokenizer, partial)
