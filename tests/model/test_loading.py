"""Loading from a folder: what is read, what is refused, and what the person typing is told."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from helpers.fakes import ARCHITECTURES, random_tokens, save_tiny, tiny_model
from helpers.hub_models import hub_model
from safetensors.torch import load_file, save_file

from calib_sweep.errors import ConfigError, UnavailableError
from calib_sweep.model import loading
from calib_sweep.model.blocks import decoder_blocks, linear_layers
from calib_sweep.model.saving import save_dense
from calib_sweep.places import WEIGHTS

UP = "model.layers.1.mlp.up_proj.weight"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_saved_model_loads_as_it_was(architecture, tmp_path):
    part = hub_model(save_tiny(architecture, tmp_path / "model"))
    model, expected = part.load(), tiny_model(architecture)
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    tokens = random_tokens(2, 20)
    with torch.no_grad():
        assert torch.equal(model(tokens).logits, expected(tokens).logits)
    assert part.context_length() == 128


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_shapes_are_known_without_weights(architecture, tmp_path):
    part = hub_model(save_tiny(architecture, tmp_path / "model"))
    for file in (tmp_path / "model").glob("*.safetensors"):
        file.write_bytes(b"no weights")
    expected = [
        (f"block {index} {name}", *layer.weight_OI().shape)
        for index, block in enumerate(decoder_blocks(tiny_model(architecture)))
        for name, layer in linear_layers(block).items()
    ]
    assert part.linear_shapes() == expected


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_dtype_is_the_one_asked_for(llama, dtype):
    model = hub_model(llama, dtype=dtype).load()
    assert {p.dtype for p in model.parameters()} == {getattr(torch, dtype)}


def test_the_tokenizer_loads(llama):
    tokenizer = hub_model(llama).load_tokenizer()
    assert (
        tokenizer.decode(tokenizer("caf\u00e9", add_special_tokens=False).input_ids) == "caf\u00e9"
    )


def test_a_saved_compressed_model_loads_as_it_was(llama, tmp_path):
    part = hub_model(llama)
    model = part.load()
    next(iter(linear_layers(decoder_blocks(model)[0]).values())).module.weight.data.zero_()
    saved = hub_model(save_dense(model, part.load_tokenizer(), tmp_path / "new" / "folder"))
    for old, new in zip(model.parameters(), saved.load().parameters(), strict=True):
        assert torch.equal(old, new)
    assert saved.load_tokenizer()("a").input_ids == part.load_tokenizer()("a").input_ids


def test_wrong_settings_are_reported_together():
    with pytest.raises(ConfigError) as caught:
        hub_model("", dtype="half", device="gpu", offload="disk", trust_remote_code="no")
    starts = [problem.split("=")[0] for problem in caught.value.problems]
    keys = ["path", "dtype", "device", "offload", "trust_remote_code"]
    assert starts == [f"model.{key}" for key in keys]
    assert "float32, float16, bfloat16" in str(caught.value)


def test_building_one_looks_at_nothing_and_imports_nothing_heavy():
    code = (
        "import sys; from calib_sweep.model.loading import HubModel; "
        "HubModel(name=None, path='/nowhere', revision=None, dtype='float32', device='cuda:7', "
        "offload=None, trust_remote_code=False); "
        "print([m for m in ('torch', 'transformers', 'huggingface_hub') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr


def test_the_word_miniature_stands_for_the_shipped_model():
    assert hub_model("miniature").folder() == WEIGHTS


def test_what_looks_like_a_path_is_one_and_the_rest_is_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    for path in ("./x", "../x", "/x/y", "~/x", "~nobody_of_this_name/x", "here"):
        assert hub_model(path).folder() is not None
    assert hub_model("facebook/opt-125m").folder() is None
    assert hub_model("facebook/opt-125m").fingerprint() is None


def test_a_missing_folder_is_refused_with_what_is_there_instead(llama):
    for method in ("load", "load_tokenizer", "context_length", "linear_shapes", "fingerprint"):
        with pytest.raises(ConfigError, match=r"model\.path=.*does not exist.*holds llama"):
            getattr(hub_model(llama.parent / "lama"), method)()


def test_a_file_is_refused_with_its_folder(llama):
    with pytest.raises(ConfigError, match=r"is a file; set model\.path to the folder"):
        hub_model(llama / "config.json").load()


def test_a_folder_without_a_model_is_refused(tmp_path):
    (tmp_path / "notes.md").touch()
    with pytest.raises(ConfigError, match=r"config\.json.*holds notes\.md"):
        hub_model(tmp_path).load()


def test_pickled_weights_are_refused_before_they_are_opened(damaged):
    (damaged / "model.safetensors").unlink()
    (damaged / "pytorch_model.bin").write_bytes(b"would fail to unpickle")
    for method in ("load", "context_length"):
        with pytest.raises(ConfigError) as caught:
            getattr(hub_model(damaged), method)()
        text = str(caught.value)
        assert "pytorch_model.bin" in text and "save_pretrained(NEW)" in text


def test_pickles_beside_safetensors_are_not_read(damaged):
    (damaged / "pytorch_model.bin").write_bytes(b"would fail to unpickle")
    hub_model(damaged).load()


def test_missing_weights_are_refused(damaged):
    (damaged / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match="no weights in"):
        hub_model(damaged).load()


def test_a_weight_missing_from_the_file_is_refused_and_not_made_up(damaged):
    weights = load_file(damaged / "model.safetensors")
    del weights[UP]
    save_file(weights, damaged / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=rf"complete checkpoint.*{UP}"):
        hub_model(damaged).load()


def test_a_weight_of_another_shape_is_refused(damaged):
    weights = load_file(damaged / "model.safetensors")
    weights[UP] = torch.zeros(3, 3)
    save_file(weights, damaged / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=rf"misshapen.*{UP}"):
        hub_model(damaged).load()


def test_a_file_cut_short_is_refused(damaged):
    data = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(ConfigError, match=r"damaged or cut short"):
        hub_model(damaged).load()


@pytest.mark.parametrize("content", ['{"model_type":', '{"model_type": "of tomorrow"}', "{}"])
def test_a_configuration_that_cannot_be_read_is_refused(damaged, content):
    (damaged / "config.json").write_text(content)
    with pytest.raises(ConfigError, match=r"model\.path=.*expected a readable model"):
        hub_model(damaged).context_length()


def test_a_missing_tokenizer_is_refused(damaged):
    for file in damaged.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ConfigError, match=r"tokenizer beside the model.*holds config\.json"):
        hub_model(damaged).load_tokenizer()


def test_a_gpu_that_is_not_there_is_refused(llama):
    with pytest.raises(ConfigError, match=r"model\.device='cuda:99'.*model\.device=auto"):
        hub_model(llama, device="cuda:99").load()


def test_the_hub_out_of_reach_is_told_from_a_mistake(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    loading.hub_answers.cache_clear()
    try:
        with pytest.raises(UnavailableError, match=r"no-such-owner/no-such-model.*prefetch"):
            hub_model("no-such-owner/no-such-model").context_length()
    finally:
        loading.hub_answers.cache_clear()


@pytest.fixture
def hub_copy(llama, tmp_path, monkeypatch):
    """The cache of a hub out of reach, with a snapshot of owner/model that one may damage."""
    commit = "a" * 40
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    loading.hub_answers.cache_clear()
    entry = tmp_path / "models--owner--model"
    (entry / "refs").mkdir(parents=True)
    (entry / "refs" / "main").write_text(commit)
    yield shutil.copytree(llama, entry / "snapshots" / commit)
    loading.hub_answers.cache_clear()


def test_prefetch_is_content_with_a_whole_model_in_the_cache(hub_copy):
    hub_model("owner/model").prefetch()
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    (hub_copy / "model.safetensors").rename(hub_copy / "one.safetensors")
    (hub_copy / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UnavailableError, match=r"missing: two\.safetensors"):
        hub_model("owner/model").prefetch()
    shutil.copy(hub_copy / "one.safetensors", hub_copy / "two.safetensors")
    hub_model("owner/model").prefetch()


def test_prefetch_does_not_take_a_configuration_for_a_model(hub_copy):
    """What `check` leaves in the cache: a snapshot without weights."""
    (hub_copy / "model.safetensors").unlink()
    with pytest.raises(UnavailableError, match=r"missing: model\.safetensors"):
        hub_model("owner/model").prefetch()


def test_the_fingerprint_follows_the_content_and_not_the_place(llama, damaged):
    assert hub_model(llama).fingerprint() == hub_model(damaged).fingerprint()
    weights = load_file(damaged / "model.safetensors")
    weights[UP][0, 0] += 1
    save_file(weights, damaged / "model.safetensors", metadata={"format": "pt"})
    changed = hub_model(damaged).fingerprint()
    assert changed != hub_model(llama).fingerprint()
    (damaged / "tokenizer.json").write_text("{}")
    assert hub_model(damaged).fingerprint() != changed
    (damaged / "README.md").write_text("no part of the model")
    assert len({hub_model(damaged).fingerprint() for _ in range(2)}) == 1
