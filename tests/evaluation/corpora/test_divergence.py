import math

import numpy as np
import pytest
import torch

from calib_sweep.errors import ConfigError
from calib_sweep.evaluation.corpora.divergence import (
    QUANTILES,
    Comparison,
    Divergence,
    Kept,
    flips,
    kl,
    likeliest,
)
from calib_sweep.evaluation.reference import DenseReference
from calib_sweep.evaluation.windows import Windows, is_new


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


def reference_of(dense_PV, label="x@5"):
    kept = Kept()
    kept.take(slice(0, 3), dense_PV[:3])
    kept.take(slice(3, len(dense_PV)), dense_PV[3:])
    log_probs, top = kept.together()
    return DenseReference(log_probs={label: log_probs}, top={label: top}, correct={}, hashes={})


def test_percentiles_and_the_same_top_token_are_over_positions():
    generator = torch.Generator().manual_seed(0)
    dense_PV = torch.randn(8, 6, generator=generator).log_softmax(-1)
    other_PV = torch.randn(8, 6, generator=generator).log_softmax(-1)
    windows = Windows.whole("x@5", np.zeros((2, 5), dtype=np.int64))
    compared = Comparison(reference_of(dense_PV), windows, 8)
    compared.take(slice(0, 5), other_PV[:5])
    compared.take(slice(5, 8), other_PV[5:])
    found = compared.scores()
    exact = sorted((dense_PV.exp() * (dense_PV - other_PV)).sum(-1).tolist())
    # Of 8 values the median is between the fourth and the fifth; 0.99 * 7 = 6.93.
    assert found["kl_median"] == (pytest.approx((exact[3] + exact[4]) / 2, rel=1e-3), None)
    assert found["kl_p99"][0] == pytest.approx(0.07 * exact[6] + 0.93 * exact[7], rel=1e-3)
    assert found["kl_p999"][0] == pytest.approx(0.007 * exact[6] + 0.993 * exact[7], rel=1e-3)
    same = dense_PV.argmax(-1) == other_PV.argmax(-1)
    assert 0 < int(same.sum()) < 8
    assert found["same_top"][0] == float(same.float().mean())
    assert found["same_top"][1] is not None and found["kl"][1] is not None
    assert set(found) == {"kl", "same_top", *QUANTILES}


def test_the_top_token_is_the_one_before_rounding():
    # The two likeliest tokens are one in float16; the second is the likeliest.
    dense_PV = torch.tensor([[-1.0, -0.99999, -3.0]]).repeat(4, 1).log_softmax(-1)
    assert len(set(dense_PV[0, :2].half().tolist())) == 1
    windows = Windows.whole("x@5", np.zeros((1, 5), dtype=np.int64))
    compared = Comparison(reference_of(dense_PV), windows, 4)
    compared.take(slice(0, 4), dense_PV)
    assert compared.scores()["same_top"][0] == 1.0


def test_of_equally_likely_tokens_the_first_counts_and_no_number_is_above_all():
    log_probs_PV = torch.tensor([[-2.0, -1.0, -1.0], [-1.0, math.nan, -0.5], [-1.0, -1.0, -1.0]])
    assert likeliest(log_probs_PV).tolist() == [1, 1, 0]
    assert likeliest(log_probs_PV).tolist() == log_probs_PV.argmax(-1).tolist()


def test_positions_of_overlapping_windows_are_one_text():
    """With a stride of 1 a window scores one token: runs go on over windows."""
    tokens_NT = np.zeros((300, 5), dtype=np.int64)
    windows = Windows("x@5", tokens_NT, is_new(tokens_NT, 1))
    kl_P = np.random.Generator(np.random.PCG64(1)).gamma(1.0, size=303)
    compared = Comparison(reference_of(torch.zeros(4, 2)), windows, 303)
    compared.kl_P[:], compared.is_same_P[:] = kl_P, 1.0
    parts = [kl_P[start : start + 4] for start in range(0, 303, 4)]
    residuals = [part.sum() - kl_P.mean() * len(part) for part in parts]
    num = len(parts)
    error = math.sqrt(num / (num - 1) * sum(r**2 for r in residuals)) / 303
    assert compared.scores()["kl"] == (pytest.approx(kl_P.mean()), pytest.approx(error))


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
