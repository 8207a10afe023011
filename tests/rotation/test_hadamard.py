"""Hadamard matrices: rows at right angles, of every size that is said to be known."""

from functools import reduce

import pytest
import torch

from calib_sweep.rotation.hadamard import factors_of, paley, sylvester, times

# Hidden sizes, inner sizes and numbers of heads of published models, among them all that QuaRot
# lists a matrix for, times powers of two; 52 and 344 rest on fields of 25 and 343 elements.
SIZES = [1, 2, 4, 12, 14 * 64, 20, 28, 32, 36, 40, 44, 52, 60, 76, 96, 108, 140, 148, 180, 344]
LARGE = [2304, 2880, 4096, 5120, 6656, 8960, 11008, 13824, 14336, 17920, 18944, 19968, 27648, 29568]


def whole(factors):
    one = torch.ones(1, 1, dtype=torch.float64)
    return reduce(torch.kron, factors, one)


@pytest.mark.parametrize("size", SIZES)
def test_a_product_of_factors_is_a_hadamard_matrix_and_vectors_are_multiplied_by_it(size):
    factors = factors_of(size)
    matrix = whole(factors)
    assert matrix.shape == (size, size) and bool((matrix.abs() == 1).all())
    assert torch.equal(matrix.T @ matrix, size * torch.eye(size, dtype=torch.float64))
    x = torch.randn(3, 2, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(times(x, factors), x @ matrix / size**0.5)


@pytest.mark.parametrize("size", LARGE)
def test_large_sizes_are_made_of_small_factors(size):
    factors = factors_of(size)
    assert len(whole([torch.ones(len(factor), 1) for factor in factors])) == size
    for factor in factors:
        gram = factor.T @ factor
        assert torch.equal(gram, len(factor) * torch.eye(len(factor), dtype=torch.float64))
        assert bool((factor.abs() == 1).all()) and len(factor) < 1000


def test_the_smallest_matrices_by_hand():
    """q = 3: of 1 and 2 only 1 is a square, so chi is 1 at a - b = 1, -1 at 2."""
    assert paley(4).tolist() == [[1, 1, 1, 1], [-1, 1, -1, 1], [-1, 1, 1, -1], [-1, -1, 1, 1]]
    rows = [[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]
    assert sylvester(4).tolist() == rows


@pytest.mark.parametrize("size", [3, 6, 10, 92, 172, 2 * 77])
def test_where_no_construction_is_known_there_is_none(size):
    assert factors_of(size) is None


def test_a_product_keeps_lengths_in_single_precision():
    x = torch.randn(5, 11008, generator=torch.Generator().manual_seed(0))
    y = times(x, factors_of(11008))
    assert y.dtype == torch.float32
    torch.testing.assert_close(y.norm(dim=1), x.norm(dim=1), rtol=1e-6, atol=0)
