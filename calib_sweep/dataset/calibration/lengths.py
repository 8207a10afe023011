"""Calibration sets of several lengths: `calibration.seq_len` as a list.

A set is drawn at the longest length, so that no source need know of it, then cut. Of k lengths each
run of k samples has every one once, in an order that is drawn for each run: as many samples of each
length, whatever order the samples came in, and the first n are the same for every larger n. The
order hangs on the seed alone, so that datasets are compared on the same lengths. A sample that is
shorter than its length stays as it is.

Shapes: N = samples, T = tokens of the longest.
"""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep.dataset.calibration.calibration_set import CalibrationSet, Card, not_padding
from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.seeding import stream

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from calib_sweep.dataset.base import Dataset


def draw_set(
    dataset: "Dataset",
    tokenizer: "PreTrainedTokenizerBase",
    calibration: Calibration,
    seed: int,
    model: "PreTrainedModel | None" = None,
) -> CalibrationSet:
    """Draw the set of a seed, at the lengths asked for; `model` where the dataset needs it."""
    given = () if model is None else (model,)
    drawn = dataset.draw(tokenizer, dataclasses.replace(calibration, lengths=()), seed, *given)
    return cut_to_lengths(drawn, calibration, seed, tokenizer) if calibration.lengths else drawn


def cut_to_lengths(
    drawn: CalibrationSet, calibration: Calibration, seed: int, tokenizer: "PreTrainedTokenizerBase"
) -> CalibrationSet:
    """Cut samples to the lengths of `calibration`; what is cut off is padding from then on."""
    found_N = drawn.ends_N
    lengths_N = np.minimum(found_N, lengths_of(calibration, len(found_N), seed))
    is_token_NT = not_padding(drawn.tokens_NT, lengths_N)
    tokens_NT = np.where(is_token_NT, drawn.tokens_NT, _padding(tokenizer))
    samples = [dict(sample) for sample in drawn.samples]
    for row in np.flatnonzero(lengths_N < found_N):
        samples[row]["text"] = str(tokenizer.decode(tokens_NT[row, : lengths_N[row]]))
    answers_NT = None if drawn.answers_NT is None else drawn.answers_NT & is_token_NT
    card: Card = {**drawn.card, "lengths": [int(length) for length in calibration.lengths]}
    return dataclasses.replace(
        drawn,
        tokens_NT=tokens_NT,
        lengths_N=lengths_N.astype(np.int64),
        answers_NT=answers_NT,
        samples=samples,  # pyright: ignore[reportArgumentType]  (still samples, as copies)
        card=card,
    )


def lengths_of(calibration: Calibration, num_samples: int, seed: int) -> np.ndarray:
    """Return the length that each sample is cut to, [N]."""
    lengths = sorted(calibration.lengths)
    runs = range(-(-num_samples // len(lengths)))
    drawn = [stream("calibration/lengths", seed, run).permutation(lengths) for run in runs]
    return np.concatenate(drawn)[:num_samples]


def _padding(tokenizer: "PreTrainedTokenizerBase") -> int:
    """A token to stand where there is none: nobody looks at it."""
    known = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    return next(int(token) for token in known if isinstance(token, int))
