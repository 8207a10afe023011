"""Soup: a model of one's own loading: the mean of two checkpoints' weights.

In the folder of this file:

    python -m calib_sweep --config-dir conf model=soup method=rtn

Whatever becomes a Hugging Face causal language model can be compressed. `load` makes it; settings,
tokenizer, shapes and checks stay those of the checkpoint at `path`.
"""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch

from calib_sweep.model.loading import HubModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Soup(HubModel):
    """Two checkpoints of one architecture, averaged."""

    other: str  # folder or hub id of the second one

    def load(self) -> "PreTrainedModel":
        """Return the first model with the mean of both models' weights."""
        model, other = super().load(), self._other().load()
        with torch.no_grad():
            for one, two in zip(model.parameters(), other.parameters(), strict=True):
                one.copy_((one + two) / 2)
        return model

    def fingerprint(self) -> str | None:
        """Return the hashes of both checkpoints' files; None where none is local."""
        return "".join(filter(None, (super().fingerprint(), self._other().fingerprint()))) or None

    def _other(self) -> HubModel:
        settings = {field.name: getattr(self, field.name) for field in fields(HubModel)}
        return HubModel(**{**settings, "path": self.other})
