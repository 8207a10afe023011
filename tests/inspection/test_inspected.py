"""What is told of several sets, counted by hand."""

import numpy as np
import pytest
from helpers.sets import make_set
from helpers.words import ids_of

from calib_sweep.inspection.inspected import inspect_sets

OWN = [ids_of(100 * k, 60) for k in range(4)]
NEARLY = [*OWN[1][:58], 4000, 4001]  # 54 of 56 runs of five are those of sample 1


@pytest.fixture(scope="module")
def inspection():
    one = make_set([OWN[0], OWN[1], OWN[0], NEARLY], names=list("abcd"))
    other = make_set([OWN[2], OWN[1], OWN[3]], names=list("xbz"))
    return inspect_sets({"one": one, "other": other})


def test_equal_and_nearly_equal_samples_inside_a_set(inspection):
    one, other = inspection.sets
    assert one.duplicates == [[0, 2]]
    assert [(pair.one, pair.other) for pair in one.near] == [(1, 3)]
    assert [(found.sample, found.reasons[0][:14]) for found in one.unusual[:2]] == [
        (2, "the same token"),
        (3, f"about {100 * one.near[0].likeness:.0f} % the"),
    ]
    assert other.duplicates == other.near == []


def test_what_two_sets_share(inspection):
    (pair,) = inspection.shared
    assert (pair.one, pair.other, pair.documents, pair.near) == ("one", "other", 1, 2)
    # Of each sample 11 windows of 50; the nearly equal one has 2 of its own, and 9 of sample 1's.
    assert pair.windows == pytest.approx((11 / 24, 11 / 33))


def test_numbers_of_a_set_and_its_perplexity():
    """exp of the mean over 1 and 3 tokens with a context of ln 2 and ln 8: 2 ** (10 / 4)."""
    one = make_set([[7, 8, 0, 0], [7, 7, 8, 9]], lengths=[2, 4])
    (found,) = inspect_sets({"one": one}, {"one": np.array([2.0, 8.0])}).sets
    assert found.numbers["dense_perplexity"] == pytest.approx(2**2.5)
    assert found.numbers["repetition"] == pytest.approx((0 + 1 / 4) / 2)
    assert found.numbers["diversity 2"] == 3 / 4
    assert found.numbers["coverage"] is None  # nobody told the tokenizer
    assert found.described["perplexity"].tolist() == [2.0, 8.0]
    nothing = inspect_sets({"one": one}, {"one": np.array([np.nan, np.nan])})
    assert "dense_perplexity" not in nothing.sets[0].numbers
