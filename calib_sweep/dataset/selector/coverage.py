"""Greedy maximum coverage: each sample chosen adds the most tokens that none before it has.

Different tokens count, not occurrences, and no padding. Of equal gains the first of the pool wins.
Once no candidate adds a token, all of the pool's are covered: then counting begins anew for the
samples that are still to be chosen. The greedy choice covers at least 1 - 1/e, 63 %, of what any n
samples can (Nemhauser et al. 1978), and more samples begin with the same ones.

Shapes: C candidates, E entries: pairs of a candidate and a token that it has.
"""

from dataclasses import dataclass

import numpy as np

from calib_sweep.dataset.selector.base import Pool, Selection, Selector


@dataclass(frozen=True, kw_only=True)
class TokenCoverage(Selector):
    """Samples that together hold as many different tokens as can be found greedily."""

    def select(self, pool: Pool, num_samples: int) -> Selection:
        """Choose one after another, by what each adds; scores are each candidate's own tokens."""
        own = [np.unique(row) for row in pool.rows]
        chosen, gains = greedy_cover(own, num_samples)
        covered = len(np.unique(np.concatenate([own[i] for i in chosen])))
        of_pool = len(np.unique(np.concatenate(own)))
        return Selection(
            chosen=chosen,
            scores_C=np.array([len(tokens) for tokens in own]),
            notes={"gains": gains, "tokens_covered": covered, "tokens_of_pool": of_pool},
        )


def greedy_cover(own: list[np.ndarray], num: int) -> tuple[list[int], list[int]]:
    """Return `num` candidates and what each added; `own`: the different tokens of each.

    Whenever tokens are covered, every candidate that has them loses as many from its gain: all
    steps together look at each entry once.
    """
    candidate_E = np.repeat(np.arange(len(own)), [len(tokens) for tokens in own])
    token_E = np.concatenate(own)
    order_E = np.argsort(token_E, kind="stable")
    having_E = candidate_E[order_E]  # the candidates of one token stand together
    distinct, starts = np.unique(token_E[order_E], return_index=True)
    ends = np.append(starts[1:], len(token_E))
    places = [np.searchsorted(distinct, tokens) for tokens in own]

    full_C = np.array([len(tokens) for tokens in own])
    gain_C, is_covered = full_C.copy(), np.zeros(len(distinct), dtype=bool)
    is_free_C = np.ones(len(own), dtype=bool)
    chosen: list[int] = []
    gains: list[int] = []
    while len(chosen) < num:
        best = int(np.argmax(np.where(is_free_C, gain_C, -1)))
        if gain_C[best] == 0 and is_covered.any():
            gain_C, is_covered = full_C.copy(), np.zeros(len(distinct), dtype=bool)
            continue
        chosen.append(best)
        gains.append(int(gain_C[best]))
        is_free_C[best] = False
        new = places[best][~is_covered[places[best]]]
        is_covered[new] = True
        lost = [having_E[starts[i] : ends[i]] for i in new]
        gain_C -= np.bincount(np.concatenate([[], *lost]).astype(np.int64), minlength=len(own))
    return chosen, gains
