"""The trigram model: equal to its formulas, counted slowly, and a probability in every context."""

import math
from collections import Counter, defaultdict
from types import SimpleNamespace

import numpy as np
import pytest

from calib_sweep.miniature.acceptance.measure import counted_perplexity
from calib_sweep.miniature.acceptance.trigram import Trigram, discount


def slow_probability(counted: list[int], size: int, u: int, v: int, w: int) -> float:
    """The formulas of the header with dictionaries, one token at a time."""
    triples = Counter(zip(counted, counted[1:], counted[2:], strict=False))
    before = defaultdict(set)  # of vw: the tokens that precede it
    for x, y, z in triples:
        before[y, z].add(x)
    pairs = {pair: len(tokens) for pair, tokens in before.items()}

    def estimated(counts: list[int]) -> float:
        once, twice = counts.count(1), counts.count(2)
        return once / (once + 2 * twice)

    endings = [z for _, z in pairs]
    p = (endings.count(w) + 1) / (len(endings) + size)
    of_v = {z: count for (y, z), count in pairs.items() if y == v}
    if of_v:
        d2, total = estimated(list(pairs.values())), sum(of_v.values())
        p = max(of_v.get(w, 0) - d2, 0) / total + d2 * len(of_v) / total * p
    of_uv = {z: count for (x, y, z), count in triples.items() if (x, y) == (u, v)}
    if of_uv:
        d3, total = estimated(list(triples.values())), sum(of_uv.values())
        p = max(of_uv.get(w, 0) - d3, 0) / total + d3 * len(of_uv) / total * p
    return p


def test_probabilities_are_those_counted_slowly() -> None:
    draw = np.random.default_rng(0)
    counted_T, scored_T = (draw.zipf(1.6, size).clip(max=12) - 1 for size in (400, 80))
    nats = Trigram(counted_T, vocab_size=12).nats(scored_T)
    scored = scored_T.tolist()
    slow = [
        -math.log(slow_probability(counted_T.tolist(), 12, *scored[place : place + 3]))
        for place in range(len(scored) - 2)
    ]
    assert nats == pytest.approx(slow)


def test_probabilities_are_those_worked_out_by_hand() -> None:
    # 0 1 2 0 1 0 0 1 2: trigrams 012 twice, 120, 201, 010, 100, 001 once: d3 = 5 / (5 + 2).
    # Before 01 came 2 and 0, before 12, 20, 10, 00 one token each: d2 = 4 / (4 + 2).
    trigram = Trigram(np.array([0, 1, 2, 0, 1, 0, 0, 1, 2]), vocab_size=3)
    d3, d2 = 5 / 7, 4 / 6
    single_2 = (1 + 1) / (5 + 3)  # 2 ends one of five pairs
    pair_12 = (1 - d2) / 2 + d2 * 2 / 2 * single_2  # after 1 came 2 and 0
    triple_012 = (2 - d3) / 3 + d3 * 2 / 3 * pair_12  # after 01 came 2 twice and 0 once
    assert trigram.nats(np.array([0, 1, 2])) == pytest.approx(-math.log(triple_012))
    pair_22 = d2 * 1 / 1 * single_2  # 22 was never a context: the lower orders alone decide
    assert trigram.nats(np.array([2, 2, 2])) == pytest.approx(-math.log(pair_22))


def test_probabilities_sum_to_one_in_every_context() -> None:
    trigram = Trigram(np.random.default_rng(0).integers(0, 5, 60), vocab_size=5)
    for u in range(5):
        for v in range(5):
            total = sum(np.exp(-trigram.nats(np.array([u, v, w]))).item() for w in range(5))
            assert math.isclose(total, 1.0, rel_tol=1e-9)


def test_the_discount_is_neys_estimate() -> None:
    assert discount(np.array([1, 1, 1, 2, 5])) == 3 / 5
    assert discount(np.array([2, 2, 7])) == 1.0


def test_the_same_tokens_are_scored_as_of_the_model() -> None:
    asked = []

    class Asked:
        def nats(self, tokens_T: np.ndarray) -> np.ndarray:
            """One nat for each token, a hundred for the first of a window."""
            asked.append(tokens_T.tolist())
            return np.where(tokens_T[2:] == 9, 100.0, 1.0)

    windows = SimpleNamespace(tokens_NT=np.array([[9, 1, 2, 3], [9, 4, 5, 6]]), seq_len=4)
    perplexity = counted_perplexity(Asked(), windows)  # type: ignore[arg-type]
    assert perplexity == pytest.approx(math.e)
    assert asked == [[9, 1, 2, 3, 9, 4, 5, 6]]
