"""Models that cells leave behind: scored again they score the same; they say what made them."""

import json

import pytest
import torch
import transformers
from helpers.fakes import byte_tokenizer, tiny_model
from helpers.sweeps import read_records
from safetensors.torch import load_file

from calib_sweep.compression.walk import compress
from calib_sweep.method.rtn import RTN
from calib_sweep.model.card import model_card
from calib_sweep.model.packing import LEAST_TRANSFORMERS, save_packed
from calib_sweep.model.saving import save_dense

FORMS = {"dense": "model", "compressed-tensors": "model-compressed-tensors"}


def skip_where_nothing_is_packed(form):
    if form == "compressed-tensors":
        pytest.importorskip("compressed_tensors")
        if tuple(map(int, transformers.__version__.split(".")[:2])) < LEAST_TRANSFORMERS:
            pytest.skip("this release of transformers reads no packed models")


def the_cell(folder, method):
    (record,) = [r for r in read_records(folder) if r["cell"]["method"] == method]
    (path,) = folder.glob(f"*{record['cell_id']}")
    return record, path


def saved(run_cli, world, folder, method, form):
    """Compress and save; the record and the folder of the model."""
    ended = run_cli(*world, f"method={method}", f"save_model={form}", cwd=folder)
    assert ended.code == 0, ended.err
    record, path = the_cell(folder / "results" / "default", method)
    return record, path / FORMS[form]


def the_command_of_its_card(model):
    """What the card says to type to score the model again, without the program's name."""
    (line,) = [x for x in (model / "README.md").read_text().splitlines() if "model.path=" in x]
    program, words = line.split("calib_sweep ")
    assert program == "    python -m "
    return words.replace("FOLDER", str(model)).split()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "form", "dtype"),
    [
        ("wanda", "dense", "float32"),
        ("wanda", "dense", "bfloat16"),
        ("gptq", "compressed-tensors", "float32"),
        ("rtn", "compressed-tensors", "float32"),
        ("awq", "compressed-tensors", "float32"),
    ],
)
def test_a_saved_model_scored_again_scores_the_same(
    run_cli, tiny_world, tmp_path, method, form, dtype
):
    skip_where_nothing_is_packed(form)
    world = [*tiny_world, f"model.dtype={dtype}"]
    record, model = saved(run_cli, world, tmp_path, method, form)
    world = [word for word in tiny_world if word != "model=miniature"]
    again = [*the_command_of_its_card(model), "sweep_name=again"]
    ended = run_cli(*world, *again, cwd=tmp_path)
    assert ended.code == 0, ended.err
    (rescored,) = read_records(tmp_path / "results" / "again")
    assert rescored["scores"] == record["scores"]


@pytest.mark.parametrize("form", FORMS)
def test_contradictory_settings_of_generation_cost_no_model(form, tmp_path):
    """Published models have them, and transformers refuses to write them."""
    skip_where_nothing_is_packed(form)
    model, method = tiny_model(), RTN(bits=4, group_size=None, symmetric=False)
    model.generation_config.temperature, model.generation_config.eos_token_id = 0.6, [257, 3]
    with pytest.raises(ValueError, match="do_sample"):
        model.save_pretrained(tmp_path / "refused")
    found = model.generation_config
    reports = compress(model, method, None, keep_grids=True)
    if form == "dense":
        save_dense(model, byte_tokenizer(), tmp_path)
    else:
        grids = {(report.block, report.layer): report.grid for report in reports}
        save_packed(model, byte_tokenizer(), tmp_path, grids, method.grid_format())
    written = json.loads((tmp_path / "generation_config.json").read_text())
    assert written["eos_token_id"] == [257, 3] and "temperature" not in written
    assert model.generation_config is found and found.temperature == 0.6


def test_saving_draws_no_bars(capfd, tmp_path):
    save_dense(tiny_model(), byte_tokenizer(), tmp_path)
    assert capfd.readouterr() == ("", "")


def test_zeros_are_kept_as_they_are(run_cli, tiny_world, tmp_path):
    record, model = saved(run_cli, tiny_world, tmp_path, "wanda", "dense")
    weights = load_file(model / "model.safetensors")
    matrices = [x for name, x in weights.items() if ".layers." in name and x.ndim == 2]
    zeros, size = (
        sum(f(x) for x in matrices) for f in (lambda x: int((x == 0).sum()), torch.numel)
    )
    assert zeros / size == pytest.approx(record["compression"]["sparsity"])


def test_a_model_says_where_it_comes_from(run_cli, tiny_world, tmp_path):
    record, model = saved(run_cli, tiny_world, tmp_path, "wanda", "dense")
    card = (model / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: transformers\n") and "base_model" not in card
    score = next(iter(record["scores"].values()))
    for told in (
        record["cell_id"],
        record["calibration"]["hash"],
        "sparsity: 0.5",
        f"{score:.6g}",
        "| seed | 0 |",
        f"| torch | {torch.__version__} |",
        "model=hf model.path=",
    ):
        assert told in card, told
    del record["config"]["model"]["dtype"]  # a class of the user's may have none
    assert "model.path=FOLDER num_threads=1 method=dense\n" in model_card(record, "dense")


def test_both_forms_are_kept_and_made_when_first_asked_for(run_cli, tiny_world, tmp_path):
    skip_where_nothing_is_packed("compressed-tensors")
    for form, others in (("dense", ["model"]), ("compressed-tensors", sorted(FORMS.values()))):
        _, model = saved(run_cli, tiny_world, tmp_path, "rtn", form)
        assert sorted(path.name for path in model.parent.glob("model*")) == others
    settings = json.loads((model / "config.json").read_text())["quantization_config"]
    assert settings["format"] == "pack-quantized"
    assert "CompressedTensorsConfig(dequantize=True)" in (model / "README.md").read_text()


def test_every_cell_that_cannot_be_packed_is_named_before_any_runs(run_cli, tiny_world, tmp_path):
    methods = "method=rtn,wanda,magnitude,spqr"
    command = ["check", "-m", *tiny_world, methods, "save_model=compressed-tensors"]
    ended = run_cli(*command, cwd=tmp_path)
    assert ended.code == 1
    for name in ("Wanda", "Magnitude", "SpQR"):
        assert (
            f"one grid per row or group, such as rtn or gptq, but this one is {name}" in ended.err
        )
    assert "is RTN" not in ended.err and not (tmp_path / "results" / "default").exists()
