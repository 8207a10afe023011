"""What every dataset is: a class in `dataset=` derives from `Dataset`, a corpus from `TextDataset`.

Dataset        draws calibration sets
TextDataset    has documents besides, so that it can be scored as well; draws from these
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.dataset.calibration.sampling import draw_from_documents
from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.dataset.documents.documents import Documents

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Dataset(ABC):
    """Where calibration sets come from."""

    name: str  # label in records and tables; also names the random streams of the draw

    @abstractmethod
    def draw(
        self, tokenizer: "PreTrainedTokenizerBase", calibration: Calibration, seed: int
    ) -> CalibrationSet:
        """The calibration set of this seed."""

    @abstractmethod
    def fingerprint(self) -> str | None:
        """Content hash of the local files; None for what settings, seed and tokenizer fix."""

    def sources(self) -> dict[str, str]:
        """Where the text is from: name -> content hash or address. Equal ones hold equal text."""
        return {}


class TextDataset(Dataset):
    """Documents, to draw calibration sets from or to score."""

    @abstractmethod
    def documents(self) -> Documents:
        """All documents, in an order that never changes."""

    @abstractmethod
    def provenance(self) -> dict[str, Any]:
        """Where the text is from, for the card of every set."""

    def draw(
        self, tokenizer: "PreTrainedTokenizerBase", calibration: Calibration, seed: int
    ) -> CalibrationSet:
        """The calibration set of this seed, from the documents."""
        return draw_from_documents(
            self.documents(), tokenizer, calibration, seed, self.provenance(), self.name
        )
