"""Hadamard products at run time: the same logits, and inputs without outliers for quantisers."""

import copy

import pytest
import torch
from helpers import fakes
from helpers.fakes import FUSES_EXPERTS, TINY, byte_tokenizer, random_tokens, tiny_model
from helpers.rotated import MORE, PLAIN, lively, rotation

from calib_sweep.compression.observation import observe
from calib_sweep.compression.replay import record
from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.method.awq import AWQ
from calib_sweep.method.statistics.hessian import Hessian
from calib_sweep.model.blocks import decoder_blocks, enumerate_blocks, linear_layers
from calib_sweep.model.input_quantizer import set_input_quantizer
from calib_sweep.model.input_rotation import has_rotated_input
from calib_sweep.model.saving import save_dense
from calib_sweep.model.scaling_groups import scaling_groups
from calib_sweep.rotation.hadamard import factors_of, times

TOKENS = random_tokens(3, 24)
HADAMARD = rotation()


@pytest.fixture(autouse=True)
def more_families(monkeypatch):
    monkeypatch.setattr(fakes, "TINY", TINY | MORE)


def of_size(size):
    """The Hadamard matrix, written out."""
    return times(torch.eye(size, dtype=torch.float64), factors_of(size))


def hessians(model):
    """Sums of products of the inputs of the first block's layers, as a method is given them."""
    blocks = decoder_blocks(model)
    inputs = record(model, blocks, TOKENS, None, batch_tokens=10_000)
    seen = observe(blocks[0], 0, linear_layers(blocks[0]), inputs, Hessian).statistics
    return {name: one.hessian_II().double() for name, one in seen.items()}


@pytest.mark.parametrize("family", PLAIN)
@torch.no_grad()
def test_a_model_with_products_at_run_time_gives_the_same_logits(family):
    model = lively(family)
    before, expected = copy.deepcopy(model.state_dict()), model(TOKENS).logits
    undo = HADAMARD.apply(model, is_quantized=True)
    torch.testing.assert_close(model(TOKENS).logits, expected, rtol=0, atol=3e-5)
    modules = decoder_blocks(model)[0].named_modules()
    rotated = {name for name, one in modules if has_rotated_input(one)}
    assert {"self_attn.o_proj", "mlp.down_proj"} <= rotated or "experts" in str(rotated)
    undo()
    model.load_state_dict(before)
    assert not any(has_rotated_input(module) for module in model.modules())
    assert torch.equal(model(TOKENS).logits, expected)


@torch.no_grad()
def test_methods_see_inputs_as_they_are_after_the_products():
    """H^T (X^T X) H, and what reads the residual stream Q^T (X^T X) Q without its gains."""
    dense, model = lively("llama"), lively("llama")
    HADAMARD.apply(model, is_quantized=True)
    old, new = hessians(dense), hessians(model)
    of_down, of_out = of_size(48), torch.kron(of_size(4), of_size(8))
    for name, matrix in {"mlp.down_proj": of_down, "self_attn.o_proj": of_out}.items():
        expected = matrix.T @ old[name] @ matrix
        scale = float(expected.abs().max())
        torch.testing.assert_close(new[name], expected, rtol=0, atol=1e-5 * scale)
    gain_D = dense.model.layers[0].input_layernorm.weight.double()
    q_DD = HADAMARD.turn(32)(torch.eye(32, dtype=torch.float64)) / gain_D[:, None]
    expected = q_DD.T @ old["self_attn.q_proj"] @ q_DD
    torch.testing.assert_close(new["self_attn.q_proj"], expected, rtol=0, atol=1e-3)


@torch.no_grad()
def test_a_quantiser_stands_behind_the_product_however_often_it_is_set():
    model, seen = lively("llama"), []
    HADAMARD.apply(model, is_quantized=True)
    down = model.model.layers[0].mlp.down_proj
    for _ in range(2):
        set_input_quantizer(down, lambda x: seen.append(x) or x)
    plain = lively("llama")
    plain.model.layers[0].mlp.down_proj.register_forward_pre_hook(
        lambda _m, args: seen.append(args[0])
    )
    model(TOKENS), plain(TOKENS)
    rotated, as_it_was = (x.double() for x in seen)
    torch.testing.assert_close(rotated, as_it_was @ of_size(48), rtol=0, atol=1e-4)


@torch.no_grad()
def test_products_are_of_single_precision_and_rounded_once():
    model = lively("llama").to(torch.bfloat16)
    HADAMARD.apply(model, is_quantized=True)
    (hook,) = model.model.layers[0].mlp.down_proj._forward_pre_hooks.values()
    x = torch.randn(2, 5, 48, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    expected = (x.double() @ of_size(48)).to(torch.bfloat16)
    found = hook.rotation(x)
    assert found.dtype == torch.bfloat16
    assert int((found != expected).sum()) <= 1  # a tie of the last float32 digit, at most


@torch.no_grad()
def test_no_scale_is_moved_through_a_product():
    """AWQ scales what reads the stream, and leaves what reads a product as it is."""
    model = lively("llama", num_key_value_heads=4)
    before = {group.layers[0] for group in scaling_groups(enumerate_blocks(model)[0])}
    expected = model(TOKENS).logits
    HADAMARD.apply(model, is_quantized=True)
    after = {group.layers[0] for group in scaling_groups(enumerate_blocks(model)[0])}
    assert before - after == {"self_attn.o_proj", "mlp.down_proj"} and len(after) == 2
    awq = {"scale_steps": 4, "clip_steps": 20, "max_shrink": 0.0, "symmetric": False}
    compress(model, AWQ(bits=8, group_size=None, **awq), TOKENS)
    change = (model(TOKENS).logits - expected).norm() / expected.norm()
    assert 0 < float(change) < 0.03  # of 8 bits; a scale that went astray moves it by much more


def test_a_model_that_rotates_while_it_runs_is_not_saved(tmp_path):
    model = lively("llama")
    HADAMARD.apply(model, is_quantized=True)
    with pytest.raises(ConfigError, match=r"inputs of model\.layers\.0\..* are rotated"):
        save_dense(model, byte_tokenizer(), tmp_path)


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        (
            {"hidden_size": 48, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 8},
            r"6 \(heads\)",
        ),
        ({"head_dim": 10}, r"10 \(features of a head\)"),
        ({"intermediate_size": 50}, r"50 \(mlp\.down_proj\)"),
    ],
)
def test_sizes_without_a_hadamard_matrix_are_refused_before_anything_is_changed(settings, found):
    model = tiny_model("llama", **settings)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ConfigError, match=rf"block 0 has {found}.*rotation\.online=false"):
        HADAMARD.apply(model, is_quantized=True)
    assert all(torch.equal(new, before[name]) for name, new in model.state_dict().items())
    rotation(online=False).check(model, is_quantized=True)
    HADAMARD.check(model, is_quantized=False)


@pytest.mark.skipif(not FUSES_EXPERTS, reason="the release has no fused experts")
def test_fused_experts_are_refused():
    with pytest.raises(ConfigError, match=r"mlp\.experts\.0\.gate_proj is one of several fused"):
        HADAMARD.check(tiny_model("mixtral"), is_quantized=True)
