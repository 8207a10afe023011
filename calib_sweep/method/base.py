"""Compression methods: settings, and a function from what a method sees to what becomes of it.

    LayerMethod   a weight, a statistic of its inputs   -> a new weight
    BlockMethod   a dense block, its statistics         -> scales to move inside it, and a
                                                           LayerMethod for each of its layers
    ModelMethod   a rating of every dense block         -> a LayerMethod for each block

Two more kinds have files of their own: methods that remove parts of a model (`structured.py`), and
those that are handed all of it (`whole_model.py`).

Concrete methods are final, frozen, keyword-only dataclasses that check their settings in
`__post_init__` and do nothing else there.

Shapes: O = out_features, I = in_features, B = decoder blocks.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

from torch import Tensor

from calib_sweep.errors import ConfigError, require
from calib_sweep.method.grids.weight_format import WeightFormat, WeightGrid
from calib_sweep.method.statistics.statistic import Statistic


class Work(NamedTuple):
    """What a method does, about, for an estimate of what it costs."""

    passes: float = 0  # over the calibration set; 0: it needs none
    solves: bool = False  # whether it factorises Hessians and makes up for a column in all others
    column_steps: float = 0  # operations that wait for each other, for each column of a layer
    sweeps: float = 25  # times that all weights are read and written, element by element
    products: float = 0  # times that all weights are multiplied with a matrix of their inputs
    streams: int = 1  # of hidden states that the walk carries; 2: the dense model's as well


def rounding_sweeps(mse: bool, weighting: str | None) -> float:
    """Sweeps of rounding to grids, with a search of a hundred or of twenty scales."""
    plain = Work().sweeps
    return plain + 500 if mse else plain + 40 if weighting is not None else plain


class Method:
    """The base of all methods."""

    # What to accumulate about a layer's inputs. None: the method needs no data, so its cell leaves
    # out dataset, seed and calibration, runs once per sweep, and stands for every seed in analysis.
    # Where it hangs on settings it is a property, and `reads_data` says when it is not None.
    statistic: ClassVar[type[Statistic] | None] = None

    # Whether the authors pass the outputs of the dense block on, not those of the compressed one.
    propagates_dense: ClassVar[bool] = False

    # Whether it moves scale between the layers of a block: it must be known which to which.
    migrates_scale: ClassVar[bool] = False

    # Whether it moves scale from norms alone: then a model needs to have some before its layers.
    scales_behind_norms: ClassVar[bool] = False

    # Whether its statistic is of pairs (`add_pair`): what a layer sees, and what it saw of the same
    # token in the dense model. The walk then carries the dense model's hidden states as well.
    compares_streams: ClassVar[bool] = False

    @classmethod
    def reads_data(cls, settings: Mapping[str, object]) -> bool:
        """Tell from settings as they were given, checked or not, whether data is needed."""
        return cls.statistic is not None

    def work(self) -> Work:
        """Say what the method does beside what every walk does."""
        return Work() if self.statistic is None else Work(passes=2)  # observe, propagate

    def check_shape(self, name: str, num_out: int, num_in: int) -> None:
        """Raise `ConfigError` when these settings do not fit a layer of this shape."""

    def fingerprint(self) -> str | None:
        """Hash what is not in the settings and moves numbers: files, versions; None: nothing."""
        return None

    def grid_format(self) -> WeightFormat:
        """The format of the grids that all new weights lie on; `ConfigError` where they do not.

        A method that has one puts a `grid` into every `CompressedWeight`.
        """
        raise ConfigError(
            "save_model='compressed-tensors': expected a method with one grid per row or "
            f"group, such as rtn or gptq, but this one is {type(self).__name__}. "
            "Type save_model=dense, or leave the method out of this sweep."
        )


@dataclass(frozen=True, kw_only=True)
class CompressedWeight:
    """A layer's replacement: a weight, and what was done to get it."""

    weight_OI: Tensor  # same shape and dtype as the weight that went in
    bits: float | None = None  # average bits per weight; None: not on a grid, stored as it came
    damping: float | None = (
        None  # fraction of the mean Hessian diagonal really used; None: no solve
    )
    grid: WeightGrid | None = (
        None  # where all new weights lie; None: nowhere, or not of such a form
    )
    note: str | None = None  # what was out of the ordinary: dead columns, retried factorisation
    bias_O: Tensor | None = None  # the layer's new bias; None: it stays as it is
    num_removed: int = 0  # weights of removed parts, which a smaller model would not hold
    # What the layer's inputs are put through from now on, [..., I] -> [..., I]; None: they stay.
    # Each [I] by itself: a row that is scored holds tokens of several texts, and padding.
    # It is undone with the weight. Fused experts cannot carry one, checkpoints neither.
    input_quantizer: Callable[[Tensor], Tensor] | None = None


class LayerMethod(Method, ABC):
    """Compresses the linear layers of decoder blocks one at a time."""

    def for_layer(self, name: str) -> "LayerMethod":
        """Return the method for the layer of this name in its block, of the same statistic."""
        return self

    @abstractmethod
    def compress_weight(self, weight_OI: Tensor, statistic: Statistic | None) -> CompressedWeight:
        """Return the new weight and what was done. Draws nothing and never edits its arguments."""

    def for_fused(self, weights: Sequence[Tensor]) -> "LayerMethod":
        """Return the method to use for layers that runtimes fuse into one, [O, I] of each.

        They are asked about as they were before any of them is compressed; a layer that is fused
        with no other is asked about alone. A format that they share a number of wants to know.
        """
        return self


def check_base(base: LayerMethod) -> None:
    """Raise `ConfigError` for a base of another method that needs what only the walk can give."""
    require(
        not base.compares_streams,
        "method.base",
        type(base).__name__,
        "a method that sees its layer alone, as nobody tells a base what the dense model sees",
        f"Type method=NAME with {type(base).__name__} itself, or take GPTQ as the base.",
    )


@dataclass(frozen=True, kw_only=True)
class ScalingGroup:
    """Linear layers fed by one tensor, whose features can be divided by a scale."""

    layers: tuple[str, ...]  # all that read the tensor: their columns are multiplied
    folds_into: str | None  # norm or linear layer whose output is divided; None: no such
    inspected: str | None  # smallest module around the layers; None: the layer itself
    followers: tuple[str, ...] = ()  # modules that read it too and stay dense: routers


class DenseBlock(Protocol):
    """A dense decoder block with its calibration inputs, as a `BlockMethod` sees it."""

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """The linear layers' weights [O, I] by name; not to be written to."""
        ...

    @property
    def follower_weights(self) -> Mapping[str, Tensor]:
        """Those of the groups' followers, by name."""
        ...

    @property
    def statistics(self) -> Mapping[str, Statistic]:
        """Of the linear layers' inputs; none for a layer that was never called."""
        ...

    @property
    def groups(self) -> Sequence[ScalingGroup]:
        """The layers that can be scaled, by the tensor that they read."""
        ...

    @property
    def score_layers(self) -> Set[str]:
        """Linear layers whose outputs are queries or keys, the factors of attention scores."""
        ...

    def output_errors(
        self, group: ScalingGroup, candidates: Sequence[Callable[[], Mapping[str, Tensor]]]
    ) -> list[float]:
        """Squared change of the inspected module's output, one sum per candidate.

        A candidate makes new weights [O, I] for the layers of the group; all else stays dense.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class BlockPlan:
    """The wishes of a `BlockMethod` for one block."""

    scales: Mapping[ScalingGroup, Tensor]  # [I], folded into the producer; first of all
    methods: Mapping[str, LayerMethod]  # for every linear layer, on weight and inputs as scaled


class BlockMethod(Method, ABC):
    """Looks at a dense block as a whole, then hands each of its layers a method."""

    migrates_scale: ClassVar[bool] = True

    @abstractmethod
    def plan_block(self, block: DenseBlock) -> BlockPlan:
        """Decide on scales and methods. Draws nothing and leaves the block as it is."""


class ModelMethod(Method, ABC):
    """Looks at the dense model as a whole, in a pass of its own, then hands each block a method."""

    def work(self) -> Work:
        return Work(passes=3)  # profile, observe, propagate

    @abstractmethod
    def sensitivity(
        self, weights: Mapping[str, Tensor], statistics: Mapping[str, Statistic]
    ) -> float:
        """Say how a dense block is, from its weights [O, I] and statistics of their inputs."""

    @abstractmethod
    def plan_model(
        self, ratings_B: Sequence[float], num_weights_B: Sequence[int]
    ) -> list[LayerMethod]:
        """Return the method of every block."""
