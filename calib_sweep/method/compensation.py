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

from calib_sweep.method.column_solver import ColumnSolver, Decision, Kernel
from calib_sweep.method.gpu.cuda_graphs import as_one_launch
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
        """Solve columns start, ..., stop - 1; a kernel, which knows no pulls, is not used."""
        width, pulls = stop - start, self._pulls
        upper_BI = self._upper_II[start:stop, start:]
        moved_BI, returned_BI = pulls.block(start, stop)
        dense_BO = self._dense_IO[start:stop]
        solved = as_one_launch(
            solve_pulled_block,
            *(decision, pulls.beta, pulls.beyond),
            *(self.weight_IO[start:stop], dense_BO, upper_BI[:, :width]),
            *(
                None if pull_BI is None else pull_BI[:, :width]
                for pull_BI in (moved_BI, returned_BI)
            ),
            *arguments,
        )
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
    if beyond == CLIPPED:
        low_BO, high_BO = decision.range_BO()
        counted_BO = work_BO.clamp(low_BO, high_BO)
    else:
        counted_BO = work_BO - error_BO * upper_BB.diagonal().unsqueeze(1)
    return decision.new_BO(work_BO), error_BO, counted_BO, *decision.extras()
