"""Selectors that read tokens and text: by hand, and against slow references."""

import math
import re

import numpy as np
import pytest

from calib_sweep.dataset.selector.at_random import AtRandom
from calib_sweep.dataset.selector.coverage import TokenCoverage
from calib_sweep.dataset.selector.dedup import Deduplicated
from calib_sweep.dataset.selector.zipf import ZipfWords
from calib_sweep.errors import ConfigError

ALL = {
    "random": AtRandom(name="random", pool_size=None),
    "zipf": ZipfWords(name="zipf", pool_size=None),
    "coverage": TokenCoverage(name="coverage", pool_size=None),
    "dedup": Deduplicated(name="dedup", pool_size=None, threshold=0.8),
}


@pytest.fixture
def mixed(pool_of):
    """Forty candidates of 5 to 60 tokens out of a vocabulary with frequent and rare ones."""
    generator = np.random.default_rng(1)
    rows = [10 + generator.zipf(1.3, size=n) % 300 for n in generator.integers(5, 60, size=40)]
    return pool_of(rows, texts=[" ".join(f"w{i}" for i in row) for row in rows])


@pytest.mark.parametrize("name", ALL)
def test_more_samples_begin_with_the_same_ones_and_all_are_different(name, mixed):
    few, many = (np.asarray(ALL[name].select(mixed, n).chosen).tolist() for n in (6, 25))
    assert many[:6] == few and len(set(many)) == 25


def test_a_random_choice_belongs_to_dataset_and_seed(pool_of):
    rows = [[i] for i in range(50)]
    chosen = [tuple(ALL["random"].select(pool_of(rows, seed=s), 10).chosen) for s in (0, 0, 1, 2)]
    assert chosen[0] == chosen[1] and len(set(chosen)) == 3
    counts = np.zeros(50)
    for seed in range(300):
        counts[ALL["random"].select(pool_of(rows, seed=seed), 10).chosen] += 1
    assert counts.min() > 30 and counts.max() < 95  # 60 on average, with an SD of 6.9


def test_rare_words_by_hand(pool_of):
    """the: 4 times; cat, sat: 2; dog, ran: 1."""
    texts = ["The cat sat. The...", "the dog ran", "THE-cat_sat", "!?"]
    selection = ALL["zipf"].select(pool_of([[1]] * 4, texts=texts), 3)
    assert selection.scores_C.tolist() == pytest.approx([1.25, 2.25, 1.25, 0])
    assert selection.chosen.tolist() == [1, 0, 2]


def test_rare_words_against_a_slow_reference(mixed):
    words = [re.sub(r"[\W_]", " ", text.lower()).split() for text in mixed.texts]
    everything = [word for own in words for word in own]
    scores = []
    for own in words:
        seen, score = [], 0.0
        for word in own:
            if word not in seen:
                seen.append(word)
                score += 1 / everything.count(word)
        scores.append(score)
    selection = ALL["zipf"].select(mixed, 12)
    assert selection.scores_C == pytest.approx(scores)
    assert selection.chosen.tolist() == sorted(range(40), key=lambda i: (-scores[i], i))[:12]


def test_coverage_by_hand(pool_of):
    rows = [[1, 2, 3, 3, 3, 3], [4, 5], [1, 2, 3, 4], [5, 6, 6], [6]]
    selection = ALL["coverage"].select(pool_of(rows), 2)
    assert selection.chosen == [2, 3] and selection.notes["gains"] == [4, 2]
    assert selection.notes["tokens_covered"] == selection.notes["tokens_of_pool"] == 6
    assert selection.scores_C.tolist() == [3, 2, 4, 2, 1]


def test_coverage_begins_anew_when_nothing_is_left_to_cover(pool_of):
    """All six tokens after two; then again 3 of the first row, 4 and 5, 6."""
    rows = [[1, 2, 3], [4, 5], [1, 2, 3, 4], [5, 6], [6]]
    selection = ALL["coverage"].select(pool_of(rows), 5)
    assert selection.chosen == [2, 3, 0, 1, 4] and selection.notes["gains"] == [4, 2, 3, 2, 1]


def covered_slowly(rows, num):
    """Greedy coverage with sets, looked at all over again for each choice."""
    free, chosen, have = list(range(len(rows))), [], set()
    while len(chosen) < num:
        gains = [len(set(rows[i]) - have) for i in free]
        if max(gains) == 0:
            have = set()
            continue
        best = free[gains.index(max(gains))]
        chosen.append(best)
        free.remove(best)
        have |= set(rows[best])
    return chosen


@pytest.mark.parametrize("num", [1, 7, 30, 40])
def test_coverage_against_a_slow_reference(num, mixed):
    rows = [row.tolist() for row in mixed.rows]
    assert ALL["coverage"].select(mixed, num).chosen == covered_slowly(rows, num)


def test_near_duplicates_of_what_is_kept_are_dropped(pool_of):
    generator = np.random.default_rng(0)
    one, two, three = generator.integers(10, 4000, size=(3, 200))
    nearly = one.copy()
    nearly[100] = 7  # 5 of 196 runs are others: 191 / 201 = 0.95
    pool = pool_of([one, two, nearly, one, three])
    selection = ALL["dedup"].select(pool, 3)
    assert selection.chosen == [0, 1, 4] and selection.notes["dropped"] == 2
    assert selection.scores_C[[0, 1, 4]].max() == 0 and selection.scores_C[3] == 1
    assert selection.scores_C[2] == pytest.approx(191 / 201, abs=4 * math.sqrt(0.05 * 0.95 / 128))
    strict = Deduplicated(name="dedup", pool_size=None, threshold=1.0)
    assert strict.select(pool, 4).chosen == [0, 1, 2, 4]


def test_too_many_near_duplicates_are_told(pool_of):
    pool = pool_of([list(range(10, 40))] * 3 + [list(range(50, 90))])
    with pytest.raises(ConfigError, match=r"threshold=0\.8: .*of 4 candidates 2 are left\. Raise"):
        ALL["dedup"].select(pool, 3)


@pytest.mark.parametrize("threshold", [0, 1.1, "high", True, None])
def test_a_threshold_that_is_none_is_refused(threshold):
    with pytest.raises(ConfigError, match=r"dataset\.selector\.threshold="):
        Deduplicated(name="dedup", pool_size=None, threshold=threshold)
