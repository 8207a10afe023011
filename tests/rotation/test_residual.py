"""A rotated model gives the same logits, family by family; what cannot be rotated is refused."""

import copy
from dataclasses import replace

import pytest
import torch
import transformers
from helpers import fakes
from helpers.fakes import FUSES_EXPERTS, TINY, byte_tokenizer, random_tokens, tiny_model
from helpers.rotated import FUSED, MORE, PLAIN, lively, rotation
from helpers.shipped import METHODS
from torch import nn
from transformers import AutoModelForCausalLM

from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.model.blocks import decoder_blocks, linear_layers
from calib_sweep.model.packing import save_packed
from calib_sweep.model.placement import offload
from calib_sweep.model.saving import save_dense
from calib_sweep.rotation.residual import LAYER_NORM, NORM_OFFSETS, NORMS_SUMMANDS, REASONS
from calib_sweep.rotation.residual import rotate as rotate_by

TOKENS = random_tokens(3, 24)
ROTATED = PLAIN + FUSED
LAYER_NORMS = ["opt", "gpt2", "gpt_neox", "phi", "falcon", "bloom", "stablelm", "cohere"]
NORMED_SUMMANDS = ["gemma2", "gemma3_text", "olmo2", "olmo3"]
REFUSED = dict.fromkeys(LAYER_NORMS, LAYER_NORM) | dict.fromkeys(NORMED_SUMMANDS, NORMS_SUMMANDS)
HADAMARD = rotation()


@pytest.fixture(autouse=True)
def more_families(monkeypatch):
    monkeypatch.setattr(fakes, "TINY", TINY | MORE)


def changed(model, before):
    """The names of the weights that moved; the head by its own name also where it was tied."""
    return {k for k, new in model.state_dict().items() if not torch.equal(new, before[k])}


def test_the_tables_are_complete():
    assert {*ROTATED, *REFUSED} == {*TINY, *MORE}
    tested = {type(decoder_blocks(tiny_model(family))[0]).__name__ for family in ROTATED}
    assert tested == NORM_OFFSETS.keys() - (set() if FUSES_EXPERTS else {"GptOssDecoderLayer"})
    refused = {type(decoder_blocks(tiny_model(family))[0]).__name__ for family in REFUSED}
    assert refused == REASONS.keys()


@pytest.mark.parametrize("is_tied", [False, True])
@pytest.mark.parametrize("family", ROTATED)
@torch.no_grad()
def test_a_rotated_model_gives_the_same_logits_by_other_weights(family, is_tied):
    model = lively(family, tie_word_embeddings=is_tied)
    before, expected = copy.deepcopy(model.state_dict()), model(TOKENS).logits
    HADAMARD.apply(model, is_quantized=False)
    torch.testing.assert_close(model(TOKENS).logits, expected, rtol=0, atol=3e-5)
    matrices = {
        f"model.layers.{index}.{name}"
        for index, block in enumerate(decoder_blocks(model))
        for name, parameter in block.named_parameters()
        if parameter.ndim > 1 and not name.endswith("gate_up_proj_bias")
    }
    assert {*matrices, "model.embed_tokens.weight", "lm_head.weight"} <= changed(model, before)
    for block in decoder_blocks(model):  # no gain is left
        norm = block.input_layernorm.weight
        assert torch.equal(norm, torch.full_like(norm, float(family != "gemma")))


@pytest.mark.parametrize("family", REFUSED)
def test_other_families_are_refused_by_name_before_anything_is_changed(family):
    model = tiny_model(family)
    before, name = copy.deepcopy(model.state_dict()), type(decoder_blocks(model)[0]).__name__
    with pytest.raises(ConfigError, match=f"{name} cannot be rotated: {REFUSED[family]}"):
        HADAMARD.apply(model, is_quantized=False)
    assert not changed(model, before)


def test_a_model_that_reads_more_than_text_is_refused():
    model = nn.Module()
    model.model = nn.Module()
    model.model.language_model = nn.Module()
    model.model.language_model.layers = decoder_blocks(tiny_model("llama"))
    with pytest.raises(ConfigError, match=r"a model of text alone.*rotation=null"):
        HADAMARD.check(model, is_quantized=False)


@torch.no_grad()
def test_every_weight_is_the_formula_in_float64_rounded_once():
    """Against matrices written out, in half precision, where a product of another dtype shows."""
    dense = lively("qwen2", tie_word_embeddings=False).to(torch.bfloat16)
    model = copy.deepcopy(dense)
    HADAMARD.apply(model, is_quantized=False)
    q_DD = HADAMARD.turn(32)(torch.eye(32, dtype=torch.float64))
    torch.testing.assert_close(q_DD.T @ q_DD, torch.eye(32, dtype=torch.float64))
    old, new = dense.state_dict(), model.state_dict()

    def same(name, expected):
        torch.testing.assert_close(new[name], expected.to(torch.bfloat16), rtol=0, atol=0)

    first, norm = "model.layers.0.", old["model.layers.0.post_attention_layernorm.weight"].double()
    same("model.embed_tokens.weight", old["model.embed_tokens.weight"].double() @ q_DD)
    same(f"{first}mlp.up_proj.weight", (old[f"{first}mlp.up_proj.weight"].double() * norm) @ q_DD)
    same(f"{first}mlp.down_proj.weight", q_DD.T @ old[f"{first}mlp.down_proj.weight"].double())
    last = old["model.norm.weight"].double()
    same("lm_head.weight", (old["lm_head.weight"].double() * last) @ q_DD)


@torch.no_grad()
def test_biases_of_what_writes_the_stream_are_rotated():
    model = lively("llama", attention_bias=True, mlp_bias=True)
    expected = model(TOKENS).logits
    assert bool(model.model.layers[0].mlp.down_proj.bias.any())
    HADAMARD.apply(model, is_quantized=False)
    torch.testing.assert_close(model(TOKENS).logits, expected, rtol=0, atol=3e-5)


@torch.no_grad()
def test_blocks_that_wait_in_host_memory_are_rotated_there():
    model = lively("llama")
    expected = model(TOKENS).logits
    offload(model, torch.device("cpu"))
    waiting = model.model.layers[0].mlp.up_proj.weight.clone()
    HADAMARD.apply(model, is_quantized=True)
    torch.testing.assert_close(model(TOKENS).logits, expected, rtol=0, atol=3e-5)
    assert not torch.equal(model.model.layers[0].mlp.up_proj.weight, waiting)


@pytest.mark.parametrize("is_tied", [False, True])
@torch.no_grad()
def test_what_is_undone_is_the_dense_model_to_the_last_bit(is_tied):
    model = lively("llama", tie_word_embeddings=is_tied)
    before, expected = copy.deepcopy(model.state_dict()), model(TOKENS).logits
    undo = HADAMARD.apply(model, is_quantized=False)
    assert model.config.tie_word_embeddings is False
    undo()
    model.load_state_dict(before)  # the caller's part
    assert not changed(model, before) and torch.equal(model(TOKENS).logits, expected)
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == is_tied
    assert model.config.tie_word_embeddings == is_tied


@torch.no_grad()
def test_who_ties_weights_as_the_configuration_says_leaves_the_head_alone():
    """lm-eval does so with every model that it is given."""
    model = lively("llama", tie_word_embeddings=True)
    expected = model(TOKENS).logits
    HADAMARD.apply(model, is_quantized=False)
    model.tie_weights()
    torch.testing.assert_close(model(TOKENS).logits, expected, rtol=0, atol=3e-5)


@pytest.mark.parametrize("family", ["llama", "gemma", "mixtral"])
@torch.no_grad()
def test_a_rotated_model_of_tied_embeddings_is_saved_with_a_head_of_its_own(family, tmp_path):
    model = lively(family, tie_word_embeddings=True)
    HADAMARD.apply(model, is_quantized=False)
    save_dense(model, byte_tokenizer(), tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype="float32").eval()
    assert torch.equal(loaded(TOKENS).logits, model(TOKENS).logits)
    assert loaded.lm_head.weight is not loaded.model.embed_tokens.weight


@torch.no_grad()
def test_hidden_states_are_rotated_and_an_outlier_is_spread():
    """A feature 50 times as large as the others is none after the rotation."""
    model = lively("llama")
    model.model.embed_tokens.weight[:, 3] *= 50
    expected = model.model(TOKENS, output_hidden_states=True).hidden_states[1]
    HADAMARD.apply(model, is_quantized=False)
    found = model.model(TOKENS, output_hidden_states=True).hidden_states[1]
    turned = HADAMARD.turn(32)(expected.double()).float()
    torch.testing.assert_close(found, turned, rtol=0, atol=3e-4)
    peak = [(h.abs().amax(-1) / h.square().mean(-1).sqrt()).mean() for h in (expected, found)]
    assert peak[0] > 4 and peak[1] < 2


def test_layers_are_found_whatever_holds_their_matrix():
    """Fused experts, transposed or not: each slice is turned, and nothing twice."""
    for family in ("mixtral", "qwen3_moe"):
        model = lively(family)
        old = {k: v.weight_OI().clone() for k, v in linear_layers(decoder_blocks(model)[0]).items()}
        rotate_by(model, lambda x: -x)  # orthogonal, and its own inverse
        for name, layer in linear_layers(decoder_blocks(model)[0]).items():
            if name.endswith(("down_proj", "w2")):
                assert torch.equal(layer.weight_OI(), -old[name])


@pytest.mark.parametrize("family", ["llama", "gemma"])
@torch.no_grad()
def test_a_rotated_model_is_saved_as_integers(family, tmp_path):
    pytest.importorskip("compressed_tensors")
    if not FUSES_EXPERTS:
        pytest.skip("this release of transformers reads no packed models")
    model = lively(family, hidden_size=64, intermediate_size=64, tie_word_embeddings=True)
    HADAMARD.apply(model, is_quantized=False)
    rtn = replace(METHODS["rtn"], bits=4, group_size=32, symmetric=True)
    grids = {(r.block, r.layer): r.grid for r in compress(model, rtn, None, keep_grids=True)}
    save_packed(model, byte_tokenizer(), tmp_path, grids, rtn.grid_format())
    settings = transformers.CompressedTensorsConfig(dequantize=True)
    read = AutoModelForCausalLM.from_pretrained
    loaded = read(tmp_path, dtype="float32", quantization_config=settings).eval()
    assert torch.equal(loaded(TOKENS).logits, model(TOKENS).logits)
