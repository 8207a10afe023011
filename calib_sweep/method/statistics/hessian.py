"""The Hessian of a layer's squared output error, and the factor of its inverse.

    H = (2/N) sum over tokens of w x x^T,   N samples         U^T U = H^-1, U upper triangular

w is 1, unless tokens are weighted. `off_diagonal` rho below 1 factorises rho H + (1 - rho) diag(H),
whose correlations are estimated with less faith than its sums of squares; 0 leaves the diagonal.

Products of half-precision inputs are exact in float32 (11 + 11 or 8 + 8 bits of 24). So on a GPU,
where `allow_tensor_cores` says so, a Hessian leaves them to the tensor cores, at ten times the rate
of the float32 units, and adds the sums of a few tokens each in ordinary float32 (`kernels.py`).
The products of a weighted token stay exact: neighbours of one weight, as the tokens of a sample
mostly are, are summed first and their sum is multiplied.

Shapes: T = tokens of one batch, O = out_features, I = in_features.
"""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from calib_sweep.method.gpu.precision import full_float32, may_use_tensor_cores
from calib_sweep.method.statistics.gram import add_gram, form_of_rows
from calib_sweep.method.statistics.statistic import TENSOR_CORES, Statistic, as_often
from calib_sweep.method.typed import cholesky, solve_upper

# A factorisation that fails is tried again with ten times the damping, at most this often.
NUM_RETRIES = 8
SMALLEST_RETRY_DAMPING = 1e-4

# Neighbours of one weight, on average, from which tensor cores sum each of these groups by itself.
TOKENS_OF_RUN = 16

# What a method that solves with a Hessian says about a layer whose Hessian it had to make up.
NO_TOKENS = "no calibration token reached this layer: Hessian taken as the identity"


@dataclass(frozen=True, kw_only=True)
class InverseFactor:
    """Upper triangular U with U^T U = (damped Hessian)^-1, and how it was obtained."""

    upper_II: Tensor  # rows and columns as `order_I` puts them
    dead_I: Tensor  # features that were zero in every token, as they came
    order_I: Tensor | None  # the features, largest diagonal first; None: as they came
    damping: float | None  # fraction of the mean diagonal really added; None: no token, identity
    num_retries: int

    def to(self, device: torch.device) -> "InverseFactor":
        """The same where a weight is."""
        order_I = None if self.order_I is None else self.order_I.to(device)
        upper_II, dead_I = self.upper_II.to(device), self.dead_I.to(device)
        return replace(self, upper_II=upper_II, dead_I=dead_I, order_I=order_I)

    def without_dead(self, weight_OI: Tensor) -> Tensor:
        """The weight with the columns of dead features set to zero."""
        return weight_OI.masked_fill(self.dead_I, 0.0)

    def note(self) -> str | None:
        """Say what was out of the ordinary; None when nothing was."""
        dead = (int(self.dead_I.sum()), "weights set to zero")
        return unusual_damping(self.damping, self.num_retries, dead)


def unusual_damping(damping: float | None, num_retries: int, dead: tuple[int, str]) -> str | None:
    """Say what was out of the ordinary when a Hessian was damped; None when nothing was.

    `damping`: None where no token was seen. `dead`: features, and what becomes of them.
    """
    if damping is None:
        return NO_TOKENS
    num_dead, fate = dead
    parts = [f"{num_dead} dead input features, {fate}"] if num_dead else []
    if num_retries:
        parts.append(
            f"Hessian not positive definite, damping raised {num_retries} times to {damping:g}"
        )
    return "; ".join(parts) or None


class Hessian(Statistic):
    """Hessian of the squared output error of a linear layer: (2/N) sum over tokens of x x^T."""

    sums: ClassVar[tuple[str, ...]] = ("_product_II",)

    def __init__(self, num_in: int, device: torch.device | str = "cpu") -> None:
        super().__init__(num_in, device)
        self._product_II = torch.zeros(num_in, num_in, device=self.device)
        self._factors: dict[tuple[float, float, bool, bool], InverseFactor] = {}

    def hessian_II(self) -> Tensor:
        return self._product_II * (2 / max(self.num_samples, 1))

    def weighted_square_sum(self, weight_OI: Tensor) -> float:
        weight_OI = weight_OI.to(self.device, torch.float32)
        with full_float32():
            return form_of_rows(weight_OI, self._product_II)

    def divide_inputs(self, scale_I: Tensor) -> None:
        """Become the Hessian of the inputs divided by a scale."""
        self._factors.clear()
        self._product_II /= scale_I
        self._product_II /= scale_I.unsqueeze(1)

    def inverse_factor(
        self,
        damping: float,
        *,
        off_diagonal: float = 1.0,
        by_activation: bool = False,
        dead_first: bool = True,
    ) -> InverseFactor:
        """Factor of the inverse, computed once per statistic and arguments.

        `dead_first`: dead features get a diagonal of 1 *before* the mean is taken for the damping,
        as SparseGPT and GPTQ publish it, and with it their place in the order; otherwise after, as
        SpQR does. `by_activation`: the factor of the Hessian with its features in descending order
        of the undamped diagonal. `off_diagonal`: what the other entries are multiplied by, before
        anything is added to the diagonal. A matrix that is not positive definite is tried again
        with ten times the damping. Without a single token it is the identity, where nothing is
        repaired.
        """
        if self.num_tokens == 0:
            return self._identity()
        key = (damping, off_diagonal, by_activation, dead_first)
        if key not in self._factors:
            self._factors[key] = self._factorise(*key)
        return self._factors[key]

    def _identity(self) -> InverseFactor:
        dead_I = torch.zeros(self.num_in, dtype=torch.bool, device=self.device)
        upper_II = torch.eye(self.num_in, device=self.device)
        return InverseFactor(
            upper_II=upper_II, dead_I=dead_I, order_I=None, damping=None, num_retries=0
        )

    @full_float32()
    def _factorise(
        self, damping: float, off_diagonal: float, by_activation: bool, dead_first: bool
    ) -> InverseFactor:
        hessian_II = _shrunk(self.hessian_II(), off_diagonal)
        dead_I = hessian_II.diagonal() == 0
        if dead_first:
            hessian_II.diagonal()[dead_I] = 1.0
        order_I = None
        if by_activation:
            order_I = hessian_II.diagonal().argsort(descending=True, stable=True)
            hessian_II = hessian_II[order_I][:, order_I]
        diagonal_I = hessian_II.diagonal()
        undamped_I = diagonal_I == 0
        mean = float(diagonal_I.mean())
        used = 0.0
        for num_retries in range(NUM_RETRIES + 1):
            wanted = damping if num_retries == 0 else max(used * 10, SMALLEST_RETRY_DAMPING)
            diagonal_I += (wanted - used) * mean
            diagonal_I[undamped_I] = 1.0
            used = wanted
            upper_II = _inverse_upper_factor(hessian_II)
            if upper_II is not None:
                return InverseFactor(
                    upper_II=upper_II,
                    dead_I=dead_I,
                    order_I=order_I,
                    damping=used,
                    num_retries=num_retries,
                )
        raise ArithmeticError(
            f"Hessian of {self.num_in} features not positive definite even with damping {used:g}"
        )

    def _takes_as_it_is(self, inputs_TI: Tensor) -> bool:
        return may_use_tensor_cores(inputs_TI)

    def _accumulate(self, inputs_TI: Tensor) -> None:
        self._add_products(inputs_TI)

    def _add_products(self, inputs_TI: Tensor) -> None:
        self._factors.clear()
        if inputs_TI.dtype != torch.float32:
            from calib_sweep.method.gpu import kernels

            self.products = TENSOR_CORES
            kernels.add_gram(self._product_II, inputs_TI)
            return
        with full_float32():
            add_gram(self._product_II, inputs_TI)

    def _accumulate_weighted(self, inputs_TI: Tensor, weights_T: Tensor) -> None:
        runs = runs_of(weights_T) if may_use_tensor_cores(inputs_TI) else None
        if runs is None:
            self._add_products(as_often(inputs_TI, weights_T))
            return
        from calib_sweep.method.gpu import kernels

        self._factors.clear()
        self.products = TENSOR_CORES
        for start, stop, weight in runs:
            kernels.add_gram(self._product_II, inputs_TI[start:stop], weight)

    def _merge(self, other: Statistic) -> None:
        self._factors.clear()

    def square_sum_I(self) -> Tensor:
        return self._product_II.diagonal()


def runs_of(weights_T: Tensor) -> list[tuple[int, int, float]] | None:
    """Start, stop and weight of neighbours of one weight; None where these are too few each."""
    weights = weights_T.cpu().numpy()
    changes = (np.flatnonzero(weights[1:] != weights[:-1]) + 1).tolist()
    starts, stops = [0, *changes], [*changes, len(weights)]
    if len(starts) * TOKENS_OF_RUN > len(weights):
        return None
    return [(start, stop, float(weights[start])) for start, stop in zip(starts, stops, strict=True)]


def _shrunk(hessian_II: Tensor, off_diagonal: float) -> Tensor:
    """rho H + (1 - rho) diag(H), in place; the diagonal stays as it is to the last digit."""
    if off_diagonal == 1:
        return hessian_II
    diagonal_I = hessian_II.diagonal().clone()
    hessian_II *= off_diagonal
    hessian_II.diagonal().copy_(diagonal_I)
    return hessian_II


def _inverse_upper_factor(matrix_II: Tensor) -> Tensor | None:
    """Upper U with U^T U = matrix^-1; None when the matrix is not positive definite.

    The published code factors, inverts, and factors the inverse. With J the reversal of rows and
    columns, J A J = L L^T gives A = V V^T for the upper V = J L J, so U = V^-1: the same matrix
    (a Cholesky factor is unique) from one factorisation, without a second one that can fail.
    """
    lower_II, failed = cholesky(matrix_II.flip(0, 1))
    if bool(failed) or not bool(torch.isfinite(lower_II).all()):
        return None
    identity_II = torch.eye(len(matrix_II), device=matrix_II.device, dtype=matrix_II.dtype)
    upper_II = solve_upper(lower_II.flip(0, 1), identity_II)
    return upper_II if math.isfinite(float(upper_II.square().sum())) else None
