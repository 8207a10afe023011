"""Overlap of token sequences with others: runs of consecutive tokens that stand in both.

Contamination of test text is looked for by runs of 13 tokens, as the GPT-3 paper does with words
(Brown et al. 2020, arXiv:2005.14165, appendix C): long enough that chance and set phrases make few.

Shapes: N samples, T tokens, P places of a sample, K texts, R runs of texts, W = different runs of
`width` tokens, as sorted 64-bit hashes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from calib_sweep.dataset.calibration.calibration_set import ends_of
from calib_sweep.wording import counted

CONTAMINATION_TOKENS = 13


# From here on it is said: of a set's runs, those in scored text; set phrases make 1 % at most.
MAX_SEEN = 0.05


@dataclass(frozen=True)
class Overlap:
    """The part of a calibration set that stands in other text, and the other way round."""

    share: float  # of the set's different runs of tokens, those that are in the other text as well
    samples: int  # samples more than half of whose runs are
    items: int | None = None  # items of a task more than half of whose runs are in the set


class SetRuns:
    """The runs of a calibration set, to be held against any number of other texts."""

    def __init__(self, tokens_NT: np.ndarray, lengths_N: np.ndarray | None) -> None:
        hashes_NP, self._inside_NP = _hash_runs(tokens_NT, lengths_N, CONTAMINATION_TOKENS)
        inside = hashes_NP[self._inside_NP]
        self.different_W, self._place = np.unique(inside, return_inverse=True)

    def overlap(self, theirs_W: np.ndarray) -> Overlap:
        """Measure how much of the set stands in the text whose runs `theirs_W` are."""
        shared_W = _is_in(self.different_W, theirs_W)
        share = float(shared_W.mean()) if len(shared_W) else 0.0
        return Overlap(share=share, samples=int((self._shares(shared_W) > 0.5).sum()))

    def holds(self, hashes_R: np.ndarray) -> np.ndarray:
        """Tell of each run whether it stands in the set [R]."""
        return _is_in(hashes_R, self.different_W)

    def _shares(self, shared_W: np.ndarray) -> np.ndarray:
        shared_NP = np.zeros(self._inside_NP.shape, dtype=bool)
        shared_NP[self._inside_NP] = shared_W[self._place]
        return shared_NP.sum(1) / np.maximum(self._inside_NP.sum(1), 1)


def run_hashes(tokens_NT: np.ndarray, lengths_N: np.ndarray | None, width: int) -> np.ndarray:
    """Hashes of all different runs of `width` tokens inside samples, sorted [W]."""
    hashes_NP, inside_NP = _hash_runs(tokens_NT, lengths_N, width)
    return different(hashes_NP[inside_NP])


def different(hashes_R: np.ndarray) -> np.ndarray:
    """Return the different ones, sorted: as `numpy.unique` does, which takes ten times as long."""
    hashes_R = np.sort(hashes_R)
    is_new_R = np.ones(len(hashes_R), dtype=bool)
    is_new_R[1:] = hashes_R[1:] != hashes_R[:-1]
    return hashes_R[is_new_R]


def runs_of_texts(texts: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Hash the runs of texts of any lengths: each run [R], and the number of its text [R]."""
    lengths_K = np.array([len(text) for text in texts], dtype=np.int64)
    flat = np.fromiter((i for text in texts for i in text), np.int64, count=int(lengths_K.sum()))
    hashes_1P, _ = _hash_runs(flat[None], None, CONTAMINATION_TOKENS)
    text_P = np.repeat(np.arange(len(texts)), lengths_K)[: hashes_1P.shape[1]]
    inside_P = np.arange(len(text_P)) + CONTAMINATION_TOKENS <= np.cumsum(lengths_K)[text_P]
    return hashes_1P[0][inside_P], text_P[inside_P]


def overlap(tokens_NT: np.ndarray, lengths_N: np.ndarray | None, theirs_W: np.ndarray) -> Overlap:
    """Measure how much of these samples stands in the text whose runs `theirs_W` are."""
    return SetRuns(tokens_NT, lengths_N).overlap(theirs_W)


def is_seen(found: Mapping[str, float]) -> bool:
    """Tell whether so much is shared that scores on that text are too good."""
    return found["share"] > MAX_SEEN or bool(found["samples"] or found.get("items"))


def in_words(name: str, found: Mapping[str, float]) -> str:
    """Say what is shared with the text called `name`, in a clause."""
    share, items = 100 * found["share"], int(found.get("items") or 0)
    most = f"most of {counted(int(found['samples']), 'sample')}"
    told = f"{share:.0f} % of its {CONTAMINATION_TOKENS}-token runs and {most} stand in {name}"
    return f"{told}, and {counted(items, 'item')} of {name} in it" if items else told


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
    ends_N = ends_of(tokens_NT, lengths_N)
    return hashes_NP, np.arange(num_places) + width <= ends_N[:, None]
