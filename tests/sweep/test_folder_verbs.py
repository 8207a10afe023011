"""ls, rm, rerun and merge: what lies in a sweep's folder, looked at and moved about safely."""

import errno
import json
import shutil

import pytest
from helpers.sweeps import read_records

from calib_sweep import atomic
from calib_sweep.analysis.scores.table import read_cells
from calib_sweep.arguments import near_sweeps
from calib_sweep.processes import host_identity
from calib_sweep.results import grids
from calib_sweep.results.claim import try_claim
from calib_sweep.results.store import Store
from calib_sweep.sweep import merging, removing

GRID = ["-m", "method=rtn,wanda", "seed=0,1"]
NUM_CELLS = 4  # dense, rtn once, wanda for each seed


@pytest.fixture(scope="module")
def run(run_cli, tiny_world, tmp_path_factory):
    cwd = tmp_path_factory.mktemp("run")
    assert run_cli(*GRID, *tiny_world, cwd=cwd).code == 0
    return cwd / "results"


@pytest.fixture
def results(run, tmp_path):
    """A copy of the results of a grid that is done."""
    return shutil.copytree(run, tmp_path / "results")


@pytest.fixture
def do(run_cli, tiny_world, tmp_path):
    """Run a verb with the grid's words."""
    return lambda verb, *words: run_cli(verb, *tiny_world, *words, cwd=tmp_path)


@pytest.fixture
def ls(run_cli, tmp_path):
    return lambda *words: run_cli("ls", *words, cwd=tmp_path)


def scores(folder):
    return {record["cell_id"]: record["scores"] for record in read_records(folder)}


def names(folder):
    return sorted(path.parent.name.rpartition("-")[0] for path in folder.glob("*/record.json"))


def one(results, pattern):
    (folder,) = (results / "default").glob(pattern)
    return folder


# ls


def states(ended):
    lines = [json.loads(line) for line in ended.out.splitlines()]
    return {(line["method"], line["seed"]): line["state"] for line in lines}


def test_cells_are_listed_with_their_states(results, ls):
    folder = results / "default"
    shutil.rmtree(one(results, "*wanda*seed0*"))
    failed = one(results, "*rtn*") / "record.json"
    record = json.loads(failed.read_text())
    record |= {"status": "failed", "error": {"type": "ValueError", "message": "no\nluck"}}
    failed.write_text(json.dumps(record))
    (one(results, "*wanda*seed1*") / "record.json").unlink()
    with try_claim(one(results, "*wanda*seed1*")):
        found = states(ls(str(folder), "--json"))
        shown = ls(str(folder)).out
    assert found == {
        ("dense", None): "done",
        ("rtn", None): "failed",
        ("wanda", 0): "open",
        ("wanda", 1): "running",
    }
    assert "ValueError: no" in shown and "luck" not in shown
    assert "4 cells: 1 done, 1 failed, 1 running, 1 open" in shown
    assert "evaluation." not in shown  # what all cells have


def test_a_cell_whose_worker_is_gone_is_lost_as_status_has_it(results, ls, run_cli, tmp_path):
    gone = one(results, "*wanda*seed1*")
    (gone / "record.json").unlink()
    holder = {"host": host_identity(), "pid": 2**22 + 1, "started": "1"}
    (gone / "claim.0").write_text(json.dumps(holder))
    folder = str(results / "default")
    assert "4 cells: 3 done, 1 lost" in ls(folder).out
    assert "4 cells: 3 done, 1 lost" in run_cli("status", folder, cwd=tmp_path).out
    assert "1 cell of 4: 1 lost" in ls(folder, "state=lost").out


def test_scores_are_those_of_the_records_and_cells_are_chosen_by_what_names_them(results, ls):
    folder = str(results / "default")
    lines = [json.loads(line) for line in ls(folder, "method=wan*", "--json").out.splitlines()]
    assert [line["seed"] for line in lines] == [0, 1]
    records = [r for r in read_records(results / "default") if r["cell"]["method"] == "wanda"]
    assert [line["scores"] for line in lines] == [record["scores"] for record in records]
    metric = next(iter(records[0]["scores"]))
    shown = ls(folder, "method=wanda", "seed=1", "--metric", metric).out
    assert f"{records[1]['scores'][metric]:.4f}"[:5] in shown and "1 cell of 4: 1 done" in shown
    (line,) = ls(folder, "seed=1", "--json", "--metric", metric).out.splitlines()
    assert json.loads(line)["scores"] == {metric: records[1]["scores"][metric]}


def test_cells_from_elsewhere_are_listed_with_the_scores_that_they_have(run_cli, tmp_path):
    table = "model,method,dataset,seed,acc/arc\nm,dense,,,0.5\nm,wanda,c4,0,0.44\n"
    (tmp_path / "scores.csv").write_text(table)
    assert run_cli("import", "scores.csv", "results/theirs", cwd=tmp_path).code == 0
    shown = run_cli("ls", "results/theirs", cwd=tmp_path).out
    assert "acc/arc, %" in shown and "44.0" in shown


def test_a_value_that_no_cell_has_is_told_beside_the_list(results, ls):
    ended = ls(str(results / "default"), "method=wnda,rtn", "seed=7,null", "state=failed", "--json")
    assert ended.code == 0 and not ended.out
    assert "method=wnda: no cell has it; they have dense, rtn, wanda. Did you mean wanda?" in (
        ended.err
    )
    assert "seed=7: no cell has it; they have 0, 1, null." in ended.err
    assert len(ended.err.splitlines()) == 2


@pytest.mark.parametrize(
    "words, told",
    [
        ([], "expected the folder of one sweep"),
        (["results/none"], "no cells are there"),
        (["results"], "Did you mean results/default?"),
        (["default"], "Did you mean results/default?"),
        (["results/default", "methd=wanda"], "no cell has such a key"),
        (["results/default", "state=gone"], "expected done, failed, running, lost, open."),
        (["results/default", "seed=0", "seed=1"], "seed is typed twice. Type seed=0,1."),
        (["results/default", "--metric", "acc/x"], "--metric acc/x: expected a score"),
        (["results/default", "--metric", "acc/x", "--json"], "--metric acc/x: expected a score"),
        (["results/default", "--metrics"], "Did you mean --metric?"),
    ],
)
def test_a_list_that_cannot_be_is_refused(words, told, results, ls):
    ended = ls(*words)
    assert ended.code == 1 and told in ended.err


# rm and rerun


@pytest.mark.parametrize("verb", ["rm", "rerun"])
def test_nothing_finished_is_deleted_without_force(verb, results, do):
    before = scores(results / "default")
    ended = do(verb, "-m", "method=wanda", "seed=0,1")
    assert ended.code == 1 and "Nothing was deleted. Type --force" in ended.err
    assert scores(results / "default") == before


def test_only_what_is_named_is_deleted_and_no_worker_runs_it_again(results, do):
    folder = results / "default"
    ended = do("rm", "-m", "method=wanda", "seed=1", "--force")
    assert ended.code == 0 and "1 cell deleted, 0 left alone" in ended.out, ended.err
    assert "a report has them still" in ended.out
    shutil.rmtree(folder / "report")
    assert names(folder) == ["miniature-dense", "miniature-rtn", "miniature-wanda-text-seed0"]
    kept = grids.kept_cells(Store(results, "default"), [])
    assert [(c.method, c.seed) for c in kept] == [("dense", None), ("rtn", None), ("wanda", 0)]
    assert not list(folder.glob(".*"))
    ended = do("rm", "method=dense", "--force")
    assert ended.code == 0 and "a report" not in ended.out
    assert "miniature-dense" not in names(folder)


@pytest.mark.parametrize("verb", ["rm", "rerun"])
@pytest.mark.parametrize("words", [[], ["-m"]])
def test_no_words_are_not_the_default_cells(verb, words, results, run_cli, tmp_path):
    ended = run_cli(verb, *words, "--force", cwd=tmp_path)
    assert ended.code == 1 and f"{verb} nothing: expected the words" in ended.err


@pytest.mark.parametrize(
    "words, told",
    [
        (["method=wanda", "seed=9"], "none of 1 that were named is there"),
        (["method=wanda", "seed=1", "--forse"], "Did you mean --force?"),
        (["method=wand", "--force"], "Did you mean method=wanda?"),
        (["results/default"], "is a folder: expected key=value"),
    ],
)
def test_nothing_is_deleted_by_words_that_name_nothing(words, told, results, do):
    ended = do("rm", *words)
    assert ended.code == 1 and told in ended.err and len(scores(results / "default")) == NUM_CELLS


def test_cells_that_never_began_are_planned_no_more(do, results):
    assert do("add", "method=magnitude").code == 0
    ended = do("rm", "method=magnitude")
    assert ended.code == 0 and "1 not begun and planned no more" in ended.out
    methods = {cell.method for cell in grids.kept_cells(Store(results, "default"), [])}
    assert methods == {"dense", "rtn", "wanda"}


def test_a_cell_that_is_not_done_goes_without_force(results, do):
    (one(results, "*wanda*seed1*") / "record.json").unlink()
    assert do("rm", "method=wanda", "seed=1").code == 0
    assert not list((results / "default").glob("*wanda*seed1*"))


def test_a_cell_that_somebody_runs_is_left_alone(results, do):
    folder = one(results, "*wanda*seed1*")
    with try_claim(folder) as claim:
        ended = do("rm", "-m", "method=wanda", "seed=0,1", "--force")
        assert claim.path.exists()
    assert ended.code == 3 and "left alone: miniature wanda text seed 1" in ended.err
    assert (folder / "record.json").exists()
    assert not list((results / "default").glob("*wanda*seed0*"))
    kept = grids.kept_cells(Store(results, "default"), [])
    assert [cell.seed for cell in kept if cell.method == "wanda"] == [1]  # planned as before


def test_a_cell_that_is_finished_while_rm_looks_at_it_stays_without_force(results, do, monkeypatch):
    """Its worker ends between the look that needs no --force and the claim."""
    folder = one(results, "*wanda*seed1*")
    record = (folder / "record.json").read_bytes()
    (folder / "record.json").unlink()

    def finished(*of):
        (folder / "record.json").write_bytes(record)
        return try_claim(*of)

    monkeypatch.setattr(removing, "try_claim", finished)
    ended = do("rm", "method=wanda", "seed=1")
    assert ended.code == 3 and "which is done by now: type --force, too" in ended.err
    assert (folder / "record.json").read_bytes() == record and not list(folder.glob("claim.*"))


@pytest.mark.slow
def test_what_is_run_again_scores_the_same(results, do):
    folder = results / "default"
    before, other = scores(folder), (one(results, "*seed0*") / "record.json").read_bytes()
    old = one(results, "*wanda*seed1*").stat().st_ino
    assert do("rerun", "method=wanda", "seed=1", "--force").code == 0
    assert scores(folder) == before and one(results, "*wanda*seed1*").stat().st_ino != old
    assert (one(results, "*seed0*") / "record.json").read_bytes() == other


def test_nothing_is_deleted_that_cannot_run_again(results, do, tmp_path):
    missing = f"dataset.path={tmp_path}/gone.jsonl"
    before = scores(results / "default")
    assert do("rerun", "method=wanda", "seed=1", "--force", missing).code == 1
    assert scores(results / "default") == before


# merge


@pytest.fixture
def halves(run, tmp_path):
    """The cells of a grid on two machines, the dense one on both."""
    for name, others in (("a", "*wanda*"), ("b", "*rtn*")):
        shutil.copytree(run, tmp_path / name)
        for folder in (tmp_path / name / "default").glob(others):
            shutil.rmtree(folder)
    for folder in (tmp_path / "a/calibration").iterdir():
        shutil.rmtree(folder)
    return [str(tmp_path / name / "default") for name in "ab"]


@pytest.fixture
def merge(halves, run_cli, tmp_path):
    return lambda: run_cli("merge", *halves, "--into", "both/all", cwd=tmp_path)


def test_the_cells_of_two_machines_come_together(run, merge, tmp_path):
    (tmp_path / "a_cell_by_itself").mkdir()  # far above where they come together
    (tmp_path / "a_cell_by_itself/record.json").write_text("{}")
    ended = merge()
    assert ended.code == 0 and "4 cells copied, 1 there before, 0 not finished" in ended.out
    both = tmp_path / "both/all"
    for record in (run / "default").glob("*/record.json"):
        for path in record.parent.iterdir():
            if path.is_file():
                assert (both / record.parent.name / path.name).read_bytes() == path.read_bytes()
    sets = [p.relative_to(run) for p in run.glob("calibration/*/tokens.safetensors")]
    assert len(sets) == 2 and all((both.parent / path).is_file() for path in sets)
    assert len(grids.kept_cells(Store(both.parent, "all"), [])) == NUM_CELLS
    again = merge()
    assert again.code == 0 and "0 cells copied, 5 there before" in again.out


def change(folder, **changes):
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps(record | changes))
    return record


def test_another_result_of_a_cell_is_told_and_nothing_is_overwritten(merge, halves, tmp_path):
    (dense,) = (tmp_path / "b/default").glob("*dense*")
    metric, value = next(iter(json.loads((dense / "record.json").read_text())["scores"].items()))
    record = change(dense, scores={metric: 99.5})
    ended = merge()
    assert ended.code == 3 and "4 cells copied" in ended.out
    assert f"conflict: {record['cell_id']}: " in ended.err
    assert f"{metric} 99.5 and {value}" in ended.err
    kept = tmp_path / "both/all" / dense.name / "record.json"
    assert kept.read_bytes() == next((tmp_path / "a").glob("*/*dense*/record.json")).read_bytes()


def test_what_is_damaged_or_failed_is_not_copied_and_a_failed_cell_gives_way(merge, tmp_path):
    (rtn,) = (tmp_path / "a/default").glob("*rtn*")
    (rtn / "layers.parquet").write_bytes(b"other")
    change(next((tmp_path / "b/default").glob("*seed0*")), status="failed", error=None)
    there = tmp_path / "both/all" / next((tmp_path / "b/default").glob("*seed1*")).name
    there.mkdir(parents=True)
    shutil.copy(next((tmp_path / "b/default").glob("*seed1*")) / "record.json", there)
    change(there, status="failed", error={"type": "OSError", "message": "x"}, files={})
    ended = merge()
    assert ended.code == 3 and "layers.parquet is not the file that was written" in ended.err
    assert "1 not finished" in ended.out
    found = {(r["cell"]["method"], r["status"]) for r in read_records(tmp_path / "both/all")}
    assert found == {("dense", "done"), ("wanda", "done")} and (there / "layers.parquet").exists()


def test_a_cell_that_somebody_runs_there_is_left_to_them(merge, tmp_path):
    name = next((tmp_path / "b/default").glob("*seed0*")).name
    with try_claim(tmp_path / "both/all" / name) as claim:
        ended = merge()
        assert claim.path.exists() and not (claim.folder / "record.json").exists()
    assert ended.code == 3 and "left alone: " in ended.err and "3 cells copied" in ended.out
    assert merge().code == 0


@pytest.mark.parametrize(
    "words, told",
    [
        (["a/default"], "expected folders of sweeps, and --into"),
        (["--into", "c"], "expected folders of sweeps, and --into"),
        (["a/default", "--into", "a/default"], "expected another folder than that of --into"),
        (["nowhere", "--into", "c"], "no records are there"),
        (["a/default", "--into", "a/default/c"], "this one lies in the sweep"),
        (["a/default", "--into", "b/default/c"], "this one lies in the sweep"),
        (["a/default", "--into", "b"], "this one holds the sweep"),
    ],
)
def test_a_merge_that_cannot_be_is_refused(words, told, halves, run_cli, tmp_path):
    ended = run_cli("merge", *words, cwd=tmp_path)
    assert ended.code == 1 and told in ended.err and not (tmp_path / "c").exists()
    assert not list(tmp_path.glob("b/*/record.json")) and not list(tmp_path.glob("*/default/c"))


@pytest.mark.parametrize(
    "error, code, told",
    [
        (OSError(errno.ENOSPC, "No space left on device"), 3, "Free some disk space"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 3, "left out: "),
        (FileNotFoundError(errno.ENOENT, "gone", "x"), 3, "which was deleted meanwhile"),
    ],
)
def test_a_cell_that_cannot_be_copied_leaves_no_part(
    error, code, told, merge, tmp_path, monkeypatch
):
    def copy(path, partial):
        if isinstance(error, FileNotFoundError):
            shutil.rmtree(path.parent)
        raise error

    monkeypatch.setattr(merging.shutil, "copy2", copy)
    ended = merge()
    assert ended.code == code and told in ended.err and "Traceback" not in ended.err
    assert not list(tmp_path.glob("both/all/*/record.json"))
    assert not list(tmp_path.glob("both/all/.*.partial"))


def test_what_a_killed_process_left_of_a_cell_is_none(results, ls, run_cli, tmp_path):
    """A merge that was copying it, or rm on its way: whole as it looks, it is deleted soon."""
    folder = results / "default"
    cell = one(results, "*wanda*seed1*")
    gone = cell.with_name(f".{cell.name}.{atomic._host_code()}-{2**22 + 1}-1.0123abcd.partial")
    shutil.copytree(cell, tmp_path / "other/default" / cell.name)
    cell.rename(gone)
    assert [record["folder"] for record in read_cells(folder)] == names_of_folders(folder)
    assert "4 cells: 3 done, 1 open" in ls(str(folder)).out
    assert "4 cells: 3 done, 1 open" in run_cli("status", str(folder), cwd=tmp_path).out
    ended = run_cli("merge", "other/default", "--into", str(folder), cwd=tmp_path)
    assert ended.code == 0 and "1 cell copied, 0 there before" in ended.out
    assert cell.is_dir() and not gone.exists()


def names_of_folders(folder):
    return sorted(path.parent.name for path in folder.glob("[!.]*/record.json"))


def test_a_cell_that_another_merge_was_quicker_with_is_not_counted_twice(
    merge, halves, tmp_path, monkeypatch
):
    def try_claim(place):
        source = next(tmp_path.glob(f"[ab]/default/{place.name}"))
        shutil.copytree(source, place, dirs_exist_ok=True)
        return claiming(place)

    claiming = merging.try_claim
    monkeypatch.setattr(merging, "try_claim", try_claim)
    ended = merge()
    assert ended.code == 0 and "0 cells copied, 5 there before" in ended.out


def test_no_sweep_is_offered_in_the_place_of_itself(tmp_path, monkeypatch):
    (tmp_path / "results/a/cell").mkdir(parents=True)
    (tmp_path / "results/a/cell/record.json").touch()
    monkeypatch.chdir(tmp_path)
    assert near_sweeps(tmp_path / "results/a") == ""
    assert near_sweeps(tmp_path / "a") == " Did you mean results/a?"
