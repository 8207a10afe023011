"""Overlap of token sequences with others: runs of consecutive tokens that stand in both.

Contamination of test text is looked for by runs of 13 tokens, as the GPT-3 paper does with words
(Brown et al. 2020, arXiv:2005.14165, appendix C): long enough that chance and set phrases make few.

Shapes: N samples, T tokens, W = different runs of `width` tokens, as sorted 64-bit hashes.
"""

from dataclasses import dataclass

import numpy as np

CONTAMINATION_TOKENS = 13


@dataclass(frozen=True)
class Overlap:
    """The part of a calibration set that stands in other text."""

    share: float  # of the set's different runs of tokens, those that are in the other text as well
    samples: int  # samples more than half of whose runs are


def run_hashes(tokens_NT: np.ndarray, lengths_N: np.ndarray | None, width: int) -> np.ndarray:
    """Hashes of all different runs of `width` tokens inside samples, sorted [W]."""
    hashes_NP, inside_NP = _hash_runs(tokens_NT, lengths_N, width)
    return np.unique(hashes_NP[inside_NP])


def overlap(tokens_NT: np.ndarray, lengths_N: np.ndarray | None, theirs_W: np.ndarray) -> Overlap:
    """Measure how much of these samples stands in the text whose runs `theirs_W` are."""
    hashes_NP, inside_NP = _hash_runs(tokens_NT, lengths_N, CONTAMINATION_TOKENS)
    shared_NP = inside_NP & _is_in(hashes_NP, theirs_W)
    num_runs = len(np.unique(hashes_NP[inside_NP]))
    num_shared = len(np.unique(hashes_NP[shared_NP]))
    return Overlap(
        share=num_shared / num_runs if num_runs else 0.0,
        samples=int((2 * shared_NP.sum(1) > inside_NP.sum(1)).sum()),
    )


def _is_in(value_NP: np.ndarray, sorted_W: np.ndarray) -> np.ndarray:
    """Find the values in a sorted array by binary search; `isin` would sort both again."""
    if not len(sorted_W):
        return np.zeros(value_NP.shape, dtype=bool)
    place_NP = np.minimum(np.searchsorted(sorted_W, value_NP), len(sorted_W) - 1)
    return sorted_W[place_NP] == value_NP


def _hash_runs(
    tokens_NT: np.ndarray, lengths_N: np.ndarray | None, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """64-bit polynomial hash of the run at each place, and whether no padding is in it [N, P]."""
    num_samples, seq_len = tokens_NT.shape
    num_places = max(seq_len - width + 1, 0)
    tokens_NT = tokens_NT.astype(np.uint64)
    hashes_NP = np.zeros((num_samples, num_places), dtype=np.uint64)
    for place in range(width if num_places else 0):  # wraps around at 2**64 on purpose
        hashes_NP *= np.uint64(0x9E3779B97F4A7C15)
        hashes_NP += tokens_NT[:, place : place + num_places] + np.uint64(1)
    ends_N = np.full(num_samples, seq_len) if lengths_N is None else lengths_N
    return hashes_NP, np.arange(num_places) + width <= ends_N[:, None]
