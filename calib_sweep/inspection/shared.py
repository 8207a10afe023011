"""What the samples of a set share with each other and with those of other sets.

Shapes: N samples, T tokens of a sample.
"""

import numpy as np

from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.dataset.calibration.overlap import run_hashes

WINDOW_TOKENS = 50


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
    mine, theirs = _window_hashes(one), _window_hashes(other)
    return float(np.isin(mine, theirs).mean()) if len(mine) else 0.0


def _documents(calibration_set: CalibrationSet) -> set[str]:
    samples = calibration_set.samples
    return {name for s in samples for name in s.get("documents", [s["document"]])}


def _window_hashes(calibration_set: CalibrationSet) -> np.ndarray:
    return run_hashes(calibration_set.tokens_NT, calibration_set.lengths_N, WINDOW_TOKENS)
