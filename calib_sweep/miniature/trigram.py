"""An interpolated Kneser-Ney trigram model over tokens: what counting alone makes of the text.

    p(w|uv) = max(c(uvw) - d, 0) / c(uv) + d N(uv.) / c(uv) * p(w|v)
    p(w|v)  = max(N(.vw) - d, 0) / N(.v.) + d N(v.) / N(.v.) * p(w)
    p(w)    = (N(.w) + 1) / (N(..) + V)

c counts, N(uv.) counts the different tokens that follow uv, N(.vw) those that precede vw (Kneser
and Ney 1995; Chen and Goodman 1998, section 4.1.6); one discount d for all orders.
The lowest order is smoothed by one instead of interpolated with the uniform distribution.

Shapes: T tokens, V vocabulary.
"""

import math

import numpy as np

DISCOUNT = 0.75


class Trigram:
    """Counts of a token array, as sorted arrays of codes: uvw -> (u V + v) V + w."""

    def __init__(self, tokens_T: np.ndarray, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        codes = tokens_T.astype(np.int64)
        pairs = codes[:-1] * vocab_size + codes[1:]
        triples, self.triple_count = np.unique(
            pairs[:-1] * vocab_size + codes[2:], return_counts=True
        )
        self.triples = triples
        contexts = triples // vocab_size
        self.contexts, first = np.unique(contexts, return_index=True)
        self.context_count = np.add.reduceat(self.triple_count, first)
        self.context_types = np.diff(np.append(first, len(triples)))
        # Continuation counts: in how many different contexts u stands before vw, v before w.
        self.pairs, self.pair_count = np.unique(triples % vocab_size**2, return_counts=True)
        self.middle_count = np.bincount(self.pairs // vocab_size, self.pair_count, vocab_size)
        self.middle_types = np.bincount(self.pairs // vocab_size, minlength=vocab_size)
        self.word_types = np.bincount(self.pairs % vocab_size, minlength=vocab_size)

    def perplexity(self, tokens_T: np.ndarray) -> float:
        """Token perplexity; the first two tokens are context only."""
        codes = tokens_T.astype(np.int64)
        nats = -np.log(self._probability(codes[:-2], codes[1:-1], codes[2:]))
        return math.exp(nats.mean())

    def _probability(self, u: np.ndarray, v: np.ndarray, w: np.ndarray) -> np.ndarray:
        size = self.vocab_size
        single = (self.word_types[w] + 1) / (self.word_types.sum() + size)
        pair = _interpolate(
            _look_up(self.pairs, self.pair_count, v * size + w),
            self.middle_count[v], self.middle_types[v], single,
        )  # fmt: skip
        context = u * size + v
        return _interpolate(
            _look_up(self.triples, self.triple_count, context * size + w),
            _look_up(self.contexts, self.context_count, context),
            _look_up(self.contexts, self.context_types, context), pair,
        )  # fmt: skip


def _look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The values of `wanted` keys; 0 for keys that are not there. `keys` is sorted."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)


def _interpolate(
    count: np.ndarray, total: np.ndarray, types: np.ndarray, lower: np.ndarray
) -> np.ndarray:
    safe = np.maximum(total, 1)
    higher = np.maximum(count - DISCOUNT, 0) / safe + DISCOUNT * types / safe * lower
    return np.where(total > 0, higher, lower)
