"""How the inputs of linear layers are quantised: `activations=NAME`, the same before any method.

    y = W' q(x) + b,   q the quantiser, W' what the method makes of the weight

The walk puts a quantiser in front of every linear layer of a block before it looks at the layers'
inputs. So a method's statistics, what later blocks see and what is scored are all of q(x).

Shapes: T = tokens, I = in_features.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

from torch import Tensor

from calib_sweep.errors import require
from calib_sweep.method.settings import check_groups_fit
from calib_sweep.method.statistics.statistic import Statistic

# [..., I] -> [..., I] of the same dtype. Each [I] by itself: a row that is scored holds tokens of
# several texts, and padding.
Quantizer = Callable[[Tensor], Tensor]

DYNAMIC, STATIC = "dynamic", "static"


class Activations(ABC):
    """The base of all; concrete ones are final, frozen, keyword-only dataclasses."""

    name: str  # its label in records and tables

    # Neighbouring inputs that share a scale of their own. They have to fill a layer's inputs.
    group_size: ClassVar[int] = 1

    @classmethod
    def reads_data(cls, settings: Mapping[str, object]) -> bool:
        """Tell from settings as they were given, checked or not, whether data is needed."""
        return settings.get("scaling") == STATIC

    @property
    def statistic(self) -> type[Statistic] | None:
        """What to accumulate about a layer's inputs, not quantised yet; None: nothing."""
        return None

    @abstractmethod
    def quantizer(self, statistic: Statistic | None) -> Quantizer | None:
        """Return what a layer's inputs are put through; None: they stay as they are."""

    def check_shape(self, name: str, num_in: int) -> None:
        """Raise `ConfigError` when these settings do not fit a layer of so many inputs."""
        check_groups_fit("activations", self.name, self.group_size, name, num_in)


def check_scaling(scaling: object) -> None:
    require(
        scaling in (DYNAMIC, STATIC),
        "activations.scaling",
        scaling,
        f"{DYNAMIC} (every token by itself) or {STATIC} (by calibration data, once for each layer)",
        f"Example: activations.scaling={DYNAMIC}, which needs no data.",
    )
