"""The class of datasets whose documents tell which of their text is an answer."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from calib_sweep.dataset.base import Dataset
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.dataset.calibration.sampling import draw_from_source
from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.dataset.calibration.windows import Source
from calib_sweep.dataset.documents.marked import MarkedDocuments, encode_marked, mark
from calib_sweep.dataset.documents.token_store import TokenStore
from calib_sweep.dataset.documents.tokenised import TokenisedDocuments
from calib_sweep.dataset.documents.tokenizing import Tokenised
from calib_sweep.errors import require

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class AnsweredDataset(Dataset):
    """Documents with answers in them; every set tells which of its tokens are answers."""

    @abstractmethod
    def documents_for(self, tokenizer: "PreTrainedTokenizerBase") -> MarkedDocuments:
        """Return all documents as a model with this tokenizer reads them, always in one order."""

    @abstractmethod
    def provenance(self) -> dict[str, object]:
        """Return where the text is from, for the card of every set."""

    def draw(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        calibration: Calibration,
        seed: int,
        model: "PreTrainedModel | None" = None,
    ) -> CalibrationSet:
        """Return the calibration set of this seed, with the marks of answers."""
        require(
            calibration.design != "reference",
            "calibration.design",
            calibration.design,
            f"disjoint or independent with dataset={self.name}, as no published loader draws it",
            "Type calibration.design=disjoint.",
        )
        documents = self.documents_for(tokenizer)
        source = MarkedSource(
            name=self.name,
            streams=self.draw_name(),
            documents=documents.plain(),
            tokenizer=tokenizer,
            calibration=calibration,
            marked=documents,
        )
        return draw_from_source(source, seed, self.provenance())


@dataclass(frozen=True, kw_only=True)
class MarkedSource(Source):
    """A source whose tokens come marked."""

    marked: MarkedDocuments

    @property
    def tells_answers(self) -> bool:
        """They do."""
        return True

    @cached_property
    def tokenised(self) -> "MarkedTokens":
        """The documents as marked token ids."""
        keeps_bos = self.calibration.bos == "document"
        return MarkedTokens(
            documents=self.documents,
            tokenizer=self.tokenizer,
            special=keeps_bos and not self.marked.is_complete,
            marked=self.marked,
            keeps_bos=keeps_bos,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class MarkedTokens(TokenisedDocuments):
    """Marked documents and a tokenizer; kept nowhere.

    What a template writes are the special tokens of a text that is complete: with `bos: none` and
    `bos: sample` the one that begins it is left out.
    """

    marked: MarkedDocuments
    keeps_bos: bool

    @cached_property
    def store(self) -> TokenStore | None:
        """None: a store keeps no marks."""
        return None

    def at(self, positions: Sequence[int]) -> list[Tokenised]:
        """Return the documents at these positions."""
        documents = self.marked.read(positions)
        encoded = encode_marked(self.tokenizer, documents, special=self.special)
        return [
            Tokenised(position, bool(len(tokens)) and one.text.strip() != "", self._cut(tokens))
            for position, one, tokens in zip(positions, documents, encoded, strict=True)
        ]

    def _cut(self, tokens: np.ndarray) -> np.ndarray:
        bos: Any = self.tokenizer.bos_token_id
        begins = bos is not None and len(tokens) > 0 and tokens[0] in (bos, mark(bos))
        return tokens[1:] if begins and not self.keeps_bos else tokens
