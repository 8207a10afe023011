"""Which settings tell cells apart: one answer for titles, labels, tables and W&B."""

from pathlib import Path

import pytest

from calib_sweep.analysis.scores.groups import group_rows
from calib_sweep.analysis.scores.names import Naming
from calib_sweep.analysis.scores.table import to_rows
from calib_sweep.analysis.tables.controls import failures
from calib_sweep.dataset.documents.files import READERS
from calib_sweep.places import CONF
from calib_sweep.results.store import Store
from calib_sweep.settings import (
    FILE_ENDINGS,
    applies,
    applying,
    flatten,
    stem_of,
    stems_of,
    telling,
    title_of,
)
from calib_sweep.sweep.plan import compose_command_line, plan_cells
from calib_sweep.tracking.dashboard import _axes
from calib_sweep.tracking.sync import titles

A, B = ("tiny", "wanda", "web"), ("tiny", "gptq", "web")
NEWS = ("tiny", "wanda", "news")


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([(A, {"x": 1}), (A, {"x": 2})], ["x"]),
        ([(A, {"x": 1}), (A, {"x": 1})], []),
        ([(A, {"x": 1}), (A, {})], ["x"]),  # alike but for this
        ([(A, {"x": 1}), (B, {})], []),  # the method tells them apart
        ([(A, {"x": 1}), (B, {"x": 2})], ["x"]),
        ([(A, {"x": [1]}), (A, {"x": [2]}), (A, {"x": [1]})], ["x"]),
        ([(A, {"b": 1, "a": 1}), (A, {"b": 2, "a": 2})], ["a", "b"]),
        ([(A, {"x": float("nan")}), (A, {"x": float("nan")})], []),
        ([], []),
        (
            [(A, {"dataset.path": "a/web.txt"}), (A, {"dataset.path": "b/web.txt"})],
            ["dataset.path"],
        ),
        ([(A, {"dataset.path": "web.txt"}), (NEWS, {"dataset.path": "news.txt"})], []),
        ([(A, {"model.path": "org/tiny"}), (NEWS, {"model.path": "me/tiny"})], ["model.path"]),
        ([(None, {"dataset.path": "a"}), (None, {"dataset.path": "b"})], ["dataset.path"]),
    ],
)
def test_a_setting_tells_cells_apart_by_two_values_or_where_only_some_of_the_like_have_it(
    cells, expected
):
    assert telling(cells) == expected


@pytest.mark.parametrize(
    ("path", "stem"),
    [
        ("my/texts.jsonl", "texts"),
        ("a.b.JSONL.gz", "a.b"),
        ("pile/00.jsonl.zst", "00"),
        ("org/Llama-3.1-8B", "Llama-3.1-8B"),
        ("models/run.best/", "run.best"),
        ("texts/*.txt", "texts"),
        ("texts/web-*.parquet", "web"),
        ("c:\\texts\\a.txt", "a"),
        ("../..", ""),
        ("", ""),
    ],
)
def test_what_is_at_a_path_is_called_by_its_stem(path, stem):
    assert stem_of(path) == stem


def test_the_ending_of_every_file_that_is_read_is_no_part_of_its_stem():
    assert set(READERS) <= set(FILE_ENDINGS)
    assert {stem_of(f"a{ending}") for ending in FILE_ENDINGS} == {"a"}


def test_folders_are_shown_only_where_stems_clash():
    paths = ["a/x.txt", "b/x.txt", "c/y.txt", "d/a/x.txt"]
    assert stems_of(paths) == {
        "a/x.txt": "a/x.txt",  # the end of another path, however much is shown
        "b/x.txt": "b/x",
        "c/y.txt": "y",
        "d/a/x.txt": "d/a/x",
    }
    assert stems_of(["x.txt", "x.jsonl"]) == {"x.txt": "x.txt", "x.jsonl": "x.jsonl"}


def test_what_moves_no_number_of_a_cell_does_not_apply_to_it():
    settings = {"method.sparsity": 0.5, "calibration.num_samples": 8, "evaluation.x": 1}
    settings |= {"evaluation.batch_size": 4, "method.batch_size": 4, "walk.offload": True}
    data, free, dense = (
        set(applying(settings, is_dense=is_dense, reads_data=reads_data))
        for is_dense, reads_data in ((False, True), (False, False), (True, False))
    )
    assert data == {"method.sparsity", "method.batch_size", "calibration.num_samples"} | dense
    assert free == data - {"calibration.num_samples"}
    assert dense == {"evaluation.x"}
    assert not applies("model.device", is_dense=True, reads_data=False)


def test_a_title_names_what_there_is():
    axes = {"model": "m", "method": "wanda", "dataset": "d", "seed": 0, "replicate": 1}
    assert title_of(axes, {"a": True, "b": "x"}, ["b"]) == "m wanda d seed 0 replicate 1 b=x"
    assert title_of({"model": "m", "method": "rtn"}, {"a": [1]}) == "m rtn a=[1]"


def test_nested_settings_become_one_row_of_keys():
    assert flatten({"a": {"b": {"c": 1}, "d": []}, "e": None}) == {"a.b.c": 1, "a.d": [], "e": None}


def record_of(cell, scores):
    axes = cell.axes() | {"settings": dict(cell.settings)}
    status = "done" if scores else "failed"
    return {"cell": axes, "cell_id": cell.id, "scores": scores, "status": status}


def test_titles_labels_tables_and_runs_name_the_same_settings(tmp_path):
    arguments = ("method=wanda,rtn,magnitude", "seed=0,1", "tracking=none")
    arguments += (
        "evaluation.perplexity.max_windows=2,3",
        "evaluation.perplexity.batch_tokens=64,128",
    )
    arguments += ("calibration={num_samples: 4, seq_len: 32},{num_samples: 8, seq_len: 32}",)
    composed = compose_command_line(CONF, arguments)
    cells = plan_cells(Store(tmp_path, "s"), composed)
    apart = {"evaluation.perplexity.max_windows", "calibration.num_samples"}

    def shown(text):
        return {word.partition("=")[0] for word in text.split() if "=" in word}

    def of(cell):  # what can move the numbers of this cell
        return {name for name in apart if cell.needs_data or not name.startswith("calibration")}

    assert len({cell.id for cell in cells}) == 2 + 8 + 2 + 2
    assert len({cell.title for cell in cells}) == len(cells)
    assert [shown(cell.title) for cell in cells] == [of(cell) for cell in cells]

    done = {Path(cell.id): record_of(cell, {"acc/x": 0.5}) for cell in cells}
    assert titles(done) == {Path(cell.id): cell.title for cell in cells}
    assert set(_axes(list(done.values()))) == {"cell.method", "cell.dataset"} | apart

    groups = group_rows(to_rows(list(done.values())))
    assert set(Naming.of_groups(groups).short) == apart

    failed = failures(to_rows([record_of(cell, {}) for cell in cells]))
    assert [title for title, _ in failed] == [cell.title for cell in cells]
