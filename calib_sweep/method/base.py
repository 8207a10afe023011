"""What a compression method is: settings, and a function from a weight to a new weight.

Shapes: O = out_features, I = in_features.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from calib_sweep.method.statistics import Statistic


@dataclass(frozen=True, kw_only=True)
class CompressedWeight:
    """A compressed weight and what was done to get it."""

    weight_OI: Tensor  # same shape and dtype as the weight that went in
    bits: float | None = None  # average bits per weight; None: not on a grid, stored as it came
    damping: float | None = (
        None  # fraction of the mean Hessian diagonal really used; None: no solve
    )
    note: str | None = None  # what was out of the ordinary: dead columns, retried factorisation


class LayerMethod(ABC):
    """Compresses the linear layers of decoder blocks one at a time.

    Concrete methods are final, frozen, keyword-only dataclasses that check their settings in
    `__post_init__` and do nothing else there.
    """

    # What to accumulate about a layer's inputs. None: the method needs no data, so its cell leaves
    # out dataset, seed and calibration, runs once per sweep, and stands for every seed in analysis.
    statistic: ClassVar[type[Statistic] | None] = None

    @abstractmethod
    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        """Return the new weight and what was done. Draws nothing and never edits its arguments."""

    def check_shape(self, name: str, num_out: int, num_in: int) -> None:  # noqa: B027
        """Raise `ConfigError` when these settings do not fit a layer of this shape."""
