"""`add` and `work`: a grid is put into its folder, and whoever sees the folder can run it."""

import json
import shutil
import subprocess
import threading

import pytest
from helpers.sweeping import Results, killing_the_first_worker_on, program, starts, wait_until
from helpers.sweeps import read_records

from calib_sweep.results import grids
from calib_sweep.results.record import new_record
from calib_sweep.results.store import Store
from calib_sweep.sweep.limits import Limits, split_options

GRID = ["-m", "method=rtn,wanda", "seed=0,1"]
NUM_CELLS = 4  # dense, rtn once, wanda for each seed


def scores(folder):
    return {record["cell_id"]: record["scores"] for record in read_records(folder)}


@pytest.fixture(scope="module")
def run(run_cli, tiny_world, tmp_path_factory):
    """The folder of a sweep that a plain command has run."""
    cwd = tmp_path_factory.mktemp("run")
    assert run_cli(*GRID, *tiny_world, cwd=cwd).code == 0
    return cwd / "results/default"


@pytest.fixture(scope="module")
def added(run_cli, tiny_world, tmp_path_factory):
    """The folder of one that was only put there."""
    cwd = tmp_path_factory.mktemp("added")
    ended = run_cli("add", *GRID, *tiny_world, cwd=cwd)
    assert ended.code == 0 and "4 cells: 0 done, 4 for workers" in ended.out
    return cwd / "results/default"


@pytest.fixture
def folder(added, tmp_path):
    """A copy of it, under another name and in another place."""
    shutil.copytree(added.parent, tmp_path / "mounted")
    return (tmp_path / "mounted/default").rename(tmp_path / "mounted/first")


def test_a_grid_that_is_added_runs_nothing(added):
    assert not list(added.glob("*/record.json")) and len(list(added.glob("grid-*.json"))) == 1
    assert list((added.parent / "calibration").glob("*/tokens.safetensors"))


def test_work_gives_what_the_command_gives_wherever_the_folder_lies(run, folder, run_cli, tmp_path):
    ended = run_cli("work", str(folder), cwd=tmp_path)
    assert ended.code == 0 and "sweep first: 4 cells, 4 done" in ended.out, ended.err
    assert scores(folder) == scores(run) and len(scores(run)) == NUM_CELLS
    assert (folder / "report/index.html").is_file()
    config = read_records(folder)[0]["config"]
    assert list(config) == list(read_records(run)[0]["config"])
    assert config["sweep_name"] == "first"


@pytest.mark.slow
def test_a_run_keeps_its_grid_so_that_work_makes_again_what_is_deleted(run, run_cli, tmp_path):
    folder = shutil.copytree(run.parent, tmp_path / "results") / "default"
    gone = next(folder.glob("*wanda*seed1*"))
    shutil.rmtree(gone)
    assert run_cli("work", "results/default", cwd=tmp_path).code == 0
    assert scores(folder) == scores(run)


def test_a_worker_runs_so_many_cells_as_it_is_told_and_leaves_the_rest(folder, run_cli, tmp_path):
    for num_done in (1, 2):
        ended = run_cli("work", str(folder), "--max-cells", "1", cwd=tmp_path)
        assert (ended.code, len(scores(folder))) == (0, num_done), ended.err
        assert f"{NUM_CELLS - num_done} cells left" in ended.err and "not run" not in ended.err
        assert not (folder / "report").exists()


@pytest.mark.slow
def test_a_grid_that_is_older_than_a_key_runs(folder, run_cli, tmp_path):
    (grid,) = folder.glob("grid-*.json")
    told = json.loads(grid.read_text())
    del told["values"]["config.allow_overlap"]
    told["same"].remove("config.allow_overlap")
    grid.write_text(json.dumps(told))
    ended = run_cli("work", str(folder), "--max-cells", "1", cwd=tmp_path)
    assert ended.code == 0 and len(scores(folder)) == 1, ended.err
    assert read_records(folder)[0]["config"]["allow_overlap"] is False


def test_a_grid_that_is_damaged_is_named_and_the_others_are_worked_on(folder, run_cli, tmp_path):
    (whole,) = folder.glob("grid-*.json")
    (folder / "grid-x.json").write_bytes(whole.read_bytes()[:-100])
    ended = run_cli("work", str(folder), "--for=0", cwd=tmp_path)
    assert ended.code == 3 and "4 cells left" in ended.err
    assert ended.err.count("grid-x.json is damaged") == 1 and "Delete it" in ended.err
    for verb in ("status", "ls"):
        ended = run_cli(verb, str(folder), cwd=tmp_path)
        assert ended.code == 3 and "grid-x.json is damaged" in ended.err
        assert "4 cells: 4 open" in ended.out
    whole.unlink()
    ended = run_cli("work", str(folder), cwd=tmp_path)
    assert ended.code == 1 and "StoreError" in ended.err and "grid-x.json is damaged" in ended.err


def test_a_worker_whose_time_is_over_takes_no_cell(folder, run_cli, tmp_path):
    ended = run_cli("work", str(folder), "--for=0", cwd=tmp_path)
    assert (ended.code, scores(folder)) == (0, {}) and "4 cells left" in ended.err


@pytest.mark.slow
def test_what_failed_is_tried_again_unless_it_is_to_be_skipped(folder, run_cli, tmp_path):
    cell = next(c for c in grids.kept_cells(Store(folder.parent, folder.name), []) if c.seed == 1)
    record = new_record(cell) | {"error": {"type": "ValueError", "message": "no"}}
    (folder / cell.folder_name).mkdir()
    (folder / cell.folder_name / "record.json").write_text(json.dumps(record))
    for _ in range(2):  # a worker, and the one that a scheduler puts in its place
        ended = run_cli("work", str(folder), "--skip-failed", cwd=tmp_path)
        assert ended.code == 3 and "1 cell failed before: left as they are" in ended.err
        assert len(read_records(folder)) == NUM_CELLS
        assert json.loads((folder / cell.folder_name / "record.json").read_text()) == record
    assert run_cli("work", str(folder), cwd=tmp_path).code == 0
    assert all(record["status"] == "done" for record in read_records(folder))


@pytest.mark.slow
def test_all_grids_of_a_folder_are_worked_on(folder, run_cli, tiny_world, tmp_path):
    place = [f"results_dir={folder.parent}", f"sweep_name={folder.name}"]
    more = ["add", "-m", "method=magnitude", *tiny_world, *place, "analysis.num_resamples=1000"]
    assert run_cli(*more, cwd=tmp_path).code == 0
    assert run_cli("work", str(folder), cwd=tmp_path).code == 0
    methods = {record["cell"]["method"] for record in read_records(folder)}
    assert methods == {"dense", "rtn", "wanda", "magnitude"} and len(scores(folder)) == 5


@pytest.mark.slow
def test_a_worker_that_waits_takes_up_a_grid_that_comes_later(
    folder, run_cli, tiny_world, tmp_path
):
    assert run_cli("add", "-m", "method=magnitude", *tiny_world, cwd=tmp_path).code == 0
    later = grids.kept_cells(Store(tmp_path / "results", "default"), [])
    store = Store(folder.parent, folder.name)

    def come_later():
        wait_until(lambda: (folder / "report/index.html").exists())
        grids.keep(store, later, [])

    thread = threading.Thread(target=come_later, daemon=True)
    thread.start()
    assert run_cli("work", str(folder), "--wait", "5", cwd=tmp_path).code == 0
    assert len(scores(folder)) == NUM_CELLS + 1


@pytest.mark.slow
def test_what_cells_read_is_checked_before_one_runs(run_cli, tiny_world, tmp_path):
    words = [word for word in tiny_world if not word.startswith("dataset.path")]
    copy = shutil.copy(
        next(w for w in tiny_world if w.startswith("dataset.path")).partition("=")[2], tmp_path
    )
    added = run_cli("add", *GRID, *words, f"dataset.path={copy}", cwd=tmp_path)
    assert added.code == 0, added.err
    (tmp_path / "text.jsonl").unlink()
    shutil.rmtree(tmp_path / "results/calibration")
    ended = run_cli("work", "results/default", cwd=tmp_path)
    assert ended.code == 1 and "text.jsonl" in ended.err and not scores(tmp_path)


@pytest.mark.slow
def test_the_yaml_behind_a_grid_is_not_needed(run_cli, tiny_world, tmp_path):
    (tmp_path / "conf/method").mkdir(parents=True)
    (tmp_path / "conf/method/mine.yaml").write_text("defaults: [rtn]\nbits: 3\n")
    own = {"CALIB_SWEEP_CONF": str(tmp_path / "conf")}
    ended = run_cli("add", "method=mine", *tiny_world, cwd=tmp_path, env=own)
    assert ended.code == 0, ended.err
    assert run_cli("work", "results/default", cwd=tmp_path).code == 0
    assert "mine" in {r["cell"]["method"] for r in read_records(tmp_path / "results/default")}


@pytest.mark.parametrize(
    "words, told",
    [
        ([], "work nothing: expected the folder of one sweep"),
        (["a", "b"], "expected the folder of one sweep"),
        (["a", "method=wanda"], "all else is as its grid was planned"),
        (["a"], "no grid is kept there"),
        (["a", "--max-cells", "0"], "work --max-cells 0: expected a whole number >= 1"),
        (["a", "--for", "soon"], "work --for soon: expected seconds >= 0"),
        (["a", "--wait"], "work --wait: expected a value behind it"),
        (["a", "--until=3"], "--until"),
        (["a", "--max-cell=3", "--for", "soon"], "Did you mean --max-cells?"),
        (["a", "hydra/launcher=slum"], "slum"),
    ],
)
def test_what_cannot_be_worked_on_is_refused_and_leaves_nothing(words, told, run_cli, tmp_path):
    ended = run_cli("work", *words, cwd=tmp_path)
    assert ended.code == 1 and told in ended.err and not list(tmp_path.iterdir())


def test_options_may_stand_anywhere():
    words = ["--for", "60", "results/a", "--max-cells=2", "workers=1"]
    options, rest = split_options("work", words)
    assert rest == ["results/a", "workers=1"]
    limits = Limits.of(options)
    assert limits.max_cells == 2 and limits.until is not None and limits.are_set
    assert not Limits.of([]).are_set
    assert split_options(None, ["--for", "60"]) == ([], ["--for", "60"])


def test_a_worker_runs_no_more_cells_than_it_is_told_whatever_its_launcher_gives_it():
    limits = Limits.of(["--max-cells=2"])
    assert [limits.least(given) for given in (None, 1, 8)] == [2, 1, 2]
    assert [Limits().least(given) for given in (None, 8)] == [None, 8]


@pytest.mark.slow
def test_workers_share_a_folder_and_one_that_is_killed_is_replaced_by_another(
    run, folder, tmp_path
):
    for index in range(2):
        (tmp_path / f"node{index}").mkdir()
    command = program("work", str(folder), "workers=1")
    results = Results(folder.parent)
    results.folder = folder
    with killing_the_first_worker_on("*", results) as killed:
        workers = [
            subprocess.Popen(
                command, cwd=tmp_path / f"node{i}", stdout=-1, stderr=subprocess.STDOUT, text=True
            )
            for i in range(2)
        ]
        logs = {}
        try:
            for worker in workers:
                logs[worker.pid], _ = worker.communicate(timeout=240)
        finally:
            for worker in workers:
                worker.kill()
    assert [w.returncode for w in workers if w.pid not in killed] == [0], logs
    assert len(killed) == 1 and scores(folder) == scores(run)
    lost = starts(*logs.values()).total() - NUM_CELLS
    assert lost in (0, 1) and not results.claims()
    assert json.loads((folder / "report/made_from.json").read_text())
