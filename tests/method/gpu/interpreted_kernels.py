"""The Triton kernels against the plain code that they stand in for, in Triton's interpreter.

Run by test_kernels.py with TRITON_INTERPRET=1, which Triton reads when it is imported. The
interpreter cannot multiply bfloat16 matrices; tests/gpu does that.
"""

import pytest
import torch

from calib_sweep.method.column_solver import Pulled, solve_block
from calib_sweep.method.compensation import solve_pulled_block
from calib_sweep.method.gptq import Rounding
from calib_sweep.method.gpu import kernels
from calib_sweep.method.grids.floats import E2M1, E4M3
from calib_sweep.method.grids.grid import Integers


def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(("num_tokens", "num_in"), [(128, 128), (100, 200), (70, 300), (1, 3)])
def test_gram_adds_the_sum_of_products_to_both_triangles(num_tokens, num_in):
    inputs = torch.randn(num_tokens, num_in, generator=generator()).half()
    found = torch.randn(num_in, num_in, generator=generator())
    found = found + found.T
    expected = found.double() + inputs.double().T @ inputs.double()
    kernels.add_gram(found, inputs)
    assert torch.equal(found, found.T)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_gram_adds_a_multiple_of_the_sum_of_products():
    inputs = torch.randn(70, 200, generator=generator()).half()
    found = torch.ones(200, 200)
    kernels.add_gram(found, inputs, 0.375)
    expected = 1 + 0.375 * inputs.double().T @ inputs.double()
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_gram_does_not_overflow_as_half_precision_would():
    found = torch.zeros(2, 2)
    kernels.add_gram(found, torch.full((64, 2), 6e4, dtype=torch.float16))
    torch.testing.assert_close(found, torch.full((2, 2), 64 * 6e4**2))


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(("num_tokens", "num_in"), [(128, 128), (70, 300), (1, 3)])
def test_product_adds_a_multiple_of_the_sum_of_products_of_two(num_tokens, num_in, whole):
    left = torch.randn(num_tokens, num_in, generator=generator()).half()
    right = left.flip(1) * 0.5
    found = torch.randn(num_in, num_in, generator=generator())
    expected = found.double() + 0.375 * left.double().T @ right.double()
    before = found.clone()
    kernels.add_product(found, left, right, 0.375, whole=whole)
    if not whole:
        assert torch.equal(found[128:, :128], before[128:, :128])
        found, expected = found.triu(), expected.triu()
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("num_columns", "num_rows"), [(128, 40), (48, 33), (1, 1)])
def test_columns_are_rounded_as_gptq_rounds_them(num_columns, num_rows):
    draw = generator()
    weight = torch.randn(num_columns, num_rows, generator=draw)
    weight[0, 0] = 1e9  # far outside of its grid
    upper = 0.1 * torch.randn(num_columns, num_columns, generator=draw).triu(1)
    upper += torch.diag(1 + torch.rand(num_columns, generator=draw))
    scale = 0.1 + torch.rand(num_columns, num_rows, generator=draw)
    zero_point = torch.randint(0, 16, scale.shape, generator=draw).float()
    arguments = 15, scale, zero_point
    expected = solve_block(Rounding, num_columns, False, weight, upper, *arguments)
    rounded, error = kernels.round_columns(weight, upper, scale, zero_point, 15)
    torch.testing.assert_close(rounded, expected[0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(error, expected[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("to_floats", [False, True], ids=["integers", "floats"])
@pytest.mark.parametrize("beta", [0.0, 0.2])
@pytest.mark.parametrize("moves", [False, True])
def test_columns_are_pulled_as_gptaq_pulls_them(moves, beta, to_floats):
    draw, num_columns, num_rows = generator(), 48, 33
    weight = torch.randn(num_columns, num_rows, generator=draw)
    dense = weight + 0.3 * torch.randn(num_columns, num_rows, generator=draw)
    upper, moved = (
        0.1 * torch.randn(num_columns, num_columns, generator=draw).triu(1) for _ in range(2)
    )
    upper += torch.diag(1 + torch.rand(num_columns, generator=draw))
    scale = 0.1 + torch.rand(num_columns, num_rows, generator=draw)
    zero_point = None if to_floats else torch.randint(0, 16, scale.shape, generator=draw).float()
    rounding = (E2M1 if to_floats else Integers(bits=4)).rounding(scale, zero_point)
    pulled = Pulled(moved if moves else None, dense, beta)
    how = rounding.decision, beta, "clipped"
    matrices = weight, dense, upper, pulled.moved_BB, None
    expected = solve_pulled_block(*how, *matrices, *rounding.arguments)
    rounded, error, work = rounding.kernel(weight, upper, pulled)
    torch.testing.assert_close(rounded, expected[0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(error, expected[1], rtol=1e-4, atol=1e-5)
    low, high = rounding.decision(weight, *rounding.arguments).range_BO()
    torch.testing.assert_close(work.clamp(low, high), expected[2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("floats", [E2M1, E4M3], ids=["fp4", "fp8"])
@pytest.mark.parametrize(("num_columns", "num_rows"), [(48, 33), (1, 1)])
def test_columns_are_rounded_to_floats_as_gptq_rounds_them(num_columns, num_rows, floats):
    draw = generator()
    weight = floats.largest / 3 * torch.randn(num_columns, num_rows, generator=draw)
    weight[0, 0] = 1e9  # far outside of its grid
    upper = 0.1 * torch.randn(num_columns, num_columns, generator=draw).triu(1)
    upper += torch.diag(1 + torch.rand(num_columns, generator=draw))
    scale = 0.1 + torch.rand(num_columns, num_rows, generator=draw)
    rounding = floats.rounding(scale, None)
    how = rounding.decision, num_columns, False, weight, upper, *rounding.arguments
    expected = solve_block(*how)
    rounded, error = rounding.kernel(weight, upper)
    torch.testing.assert_close(rounded, expected[0], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(error, expected[1], rtol=1e-4, atol=1e-5)
