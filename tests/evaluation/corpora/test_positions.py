import math

import numpy as np
import pytest

from calib_sweep.evaluation.corpora.positions import RUN, mean_of, runs


def test_the_error_of_the_mean_is_over_runs_inside_windows():
    # Windows of RUN + 2 tokens: each is a run of RUN positions and one of a single position.
    parts = [np.full(RUN, 1.0), np.array([3.0]), np.full(RUN, 2.0), np.array([0.0])]
    mean, error = mean_of(runs([np.concatenate(parts[:2]), np.concatenate(parts[2:])]))
    by_hand = (RUN * 1 + 3 + RUN * 2 + 0) / (2 * RUN + 2)
    assert mean == pytest.approx(by_hand)
    residuals = [part.sum() - by_hand * len(part) for part in parts]
    assert error == pytest.approx(math.sqrt(4 / 3 * sum(r**2 for r in residuals)) / (2 * RUN + 2))


def test_parts_of_equal_length_have_the_error_of_their_means():
    parts = [np.array([1.0, 3.0]), np.array([4.0, 4.0]), np.array([0.0, 9.0])]
    means = [2.0, 4.0, 4.5]
    error = np.std(means, ddof=1) / math.sqrt(3)
    assert mean_of(parts) == (pytest.approx(3.5), pytest.approx(error))


def test_a_single_part_has_no_standard_error():
    assert mean_of(runs([np.array([0.5, 1.5]), np.array([])])) == (1.0, None)


def test_a_ruined_model_has_a_mean_and_raises_nothing():
    mean, error = mean_of([np.array([math.inf]), np.array([1.0])])
    assert mean == math.inf and error is not None and math.isnan(error)


def test_the_standard_error_covers_as_often_as_it_says():
    draw = np.random.Generator(np.random.PCG64(5))
    inside = 0
    for _ in range(400):
        # Positions of a run share half of their variation: the worst case that runs can absorb.
        parts = 1.0 + draw.normal(size=(40, 1)) + draw.normal(size=(40, RUN))
        mean, error = mean_of(list(parts))
        inside += abs(mean - 1.0) < 1.96 * error
    assert 0.90 < inside / 400 < 0.98
