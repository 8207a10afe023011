"""What can be walked block by block is walked right; what cannot is refused by name, in time."""

import copy

import pytest
import torch
from helpers.fakes import FUSES_EXPERTS, TINY, random_tokens, save_tiny, tiny_model
from torch import nn
from torch.nn.utils import prune
from transformers import AutoModelForCausalLM
from transformers.models.auto import CONFIG_MAPPING

from calib_sweep.compression.contract import check_hollow, check_replay, hollow
from calib_sweep.compression.layer import LayerError, compress_layer
from calib_sweep.compression.observation import observe
from calib_sweep.compression.replay import record
from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.method.magnitude import Magnitude
from calib_sweep.method.statistics.input_norm import InputNorm
from calib_sweep.method.wanda import Wanda
from calib_sweep.model.blocks import (
    LinearLayer,
    check_owners,
    decoder_blocks,
    enumerate_blocks,
    linear_layers,
)

WANDA = Wanda(sparsity=0.5, pattern="unstructured")
MAGNITUDE = Magnitude(sparsity=0.5, pattern="unstructured", compare="layer")
COMMON = {
    "vocab_size": 259,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
}
MAMBA = {"mamba_d_state": 8, "mamba_expand": 2}
# Blocks that return a list, or two things of which one is never used.
WALKED = {
    "bamba": {
        **COMMON,
        **MAMBA,
        "num_hidden_layers": 2,
        "attn_layer_indices": [1],
        "mamba_n_heads": 4,
        "mamba_d_head": 16,
        "mamba_chunk_size": 16,
    },
    "jamba": {  # reads the weight of its dt_proj, past the module
        **COMMON,
        **MAMBA,
        "num_hidden_layers": 3,
        "attn_layer_period": 3,
        "attn_layer_offset": 1,
        "num_experts": 2,
        "num_experts_per_tok": 1,
        "mamba_dt_rank": 4,
        "use_mamba_kernels": False,
    },
}
if FUSES_EXPERTS:  # older releases: a model that does not know what a cache is
    WALKED["openai-gpt"] = {"vocab_size": 259, "n_embd": 32, "n_layer": 2, "n_head": 4}
REFUSED = {
    "gemma3n_text": (
        {
            **COMMON,
            "num_hidden_layers": 4,
            "intermediate_size": [48] * 4,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
            "num_kv_shared_layers": 2,
            "head_dim": 8,
            "hidden_size_per_layer_input": 8,
            "vocab_size_per_layer_input": 259,
            "laurel_rank": 4,
            "activation_sparsity_pattern": [0.0] * 4,
        },
        r"Gemma3nForCausalLM: .*block 0 \(Gemma3nTextDecoderLayer\) returns hidden states of shape "
        r"\(4, 2, 8, 32\) for 2 samples",
    ),
    "mllama": (
        {
            "text_config": {
                **COMMON,
                "num_hidden_layers": 3,
                "cross_attention_layers": [1],
                "rope_scaling": {"rope_type": "default", "rope_theta": 1e4},
            },
            "vision_config": {
                "hidden_size": 32,
                "intermediate_size": 32,
                "num_hidden_layers": 1,
                "num_global_layers": 1,
                "attention_heads": 2,
                "image_size": 28,
                "vision_output_dim": 64,
                "intermediate_layers_indices": [0],
                "supported_aspect_ratios": [[1, 1]],
            },
        },
        r"block 1 \(MllamaCrossAttentionDecoderLayer\) is not run for text",
    ),
    "bart": (
        {"vocab_size": 259, "d_model": 32, "decoder_layers": 1, "decoder_attention_heads": 4},
        r"block 0 \(BartDecoderLayer\) does not call its encoder_attn\.k_proj",
    ),
}
ZAMBA_2 = {
    "num_hidden_layers": 6,
    "layers_block_type": ["mamba", "hybrid"] * 3,
    "num_key_value_heads": 4,
    "n_mamba_heads": 4,
    "mamba_headdim": 16,
    "mamba_ngroups": 1,
    "num_mem_blocks": 1,
    "use_shared_attention_adapter": False,
    "use_mem_rope": False,
    "adapter_rank": 4,
}


def made(architecture, settings):
    config = CONFIG_MAPPING[architecture](**settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)


def skeleton(architecture, settings):
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(CONFIG_MAPPING[architecture](**settings))


@pytest.mark.parametrize("architecture", [*TINY, *WALKED])
def test_a_model_that_can_be_walked_is_found_so_without_its_weights(architecture):
    tiny = {"bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 258}
    model = skeleton(architecture, WALKED.get(architecture) or {**TINY[architecture], **tiny})
    check_owners(model)
    check_hollow(model)


@pytest.mark.parametrize("architecture", WALKED)
@torch.no_grad()
def test_blocks_that_return_more_give_the_very_hidden_states_of_the_model(architecture):
    model, tokens = made(architecture, WALKED[architecture]), random_tokens(5, 24)
    blocks, expected = decoder_blocks(model), []
    hooks = [
        block.register_forward_hook(lambda _m, _a, out: expected.append(out)) for block in blocks
    ]
    model(tokens, use_cache=False)
    for hook in hooks:
        hook.remove()
    inputs = record(model, blocks, tokens, None, batch_tokens=1000)
    for index, block in enumerate(blocks):
        seen = observe(block, index, linear_layers(block), inputs, InputNorm).statistics
        assert all(name in seen for name in linear_layers(block) if "experts" not in name)
        inputs.advance(block, index)
        want = expected[index][0] if isinstance(expected[index], tuple | list) else expected[index]
        torch.testing.assert_close(inputs.hidden_NTD, want, rtol=1e-5, atol=1e-5)


def test_a_matrix_that_a_block_reads_past_its_module_stays_dense():
    model = made("jamba", WALKED["jamba"])
    before = [p.clone() for name, p in model.named_parameters() if "dt_proj" in name]
    reports = compress(model, WANDA, random_tokens(4, 16))
    after = [p for name, p in model.named_parameters() if "dt_proj" in name]
    assert before and all(map(torch.equal, before, after))
    assert not [report for report in reports if "dt_proj" in report.layer]
    assert all(report.num_tokens == 64 for report in reports if "expert" not in report.layer)


@pytest.mark.parametrize("architecture", REFUSED)
def test_what_cannot_be_walked_is_refused_with_and_without_its_weights(architecture):
    settings, told = REFUSED[architecture]
    with pytest.raises(ConfigError, match=told):
        check_hollow(skeleton(architecture, settings))
    model = made(architecture, settings)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ConfigError, match=told):
        compress(model, WANDA, random_tokens(4, 16))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_a_method_without_data_needs_no_walk():
    model = made("bart", REFUSED["bart"][0])
    reports = compress(model, MAGNITUDE, None)
    assert all(report.num_tokens is None for report in reports)


def test_blocks_that_share_matrices_are_refused():
    settings = {**COMMON, **MAMBA, **ZAMBA_2}
    with pytest.raises(ConfigError, match=r"Zamba2ForCausalLM: .*block 1 \S+ is also .*layers\.3"):
        check_owners(skeleton("zamba2", settings))


@pytest.mark.parametrize("place", ["model.layers.1.mlp.up_proj", "model.extra"])
def test_a_matrix_tied_to_another_module_is_refused_before_anything_is_changed(place):
    model = tiny_model()
    model.model.extra = nn.Linear(32, 48, bias=False)
    up = model.model.layers[0].mlp.up_proj
    model.get_submodule(place).weight = up.weight
    before = up.weight.clone()
    with pytest.raises(ConfigError, match=r"block 0 mlp\.up_proj is also " + place):
        compress(model, MAGNITUDE, None)
    assert torch.equal(up.weight, before)


class Adapter(nn.Module):
    """As adapters are put around a layer."""

    def __init__(self, base_layer):
        super().__init__()
        self.base_layer, self.lora_A = base_layer, nn.Linear(base_layer.in_features, 2, bias=False)


def test_layers_in_adapters_are_refused():
    model = tiny_model()
    model.model.layers[1].mlp.up_proj = Adapter(model.model.layers[1].mlp.up_proj)
    with pytest.raises(ConfigError, match=r"up_proj\.base_layer is wrapped in an adapter\. Merge"):
        compress(model, MAGNITUDE, None)


def test_a_weight_that_is_made_at_every_call_is_refused():
    model = tiny_model()
    prune.identity(model.model.layers[0].mlp.up_proj, "weight")
    with pytest.raises(ConfigError, match=r"mlp\.up_proj is made of other tensors at every call"):
        linear_layers(model.model.layers[0])


def test_only_an_expert_may_have_seen_no_token():
    linear = nn.Linear(4, 4).requires_grad_(False)
    with pytest.raises(LayerError, match=r"block 1 layer up \(4 x 4\): no calibration token went"):
        compress_layer(1, "up", LinearLayer(linear), WANDA, None)
    report = compress_layer(1, "experts.0.up", LinearLayer(linear, is_routed=True), WANDA, None)
    assert report.num_tokens == 0 and "no calibration token" in (report.note or "")


def test_a_block_that_gives_something_else_alone_is_refused():
    model = tiny_model()

    class Remembers(nn.Module):
        """Adds what an earlier block left somewhere else."""

        def __init__(self, block, left):
            super().__init__()
            self.block, self.left = block, left

        def forward(self, hidden_states, **kwargs):
            self.left.append(hidden_states.mean())
            return self.block(hidden_states + self.left[-2], **kwargs)

    left = [torch.zeros(())]
    model.model.layers = nn.ModuleList(Remembers(block, left) for block in model.model.layers)
    with pytest.raises(ConfigError, match=r"\(Remembers\) gives other hidden states alone"):
        check_replay(model, enumerate_blocks(model), random_tokens(3, 8))


@pytest.mark.skipif(not FUSES_EXPERTS, reason="older releases keep experts as modules")
def test_a_hollow_model_of_any_size_takes_no_memory():
    width = 2**16
    model = skeleton("mixtral", {**TINY["mixtral"], "hidden_size": width, "vocab_size": width})
    tensors = {id(p): p.untyped_storage().nbytes() for p in hollow(model).parameters()}
    assert sum(p.numel() for p in model.parameters()) > 10**10
    assert sum(tensors.values()) < 10**8
    check_hollow(model)


def test_check_refuses_what_cannot_be_walked_before_the_dense_model_is_scored(
    run_cli, tiny_world, tmp_path
):
    folder = save_tiny("llama", tmp_path / "tiny")
    made("gemma3n_text", REFUSED["gemma3n_text"][0]).save_pretrained(folder)
    world = [*tiny_world[1:], "model=hf", f"model.path={folder}"]
    for verb in (["check"], []):
        ended = run_cli(*verb, *world, "method=wanda", cwd=tmp_path)
        assert ended.code == 1 and "block 0 (Gemma3nTextDecoderLayer) returns" in ended.err
    assert not list(tmp_path.rglob("record.json"))
    assert run_cli("check", *world, "method=magnitude", cwd=tmp_path).code == 0
