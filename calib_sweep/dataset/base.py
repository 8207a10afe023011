"""The classes that a dataset derives from.

Dataset         draws calibration sets
TextDataset     has documents besides, so that it can be scored as well; draws from these
ModelDataset    draws calibration sets with the help of the model: text that it writes itself, say
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.dataset.calibration.sampling import draw_from_documents
from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.dataset.documents.documents import Documents

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class AnyDataset(ABC):
    """The origin of calibration sets."""

    name: str  # label in records and tables; also names the random streams of the draw

    @abstractmethod
    def fingerprint(self) -> str | None:
        """Return a content hash of the local files; None for what settings and seed fix."""

    def sources(self) -> dict[str, str]:
        """Return where the text is from: name -> content hash or address of equal text."""
        return {}


class Dataset(AnyDataset):
    """A dataset whose sets depend on the tokenizer, and on nothing else of the model."""

    @abstractmethod
    def draw(
        self, tokenizer: "PreTrainedTokenizerBase", calibration: Calibration, seed: int
    ) -> CalibrationSet:
        """Return the calibration set of this seed."""


class ModelDataset(AnyDataset):
    """A dataset whose sets depend on the dense model.

    A set is drawn once for each model, when the first cell needs it: not while the grid is checked.
    """

    @abstractmethod
    def draw(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        calibration: Calibration,
        seed: int,
    ) -> CalibrationSet:
        """Return the calibration set of this seed. The model is dense, and must stay as it is."""


class TextDataset(Dataset):
    """Documents, to draw calibration sets from or to score."""

    @abstractmethod
    def documents(self) -> Documents:
        """Return all documents, in an order that never changes."""

    @abstractmethod
    def provenance(self) -> dict[str, object]:
        """Return where the text is from, for the card of every set."""

    def draw(
        self, tokenizer: "PreTrainedTokenizerBase", calibration: Calibration, seed: int
    ) -> CalibrationSet:
        """Return the calibration set of this seed, from the documents."""
        return draw_from_documents(
            self.documents(), tokenizer, calibration, seed, self.provenance(), self.name
        )
