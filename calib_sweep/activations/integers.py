"""Inputs as integers: `activations=int8`, `activations=int4`.

Of each token, or of all calibration tokens of a layer where `scaling` is static:

    low, high = min(min x, 0), max(max x, 0)

    symmetric       s = max(c max(-low, high), 1e-5) / (2^(b-1) - 1)
                    q(x) = s clamp(round(x / s), -2^(b-1), 2^(b-1) - 1)
    else            s = max(c (high - low), 1e-5) / (2^b - 1),   z = round(-c low / s)
                    q(x) = s (clamp(round(x / s) + z, 0, 2^b - 1) - z)

Symmetric with b = 8 and c = 1 it is the fake quantisation of SmoothQuant (Xiao et al. 2023,
arXiv:2211.10438), with b = 4 and c = 0.9 that of QuaRot (Ashkboos et al. 2024, arXiv:2404.00456),
whose asymmetric form GPTAQ (arXiv:2504.02692) uses.

Deviations: computed in float32 and rounded to the inputs' dtype once, where SmoothQuant computes in
half precision; 1e-5, SmoothQuant's smallest range, also stands for QuaRot's rule that tokens of
zeros have a scale of 1.

Shapes: T = tokens, I = in_features.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from calib_sweep.activations.base import STATIC, Activations, Quantizer, check_scaling
from calib_sweep.errors import collected, require
from calib_sweep.method.settings import check_flag
from calib_sweep.method.statistics.input_range import InputRange
from calib_sweep.method.statistics.statistic import Statistic
from calib_sweep.values import is_int, is_number

SMALLEST_RANGE = 1e-5
AS_THEY_ARE = 16  # bits of the papers' A16: nothing is quantised


@final
@dataclass(frozen=True, kw_only=True)
class IntegerInputs(Activations):
    name: str  # label in records and tables
    bits: int  # of an input's integer code, 2 to 8; 16: inputs stay as they are
    symmetric: bool  # whether zero is the middle of the grid
    clip_ratio: float  # what the range is multiplied by: c
    scaling: str  # "dynamic": every token by itself; "static": a layer's calibration tokens

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(self._check_bits)
            remedy = "Example: activations.symmetric=true, as SmoothQuant has it."
            problems.of(check_flag, "activations.symmetric", self.symmetric, remedy)
            problems.of(check_clip_ratio, self.clip_ratio)
            problems.of(check_scaling, self.scaling)

    @classmethod
    def reads_data(cls, settings: Mapping[str, object]) -> bool:
        return super().reads_data(settings) and settings.get("bits") != AS_THEY_ARE

    def _check_bits(self) -> None:
        require(
            is_int(self.bits) and (2 <= self.bits <= 8 or self.bits == AS_THEY_ARE),
            "activations.bits",
            self.bits,
            f"an integer from 2 to 8, or {AS_THEY_ARE}, which leaves inputs as they are",
            "Example: activations.bits=8.",
        )

    @property
    def statistic(self) -> type[Statistic] | None:
        return InputRange if self.scaling == STATIC and self.bits != AS_THEY_ARE else None

    def quantizer(self, statistic: Statistic | None) -> Quantizer | None:
        if self.bits == AS_THEY_ARE:
            return None
        limits = None
        if statistic is not None:
            assert isinstance(statistic, InputRange), statistic
            limits = statistic.low_I().amin().clamp(max=0), statistic.high_I().amax().clamp(min=0)
        return _Integers(self, limits)


@dataclass(frozen=True)
class _Integers:
    settings: IntegerInputs
    limits: tuple[Tensor, Tensor] | None  # low and high of all tokens; None: of each one its own

    @property
    def label(self) -> str:
        return f"int{self.settings.bits} {self.settings.scaling}"

    def __call__(self, inputs: Tensor) -> Tensor:
        x = inputs.to(torch.float32)
        low, high = self.limits or (
            x.amin(dim=-1, keepdim=True).clamp(max=0),
            x.amax(dim=-1, keepdim=True).clamp(min=0),
        )
        return self._rounded(x, low, high).to(inputs.dtype)

    def _rounded(self, x: Tensor, low: Tensor, high: Tensor) -> Tensor:
        bits, ratio = self.settings.bits, self.settings.clip_ratio
        if self.settings.symmetric:
            largest = 2 ** (bits - 1) - 1
            scale = over((ratio * torch.maximum(-low, high)).clamp(min=SMALLEST_RANGE), largest)
            return (x / scale).round().clamp(-largest - 1, largest) * scale
        highest = 2**bits - 1
        scale = over((ratio * (high - low)).clamp(min=SMALLEST_RANGE), highest)
        zero_point = (-ratio * low / scale).round()
        return ((x / scale).round().add(zero_point).clamp(0, highest) - zero_point) * scale


def over(value: Tensor, number: float) -> Tensor:
    """Divide by a number as a CPU does: a GPU multiplies by its reciprocal, which moves ties."""
    return value / torch.full_like(value, number)


def check_clip_ratio(clip_ratio: object) -> None:
    require(
        is_number(clip_ratio) and 0 < clip_ratio <= 1,
        "activations.clip_ratio",
        clip_ratio,
        "a number above 0, at most 1",
        "Example: activations.clip_ratio=1, which clips nothing; QuaRot has 0.9 at 4 bits.",
    )
