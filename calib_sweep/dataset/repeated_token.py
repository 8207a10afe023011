"""A control: every sample is one token, again and again. A method that learns from the inputs of a
layer finds as good as nothing here: all that a sample tells is one token at many places.

The token of sample i is drawn uniformly from the ordinary tokens of the vocabulary, by a stream of
its own, so the first n samples are the same for every larger n. Two samples may draw one token.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from calib_sweep.dataset.base import Dataset
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.dataset.vocabulary import head_and_ordinary, set_without_text
from calib_sweep.seeding import stream

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class RepeatedToken(Dataset):
    """Samples of one ordinary token each, behind the BOS token where `calibration.bos` asks."""

    name: str  # label in records and tables

    def draw(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        calibration: Calibration,
        seed: int,
        model: "PreTrainedModel | None" = None,
    ) -> CalibrationSet:
        """The calibration set of this seed."""
        head, ordinary = head_and_ordinary(tokenizer, calibration, seed)
        count = calibration.seq_len - len(head)
        rows = []
        for sample in range(calibration.num_samples):
            place = stream("calibration/repeated_token", seed, sample).integers(len(ordinary))
            rows.append([*head, *[ordinary[place]] * count])
        return set_without_text(self.name, self.provenance(), rows, tokenizer, calibration, seed)

    def provenance(self) -> dict[str, object]:
        """Nothing but the generator."""
        return {"source": "one uniformly random token a sample, special tokens left out"}

    def draw_name(self) -> str:
        """The control itself: a label moves no token."""
        return "repeated_token"

    def fingerprint(self) -> None:
        """No content: settings, seed and tokenizer say all."""
        return None
