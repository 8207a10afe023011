"""A report is made of the records and of what lies beside them."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from calib_sweep.analysis.report.write import is_current, write_report
from calib_sweep.hashing import tokens_sha256


@pytest.fixture
def answered(sweep, undrawn):
    """One method on six sets that are on disk, each cell with its answers to four items."""
    from safetensors.numpy import save_file

    for seed in range(6):
        correct = np.array([1.0, seed % 2, seed % 3 == 0, seed > 3])
        score = float(correct.mean())
        tokens = np.arange(8).reshape(2, 4) % (seed + 1)
        card = {"hash": tokens_sha256(tokens, None)}
        at = {"dataset": "web", "seed": seed, "calibration": card}
        record = sweep.add("wanda", {"acc/x": score, "acc/mean": score}, **at)
        items = {"kind": "task", "name": "x", "item": range(4), "correct": correct}
        pd.DataFrame(items).to_parquet(record.with_name("items.parquet"))
        drawn = sweep.folder.parent / "calibration" / f"set{seed}"
        drawn.mkdir(parents=True)
        (drawn / "card.json").write_text(json.dumps(card))
        save_file({"tokens": tokens}, drawn / "tokens.safetensors")
    write_report(sweep.folder)
    return sweep.folder


def rows_of(folder, table):
    return pd.read_csv(folder / "report" / "tables" / f"{table}.csv")


def test_answers_that_change_or_go_make_the_report_an_old_one(answered):
    assert is_current(answered)
    before = rows_of(answered, "flips")
    path = min(answered.glob("*/items.parquet"))  # of seed 0: 1, 0, 1, 0
    items = pd.read_parquet(path)
    items.loc[::-1].reset_index(drop=True).assign(item=range(4)).to_parquet(path)
    assert not is_current(answered)
    write_report(answered)
    assert is_current(answered)
    assert not rows_of(answered, "flips").equals(before)
    path.unlink()
    assert not is_current(answered)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"records": 1}', '{"files": 3}'])
def test_what_a_report_was_made_from_is_damaged_and_it_counts_as_an_old_one(content, tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "made_from.json").write_text(content)
    assert not is_current(tmp_path)


def test_a_calibration_set_that_goes_makes_the_report_an_old_one(answered):
    assert not rows_of(answered, "covariates").empty
    calibration = answered.parent / "calibration"
    shutil.copytree(calibration / "set0", calibration / "again")  # the same set: nothing new
    assert is_current(answered)
    shutil.rmtree(calibration)
    assert not is_current(answered)
    write_report(answered)
    assert is_current(answered)
    assert rows_of(answered, "covariates").empty


def test_a_sweep_that_moves_with_its_sets_has_the_same_report(answered, tmp_path):
    copy = tmp_path / "elsewhere"
    shutil.copytree(answered.parent, copy)
    assert is_current(copy / answered.name)


def test_damaged_answers_and_sets_are_told_first_and_left_out(answered):
    before = rows_of(answered, "flips")
    items = min(answered.glob("*/items.parquet"))
    items.write_bytes(items.read_bytes()[:100])
    tokens = answered.parent / "calibration" / "set1" / "tokens.safetensors"
    tokens.write_bytes(tokens.read_bytes()[:-1] + b"\x07")
    assert not is_current(answered)
    write_report(answered)
    said = json.loads((answered / "report" / "conclusion.json").read_text())
    assert said[0].startswith(f"{items.parent.name}: items.parquet cannot be read")
    assert "set1: tokens.safetensors are not the tokens that its card names" in said[1]
    page = (answered / "report" / "index.html").read_text()
    assert all(sentence.split(",")[0] in page for sentence in said[:2])
    assert not rows_of(answered, "flips").equals(before)
    assert is_current(answered)


def test_answers_other_than_those_of_the_record_are_left_out(answered):
    record = min(answered.glob("*/record.json"))
    content = json.loads(record.read_text())
    record.write_text(json.dumps(content | {"files": {"items.parquet": "0" * 64}}))
    write_report(answered)
    said = json.loads((answered / "report" / "conclusion.json").read_text())
    assert "items.parquet is not the file that was written with the record" in said[0]
