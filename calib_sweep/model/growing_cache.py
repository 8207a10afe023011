"""Keys and values of a model that writes, kept in place.

The cache of transformers is copied whole for every token. These have room for the tokens that are
expected, and are copied only where there are more:

    growing    attends to the tokens so far; any number at a time
    bucketed   attends to a fixed number, of which the attention mask must bar those to come; one
               token at a time, at a place that stands on the device. So steps of one width run the
               same kernels on the same memory.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ROOM = 256  # tokens, where more come than were expected


def growing_cache(model: "PreTrainedModel", num_tokens: int) -> DynamicCache:
    """Return an empty cache for `model`: layers that hold all tokens have room for so many."""
    return _cache(model, lambda: _GrowingLayer(num_tokens))


@dataclass
class Bucket:
    """What the steps of a model attend to."""

    place_1: Tensor  # where the next token goes [1]
    width: int = 0  # tokens that are attended to


def bucketed_cache(model: "PreTrainedModel", num_tokens: int, bucket: Bucket) -> DynamicCache:
    """Return an empty cache whose layers have room for so many tokens, more once `bucket` has."""
    assert keeps_all_tokens(model), model.config.model_type
    return _cache(model, lambda: _BucketedLayer(num_tokens, bucket))


def keeps_all_tokens(model: "PreTrainedModel") -> bool:
    """Tell whether every layer keeps all keys and values: no windows, no recurrent states."""
    layers = DynamicCache(config=model.config).layers
    return bool(layers) and all(type(one) is DynamicLayer for one in layers)


def _cache(model: "PreTrainedModel", own: Callable[[], DynamicLayer]) -> DynamicCache:
    cache = DynamicCache(config=model.config)
    cache.layers = [own() if type(one) is DynamicLayer else one for one in cache.layers]
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


class _BucketedLayer(DynamicLayer):
    """Keys and values of a fixed number of tokens; the newest replace what is at their place."""

    is_compileable = True  # transformers then makes a mask without a look at its values

    def __init__(self, num_tokens: int, bucket: Bucket) -> None:
        super().__init__()
        self.num_expected, self.bucket = num_tokens, bucket

    def get_seq_length(self, *_: Any) -> int:
        """Return what lets the newest token see the whole bucket, wherever in it that stands."""
        return self.bucket.width - 1

    def get_max_length(self) -> int:
        """Return how many tokens a mask is for."""
        return self.bucket.width

    get_max_cache_shape = get_max_length  # as older releases call it

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the newest keys and values; return all of the bucket."""
        new, width = (key_states, value_states), self.bucket.width
        if not self.is_initialized:
            num_tokens = max(self.num_expected, width)
            self.room = [_wider(one[:, :, :0], one, num_tokens) for one in new]
            self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
        if width > self.room[0].shape[-2]:
            self.room = [_wider(*pair, width) for pair in zip(self.room, new, strict=True)]
        for room, states in zip(self.room, new, strict=True):
            room.index_copy_(2, self.bucket.place_1, states)
        self.keys, self.values = (room[:, :, :width] for room in self.room)
        return self.keys, self.values


def _wider(held: Tensor, like: Tensor, num_tokens: int) -> Tensor:
    """Copy what is held into a tensor of so many tokens: zeros behind, as NaN passes a mask."""
    rows, heads, _, width = like.shape
    wider = torch.zeros((rows, heads, num_tokens, width), dtype=like.dtype, device=like.device)
    wider[:, :, : held.shape[-2]] = held
    return wider
