"""Qronos: correct what inputs have lost in one step, round, and let later columns make up for that.

Zhang et al. 2025, arXiv:2505.11695, as Brevitas computes it. x is what a layer sees now, d what it
saw of the same token in the dense model, W the dense weight:

    H = (2/N) sum x x^T      D = (2/N) sum (d - x) x^T      delta = spectral_damping * |H|_2
    A = (H[1:, 1:] + delta 1)^-1 = L^T L,  L upper triangular
    V[:, 0]  = W[:, 0] + W D[:, 0] / H[0, 0]                                Q[:, 0] = its nearest
    V[:, 1:] = W[:, 1:] + (W D[:, 1:] + (W[:, 0] - Q[:, 0]) H[0, 1:]) A
    Q[:, i]  = the point of the grid nearest to V[:, i]                     for i > 0 in order
    V[:, j] -= (V[:, i] - Q[:, i]) / L[i, i] * L[i, j]                      for j > i

In their terms G = H + D. The first two lines are theirs with G written out and what cancels left
out; Q is the weight of least ||d W^T - x Q^T||^2 of those that agree in the columns chosen so far.
L is a part of GPTQ's U, so after the correction the columns are GPTQ's (`gptq.py`): its order under
`act_order`, formats and kernels. Grids are fitted to dense weights before anything is corrected.
|H|_2, the largest eigenvalue, by 30 steps of the power method from the diagonal.

Dead features, x zero in every token, get weights of zero; what the dense model made of them counts
in W D, as in Brevitas, where such weights stay.

Deviations: a factorisation that fails is tried again with ten times the damping and reported, where
Brevitas leaves the layer unrounded; a layer that no token reached is rounded to nearest; 1e4, by
which Brevitas scales A while it is factorised, is not needed, as L comes from H.

Shapes: O = out_features, I = in_features, R = features but the first.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from calib_sweep.errors import collected, require
from calib_sweep.method.base import CompressedWeight, LayerMethod, Work
from calib_sweep.method.column_solver import ColumnSolver, Decision, Kernel
from calib_sweep.method.gptq import GPTQ, PUBLISHED
from calib_sweep.method.gpu.precision import full_float32
from calib_sweep.method.grids.float_formats import OCP
from calib_sweep.method.grids.formats import INT
from calib_sweep.method.grids.weight_format import WeightFormat
from calib_sweep.method.statistics.cross_hessian import CrossHessian
from calib_sweep.method.statistics.hessian import InverseFactor
from calib_sweep.method.statistics.statistic import Statistic
from calib_sweep.method.typed import vector_norm
from calib_sweep.values import is_number

POWER_STEPS = 30


@final
@dataclass(frozen=True, kw_only=True)
class Qronos(LayerMethod):
    bits: int  # bits of a weight's code; of an integer 2 to 8
    group_size: int | None  # columns that share a scale; None: the whole row, or the format's own
    symmetric: bool  # whether the zero point is the middle of the grid; integers only
    mse: bool  # whether grids are shrunk to the least rounding error instead of min-max
    act_order: bool  # whether columns are rounded in descending order of their Hessian diagonal
    spectral_damping: float  # fraction of the Hessian's largest eigenvalue added to its diagonal
    block_size: int  # columns updated together; moves the last digit only
    format: str = INT  # what a code is: an integer, or a floating-point number of this format
    scale_rule: str = OCP  # of mxfp4: how a power of two is chosen
    tensor_factor: float | None = None  # no setting: shared with layers that runtimes fuse

    statistic: ClassVar[type[Statistic] | None] = CrossHessian
    compares_streams: ClassVar[bool] = True

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(self._gptq)
            problems.of(self._check_spectral_damping)

    def _check_spectral_damping(self) -> None:
        damping: object = self.spectral_damping
        require(
            is_number(damping) and 0 <= damping < 1,
            "method.spectral_damping",
            damping,
            "a number from 0 and below 1, a fraction of the Hessian's largest eigenvalue",
            "Example: method.spectral_damping=1e-6, the published value.",
        )

    def work(self) -> Work:
        work = self._gptq().work()
        return work._replace(passes=work.passes + 1, products=3, streams=2)

    @full_float32()
    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        assert isinstance(statistic, CrossHessian), statistic
        hessian_II, cross_II = statistic.hessian_II(), statistic.cross_II()
        damping = self.spectral_damping * _largest_eigenvalue_in_means(hessian_II)
        factor = statistic.inverse_factor(damping, by_activation=self.act_order, dead_first=False)
        factor = factor.to(weight_OI.device)
        lost_OI = torch.zeros_like(weight_OI, dtype=torch.float32)
        if cross_II is not None:
            lost_OI = weight_OI.to(torch.float32) @ cross_II.to(weight_OI.device)

        def solver_of(alive_OI: Tensor, factor: InverseFactor) -> ColumnSolver:
            return _CorrectingSolver(alive_OI, factor, lost_OI, hessian_II.to(alive_OI.device))

        return self._gptq().compress_by(solver_of, weight_OI, factor)

    def for_fused(self, weights: Sequence[Tensor]) -> LayerMethod:
        told = self._gptq().for_fused(weights)
        assert isinstance(told, GPTQ), told
        return replace(self, tensor_factor=told.tensor_factor)

    def grid_format(self) -> WeightFormat:
        return self._gptq().grid_format()

    def _gptq(self) -> GPTQ:
        """What rounds the corrected columns."""
        own = {known.name: getattr(self, known.name) for known in fields(self)}
        del own["spectral_damping"]
        static = self.format == INT and self.group_size is not None
        fit: dict[str, Any] = {"static_groups": static, "group_fit": PUBLISHED}
        return GPTQ(**own, **fit, damping=0, off_diagonal=1)


class _CorrectingSolver(ColumnSolver):
    """GPTQ's solver, whose first block is corrected before its first column is an error."""

    def __init__(
        self, weight_OI: Tensor, factor: InverseFactor, lost_OI: Tensor, hessian_II: Tensor
    ) -> None:
        super().__init__(weight_OI, factor)
        first = 0 if factor.order_I is None else int(factor.order_I[0])
        self._lost_IO, self._first_I = lost_OI.T, hessian_II[first]
        self._first_diagonal = self._first_I[first]
        if factor.order_I is not None:
            self._lost_IO = self._lost_IO[factor.order_I]
            self._first_I = self._first_I[factor.order_I]

    def solve(
        self,
        start: int,
        stop: int,
        decision: type[Decision],
        *arguments: Hashable,
        kernel: Kernel | None = None,
    ) -> tuple[Tensor, ...]:
        """Solve columns start, ..., stop - 1; before the first one, correct all."""
        if start == 0:
            self._correct(stop, decision, arguments)
        return super().solve(start, stop, decision, *arguments, kernel=kernel)

    def _correct(
        self, stop: int, decision: type[Decision], arguments: tuple[Hashable, ...]
    ) -> None:
        w_O, block_BO = self.weight_IO[0].clone(), self.weight_IO[:stop]
        if float(self._first_diagonal) > 0:
            self.weight_IO[0] += self._lost_IO[0] / self._first_diagonal
        taken_O = torch.empty_like(w_O)
        decision(block_BO, *arguments).decide(0, block_BO, taken_O)
        self.weight_IO[0] -= taken_O  # on the grid: the loop finds no error here
        lower_RR = self._upper_II[1:, 1:].T
        missing_RO = self._lost_IO[1:] + torch.outer(self._first_I[1:], w_O - self.weight_IO[0])
        self.weight_IO[1:] += lower_RR @ (lower_RR.T @ missing_RO)


def _largest_eigenvalue_in_means(hessian_II: Tensor) -> float:
    """Largest eigenvalue over the mean of the diagonal; 1 for a matrix of zeros."""
    mean = float(hessian_II.diagonal().mean())
    if mean == 0:
        return 1.0
    vector_I = hessian_II.diagonal()
    for _ in range(POWER_STEPS):
        vector_I = hessian_II @ (vector_I / vector_norm(vector_I, dim=0))
    return float(vector_norm(vector_I, dim=0)) / mean
