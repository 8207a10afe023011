"""An interpolated Kneser-Ney trigram model over tokens: what counting alone makes of the text.

    p(w|uv) = max(c(uvw) - d3, 0) / c(uv.) + d3 N(uv.) / c(uv.) * p(w|v)
    p(w|v)  = max(N(.vw) - d2, 0) / N(.v.) + d2 N(v.) / N(.v.) * p(w)
    p(w)    = (N(.w) + 1) / (N(..) + V)
    d       = n1 / (n1 + 2 n2)

c counts, N(uv.) counts the different tokens that follow uv, N(.vw) those that precede vw (Kneser
and Ney 1995; Chen and Goodman 1998, section 4.1.6). n1 and n2 are how many of the counts c(uvw),
or N(.vw), are one and two (Ney, Essen and Kneser 1994). The lowest order is smoothed by one
instead of interpolated with the uniform distribution.

Shapes: T tokens, V vocabulary.
"""

import numpy as np


class Trigram:
    """Counts of a token array, as sorted arrays of codes: uvw -> (u V + v) V + w."""

    def __init__(self, tokens_T: np.ndarray, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        codes = tokens_T.astype(np.int64)
        pairs = codes[:-1] * vocab_size + codes[1:]
        self.triples, self.triple_count = np.unique(
            pairs[:-1] * vocab_size + codes[2:], return_counts=True
        )
        self.contexts, first = np.unique(self.triples // vocab_size, return_index=True)
        self.context_count = np.add.reduceat(self.triple_count, first)
        self.context_types = np.diff(np.append(first, len(self.triples)))
        # Continuation counts: how many different tokens precede vw, .v., and .w.
        self.pairs, self.pair_count = np.unique(self.triples % vocab_size**2, return_counts=True)
        middles, lasts = self.pairs // vocab_size, self.pairs % vocab_size
        self.middle_count = np.bincount(middles, self.pair_count, vocab_size)
        self.middle_types = np.bincount(middles, minlength=vocab_size)
        self.last_types = np.bincount(lasts, minlength=vocab_size)
        self.triple_discount = discount(self.triple_count)
        self.pair_discount = discount(self.pair_count)

    def nats(self, tokens_T: np.ndarray) -> np.ndarray:
        """-log p of every token but the first two, which are context only: [T - 2]."""
        codes = tokens_T.astype(np.int64)
        return -np.log(self._probability(codes[:-2], codes[1:-1], codes[2:]))

    def _probability(self, u: np.ndarray, v: np.ndarray, w: np.ndarray) -> np.ndarray:
        size = self.vocab_size
        single = (self.last_types[w] + 1) / (self.last_types.sum() + size)
        pair = _interpolate(
            _look_up(self.pairs, self.pair_count, v * size + w),
            self.middle_count[v], self.middle_types[v], self.pair_discount, single,
        )  # fmt: skip
        context = u * size + v
        return _interpolate(
            _look_up(self.triples, self.triple_count, context * size + w),
            _look_up(self.contexts, self.context_count, context),
            _look_up(self.contexts, self.context_types, context), self.triple_discount, pair,
        )  # fmt: skip


def discount(counts: np.ndarray) -> float:
    """n1 / (n1 + 2 n2); 1 where nothing was counted once or twice."""
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    return once / (once + 2 * twice) if once else 1.0


def _look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The values of `wanted` keys; 0 for keys that are not there. `keys` is sorted."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)


def _interpolate(
    count: np.ndarray, total: np.ndarray, types: np.ndarray, taken: float, lower: np.ndarray
) -> np.ndarray:
    """The discounted share of `count`, and what was taken off shared out as the lower order is."""
    safe = np.maximum(total, 1)
    higher = np.maximum(count - taken, 0) / safe + taken * types / safe * lower
    return np.where(total > 0, higher, lower)
