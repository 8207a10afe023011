"""One solver for GPTQ, SparseGPT and SpQR: a column is decided, those to its right make up for it.

Frantar et al. 2022, arXiv:2210.17323, algorithm 1, whatever is decided; U^T U = H^-1, U upper:

    Q[o, i]  = what the method decides about W[o, i], updated so far        (`Decision.decide`)
    err[o]   = (W[o, i] - Q[o, i]) / U[i, i]
    W[o, j] -= err[o] * U[i, j]                                             for j > i

Updates are lazy: the columns of a block are solved one by one, and what lies to the right of the
block is updated at once, by a matrix product. `strip_length` does the same inside a block.
`divides_rows` divides row i of U by U[i, i] instead of the errors: once a block, not once a column.
Both move the last digit only.

On a GPU the loop over a block is one launch: a kernel where the decision has one, else the recorded
kernels of the plain loop (`cuda_graphs.py`).

Shapes: O = out_features, I = in_features, B = columns of a block.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from typing import NamedTuple

import torch
from torch import Tensor

from calib_sweep.method.gpu.cuda_graphs import as_one_launch
from calib_sweep.method.gpu.precision import has_kernels
from calib_sweep.method.statistics.hessian import InverseFactor


class Decision(ABC):
    """The decisions about the columns of one block, made one after the other.

    Made anew for every block, from hashable settings and from tensors. It is recorded where there
    is a GPU, so it never looks at a value. Columns are rows here: weight_BO[column] is one.
    """

    @abstractmethod
    def __init__(self, weight_BO: Tensor, *arguments: Hashable) -> None:
        """See the block before its first column is decided."""

    @abstractmethod
    def decide(self, column: int, weight_BO: Tensor, taken_O: Tensor) -> None:
        """Decide about `weight_BO[column]`; write into `taken_O` what is taken from it, W - Q."""

    @abstractmethod
    def new_BO(self, weight_BO: Tensor) -> Tensor:
        """Q of the block, once all is decided; `weight_BO`: W of a column when it was decided."""

    def range_BO(self) -> tuple[Tensor, Tensor]:
        """The least and the largest weight that each of the block can become."""
        raise NotImplementedError(f"{type(self).__name__} does not say what weights can become")

    def extras(self) -> tuple[Tensor, ...]:
        """Tensors that the method wants to know beside the new weights."""
        return ()


class Pulled(NamedTuple):
    """What moves the columns of a block beside errors of decisions (`compensation.py`)."""

    moved_BB: Tensor | None  # what W of a column, when it is decided, is multiplied by; None: zero
    dense_BO: Tensor
    beta: float  # the share of its distance from the dense weight that a column gives up


# From W of a block and its part of U: Q and the errors. A kernel of its own for one decision.
# With a `Pulled` as well: also W of each column when it was decided.
Kernel = Callable[..., tuple[Tensor, ...]]


class ColumnSolver:
    """The weight of a layer while its columns are solved, in the order of the factor."""

    def __init__(
        self,
        weight_OI: Tensor,
        factor: InverseFactor,
        *,
        strip_length: int | None = None,
        divides_rows: bool = False,
    ) -> None:
        """`weight_OI`: float32, left alone. `factor`: on the same device."""
        self._order_I, self._upper_II = factor.order_I, factor.upper_II
        self._strip_length, self._divides_rows = strip_length, divides_rows
        self.diagonal_I = self._upper_II.diagonal()
        # Columns become rows, so that the loops below read and write contiguous memory.
        if self._order_I is None:
            self.weight_IO = weight_OI.T.clone(memory_format=torch.contiguous_format)
        else:
            self.weight_IO = weight_OI.T.index_select(0, self._order_I)  # contiguous, one copy

    def solve(
        self,
        start: int,
        stop: int,
        decision: type[Decision],
        *arguments: Hashable,
        kernel: Kernel | None = None,
    ) -> tuple[Tensor, ...]:
        """Solve columns start, ..., stop - 1 by `decision(weight_BO, *arguments)`; its extras.

        `kernel`: does the same at once; it is used where kernels run, and gives no extras.
        """
        weight_BO, rows_BI = self.weight_IO[start:stop], self._upper_II[start:stop, start:]
        if self._divides_rows:
            rows_BI = rows_BI / self.diagonal_I[start:stop].unsqueeze(1)
        rows_BB, rows_BR = rows_BI[:, : stop - start], rows_BI[:, stop - start :]
        if kernel is not None and has_kernels(weight_BO):
            new_BO, error_BO, *extras = kernel(weight_BO, rows_BB)
        else:
            how = decision, self._strip_length or stop - start, self._divides_rows
            solved = as_one_launch(solve_block, *how, weight_BO, rows_BB, *arguments)
            new_BO, error_BO, *extras = solved
        self.weight_IO[start:stop] = new_BO
        self.weight_IO[stop:].addmm_(rows_BR.T, error_BO, alpha=-1)
        return tuple(extras)

    def weight_OI(self, dtype: torch.dtype) -> Tensor:
        """The weight with its columns where they were, rounded to `dtype` before it is copied."""
        weight_IO = self.weight_IO.to(dtype)
        if self._order_I is not None:
            weight_IO = torch.empty_like(weight_IO).index_copy_(0, self._order_I, weight_IO)
        return weight_IO.T.contiguous()


def solve_block(
    decision_type: type[Decision],
    strip_length: int,
    divides_rows: bool,
    weight_BO: Tensor,
    rows_BB: Tensor,
    *arguments: Hashable,
) -> tuple[Tensor, ...]:
    """A block of columns solved, the error of each, and the extras of the decision."""
    work_BO, error_BO = weight_BO.clone(), torch.empty_like(weight_BO)
    decision = decision_type(weight_BO, *arguments)
    for start in range(0, len(work_BO), strip_length):
        stop = min(start + strip_length, len(work_BO))
        for column in range(start, stop):
            error_O = error_BO[column]
            decision.decide(column, work_BO, error_O)
            if not divides_rows:
                error_O.div_(rows_BB[column, column])
            later_B = rows_BB[column, column + 1 : stop]
            work_BO[column + 1 : stop].addr_(later_B, error_O, alpha=-1)
        if stop < len(work_BO):
            rows_SB = rows_BB[start:stop, stop:]
            work_BO[stop:].addmm_(rows_SB.T, error_BO[start:stop], alpha=-1)
    return decision.new_BO(work_BO), error_BO, *decision.extras()


def column_blocks(num_in: int, block_size: int, group_size: int = 1) -> list[tuple[int, int]]:
    """(start, stop) of blocks of at most `block_size` columns in which no narrower group is cut.

    A group wider than a block starts a block. So a group that is fitted when the sweep reaches it
    meets weights with every update made so far, also those of columns just before it.
    """
    width = block_size // group_size * group_size or block_size
    period = max(group_size, width)
    return [
        (start, min(start + width, first + period, num_in))
        for first in range(0, num_in, period)
        for start in range(first, min(first + period, num_in), width)
    ]
