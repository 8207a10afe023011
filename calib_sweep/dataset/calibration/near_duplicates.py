"""Near duplicates among samples, by MinHash over runs of tokens.

The similarity of two samples is the Jaccard index of their sets of runs of `RUN` tokens: those in
both over those in either. Of two sets, the smallest values under a random permutation are equal
with just that probability (Broder 1997); so a signature holds the smallest value of each sample
under `PERMUTATIONS` of them, always the same ones, and the share of equal values estimates the
similarity: at 0.8 with a standard error of 0.035. Runs of 5 and a threshold of 0.8 are those of Lee
et al. 2022, arXiv:2107.06499.

Shapes: N, M samples, T tokens, P permutations.
"""

import numpy as np

from calib_sweep.dataset.calibration.calibration_set import ends_of
from calib_sweep.dataset.calibration.overlap import run_hashes

RUN = 5  # tokens
THRESHOLD = 0.8
PERMUTATIONS = 128


def signatures(tokens_NT: np.ndarray, lengths_N: np.ndarray | None) -> np.ndarray:
    """Return the MinHash signature of each sample, uint32 [N, P]; padding does not count."""
    from datasketch import MinHash

    ends_N = ends_of(tokens_NT, lengths_N)
    empty = MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=int, scheme="affine32")
    found = np.empty((len(ends_N), PERMUTATIONS), dtype=np.uint32)
    for sample, (row, end) in enumerate(zip(tokens_NT, ends_N, strict=True)):
        width = max(1, min(RUN, int(end)))  # a shorter sample is one run
        hashes_W = run_hashes(row[None, :end], None, width)
        own = empty.copy()
        own.update_batch(_folded(hashes_W).tolist())
        found[sample] = own.hashvalues
    return found


def similarity(one_NP: np.ndarray, other_MP: np.ndarray) -> np.ndarray:
    """Estimate how similar each sample of one set is to each of another, 0 to 1 [N, M]."""
    return np.stack([(row == other_MP).mean(1) for row in one_NP])


def near_duplicates(
    signature_NP: np.ndarray, threshold: float = THRESHOLD
) -> list[tuple[int, int, float]]:
    """Return (sample, later sample, similarity) of all pairs that are so similar, in order."""
    pairs = []
    for first, row in enumerate(signature_NP):
        similar_M = (row == signature_NP[first + 1 :]).mean(1)
        for later in np.flatnonzero(similar_M >= threshold):
            pairs.append((first, first + 1 + int(later), float(similar_M[later])))
    return pairs


def _folded(hashes_W: np.ndarray) -> np.ndarray:
    """Fold hashes to 32 bits: the last token of a run is in the lower half alone."""
    return (hashes_W ^ (hashes_W >> np.uint64(32))).astype(np.uint32)
