"""Structured methods: whole blocks, attentions, heads, neurons or experts of a model go.

    survey   every dense block runs once on the calibration set; a method notes what it needs
    plan     which parts of which block go, from all that was noted

Removal is simulated: the weights and biases of what goes become zero, so that the model computes
what a smaller one would, at the size that it had. What a smaller one would save is counted.

Shapes: T = tokens that count, R = those sent to an expert, D = hidden size, I = in_features, H =
heads of queries, F = neurons, E = experts, B = decoder blocks.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Protocol, Self

from torch import Tensor

from calib_sweep.errors import require
from calib_sweep.method.base import LayerMethod, Method, Work


@dataclass(frozen=True, kw_only=True)
class ByLayer(Method):
    """A method for every linear layer of one block, by its name; none of them needs data."""

    methods: Mapping[str, LayerMethod]
    removed_E: Tensor | None = None  # experts that the block's router no longer chooses


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a block that adds to the residual stream: attention, or feed-forward."""

    out: str  # its last linear layer, whose columns are outputs of heads, or neurons
    layers: tuple[str, ...]  # all of its linear layers
    num_weights: int  # of them
    num_inputs: int  # of the last one
    has_bias: bool = False  # whether the last one came with a bias


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """A mixture of fused experts, and the router that chooses some of them for every token."""

    experts: str  # module of the experts
    router: str  # module of the router
    num_experts: int
    num_chosen: int  # for a token


@dataclass(frozen=True, kw_only=True)
class BlockParts:
    """What a decoder block is made of."""

    kind: str  # class of the block
    attention: Part | None  # None: not known
    feed_forward: Part | None  # None: not known, or experts
    num_heads: int | None  # of queries; None: not known which rows of which layer are whose
    mixture: Mixture | None = None  # None: there is none, or its router is of no known form


class Routed(NamedTuple):
    """The tokens of a batch that were sent to an expert."""

    gates_R: Tensor  # what the expert's outputs are multiplied by
    norms_R: Tensor  # of these outputs
    weights_R: Tensor | None  # how often each token counts; None: once


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What one batch of calibration samples was in a dense block, a row for each token."""

    before_TD: Tensor  # hidden states that enter the block
    after_TD: Tensor  # and leave it; those of the last one through the model's final norm
    weights_T: Tensor | None = None  # how often each token counts; None: once
    sample_T: Tensor | None = None  # which sample of the batch a token is of
    inputs: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])  # [T, I] of `layers`
    routed: Sequence[tuple[int, Routed]] = ()  # by expert, where `sees_experts`
    is_share: bool = False  # whether other ranks see samples that come before or after these


class Survey(Protocol):
    """What a method notes of one dense block."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Linear layers whose inputs are asked for."""
        ...

    @property
    def sees_experts(self) -> bool:
        """Whether it is asked what experts give."""
        ...

    def add(self, seen: Seen) -> None:
        """Take in a batch."""
        ...

    def merge(self, other: Self) -> None:
        """Take in what `other` has noted on another rank, of samples after those noted here.

        Leave it as it is. Its tensors may be on another device.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Removal:
    """The parts of a block that go."""

    whole: bool = False  # the block as a whole: it passes on what enters it
    attention: bool = False  # attention as a whole: it adds nothing
    heads_H: Tensor | None = None  # heads of queries, True where one goes
    neurons_F: Tensor | None = None  # neurons, True where one goes
    experts_E: Tensor | None = None  # experts, True where one goes
    # By last layer of a part, mean inputs [I]: the share of what goes moves into its bias.
    means: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])


class SurveyedModel(Protocol):
    """All dense blocks of a model, surveyed."""

    @property
    def blocks_B(self) -> Sequence[BlockParts]: ...
    @property
    def surveys_B(self) -> Sequence[Survey]: ...
    def losses(self, removals: Sequence[Sequence[Removal]], num_samples: int) -> list[float]:
        """Mean over tokens of -log p of the first samples, where attentions and neurons went."""
        ...


class StructuredMethod(Method, ABC):
    """Looks at the dense model as a whole, in a pass of its own, then says which parts go."""

    removes_experts: ClassVar[bool] = False
    propagates_dense: ClassVar[bool] = True  # the survey is all that needs data, and it is dense

    @classmethod
    def reads_data(cls, settings: Mapping[str, object]) -> bool:
        return True

    def work(self) -> Work:
        return Work(passes=1)

    @abstractmethod
    def check_blocks(self, blocks_B: Sequence[BlockParts]) -> None:
        """Raise `ConfigError` where a model of such blocks has not what these settings remove."""

    def check_saving(self, blocks_B: Sequence[BlockParts]) -> None:
        """Raise `ConfigError` where no checkpoint of such blocks holds what is made of them."""

    @abstractmethod
    def start_survey(self, block: BlockParts, weights: Mapping[str, Tensor]) -> Survey:
        """Begin to look at a dense block. `weights` [O, I] by layer, not to be kept."""

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


def check_attention_and_neurons(blocks_B: Sequence[BlockParts]) -> None:
    """Raise `ConfigError` where a block has not attention and one feed-forward part of neurons."""
    for index, block in enumerate(blocks_B):
        require(
            block.attention is not None and block.feed_forward is not None,
            "model",
            block.kind,
            f"blocks of attention and one feed-forward part, not of experts (block {index})",
            "Choose another model; method=reap removes experts, method=shortgpt whole blocks.",
        )
