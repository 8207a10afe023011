"""Norms in one kernel: those that are plain, the same numbers, and no trace of it afterwards."""

import pytest
import torch
from helpers.fakes import tiny_model

from calib_sweep.evaluation.scorers.fused_norms import fused_norms

TOKENS = torch.arange(64).reshape(2, 32) % 50


def norms_of(model):
    return [one for one in model.modules() if type(one).__name__.endswith("Norm")]


def is_fused(norm):
    return "forward" in vars(norm)


@pytest.mark.parametrize("architecture", ["llama", "mistral", "qwen3", "olmo2", "gemma2", "opt"])
def test_plain_rms_norms_are_fused_and_give_the_same(architecture):
    model = tiny_model(architecture)
    with torch.no_grad():
        for norm in norms_of(model):
            norm.weight.copy_(torch.linspace(0.5, 2, norm.weight.numel()))
        expected = model(input_ids=TOKENS).logits
        with fused_norms(model):
            found = model(input_ids=TOKENS).logits
            fused = {is_fused(norm) for norm in norms_of(model)}
    assert fused == {architecture not in ("gemma2", "opt")}  # 1 + weight; not of mean squares
    assert torch.allclose(found, expected, atol=1e-5)
    assert not any(is_fused(norm) for norm in norms_of(model))


def test_the_formula_is_computed_in_float32_and_rounded_once():
    norm = norms_of(tiny_model())[0]
    hidden = torch.linspace(-30, 50, norm.weight.numel())[None]
    exact = hidden.half().double()
    exact = exact / (exact.square().mean(-1, keepdim=True) + norm.variance_epsilon).sqrt()
    norm.half()
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 2, norm.weight.numel()))
        exact = (exact * norm.weight.double()).half()
        holder = torch.nn.ModuleList([norm])
        with fused_norms(holder):
            assert torch.equal(norm(hidden.half()), exact)


def test_norms_are_themselves_again_after_an_error():
    model = tiny_model()
    with pytest.raises(KeyError), fused_norms(model):
        assert all(map(is_fused, norms_of(model)))
        raise KeyError("whatever")
    assert not any(map(is_fused, norms_of(model)))


def test_a_norm_with_a_forward_of_its_own_keeps_it():
    model = tiny_model()
    own = model.model.norm.forward = model.model.norm.forward
    with fused_norms(model):
        assert model.model.norm.forward is own
        assert sum(map(is_fused, norms_of(model))) == len(norms_of(model))
    assert model.model.norm.forward is own
