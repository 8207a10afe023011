"""ZipCal: choose the samples that hold the most of the pool's rare words (Monaco et al. 2026).

    score of a sample = sum over its different words w of 1 / (how often w occurs in the pool)

A word is a run of letters and digits of the lower-cased text. The n samples of highest score are
chosen, highest first; equal ones count in the order of the pool. Long samples have more words, so
the score favours them where lengths differ.
"""

import math
import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from calib_sweep.dataset.selector.base import Pool, Selection, Selector

WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, kw_only=True)
class ZipfWords(Selector):
    """The samples with the most rare words."""

    def select(self, pool: Pool, num_samples: int) -> Selection:
        """Choose the n of highest score."""
        words = [WORD.findall(text.lower()) for text in pool.texts]
        count = Counter(word for own in words for word in own)
        # fsum is exact: a set of words has no order, and rounding must not depend on one.
        scores_C = np.array([math.fsum(1 / count[word] for word in set(own)) for own in words])
        best = np.argsort(-scores_C, kind="stable")
        return Selection(chosen=best[:num_samples], scores_C=scores_C)
