"""Models saved as integers load again with the weights that the walk left, in any architecture."""

import json
from dataclasses import fields, replace

import pytest
import torch
import transformers
from helpers.fakes import TINY, byte_tokenizer, random_tokens, save_tiny, tiny_model
from helpers.hub_models import hub_model
from safetensors.torch import load_file

from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.method.awq import AWQ
from calib_sweep.method.gptaq import GPTAQ
from calib_sweep.method.gptq import GPTQ
from calib_sweep.method.qronos import Qronos
from calib_sweep.method.rtn import RTN
from calib_sweep.method.smoothquant import SmoothQuant
from calib_sweep.method.sparsegpt import SparseGPT
from calib_sweep.method.wanda import Wanda
from calib_sweep.model import packing
from calib_sweep.model.blocks import decoder_blocks, enumerate_blocks, linear_layers
from calib_sweep.model.packing import check_packable, checkpoint_names, save_packed
from calib_sweep.model.scaling_groups import check_absorbed

pytest.importorskip("compressed_tensors")
if tuple(map(int, transformers.__version__.split(".")[:2])) < packing.LEAST_TRANSFORMERS:
    pytest.skip("this release of transformers reads no packed models", allow_module_level=True)

TOKENS = random_tokens(4, 24)
MIXTURES = ("mixtral", "qwen3_moe", "qwen2_moe")
NOT_PACKED = ("gpt2", "gpt_oss")  # transposed; fused on disk as well


def rtn(*, bits=4, group_size=16, symmetric=False):
    return RTN(bits=bits, group_size=group_size, symmetric=symmetric)


def gptq(**settings):
    defaults = {"bits": 4, "group_size": 16, "symmetric": False, "mse": False}
    order = {"act_order": False, "static_groups": False, "group_fit": "published"}
    return GPTQ(
        **{**defaults, **order, "damping": 0.01, "off_diagonal": 1, "block_size": 32, **settings}
    )


def awq(*, symmetric=False):
    steps = {"scale_steps": 20, "clip_steps": 20, "max_shrink": 0.5}
    return AWQ(bits=4, group_size=16, symmetric=symmetric, **steps)


def gptaq(**settings):
    pulls = {"alpha": 0.25, "rescomp": 0.25, "foem": 0.2, "beyond": "carried"}
    own = {field.name: getattr(gptq(**settings), field.name) for field in fields(GPTQ)}
    for key in ("off_diagonal", "weighting"):
        del own[key]
    return GPTAQ(**own, **pulls)


def qronos(*, group_size=16):
    settings = {"symmetric": False, "mse": False, "act_order": True}
    return Qronos(bits=4, group_size=group_size, **settings, spectral_damping=1e-6, block_size=32)


METHODS = {
    "rtn": rtn(),
    "rtn per row": rtn(group_size=None),
    "rtn symmetric": rtn(symmetric=True),
    "rtn 2 bits": rtn(bits=2),
    "rtn 3 bits": rtn(bits=3),
    "rtn 8 bits": rtn(bits=8),
    "rtn 8 bits symmetric, per row": rtn(bits=8, group_size=None, symmetric=True),
    "gptq": gptq(),
    "gptq per row, act_order": gptq(group_size=None, act_order=True),
    "gptq static groups, act_order": gptq(static_groups=True, act_order=True),
    "gptq updated groups": gptq(group_fit="updated"),
    "gptq updated groups wider than a block": gptq(group_fit="updated", block_size=8),
    "gptq groups of two in a block": gptq(group_size=8, group_fit="updated", block_size=16),
    "gptq symmetric, mse": gptq(symmetric=True, mse=True),
    "awq": awq(),
    "awq symmetric": awq(symmetric=True),
    "sparsegpt": SparseGPT(
        sparsity=0.5,
        pattern="unstructured",
        bits=4,
        group_size=16,
        symmetric=False,
        damping=0.01,
        off_diagonal=1,
        block_size=16,
    ),
    "gptaq": gptaq(),
    "gptaq per row, act_order": gptaq(group_size=None, act_order=True),
    "qronos": qronos(),
    "qronos per row": qronos(group_size=None),
    "smoothquant": SmoothQuant(alpha=0.5, base=gptq()),
}


def dtype_of(model):
    return str(model.dtype).removeprefix("torch.")


def pack(model, method, folder):
    reports = compress(model, method, TOKENS, keep_grids=True)
    grids = {(report.block, report.layer): report.grid for report in reports}
    check_packable("tiny", model, method.grid_format(), dtype_of(model))
    save_packed(model, byte_tokenizer(), folder, grids, method.grid_format())


@torch.no_grad()
def assert_loads_equal(model, folder, **settings):
    loaded = hub_model(folder, **settings).load()
    for (name, old), new in zip(model.named_parameters(), loaded.parameters(), strict=True):
        assert torch.equal(old, new), name
    assert torch.equal(loaded(TOKENS).logits, model(TOKENS).logits)
    return loaded


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_what_is_unpacked_is_what_the_walk_left(method, tmp_path):
    model = tiny_model()
    pack(model, method, tmp_path)
    assert_loads_equal(model, tmp_path)


def test_a_model_whose_grids_were_not_kept_is_refused_with_the_word_that_keeps_them(tmp_path):
    model = tiny_model()
    reports = compress(model, rtn(), None)
    assert {report.grid for report in reports} == {None}
    with pytest.raises(ConfigError, match=r"block 0 .* is missing\. Call .*keep_grids=True"):
        save_packed(model, byte_tokenizer(), tmp_path, {}, rtn().grid_format())


@pytest.mark.parametrize("architecture", [name for name in TINY if name not in NOT_PACKED])
def test_architectures_are_packed_and_read_back(architecture, tmp_path):
    model = tiny_model(architecture)
    pack(model, rtn(symmetric=architecture in MIXTURES), tmp_path)
    loaded = assert_loads_equal(model, tmp_path)
    # It is an ordinary model again, to be compressed and saved like any other.
    assert not hasattr(loaded.config, "quantization_config")
    reports = compress(loaded, Wanda(sparsity=0.5, pattern="unstructured"), TOKENS)
    assert len(reports) == 2 * len(linear_layers(decoder_blocks(model)[0]))


@pytest.mark.parametrize("architecture", ["llama", *MIXTURES])
def test_every_layer_is_stored_as_integers_and_nothing_else(architecture, tmp_path):
    model = tiny_model(architecture)
    names = checkpoint_names(model)
    assert len(names) == 2 * len(linear_layers(decoder_blocks(model)[0]))
    pack(model, rtn(symmetric=True), tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    packed = tuple(name.removesuffix("weight") for name in names.values())
    for (index, layer), name in names.items():
        prefix = name.removesuffix("weight")
        num_in = linear_layers(decoder_blocks(model)[index])[layer].weight_OI().shape[1]
        assert name not in stored and stored[f"{prefix}weight_packed"].dtype == torch.int32
        assert stored[f"{prefix}weight_packed"].shape[1] == num_in * 4 // 32
        assert stored[f"{prefix}weight_scale"].shape[1] == num_in // 16
    settings = json.loads((tmp_path / "config.json").read_text())["quantization_config"]
    assert settings["quant_method"] == "compressed-tensors"
    left = {name for name, x in stored.items() if x.ndim == 2 and not name.startswith(packed)}
    assert {f"{name}.weight" for name in settings["ignore"]} == left


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("bits", [4, 8])
def test_half_precision_differs_by_rounding_alone(dtype, bits, tmp_path):
    model = tiny_model().to(getattr(torch, dtype))
    pack(model, rtn(bits=bits), tmp_path)
    loaded = hub_model(tmp_path, dtype=dtype).load()
    unit = torch.finfo(getattr(torch, dtype)).eps
    for old, new in zip(model.parameters(), loaded.parameters(), strict=True):
        # The scale is rounded, and their product again: half a unit each.
        assert bool(((old - new).abs() <= 1.5 * unit * old.abs()).all())
    logits = [m(TOKENS).logits.float() for m in (model, loaded)]
    torch.testing.assert_close(logits[0], logits[1], rtol=0, atol=40 * unit)


def test_a_head_tied_to_the_embedding_stays_tied(tmp_path):
    model = tiny_model(tie_word_embeddings=True)
    pack(model, rtn(), tmp_path)
    loaded = assert_loads_equal(model, tmp_path)
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight


def test_transformers_alone_reads_symmetric_grids(tmp_path):
    model = tiny_model()
    pack(model, rtn(symmetric=True), tmp_path)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(loaded(TOKENS).logits, model(TOKENS).logits)


@pytest.mark.parametrize("architecture", NOT_PACKED)
def test_what_cannot_be_read_back_is_refused_without_weights(architecture, tmp_path):
    part = hub_model(save_tiny(architecture, tmp_path))
    for file in tmp_path.glob("*.safetensors"):
        file.write_bytes(b"no weights")
    with pytest.raises(ConfigError, match=r"compressed-tensors.*block 0 .* Type save_model=dense"):
        part.check_packable(rtn(symmetric=True).grid_format())


@pytest.mark.parametrize("architecture", MIXTURES)
def test_experts_on_asymmetric_grids_are_refused(architecture, tmp_path):
    part = hub_model(save_tiny(architecture, tmp_path))
    part.check_packable(rtn(symmetric=True).grid_format())
    with pytest.raises(ConfigError, match=r"is an expert.*method\.symmetric=true"):
        part.check_packable(rtn().grid_format())


@pytest.mark.parametrize("architecture", ["opt", "phi3", "gemma2"])
def test_a_model_inside_which_scale_was_moved_is_packed_like_any_other(architecture, tmp_path):
    model = tiny_model(architecture)
    check_absorbed(enumerate_blocks(model))
    pack(model, awq(), tmp_path)
    assert_loads_equal(model, tmp_path)


@pytest.mark.parametrize("architecture", ["gpt_neox", "bloom", "falcon"])
def test_a_scale_that_stays_in_the_weights_is_refused(architecture):
    with pytest.raises(ConfigError, match=r"compressed-tensors.*dense_4h_to_h.*save_model=dense"):
        check_absorbed(enumerate_blocks(tiny_model(architecture)))


def test_methods_off_the_grid_say_so():
    for method in (
        Wanda(sparsity=0.5, pattern="unstructured"),
        SparseGPT(
            sparsity=0.5,
            pattern="unstructured",
            bits=None,
            group_size=None,
            symmetric=False,
            damping=0.01,
            off_diagonal=1,
            block_size=16,
        ),
    ):
        with pytest.raises(ConfigError, match=r"rtn or gptq.*Type save_model=dense"):
            method.grid_format()


def test_groups_that_do_not_fill_a_row_are_refused_by_the_name_of_the_layer():
    model = tiny_model("llama")
    form = rtn(group_size=24).grid_format()
    with pytest.raises(
        ConfigError, match=r"block 0 \S+ of tiny has \d+ columns, which groups of 24"
    ):
        check_packable("tiny", model, form, dtype_of(model))


def test_groups_of_scattered_columns_are_refused_with_what_to_type():
    with pytest.raises(ConfigError, match=r"method\.act_order.*method\.static_groups=true"):
        gptq(act_order=True).grid_format()
    (report,) = compress(tiny_model(), gptq(act_order=True), TOKENS, keep_grids=True)[:1]
    assert report.grid is None


def test_a_grid_that_is_not_the_weights_own_is_never_written(tmp_path):
    model, method = tiny_model(), rtn()
    reports = compress(model, method, TOKENS, keep_grids=True)
    grids = {(report.block, report.layer): report.grid for report in reports}
    grids[1, "mlp.up_proj"] = grids[0, "mlp.up_proj"]
    with pytest.raises(AssertionError, match="does not lie on its grid"):
        save_packed(model, byte_tokenizer(), tmp_path, grids, method.grid_format())


def test_the_library_is_asked_for_before_anything_starts(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "compressed_tensors", None)
    with pytest.raises(ConfigError, match=r"pip install 'calib-sweep\[compressed-tensors\]'"):
        hub_model(save_tiny("llama", tmp_path)).check_packable(rtn().grid_format())


def test_weights_quantized_by_others_are_refused(tmp_path):
    save_tiny("llama", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        ConfigError, match=r"gptq has quantized them.*the model from which it was made"
    ):
        hub_model(tmp_path).load()
    assert packing.reading_settings("x", tiny_model().config) == {}


# Formats other than integers


BITS = {"nvfp4": 4, "mxfp4": 4, "fp8": 8, "fp8_block": 8}
LAYOUTS = {"nvfp4": "nvfp4-pack-quantized", "mxfp4": "mxfp4-pack-quantized"}
WIDE = {"hidden_size": 128, "intermediate_size": 256}  # rows of 64, half of a block of fp8_block


def floats(form, *, method=rtn, **settings):
    return replace(method(), format=form, bits=BITS[form], group_size=None, **settings)


def wide_model(form, folder, architecture="llama"):
    """A model of the dtype in which the format is read back as it was."""
    save_tiny(architecture, folder, **WIDE)
    is_half = form == "nvfp4" or (form, architecture) == ("mxfp4", "mixtral")
    return hub_model(folder, dtype="bfloat16" if is_half else "float32").load()


@pytest.mark.parametrize("method", [rtn, gptq])
@pytest.mark.parametrize("form", BITS)
def test_formats_are_packed_and_read_back(form, method, tmp_path):
    model = wide_model(form, tmp_path / "dense")
    pack(model, floats(form, method=method), tmp_path)
    assert_loads_equal(model, tmp_path, dtype=dtype_of(model))
    stored = load_file(tmp_path / "model.safetensors")
    prefix, is_byte = "model.layers.0.mlp.up_proj.", form in LAYOUTS
    codes = stored[f"{prefix}weight{'_packed' * is_byte}"]
    assert codes.dtype == (torch.uint8 if is_byte else torch.float8_e4m3fn)
    assert codes.shape == (256, 128 // (1 + is_byte))
    scales = {"nvfp4": (256, 8), "mxfp4": (256, 4), "fp8": (256, 1), "fp8_block": (2, 1)}
    assert stored[f"{prefix}weight_scale"].shape == scales[form]
    settings = json.loads((tmp_path / "config.json").read_text())["quantization_config"]
    assert settings["format"] == LAYOUTS.get(form, "float-quantized")
    assert set(settings["ignore"]) == {"lm_head", "model.embed_tokens"}


def test_fused_layers_are_stored_with_one_factor(tmp_path):
    model = wide_model("nvfp4", tmp_path / "dense")
    pack(model, floats("nvfp4"), tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    fused = [f"self_attn.{letter}_proj" for letter in "qkv"]
    for names, num_different in ((fused, 1), (["self_attn.o_proj", "mlp.down_proj"], 2)):
        factors = {float(stored[f"model.layers.1.{n}.weight_global_scale"]) for n in names}
        assert len(factors) == num_different


@pytest.mark.parametrize("form", ["fp8", "fp8_block", "mxfp4"])
def test_formats_in_half_precision_differ_by_rounding_alone(form, tmp_path):
    model = tiny_model(**WIDE).to(torch.bfloat16)
    pack(model, floats(form), tmp_path)
    loaded = hub_model(tmp_path, dtype="bfloat16").load()
    unit = 0.0 if form == "mxfp4" else torch.finfo(torch.bfloat16).eps
    for old, new in zip(model.parameters(), loaded.parameters(), strict=True):
        assert bool(((old - new).abs() <= 1.5 * unit * old.abs()).all())


@pytest.mark.parametrize("form", ["mxfp4", "fp8"])
def test_experts_are_packed_in_formats_with_a_plain_scale(form, tmp_path):
    model = wide_model(form, tmp_path / "dense", "mixtral")
    pack(model, floats(form), tmp_path)
    assert_loads_equal(model, tmp_path, dtype=dtype_of(model))


def test_experts_that_come_back_in_half_precision_are_refused_elsewhere(tmp_path):
    part = hub_model(save_tiny("mixtral", tmp_path, **WIDE))
    with pytest.raises(ConfigError, match=r"expert, which .*bfloat16\. Type model\.dtype=bfloat16"):
        part.check_packable(floats("mxfp4").grid_format())


@pytest.mark.parametrize("form", ["nvfp4", "fp8_block"])
def test_experts_in_formats_with_more_than_that_are_refused(form, tmp_path):
    model = wide_model(form, tmp_path / "dense", "mixtral")
    with pytest.raises(ConfigError, match=r"is an expert, .*no more\. Type save_model=dense"):
        pack(model, floats(form), tmp_path)


def test_what_a_format_would_not_give_back_is_refused_with_what_to_type(tmp_path):
    part = hub_model(save_tiny("llama", tmp_path, **WIDE))
    with pytest.raises(ConfigError, match=r"model\.dtype='float32': .*Type model\.dtype=bfloat16"):
        part.check_packable(floats("nvfp4").grid_format())
    with pytest.raises(ConfigError, match=r"scale_rule='four_thirds': .*method\.scale_rule=ocp"):
        part.check_packable(floats("mxfp4", scale_rule="four_thirds").grid_format())
    part = hub_model(save_tiny("llama", tmp_path / "narrow"))
    with pytest.raises(ConfigError, match=r"48 columns, which groups of 32.*Type save_model=dense"):
        part.check_packable(floats("mxfp4").grid_format())


def test_transformers_alone_reads_fp8(tmp_path):
    model = wide_model("fp8", tmp_path / "dense")
    pack(model, floats("fp8"), tmp_path)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(loaded(TOKENS).logits, model(TOKENS).logits)
