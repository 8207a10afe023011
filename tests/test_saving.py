"""Models that cells leave behind: scored again they score the same; they say what made them."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file
from sweeps import read_records

from calib_sweep.model.packing import LEAST_TRANSFORMERS

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


@pytest.mark.parametrize(
    ("method", "form"),
    [
        ("wanda", "dense"),
        ("gptq", "compressed-tensors"),
        ("rtn", "compressed-tensors"),
        ("awq", "compressed-tensors"),
    ],
)
def test_a_saved_model_scored_again_scores_the_same(run_cli, tiny_world, tmp_path, method, form):
    skip_where_nothing_is_packed(form)
    record, model = saved(run_cli, tiny_world, tmp_path, method, form)
    world = [word for word in tiny_world if word != "model=miniature"]
    again = ["model=hf", f"model.path={model}", "method=dense", "sweep_name=again"]
    ended = run_cli(*world, *again, cwd=tmp_path)
    assert ended.code == 0, ended.err
    (rescored,) = read_records(tmp_path / "results" / "again")
    assert rescored["scores"] == record["scores"]


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
        assert f"method={name}: expected a method whose weights are codes" in ended.err
    assert "method=RTN" not in ended.err and not (tmp_path / "results" / "default").exists()
