"""Pairs of what two models see, on a GPU: cross moments by tensor cores, the kernel that pulls.

pytest -m gpu -n 0
"""

from dataclasses import replace

import pytest
import torch
from helpers.shipped import METHODS

from calib_sweep.method import compensation
from calib_sweep.method.gpu import cuda_graphs
from calib_sweep.method.gpu.precision import allow_tensor_cores
from calib_sweep.method.statistics.cross_hessian import CrossHessian, UpperCrossHessian

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
WHOLE = {"alpha": 0.25, "rescomp": 0.25, "foem": 0.2}
SETTINGS = {
    "gptaq": {},
    "in order": {"act_order": True, "group_size": 64, "static_groups": True},
    "all": WHOLE,
    "all clipped": {**WHOLE, "beyond": "clipped", "bits": 3},
    "foem alone": {"alpha": 0, "foem": 0.2},
    "nvfp4": {"format": "nvfp4", **WHOLE},
    "fp8 clipped": {"format": "fp8", "bits": 8, "rescomp": 0.25, "beyond": "clipped"},
}


def pair(num_tokens, num_in, dtype=torch.float32):
    """What is seen, and what the dense model saw: mostly the same, sometimes far away."""
    generator = torch.Generator("cuda").manual_seed(0)
    seen = torch.randn(num_tokens, num_in, generator=generator, device="cuda")
    change = 0.1 * torch.randn(num_tokens, num_in, generator=generator, device="cuda") ** 3
    return (seen + change + 0.1 * seen.flip(1)).to(dtype), seen.to(dtype)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", [CrossHessian, UpperCrossHessian])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("num_tokens", "num_in"), [(16384, 512), (100, 200), (1, 33)])
def test_tensor_cores_sum_cross_moments_nearly_as_well_as_float32_does(
    dtype, num_tokens, num_in, kind, weighted
):
    dense, seen = pair(num_tokens, num_in, dtype)
    weights = torch.full((num_tokens,), 0.5, device="cuda") if weighted else None
    exact = 2 * (dense.double() - seen.double()).T @ seen.double() * (0.5 if weighted else 1)
    statistic = kind(num_in, "cuda")
    with allow_tensor_cores(True):
        statistic.add_pair(dense, seen, 1, weights)
    single = weighted and num_tokens == 1  # too few of one weight to be summed first
    assert statistic.products == ("float32" if single else "tensor cores")
    found = statistic.cross_II().double()
    if kind is UpperCrossHessian:
        found, exact = found.triu(1), exact.triu(1)
    # A difference that is no half-precision number is rounded to one, by half of its last digit.
    assert (found - exact).norm() / exact.norm() < torch.finfo(dtype).eps / 4
    statistic = kind(num_in, "cuda")
    with allow_tensor_cores(True):
        statistic.add_pair(seen, seen)
    assert not bool(statistic.cross_II().any())


@pytest.mark.parametrize("name", SETTINGS)
def test_the_kernel_pulls_columns_as_the_plain_loop_does(name, monkeypatch):
    method = replace(METHODS["gptaq"], **SETTINGS[name])
    dense, seen = pair(2000, 640)
    seen[:, 5] = 0
    statistic = method.statistic(640, "cuda")
    statistic.add_pair(dense, seen)
    weight = torch.randn(192, 640, generator=torch.Generator().manual_seed(0)).cuda()
    cuda_graphs._recordings.clear()
    got = method.compress_weight(weight, statistic)
    assert not cuda_graphs._recordings
    monkeypatch.setattr(compensation, "has_kernels", lambda tensor: False)
    plain = [method.compress_weight(weight, statistic) for _ in range(3)]
    assert any(cuda_graphs._recordings.values())
    for again in plain[1:]:
        assert torch.equal(again.weight_OI, plain[0].weight_OI)
    close = torch.isclose(got.weight_OI, plain[0].weight_OI, rtol=1e-4, atol=1e-5)
    assert close.double().mean() > 0.97  # a tie that falls the other way moves the rest of its row
    assert (got.bits, got.damping, got.note) == (plain[0].bits, plain[0].damping, plain[0].note)
