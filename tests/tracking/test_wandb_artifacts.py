"""Artifacts in W&B: what a server on the loopback device holds after cells were mirrored online."""

import json
from pathlib import Path

import pytest
from helpers.calibrated_cells import make_calibrated_cell
from helpers.sweeps import read_records
from helpers.wandb_server import serving

from calib_sweep.tracking import artifacts, client_process, content
from calib_sweep.tracking.mirrored import ITEM_SCORES, SET, run_id
from calib_sweep.tracking.wandb import WandbTracking

BOTH = [SET, ITEM_SCORES]


@pytest.fixture
def server():
    with serving() as server:
        yield server
    client_process.end()


@pytest.fixture
def sweep(tmp_path):
    return tmp_path / "results" / "made_up"


def read(folder: Path) -> dict:
    return json.loads((folder / "record.json").read_bytes())


def mirror(folder, **fields):
    settings = {"project": "p", "entity": None, "mode": "auto", "tags": [], "timeout_s": 60}
    tracking = WandbTracking(**settings | {"artifacts": BOTH} | fields)
    tracking.mirror_cell(folder, read(folder)["cell_id"], folder.name)


@pytest.mark.slow
def test_a_set_is_one_artifact_that_every_cell_it_calibrated_uses(
    server, sweep, tmp_path, monkeypatch
):
    for key, value in server.environment(tmp_path).items():
        monkeypatch.setenv(key, value)
    folders = [make_calibrated_cell(sweep, number, method=name, seed=0)
               for number, name in enumerate(("wanda", "gptq"))]  # fmt: skip
    folders.append(make_calibrated_cell(sweep, 2, [[5, 6]], draw=1, seed=1))
    mirror(folders[0])
    mirror(folders[1])
    client_process.end()  # another process knows nothing of what the first one has sent
    mirror(folders[1])
    mirror(folders[2])

    runs = [run_id("made_up", read(folder)["cell_id"]) for folder in folders]
    first, second = server.artifacts.of_type(SET)
    assert [first.used_by, second.used_by] == [[runs[0], runs[1], runs[1]], [runs[2]]]
    for found, folder in ((first, folders[0]), (second, folders[2])):
        used = read(folder)["calibration"]
        assert found.name == f"web_1-seed{used['seed']}-{used['hash'][:12]}"
        assert used["hash"] in found.aliases and found.metadata["hash"] == used["hash"]
        kept = tmp_path / "results" / "calibration" / used["folder"]
        assert found.files == {path.name: path.read_bytes() for path in kept.iterdir()}
    scores = server.artifacts.of_type(ITEM_SCORES)
    assert {one.name: one.files for one in scores} == {
        f"items-{run}": {"items.parquet": (folder / "items.parquet").read_bytes()}
        for run, folder in zip(runs, folders, strict=True)
    }
    assert [one.made_by for one in scores] == runs
    project = f"http://127.0.0.1:{server.server_port}/me/p"
    for run in runs:
        assert server.runs[run].summary["links/cells"] == f"{project}/groups/made_up"
        report = server.runs[run].summary["links/report"]
        assert report == f"{project}/runs/{run_id('made_up', 'analysis')}"
    copies = [path for path in tmp_path.glob(".*/**/*") if path.is_file()]
    assert not [path for path in copies if b"scores of" in path.read_bytes()]


def test_what_is_damaged_or_gone_is_no_artifact(sweep, tmp_path):
    folder = make_calibrated_cell(sweep, 0)
    record = read(folder)
    assert artifacts.items(folder, record, "r").files == {"items.parquet": folder / "items.parquet"}
    assert artifacts.calibration_set(folder, record).type == SET
    (folder / "items.parquet").write_text("other")
    assert artifacts.items(folder, record, "r") is None
    other = record | {"calibration": record["calibration"] | {"hash": "0" * 64}}
    assert artifacts.calibration_set(folder, other) is None
    (kept,) = (tmp_path / "results" / "calibration").iterdir()
    (kept / "samples.jsonl").write_text("{}\n")
    assert artifacts.calibration_set(folder, record) is None
    for lacking in ({"calibration": None}, {"calibration": {"hash": "h"}}, {}):
        assert artifacts.calibration_set(folder, {"cell": {}, **lacking}) is None


def test_notes_say_where_the_record_is_and_what_was_typed(sweep):
    folder = make_calibrated_cell(sweep, 0)
    place = "Record: `results/made_up/tiny-wanda-000000000000/record.json`"
    assert content.notes_of(folder, "record.json", "000000000000") == place
    grid = {"command": ["-m", "method=wanda", "seed=range(5)"], "cells": [{"id": "000000000000"}]}
    (folder.parent / "grid-1.json").write_text(json.dumps(grid))
    typed = "Command: `python -m calib_sweep -m method=wanda 'seed=range(5)'`"
    assert content.notes_of(folder, "record.json", "000000000000") == f"{place}\n\n{typed}"
    assert content.notes_of(folder, "record.json", "of another grid") == place
    report = content.notes_of(folder.parent / "report", "index.html")
    assert report == f"Report: `results/made_up/report/index.html`\n\n{typed}"
    (folder.parent / "grid-1.json").write_text("{")
    assert content.notes_of(folder, "record.json", "000000000000") == place


@pytest.mark.slow
def test_a_sweep_leaves_its_lineage(run_cli, tiny_world, tmp_path, server):
    kept = [word for word in tiny_world if word != "tracking=none"]
    command = ["-m", *kept, "method=wanda,sparsegpt", "seed=0,1", "sweep_name=online"]
    ended = run_cli(*command, cwd=tmp_path, env=server.environment(tmp_path))
    assert ended.code == 0, ended.err
    records = read_records(tmp_path / "results" / "online")
    by_set = {}
    for record in records:
        run = server.runs[run_id("online", record["cell_id"])]
        assert "-m model=miniature dataset=text" in run.told["notes"]
        scores = record["scores"].items()
        assert {key: run.summary[key] for key, _ in scores} == dict(scores)
        if record["calibration"]:
            name = record["calibration"]["hash"]
            by_set.setdefault(name, set()).add(run_id("online", record["cell_id"]))
    sets = server.artifacts.of_type(SET)
    assert {one.metadata["hash"]: set(one.used_by) for one in sets} == by_set
    assert [len(used) for used in by_set.values()] == [2, 2]
    assert len(server.artifacts.of_type(ITEM_SCORES)) == len(records) == 5
