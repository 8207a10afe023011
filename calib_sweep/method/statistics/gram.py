"""Products with symmetric or triangular matrices, at a half or a third of what full ones cost.

    add_gram       P += X^T X: panels of rows from their diagonal block on, mirrored below it
    form_of_rows   sum over o of W[o] P W[o]^T: as many products, what lies above the diagonal twice
    add_product    P += X^T Y, or of it what lies above the diagonal, and the blocks on it
    pull           striu(A U^T) U for an upper triangular U; A below its diagonal is not read

Matrices of up to `PANEL` features are one panel, and the products are the plain ones.

Shapes: T = tokens, O = out_features, I = in_features.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

PANEL = 512  # features: wide enough for the full speed of a matrix product


def add_gram(product_II: Tensor, inputs_TI: Tensor) -> None:
    """Add X^T X to a symmetric matrix in place."""
    for start, stop in _panels(len(product_II)):
        panel_TP = inputs_TI[:, start:stop]
        product_II[start:stop, start:].addmm_(panel_TP.T, inputs_TI[:, start:])
        product_II[stop:, start:stop] = product_II[start:stop, stop:].T


def form_of_rows(weight_OI: Tensor, product_II: Tensor) -> float:
    """tr(W P W^T) for a symmetric P."""
    total = torch.zeros((), dtype=torch.float64, device=weight_OI.device)
    for start, stop in _panels(len(product_II)):
        part_OI = weight_OI[:, start:stop] @ product_II[start:stop, start:]
        part_OI *= weight_OI[:, start:]
        width = stop - start
        total += part_OI[:, :width].sum(dtype=torch.float64)
        total += 2 * part_OI[:, width:].sum(dtype=torch.float64)
    return float(total)


def add_product(product_II: Tensor, left_TI: Tensor, right_TI: Tensor, *, whole: bool) -> None:
    """Add X^T Y to a matrix in place; not `whole`: only from the diagonal blocks on."""
    if whole:
        product_II.addmm_(left_TI.T, right_TI)
        return
    for start, stop in _panels(len(product_II)):
        product_II[start:stop, start:].addmm_(left_TI[:, start:stop].T, right_TI[:, start:])


def pull(matrix_II: Tensor, upper_II: Tensor) -> Tensor:
    """striu(A U^T) U, strictly upper triangular; striu: what lies above the diagonal."""
    pull_II = torch.zeros_like(matrix_II)
    for start, stop in _panels(len(matrix_II)):
        rest_RR = upper_II[start:, start:]
        part_PR = (matrix_II[start:stop, start:] @ rest_RR.T).triu_(1)
        torch.mm(part_PR, rest_RR, out=pull_II[start:stop, start:])
    return pull_II


def _panels(size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, size, PANEL):
        yield start, min(start + PANEL, size)
