"""Blocks run one at a time give what the whole model gives."""

import pytest
import torch
from helpers.fakes import ARCHITECTURES, random_tokens, tiny_model
from torch import nn

from calib_sweep.compression import replay
from calib_sweep.compression.replay import _TensorPool, record
from calib_sweep.errors import ConfigError
from calib_sweep.model.blocks import decoder_blocks

LENGTHS = torch.tensor([40, 7, 23, 40, 1])


def outputs_of_blocks(model, tokens, mask=None):
    """What each block returns inside an ordinary run of the model."""
    outputs = []

    def hook(module, args, output):
        outputs.append(output[0] if isinstance(output, tuple) else output)

    handles = [block.register_forward_hook(hook) for block in decoder_blocks(model)]
    with torch.no_grad():
        model(tokens, attention_mask=mask)
    for handle in handles:
        handle.remove()
    return outputs


@torch.no_grad()
def replayed(model, tokens, lengths, batch_tokens):
    blocks = decoder_blocks(model)
    inputs = record(model, blocks, tokens, lengths, batch_tokens)
    outputs = []
    for index, block in enumerate(blocks):
        inputs.advance(block, index)
        outputs.append(inputs.hidden_NTD.clone())
    return outputs


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_replay_gives_the_hidden_states_of_the_model(architecture):
    model, tokens = tiny_model(architecture), random_tokens(5, 40)
    expected = outputs_of_blocks(model, tokens)
    for got, want in zip(replayed(model, tokens, None, 10_000), expected, strict=True):
        assert torch.equal(got, want)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_replay_in_batches_gives_the_hidden_states_of_the_model(architecture):
    model, tokens = tiny_model(architecture), random_tokens(5, 40)
    expected = outputs_of_blocks(model, tokens)
    for got, want in zip(replayed(model, tokens, None, 80), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("batch_tokens", [80, 10_000])
def test_padded_samples_give_what_each_gives_alone(architecture, batch_tokens):
    model, tokens = tiny_model(architecture), random_tokens(5, 40)
    got = replayed(model, tokens, LENGTHS, batch_tokens)
    for sample, length in enumerate(LENGTHS.tolist()):
        expected = outputs_of_blocks(model, tokens[sample : sample + 1, :length])
        for block in range(2):
            torch.testing.assert_close(
                got[block][sample, :length], expected[block][0], rtol=1e-4, atol=1e-4
            )


def test_the_model_is_told_which_positions_are_padding():
    model, masks = tiny_model(), []
    model.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: masks.append(kwargs.get("attention_mask")), with_kwargs=True
    )
    record(model, decoder_blocks(model), random_tokens(5, 40), LENGTHS, 10_000)
    assert torch.equal(masks[-1].sum(dim=1), LENGTHS)


def test_the_size_of_batches_is_chosen_where_none_is_asked_for(monkeypatch):
    monkeypatch.setattr(replay, "ON_CPU", 80)
    model, tokens = tiny_model(), random_tokens(5, 40)
    sizes = {n: record(model, decoder_blocks(model), tokens, None, n).batches for n in (None, 40)}
    assert [b.stop - b.start for b in sizes[None]] == [2, 2, 1]
    assert [b.stop - b.start for b in sizes[40]] == [1] * 5


def test_blocks_may_be_called_differently():
    """Qwen2's second block has a sliding window here, its first has none."""
    model = tiny_model("qwen2")
    inputs = record(model, decoder_blocks(model), random_tokens(2, 40), None, 10_000)
    first, second = (call.kwargs["attention_mask"] for call in inputs.calls[0])
    assert second is not None and (first is None or not torch.equal(first, second))


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_equal_arguments_of_blocks_and_batches_are_kept_once(architecture):
    model = tiny_model(architecture)
    inputs = record(model, decoder_blocks(model), random_tokens(6, 20), None, 40)
    embeddings = {
        id(call.kwargs["position_embeddings"][0]) for calls in inputs.calls for call in calls
    }
    assert len(inputs.calls) == 3 and len(embeddings) == 1


def test_the_pool_tells_different_tensors_apart():
    pool, ones = _TensorPool(), torch.ones(2)
    assert pool.share(ones) is ones and pool.share(torch.ones(2)) is ones
    assert pool.share(torch.ones(2).int()) is not ones and pool.share(torch.ones(1, 2)) is not ones
    for value in range(2, 12):
        assert pool.share(torch.full((2,), float(value))).tolist() == [value, value]


class TupleBlock(nn.Module):
    """A block as older or home-made models have it: its output is the first of a tuple."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, hidden_states, shift):
        return self.linear(hidden_states) + shift, "attention weights"


class TupleModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Module()
        self.embed = nn.Embedding(8, 4)
        self.model.layers = nn.ModuleList([TupleBlock(), TupleBlock()])
        self.fails, self.num_loops = False, 1

    def forward(self, input_ids, attention_mask=None, use_cache=False):
        hidden = self.embed(input_ids)
        for index, block in list(enumerate(self.model.layers)) * self.num_loops:
            shift = torch.full((len(input_ids), hidden.shape[-2], 1), float(index))
            shift += len(hidden)  # whatever a model derives from what passes through must be right
            hidden = block(hidden_states=hidden, shift=shift)[0]
            if self.fails:
                raise KeyError("stopped half-way")
        return hidden


def test_blocks_that_return_tuples_are_replayed():
    model, tokens = TupleModel(), torch.arange(6).reshape(2, 3)
    with torch.no_grad():
        assert torch.equal(replayed(model, tokens, None, 100)[-1], model(tokens))


def test_the_model_is_as_before_whatever_happens():
    model, tokens = TupleModel(), torch.arange(6).reshape(2, 3)
    with torch.no_grad():
        before = model(tokens)
    replayed(model, tokens, None, 100)
    model.fails = True
    with pytest.raises(KeyError):
        record(model, decoder_blocks(model), tokens, None, 100)
    model.fails = False
    with torch.no_grad():
        assert torch.equal(model(tokens), before)
    for block in decoder_blocks(model):
        assert "forward" not in block.__dict__ and not block._forward_hooks


def test_a_model_that_runs_its_blocks_again_is_refused():
    model = TupleModel()
    model.num_loops = 2
    with pytest.raises(ConfigError, match="run once, but block 0 runs again"):
        record(model, decoder_blocks(model), torch.arange(6).reshape(2, 3), None, 100)


def test_a_forward_that_somebody_else_replaced_is_put_back():
    model = TupleModel()
    block = decoder_blocks(model)[0]
    original = block.forward
    block.forward = lambda *args, **kwargs: original(*args, **kwargs)
    replaced = block.forward
    record(model, decoder_blocks(model), torch.arange(6).reshape(2, 3), None, 100)
    assert block.forward is replaced
