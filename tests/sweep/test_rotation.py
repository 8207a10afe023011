"""Rotation through the command line: ids, what is refused, what is scored, recorded and saved."""

import pytest
import torch
from helpers.fakes import save_tiny
from helpers.sweeps import read_records
from transformers import AutoModelForCausalLM

from calib_sweep.places import CONF
from calib_sweep.results.store import Store
from calib_sweep.sweep.plan import compose_command_line, plan_cells


def cells_of(tmp_path, *arguments):
    planned = plan_cells(Store(tmp_path, "default"), compose_command_line(CONF, arguments))
    return {(cell.method, cell.settings.get("rotation")): cell for cell in planned}


def test_it_is_in_the_id_of_every_cell_but_the_dense_ones_where_it_is_chosen(tmp_path):
    plain = cells_of(tmp_path, "-m", "method=rtn,wanda")
    cells = cells_of(tmp_path, "-m", "method=rtn,wanda,dense", "rotation=null,hadamard")
    assert set(cells) == {("dense", None)} | {
        (method, chosen) for method in ("rtn", "wanda") for chosen in (None, "hadamard")
    }
    for method in ("rtn", "wanda"):
        rotated, dense = cells[method, "hadamard"], plain["dense", None]
        assert cells[method, None].id == plain[method, None].id
        assert cells[method, None].compression_id == plain[method, None].compression_id
        assert rotated.id != plain[method, None].id and rotated.dense().id == dense.id
        assert rotated.compression_id != plain[method, None].compression_id
    assert not cells["rtn", "hadamard"].needs_data
    assert cells["wanda", "hadamard"].title.endswith("wanda mini_web seed 0 rotation=hadamard")


def test_its_keys_and_activations_beside_it_move_an_id(tmp_path):
    ids = set()
    words = ["rotation.seed=0", "rotation.seed=1", "rotation.online=false", "activations=int8"]
    for word in words:
        planned = cells_of(tmp_path, "rotation=hadamard", word, "method=rtn")
        ids |= {cell.id for cell in planned.values() if not cell.is_dense}
    assert len(ids) == len(words)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["rotation=hadamar"], "rotation=hadamar: expected one of hadamard, random"),
        (["rotation.seed=1"], "no such key, as no rotation is chosen. Type rotation=NAME"),
        (["rotation=random", "rotation.seed=-1"], "rotation.seed=-1: expected an integer >= 0"),
        (
            ["rotation=hadamard", "rotation._target_=calib_sweep.method.rtn.RTN"],
            "rotation._target_='calib_sweep.method.rtn.RTN': expected calib_sweep.rotation",
        ),
    ],
)
def test_what_is_wrong_is_told(run_cli, tiny_world, tmp_path, no_weights, words, told):
    refused = run_cli("check", "method=rtn", *tiny_world, *words, cwd=tmp_path)
    assert refused.code == 1 and told in refused.err


@pytest.mark.parametrize(
    ("architecture", "settings", "words", "told"),
    [
        ("opt", {}, [], "OPTDecoderLayer cannot be rotated: its LayerNorm takes a mean out"),
        (
            "llama",
            {"hidden_size": 52, "num_attention_heads": 2, "intermediate_size": 50},
            ["activations=int8"],
            "rotation.online=True: expected sizes of which a Hadamard matrix is known here, but "
            "block 0 has 26 (features of a head)",
        ),
    ],
)
def test_models_are_refused_before_a_weight_is_read(
    run_cli, tiny_world, tmp_path, no_weights, architecture, settings, words, told
):
    folder = save_tiny(architecture, tmp_path / architecture, **settings)
    words = ["model=hf", f"model.path={folder}", "method=rtn", "method.group_size=null", *words]
    refused = run_cli("check", *tiny_world, *words, "rotation=hadamard", cwd=tmp_path)
    assert refused.code == 1 and told in refused.err
    kept = run_cli("check", *tiny_world, *words, cwd=tmp_path)
    assert kept.code == 0, kept.err


def test_methods_that_see_more_than_layers_take_no_products_at_run_time(
    run_cli, tiny_world, tmp_path, no_weights
):
    command = [*tiny_world, "method=flap", "rotation=hadamard"]
    refused = run_cli("check", *command, "activations=int8", cwd=tmp_path)
    assert refused.code == 1 and "Type rotation.online=false." in refused.err


def test_a_sweep_rotates_records_saves_and_undoes(run_cli, tiny_world, tmp_path):
    """RTN at 8 bits: close to the dense model in any coordinates; plain cells stay as they were."""
    rtn = ["method=rtn", "method.bits=8", "save_model=dense"]
    alone = ["-m", *tiny_world, *rtn, "sweep_name=alone"]
    assert run_cli(*alone, cwd=tmp_path).code == 0
    swept = ["-m", *tiny_world, *rtn, "rotation=hadamard,null"]
    assert run_cli(*swept, cwd=tmp_path).code == 0
    records = read_records(tmp_path / "results" / "default")
    found = {
        r["cell"]["settings"].get("rotation"): r for r in records if r["cell"]["method"] != "dense"
    }
    dense = next(r for r in records if r["cell"]["method"] == "dense")
    assert len({r["compression"]["fingerprint"] for r in found.values()}) == len(found) == 2
    name, expected = next(iter(dense["scores"].items()))
    for record in found.values():
        assert record["status"] == "done"
        assert record["scores"][name] == pytest.approx(expected, rel=0.05)
    assert len({r["scores"][name] for r in found.values()}) == 2
    by_method = {r["cell"]["method"]: r for r in read_records(tmp_path / "results" / "alone")}
    assert by_method["rtn"]["scores"] == found[None]["scores"]
    assert by_method["rtn"]["cell_id"] == found[None]["cell_id"]
    assert by_method["dense"]["scores"] == dense["scores"]
    folder = next(
        (tmp_path / "results" / "default").glob(f"*{found['hadamard']['cell_id']}/model*")
    )
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    assert not loaded.config.tie_word_embeddings
    gains = [p for name, p in loaded.named_parameters() if "norm" in name]
    assert gains and all(torch.equal(gain, torch.ones_like(gain)) for gain in gains)
    assert "## Rotation, before" in (folder / "README.md").read_text()
    page = (tmp_path / "results" / "default" / "report" / "index.html").read_text()
    assert "rotation" in page
