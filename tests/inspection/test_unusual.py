"""Unusual samples: in order, each with its reasons."""

import numpy as np
import pytest

from calib_sweep.inspection.samples import find_outliers
from calib_sweep.inspection.shared import Pair
from calib_sweep.inspection.unusual import find_unusual

LENGTHS = np.array([10.0, 11, 12, 13, 9, 12, 100, 11])
SHARES = np.array([0.5, 0.5, 0.51, 0.52, 0.49, 0.5, 0.1, 0.51])


def test_scored_samples_come_first_equal_ones_then_nearly_equal_ones_then_by_distance():
    described = {"length": LENGTHS, "unique_share": SHARES}
    languages = ["en"] * 7 + ["de"]
    held = {4: ["boolq", "ptb@64"]}
    first, *found = find_unusual(described, languages, [[0, 3]], [Pair(1, 2, 0.9)], held)
    assert (first.sample, first.reasons) == (4, ["most of it stands in boolq, ptb@64"])
    assert [one.sample for one in found] == [3, 2, 6, 7]
    assert found[0].reasons == ["the same tokens as sample 0"]
    assert found[1].reasons == ["about 90 % the same as sample 1"]
    assert found[3].reasons == ["in another language than most (de, not en)"]
    long, few = found[2].reasons  # 11.5 and 0.5 in the middle, their spreads 1 and 0.01
    assert long == f"long (length 100, median 11.5, z {88.5 * 0.6745:+.1f})"
    assert few == f"few different tokens (unique_share 0.1, median 0.5, z {-0.4 * 67.45:+.1f})"
    assert found[2].rank == pytest.approx(88.5 * 0.6745)


def test_a_set_in_many_languages_has_none_that_is_unusual():
    flat = {"length": np.full(4, 7.0)}
    assert find_unusual(flat, ["en", "de", "fr", "en"], [], []) == []


def test_of_perplexities_factors_count_and_what_is_none_stands_out_nowhere():
    value_N = np.array([4.0, 8.0, 16.0, 32.0, 64.0, np.nan])
    assert find_outliers({"perplexity": value_N}) == []
    ((sample, name, value, z),) = find_outliers({"perplexity": np.append(value_N, 4.0**20)})
    assert (sample, name, value) == (6, "perplexity", 4.0**20)
    middle, spread = 4.5, 1.5  # of the exponents 2 to 6 and 40
    assert z == pytest.approx(0.6745 * (40 - middle) / spread)
    assert find_outliers({"perplexity": np.full(3, np.nan)}) == []
