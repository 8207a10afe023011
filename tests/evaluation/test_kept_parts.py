"""Parts kept before a cell is done: all of them comes back, and nothing of another model."""

import dataclasses
import math
import resource
import signal

import numpy as np
import pytest
import torch

from calib_sweep.evaluation import kept_parts
from calib_sweep.evaluation.items import item_table
from calib_sweep.evaluation.kept_parts import KeptParts
from calib_sweep.evaluation.parts import Part

WINDOW = Part(
    kind="window",
    name="text@32",
    headline="ppl/text@32",
    scores={"ppl/text@32": 0.1 + 0.2, "kl/text@32": math.inf},
    stderr={"ppl/text@32": 1 / 3},
    rows={
        **{"kind": ["window"] * 2, "name": ["text@32"] * 2, "item": [0, 1]},
        **{"item_hash": ["NaN", "b"], "nll": [0.1, 1 / 3], "kl": [0.5, math.nan]},
        "tokens": [31, np.int64(30)],
    },
    log_probs=torch.tensor([[0.1, -math.inf]], dtype=torch.float16),
    top=torch.tensor([1], dtype=torch.int32),
)
TASK = Part(
    kind="task",
    name="quiz",
    headline=None,
    scores={"acc/quiz": 0.5, "exact_match,strict/quiz": math.nan},
    metrics={"acc/quiz": {"direction": 1, "chance": 0.25}},
    rows={
        **{"kind": ["task"] * 2, "name": ["quiz"] * 2, "item": [0, 1], "item_hash": ["c", "d"]},
        **{"group": ["g", None], "correct": [np.True_, 0.0], "choice": [None, 3]},
    },
    correct=np.array([[1.0, 0.0], [0.0, 0.0]]),
    max_gen_toks=16,
    taken_from="222222222222",
)
WANTED = {"text@32": "of text", "quiz": "of quiz", "new": "of new"}


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr(kept_parts, "EVERY_S", 0.0)
    monkeypatch.setattr(kept_parts, "PAUSE", 0)


def kept(folder, wanted=None, made_from="model"):
    return KeptParts(folder / ".scored", WANTED if wanted is None else wanted, made_from)


@pytest.fixture
def folder(tmp_path, always):
    """A folder in which both parts are kept."""
    own = kept(tmp_path)
    own.keep(WINDOW)
    own.keep(TASK)
    return tmp_path


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return repr(a) == repr(b)


def test_every_field_comes_back(folder):
    found = kept(folder).read()
    assert list(found) == ["text@32", "quiz"]
    for part in (WINDOW, TASK):
        for field in dataclasses.fields(Part):
            value, expected = (getattr(one, field.name) for one in (found[part.name], part))
            if field.name == "rows":
                tables = item_table([value]), item_table([expected])
                assert tables[0].equals(tables[1]) and (tables[0].dtypes == tables[1].dtypes).all()
            else:
                assert same(value, expected), field.name


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"wanted": {"text@32": "of another text", "quiz": "of quiz"}}, ["quiz"]),
        ({"wanted": {"quiz": "of text", "text@32": "of quiz"}}, []),
        ({"made_from": "another model"}, []),
    ],
)
def test_nothing_of_other_texts_or_another_model_is_taken(folder, changes, expected, caplog):
    assert list(kept(folder, **changes).read()) == expected
    if "made_from" in changes:
        assert "made from other weights" in caplog.text and "quiz is scored again" in caplog.text


def test_a_damaged_file_is_told_and_its_part_scored_again(folder, caplog):
    paths = sorted((folder / ".scored").iterdir())
    size = {path: len(path.read_bytes()) for path in paths}
    for path in paths:
        whole = path.read_bytes()
        for at in (size[path] - 1, size[path] // 2, 3):
            path.write_bytes(whole[:at])
            assert len(kept(folder).read()) == 1
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            assert len(kept(folder).read()) == 1
        path.write_bytes(whole)
    assert caplog.text.count("is scored again") == 12
    assert len(kept(folder).read()) == 2


def test_what_is_scored_fast_is_kept_together_or_never(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(kept_parts.time, "monotonic", lambda: now[0])
    own = kept(tmp_path)
    now[0] += kept_parts.EVERY_S - 1
    own.keep(WINDOW)
    assert list(tmp_path.iterdir()) == []
    now[0] += 1
    own.keep(TASK)
    again = kept(tmp_path)
    assert set(again.read()) == {"text@32", "quiz"}
    assert again.seconds_before == kept_parts.EVERY_S


def test_slow_writing_makes_the_next_one_wait(tmp_path, monkeypatch):
    now, write = [0.0], KeptParts._write

    def slow(self, part, seconds):
        write(self, part, seconds)
        now[0] += 10

    monkeypatch.setattr(kept_parts.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(KeptParts, "_write", slow)
    own = kept(tmp_path)
    now[0] += kept_parts.EVERY_S
    own.keep(WINDOW)
    now[0] += 19 * 10 - 1
    own.keep(TASK)
    assert set(kept(tmp_path).read()) == {"text@32"}
    now[0] += 1
    own.keep(dataclasses.replace(TASK, name="new"))
    assert set(kept(tmp_path).read()) == {"text@32", "quiz", "new"}


def test_a_full_disk_ends_no_cell(tmp_path, always, caplog):
    """A limit on the size of files stands for it: writing fails in the same way."""
    large = dataclasses.replace(WINDOW, log_probs=torch.zeros(2**20, 1, dtype=torch.float16))
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limits[1]))
    own = kept(tmp_path)
    try:
        own.keep(large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "cannot be kept" in caplog.text and "too large" in caplog.text
    assert kept(tmp_path).read() == {}
    own.keep(TASK)
    assert list(kept(tmp_path).read()) == ["quiz"]
    assert len(list((tmp_path / ".scored").iterdir())) == 1
