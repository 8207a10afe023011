"""GPTAQ: GPTQ towards the outputs of the dense model; with ResComp and FOEM.

Li et al. 2025, arXiv:2504.02692, as their code computes it. x is what a layer sees now, d what it
saw of the same token in the dense model, w0 the dense weight, w the weight as updated so far:

    H = (2/N) sum x x^T + damping * mean(diag H) * 1        U^T U = H^-1, U upper triangular
    D = (2/N) sum (d - x) x^T                               P = alpha striu(D U^T) U
    R = rescomp striu((H + D) U^T) U                        striu: what lies above the diagonal
    Q[o, i]  = the point of the grid of (o, group of i) nearest to w[o, i]
    err[o]   = (w[o, i] - Q[o, i] - foem (w[o, i] - w0[o, i])) / U[i, i]
    w[o, j] += w[o, i] P[i, j] + (w0[o, i] - w[o, i]) R[i, j] - err[o] U[i, j]        for j > i
    w[o, i + 1] -= foem (w[o, i + 1] - w0[o, i + 1])                      inside a block of columns

H in R is without damping. All else is GPTQ's (`gptq.py`): grids, order, dead features, retries.

    alpha      0.25 in their code, which says that the scale makes up for how D and H are gathered;
               the paper's formula has none, 1. 0: no stream of the dense model is carried
    rescomp    Li et al., ICLR 2026 (ResComp): 0.25; also with alpha 0, which is theirs on GPTQ
    foem       AAAI 2026 (FOEM): 0.2, called beta; with alpha 0 it needs no dense stream either
    beyond     what a column counts with in P and R right of its block: `carried`, what is left of
               it when the block is done, as in the published GPTAQ, or `clipped`, its weight when
               it was rounded, cut to the range of its grid (ResComp's at 3 and more bits)

The first column of a block is not pulled by foem, as in the code that is shipped with FOEM, so with
foem `block_size` moves numbers; with alpha it does as well, through `carried` and `clipped`.

Deviations: those of GPTQ; grids are GPTQ's, too, not those of the authors' quantiser.

Shapes: O = out_features, I = in_features.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import final

from torch import Tensor

from calib_sweep.errors import collected, require
from calib_sweep.method.base import CompressedWeight, LayerMethod, Work
from calib_sweep.method.column_solver import ColumnSolver
from calib_sweep.method.compensation import CARRIED, CLIPPED, CompensatingSolver, Pulls
from calib_sweep.method.gptq import GPTQ
from calib_sweep.method.gpu.precision import full_float32
from calib_sweep.method.grids.float_formats import OCP
from calib_sweep.method.grids.formats import INT
from calib_sweep.method.grids.weight_format import WeightFormat
from calib_sweep.method.statistics.cross_hessian import CrossHessian, UpperCrossHessian
from calib_sweep.method.statistics.hessian import InverseFactor
from calib_sweep.method.statistics.statistic import Statistic
from calib_sweep.values import is_number

OWN = ("alpha", "rescomp", "foem", "beyond")


@final
@dataclass(frozen=True, kw_only=True)
class GPTAQ(LayerMethod):
    bits: int  # bits of a weight's code; of an integer 2 to 8
    group_size: int | None  # columns that share a scale; None: the whole row, or the format's own
    symmetric: bool  # whether the zero point is the middle of the grid; integers only
    mse: bool  # whether grids are shrunk to the least rounding error instead of min-max
    act_order: bool  # whether columns are rounded in descending order of their Hessian diagonal
    static_groups: bool  # whether all grids are fitted before the first column is rounded
    group_fit: str  # "published" or "updated": the weights that groups inside a block are fitted to
    damping: float  # fraction of the mean Hessian diagonal added to it
    block_size: int  # columns updated together
    alpha: float  # scale of what makes up for inputs that differ from the dense model's
    rescomp: float  # scale of what makes up for weights that differ from the dense ones
    foem: float  # share of a weight's distance from the dense one that is given up on the way
    beyond: str  # "carried" or "clipped": what a column counts with right of its block
    format: str = INT  # what a code is: an integer, or a floating-point number of this format
    scale_rule: str = OCP  # of mxfp4: how a power of two is chosen
    tensor_factor: float | None = None  # no setting: shared with layers that runtimes fuse

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(self._gptq)
            for key in ("alpha", "rescomp", "foem"):
                problems.of(self._check_share, key)
            problems.of(self._check_beyond)

    def _check_share(self, key: str) -> None:
        share: object = getattr(self, key)
        require(
            is_number(share) and 0 <= share <= 1,
            f"method.{key}",
            share,
            "a number from 0 to 1",
            f"Example: method.{key}=0.25; 0 leaves it out.",
        )

    def _check_beyond(self) -> None:
        require(
            self.beyond in (CARRIED, CLIPPED),
            "method.beyond",
            self.beyond,
            f"{CARRIED} or {CLIPPED}",
            f"Example: method.beyond={CARRIED}, as in the code of GPTAQ.",
        )

    @property
    def statistic(self) -> type[Statistic]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return CrossHessian if self.act_order else UpperCrossHessian

    @property
    def compares_streams(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.alpha > 0

    def work(self) -> Work:
        work = self._gptq().work()
        streams = 1 + self.compares_streams
        return work._replace(passes=work.passes + streams - 1, column_steps=12, streams=streams)

    @full_float32()
    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        assert isinstance(statistic, CrossHessian), statistic
        if not (self.alpha or self.rescomp or self.foem):
            return self._gptq().compress_weight(weight_OI, statistic)
        factor = statistic.inverse_factor(self.damping, by_activation=self.act_order)
        pulls = self._pulls(statistic, factor, weight_OI)

        def solver_of(alive_OI: Tensor, factor: InverseFactor) -> ColumnSolver:
            return CompensatingSolver(alive_OI, factor, pulls)

        return self._gptq().compress_by(solver_of, weight_OI, factor.to(weight_OI.device))

    def _pulls(self, statistic: CrossHessian, factor: InverseFactor, weight_OI: Tensor) -> Pulls:
        carried_II = statistic.pull_II(factor) if self.alpha else None
        returned_II = statistic.pull_II(factor, of_dense=True) if self.rescomp else None
        return Pulls(
            carried_II=None if carried_II is None else self.alpha * carried_II.to(weight_OI.device),
            returned_II=None
            if returned_II is None
            else self.rescomp * returned_II.to(weight_OI.device),
            beta=self.foem,
            beyond=self.beyond,
        )

    def for_fused(self, weights: Sequence[Tensor]) -> LayerMethod:
        told = self._gptq().for_fused(weights)
        assert isinstance(told, GPTQ), told
        return replace(self, tensor_factor=told.tensor_factor)

    def grid_format(self) -> WeightFormat:
        return self._gptq().grid_format()

    def _gptq(self) -> GPTQ:
        """The method that this one adds to."""
        own = {known.name: getattr(self, known.name) for known in fields(self)}
        return GPTQ(**{key: own[key] for key in own if key not in OWN}, off_diagonal=1)
