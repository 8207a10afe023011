"""The classes that a dataset derives from.

Dataset         draws calibration sets; with the help of the dense model where `needs_model` says so
TextDataset     has documents besides, so that it can be scored as well; draws from these
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.dataset.calibration.sampling import draw_from_documents
from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.dataset.documents.documents import Documents
from calib_sweep.errors import collected

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Dataset(ABC):
    """The origin of calibration sets."""

    name: str  # label in records and tables

    @property
    def needs_model(self) -> bool:
        """Tell whether sets depend on the dense model: text that it writes itself, say.

        Such a set is drawn once for each model, when the first cell needs it: not while the grid is
        checked. Others depend on the tokenizer, and on nothing else of the model.
        """
        return False

    @property
    def tells_answers(self) -> bool:
        """Tell whether sets may say which of their tokens are answers, as `answers_only` asks."""
        return True

    @abstractmethod
    def draw(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        calibration: Calibration,
        seed: int,
        model: "PreTrainedModel | None" = None,
    ) -> CalibrationSet:
        """Return the calibration set of this seed.

        `model`: dense, in eval mode, and must stay as it is; given where `needs_model`.
        """

    @abstractmethod
    def fingerprint(self) -> str | None:
        """Return a content hash of the local files; None for what settings and seed fix."""

    def draw_name(self) -> str:
        """Return what names the random streams of the draw: the text, where it can be told.

        Equal text is then drawn alike, whatever its label and its place.
        """
        return self.name

    def provenance(self) -> dict[str, object]:
        """Return where the text is from, for the card of every set."""
        return {}

    def sources(self) -> dict[str, str]:
        """Return where the text is from: name -> content hash or address of equal text."""
        return {}

    def prefetch(self) -> None:
        """Bring here what is not on this machine yet; `ConfigError` for what is not to be had.

        As it stands, it looks at files, and does the same for the datasets among the fields.
        """
        with collected() as problems:
            problems.of(self.fingerprint)
            for part in _datasets_in(vars(self)):
                problems.of(part.prefetch)

    def check(  # noqa: B027  (most have nothing to check)
        self, tokenizer: "PreTrainedTokenizerBase", calibration: Calibration, seed: int
    ) -> None:
        """Raise `ConfigError` for what hinders the draw of this seed and shows without the model.

        Called while the grid is checked where `needs_model`; others are drawn then.
        """


def _datasets_in(value: object) -> Iterator[Dataset]:
    """Yield each dataset in a mapping, or in one within it."""
    for part in value.values() if isinstance(value, Mapping) else ():
        if isinstance(part, Dataset):
            yield part
        else:
            yield from _datasets_in(part)


def draw_part(
    part: Dataset,
    tokenizer: "PreTrainedTokenizerBase",
    calibration: Calibration,
    seed: int,
    model: "PreTrainedModel | None",
) -> CalibrationSet:
    """Draw the set of a dataset that another one is made of; `model` where it needs it."""
    if part.needs_model:
        return part.draw(tokenizer, calibration, seed, model)
    return part.draw(tokenizer, calibration, seed)


def check_part(
    part: Dataset, tokenizer: "PreTrainedTokenizerBase", calibration: Calibration, seed: int
) -> None:
    """Raise `ConfigError` for what hinders the draw of such a dataset, as far as it shows."""
    (part.check if part.needs_model else part.draw)(tokenizer, calibration, seed)


class TextDataset(Dataset):
    """Documents, to draw calibration sets from or to score."""

    @property
    def tells_answers(self) -> bool:
        """Plain text has no answers."""
        return False

    @abstractmethod
    def documents(self) -> Documents:
        """Return all documents, in an order that never changes."""

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
        """Return the calibration set of this seed, from the documents."""
        card = self.provenance(), self.name
        return draw_from_documents(
            self.documents(), tokenizer, calibration, seed, *card, self.draw_name()
        )
