"""Functions of torch and scipy of which their own types say nothing, with types."""

# pyright: basic

from collections.abc import Sequence

import torch
from torch import Tensor


def unflatten(value: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Split one axis into several; -1: as long as it must be."""
    return value.unflatten(dim, sizes)


def vector_norm(value: Tensor, dim: int) -> Tensor:
    """Return Euclidean norms along an axis, summed in float32."""
    return torch.linalg.vector_norm(value, dim=dim, dtype=torch.float32)


def cholesky(matrix_II: Tensor) -> tuple[Tensor, Tensor]:
    """Return the lower factor, and not 0 where the matrix is not positive definite."""
    return torch.linalg.cholesky_ex(matrix_II)


def solve_upper(upper_II: Tensor, right_IR: Tensor) -> Tensor:
    """Return X of upper X = right."""
    return torch.linalg.solve_triangular(upper_II, right_IR, upper=True)


def eigenvalues(symmetric_II: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues in ascending order, and one eigenvector per column."""
    return torch.linalg.eigh(symmetric_II)


def best_assignment(value_GG: Tensor) -> Tensor:
    """Return the column of each row, all different, by which the chosen values sum to the most."""
    from scipy.optimize import linear_sum_assignment  # a third of a second, for one method

    chosen_G = linear_sum_assignment(value_GG.double().cpu().numpy(), maximize=True)[1]
    return torch.from_numpy(chosen_G)
