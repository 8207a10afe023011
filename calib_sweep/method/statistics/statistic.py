"""The base of what methods need to know about a layer's inputs, accumulated batch by batch.

    InputNorm      ||X[:, i]||_2 per input feature                   (Wanda: input_norm.py)
    Hessian        (2/N) sum X^T X, N samples, and its inverse       (GPTQ and others: hessian.py)
    InputProfile   mean magnitudes, products, some tokens            (AWQ: input_profile.py)

Sums are unscaled float32 and scaled when read, so a sum does not depend on how tokens were split
into batches, beyond the order of float32 additions: two can be added (`merge`). The published code
keeps running means of the same quantities. Linears fed by the same tensor share one statistic.

Ranks that share the samples of a cell each have a statistic of their own samples. Attributes named
in `sums` are added tensor by tensor; all else goes from rank to rank as it is and is merged.

A token may count more or less than once: a weight w makes of its row x one of w rows x. Sums over
tokens become sum w x^2, sum w x x^T, sum w |x| / sum w; the number of samples stays what it is.

Shapes: T = tokens of one batch, I = in_features.
"""

import copy
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from calib_sweep.errors import ConfigError

# How products of inputs were made and summed.
FLOAT32, TENSOR_CORES = "float32", "tensor cores"


class Statistic(ABC):
    """A sum over the inputs of a linear layer; empty until the first `add`."""

    products = FLOAT32  # what made the products so far
    # Whether samples are added one by one, as far as it is known which rows are of which.
    sees_samples: ClassVar[bool] = False
    # Whether it matters which of all tokens those seen are, and not only how many.
    sees_places: ClassVar[bool] = False
    # Attributes that are sums over tokens; None: nothing has been added yet.
    sums: ClassVar[tuple[str, ...]] = ()

    def __init__(self, num_in: int, device: torch.device | str = "cpu") -> None:
        self.num_in = num_in
        self.device = torch.device(device)
        self.num_tokens = 0
        self.sum_weights = 0.0  # of these tokens; where none has a weight, their number
        self.num_samples = 0
        self.num_before = 0  # tokens that come before all of these, which other ranks have seen

    def add(self, inputs_TI: Tensor, num_samples: int = 1, weights_T: Tensor | None = None) -> None:
        """Take in the inputs of `num_samples` calibration samples, one row per token.

        `weights_T`: how often each token counts, above 0; None: once.
        """
        assert inputs_TI.ndim == 2 and inputs_TI.shape[1] == self.num_in, inputs_TI.shape
        self.num_tokens += inputs_TI.shape[0]
        self.num_samples += num_samples
        if weights_T is not None:
            self._add_weighted(inputs_TI, weights_T)
            return
        self.sum_weights += inputs_TI.shape[0]
        if inputs_TI.shape[0] > 0:
            inputs_TI = inputs_TI.detach().to(self.device)
            as_it_is = self._takes_as_it_is(inputs_TI)
            self._accumulate(inputs_TI if as_it_is else inputs_TI.to(torch.float32))

    def _add_weighted(self, inputs_TI: Tensor, weights_T: Tensor) -> None:
        assert weights_T.shape == inputs_TI.shape[:1], weights_T.shape
        self.sum_weights += float(weights_T.sum(dtype=torch.float64))
        if inputs_TI.shape[0] > 0:
            weights_T = weights_T.to(self.device, torch.float32)
            self._accumulate_weighted(inputs_TI.detach().to(self.device), weights_T)

    def merge(self, other: "Statistic") -> None:
        """Take in what `other` has seen, as if its inputs were added after those seen here."""
        assert type(other) is type(self) and other.num_in == self.num_in, other
        self.num_tokens += other.num_tokens
        self.num_samples += other.num_samples
        self.sum_weights += other.sum_weights
        if other.products == TENSOR_CORES:
            self.products = TENSOR_CORES
        for name in self.sums:
            self._add_sum(name, getattr(other, name))
        self._merge(other)

    def _add_sum(self, name: str, other: Tensor | None) -> None:
        own: Tensor | None = getattr(self, name)
        if own is None and other is not None:
            setattr(self, name, other.to(self.device, copy=True))
        elif own is not None and other is not None:
            own += other.to(self.device)

    def without_sums(self) -> "Statistic":
        """Return all but the sums, to be sent to other ranks; not to be written to."""
        light = copy.copy(self)
        for name in self.sums:
            setattr(light, name, None)
        return light

    def weighted_square_sum(self, weight_OI: Tensor) -> float | None:
        """||X W^T||^2 (Frobenius), up to this statistic's scale; None: not known from it."""
        return None

    def divide_inputs(self, scale_I: Tensor) -> None:
        """Become the statistic of the inputs divided by a scale [I]."""
        raise NotImplementedError(f"{type(self).__name__} cannot follow inputs that are scaled")

    def is_finite(self) -> bool:
        """Return False where an input overflowed or was undefined."""
        return bool(torch.isfinite(self.square_sum_I()).all())

    def _takes_as_it_is(self, inputs_TI: Tensor) -> bool:
        """Return True where these inputs need not be turned into float32."""
        return False

    @abstractmethod
    def _accumulate(self, inputs_TI: Tensor) -> None:
        """Add inputs, already on the right device, and in float32 unless taken as they are."""

    def _accumulate_weighted(self, inputs_TI: Tensor, weights_T: Tensor) -> None:
        """Add inputs [T, I] of any dtype, each as often as its float32 weight says."""
        raise ConfigError(
            f"calibration.weighting: expected tokens, because {type(self).__name__} counts every "
            "token once. Type calibration.weighting=tokens, or give the class a method "
            "_accumulate_weighted(inputs_TI, weights_T)."
        )

    @abstractmethod
    def _merge(self, other: "Statistic") -> None:
        """Take in what `other`, of the same class, has beside `sums`; leave it as it is.

        Its tensors may be on another device.
        """

    @abstractmethod
    def square_sum_I(self) -> Tensor:
        """Unscaled sum of squares of every input feature, [I]."""


def as_often(inputs_TI: Tensor, weights_T: Tensor) -> Tensor:
    """Return float32 rows sqrt(w) x, whose squares and products count w times."""
    return inputs_TI.to(torch.float32) * weights_T.sqrt().unsqueeze(1)
