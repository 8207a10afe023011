"""A dense model as a structured method sees it, and what stands for parts of it that went.

Shapes: B = decoder blocks, N = samples, T = tokens of a sample, I = in_features.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor, nn

from calib_sweep.errors import require
from calib_sweep.method.structured import BlockParts, Removal, Survey
from calib_sweep.model.blocks import DecoderBlock, LinearLayer
from calib_sweep.model.calls import with_first_tensor
from calib_sweep.model.input_rotation import has_rotated_input
from calib_sweep.model.likelihood import token_log_probs
from calib_sweep.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Hook = tuple[nn.Module, Callable[..., object]]  # what runs before or after the forward of a module


@dataclass(frozen=True, kw_only=True)
class Surveyed:
    """A dense model as a structured method sees it."""

    blocks_B: Sequence[BlockParts]
    surveys_B: Sequence[Survey]
    model: nn.Module
    modules: Sequence[DecoderBlock]
    tokens_NT: Tensor
    lengths_N: Tensor | None
    ranks: Ranks = ALONE  # that share what is tried

    def losses(self, removals: Sequence[Sequence[Removal]], num_samples: int) -> list[float]:
        """The loss of each of several removals."""
        share = self.ranks.share(len(removals))
        return self.ranks.gathered(
            self.ranks.together(
                lambda: [self.loss(removals[place], num_samples) for place in share]
            )
        )

    def loss(self, removals_B: Sequence[Removal], num_samples: int) -> float:
        """Mean over tokens of -log p of the first samples; hooks stand for what goes."""
        lengths_N = None if self.lengths_N is None else self.lengths_N[:num_samples].cpu().numpy()
        pre_hooks, hooks = self._standing_for(removals_B)
        with hooked(pre_hooks, before=True), hooked(hooks):
            tokens_NT = self.tokens_NT[:num_samples].cpu().numpy()
            found_NT = token_log_probs(cast("PreTrainedModel", self.model), tokens_NT, lengths_N)
        place_T = np.arange(found_NT.shape[1])  # the first has no context
        is_told_NT = np.broadcast_to(place_T > 0, found_NT.shape)
        if lengths_N is not None:
            is_told_NT = is_told_NT & (place_T < lengths_N[:, None])
        return -float(found_NT[is_told_NT].mean(dtype=np.float64))

    def _standing_for(self, removals_B: Sequence[Removal]) -> tuple[list[Hook], list[Hook]]:
        """What runs before and after modules as if the attentions and neurons had gone."""
        before: list[Hook] = []
        after: list[Hook] = []
        for block, parts, removal in zip(self.modules, self.blocks_B, removals_B, strict=True):
            if removal.neurons_F is not None:
                assert parts.feed_forward is not None
                module = module_of(block, parts.feed_forward.out)
                before.append((module, _without(removal.neurons_F)))
            if removal.attention:
                assert parts.attention is not None
                after.append((module_of(block, parts.attention.out), silence))
        return before, after


def _without(removed_I: Tensor) -> Callable[..., object]:
    def hook(_module: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        def masked(inputs: Tensor) -> Tensor:
            return inputs.masked_fill(removed_I.to(inputs.device), 0.0)

        return with_first_tensor(masked, args, kwargs)

    return hook


def silence(_m: nn.Module, _a: object, _k: object, output: Tensor) -> Tensor:
    return torch.zeros_like(output)


def module_of(block: DecoderBlock, name: str) -> nn.Module:
    layer = block.layers[name]
    assert isinstance(layer, LinearLayer), layer
    require(
        not has_rotated_input(layer.module),
        "rotation.online",
        True,
        f"false with a method that removes inputs of {name}, which are then rotated ones",
        "Type rotation.online=false.",
    )
    return layer.module


@contextmanager
def hooked(hooks: Sequence[Hook], *, before: bool = False) -> Iterator[None]:
    """Have hooks run after, or before, the forward of their modules."""
    handles = [
        module.register_forward_pre_hook(hook, with_kwargs=True)
        if before
        else module.register_forward_hook(hook, with_kwargs=True)
        for module, hook in hooks
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
