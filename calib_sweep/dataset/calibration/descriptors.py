"""Numbers that describe a calibration set, kept in its card and in records.

  entropy         of the tokens' frequencies, in bits: low is repetitive
  unique_share    different tokens / tokens
  duplicates      share of samples whose tokens occur before in the set
  filled          share of positions that are no padding

Shapes: N samples, T tokens of a sample.
"""

import numpy as np

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
