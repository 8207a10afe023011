"""Numbers that describe each sample of a calibration set, and the samples that stand out.

  length          tokens that are no padding
  unique_share    different tokens / tokens
  compression     bytes after zlib / bytes of the text: low is repetitive, above 1 is noise
  repeated_lines  share of the lines with text that occurred before in the sample
  non_alphabetic  share of the characters, white space aside, that are no letters
  perplexity      of the dense model, where it is asked (`perplexity`)

An outlier is judged by its robust z-score (Iglewicz and Hoaglin 1993): 0.6745 times the distance
from the median over the median absolute deviation, above 3.5.

Shapes: N samples, T tokens of a sample.
"""

import zlib
from collections import Counter
from collections.abc import Mapping

import numpy as np

from calib_sweep.dataset.calibration.calibration_set import CalibrationSet

OUTLIER_Z = 3.5
LOGGED = ("perplexity",)  # descriptors that differ by factors


def describe_samples(calibration_set: CalibrationSet) -> dict[str, np.ndarray]:
    """Return one value per sample [N] by the name of its descriptor."""
    lengths_N = calibration_set.ends_N
    rows = [row[:n] for row, n in zip(calibration_set.tokens_NT, lengths_N, strict=True)]
    texts = [sample["text"] for sample in calibration_set.samples]
    return {
        "length": lengths_N.astype(float),
        "unique_share": np.array([len(np.unique(row)) / max(len(row), 1) for row in rows]),
        "compression": np.array([_compression(text) for text in texts]),
        "repeated_lines": np.array([_repeated_lines(text) for text in texts]),
        "non_alphabetic": np.array([_non_alphabetic(text) for text in texts]),
    }


def robust_z(value_N: np.ndarray) -> np.ndarray:
    """Robust z-scores [N]; where most values are equal, from the mean absolute deviation instead.

    Zero for all when all are equal.
    """
    if not len(value_N):
        return value_N
    distance_N = value_N - np.median(value_N)
    spread = np.median(np.abs(distance_N)) / 0.6745
    if spread == 0:
        spread = 1.253314 * np.mean(np.abs(distance_N))
    return np.zeros_like(distance_N) if spread == 0 else distance_N / spread


def find_outliers(described: Mapping[str, np.ndarray]) -> list[tuple[int, str, float, float]]:
    """(sample, descriptor, value, robust z) of everything that stands out, worst first.

    Of a perplexity the logarithm is looked at; what is no number stands out nowhere.
    """
    found = []
    for name, value_N in described.items():
        is_told_N = np.isfinite(value_N)
        told = value_N[is_told_N]
        z_N = np.zeros(len(value_N))
        z_N[is_told_N] = robust_z(np.log(told) if name in LOGGED else told)
        for sample in np.flatnonzero(np.abs(z_N) > OUTLIER_Z):
            found.append((int(sample), name, float(value_N[sample]), float(z_N[sample])))
    return sorted(found, key=lambda outlier: -abs(outlier[3]))


def _compression(text: str) -> float:
    raw = text.encode()
    return len(zlib.compress(raw, 6)) / len(raw) if raw else 1.0


def _repeated_lines(text: str) -> float:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return 1 - len(set(lines)) / len(lines) if lines else 0.0


def _non_alphabetic(text: str) -> float:
    count = {sign: number for sign, number in Counter(text).items() if not sign.isspace()}
    num_other = sum(number for sign, number in count.items() if not sign.isalpha())
    return num_other / sum(count.values()) if count else 0.0
