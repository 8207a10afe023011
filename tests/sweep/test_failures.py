"""What goes wrong while a sweep runs costs the cell it happens in, and nothing that is finished."""

import errno
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from helpers.sweeps import read_records, write_documents

from calib_sweep import atomic, cell_files
from calib_sweep import run as run_module
from calib_sweep.atomic import partial_name
from calib_sweep.places import RECORD
from calib_sweep.processes import host_identity
from calib_sweep.results.files import hash_files

# A method in a package of the user's own, that breaks once, in the middle of the grid.
METHOD = """
from dataclasses import dataclass

from calib_sweep.method.base import CompressedWeight, LayerMethod
from calib_sweep.method.statistics.input_norm import InputNorm

BREAKS_AT_CALL = None
num_calls = 0


class MeltedError(RuntimeError):
    pass


@dataclass(frozen=True, kw_only=True)
class Brittle(LayerMethod):
    factor: float

    statistic = InputNorm

    def compress_weight(self, weight_OI, statistic):
        global num_calls
        num_calls += 1
        if num_calls == BREAKS_AT_CALL:
            raise MeltedError("the third set melted the layer")
        return CompressedWeight(weight_OI=weight_OI * self.factor)
"""
CONFIG = "_target_: brittle_package.brittle.Brittle\nfactor: 0.9\n"


@pytest.fixture(scope="module")
def finished(run_cli, tiny_world, tmp_path_factory):
    """A finished sweep of three seeds and the dense cell; copy it before you touch it."""
    folder = tmp_path_factory.mktemp("finished")
    ended = run_cli("-m", *tiny_world, "seed=range(3)", cwd=folder)
    assert ended.code == 0, ended.err
    return folder


@pytest.fixture
def sweep(finished, tmp_path):
    """A copy of the finished sweep."""
    shutil.copytree(finished / "results", tmp_path / "results")
    return tmp_path / "results" / "default"


def cell_folder(sweep, method, seed=None):
    ending = "" if seed is None else f"-text-seed{seed}"
    (folder,) = sweep.glob(f"miniature-{method}{ending}-*")
    return folder


def written(sweep):
    """When each record was written, by folder."""
    return {path.parent.name: path.stat().st_mtime_ns for path in sweep.glob(f"*/{RECORD}")}


def unfinished(sweep):
    """Whatever only a cell that is being worked on has."""
    return [p for p in sweep.rglob("*") if p.name.startswith((".", "claim.")) and p.is_file()]


def table(ended):
    """The table on the screen, without the line that says how long it took."""
    return ended.out.splitlines()[1:]


def test_one_cell_of_five_fails_and_the_others_are_kept(run_cli, tiny_world, tmp_path, monkeypatch):
    package = tmp_path / "code" / "brittle_package"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "brittle.py").write_text(METHOD)
    (tmp_path / "own" / "method").mkdir(parents=True)
    (tmp_path / "own" / "method" / "brittle.yaml").write_text(CONFIG)
    monkeypatch.syspath_prepend(str(package.parent))
    from brittle_package import brittle

    monkeypatch.setattr(brittle, "BREAKS_AT_CALL", 2 * 6 * 7 + 1)  # two cells of six blocks
    command = ["-m", *tiny_world, "method=brittle", "seed=range(5)"]
    command += ["--config-dir", str(tmp_path / "own")]

    ended = run_cli(*command, cwd=tmp_path)

    assert ended.code == 3
    assert "6 cells, 5 done, 1 failed" in ended.out and "Traceback" not in ended.out + ended.err
    assert "failed: miniature brittle text seed 2" in ended.out
    assert "the third set melted the layer" in " ".join(ended.out.split())
    assert "seed 2 failed: LayerError: block 0 layer " in ended.err
    raising = '            raise MeltedError("the third set melted the layer")'
    line = 1 + METHOD.splitlines().index(raising)
    assert f"(at {package / 'brittle.py'}:{line})" in " ".join(ended.err.split())
    folder = cell_folder(tmp_path / "results" / "default", "brittle", 2)
    log_text = (folder / "log.txt").read_text()
    assert f'brittle.py", line {line}, in compress_weight' in log_text
    assert "MeltedError: the third set melted the layer" in log_text
    sweep = tmp_path / "results" / "default"
    records = {record["cell"]["seed"]: record for record in read_records(sweep)}
    assert [records[seed]["status"] for seed in (None, 0, 1, 2, 3, 4)] == [
        "done", "done", "done", "failed", "done", "done",
    ]  # fmt: skip
    error = records[2]["error"]
    assert error["type"] == "LayerError" and error["message"].startswith("block 0 layer ")
    assert "MeltedError: the third set melted the layer" in error["where"]
    assert "brittle.py" in error["where"] and records[2]["scores"] == {}
    assert unfinished(sweep) == []
    before = written(sweep)

    monkeypatch.setattr(brittle, "BREAKS_AT_CALL", None)  # mended
    again = run_cli(*command, cwd=tmp_path)

    assert again.code == 0 and "6 cells, 6 done, 0 failed" in again.out
    after = written(sweep)
    assert [name for name in after if after[name] != before[name]] == [
        cell_folder(sweep, "brittle", 2).name
    ]
    del sys.modules["brittle_package.brittle"], sys.modules["brittle_package"]


def test_without_the_dense_cell_nothing_else_runs(run_cli, tiny_world, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no score today")

    monkeypatch.setattr("calib_sweep.evaluation.suite.PreparedSuite.score", fail)
    ended = run_cli("-m", *tiny_world, "seed=0,1", cwd=tmp_path)
    assert ended.code == 3
    (record,) = read_records(tmp_path / "results" / "default")
    assert record["cell"]["method"] == "dense" and record["status"] == "failed"
    assert "no score today" in ended.out
    assert ended.err.count("not run: ") == 2


@pytest.mark.parametrize("damage", ["half of it", "nothing", "no text"])
def test_a_damaged_record_is_set_aside_and_its_cell_runs_again(
    damage, finished, sweep, run_cli, tiny_world, tmp_path
):
    before, scores = written(sweep), read_records(sweep)
    record = cell_folder(sweep, "wanda", 1) / RECORD
    whole = record.read_bytes()
    broken = {"half of it": whole[: len(whole) // 2], "nothing": b"", "no text": b"\xff\xfe{"}
    record.write_bytes(broken[damage])

    ended = run_cli("-m", *tiny_world, "seed=range(3)", cwd=tmp_path)

    assert ended.code == 0, ended.err
    assert "is damaged" in ended.err and "its cell runs again" in ended.err
    (aside,) = record.parent.glob("record.broken-*.json")
    assert aside.read_bytes() == broken[damage]
    after = written(sweep)
    assert [name for name in after if after[name] != before[name]] == [record.parent.name]
    assert [r["scores"] for r in read_records(sweep)] == [r["scores"] for r in scores]
    undisturbed = run_cli("-m", *tiny_world, "seed=range(3)", cwd=finished)
    assert table(ended) == table(undisturbed)


@pytest.mark.slow
def test_a_dataset_that_changed_after_cells_were_finished_is_refused(run_cli, tiny_world, tmp_path):
    documents = write_documents(tmp_path / "own.jsonl", num_documents=8)
    command = ["-m", *tiny_world, f"dataset.path={documents}", "seed=0"]
    assert run_cli(*command, cwd=tmp_path).code == 0
    before = written(tmp_path / "results" / "default")
    text = documents.read_text()
    documents.write_text(text.replace("the", "THE"))

    ended = run_cli(*command[:-1], "seed=0,1", cwd=tmp_path)

    assert ended.code == 1
    assert "dataset: its files have changed since cell" in ended.err
    assert "sweep_name=NEW_NAME" in ended.err
    assert written(tmp_path / "results" / "default") == before
    assert run_cli(*command, "sweep_name=changed", cwd=tmp_path).code == 0
    documents.write_text(text)
    again = run_cli(*command, cwd=tmp_path)
    assert again.code == 0 and written(tmp_path / "results" / "default") == before


@pytest.mark.slow
def test_a_failed_cell_runs_again_on_files_that_were_mended(
    run_cli, tiny_world, tmp_path, monkeypatch
):
    documents = write_documents(tmp_path / "own.jsonl", num_documents=8)
    command = ["-m", *tiny_world, f"dataset.path={documents}", "seed=0"]

    def fail(*_, **__):
        raise RuntimeError("bad data")

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "summarise_layers", fail)
        assert run_cli(*command, cwd=tmp_path).code == 3
    documents.write_text(documents.read_text().replace("the", "THE"))
    assert run_cli(*command, cwd=tmp_path).code == 0


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="names of open files")
@pytest.mark.parametrize("moment", ["config.yaml", RECORD])
def test_a_full_disk_loses_nothing_that_is_finished(
    moment, run_cli, tiny_world, tmp_path, monkeypatch
):
    sweep = tmp_path / "results" / "default"
    fsync = os.fsync

    def fill_up(descriptor):
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        if "seed1" in path and f".{moment}." in path:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    command = ["-m", *tiny_world, "seed=range(3)"]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fill_up)
        ended = run_cli(*command, cwd=tmp_path)
    assert ended.code == 3
    assert "No space left on device" in ended.err and "Traceback" not in ended.err
    assert "Finished cells are kept" in ended.err
    kept = written(sweep)
    assert {record["status"] for record in read_records(sweep)} == {"done"}
    assert len(kept) >= 2 and unfinished(sweep) == []

    again = run_cli(*command, cwd=tmp_path)
    assert again.code == 0 and "4 cells, 4 done" in again.out
    assert {name: written(sweep)[name] for name in kept} == kept


def test_ctrl_c_gives_claims_back_and_keeps_what_is_finished(
    run_cli, tiny_world, tmp_path, monkeypatch
):
    sweep = tmp_path / "results" / "default"
    walk, num_walks = run_module.walk, 0

    def interrupted(*arguments, **settings):
        nonlocal num_walks
        num_walks += 1
        if num_walks == 3:  # the dense cell, seed 0, seed 1
            raise KeyboardInterrupt
        return walk(*arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "walk", interrupted)
        ended = run_cli("-m", *tiny_world, "seed=range(3)", cwd=tmp_path)
    assert ended.code == 130
    assert "Interrupted" in ended.err and "run the same command" in ended.err
    assert "Traceback" not in ended.err
    kept = written(sweep)
    assert len(kept) == 2 and unfinished(sweep) == []
    assert run_cli("-m", *tiny_world, "seed=range(3)", cwd=tmp_path).code == 0
    assert len(written(sweep)) == 4 and written(sweep).items() >= kept.items()


def test_results_that_are_deleted_while_a_worker_runs_are_made_again(
    run_cli, tiny_world, tmp_path, monkeypatch
):
    walk, num_walks = run_module.walk, 0

    def deleting(*arguments, **settings):
        nonlocal num_walks
        num_walks += 1
        assert num_walks < 10  # it would go on for ever
        if num_walks == 3:  # the dense cell and seed 0 are done, seed 1 runs, seed 2 waits
            shutil.rmtree(tmp_path / "results")
        return walk(*arguments, **settings)

    monkeypatch.setattr(run_module, "walk", deleting)
    ended = run_cli("-m", *tiny_world, "seed=range(3)", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert "4 cells, 4 done, 0 failed" in ended.out
    assert (
        "workers ended before 1 cell ran" in ended.err and num_walks == 6
    )  # seed 0 and the dense cell again
    assert unfinished(tmp_path / "results" / "default") == []


def test_what_was_left_beside_a_finished_record_is_cleared_by_the_next_command(
    sweep, run_cli, tiny_world, tmp_path
):
    """Killed after the record was written, before the claim was given back."""
    folder = cell_folder(sweep, "wanda", 1)
    holder = {"host": host_identity(), "pid": 2**22 + 1, "started": "0"}
    (folder / "claim.0").write_text(json.dumps(holder))
    mine = partial_name(folder / RECORD).name
    (sweep / "report" / "dashboard").mkdir()
    for place in (folder, sweep, *(sweep / "report").glob("*/")):
        (place / mine.replace(f"-{os.getpid()}-", f"-{2**22 + 1}-")).touch()
    living = folder / mine
    living.touch()
    before = written(sweep)
    assert run_cli("-m", *tiny_world, "seed=range(3)", cwd=tmp_path).code == 0
    assert unfinished(sweep) == [living] and written(sweep) == before


def test_a_lost_gpu_ends_its_worker_and_leaves_the_cell_to_others(
    run_cli, tiny_world, tmp_path, monkeypatch
):
    """A dead CUDA context fails whatever comes next: no cell is to blame, none is marked failed."""

    def lose(*_, **__):
        raise RuntimeError("CUDA error: the device went away")

    with monkeypatch.context() as broken:
        broken.setattr("calib_sweep.run.walk", lose)
        broken.setattr("calib_sweep.run.device_is_lost", lambda: True)
        ended = run_cli("-m", *tiny_world, "seed=0,1", cwd=tmp_path)
    assert ended.code == 3
    assert "the GPU no longer answers" in ended.err
    assert not read_records(tmp_path / "results" / "default")

    assert run_cli("-m", *tiny_world, "seed=0,1", cwd=tmp_path).code == 0
    assert len(read_records(tmp_path / "results" / "default")) == 3


def test_a_model_asked_for_later_is_still_saved(run_cli, tiny_world, sweep, tmp_path):
    before = read_records(sweep)
    assert run_cli(*tiny_world, "save_model=dense", cwd=tmp_path).code == 0
    assert read_records(sweep) == before
    for record in before:  # stands for the files that it was written with
        cell = record["cell"]
        assert hash_files(cell_folder(sweep, cell["method"], cell["seed"])) == record["files"]
    (saved,) = tmp_path.glob("results/default/*wanda*/model/model.safetensors")
    again = run_cli(*tiny_world, "save_model=dense", cwd=tmp_path)
    assert again.code == 0 and "1 to run" not in again.err
    assert saved.exists()


def test_a_model_asked_for_later_that_scores_otherwise_is_not_kept(
    run_cli, tiny_world, sweep, tmp_path
):
    """On another machine, say. The record keeps its files, and the other cells get their models."""
    folder = cell_folder(sweep, "wanda", 0)
    record = json.loads((folder / "record.json").read_bytes())
    elsewhere = {**record, "scores": {**record["scores"], "ppl/scored@32": 1.5}}
    (folder / "record.json").write_text(json.dumps(elsewhere))

    ended = run_cli("-m", *tiny_world, "seed=0,1", "save_model=dense", cwd=tmp_path)

    assert ended.code == 3 and "exists with different scores" in ended.err
    assert json.loads((folder / "record.json").read_bytes()) == elsewhere
    assert hash_files(folder) == record["files"] and not (folder / "model").exists()
    assert (cell_folder(sweep, "wanda", 1) / "model").is_dir()
    (second,) = folder.glob("record.conflict-*.json")
    second.replace(folder / "record.json")  # as a person may decide
    ended = run_cli("report", str(sweep), cwd=tmp_path)
    assert ended.code == 0 and "single items are left out" in " ".join(ended.out.split())


def no_space(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_model_that_cannot_be_saved_fails_its_cell_and_costs_no_score(
    run_cli, tiny_world, tmp_path, monkeypatch
):
    command, sweep = [*tiny_world, "save_model=dense"], tmp_path / "results" / "default"
    with monkeypatch.context() as patch:
        patch.setattr(cell_files, "save_dense", no_space)
        ended = run_cli(*command, cwd=tmp_path)
    assert ended.code == 3 and "2 cells, 1 done, 1 failed" in ended.out
    _, failed = read_records(sweep)
    assert failed["status"] == "failed" and failed["error"]["type"] == "OSError"
    assert "No space left" in failed["error"]["message"]
    assert failed["scores"] and failed["finished_at"]
    assert not list(cell_folder(sweep, "wanda", 0).glob("*model*"))

    again = run_cli(*command, cwd=tmp_path)

    assert again.code == 0 and "2 cells, 2 done, 0 failed" in again.out
    _, done = read_records(sweep)
    assert done["status"] == "done" and done["error"] is None
    for key in done.keys() - {
        "status",
        "error",
        "finished_at",
        "timings_s",
        "peak_memory_bytes",
        "files",
    }:
        if key != "compression":  # has seconds in it
            assert failed[key] == done[key], key
    assert failed["timings_s"].keys() == done["timings_s"].keys()
    assert failed["compression"]["sparsity"] == done["compression"]["sparsity"]
    assert (cell_folder(sweep, "wanda", 0) / "model").is_dir()


def test_a_model_asked_for_later_that_cannot_be_saved_is_tried_once(
    run_cli, tiny_world, tmp_path, monkeypatch
):
    assert run_cli(*tiny_world, cwd=tmp_path).code == 0
    before, tried = read_records(tmp_path / "results" / "default"), []

    def fail(*_):
        tried.append(1)
        if len(tried) > 1:
            raise KeyboardInterrupt  # once more, and it would never end
        no_space()

    monkeypatch.setattr(cell_files, "save_dense", fail)
    ended = run_cli(*tiny_world, "save_model=dense", cwd=tmp_path)
    assert ended.code == 3 and "failed: OSError" in ended.err and len(tried) == 1
    assert read_records(tmp_path / "results" / "default") == before


def test_trouble_after_the_cells_have_run_is_not_called_a_refusal(
    run_cli, tiny_world, tmp_path, monkeypatch
):
    from calib_sweep.errors import ConfigError

    def refuse(*_):
        raise ConfigError("report: no place to write to")

    monkeypatch.setattr("calib_sweep.analysis.report.write.bring_up_to_date", refuse)
    ended = run_cli(*tiny_world, cwd=tmp_path)
    assert ended.code == 3 and "no place to write to" in ended.err
    assert len(read_records(tmp_path / "results" / "default")) == 2


@pytest.mark.parametrize("num_points", [1, 10])
def test_a_finished_sweep_can_be_typed_again_when_its_text_is_gone(
    run_cli, tiny_world, documents, tmp_path, monkeypatch, num_points
):
    monkeypatch.setattr("calib_sweep.sweep.sweep.MANY", 10)
    copy = tmp_path / "mine.jsonl"
    copy.write_bytes(documents.read_bytes())
    world = ["-m", *tiny_world, f"dataset.path={copy}", "seed=" + ",".join("0" * num_points)]
    assert run_cli(*world, cwd=tmp_path).code == 0
    copy.unlink()
    again = run_cli(*world, cwd=tmp_path)
    assert again.code == 0 and "cannot be held against the files" in again.err


def test_two_results_of_a_cell_are_told_by_every_command_until_one_is_deleted(
    run_cli, tiny_world, sweep, tmp_path
):
    command = ["-m", *tiny_world, "seed=range(3)"]
    record = cell_folder(sweep, "wanda", 1) / RECORD
    second = record.with_name("record.conflict-01234567.json")
    second.write_text(record.read_text().replace('"ppl/stories@32": ', '"ppl/stories@32": 1'))

    for arguments, code in ((command, 3), (command, 3), (["report", str(sweep)], 0)):
        ended = run_cli(*arguments, cwd=tmp_path)
        told = " ".join(ended.out.split())
        assert ended.code == code, ended.err
        assert f"{record.parent.name} has two results" in told and f"delete {second.name}" in told
    assert f"delete {second.name}" in " ".join(run_cli("check", *command, cwd=tmp_path).out.split())
    assert "has two results" in (sweep / "report" / "index.html").read_text()

    second.unlink()
    ended = run_cli(*command, cwd=tmp_path)
    assert ended.code == 0 and "two results" not in ended.out
    assert "two results" not in (sweep / "report" / "index.html").read_text()


@pytest.mark.slow
def test_a_log_is_not_written_through_a_link(run_cli, tiny_world, tmp_path):
    command, sweep = [*tiny_world, "seed=0"], tmp_path / "results" / "default"
    assert run_cli(*command, cwd=tmp_path).code == 0
    folder, victim = cell_folder(sweep, "wanda", 0), tmp_path / "victim"
    victim.write_text("mine\n")
    (folder / RECORD).unlink()
    (folder / "log.txt").unlink()
    (folder / "log.txt").symlink_to(victim)

    ended = run_cli(*command, cwd=tmp_path)

    assert ended.code == 3 and "is a link to" in ended.err and "delete it" in ended.err
    assert victim.read_text() == "mine\n"
    (folder / "log.txt").unlink()
    assert run_cli(*command, cwd=tmp_path).code == 0


def test_a_damaged_reference_is_named_and_made_again(run_cli, tiny_world, tmp_path):
    changes = {"evaluation.divergence=null": "evaluation.divergence.num_tokens=31"}
    command = ["-m", *(changes.get(one, one) for one in tiny_world)]
    assert run_cli(*command, "seed=0", cwd=tmp_path).code == 0
    sweep = tmp_path / "results" / "default"
    reference = cell_folder(sweep, "dense") / "dense_reference" / "reference.safetensors"
    whole = reference.read_bytes()
    reference.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))

    ended = run_cli(*command, "seed=0,1", cwd=tmp_path)

    assert ended.code == 0, ended.err
    assert "reference.safetensors is not the file that was written" in ended.err
    assert "3 cells: 1 done before, 2 to run" in ended.err
    assert reference.read_bytes() == whole


def test_a_colleagues_cell_is_named_and_left_alone_and_the_others_go_on(
    run_cli, tiny_world, sweep, tmp_path, monkeypatch
):
    theirs = cell_folder(sweep, "wanda", 1) / RECORD
    (cell_folder(sweep, "wanda", 2) / RECORD).unlink()
    read_bytes = Path.read_bytes

    def refuse(path):
        if path == theirs:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    ended = run_cli("-m", *tiny_world, "seed=range(3)", cwd=tmp_path)

    assert ended.code == 3
    assert "left alone: miniature wanda text seed 1: " in ended.err
    assert "Permission denied" in ended.err and "chmod -R g+rwX" in ended.err
    assert "damaged" not in ended.err
    assert "record.json cannot be read: Permission denied" in " ".join(ended.out.split())
    assert (cell_folder(sweep, "wanda", 2) / RECORD).exists()


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV])
def test_a_file_system_without_hard_links_is_named_before_anything_runs(
    code, run_cli, tiny_world, tmp_path, monkeypatch
):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    ended = run_cli(*tiny_world, cwd=tmp_path)
    assert ended.code == 1 and "results_dir=" in ended.err
    assert os.strerror(code) in ended.err and "hard link" in ended.err


def test_hard_links_that_are_refused_while_cells_run_are_the_disks_trouble(
    run_cli, tiny_world, tmp_path, monkeypatch
):
    link = os.link

    def refuse(source, target, **settings):
        if Path(target).name == RECORD:
            raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))
        link(source, target, **settings)

    monkeypatch.setattr(os, "link", refuse)
    ended = run_cli(*tiny_world, cwd=tmp_path)
    assert ended.code == 3 and "Too many links" in ended.err and "hard link" in ended.err
    assert "Traceback" not in ended.err


def test_a_disk_without_room_for_a_set_is_named(run_cli, tiny_world, tmp_path, monkeypatch):
    mkdir = Path.mkdir

    def fill_up(path, *arguments, **settings):
        if path.parent.name == "calibration":
            no_space()
        mkdir(path, *arguments, **settings)

    monkeypatch.setattr(Path, "mkdir", fill_up)
    ended = run_cli(*tiny_world, cwd=tmp_path)
    assert ended.code == 3 and "No space left on device" in ended.err
    assert "Traceback" not in ended.err


def test_a_results_folder_that_is_a_link_to_itself_is_named(run_cli, tiny_world, tmp_path):
    (tmp_path / "results").symlink_to("results")
    ended = run_cli(*tiny_world, cwd=tmp_path)
    assert ended.code in (1, 3) and "Traceback" not in ended.err
    assert str(tmp_path / "results") in ended.err


def test_the_next_command_sweeps_what_a_killed_one_left(run_cli, tiny_world, sweep, tmp_path):
    (cell_folder(sweep, "wanda", 2) / RECORD).unlink()
    for place in (
        cell_folder(sweep, "wanda", 2) / "model",
        sweep.parent / "calibration" / "0123456789",
        sweep / "report" / "index.html",
    ):
        partial = atomic.partial_name(place)
        partial.with_name(partial.name.replace(f"-{os.getpid()}-", f"-{2**22 + 1}-")).mkdir()
    assert len(list(sweep.parent.rglob("*.partial"))) == 3
    assert run_cli("-m", *tiny_world, "seed=range(3)", cwd=tmp_path).code == 0
    assert list(sweep.parent.rglob(".*")) == []
