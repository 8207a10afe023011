"""Methods that are handed the whole model: tools of others, which walk over its blocks themselves.

    WholeModelMethod   a dense model and its calibration samples -> new weights, all of them

Such a method sees the samples without padding, each token once, and gives back parameters under the
names that they have in the model. What it gives back is checked and put in place by
`compression.whole_model`, which also reports on every layer: by comparing it before and after.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

from torch import Tensor

from calib_sweep.errors import collected, require
from calib_sweep.method.base import Method, Work


class ToolError(Exception):
    """A tool of somebody else's did not do what was asked; the message has its own words."""


class Handed(Protocol):
    """A dense model and its calibration set, as a `WholeModelMethod` is handed them."""

    @property
    def samples(self) -> Sequence[Tensor]:
        """Token ids [T] of each sample, without padding; empty where no data is asked for."""
        ...

    @property
    def tokenizer(self) -> Any:
        """Of transformers."""
        ...

    def private_copy(self) -> Any:
        """Copy the model to the CPU, to be changed at will: a `PreTrainedModel`."""
        ...

    def write_model(self, folder: Path) -> None:
        """Write the dense model with its tokenizer, as Hugging Face lays it out."""
        ...

    def write_set(self, folder: Path) -> None:
        """Write the calibration set, as a released one."""
        ...

    def read_weights(self, folder: Path) -> Mapping[str, Tensor]:
        """Read the parameters of a model of the same architecture, on the CPU, dense."""
        ...


@dataclass(frozen=True, kw_only=True)
class CompressedModel:
    """What became of a model. All names are those of its own modules and parameters."""

    weights: Mapping[str, Tensor]  # every parameter, by name
    bits: Mapping[str, float] = field(default_factory=dict[str, float])  # per weight, by module
    # What the inputs of a module are put through from now on, by module: see `CompressedWeight`.
    input_quantizers: Mapping[str, Callable[[Tensor], Tensor]] = field(
        default_factory=dict[str, Callable[[Tensor], Tensor]]
    )


class WholeModelMethod(Method, ABC):
    """Compresses a model as a whole, by rules of its own."""

    # Whether a model that comes back as it was is a mistake.
    must_change: ClassVar[bool] = False

    @property
    @abstractmethod
    def needs_data(self) -> bool:
        """Whether it wants samples; the same as `reads_data` says of its settings."""

    @abstractmethod
    def compress_model(self, handed: Handed) -> CompressedModel:
        """Return what becomes of the model, which stays as it is. `ToolError` where it fails."""

    def require_alone(self, others: Mapping[str, object]) -> None:
        """Raise `ConfigError` for a part of the configuration that the tool would not know of."""
        for key, value in others.items():
            require(
                value is None,
                key,
                value,
                f"null with {type(self).__name__}, which would not know of it",
                f"Type {key}=null; a tool may do the like by itself.",
            )

    def require_one_rank(self, num_ranks: int) -> None:
        """Raise `ConfigError` where several ranks share a cell: a tool runs in one process."""
        require(
            num_ranks == 1,
            "ranks_per_cell",
            num_ranks,
            f"1 with {type(self).__name__}, which runs in one process",
            "Type ranks_per_cell=1, or leave the method out of this sweep.",
        )

    def require_plain_walk(self, settings: Mapping[str, object]) -> None:
        """Raise `ConfigError` for settings of the walk that are not its defaults."""
        with collected() as problems:
            for key, value in settings.items():
                default = "published" if key == "propagate" else False
                told = str(default).lower()
                problems.of(
                    require,
                    value == default,
                    f"walk.{key}",
                    value,
                    f"{told} with {type(self).__name__}, which walks over the blocks by itself",
                    f"Type walk.{key}={told}.",
                )

    def check_machine(self) -> None:
        """Raise `ConfigError` where this machine lacks what the method runs."""

    def work(self) -> Work:
        return Work(passes=2 if self.needs_data else 0)
