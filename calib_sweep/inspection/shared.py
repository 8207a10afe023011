"""What the samples of a set share with each other and with those of other sets.

Shapes: N samples, T tokens of a sample.
"""

from typing import NamedTuple

import numpy as np

from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.dataset.calibration.overlap import run_hashes

WINDOW_TOKENS = 50


class Pair(NamedTuple):
    """Two samples of a set that are nearly the same."""

    one: int
    other: int
    likeness: float  # as `near_duplicates` estimates it


def find_duplicates(calibration_set: CalibrationSet) -> list[list[int]]:
    """Groups of samples with exactly the same tokens."""
    places: dict[bytes, list[int]] = {}
    for sample, row in enumerate(calibration_set.tokens_NT):
        places.setdefault(row.tobytes(), []).append(sample)
    return [group for group in places.values() if len(group) > 1]


def shared_documents(one: CalibrationSet, other: CalibrationSet) -> int:
    """Count the documents that both sets drew from."""
    return len(_documents(one) & _documents(other))


def shared_windows(one: CalibrationSet, other: CalibrationSet) -> float:
    """Share of the different 50-token windows of `one` that also occur in `other`."""
    return share_of(window_hashes(one), window_hashes(other))


def window_hashes(one: CalibrationSet) -> np.ndarray:
    """Return hashes of the different 50-token windows of a set, sorted."""
    return run_hashes(one.tokens_NT, one.lengths_N, WINDOW_TOKENS)


def share_of(mine_W: np.ndarray, theirs_W: np.ndarray) -> float:
    """Return the share of `mine_W` that is in `theirs_W`; 0 of nothing."""
    return float(np.isin(mine_W, theirs_W).mean()) if len(mine_W) else 0.0


def _documents(calibration_set: CalibrationSet) -> set[str]:
    samples = calibration_set.samples
    return {name for s in samples for name in s.get("documents", [s["document"]])}
