"""Keys and values that are kept in place are those of transformers' own cache."""

import pytest
import torch
from helpers.fakes import random_tokens, tiny_model
from transformers.cache_utils import DynamicCache

from calib_sweep.model import growing_cache as module
from calib_sweep.model.growing_cache import growing_cache


def steps(model, cache, tokens_BT, sizes):
    """The logits of tokens that are asked for a few at a time."""
    found, start = [], 0
    with torch.inference_mode():
        for size in sizes:
            part = tokens_BT[:, start : start + size]
            found.append(model(input_ids=part, past_key_values=cache, use_cache=True).logits)
            start += size
    return torch.cat(found, dim=1)


@pytest.mark.parametrize("architecture", ["llama", "gemma3_text"])
def test_a_cache_that_grows_in_place_holds_the_same(architecture, monkeypatch):
    monkeypatch.setattr(module, "ROOM", 3)
    model, tokens_BT = tiny_model(architecture), random_tokens(2, 24)
    sizes = [1, 5, 1, 1, 1, 1, 7, 1, 1, 1, 4]
    grown, usual = growing_cache(model, 4), DynamicCache(config=model.config)
    expected = steps(model, usual, tokens_BT, sizes)
    assert torch.equal(steps(model, grown, tokens_BT, sizes), expected)
    for one, other in zip(grown.layers, usual.layers, strict=True):
        assert torch.equal(one.keys, other.keys) and torch.equal(one.values, other.values)


def test_a_token_more_copies_nothing_while_there_is_room(monkeypatch):
    monkeypatch.setattr(module, "ROOM", 4)
    model, tokens_BT = tiny_model("llama"), random_tokens(1, 7)
    cache = growing_cache(model, 3)
    places = []
    for at in range(7):
        steps(model, cache, tokens_BT[:, at : at + 1], [1])
        places.append(cache.layers[0].keys.data_ptr())
    # Three are expected; the fourth makes room for 4 + 4.
    assert len(set(places[:3])) == 1 and len(set(places[3:])) == 1 and places[2] != places[3]
