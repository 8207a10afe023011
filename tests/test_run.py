"""Running one cell: what it reads is what its record says, whatever happens on disk meanwhile."""

import shutil

import pytest
import torch
from helpers.fakes import save_tiny
from helpers.hub_models import hub_model
from helpers.sweeps import read_records, write_documents

from calib_sweep import run as run_module
from calib_sweep.compression.layer import LayerReport
from calib_sweep.model.blocks import decoder_blocks
from calib_sweep.session import Session


def layer_report(num_out, sparsity, bits):
    return LayerReport(
        block=0,
        layer="mlp.up_proj",
        num_out=num_out,
        num_in=10,
        sparsity=sparsity,
        bits=bits,
        output_error=None,
        damping=None,
        num_tokens=None,
        products=None,
        seconds=0.0,
        note=None,
        grid=None,
    )


def test_sparsity_and_bits_of_a_model_count_weights_and_not_layers():
    large, small = layer_report(30, 0.4, 4.0), layer_report(10, 0.8, 8.0)
    found = run_module.summarise_layers([large, small], 1.0, None)
    assert (found["sparsity"], found["bits"]) == (pytest.approx(0.5), pytest.approx(5.0))
    assert found["num_weights"] == 400
    on_no_grid = layer_report(10, 0.8, None)
    assert run_module.summarise_layers([large, on_no_grid], 1.0, None)["bits"] is None


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])  # gpt2: Conv1D, head tied to embedding
def test_a_compressed_model_gets_every_weight_back(tmp_path, architecture):
    part, session = hub_model(save_tiny(architecture, tmp_path)), Session()
    model = session.model(part, part.fingerprint())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        for parameter in decoder_blocks(model).parameters():
            parameter.zero_()
    assert session.model(part, part.fingerprint()) is model
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_checkpoint_that_changed_is_loaded_anew(tmp_path):
    part, session = hub_model(save_tiny("llama", tmp_path / "a")), Session()
    model = session.model(part, part.fingerprint())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    save_tiny("llama", tmp_path / "b", seed=1)
    shutil.copytree(tmp_path / "b", tmp_path / "a", dirs_exist_ok=True)
    after = session.model(part, part.fingerprint()).state_dict()
    assert not after["lm_head.weight"].equal(before["lm_head.weight"])
    query = "model.layers.0.self_attn.q_proj.weight"
    assert not after[query].equal(before[query])


@pytest.mark.slow
def test_lengths_and_weights_of_a_configuration_reach_the_weights(run_cli, tiny_world, tmp_path):
    grid = ["calibration.weighting=tokens,sequences", "calibration.seq_len=[16,8,4]", "seed=0"]
    assert run_cli("-m", *tiny_world, *grid, "method=gptq", cwd=tmp_path).code == 0
    cells = [r for r in read_records(tmp_path / "results" / "default") if r["calibration"]]
    assert len(cells) == 2
    assert {r["calibration"]["hash"] for r in cells} == {cells[0]["calibration"]["hash"]}
    assert all(r["calibration"]["lengths"] == [4, 8, 16] for r in cells)
    assert len({r["compression"]["fingerprint"] for r in cells}) == 2


def after_first_cell(monkeypatch, act):
    """Call `act` once, when the first cell of the sweep (the dense one) is done."""
    summarise, acts = run_module.summarise_layers, [act]

    def then(*arguments):
        if acts:
            acts.pop()()
        return summarise(*arguments)

    monkeypatch.setattr(run_module, "summarise_layers", then)


@pytest.mark.slow
def test_the_record_says_how_much_of_its_calibration_set_is_scored(
    run_cli, tiny_world, documents, tmp_path
):
    scored = tmp_path / "both.jsonl"
    scored.write_text(documents.read_text() + documents.read_text().replace("the", "THE"))
    corpus = [f"evaluation.perplexity.corpora=[{scored}]", "evaluation.perplexity.max_windows=null"]
    assert run_cli(*tiny_world, *corpus, cwd=tmp_path).code == 0
    records = read_records(tmp_path / "results" / "default")
    (overlap,) = [r["calibration"]["overlap"] for r in records if r["calibration"]]
    # Windows are cut anywhere, so that runs over a cut are in none of them.
    assert overlap["both@32"]["share"] > 0.5 and overlap["both@32"]["samples"] > 0
    report = (tmp_path / "results" / "default" / "report" / "report.md").read_text()
    assert "Calibration text is scored" in report


def test_nothing_is_compared_with_a_dense_model_scored_on_other_text(
    run_cli, tiny_world, tmp_path, monkeypatch
):
    corpus = write_documents(tmp_path / "corpus.jsonl", num_documents=4)
    changed = corpus.read_text().replace("the", "THE")
    after_first_cell(monkeypatch, lambda: corpus.write_text(changed))
    command = ["-m", *tiny_world, f"evaluation.perplexity.corpora=[{corpus}]", "seed=0"]
    ended = run_cli(*command, cwd=tmp_path)
    assert ended.code == 3
    dense, failed = read_records(tmp_path / "results" / "default")
    assert dense["status"] == "done" and failed["status"] == "failed"
    assert "evaluation: files have changed since the dense cell" in failed["error"]["message"]


def test_a_file_that_vanished_costs_its_cell_and_not_the_worker(
    run_cli, tiny_world, tmp_path, monkeypatch
):
    documents = write_documents(tmp_path / "own.jsonl", num_documents=8)
    after_first_cell(monkeypatch, documents.unlink)
    ended = run_cli("-m", *tiny_world, f"dataset.path={documents}", "seed=0", cwd=tmp_path)
    assert ended.code == 3
    (record,) = [r for r in read_records(tmp_path / "results" / "default") if r["scores"] == {}]
    assert record["status"] == "failed" and str(documents) in record["error"]["message"]


def test_another_result_for_a_finished_cell_is_no_success(
    run_cli, tiny_world, tmp_path, monkeypatch
):
    """Two workers ran one cell and disagree: the first record stays, the exit code tells."""
    write = run_module.Store.write

    def write_after_another(store, cell, record):
        if not cell.is_dense:
            write(store, cell, record | {"scores": {"ppl/other@32": 1.5}})
        write(store, cell, record)

    monkeypatch.setattr(run_module.Store, "write", write_after_another)
    ended = run_cli("-m", *tiny_world, "seed=0", cwd=tmp_path)
    assert ended.code == 3 and "exists with different scores" in ended.err
    scores = [record["scores"] for record in read_records(tmp_path / "results" / "default")]
    assert {"ppl/other@32": 1.5} in scores


@pytest.mark.parametrize(
    "headline", ["headline={mini_story: acc_norm}", "headline.mini_story=acc_norm"]
)
def test_the_metric_of_a_task_that_counts_is_chosen_by_a_word(
    headline, run_cli, tiny_world, tmp_path
):
    typed = [word for word in tiny_world if word != "evaluation.zero_shot=null"]
    typed += [f"evaluation.zero_shot.{headline}", "evaluation.zero_shot.tasks=[mini_story]"]
    typed += ["evaluation.zero_shot.num_items=30", "method=dense"]
    ended = run_cli(*typed, cwd=tmp_path)
    assert ended.code == 0, ended.err
    (record,) = read_records(tmp_path / "results" / "default")
    assert record["config"]["evaluation"]["zero_shot"]["headline"] == {"mini_story": "acc_norm"}
    scores = record["scores"]
    assert scores["acc/mean"] == scores["acc_norm/mini_story"] != scores["acc/mini_story"]
