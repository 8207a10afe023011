"""Numbers that describe a calibration set, kept in its card and in records.

  entropy         of the tokens' frequencies, in bits: low is repetitive
  unique_share    different tokens / tokens
  duplicates      share of samples whose tokens occur before in the set
  filled          share of positions that are no padding
  repetition      share of a sample's tokens that occur before in it, mean over samples
  coverage        share of the vocabulary that occurs; None: its size is not known
  diversity       different runs of n tokens / runs of n tokens, mean over n = 1 to 4
  zipf            exponent of Zipf's law: minus the slope of log frequency on log rank, by least
                  squares over all different tokens; None: there is one

The last four are those of Williams et al. 2025 (arXiv:2410.17170), who print them for five sources.
They give no formulas for diversity and zipf: over the whole set, unweighted, both come out where
theirs are (128 x 2048 tokens drawn uniformly from 128,256: zipf 0.47, theirs 0.49).
All depend on the size of the set: compare sets of one size.

Shapes: N samples, T tokens of a sample.
"""

from collections.abc import Mapping

import numpy as np

from calib_sweep.dataset.calibration.calibration_set import ends_of, not_padding
from calib_sweep.dataset.calibration.overlap import run_hashes

OF_TOKENS = (
    *("entropy", "unique_share", "duplicates", "filled"),
    *("repetition", "coverage", "diversity", "zipf"),
)
LONGEST_RUN = 4  # tokens


def describe_tokens(
    tokens_NT: np.ndarray, lengths_N: np.ndarray | None, vocabulary: int | None = None
) -> dict[str, float | None]:
    """Return `OF_TOKENS` of one set.

    `lengths_N` None: no sample is padded. `vocabulary`: tokens that the tokenizer has.
    """
    valid = tokens_NT[not_padding(tokens_NT, lengths_N)]
    count = np.unique(valid, return_counts=True)[1]
    share = count / count.sum()
    different = {row.tobytes() for row in tokens_NT}
    by_length = diversities(tokens_NT, lengths_N)
    return {
        "entropy": float(-(share * np.log2(share)).sum()),
        "unique_share": len(count) / valid.size,
        "duplicates": 1 - len(different) / len(tokens_NT),
        "filled": valid.size / tokens_NT.size,
        "repetition": float(repetition(tokens_NT, ends_of(tokens_NT, lengths_N)).mean()),
        "coverage": len(count) / vocabulary if vocabulary else None,
        "diversity": float(np.mean(by_length)) if by_length else None,
        "zipf": zipf_exponent(count),
    }


def vocabulary_of(card: Mapping[str, object]) -> int | None:
    """Return how many tokens the tokenizer has that a card names, if it does."""
    tokenizer = card.get("tokenizer")
    size = tokenizer.get("vocabulary") if isinstance(tokenizer, Mapping) else None
    return size if isinstance(size, int) else None


def repetition(tokens_NT: np.ndarray, lengths_N: np.ndarray) -> np.ndarray:
    """Return the share of the tokens of each sample that occur before in it [N]."""
    rows = (row[:length] for row, length in zip(tokens_NT, lengths_N, strict=True))
    return np.array([1 - len(np.unique(row)) / max(len(row), 1) for row in rows])


def diversities(tokens_NT: np.ndarray, lengths_N: np.ndarray | None) -> list[float]:
    """Return different runs / runs of n tokens inside samples, for n = 1, 2, ... as there are."""
    ends_N = ends_of(tokens_NT, lengths_N)
    found = []
    for width in range(1, LONGEST_RUN + 1):
        num_runs = int(np.maximum(ends_N - width + 1, 0).sum())
        if num_runs:
            found.append(len(run_hashes(tokens_NT, lengths_N, width)) / num_runs)
    return found


def zipf_exponent(count: np.ndarray) -> float | None:
    """Return the exponent s of frequency ~ rank^-s; `count`: of each different token."""
    if len(count) < 2:
        return None
    x = np.log(np.arange(1, len(count) + 1))
    y = np.log(np.sort(count)[::-1])
    x, y = x - x.mean(), y - y.mean()
    return float(-(x @ y) / (x @ x))
