"""Recipes of llm-compressor as a method. What runs the library is skipped where it is not there.

`bash .ci/llm_compressor` makes an environment that has it, and runs these tests there.
"""

import copy
import importlib.util
from dataclasses import replace

import pytest
import torch
import yaml
from helpers.fakes import byte_tokenizer, random_tokens, tiny_model
from helpers.rotated import rotation
from helpers.shipped import METHODS
from helpers.sweeps import read_records

from calib_sweep.compression import whole_model
from calib_sweep.compression.walk import compress
from calib_sweep.compression.whole_model import Beside
from calib_sweep.errors import ConfigError
from calib_sweep.method.llm_compressor import LLMCompressor
from calib_sweep.method.wanda import Wanda
from calib_sweep.method.whole_model import ToolError
from calib_sweep.model.input_quantizer import remove_input_quantizers
from calib_sweep.model.placement import offload

IS_THERE = importlib.util.find_spec("llmcompressor") is not None
with_the_library = pytest.mark.skipif(not IS_THERE, reason="llm-compressor is not installed")
TOKENS = random_tokens(4, 24)
LAYERS = {"targets": ["Linear"], "ignore": ["re:.*lm_head"]}
GPTQ = {"GPTQModifier": {"scheme": "W4A16", **LAYERS}}
WANDA = {"WandaPruningModifier": {"sparsity": 0.5, **LAYERS}}


def rounding(scheme, **settings):
    return {"QuantizationModifier": {"scheme": scheme, **LAYERS, **settings}}


def method(recipe, data=True, pipeline="independent"):
    return LLMCompressor(recipe=recipe, pipeline=pipeline, data=data)


def wide(architecture="llama", **settings):
    """Wide enough for groups of 128."""
    sizes = {"hidden_size": 128, "intermediate_size": 256} if architecture == "llama" else {}
    return tiny_model(architecture, **{**sizes, **settings})


def run(recipe, model, tokens=TOKENS, **settings):
    beside = Beside(tokenizer=byte_tokenizer, write_set=None, read_model=None)
    return compress(model, method(recipe), tokens, beside=beside, **settings)


def weights_of(model):
    return {name: tensor.clone() for name, tensor in model.named_parameters()}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"recipe": {}}, "method.recipe={}: expected a recipe of llm-compressor"),
        ({"recipe": "nowhere.yaml"}, "method.recipe='nowhere.yaml': expected a YAML file"),
        ({"recipe": 3}, "method.recipe=3: expected a recipe"),
        ({"pipeline": "fast"}, "method.pipeline='fast': expected one of independent, seq"),
        ({"data": "yes"}, "method.data='yes': expected true or false"),
    ],
)
def test_settings_are_refused_by_name(settings, said):
    with pytest.raises(ConfigError) as caught:
        LLMCompressor(**{"recipe": GPTQ, "pipeline": "independent", "data": True, **settings})
    assert said in str(caught.value)


def test_a_recipe_is_a_file_or_modifiers_and_its_content_counts(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(GPTQ))
    staged = {"default_stage": {"default_modifiers": GPTQ}}
    assert method(str(file)).stages() == method(GPTQ).stages() == staged
    assert method(staged).stages() == staged  # as the library writes it
    before = method(str(file)).fingerprint()
    assert before == method(GPTQ).fingerprint()
    file.write_text(yaml.safe_dump(WANDA))
    assert method(str(file)).fingerprint() != before


def test_data_is_needed_unless_the_recipe_is_said_to_see_none():
    assert LLMCompressor.reads_data({"recipe": GPTQ}) and method(GPTQ).needs_data
    assert not LLMCompressor.reads_data({"data": False})
    assert not method(GPTQ, data=False).needs_data


def test_experts_are_refused_by_name():
    with pytest.raises(ConfigError, match=r"block 0 mlp\.experts\.1\.up_proj belongs to one"):
        method(GPTQ).check_shape("block 0 mlp.experts.1.up_proj", 32, 32)
    method(GPTQ).check_shape("block 0 mlp.up_proj", 32, 32)


@pytest.mark.skipif(IS_THERE, reason="llm-compressor is installed")
def test_where_the_library_is_missing_a_check_says_so():
    with pytest.raises(ConfigError, match="library llmcompressor, which is not installed"):
        method(GPTQ).check_machine()


@pytest.mark.parametrize("where", ["resident", "waiting"])
def test_a_private_copy_computes_the_same_and_is_on_its_own(where):
    model = wide()
    with torch.no_grad():
        expected = model(TOKENS).logits
    if where == "waiting":
        offload(model, torch.device("cpu"))
    handed = whole_model.HandedModel(model=model, samples=[], beside=None)
    before, twin = weights_of(model), handed.private_copy()
    with torch.no_grad():
        assert torch.equal(twin(TOKENS).logits, expected)
        for parameter in twin.parameters():
            parameter.zero_()
        assert not twin(TOKENS).logits.any() and torch.equal(model(TOKENS).logits, expected)
    assert all(torch.equal(before[name], weight) for name, weight in weights_of(model).items())


RECIPES = {
    "gptq": (GPTQ, 4 + 16 / 128),
    "gptq_asymmetric": ({"GPTQModifier": {"scheme": "W4A16_ASYM", **LAYERS}}, 4 + 20 / 128),
    "head": ({"GPTQModifier": {"scheme": "W4A16", "targets": ["Linear"]}}, 4 + 16 / 128),
    "w8a8": (rounding("W8A8"), 8 + 16 / 128),
    "smoothquant": (
        {
            "SmoothQuantModifier": {"smoothing_strength": 0.8},
            "GPTQModifier": {"scheme": "W8A8", **LAYERS},
        },
        8 + 16 / 128,
    ),
    "fp8_static": (rounding("FP8"), 8 + 16 / 128**2),
    "nvfp4": (rounding("NVFP4"), 4 + 8 / 16 + 32 / 128**2),
    "mxfp4": (rounding("MXFP4"), 4 + 8 / 32),
    "rotation": (
        {
            "SpinQuantModifier": {"rotations": ["R1", "R2"], "transform_type": "hadamard"},
            **rounding("W4A16"),
        },
        4 + 16 / 128,
    ),
    "wanda": (WANDA, None),
    "sparsegpt_24": (
        {"SparseGPTModifier": {"sparsity": 0.5, "mask_structure": "2:4", **LAYERS}},
        None,
    ),
}
ROUNDS_INPUTS = {
    "w8a8": "int8 per token, dynamic",
    "smoothquant": "int8 per token, dynamic",
    "fp8_static": "float8 per tensor, static",
    "nvfp4": "float4 per tensor_group, dynamic",
    "mxfp4": "float4 per group, dynamic",
}


@with_the_library
@pytest.mark.parametrize("name", RECIPES)
def test_the_model_computes_what_the_library_s_own_model_computes(name, monkeypatch):
    recipe, bits = RECIPES[name]
    twins, copy_of = [], whole_model.HandedModel.private_copy
    monkeypatch.setattr(
        whole_model.HandedModel,
        "private_copy",
        lambda handed: twins.append(copy_of(handed)) or twins[-1],
    )
    model = wide()
    with torch.no_grad():
        dense = model(TOKENS).logits
        reports = run(recipe, model)
        assert torch.equal(model(TOKENS).logits, twins[0](TOKENS).logits)
        assert not torch.equal(model(TOKENS).logits, dense)
    q_proj = reports[0]
    assert q_proj.layer == "self_attn.q_proj" and q_proj.bits == bits
    assert {report.input_quantizer for report in reports} == {ROUNDS_INPUTS.get(name)}
    if bits is None:
        assert all(report.sparsity == pytest.approx(0.5, abs=1e-3) for report in reports)


@with_the_library
def test_it_is_the_library_s_own_oneshot_on_the_very_samples():
    from datasets import Dataset
    from llmcompressor import oneshot
    from llmcompressor.recipe import Recipe

    model, theirs = wide(), wide()
    lengths = torch.tensor([24, 9, 17, 24])
    run(WANDA, model, lengths=lengths)
    rows = [row[:end] for row, end in zip(TOKENS.tolist(), lengths.tolist(), strict=True)]
    data = Dataset.from_list([{"input_ids": r, "attention_mask": [1] * len(r)} for r in rows])
    recipe = Recipe.create_instance(yaml.safe_dump({"a_stage": {"b_modifiers": WANDA}}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transformers.AutoConfig.from_pretrained", lambda *_, **__: theirs.config)
        oneshot(
            model=theirs,
            tokenizer=byte_tokenizer(),
            dataset=data,
            recipe=recipe,
            shuffle_calibration_samples=False,
        )
    found = dict(theirs.named_parameters())
    assert all(torch.equal(found[name], new) for name, new in model.named_parameters())


@with_the_library
def test_its_wanda_is_ours_in_the_first_layers():
    model, ours = wide(), wide()
    run(WANDA, model)
    compress(ours, Wanda(sparsity=0.5, pattern="unstructured"), TOKENS)
    for name in "qkv":
        path = f"model.layers.0.self_attn.{name}_proj"
        assert torch.equal(model.get_submodule(path).weight, ours.get_submodule(path).weight)


@with_the_library
def test_its_gptq_is_ours_code_by_code_but_where_the_last_digit_decides():
    model, ours, dense = wide(), wide(), wide()
    tokens = random_tokens(16, 64)
    run(GPTQ, model, tokens)
    settings = {"group_size": 128, "symmetric": True, "act_order": True, "static_groups": True}
    compress(ours, replace(METHODS["gptq"], **settings), tokens)
    total = different = 0
    for name, module in model.named_modules():
        if name.endswith("_proj"):
            theirs_OI, ours_OI = module.weight, ours.get_submodule(name).weight
            largest_OG = dense.get_submodule(name).weight.unflatten(1, (-1, 128)).abs().amax(2)
            step_OI = (2 / 15 * largest_OG).repeat_interleave(128, dim=1)
            different += int(((theirs_OI - ours_OI).abs() > step_OI / 2).sum())
            total += step_OI.numel()
    assert total == 294_912 and different < 20


@with_the_library
@pytest.mark.parametrize("architecture", ["opt", "gemma2", "qwen3"])  # opt, gemma2: a shared head
def test_other_architectures(architecture):
    model = tiny_model(architecture)
    reports = run(WANDA, model)
    assert all(report.sparsity == pytest.approx(0.5, abs=0.05) for report in reports)
    with torch.no_grad():
        assert bool(torch.isfinite(model(TOKENS).logits).all())


@with_the_library
def test_a_rotated_model_whose_head_was_its_embedding():
    model = tiny_model(tie_word_embeddings=True)
    rotation().apply(model, is_quantized=False)
    head = model.lm_head.weight.clone()
    reports = run(WANDA, model)
    assert all(report.sparsity == pytest.approx(0.5, abs=0.05) for report in reports)
    assert torch.equal(model.lm_head.weight, head)


@with_the_library
def test_half_precision_stays_half_precision_and_two_runs_are_equal():
    first, second = wide().bfloat16(), wide().bfloat16()
    run(GPTQ, first)
    torch.manual_seed(5)
    run(GPTQ, second)
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert one.dtype == torch.bfloat16 and torch.equal(one, other)


REFUSED = {
    "other parameters than the dense one: with .*v_input": {
        "QuIPModifier": {"transform_type": "random-hadamard"},
        **rounding("W4A16"),
    },
    "quantises outputs or caches": rounding(
        "FP8", kv_cache_scheme={"num_bits": 8, "type": "float", "strategy": "tensor"}
    ),
    "left every weight as it was": {"WandaPruningModifier": {"sparsity": 0.5, "targets": "Linear"}},
    "one scale for all inputs of a call": {
        "QuantizationModifier": {
            "config_groups": {
                "a": {
                    "targets": ["Linear"],
                    "weights": {"num_bits": 8},
                    "input_activations": {"num_bits": 8, "dynamic": True, "strategy": "tensor"},
                }
            }
        }
    },
    "llm-compressor: .*GPTQModifier was unable to find": {
        "GPTQModifier": {"scheme": "W4A16", "targets": ["Conv9"]}
    },
}


@with_the_library
@pytest.mark.parametrize("said", REFUSED)
def test_what_a_plain_model_cannot_stand_for_is_refused_and_changes_nothing(said):
    model = wide()
    before = weights_of(model)
    with pytest.raises(ToolError, match=said):
        run(copy.deepcopy(REFUSED[said]), model)
    assert all(torch.equal(before[name], weight) for name, weight in weights_of(model).items())


@with_the_library
@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"GPTModifier": {}}, "GPTModifier"),
        ({"GPTQModifier": {"scheme": "W4A16", "blocksize": 3}}, "blocksize"),
    ],
)
def test_a_recipe_that_the_library_does_not_read_is_refused_before_anything(recipe, said):
    with pytest.raises(ConfigError, match=rf"method\.recipe=.*{said}"):
        method(recipe).check_machine()


@with_the_library
@pytest.mark.slow
def test_a_sweep_of_recipes_records_what_they_made(run_cli, tiny_world, tmp_path):
    (tmp_path / "w8a8.yaml").write_text(yaml.safe_dump(rounding("W8A8")))
    (tmp_path / "wanda.yaml").write_text(yaml.safe_dump(WANDA))
    words = [*tiny_world, "method=llm_compressor", "method.recipe=w8a8.yaml,wanda.yaml", "seed=0,1"]
    ended = run_cli("-m", *words, cwd=tmp_path)
    assert ended.code == 0, ended.err
    cells = read_records(tmp_path / "results" / "default")[1:]
    assert len(cells) == 4
    for cell in cells:
        note, recipe = cell["compression"], cell["cell"]["settings"]["method.recipe"]
        assert cell["environment"]["versions"]["llmcompressor"]
        assert (note["bits"] is None) == (recipe == "wanda.yaml")
        assert note["input_quantizer"] == (
            None if recipe == "wanda.yaml" else ROUNDS_INPUTS["w8a8"]
        )
    scores = {cell["cell_id"]: cell["scores"]["ppl/geomean"] for cell in cells}
    assert len(set(scores.values())) > 2


@with_the_library
def test_quantised_inputs_are_taken_away_again():
    model = wide()
    with torch.no_grad():
        expected = model(TOKENS).logits
        pristine = weights_of(model)
        run(rounding("W8A8"), model)
        for name, parameter in model.named_parameters():
            parameter.copy_(pristine[name])
        assert not torch.equal(model(TOKENS).logits, expected)
        remove_input_quantizers(model)
        assert torch.equal(model(TOKENS).logits, expected)
