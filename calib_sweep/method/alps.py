"""ALPS: search for the weights to keep by alternating directions, then refit those that stay.

Meng et al. 2024, arXiv:2406.07831, as their code computes it. H, d and A are those of
`spectrum.py`; top(.) keeps the k = round((1 - sparsity) * size) entries of the largest squares of
the whole layer, or N of every M neighbouring inputs:

    W~ = (W d)^T,  C = A W~                      features of one size; what the outputs should be
    D  = top(W~),  V = 0,  rho as set            start
    B  = (A + rho)^-1 (C - V + rho D)            B: free of the support
    D  = top(B + V / rho)                        D: on the support, close to B
    V += rho (B - D)                             V: what holds the two together

Every 3 iterations rho follows the number c of entries that entered or left the support of D since
the last look, so that the support moves much at first and settles in the end:

    c > 0.1 k: rho * 1.3      c > 0.005 k: rho * 1.2
    c >= 1:    rho * 1.1 if rho was raised before; else rho / 5, and D, V start again
    c = 0:     the search ends if rho was raised before; else rho / 5

It ends too at the first look after iteration 30 that finds c < 0.0003 k, and at `max_iterations`.
Then B = top(B), and 10 steps of conjugate gradients of A B = C on the support of B, from B on.
W = B^T / d.

Features that were zero in every token are held by the damping alone: such a weight may stay, as it
was, where its sqrt(damping * mean) |W| is among the largest. Deviations: equal squares keep the
first in memory (theirs: any); a Hessian that is not positive definite is tried again with more
damping, and reported; a layer that no token reached takes the identity for H, which keeps its
largest weights.

Shapes: O = out_features, I = in_features. B, C, D, V are [I, O], as in the paper.
"""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from calib_sweep.errors import collected, require
from calib_sweep.method.base import CompressedWeight, LayerMethod, Work
from calib_sweep.method.gpu.precision import full_float32
from calib_sweep.method.selection.masks import lowest_in_groups, lowest_of_all
from calib_sweep.method.settings import (
    check_damping,
    check_groups_fit,
    check_pattern,
    check_positive_int,
    check_sparsity,
    num_kept_and_group_length,
)
from calib_sweep.method.statistics.spectrum import HessianSpectrum, Spectrum
from calib_sweep.method.statistics.statistic import Statistic
from calib_sweep.values import is_number

LOOK_EVERY = 3  # iterations between two looks at the support
MAY_SETTLE = 30  # iterations after which a support that hardly moves ends the search
SETTLED = 3e-4  # of the entries kept
LARGEST_RHO = 1e6
REFIT_STEPS, REFIT_TOLERANCE = 10, 1e-4


@final
@dataclass(frozen=True, kw_only=True)
class ALPS(LayerMethod):
    sparsity: float  # fraction of weights set to zero, in [0, 1)
    pattern: str  # "unstructured" or "N:M", N kept of every M
    damping: float  # fraction of the mean Hessian diagonal added to it
    rho: float  # how strongly B and D are held together at first
    max_iterations: int  # of the search, at most

    statistic: ClassVar[type[Statistic] | None] = HessianSpectrum

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(check_sparsity, self.sparsity)
            problems.of(check_pattern, self.pattern, self.sparsity)
            problems.of(check_damping, self.damping)
            problems.of(self._check_rho)
            remedy = "Example: method.max_iterations=300, the published value."
            problems.of(check_positive_int, "method.max_iterations", self.max_iterations, remedy)

    def _check_rho(self) -> None:
        require(
            is_number(self.rho) and 0 < self.rho <= LARGEST_RHO,
            "method.rho",
            self.rho,
            f"a number above 0, up to {LARGEST_RHO:g}",
            "Example: method.rho=0.1, the published value.",
        )

    @full_float32()
    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        assert isinstance(statistic, HessianSpectrum), statistic
        spectrum = statistic.spectrum(self.damping).to(weight_OI.device)
        size_I1 = spectrum.size_I.unsqueeze(1)
        dense_IO = weight_OI.T.to(torch.float32).contiguous() * size_I1
        target_IO = spectrum.products_II @ dense_IO
        if spectrum.damping is None:  # no token: what is largest is best
            found_IO = dense_IO * self._largest(dense_IO)
        else:
            found_IO = self.search(spectrum, dense_IO, target_IO)
        fitted_IO = refitted(spectrum.products_II, target_IO, found_IO)
        return CompressedWeight(
            weight_OI=(fitted_IO / size_I1).T.to(weight_OI.dtype).contiguous(),
            damping=spectrum.damping,
            note=spectrum.note(),
        )

    def work(self) -> Work:
        # The search mostly ends soon after iteration 30; looks cost half as much again.
        return Work(passes=2, solves=True, products=min(self.max_iterations, 50))

    def check_shape(self, name: str, num_out: int, num_in: int) -> None:
        groups = num_kept_and_group_length(self.pattern)
        if groups is not None:
            check_groups_fit("method.pattern", self.pattern, groups[1], name, num_in)

    def search(self, spectrum: Spectrum, dense_IO: Tensor, target_IO: Tensor) -> Tensor:
        """B at the end of the search, zero off its support."""
        num_kept = max(self._num_kept(dense_IO), 1)
        kept_IO = self._largest(dense_IO)
        start_IO = dense_IO * kept_IO
        found_IO, held_IO, dual_IO = dense_IO, start_IO, torch.zeros_like(dense_IO)
        rho, was_raised = self.rho, False
        inverse_II = spectrum.inverse_II(rho)
        seen_IO = kept_IO  # the support at the last look
        for iteration in range(self.max_iterations):
            found_IO = inverse_II @ (target_IO - dual_IO + rho * held_IO)
            sum_IO = found_IO + dual_IO / rho
            kept_IO = self._largest(sum_IO)
            held_IO = sum_IO * kept_IO
            dual_IO = dual_IO + rho * (found_IO - held_IO)
            if (iteration + 1) % LOOK_EVERY:
                continue
            num_changed, seen_IO = int((kept_IO != seen_IO).sum()), kept_IO
            if num_changed == 0 and was_raised:
                break
            share = num_changed / num_kept
            if num_changed and share <= 0.005 and not was_raised:
                found_IO, held_IO, dual_IO = dense_IO, start_IO, torch.zeros_like(dense_IO)
            factor = _factor(num_changed, share, was_raised)
            was_raised |= share > 0.005
            rho = min(rho * factor, LARGEST_RHO)
            if iteration >= MAY_SETTLE and share < SETTLED:
                break
            inverse_II = spectrum.inverse_II(rho)
        return found_IO * self._largest(found_IO)

    def _num_kept(self, value_IO: Tensor) -> int:
        groups = num_kept_and_group_length(self.pattern)
        if groups is not None:
            return value_IO.numel() // groups[1] * groups[0]
        return round((1 - self.sparsity) * value_IO.numel())

    def _largest(self, value_IO: Tensor) -> Tensor:
        """The support: entries of the largest squares."""
        groups = num_kept_and_group_length(self.pattern)
        if groups is not None:
            return ~lowest_in_groups(value_IO.abs().T, *groups).T
        return ~lowest_of_all(value_IO.abs(), value_IO.numel() - self._num_kept(value_IO))


def _factor(num_changed: int, share: float, was_raised: bool) -> float:
    """By what rho changes after a look."""
    if share > 0.1:
        return 1.3
    if share > 0.005:
        return 1.2
    return 1.1 if num_changed and was_raised else 1 / 5


def refitted(products_II: Tensor, target_IO: Tensor, start_IO: Tensor) -> Tensor:
    """Ten steps of conjugate gradients towards A B = C on the support of `start_IO`.

    Every column by itself, from `start_IO` on. As published the steps end early when the residual,
    that off the support included, has become small in every row.
    """
    kept_IO = start_IO != 0
    fitted_IO = start_IO
    residual_IO = (target_IO - products_II @ fitted_IO) * kept_IO
    direction_IO, square_O = residual_IO, residual_IO.square().sum(dim=0)
    allowed_I = REFIT_TOLERANCE**2 * target_IO.square().sum(dim=1)
    for _ in range(REFIT_STEPS):
        moved_IO = products_II @ direction_IO
        step_O = square_O / _above_0((direction_IO * moved_IO).sum(dim=0))
        fitted_IO = fitted_IO + step_O * direction_IO
        residual_IO = (residual_IO - step_O * moved_IO) * kept_IO
        whole_IO = target_IO - products_II @ fitted_IO
        if not bool((whole_IO.square().sum(dim=1) > allowed_I).any()):
            break
        before_O, square_O = square_O, residual_IO.square().sum(dim=0)
        direction_IO = residual_IO + square_O / _above_0(before_O) * direction_IO
    return fitted_IO


def _above_0(value_O: Tensor) -> Tensor:
    """Divisors: 0 only where what is divided is 0 too."""
    return torch.where(value_O == 0, 1e-8, value_O)
