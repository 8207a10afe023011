"""What the small files of a checkpoint tell is told before a weight is read."""

import json

import pytest
import sentencepiece
from helpers.fakes import TINY, save_tiny
from helpers.hub_models import hub_model
from safetensors.torch import load_file, save_file

from calib_sweep.errors import ConfigError
from calib_sweep.model import checkpoint
from calib_sweep.model.weight_files import GIT_LFS, INDEX, WHOLE

UP = "model.layers.1.mlp.up_proj.weight"


def configure(folder, **settings):
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


def keep_one_of_two_shards(folder):
    weights = load_file(folder / WHOLE)
    names = [f"model-0000{1 + place % 2}-of-00002.safetensors" for place in range(len(weights))]
    first = {key: weights[key] for key in list(weights)[::2]}
    save_file(first, folder / names[0], metadata={"format": "pt"})
    (folder / WHOLE).unlink()
    index = {"metadata": {}, "weight_map": dict(zip(weights, names, strict=True))}
    (folder / INDEX).write_text(json.dumps(index))


def leave_adapters_alone(folder):
    (folder / WHOLE).rename(folder / "adapter_model.safetensors")


def lose_a_weight(folder):
    weights = load_file(folder / WHOLE)
    del weights[UP]
    save_file(weights, folder / WHOLE, metadata={"format": "pt"})


def cut_short(folder):
    (folder / WHOLE).write_bytes((folder / WHOLE).read_bytes()[:-1])


def garble_the_index(folder):
    (folder / WHOLE).rename(folder / "weights.safetensors")
    (folder / INDEX).write_text("[]")


DAMAGES = {
    "fp8 has quantized them": lambda f: configure(f, quantization_config={"quant_method": "fp8"}),
    r"missing: model-00002-of-00002\.safetensors": keep_one_of_two_shards,
    "holds adapters without one .*merge_and_unload": leave_adapters_alone,
    rf"missing or misshapen: {UP}": lose_a_weight,
    r"missing or misshapen: .*lm_head\.weight": lambda f: configure(f, hidden_size=64),
    r"missing or misshapen: model\.layers\.2\.": lambda f: configure(f, num_hidden_layers=3),
    r"model\.safetensors has [\d,]+ bytes where [\d,]+ belong": cut_short,
    "ends after 0 bytes, within its header": lambda f: (f / WHOLE).write_bytes(b""),
    "does not begin as safetensors do": lambda f: (f / WHOLE).write_bytes(b"\2" + bytes(99)),
    "a pointer of Git LFS.*git lfs pull": lambda f: (f / WHOLE).write_bytes(GIT_LFS + b"/spec/v1"),
    "the files of all weights in model.safetensors.index.json": garble_the_index,
    r"config\.json holds a list, not an object": lambda f: (f / "config.json").write_text("[]"),
    r"(hidden size \(32\) is not a multiple|misshapen: .*o_proj)": lambda f: configure(
        f, num_attention_heads=5
    ),
    "KeyError: 'none such'": lambda f: configure(f, hidden_act="none such"),
    "T5Config.*AutoModelForCausalLM": lambda f: configure(f, model_type="t5"),
}


@pytest.mark.parametrize("told", DAMAGES)
def test_what_is_damaged_is_told_without_its_weights(damaged, told):
    DAMAGES[told](damaged)
    with pytest.raises(ConfigError, match=rf"model\.path=.*{told}"):
        hub_model(damaged).check_checkpoint()


@pytest.mark.parametrize("architecture", TINY)
def test_a_whole_checkpoint_is_found_whole(architecture, tmp_path):
    hub_model(save_tiny(architecture, tmp_path / "tiny")).check_checkpoint()


@pytest.mark.parametrize("content", ['{"version":', "[]"])
@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_damaged_tokenizer_is_told_by_the_name_of_its_file(damaged, name, content):
    (damaged / name).write_text(content)
    with pytest.raises(
        ConfigError, match=rf"model\.path=.*, but {name} (is not JSON|holds a list)"
    ):
        hub_model(damaged).load_tokenizer()


def test_a_tokenizer_that_needs_sentencepiece_says_so(damaged, monkeypatch):
    (damaged / "tokenizer.json").rename(damaged / "tokenizer.model")
    monkeypatch.setattr(checkpoint, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"tokenizer\.model.*pip install sentencepiece"):
        hub_model(damaged).load_tokenizer()


def test_a_tokenizer_of_sentencepiece_alone_is_read(damaged, tmp_path):
    """As the older LLaMA checkpoints of the hub have it: tokenizer.model and no tokenizer.json."""
    text = tmp_path / "text.txt"
    text.write_text("the old mill stood beside the river and the miller was glad of it\n" * 50)
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(damaged / "tokenizer"),
        vocab_size=300,
        model_type="bpe",
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (damaged / "tokenizer.json").unlink()
    words = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "unk_token": "<unk>"}
    (damaged / "tokenizer_config.json").write_text(json.dumps(words))
    tokenizer = hub_model(damaged).load_tokenizer()
    ids = tokenizer("the old mill", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == "the old mill" and len(ids) < len("the old mill")


def test_check_tells_before_any_cell_runs(run_cli, tiny_world, damaged, tmp_path):
    """Also for the dense model alone, which draws nothing."""
    configure(damaged, quantization_config={"quant_method": "fp8"})
    (damaged / "tokenizer.json").write_text("{")
    world = [*tiny_world[1:], "model=hf", f"model.path={damaged}", "method=dense"]
    for verb in (["check"], []):
        ended = run_cli(*verb, *world, cwd=tmp_path)
        assert ended.code == 1
        assert "fp8 has quantized them" in ended.err and "tokenizer.json is not JSON" in ended.err
    assert not list(tmp_path.rglob("record.json"))


def test_a_model_without_weights_is_checked_and_estimated_but_not_run(
    run_cli, tiny_world, damaged, tmp_path
):
    (damaged / "model.safetensors").unlink()
    world = [*tiny_world[1:], "model=hf", f"model.path={damaged}", "method=wanda"]
    ended = run_cli("check", *world, cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert f"there are no weights in {damaged}" in ended.out and "time: about" in ended.out
    ended = run_cli(*world, cwd=tmp_path)
    assert ended.code == 1 and f"there are no weights in {damaged}" in ended.err
    assert not list(tmp_path.rglob("record.json"))
