"""A control: samples of uniformly random tokens. What a method still does with these, text cannot
have taught it. "Vocabulary" in Williams et al. 2025, arXiv:2410.17170.

Every ordinary token of the vocabulary is equally likely at every place; special tokens are left
out. Sample i of a seed has its own stream, so the first n samples are the same for every larger n,
in both designs. There are no documents: `bos: document` and `bos: sample` both put the BOS token
first, `window` says nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep.dataset.base import Dataset
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet, Sample
from calib_sweep.dataset.calibration.sampling import make_card
from calib_sweep.dataset.calibration.settings import Calibration, check_seed
from calib_sweep.dataset.documents.tokenizing import special_token
from calib_sweep.errors import require
from calib_sweep.seeding import stream

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Vocabulary(Dataset):
    """Token ids without any text behind them."""

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
        rows = [
            [*head, *_draw(ordinary, calibration.seq_len - len(head), seed, sample)]
            for sample in range(calibration.num_samples)
        ]
        return set_without_text(self.name, self.provenance(), rows, tokenizer, calibration, seed)

    def provenance(self) -> dict[str, object]:
        """Nothing but the generator."""
        return {"source": "uniform random tokens, special tokens left out"}

    def draw_name(self) -> str:
        """The control itself: a label moves no token."""
        return "vocabulary"

    def fingerprint(self) -> None:
        """No content: settings, seed and tokenizer say all."""
        return None


def _draw(ordinary: np.ndarray, count: int, seed: int, sample: int) -> np.ndarray:
    generator = stream("calibration/vocabulary", seed, sample)
    return ordinary[generator.integers(len(ordinary), size=count)]


def head_and_ordinary(
    tokenizer: "PreTrainedTokenizerBase", calibration: Calibration, seed: int
) -> tuple[list[int], np.ndarray]:
    """Return what every sample begins with, and the ids of all tokens that are not special."""
    check_seed(seed)
    require(
        calibration.design != "reference",
        "calibration.design",
        calibration.design,
        "disjoint or independent, as no published loader draws random tokens",
        "Type calibration.design=disjoint.",
    )
    head: list[int] = []
    if calibration.bos != "none":
        setting = f"calibration.bos={calibration.bos!r}"
        head = [special_token(tokenizer, "bos", setting, "which begins every sample")]
    return head, np.setdiff1d(np.arange(len(tokenizer)), tokenizer.all_special_ids)


def set_without_text(
    name: str,
    provenance: Mapping[str, object],
    rows: Sequence[Sequence[int]],
    tokenizer: "PreTrainedTokenizerBase",
    calibration: Calibration,
    seed: int,
) -> CalibrationSet:
    """Return the calibration set of these token ids, a row per sample."""
    tokens_NT = np.array(rows, dtype=np.int64)
    samples: list[Sample] = [
        {"document": f"{seed}:{sample}", "offset": 0, "text": str(tokenizer.decode(row))}
        for sample, row in enumerate(tokens_NT)
    ]
    card = make_card(name, provenance, None, calibration, seed, tokenizer)
    return CalibrationSet(tokens_NT=tokens_NT, lengths_N=None, samples=samples, card=card)
