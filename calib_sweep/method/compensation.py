"""The column solver of GPTAQ and its kin: columns also make up for what the inputs have become.

With the solver's U, a decided column i of weight w[o] = W[o, i], updated so far, with w0[o] the
dense one, changes those to its right:

    err[o]   = (w[o] - Q[o, i] - beta (w[o] - w0[o])) / U[i, i]
    W[o, j] += w[o] P[i, j] + (w0[o] - w[o]) R[i, j] - err[o] U[i, j]        for j > i
    W[o, i + 1] -= beta (W[o, i + 1] - W0[o, i + 1])                         inside a block

P and R are strictly upper triangular, or zero. Right of its block, a column counts with what is
left of it instead of w: w - err U[i, i], which is Q for beta 0 (`CARRIED`: the published GPTAQ); or
with w cut to the range of its grid (`CLIPPED`).

Shapes: O = out_features, I = in_features, B = columns of a block.
"""

from collections.abc import Hashable
from dataclasses import dataclass

import torch
from torch import Tensor

from calib_sweep.method.column_solver import ColumnSolver, Decision, Kernel, Pulled
from calib_sweep.method.gpu.cuda_graphs import as_one_launch
from calib_sweep.method.gpu.precision import has_kernels
from calib_sweep.method.statistics.hessian import InverseFactor

CARRIED, CLIPPED = "carried", "clipped"


@dataclass(frozen=True, kw_only=True)
class Pulls:
    """What moves columns beside the errors of rounding, in the order of the factor."""

    carried_II: Tensor | None  # P; None: zero
    returned_II: Tensor | None  # R; None: zero
    beta: float  # how much of its distance from the dense weight a column gives up
    beyond: str  # what a column counts with right of its block: CARRIED or CLIPPED

    def block(self, start: int, stop: int) -> tuple[Tensor | None, Tensor | None]:
        """P - R, which w is multiplied by, and R, of which w0 is; rows and columns from `start`."""
        carried_BI, returned_BI = (
            None if pull_II is None else pull_II[start:stop, start:]
            for pull_II in (self.carried_II, self.returned_II)
        )
        if carried_BI is not None and returned_BI is not None:
            return carried_BI - returned_BI, returned_BI
        return carried_BI if returned_BI is None else -returned_BI, returned_BI


class CompensatingSolver(ColumnSolver):
    """A column solver whose columns are pulled as well."""

    def __init__(self, weight_OI: Tensor, factor: InverseFactor, pulls: Pulls) -> None:
        super().__init__(weight_OI, factor)
        self._pulls = pulls
        self._dense_IO = self.weight_IO.clone()

    def solve(
        self,
        start: int,
        stop: int,
        decision: type[Decision],
        *arguments: Hashable,
        kernel: Kernel | None = None,
    ) -> tuple[Tensor, ...]:
        """Solve columns start, ..., stop - 1 by `decision(weight_BO, *arguments)`; its extras."""
        width, pulls = stop - start, self._pulls
        upper_BI = self._upper_II[start:stop, start:]
        moved_BI, returned_BI = pulls.block(start, stop)
        weight_BO, dense_BO = self.weight_IO[start:stop], self._dense_IO[start:stop]
        upper_BB = upper_BI[:, :width]
        pulls_BB = [None if BI is None else BI[:, :width] for BI in (moved_BI, returned_BI)]
        if kernel is not None and has_kernels(weight_BO):
            moved_BB, returned_BB = pulls_BB
            # What w0 moves hangs on nothing that is decided here.
            start_BO = weight_BO if returned_BB is None else weight_BO + returned_BB.T @ dense_BO
            pulled = Pulled(moved_BB, dense_BO, pulls.beta)
            new_BO, error_BO, work_BO, *extras = kernel(start_BO, upper_BB, pulled)
            decided = decision(weight_BO, *arguments)
            counted_BO = _counted(pulls.beyond, decided, work_BO, error_BO, upper_BB)
        else:
            how = decision, pulls.beta, pulls.beyond
            matrices = weight_BO, dense_BO, upper_BB, *pulls_BB
            solved = as_one_launch(solve_pulled_block, *how, *matrices, *arguments)
            new_BO, error_BO, counted_BO, *extras = solved
        self.weight_IO[start:stop] = new_BO
        rest_RO = self.weight_IO[stop:]
        rest_RO.addmm_(upper_BI[:, width:].T, error_BO, alpha=-1)
        if moved_BI is not None:
            rest_RO.addmm_(moved_BI[:, width:].T, counted_BO)
        if returned_BI is not None:
            rest_RO.addmm_(returned_BI[:, width:].T, dense_BO)
        return tuple(extras)


def solve_pulled_block(
    decision_type: type[Decision],
    beta: float,
    beyond: str,
    weight_BO: Tensor,
    dense_BO: Tensor,
    upper_BB: Tensor,
    moved_BB: Tensor | None,
    returned_BB: Tensor | None,
    *arguments: Hashable,
) -> tuple[Tensor, ...]:
    """A block solved, the error of each column, what it counts with beyond, and the extras."""
    work_BO, error_BO = weight_BO.clone(), torch.empty_like(weight_BO)
    decision = decision_type(weight_BO, *arguments)
    for column in range(len(work_BO)):
        w_O, error_O, later = work_BO[column], error_BO[column], slice(column + 1, None)
        decision.decide(column, work_BO, error_O)
        if beta:
            error_O.sub_(w_O - dense_BO[column], alpha=beta)
        error_O.div_(upper_BB[column, column])
        work_BO[later].addr_(upper_BB[column, later], error_O, alpha=-1)
        if moved_BB is not None:
            work_BO[later].addr_(moved_BB[column, later], w_O)
        if returned_BB is not None:
            work_BO[later].addr_(returned_BB[column, later], dense_BO[column])
        if beta and column + 1 < len(work_BO):
            work_BO[column + 1].lerp_(dense_BO[column + 1], beta)
    counted_BO = _counted(beyond, decision, work_BO, error_BO, upper_BB)
    return decision.new_BO(work_BO), error_BO, counted_BO, *decision.extras()


def _counted(
    beyond: str, decision: Decision, work_BO: Tensor, error_BO: Tensor, upper_BB: Tensor
) -> Tensor:
    """What columns count with right of their block; `work_BO`: w when they were decided."""
    if beyond == CLIPPED:
        return work_BO.clamp(*decision.range_BO())
    return work_BO - error_BO * upper_BB.diagonal().unsqueeze(1)
