"""Calibration sets of given tokens and texts, and small settings."""

import numpy as np

from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.dataset.calibration.settings import Calibration


def make_settings(**changed: object) -> Calibration:
    """Calibration settings with small defaults."""
    chosen: dict = {
        "num_samples": 4,
        "seq_len": 8,
        "design": "disjoint",
        "window": "slice",
        "bos": "none",
    }
    return Calibration(**{**chosen, **changed})


def make_set(rows, texts=None, names=None, lengths=None):
    names = names or [str(i) for i in range(len(rows))]
    texts = texts or ["w"] * len(rows)
    return CalibrationSet(
        tokens_NT=np.array(rows),
        lengths_N=None if lengths is None else np.array(lengths),
        samples=[
            {"document": n, "offset": 0, "text": t} for n, t in zip(names, texts, strict=True)
        ],
        card={},
    )
