"""Products with symmetric matrices, at little more than half of what full products cost.

    add_gram       P += X^T X: panels of rows from their diagonal block on, mirrored below it
    form_of_rows   sum over o of W[o] P W[o]^T: as many products, what lies above the diagonal twice

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


def _panels(size: int) -> Iterator[tuple[int, int]]:
    for start in range(0, size, PANEL):
        yield start, min(start + PANEL, size)
