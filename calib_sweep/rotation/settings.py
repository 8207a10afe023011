"""The settings of a rotation: which matrix the residual stream of the dense model is rotated by.

    hadamard   Q = diag(s) H / sqrt(D), s random signs: every entry of a weight is spread over all
    random     Q of the QR decomposition of a matrix of normal numbers, the diagonal of R positive

Both as QuaRot makes them (arXiv:2404.00456). What is drawn depends on `seed` and D alone, never on
the calibration seed: all cells of a sweep share one rotated model. Where inputs of layers are
quantised, `online` rotates those of o_proj and down_proj as well, while the model runs.

Shapes: D = hidden size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import torch
from torch import Tensor, nn

from calib_sweep.errors import ConfigError, collected, require
from calib_sweep.method.base import Method
from calib_sweep.method.structured import StructuredMethod
from calib_sweep.method.whole_model import WholeModelMethod
from calib_sweep.model.input_rotation import remove_input_rotations
from calib_sweep.rotation.hadamard import factors_of, times
from calib_sweep.rotation.online import check_online, rotate_inputs
from calib_sweep.rotation.residual import Turn, Undo, check_rotation, rotate
from calib_sweep.seeding import stream
from calib_sweep.values import is_int

HADAMARD, RANDOM = "hadamard", "random"


@final
@dataclass(frozen=True, kw_only=True)
class Rotation:
    name: str  # label in records and tables
    matrix: str  # hadamard: with random signs | random: any orthogonal matrix
    seed: int  # of signs or matrix; not the calibration seed
    online: bool  # whether inputs that are quantised and no residual stream are rotated, too

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(
                require,
                self.matrix in (HADAMARD, RANDOM),
                "rotation.matrix",
                self.matrix,
                f"{HADAMARD} or {RANDOM}",
                f"Example: rotation.matrix={HADAMARD}, as published.",
            )
            problems.of(
                require,
                is_int(self.seed, 0),
                "rotation.seed",
                self.seed,
                "an integer >= 0",
                "Example: rotation.seed=0; it is not the calibration seed.",
            )
            problems.of(
                require,
                isinstance(self.online, bool),
                "rotation.online",
                self.online,
                "true or false",
                "Example: rotation.online=true, which adds to rotations of quantised inputs.",
            )

    @classmethod
    def reads_data(cls, _settings: Mapping[str, object]) -> bool:
        """Tell that no calibration data is needed, whatever the settings."""
        return False

    def check(self, model: nn.Module, *, is_quantized: bool) -> None:
        """Raise `ConfigError` unless `model` can be rotated; its weights may be on the meta device.

        `is_quantized`: whether inputs of its layers are, or will be. The matrix is not made: a
        random one of a large model takes seconds.
        """
        check_rotation(model)
        size = _hidden_size(model)
        if self.matrix == HADAMARD and factors_of(size) is None:
            raise ConfigError(
                f"rotation.matrix={HADAMARD!r}: expected a hidden size of which a Hadamard matrix "
                f"is known here, but it is {size}. Type rotation=random."
            )
        if self.online and is_quantized:
            check_online(model)

    def check_method(self, method: Method, *, is_quantized: bool) -> None:
        """Raise `ConfigError` where a method asks for what products at run time mix."""
        if self.online and is_quantized and isinstance(method, StructuredMethod | WholeModelMethod):
            raise ConfigError(
                f"rotation.online=True: expected false with {type(method).__name__} and "
                "activations: it sees heads, neurons or a whole checkpoint, and Hadamard products "
                "at run time are none of these. Type rotation.online=false."
            )

    def apply(self, model: nn.Module, *, is_quantized: bool) -> Undo:
        """Rotate `model` in place; return what undoes it, but for the values of its parameters.

        `is_quantized`: whether inputs of its layers will be.
        """
        self.check(model, is_quantized=is_quantized)
        tie_again = rotate(model, self.turn(_hidden_size(model)))
        if self.online and is_quantized:
            rotate_inputs(model)

        def undo() -> None:
            tie_again()
            remove_input_rotations(model)

        return undo

    def turn(self, size: int) -> Turn:
        """Return x -> x Q for vectors of this size."""
        generator = stream("rotation", self.matrix, self.seed, size)
        if self.matrix == RANDOM:
            normal_DD = torch.from_numpy(generator.standard_normal((size, size)))
            q_DD, r_DD = torch.linalg.qr(normal_DD)
            return partial(_product, q_DD * r_DD.diagonal().sign())
        factors = factors_of(size)
        assert factors is not None, size
        sign_D = torch.from_numpy(generator.integers(2, size=size) * 2.0 - 1)
        return lambda x: times(x * sign_D.to(x), factors)


def _product(q_DD: Tensor, x: Tensor) -> Tensor:
    return x @ q_DD.to(x)


def _hidden_size(model: Any) -> int:
    return model.config.get_text_config(decoder=True).hidden_size
