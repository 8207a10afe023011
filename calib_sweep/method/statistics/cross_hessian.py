"""What a layer sees beside what it saw in the dense model, as sums over pairs of tokens.

    H = (2/N) sum w x x^T          x  what the layer sees now, N samples: the Hessian
    D = (2/N) sum w (d - x) x^T    d  what it saw of the same token in the dense model
    pull(D) = striu(D U^T) U       U  the factor of the inverse of H; striu: above the diagonal

D is not symmetric: row i is of feature i of d - x, column j of feature j of x. A dead feature, x
zero in every token, has a column of zeros, but its row is what the dense model saw there.

On a GPU, where tensor cores may sum products, d - x is rounded to the half precision that both came
in. Where d is within a factor of two of x the difference is exact. On random pairs D came out to
1e-4 in float16 and 1e-3 in bfloat16, relative to its norm.

Shapes: T = tokens of one batch, I = in_features.
"""

from typing import ClassVar

import torch
from torch import Tensor

from calib_sweep.method.gpu.precision import full_float32, may_use_tensor_cores
from calib_sweep.method.statistics.gram import add_product, pull
from calib_sweep.method.statistics.hessian import Hessian, InverseFactor, runs_of
from calib_sweep.method.statistics.statistic import Statistic, as_often


class CrossHessian(Hessian):
    """The Hessian of what a layer sees, and D; without pairs D is zero."""

    # Whether D is whole; else what lies above its diagonal, which is all that a solver in the
    # order of the features reads, and half of the work.
    is_whole: ClassVar[bool] = True
    sums: ClassVar[tuple[str, ...]] = (*Hessian.sums, "_cross_II")

    def __init__(self, num_in: int, device: torch.device | str = "cpu") -> None:
        super().__init__(num_in, device)
        self._cross_II: Tensor | None = None  # made with the first pair
        self._pulls: dict[tuple[int, bool], tuple[InverseFactor, Tensor]] = {}

    def add_pair(
        self,
        dense_TI: Tensor,
        inputs_TI: Tensor,
        num_samples: int = 1,
        weights_T: Tensor | None = None,
    ) -> None:
        """Take in inputs as `add` does, each with what the dense model saw in its place."""
        assert dense_TI.shape == inputs_TI.shape, (dense_TI.shape, inputs_TI.shape)
        self.add(inputs_TI, num_samples, weights_T)
        if inputs_TI.shape[0] == 0:
            return
        self._pulls.clear()
        if self._cross_II is None:
            self._cross_II = torch.zeros(self.num_in, self.num_in, device=self.device)
        dense_TI, inputs_TI = dense_TI.detach().to(self.device), inputs_TI.detach().to(self.device)
        if may_use_tensor_cores(inputs_TI) and dense_TI.dtype == inputs_TI.dtype:
            runs = [(0, len(inputs_TI), 1.0)] if weights_T is None else runs_of(weights_T)
            if runs is not None:
                self._add_by_tensor_cores(dense_TI - inputs_TI, inputs_TI, runs)
                return
        inputs_TI = inputs_TI.to(torch.float32)
        change_TI = dense_TI.to(torch.float32) - inputs_TI
        if weights_T is not None:
            weights_T = weights_T.to(self.device, torch.float32)
            change_TI, inputs_TI = as_often(change_TI, weights_T), as_often(inputs_TI, weights_T)
        with full_float32():
            add_product(self._cross_II, change_TI, inputs_TI, whole=self.is_whole)

    def _add_by_tensor_cores(
        self, change_TI: Tensor, inputs_TI: Tensor, runs: list[tuple[int, int, float]]
    ) -> None:
        from calib_sweep.method.gpu import kernels

        assert self._cross_II is not None
        for start, stop, weight in runs:
            rows = change_TI[start:stop], inputs_TI[start:stop]
            kernels.add_product(self._cross_II, *rows, weight, whole=self.is_whole)

    def cross_II(self) -> Tensor | None:
        """D, above its diagonal where it is not whole; None: both streams were the same."""
        return None if self._cross_II is None else self._cross_II * self._scale

    def pull_II(self, factor: InverseFactor, *, of_dense: bool = False) -> Tensor | None:
        """pull(D), or `of_dense`: pull(H + D), in the order of this statistic's factor; None: zero.

        Computed once for all layers that share the statistic; not to be written to.
        """
        key = (id(factor), of_dense)
        if key not in self._pulls:
            matrix_II = self.cross_II()
            if of_dense:
                hessian_II = self.hessian_II()
                matrix_II = hessian_II if matrix_II is None else matrix_II.add_(hessian_II)
            if matrix_II is None:
                return None
            if factor.order_I is not None:
                assert self.is_whole, "another order reads what lies below the diagonal, too"
                matrix_II = matrix_II[factor.order_I][:, factor.order_I]
            with full_float32():
                self._pulls[key] = factor, pull(matrix_II, factor.upper_II)
        return self._pulls[key][1]

    def divide_inputs(self, scale_I: Tensor) -> None:
        super().divide_inputs(scale_I)
        self._pulls.clear()
        if self._cross_II is not None:
            self._cross_II /= scale_I
            self._cross_II /= scale_I.unsqueeze(1)

    def is_finite(self) -> bool:
        cross_II = self._cross_II
        finite = super().is_finite()
        return finite and (cross_II is None or bool(torch.isfinite(cross_II.sum())))

    def _merge(self, other: Statistic) -> None:
        super()._merge(other)
        self._pulls.clear()

    @property
    def _scale(self) -> float:
        return 2 / max(self.num_samples, 1)


class UpperCrossHessian(CrossHessian):
    """The same with the half of D that lies above its diagonal."""

    is_whole = False
