"""Structured methods: whole blocks, attentions, heads, neurons or experts of a model go.

    survey   every dense block runs once on the calibration set; a method notes what it needs
    plan     which parts of which block go, from all that was noted

Removal is simulated: the weights and biases of what goes become zero, so that the model computes
what a smaller one would, at the size that it had. What a smaller one would save is counted.

Shapes: T = tokens that count, D = hidden size, B = decoder blocks.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor

from calib_sweep.errors import require
from calib_sweep.method.base import LayerMethod, Method, Work


@dataclass(frozen=True, kw_only=True)
class ByLayer(Method):
    """A method for every linear layer of one block, by its name; none of them needs data."""

    methods: Mapping[str, LayerMethod]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one batch of calibration samples was in a dense block, a row for each token."""

    before_TD: Tensor  # hidden states that enter the block
    after_TD: Tensor  # and leave it; those of the last one through the model's final norm
    weights_T: Tensor | None  # how often each token counts; None: once


class Survey(Protocol):
    """What a method notes of one dense block."""

    def add(self, seen: Seen) -> None:
        """Take in a batch."""
        ...


@dataclass(frozen=True, kw_only=True)
class Removal:
    """The parts of a block that go."""

    whole: bool = False  # the block as a whole: it passes on what enters it


class SurveyedModel(Protocol):
    """All dense blocks of a model, surveyed."""

    @property
    def surveys_B(self) -> Sequence[Survey]: ...


class StructuredMethod(Method, ABC):
    """Looks at the dense model as a whole, in a pass of its own, then says which parts go."""

    propagates_dense: ClassVar[bool] = True  # the survey is all that needs data, and it is dense

    @classmethod
    def reads_data(cls, settings: Mapping[str, object]) -> bool:
        return True

    def work(self) -> Work:
        return Work(passes=1)

    @abstractmethod
    def check_blocks(self, num_blocks: int) -> None:
        """Raise `ConfigError` where these settings do not fit a model of so many blocks."""

    @abstractmethod
    def start_survey(self) -> Survey:
        """Begin to look at a dense block."""

    @abstractmethod
    def plan_removal(self, model: SurveyedModel) -> list[Removal]:
        """Return what goes of every block. Draws nothing and leaves the model as it is."""


def check_whole_blocks(sparsity: float, num_blocks: int) -> int:
    """Number of blocks nearest to a share of all; neither none nor all of them."""
    num_removed = int(sparsity * num_blocks + 0.5)
    require(
        0 < num_removed < num_blocks,
        "method.sparsity",
        sparsity,
        f"a share that removes 1 to {num_blocks - 1} of {num_blocks} blocks, not {num_removed}",
        f"Example: method.sparsity={1 / num_blocks:.4g} removes one.",
    )
    return num_removed
