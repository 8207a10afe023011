"""Wanda: hand-computed cases, comparison groups, identities."""

import torch
from helpers.random_layers import norms
from torch import tensor

from calib_sweep.method.statistics.hessian import Hessian
from calib_sweep.method.statistics.input_norm import InputNorm
from calib_sweep.method.wanda import Wanda


def test_2_by_2_by_hand():
    statistic = norms(tensor([[3.0, 1.0], [4.0, 0.0]]))
    assert statistic.norm_I().tolist() == [5, 1]
    weight = tensor([[1.0, 2.0], [3.0, -1.0]])  # scores [[5, 2], [15, 1]]
    new = Wanda(sparsity=0.5, pattern="unstructured").compress_weight(weight, statistic)
    assert new.weight_OI.tolist() == [[1, 0], [3, 0]]
    assert new.note is None


def test_4_by_8_by_hand():
    statistic = norms(torch.diag(tensor([8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0])))
    weight = tensor(
        [
            [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],  # scores 8 7 6 5 | 4 3 2 1
            [1.0, -2.0, 3.0, -4.0, 5.0, -6.0, 7.0, -8.0],  # 8 14 18 20 | 20 18 14 8
            [0.0, 0.0, 0.0, 9.0, 9.0, 0.0, 0.0, 0.0],  # 0 0 0 45 | 36 0 0 0
            [-1.0, 2.0, -1.0, 2.0, -1.0, 2.0, -1.0, 2.0],  # 8 14 6 10 | 4 6 2 2
        ]
    )
    unstructured = Wanda(sparsity=0.5, pattern="unstructured").compress_weight(weight, statistic)
    assert unstructured.weight_OI.tolist() == [
        [1, 1, 1, 1, 0, 0, 0, 0],
        [0, 0, 3, -4, 5, -6, 0, 0],  # scores 8, 8, 14 and 14 go
        [0, 0, 0, 9, 9, 0, 0, 0],
        [-1, 2, 0, 2, 0, 2, 0, 0],  # scores 6 tie in columns 2 and 5: the lower goes
    ]
    pattern = Wanda(sparsity=0.5, pattern="2:4").compress_weight(weight, statistic)
    assert pattern.weight_OI.tolist() == [
        [1, 1, 0, 0, 1, 1, 0, 0],
        [0, 0, 3, -4, 5, -6, 0, 0],
        [0, 0, 0, 9, 9, 0, 0, 0],
        [0, 2, 0, 2, -1, 2, 0, 0],
    ]


def test_equal_input_norms_give_magnitude_pruning_per_row():
    weight = torch.randn(16, 24, generator=torch.Generator().manual_seed(0))
    new = Wanda(sparsity=0.25, pattern="unstructured").compress_weight(
        weight, norms(torch.full((5, 24), 0.3))
    )
    for row, new_row in zip(weight, new.weight_OI, strict=True):
        smallest = set(row.abs().argsort()[:6].tolist())
        assert {i for i in range(24) if new_row[i] == 0} == smallest


def test_sparsity_zero_removes_nothing():
    weight = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    new = Wanda(sparsity=0.0, pattern="unstructured").compress_weight(weight, norms(weight))
    assert torch.equal(new.weight_OI, weight)


def test_every_row_loses_the_same_number_whatever_its_scale():
    weight = torch.randn(8, 20, generator=torch.Generator().manual_seed(0))
    weight *= torch.logspace(-3, 3, 8).unsqueeze(1)
    new = Wanda(sparsity=0.33, pattern="unstructured").compress_weight(weight, norms(weight))
    assert (new.weight_OI == 0).sum(dim=1).tolist() == [6] * 8


def test_without_a_token_input_norms_count_as_equal_and_the_report_says_so():
    weight = tensor([[1.0, -3.0, 2.0, 4.0]])
    new = Wanda(sparsity=0.5, pattern="unstructured").compress_weight(weight, InputNorm(4))
    assert new.weight_OI.tolist() == [[0, -3, 0, 4]]
    assert new.note is not None and "no calibration token" in new.note


def test_half_precision_weights_are_scored_in_float32():
    weight = torch.full((1, 4), 300.0, dtype=torch.float16)
    statistic = norms(torch.diag(tensor([4e3, 3e3, 2e3, 1e3])))  # scores overflow float16
    new = Wanda(sparsity=0.5, pattern="unstructured").compress_weight(weight, statistic)
    assert new.weight_OI.dtype == torch.float16
    assert new.weight_OI.tolist() == [[300, 300, 0, 0]]


def test_the_norm_is_the_hessian_diagonal_halved():
    generator = torch.Generator().manual_seed(0)
    batches = [torch.randn(7, 5, generator=generator) for _ in range(3)]
    hessian = Hessian(5)
    for batch in batches:
        hessian.add(batch)
    torch.testing.assert_close(
        norms(*batches).norm_I().square(), hessian.hessian_II().diagonal() / 2
    )


def test_arguments_are_left_alone():
    weight = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    statistic, before = norms(weight), weight.clone()
    norm_before = statistic.norm_I().clone()
    for pattern in ("unstructured", "2:4"):
        Wanda(sparsity=0.5, pattern=pattern).compress_weight(weight, statistic)
    assert torch.equal(weight, before) and torch.equal(statistic.norm_I(), norm_before)
