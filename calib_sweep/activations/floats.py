"""Inputs as floating-point numbers of few bits: `activations=fp8`, `nvfp4`, `mxfp4`.

    fp8     E4M3, s = max |x| / 448, of each token; static: of all calibration tokens of a layer
    mxfp4   E2M1, groups of 32 neighbouring inputs of a token: s = 2^(floor(log2 max |x|) - 2);
            four_thirds: 4/3 of that
    nvfp4   E2M1, groups of 16: s = E4M3(max |x| / 6 * g) / g,   g = 448 * 6 / max |x| of all
            calibration tokens of a layer; dynamic: of each token
    q(x) = s * the number nearest to x / s

The numbers and grids are those of weights (`method/grids/float_formats.py`): a token is what a row
is there. Scales of groups are made anew for every token in both FP4 formats. What nvfp4 takes from
calibration data is g, one number for a layer, as checkpoints hold it: a token with larger inputs
than all that were seen is clipped. The form of fp8 and nvfp4 that no data moves is
`scaling=dynamic`.

Shapes: T = tokens, I = in_features, G = groups of a token.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from calib_sweep.activations.base import STATIC, Activations, Quantizer, check_scaling
from calib_sweep.errors import require
from calib_sweep.method.grids.float_formats import (
    FOUR_THIRDS,
    FP8,
    LARGEST_FACTOR,
    MXFP4,
    NVFP4,
    OCP,
    nvfp4_scale_OG,
)
from calib_sweep.method.grids.float_grid import FloatGrid, Groups, scale_to
from calib_sweep.method.grids.floats import E2M1, E4M3
from calib_sweep.method.statistics.input_range import InputRange
from calib_sweep.method.statistics.statistic import Statistic


class _Floats(ABC):
    """A quantiser of tokens, one row of a matrix each."""

    label: str  # in reports

    def __call__(self, inputs: Tensor) -> Tensor:
        x_TI = inputs.reshape(-1, inputs.shape[-1]).to(torch.float32)
        return self.round(x_TI).to(inputs.dtype).reshape(inputs.shape)

    @abstractmethod
    def round(self, x_TI: Tensor) -> Tensor: ...


@final
@dataclass(frozen=True, kw_only=True)
class FP8Inputs(Activations):
    name: str  # label in records and tables
    scaling: str  # "dynamic": every token by itself; "static": a layer's calibration tokens

    def __post_init__(self) -> None:
        check_scaling(self.scaling)

    @property
    def statistic(self) -> type[Statistic] | None:
        return InputRange if self.scaling == STATIC else None

    def quantizer(self, statistic: Statistic | None) -> Quantizer:
        if self.scaling != STATIC:
            return _ByToken("fp8 dynamic", FP8())
        return _FixedFP8("fp8 static", scale_to(_largest(statistic), E4M3))


@final
@dataclass(frozen=True, kw_only=True)
class MXFP4Inputs(Activations):
    name: str  # label in records and tables
    scale_rule: str  # "ocp", or "four_thirds": a power of two as it is, or 4/3 of it

    group_size: ClassVar[int] = MXFP4().group_size

    def __post_init__(self) -> None:
        require(
            self.scale_rule in (OCP, FOUR_THIRDS),
            "activations.scale_rule",
            self.scale_rule,
            f"{OCP} or {FOUR_THIRDS}",
            f"Example: activations.scale_rule={OCP}, the rule of the standard.",
        )

    def quantizer(self, statistic: Statistic | None) -> Quantizer:
        return _ByToken("mxfp4 dynamic", MXFP4(scale_rule=self.scale_rule))


@final
@dataclass(frozen=True, kw_only=True)
class NVFP4Inputs(Activations):
    name: str  # label in records and tables
    scaling: str  # of the factor of all groups: "static": a layer's calibration tokens; "dynamic"

    group_size: ClassVar[int] = NVFP4().group_size

    def __post_init__(self) -> None:
        check_scaling(self.scaling)

    @property
    def statistic(self) -> type[Statistic] | None:
        return InputRange if self.scaling == STATIC else None

    def quantizer(self, statistic: Statistic | None) -> Quantizer:
        if self.scaling != STATIC:
            return _NVFP4("nvfp4 dynamic", None)
        return _NVFP4("nvfp4 static", _factor(_largest(statistic)))


def _largest(statistic: Statistic | None) -> Tensor:
    """Return the largest magnitude of all inputs that were seen, [1, 1]."""
    assert isinstance(statistic, InputRange), statistic
    return statistic.magnitude_I().amax().reshape(1, 1)


def _factor(largest_T1: Tensor) -> Tensor:
    """Return g; 1 where all inputs are 0."""
    reach = torch.full_like(largest_T1, E4M3.largest * E2M1.largest)
    factor_T1 = (reach / largest_T1).clamp(max=LARGEST_FACTOR)
    return factor_T1.masked_fill(largest_T1 == 0, 1.0)


@dataclass(frozen=True)
class _ByToken(_Floats):
    label: str
    form: FP8 | MXFP4

    def round(self, x_TI: Tensor) -> Tensor:
        return self.form.fit(x_TI).round(x_TI)


@dataclass(frozen=True)
class _FixedFP8(_Floats):
    label: str
    scale_11: Tensor

    def round(self, x_TI: Tensor) -> Tensor:
        scale_T1 = self.scale_11.expand(len(x_TI), 1)
        return FloatGrid(scale_OG=scale_T1, levels=E4M3, group_size=None).round(x_TI)


@dataclass(frozen=True)
class _NVFP4(_Floats):
    label: str
    factor_11: Tensor | None  # g; None: of each token its own

    def round(self, x_TI: Tensor) -> Tensor:
        size = NVFP4().group_size
        limit_TG = Groups(size=size).limit_OG(x_TI)
        factor_T1 = self.factor_11
        if factor_T1 is None:
            factor_T1 = _factor(limit_TG.amax(dim=1, keepdim=True))
        scale_TG = nvfp4_scale_OG(limit_TG, factor_T1)
        return FloatGrid(scale_OG=scale_TG, levels=E2M1, group_size=size).round(x_TI)
