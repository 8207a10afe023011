"""Numbers that describe a calibration set and its samples, and what stands out.

Of the tokens of a set, in its card and in records:

  entropy         of the tokens' frequencies, in bits: low is repetitive
  unique_share    different tokens / tokens
  duplicates      share of samples whose tokens occur before in the set
  filled          share of positions that are no padding

Of each sample:

  length          tokens that are no padding
  unique_share    different tokens / tokens
  compression     bytes after zlib / bytes of the text: low is repetitive, above 1 is noise
  repeated_lines  share of the lines with text that occurred before in the sample
  non_alphabetic  share of the characters, white space aside, that are no letters

An outlier is judged by its robust z-score (Iglewicz and Hoaglin 1993): 0.6745 times the distance
from the median over the median absolute deviation, above 3.5.

Shapes: N samples, T tokens of a sample.
"""

import zlib

import numpy as np

from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.dataset.calibration.overlap import run_hashes

OUTLIER_Z = 3.5
WINDOW_TOKENS = 50
OF_TOKENS = ("entropy", "unique_share", "duplicates", "filled")


def describe_tokens(tokens_NT: np.ndarray, lengths_N: np.ndarray | None) -> dict[str, float]:
    """Return `OF_TOKENS` of one set; `lengths_N` None: no sample is padded."""
    num_samples, seq_len = tokens_NT.shape
    lengths_N = np.full(num_samples, seq_len) if lengths_N is None else lengths_N
    valid = tokens_NT[np.arange(seq_len) < lengths_N[:, None]]
    count = np.unique(valid, return_counts=True)[1]
    share = count / count.sum()
    different = {row.tobytes() for row in tokens_NT}
    return {
        "entropy": float(-(share * np.log2(share)).sum()),
        "unique_share": len(count) / valid.size,
        "duplicates": 1 - len(different) / num_samples,
        "filled": valid.size / tokens_NT.size,
    }


def describe_samples(calibration_set: CalibrationSet) -> dict[str, np.ndarray]:
    """Return one value per sample [N] by the name of its descriptor."""
    lengths_N = token_lengths(calibration_set)
    rows = [row[:n] for row, n in zip(calibration_set.tokens_NT, lengths_N, strict=True)]
    texts = [sample["text"] for sample in calibration_set.samples]
    return {
        "length": lengths_N.astype(float),
        "unique_share": np.array([len(np.unique(row)) / max(len(row), 1) for row in rows]),
        "compression": np.array([_compression(text) for text in texts]),
        "repeated_lines": np.array([_repeated_lines(text) for text in texts]),
        "non_alphabetic": np.array([_non_alphabetic(text) for text in texts]),
    }


def token_lengths(calibration_set: CalibrationSet) -> np.ndarray:
    """Tokens that are no padding, per sample [N]."""
    num_samples, seq_len = calibration_set.tokens_NT.shape
    lengths_N = calibration_set.lengths_N
    return np.full(num_samples, seq_len) if lengths_N is None else lengths_N


def robust_z(value_N: np.ndarray) -> np.ndarray:
    """Robust z-scores; where most values are equal, from the mean absolute deviation instead.

    Zero for all when all are equal.
    """
    distance_N = value_N - np.median(value_N)
    spread = np.median(np.abs(distance_N)) / 0.6745
    if spread == 0:
        spread = 1.253314 * np.mean(np.abs(distance_N))
    return np.zeros_like(distance_N) if spread == 0 else distance_N / spread


def find_outliers(described: dict[str, np.ndarray]) -> list[tuple[int, str, float, float]]:
    """(sample, descriptor, value, robust z) of everything that stands out, worst first."""
    found = []
    for name, value_N in described.items():
        z_N = robust_z(value_N)
        for sample in np.flatnonzero(np.abs(z_N) > OUTLIER_Z):
            found.append((int(sample), name, float(value_N[sample]), float(z_N[sample])))
    return sorted(found, key=lambda outlier: -abs(outlier[3]))


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


def _compression(text: str) -> float:
    raw = text.encode()
    return len(zlib.compress(raw, 6)) / len(raw) if raw else 1.0


def _repeated_lines(text: str) -> float:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return 1 - len(set(lines)) / len(lines) if lines else 0.0


def _non_alphabetic(text: str) -> float:
    signs = [sign for sign in text if not sign.isspace()]
    return sum(not sign.isalpha() for sign in signs) / len(signs) if signs else 0.0
