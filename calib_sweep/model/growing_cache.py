"""Keys and values of a model that writes, kept in place.

The cache of transformers is copied whole for every token. This one has room for some tokens more
than it holds, and is copied when that is used up.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROOM = 256  # tokens


def growing_cache(model: "PreTrainedModel") -> DynamicCache:
    """Return an empty cache for `model`; layers that hold all tokens grow in place."""
    cache = DynamicCache(config=model.config)
    cache.layers = [_GrowingLayer() if type(one) is DynamicLayer else one for one in cache.layers]
    return cache


class _GrowingLayer(DynamicLayer):
    """`keys` and `values` are the used part of larger tensors [rows, heads, tokens, size]."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Append the newest keys and values; return all."""
        if not self.is_initialized:
            self.room = [key_states[:, :, :0], value_states[:, :, :0]]
            self.keys, self.values = self.room
            self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
        held = self.keys.shape[-2]
        end = held + key_states.shape[-2]
        new = (key_states, value_states)
        if end > self.room[0].shape[-2]:
            self.room = [
                _wider(*pair, held, end + ROOM) for pair in zip(self.room, new, strict=True)
            ]
        for room, states in zip(self.room, new, strict=True):
            room[:, :, held:end] = states
        self.keys, self.values = (room[:, :, :end] for room in self.room)
        return self.keys, self.values


def _wider(room: Tensor, like: Tensor, held: int, size: int) -> Tensor:
    """Copy what is held into a tensor of so many tokens."""
    rows, heads, _, width = like.shape
    wider = torch.empty((rows, heads, size, width), dtype=like.dtype, device=like.device)
    wider[:, :, :held] = room[:, :, :held]
    return wider
