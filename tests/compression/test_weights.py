"""Weighted tokens through the walk, against tokens that are really repeated."""

import pytest
import torch
from helpers.fakes import random_tokens, tiny_model
from helpers.repository import ROOT
from hydra.utils import instantiate
from omegaconf import OmegaConf

from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.model.blocks import decoder_blocks, linear_layers

TOKENS = random_tokens(6, 40)
LENGTHS = torch.tensor([40, 7, 23, 40, 1, 30])
SMALL = {"gptq": {"group_size": 16}, "spqr": {}, "awq": {"group_size": 16, "scale_steps": 4}}
SMALL |= {"sparsegpt": {"block_size": 16}, "wanda": {}, "ria": {}, "owl": {}, "wanda_variant": {}}


def method_of(name, **changes):
    settings = SMALL[name] | changes
    return instantiate(OmegaConf.load(ROOT / "conf" / "method" / f"{name}.yaml"), **settings)


def weights_of(model):
    return {
        (index, name): layer.weight_OI().clone()
        for index, block in enumerate(decoder_blocks(model))
        for name, layer in linear_layers(block).items()
    }


def assert_same(got, expected, rtol=1e-3, atol=1e-4, allowed=0.0):
    """Same weights; up to a share of them, near ties, may have fallen to the other side."""
    other = weights_of(got)
    for key, weight in weights_of(expected).items():
        differs = ~torch.isclose(other[key], weight, rtol=rtol, atol=atol)
        assert differs.float().mean() <= allowed, (key, differs.float().mean())


def slow_walk(model, method, weights):
    """The whole model for every layer; rows really repeated, then statistics without weights."""
    for index, block in enumerate(decoder_blocks(model)):
        statistics = {}
        for name, layer in linear_layers(block).items():
            statistics[name] = method.statistic(layer.weight_OI().shape[1])
            for tokens, repeats in zip(TOKENS, weights, strict=True):
                rows = rows_of(model, index, name, tokens)
                statistics[name].add(rows.repeat_interleave(repeats, dim=0))
        for name, layer in linear_layers(block).items():
            new = method.compress_weight(layer.weight_OI(), statistics[name])
            layer.set_weight_OI(new.weight_OI)


@torch.no_grad()
def rows_of(model, index, name, tokens):
    rows = []
    module = linear_layers(decoder_blocks(model)[index])[name].module
    handle = module.register_forward_pre_hook(lambda module, args: rows.append(args[0][0].clone()))
    model(tokens.unsqueeze(0))
    handle.remove()
    return rows[0]


WHOLE = torch.randint(0, 4, TOKENS.shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("batch_tokens", [80, 10_000])
@pytest.mark.parametrize("name", ["wanda", "ria", "sparsegpt", "gptq", "wanda_variant"])
def test_a_weight_stands_for_so_many_tokens(name, batch_tokens):
    """Weights of 0 to 3 per token, also within a sample; a sample without any weight, too."""
    weights, method = WHOLE.clone(), method_of(name)
    weights[2] = 0
    fast, slow, plain = tiny_model(), tiny_model(), tiny_model()
    reports = compress(fast, method, TOKENS, weights=weights, batch_tokens=batch_tokens)
    slow_walk(slow, method, weights)
    assert_same(fast, slow)
    assert {report.num_tokens for report in reports} == {int((weights > 0).sum())}
    compress(plain, method, TOKENS)
    with pytest.raises(AssertionError):
        assert_same(plain, slow)


@pytest.mark.parametrize("architecture", ["llama", "mixtral"])
@pytest.mark.parametrize("name", SMALL)
def test_a_weighted_sample_is_that_sample_so_many_times(name, architecture):
    """Of every method: AWQ's search runs modules, OWL looks at all blocks before the first."""
    weighted, repeated = tiny_model(architecture), tiny_model(architecture)
    times = torch.tensor([1, 2, 1, 1, 3, 1])
    compress(weighted, method_of(name), TOKENS, weights=times.unsqueeze(1).expand(6, 40))
    compress(repeated, method_of(name), TOKENS.repeat_interleave(times, dim=0))
    # Limits that clip a group of weights equally well are chosen by the last digit.
    assert_same(weighted, repeated, allowed=0.03 if name == "awq" else 0.0)


def test_the_search_of_awq_weighs_outputs():
    """Without clipping, so that the scales alone decide: they are found on whole modules."""
    awq, times = method_of("awq", max_shrink=0.0, scale_steps=20), torch.tensor([1, 9, 1, 1, 5, 1])
    weighted, repeated, plain = tiny_model(), tiny_model(), tiny_model()
    compress(weighted, awq, TOKENS, weights=times.unsqueeze(1).expand(6, 40))
    compress(repeated, awq, TOKENS.repeat_interleave(times, dim=0))
    compress(plain, awq, TOKENS)
    assert_same(weighted, repeated)
    with pytest.raises(AssertionError):
        assert_same(plain, repeated)


@pytest.mark.parametrize("name", SMALL)
def test_what_is_masked_is_as_if_it_were_padding(name):
    """No token sees the tokens after it, so a mask of these is no different from lengths."""
    masked, padded = tiny_model(), tiny_model()
    mask = torch.arange(40) < LENGTHS.unsqueeze(1)
    compress(masked, method_of(name), TOKENS, weights=mask)
    compress(padded, method_of(name), TOKENS, lengths=LENGTHS)
    assert_same(masked, padded)


@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("name", ["wanda", "gptq", "awq"])
def test_weights_of_one_change_no_bit(name, lengths):
    models = [tiny_model() for _ in range(3)]
    compress(models[0], method_of(name), TOKENS, lengths=lengths)
    for model, weights in zip(
        models[1:], (torch.ones(6, 40), torch.ones(6, 40).bool()), strict=True
    ):
        compress(model, method_of(name), TOKENS, lengths=lengths, weights=weights)
        assert_same(model, models[0], rtol=0, atol=0)


@pytest.mark.parametrize("name", ["wanda", "gptq", "awq", "owl"])
def test_only_the_ratio_of_weights_counts(name):
    one, other = tiny_model(), tiny_model()
    weights = 1 + WHOLE.float()
    compress(one, method_of(name), TOKENS, weights=weights)
    compress(other, method_of(name), TOKENS, weights=weights / 8)  # sums below one, too
    assert_same(one, other)


def test_padding_has_no_weight_whatever_is_given():
    one, other = tiny_model(), tiny_model()
    weights = 1 + WHOLE.float()
    mask = torch.arange(40) < LENGTHS.unsqueeze(1)
    compress(one, method_of("gptq"), TOKENS, lengths=LENGTHS, weights=weights)
    compress(other, method_of("gptq"), TOKENS, lengths=LENGTHS, weights=weights * mask)
    assert_same(one, other, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("weights", "lengths", "message"),
    [
        (torch.zeros(6, 40), None, "expected a token that counts"),
        ((torch.arange(40) >= 30).expand(6, 40), torch.full((6,), 30), "expected a token that"),
        (torch.ones(6, 39), None, r"weights=\(6, 39\): expected one weight per token, \(6, 40\)"),
        (-torch.ones(6, 40), None, "expected finite numbers from 0"),
        (torch.full((6, 40), float("nan")), None, "expected finite numbers from 0"),
        (torch.full((6, 40), float("inf")), None, "expected finite numbers from 0"),
    ],
)
def test_weights_that_say_nothing_are_refused_before_anything_changes(weights, lengths, message):
    model = tiny_model()
    with pytest.raises(ConfigError, match=message):
        compress(model, method_of("wanda"), TOKENS, lengths=lengths, weights=weights)
    assert_same(model, tiny_model(), rtol=0, atol=0)
