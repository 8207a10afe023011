"""Keys and values of a model that writes, kept in place.

The cache of transformers is copied whole for every token. This one has room for the tokens that are
expected, and is copied only where there are more.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROOM = 256  # tokens, where more come than were expected


def growing_cache(model: "PreTrainedModel", num_tokens: int) -> DynamicCache:
    """Return an empty cache for `model`: layers that hold all tokens have room for so many."""
    cache = DynamicCache(config=model.config)
    cache.layers = [
        _GrowingLayer(num_tokens) if type(one) is DynamicLayer else one for one in cache.layers
    ]
    return cache


class _GrowingLayer(DynamicLayer):
    """`keys` and `values` are the used part of larger tensors [rows, heads, tokens, size]."""

    def __init__(self, num_tokens: int) -> None:
        super().__init__()
        self.num_expected = num_tokens

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Append the newest keys and values; return all."""
        new = (key_states, value_states)
        if not self.is_initialized:
            self.room = [_wider(one[:, :, :0], one, self.num_expected) for one in new]
            self.keys, self.values = (room[:, :, :0] for room in self.room)
            self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
        assert self.keys is not None
        held = self.keys.shape[-2]
        end = held + key_states.shape[-2]
        if end > self.room[0].shape[-2]:
            held_now = (room[:, :, :held] for room in self.room)
            self.room = [_wider(*pair, end + ROOM) for pair in zip(held_now, new, strict=True)]
        for room, states in zip(self.room, new, strict=True):
            room[:, :, held:end] = states
        self.keys, self.values = (room[:, :, :end] for room in self.room)
        return self.keys, self.values


def _wider(held: Tensor, like: Tensor, num_tokens: int) -> Tensor:
    """Copy what is held into a tensor of so many tokens."""
    rows, heads, _, width = like.shape
    wider = torch.empty((rows, heads, num_tokens, width), dtype=like.dtype, device=like.device)
    wider[:, :, : held.shape[-2]] = held
    return wider
