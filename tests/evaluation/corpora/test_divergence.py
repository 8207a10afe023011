import math

import numpy as np
import pytest
import torch

from calib_sweep.errors import ConfigError
from calib_sweep.evaluation.corpora.divergence import RUN, Divergence, flips, kl, mean_kl


def log(*rows):
    return torch.tensor(rows, dtype=torch.float32).log()


def test_kl_by_hand():
    dense = log([0.5, 0.25, 0.25], [0.5, 0.25, 0.25])
    compressed = log([0.25, 0.25, 0.5], [0.5, 0.25, 0.25])
    by_hand = [0.5 * math.log(2) - 0.25 * math.log(2), 0.0]
    assert kl(dense.half(), compressed) == pytest.approx(by_hand, abs=1e-4)


def test_kl_is_of_the_compressed_model_seen_from_the_dense_one():
    dense, compressed = log([0.9, 0.1]), log([0.5, 0.5])
    forward = 0.9 * math.log(1.8) + 0.1 * math.log(0.2)
    assert kl(dense.half(), compressed)[0] == pytest.approx(forward, rel=1e-3)


def test_a_token_that_the_dense_model_rules_out_adds_nothing():
    dense, compressed = log([1.0, 0.0]), log([0.5, 0.5])
    assert kl(dense.half(), compressed)[0] == pytest.approx(math.log(2), rel=1e-6)
    assert kl(dense.half(), log([1.0, 0.0]))[0] == 0.0


@pytest.mark.parametrize("scale", [1, 3, 6])
def test_half_precision_leaves_the_rounding_floor_that_is_documented(scale):
    generator = torch.Generator().manual_seed(scale)
    dense = (scale * torch.randn(100, 2000, generator=generator)).log_softmax(-1)
    assert abs(kl(dense.half(), dense).mean()) < 2e-6
    near = (dense + 0.05 * torch.randn(100, 2000, generator=generator)).log_softmax(-1)
    exact = (dense.double().exp() * (dense.double() - near.double())).sum(-1).numpy()
    assert 3e-4 < exact.mean() < 3e-3
    assert abs(kl(dense.half(), near).mean() - exact.mean()) < 2e-6
    assert np.abs(kl(dense.half(), near) - exact).max() < 4e-5


def test_the_error_of_the_mean_is_over_runs_inside_windows():
    # Windows of RUN + 2 tokens: each is a run of RUN positions and one of a single position.
    runs = [np.full(RUN, 1.0), np.array([3.0]), np.full(RUN, 2.0), np.array([0.0])]
    mean, error = mean_kl([np.concatenate(runs[:2]), np.concatenate(runs[2:])])
    by_hand = (RUN * 1 + 3 + RUN * 2 + 0) / (2 * RUN + 2)
    assert mean == pytest.approx(by_hand)
    residuals = [run.sum() - by_hand * len(run) for run in runs]
    assert error == pytest.approx(math.sqrt(4 / 3 * sum(r**2 for r in residuals)) / (2 * RUN + 2))


def test_a_single_run_has_no_standard_error():
    assert mean_kl([np.array([0.5, 1.5]), np.array([])]) == (1.0, None)


def test_the_standard_error_covers_as_often_as_it_says():
    draw = np.random.Generator(np.random.PCG64(5))
    inside = 0
    for _ in range(400):
        # Positions of a run share half of their variation: the worst case that runs can absorb.
        runs = 1.0 + draw.normal(size=(40, 1)) + draw.normal(size=(40, RUN))
        mean, error = mean_kl(list(runs))
        inside += abs(mean - 1.0) < 1.96 * error
    assert 0.90 < inside / 400 < 0.98


def test_flips_count_both_ways():
    dense = np.array([1.0, 1.0, 0.0, 0.0, 1.0])
    share, error = flips(np.array([1.0, 0.0, 1.0, 0.0, 1.0]), dense)
    assert share == pytest.approx(0.4)  # accuracy is 3 of 5 both times
    assert error == pytest.approx(math.sqrt(0.4 * 0.6 / 4))
    assert flips(dense, dense) == (0.0, 0.0)


def test_one_item_has_no_standard_error():
    assert flips(np.array([1.0]), np.array([0.0])) == (1.0, None)


@pytest.mark.parametrize("num_tokens", [1, 0, 4096.0, True, "all"])
def test_a_bad_budget_is_named(num_tokens):
    with pytest.raises(ConfigError, match=r"evaluation.divergence.num_tokens=.*>= 2"):
        Divergence(num_tokens=num_tokens)
