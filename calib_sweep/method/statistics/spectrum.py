"""The eigenvalues of a layer's Hessian on features of one size, for solves with many shifts.

    H = (2/N) sum over tokens of w x x^T + damping * mean(diag H) * 1    d = sqrt(diag H) + 1e-8
    A = H / (d d^T) = Q diag(v) Q^T                         (A + rho)^-1 = Q diag(1 / (v + rho)) Q^T

The eigenvalues and what is made of them are float64, A itself is float32.

Shapes: I = in_features.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from calib_sweep.method.gpu.precision import full_float32
from calib_sweep.method.statistics.hessian import (
    NUM_RETRIES,
    SMALLEST_RETRY_DAMPING,
    Hessian,
    unusual_damping,
)
from calib_sweep.method.typed import eigenvalues

SMALLEST_SIZE = 1e-8  # added to the size of every feature, as published


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """The damped Hessian of features of one size, and how it was obtained."""

    products_II: Tensor  # A
    size_I: Tensor  # d
    values_I: Tensor  # float64, all above 0
    vectors_II: Tensor  # float64, one eigenvector per column
    num_dead: int  # features that were zero in every token
    damping: float | None  # fraction of the mean diagonal really added; None: no token, identity
    num_retries: int

    def to(self, device: torch.device) -> "Spectrum":
        """The same where a weight is."""
        return replace(
            self,
            products_II=self.products_II.to(device),
            size_I=self.size_I.to(device),
            values_I=self.values_I.to(device),
            vectors_II=self.vectors_II.to(device),
        )

    def inverse_II(self, shift: float) -> Tensor:
        """(A + shift)^-1, of the type of A."""
        inverse_II = (self.vectors_II / (self.values_I + shift)) @ self.vectors_II.T
        return inverse_II.to(self.products_II.dtype)

    def note(self) -> str | None:
        """Say what was out of the ordinary; None when nothing was."""
        dead = (self.num_dead, "held by the damping alone")
        return unusual_damping(self.damping, self.num_retries, dead)


class HessianSpectrum(Hessian):
    """The Hessian, and its eigenvalues once for all layers that share it."""

    def __init__(self, num_in: int, device: torch.device | str = "cpu") -> None:
        super().__init__(num_in, device)
        self._spectra: dict[tuple[float, int], Spectrum] = {}

    def spectrum(self, damping: float) -> Spectrum:
        """Of the damped Hessian; of the identity where no token was seen."""
        key = damping, self.num_tokens
        if key not in self._spectra:
            self._spectra.clear()
            self._spectra[key] = self._decomposed(damping) if self.num_tokens else self._unit()
        return self._spectra[key]

    def divide_inputs(self, scale_I: Tensor) -> None:
        self._spectra.clear()
        super().divide_inputs(scale_I)

    def _unit(self) -> Spectrum:
        ones_I = torch.ones(self.num_in, device=self.device)
        return Spectrum(
            products_II=ones_I.diag(),
            size_I=ones_I,
            values_I=ones_I.double(),
            vectors_II=ones_I.double().diag(),
            num_dead=0,
            damping=None,
            num_retries=0,
        )

    @full_float32()
    def _decomposed(self, damping: float) -> Spectrum:
        """Tried again with ten times the damping where an eigenvalue is not above 0."""
        hessian_II = self.hessian_II()
        diagonal_I = hessian_II.diagonal()
        num_dead, mean = int((diagonal_I == 0).sum()), float(diagonal_I.mean())
        used = 0.0
        for num_retries in range(NUM_RETRIES + 1):
            wanted = damping if num_retries == 0 else max(used * 10, SMALLEST_RETRY_DAMPING)
            diagonal_I += (wanted - used) * mean
            used = wanted
            diagonal_I[diagonal_I == 0] = 1.0
            size_I = diagonal_I.sqrt() + SMALLEST_SIZE
            products_II = hessian_II / size_I / size_I.unsqueeze(1)
            values_I, vectors_II = eigenvalues(products_II.double())
            if bool((values_I > 0).all()):
                return Spectrum(
                    products_II=products_II,
                    size_I=size_I,
                    values_I=values_I,
                    vectors_II=vectors_II,
                    num_dead=num_dead,
                    damping=used,
                    num_retries=num_retries,
                )
        raise ArithmeticError(
            f"Hessian of {self.num_in} features not positive definite even with damping {used:g}"
        )
