"""The dense model's perplexity of a calibration set: computed once, beside the set, for all."""

import csv
import json
import math
import os

import numpy as np
import pytest
import torch
from helpers.fakes import random_tokens, tiny_model
from helpers.scored import scorer_of
from helpers.sweeps import read_records

from calib_sweep.atomic import partial_name
from calib_sweep.dataset.calibration.artifact import load_set, save_set
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.evaluation import set_perplexity
from calib_sweep.evaluation.corpora.perplexity import token_perplexity
from calib_sweep.evaluation.set_perplexity import dense_perplexity
from calib_sweep.evaluation.windows import Windows, has_context
from calib_sweep.model.placement import offload

MODEL = {"path": "tiny"}
TOKENS = random_tokens(4, 24).numpy()


@pytest.fixture
def drawn(tmp_path):
    """A set that is kept on disk, its last sample padded."""
    lengths_N = np.array([24, 24, 24, 5])
    save_set(
        CalibrationSet(tokens_NT=TOKENS, lengths_N=lengths_N, samples=[], card={}), tmp_path / "set"
    )
    return load_set(tmp_path / "set")


@pytest.fixture
def computed(monkeypatch):
    """The number of samples of each set that was sent through a model."""
    calls = []

    def counted(scorer, windows):
        calls.append(len(windows.tokens_NT))
        return token_perplexity(scorer, windows)

    monkeypatch.setattr(set_perplexity, "token_perplexity", counted)
    return calls


def kept(drawn):
    return sorted(drawn.folder.glob("dense_perplexity-*.json"))


def test_it_is_computed_once_and_then_read_beside_the_set(drawn, computed):
    model = tiny_model()
    value = dense_perplexity(drawn, scorer_of(model, batch_tokens=48), MODEL)
    windows = Windows("", TOKENS, has_context(TOKENS, drawn.lengths_N))
    assert value == pytest.approx(
        token_perplexity(scorer_of(model, batch_tokens=1), windows), rel=1e-6
    )
    assert dense_perplexity(drawn, None, MODEL) == value  # no model is looked at
    assert computed == [4]
    (file,) = kept(drawn)
    assert json.loads(file.read_text()) == {
        "set": drawn.hash, "model": MODEL, "dense_perplexity": value,
    }  # fmt: skip
    assert load_set(drawn.folder).hash == drawn.hash  # the set is none the worse


def test_what_a_killed_process_had_half_written_is_swept_when_it_is_computed_again(drawn):
    left = partial_name(drawn.folder / "dense_perplexity-0a.json")
    left = left.with_name(left.name.replace(f"-{os.getpid()}-", f"-{2**22 + 1}-"))
    left.touch()
    dense_perplexity(drawn, scorer_of(tiny_model(), batch_tokens=48), MODEL)
    assert len(kept(drawn)) == 1 and not left.exists()


def test_another_model_has_a_perplexity_of_its_own(drawn, computed):
    one = dense_perplexity(drawn, scorer_of(tiny_model(), batch_tokens=48), MODEL)
    other = dense_perplexity(
        drawn, scorer_of(tiny_model(seed=1), batch_tokens=48), {"path": "other"}
    )
    assert one != other and len(kept(drawn)) == 2 and computed == [4, 4]
    assert dense_perplexity(drawn, None, MODEL) == one


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", "{}", b"\xff", {"set": "of somebody else"}, {"dense_perplexity": "9"},
     {"dense_perplexity": 0.5}],
)  # fmt: skip
def test_a_damaged_file_is_told_and_computed_again(drawn, computed, caplog, damage):
    value = dense_perplexity(drawn, scorer_of(tiny_model(), batch_tokens=48), MODEL)
    (file,) = kept(drawn)
    if isinstance(damage, dict):
        damage = json.dumps({**json.loads(file.read_text()), **damage})
    file.write_bytes(damage if isinstance(damage, bytes) else damage.encode())
    assert dense_perplexity(drawn, scorer_of(tiny_model(), batch_tokens=48), MODEL) == value
    assert computed == [4, 4] and f"{file} is damaged (" in caplog.text
    assert dense_perplexity(drawn, None, MODEL) == value


@pytest.mark.parametrize("value", [math.inf, math.nan, None])
def test_a_perplexity_that_is_no_number_is_kept_as_well(drawn, monkeypatch, caplog, value):
    monkeypatch.setattr(set_perplexity, "token_perplexity", lambda *_: value)
    again = [dense_perplexity(drawn, None, MODEL) for _ in range(2)]
    assert json.dumps(again) == json.dumps([value, value]) and not caplog.text


def test_a_file_that_cannot_be_written_costs_nothing_but_time(drawn, monkeypatch, caplog):
    def refuse(*_):
        raise PermissionError("not yours")

    monkeypatch.setattr(set_perplexity.atomic, "write", refuse)
    assert dense_perplexity(drawn, scorer_of(tiny_model(), batch_tokens=48), MODEL) > 1
    assert "cannot be kept: not yours" in caplog.text and not kept(drawn)


def test_blocks_may_wait_in_host_memory(drawn):
    model = tiny_model()
    expected = dense_perplexity(drawn, scorer_of(model, batch_tokens=48), MODEL)
    offload(model, torch.device("cpu"))
    assert (
        dense_perplexity(drawn, scorer_of(model, batch_tokens=48), {"path": "placed"}) == expected
    )


@pytest.mark.slow
def test_a_sweep_computes_it_once_a_set_and_holds_it_against_the_scores(
    run_cli, tiny_world, tmp_path, computed
):
    grid = ["-m", *tiny_world, "seed=range(5)"]
    ended = run_cli(*grid, "method=wanda,wanda_24,magnitude", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert computed == [2] * 5  # seeds; not methods, and not the one without data
    records = read_records(tmp_path / "results" / "default")
    told = {}
    for record in records:
        if record["calibration"] is not None:
            value = record["calibration"]["descriptors"]["dense_perplexity"]
            told.setdefault(record["cell"]["seed"], set()).add(value)
    assert len(told) == 5 and all(len(values) == 1 for values in told.values())
    assert len(set.union(*told.values())) == 5
    with (tmp_path / "results/default/report/tables/covariates.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["descriptor"] == "dense_perplexity"]
    assert {row["method"] for row in rows} >= {"wanda"} and {row["n"] for row in rows} == {"5"}

    spared = run_cli(
        *grid, "method=wanda", "dense_perplexity=false", "sweep_name=spared", cwd=tmp_path
    )
    assert spared.code == 0 and computed == [2] * 5
    scores = {record["cell_id"]: record["scores"] for record in records}
    for record in read_records(tmp_path / "results" / "spared"):
        assert record["scores"] == scores[record["cell_id"]]  # to the last bit
        drawn = record["calibration"] or {"descriptors": {}}
        assert "dense_perplexity" not in drawn["descriptors"]


def test_who_asks_the_model_is_part_of_what_is_kept(drawn, make_cell, computed):
    """An engine of one's own, or another version of it, may find another perplexity."""
    ours = {"_target_": "calib_sweep.evaluation.suite.Evaluation", "batch_size": 1}
    own = {"_target_": "mine.Engine", "batch_size": 1, "bits": 8}
    scorer = scorer_of(tiny_model(), batch_tokens=48)
    asked = [
        (ours, None), ({**ours, "batch_size": 2}, None), ({**ours, "zero_shot": None}, None),
        ({**ours, "compile": False}, None), ({**ours, "compile": True}, None),
        (own, "a1"), ({**own, "batch_size": 2}, "a1"), (own, "b2"), ({**own, "bits": 4}, "a1"),
    ]  # fmt: skip
    found = []
    for evaluation, code in asked:
        cell = make_cell(evaluation=evaluation, dense_perplexity=True)
        set_perplexity.describe(drawn, scorer, cell, MODEL, code)
        found.append(len(kept(drawn)))
    assert found == [1, 1, 1, 1, 2, 3, 3, 4, 5] and len(computed) == 5
