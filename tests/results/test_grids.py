"""The grids of a folder: what a command planned comes back as it was, wherever the folder lies."""

import json
import os

import pytest

from calib_sweep.results import grids
from calib_sweep.results.store import Store

COMMAND = ["-m", "method=wanda,rtn", "seed=range(2)"]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path, "default")


@pytest.fixture
def cells(make_cell):
    seeds = [make_cell(seed=seed, settings={"method.sparsity": 0.5}) for seed in range(3)]
    other = make_cell(method={"_target_": "somewhere.Rtn"}, needs_data=False)
    return [seeds[0].dense(), *seeds, other]


def as_kept(cells, store):
    place = {"results_dir": str(store.results_dir), "sweep_name": store.sweep_name}
    return [(c.id, {**c.config, **place}, c.choices, c.settings, c.needs_data) for c in cells]


def files(store):
    return sorted(store.folder.glob("grid-*.json"))


def test_a_grid_comes_back_as_it_was(store, cells):
    grids.keep(store, cells, COMMAND)
    (grid,) = grids.kept(store, [])
    assert as_kept(grid.cells, store) == as_kept(cells, store)
    assert list(grid.command) == COMMAND
    assert [list(c.config) for c in grid.cells] == [list(c.config) for c in cells]  # in this order
    assert grid.cells[1].dense().id == cells[0].id


def test_a_folder_that_has_moved_is_the_place_of_its_cells(store, cells, tmp_path):
    grids.keep(store, cells, COMMAND)
    store.folder.rename(tmp_path / "elsewhere")
    moved = Store(tmp_path, "elsewhere")
    assert {c.config["sweep_name"] for c in grids.kept_cells(moved, [])} == {"elsewhere"}
    assert [c.id for c in grids.kept_cells(moved, [])] == [c.id for c in cells]


def test_the_same_grid_makes_the_same_file(store, cells):
    grids.keep(store, cells, COMMAND)
    before = {path: path.read_bytes() for path in files(store)}
    grids.keep(store, cells, COMMAND)
    assert {path: path.read_bytes() for path in files(store)} == before and len(before) == 1


def test_a_grid_that_holds_all_cells_of_another_takes_its_place(store, cells):
    grids.keep(store, cells[:2], COMMAND)
    grids.keep(store, cells, COMMAND)
    assert len(files(store)) == 1 and len(grids.kept_cells(store, [])) == len(cells)


def test_of_several_grids_the_newest_says_how_a_cell_runs(store, cells, make_cell):
    again = make_cell(seed=0, settings={"method.sparsity": 0.5}, save_model="dense")
    assert again.id == cells[1].id
    grids.keep(store, cells, COMMAND)
    grids.keep(store, [again.dense(), again], COMMAND)
    newest = max(files(store), key=lambda path: path.stat().st_mtime_ns)
    os.utime(newest, ns=(2**61, 2**61))
    assert len(files(store)) == 2
    kept = {cell.id: cell for cell in grids.kept_cells(store, [])}
    assert len(kept) == len(cells) and kept[again.id].config["save_model"] == "dense"


def test_cells_that_are_taken_out_are_in_no_grid(store, cells):
    grids.keep(store, cells, COMMAND)
    grids.take_out(store, [cells[1].id])
    assert [c.id for c in grids.kept_cells(store, [])] == [c.id for c in cells if c is not cells[1]]
    grids.take_out(store, [cell.id for cell in cells])
    assert grids.kept(store, []) == [] and not files(store)


def test_what_is_taken_out_of_an_older_grid_makes_it_no_newer(store, cells, make_cell):
    again = make_cell(seed=0, settings={"method.sparsity": 0.5}, save_model="dense")
    grids.keep(store, cells, COMMAND)
    (older,) = files(store)
    os.utime(older, ns=(2**60, 2**60))
    grids.keep(store, [again.dense(), again], COMMAND)
    grids.take_out(store, [cells[-1].id])
    assert len(files(store)) == 2
    kept = {cell.id: cell for cell in grids.kept_cells(store, [])}
    assert len(kept) == len(cells) - 1 and kept[again.id].config["save_model"] == "dense"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_grid_of_another_stays_theirs_whoever_keeps_it_again(store, cells, tmp_path):
    """It would run their code unasked, else."""
    other, into = os.geteuid() + 1, Store(tmp_path, "merged")
    grids.keep(store, cells, COMMAND)
    os.chown(files(store)[0], other, -1)
    (grid,) = grids.kept(store, [])
    assert grid.owner == other
    grids.keep(into, grid.cells, grid.command, grid.owner)
    grids.take_out(store, [cells[1].id])
    assert [one.owner for one in (*grids.kept(into, []), *grids.kept(store, []))] == [other] * 2
    assert files(store)[0].stat().st_uid == os.geteuid()
    grids.take_out(store, [cells[2].id])
    assert grids.kept(store, [])[0].owner == other
    os.chown(files(into)[0], other + 1, -1)  # whose word on it is not taken
    assert grids.kept(into, [])[0].owner == other + 1


def test_values_stand_once_however_many_cells_have_them(store, make_cell):
    grids.keep(store, [make_cell(seed=seed) for seed in range(1000)], COMMAND)
    (path,) = files(store)
    assert path.read_text().count("somewhere.Wanda") == 1
    assert path.stat().st_size < 120 * 1000


def test_values_of_two_types_are_two_values(store, make_cell):
    cells = [make_cell(seed=seed, workers=workers) for seed, workers in enumerate([1, True, 1.0])]
    grids.keep(store, cells, COMMAND)
    workers = [cell.config["workers"] for cell in grids.kept_cells(store, [])]
    assert [type(number) for number in workers] == [int, bool, float]


def test_cells_that_would_have_other_numbers_here_are_refused(store, cells):
    grids.keep(store, cells, COMMAND)
    (path,) = files(store)
    told = json.loads(path.read_text())
    told["cells"][1]["id"] = "0" * 12
    path.write_text(json.dumps(told))
    flaws = []
    assert grids.kept(store, flaws) == []
    assert "gives other numbers than the one that planned" in flaws[0]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1]", '{"schema": 1}', '{"schema": 2, "cells": []}', '{"schema": 1, "cells": [{}]}'],
)
def test_a_file_that_is_no_grid_is_named_and_the_others_count(text, store, cells, caplog):
    grids.keep(store, cells[:-1], COMMAND)
    damaged = store.folder / "grid-x.json"
    damaged.write_text(text)
    grids.keep(store, cells, COMMAND)
    assert str(damaged) in caplog.text and len(files(store)) == 2  # ours, and what was there
    grids.take_out(store, [cells[1].id])
    flaws = []
    left = [cell.id for cell in grids.kept_cells(store, flaws)]
    assert left == [cell.id for cell in cells if cell is not cells[1]]
    assert len(flaws) == 1 and str(damaged) in flaws[0] and damaged.read_text() == text


def test_a_damaged_grid_is_written_again_by_its_own_command(store, cells):
    grids.keep(store, cells, COMMAND)
    (path,) = files(store)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    grids.keep(store, cells, COMMAND)
    assert path.read_bytes() == whole
