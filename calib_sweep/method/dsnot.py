"""DSnoT, dynamic sparse no training: swap weights of a mask until its outputs keep their mean.

Zhang et al. 2023, arXiv:2310.08915, as their code computes it. With the mean over samples of the
sum over tokens of feature i, s[i], and the variance of the feature over the tokens of a sample,
averaged over samples by their tokens, v[i] (`variance: all`: over all tokens):

    D[o, i] = W[o, i] * s[i]                    what the removal of a weight takes from the output
    r[o]    = sum of D[o, i] over the removed   what all of them take

A row starts from the `initial` mask. While |r| > `threshold`, at most `max_cycles` times,

    r > 0   the removed weight of the largest D / v^`variance_power` comes back, and of the kept
            weights with D < 0 that of the lowest |W| * ||x|| goes
    r < 0   the removed weight of the smallest comes back, and of the kept weights with D > 0 that
            of the lowest |W| * ||x|| goes

so that r moves towards 0 and the number of removed weights stays. No weight comes back or goes
twice. With `same_sign` a row ends before the swap that would turn the sign of its first r.

N:M: of the group of the weight that comes back, the kept weight of the lowest initial score goes,
whatever its sign; there `same_sign` always holds, as in the authors' code.

Of the layers that `skip` names, mlp or attention, the initial mask is left as it is: `mlp` is the
authors' default. A layer that is not of attention counts as one of the MLP, as in their code.

Deviations: a row whose candidates of one sign run out makes no further swap to that side, where the
authors' pointers walk into weights that were never candidates; weights with D = 0 are no
candidates.

Shapes: O = out_features, I = in_features, M = columns of a group.
"""

from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from calib_sweep.errors import collected, require
from calib_sweep.method.base import CompressedWeight, LayerMethod, Work
from calib_sweep.method.gpu.precision import full_float32
from calib_sweep.method.selection.masks import lowest
from calib_sweep.method.selection.swaps import Candidates, GroupPartners, SignedPartners, swapped
from calib_sweep.method.settings import (
    ROW,
    check_flag,
    check_groups_fit,
    check_pattern,
    check_sparsity,
    num_kept_and_group_length,
)
from calib_sweep.method.statistics.hessian import Hessian
from calib_sweep.method.statistics.input_moments import HessianMoments, InputMoments, Moments
from calib_sweep.method.statistics.statistic import Statistic
from calib_sweep.method.wanda import unusual
from calib_sweep.values import is_int, is_number

WANDA, MAGNITUDE, SPARSEGPT = "wanda", "magnitude", "sparsegpt"
MLP, ATTENTION = "mlp", "attention"
INSIDE, ALL = "inside", "all"
DAMPING = 0.01  # of the Hessian that scores `initial: sparsegpt`


@final
@dataclass(frozen=True, kw_only=True)
class DSnoT(LayerMethod):
    sparsity: float  # fraction of weights set to zero, in [0, 1)
    pattern: str  # "unstructured" or "N:M", N kept of every M
    initial: str  # whose scores choose the first mask: wanda, magnitude or sparsegpt
    max_cycles: int  # swaps of a row, at most
    threshold: float  # a row ends when its |r| is no larger
    variance: str  # "inside" samples or of "all" tokens
    variance_power: float  # of the variance that divides D of a weight that may come back
    same_sign: bool  # whether a row ends before r turns its sign
    skip: str | None  # layers that keep their first mask: mlp, attention; None: no layer does

    @property
    def statistic(self) -> type[Statistic]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return HessianMoments if self.initial == SPARSEGPT else InputMoments

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(check_sparsity, self.sparsity)
            problems.of(check_pattern, self.pattern, self.sparsity)
            problems.of(self._check_words)
            problems.of(self._check_numbers)
            example = "Example: method.same_sign=false, as published."
            problems.of(check_flag, "method.same_sign", self.same_sign, example)

    def _check_words(self) -> None:
        with collected() as problems:
            problems.of(
                require,
                self.initial in (WANDA, MAGNITUDE, SPARSEGPT),
                "method.initial",
                self.initial,
                f"{WANDA}, {MAGNITUDE} or {SPARSEGPT}",
                f"Example: method.initial={WANDA}, as in the authors' example.",
            )
            problems.of(
                require,
                self.variance in (INSIDE, ALL),
                "method.variance",
                self.variance,
                f"{INSIDE} or {ALL}",
                f"Example: method.variance={INSIDE} (samples, their mean), as published.",
            )
            problems.of(
                require,
                self.skip in (None, MLP, ATTENTION),
                "method.skip",
                self.skip,
                f"{MLP}, {ATTENTION} or null",
                f"Example: method.skip={MLP}, the authors' default; null swaps in every layer.",
            )

    def _check_numbers(self) -> None:
        with collected() as problems:
            problems.of(
                require,
                is_int(self.max_cycles) and self.max_cycles >= 0,
                "method.max_cycles",
                self.max_cycles,
                "an integer >= 0",
                "Example: method.max_cycles=50, the published value; 0 is the initial mask.",
            )
            for key, example in (("threshold", "0.1"), ("variance_power", "1")):
                value = getattr(self, key)
                problems.of(
                    require,
                    is_number(value) and 0 <= value < float("inf"),
                    f"method.{key}",
                    value,
                    "a number >= 0",
                    f"Example: method.{key}={example}, the published value.",
                )

    def for_layer(self, name: str) -> "DSnoT":
        """The initial mask alone for a layer that is skipped."""
        part = ATTENTION if "att" in name.partition(".")[0] else MLP
        return replace(self, max_cycles=0) if part == self.skip else self

    @full_float32()
    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        assert isinstance(statistic, Moments), statistic
        dense_OI = weight_OI.to(torch.float32)
        score_OI, damping, note = self._scores(dense_OI, statistic)
        gone_OI = lowest(score_OI, self.sparsity, self.pattern, compare=ROW)
        if self.max_cycles and statistic.num_tokens:
            gone_OI = self._swapped(dense_OI, score_OI, gone_OI, statistic)
        return CompressedWeight(
            weight_OI=weight_OI.masked_fill(gone_OI, 0.0), damping=damping, note=note
        )

    def work(self) -> Work:
        return Work(passes=2, solves=self.initial == SPARSEGPT, sweeps=75)

    def check_shape(self, name: str, num_out: int, num_in: int) -> None:
        groups = num_kept_and_group_length(self.pattern)
        if groups is not None:
            check_groups_fit("method.pattern", self.pattern, groups[1], name, num_in)

    def _scores(
        self, dense_OI: Tensor, statistic: Moments
    ) -> tuple[Tensor, float | None, str | None]:
        """Scores of the initial mask, the damping that they took, what was out of the ordinary."""
        if isinstance(statistic, Hessian):
            factor = statistic.inverse_factor(DAMPING).to(dense_OI.device)
            alive_OI = factor.without_dead(dense_OI)
            score_OI = alive_OI.square() / factor.upper_II.diagonal().square()
            return score_OI, factor.damping, factor.note()
        assert isinstance(statistic, InputMoments), statistic
        score_OI = dense_OI.abs()
        if self.initial == WANDA and statistic.num_tokens:
            score_OI = score_OI * _norm_I(statistic).to(dense_OI.device)
        return score_OI, None, unusual(statistic)

    def _swapped(
        self, dense_OI: Tensor, score_OI: Tensor, gone_OI: Tensor, statistic: Moments
    ) -> Tensor:
        device = dense_OI.device
        loss_OI = dense_OI * statistic.sum_I().to(device)
        is_inside = self.variance == INSIDE
        v_I = statistic.variance_inside_I() if is_inside else statistic.variance_I()
        spread_I = v_I.to(device).pow(self.variance_power)
        candidates = Candidates(loss_OI, spread_I, gone_OI)
        groups = num_kept_and_group_length(self.pattern)
        if groups is None:
            wanda_OI = dense_OI.abs() * _norm_I(statistic).to(device)
            partners = SignedPartners(loss_OI, wanda_OI, gone_OI)
        else:
            partners = GroupPartners(score_OI, gone_OI, groups[1])
        return swapped(
            loss_OI,
            gone_OI,
            candidates,
            partners,
            max_cycles=self.max_cycles,
            threshold=self.threshold,
            same_sign=self.same_sign or groups is not None,
        )


def _norm_I(statistic: Statistic) -> Tensor:
    """Root of the mean over samples of the sum over tokens of x^2."""
    return (statistic.square_sum_I() / max(statistic.num_samples, 1)).sqrt()
