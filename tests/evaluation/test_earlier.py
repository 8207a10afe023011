"""Parts of a finished cell, read back: nothing that a part holds is lost on the way."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from helpers.ranked import in_threads

from calib_sweep import valid_json
from calib_sweep.evaluation.earlier import earlier_parts, on_all
from calib_sweep.evaluation.items import item_table
from calib_sweep.evaluation.parts import Part
from calib_sweep.evaluation.reference import DenseReference
from calib_sweep.places import ITEMS, REFERENCE
from calib_sweep.results.files import hash_files
from calib_sweep.results.kin import Kin
from calib_sweep.results.reading import read_record

WINDOW = Part(
    kind="window",
    name="text@32",
    headline="ppl/text@32",
    scores={"ppl/text@32": 0.1 + 0.2, "kl/text@32": math.inf},
    stderr={"ppl/text@32": 1 / 3},
    rows={
        **{"kind": ["window"] * 2, "name": ["text@32"] * 2, "item": [0, 1]},
        **{"item_hash": ["a", "b"], "nll": [0.1, 1 / 3], "kl": [0.5, math.nan], "tokens": [31, 30]},
    },
    log_probs=torch.tensor([[0.1, 0.2]], dtype=torch.float16),
    top=torch.tensor([1], dtype=torch.int32),
    taken_from="111111111111",
)
TASK = Part(
    kind="task",
    name="quiz",
    headline=None,
    scores={"acc/quiz": 0.5, "exact_match,strict/quiz": math.nan},
    metrics={"acc/quiz": {"direction": 1, "low": 0.25}},
    rows={
        **{"kind": ["task"] * 2, "name": ["quiz"] * 2, "item": [0, 1], "item_hash": ["c", "d"]},
        **{"group": ["g", None], "correct": [1.0, 0.0], "choice": [None, 3]},
    },
    correct=np.array([1.0, 0.0]),
    max_gen_toks=16,
)


@pytest.fixture
def kin(tmp_path):
    """A finished cell of both parts, on disk."""
    parts = [WINDOW, TASK]
    DenseReference(
        log_probs={WINDOW.name: WINDOW.log_probs},
        top={WINDOW.name: WINDOW.top},
        correct={TASK.name: TASK.correct},
        hashes={},
    ).save((tmp_path / REFERENCE).parent)
    item_table([part.rows for part in parts]).to_parquet(tmp_path / ITEMS, index=False)
    record = {
        "schema": 1,
        "cell_id": "222222222222",
        "status": "done",
        "cell": {"model": "m", "method": "dense"},
        "scores": {**WINDOW.scores, **TASK.scores, "ppl/geomean": 2.0, "acc/group": 0.1},
        "stderr": WINDOW.stderr,
        "metrics": {**TASK.metrics, "acc/group": {"direction": 1}},
        "parts": {part.name: part.note(f"of {part.name}") for part in parts},
        "files": hash_files(tmp_path),
        "inputs": {"evaluation.code": "own code"},
    }
    (tmp_path / "record.json").write_text(valid_json.dumps(record))
    return Kin(tmp_path, read_record(tmp_path / "record.json"))


def same(a, b):
    """Compare what a field holds, to the last bit."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else repr(a) == repr(b)


def test_every_field_of_a_part_comes_back(kin):
    found = earlier_parts([kin], {"text@32": "of text@32", "quiz": "of quiz"}, "own code")
    assert list(found) == ["text@32", "quiz"]
    for part in (WINDOW, TASK):
        for field in dataclasses.fields(Part):
            value, expected = (getattr(one, field.name) for one in (found[part.name], part))
            if field.name == "taken_from":  # whoever scored it, not whoever had it last
                assert value == (part.taken_from or "222222222222")
            elif field.name == "rows":
                tables = item_table([value]), item_table([expected])
                assert tables[0].equals(tables[1]) and (tables[0].dtypes == tables[1].dtypes).all()
            else:
                assert same(expected, value), field.name
    told = [dataclasses.asdict(part) for part in (WINDOW, TASK)]
    plain = dataclasses.asdict(Part(kind="", name="", headline=""))
    assert all(any(not same(plain[key], one[key]) for one in told) for key in plain)  # none unseen


def test_only_what_is_the_same_is_taken(kin):
    wanted = {"text@32": "of text@32", "quiz": "of another quiz", "new": "of new"}
    assert list(earlier_parts([kin], wanted, "own code")) == ["text@32"]
    assert earlier_parts([kin], wanted, "changed code") == {}
    assert earlier_parts([kin], wanted, None) == {}
    assert earlier_parts([], wanted, "own code") == {}


@pytest.mark.parametrize("name", [ITEMS, REFERENCE])
def test_nothing_is_taken_from_a_damaged_file(kin, name, caplog):
    (kin.folder / name).write_bytes(b"cut off")
    assert earlier_parts([kin], {"text@32": "of text@32"}, "own code") == {}
    assert "is scored again" in caplog.text


def test_of_several_cells_the_first_that_has_a_part_gives_it(kin):
    text = json.loads((kin.folder / "record.json").read_text())
    other = Kin(kin.folder, {**kin.record, "cell_id": "333333333333", "parts": text["parts"]})
    wanted = {"quiz": "of quiz"}
    assert earlier_parts([other, kin], wanted, "own code")["quiz"].taken_from == "333333333333"


def test_of_several_ranks_the_first_reads_and_holds_the_reference(kin):
    def find(ranks):
        def read():
            assert ranks.is_first
            return earlier_parts([kin], {"text@32": "of text@32"}, "own code")

        return on_all(ranks, read)["text@32"]

    first, second = in_threads(2, find)
    assert first.scores == second.scores == WINDOW.scores
    assert torch.equal(first.log_probs, WINDOW.log_probs) and torch.equal(first.top, WINDOW.top)
    assert second.log_probs is second.top is None
