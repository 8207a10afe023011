"""More corpora and tasks for a finished sweep: what was scored is taken over, the rest is scored.

Two sweeps have the same cells in the end: one scored in two commands, one in a single command.
"""

import json
import shutil

import pytest
from helpers.sweeps import read_records, write_documents

from calib_sweep import load_scores
from calib_sweep import run as run_module
from calib_sweep.evaluation.scoring import Scoring

pytestmark = pytest.mark.slow  # whole sweeps, again and again

GRID = ["-m", "method=wanda,rtn", "seed=0"]
SMALL = ("stories@32", "mini_story")
LARGE = ("stories@32", "more@32", "mini_boolq", "mini_story")


@pytest.fixture(scope="module")
def world(tiny_world, scored_documents, tmp_path_factory):
    """world(corpora, tasks): the words of a command that scores these."""
    more = write_documents(tmp_path_factory.mktemp("more") / "more.jsonl", name="more")
    kept = ["corpora=", "zero_shot=", "divergence="]
    fixed = [word for word in tiny_world if not any(part in word for part in kept)]
    fixed += ["evaluation.zero_shot.num_items=6", "evaluation.divergence.num_tokens=16"]

    def words(names):
        texts = [more if name == "more@32" else scored_documents for name in names if "@" in name]
        tasks = [name for name in names if "@" not in name]
        return [
            *fixed,
            f"evaluation.perplexity.corpora=[{','.join(map(str, texts))}]",
            f"evaluation.zero_shot.tasks=[{','.join(tasks)}]",
        ]

    return words


@pytest.fixture(scope="module")
def small(run_cli, world, tmp_path_factory):
    """A finished sweep, small; a test works on a copy."""
    folder = tmp_path_factory.mktemp("small")
    ended = run_cli(*GRID, *world(SMALL), cwd=folder)
    assert ended.code == 0, ended.err
    return folder


@pytest.fixture(scope="module")
def fresh(run_cli, world, tmp_path_factory):
    """The larger sweep, in a single command."""
    folder = tmp_path_factory.mktemp("fresh")
    ended = run_cli(*GRID, *world(LARGE), cwd=folder)
    assert ended.code == 0, ended.err
    return by_id(folder)


@pytest.fixture
def sweep(small, tmp_path):
    shutil.copytree(small, tmp_path / "sweep")
    return tmp_path / "sweep"


def by_id(folder):
    return {record["cell_id"]: record for record in read_records(folder / "results/default")}


def folder_of(sweep, cell_id):
    (found,) = sweep.glob(f"results/default/*-{cell_id}")
    return found


def of_method(sweep, method):
    (record,) = [one for one in by_id(sweep).values() if one["cell"]["method"] == method]
    return record


def rewrite(sweep, record):
    (folder_of(sweep, record["cell_id"]) / "record.json").write_text(json.dumps(record))


@pytest.fixture
def work(monkeypatch):
    """What is scored and compressed from now on."""
    done = {"scored": [], "walks": 0}
    walk = run_module.walk

    def counted(model, method, *arguments, **settings):
        done["walks"] += type(method).__name__ != "Dense"
        return walk(model, method, *arguments, **settings)

    def watched(own):
        def scored(*arguments):
            part = own(*arguments)
            done["scored"].append(part.name)
            return part

        return scored

    monkeypatch.setattr(run_module, "walk", counted)
    for name in ("corpus", "task"):
        monkeypatch.setattr(Scoring, name, watched(getattr(Scoring, name)))
    return done


SAME = ("scores", "stderr", "metrics", "versions", "calibration", "inputs")


def test_only_what_is_new_is_scored_and_all_is_as_in_one_command(
    run_cli, world, sweep, fresh, work, small
):
    before = by_id(sweep)
    ended = run_cli(*GRID, *world(LARGE), cwd=sweep)
    assert ended.code == 0, ended.err
    assert sorted(work["scored"]) == 3 * ["mini_boolq"] + 3 * ["more@32"]
    after = by_id(sweep)
    assert {cell_id: after[cell_id] for cell_id in before} == before
    assert set(after) == set(before) | set(fresh)
    for cell_id, expected in fresh.items():
        found = after[cell_id]
        for key in SAME:
            assert found[key] == expected[key], key
        assert list(found["scores"]) == list(expected["scores"])
        assert found["compression"]["fingerprint"] == expected["compression"]["fingerprint"]
        method = found["cell"]["method"]
        (old,) = [one for one in before.values() if one["cell"]["method"] == method]
        taken = {name: note.get("taken_from") for name, note in found["parts"].items()}
        assert taken == {name: old["cell_id"] if name in SMALL else None for name in LARGE}
        for name in ("items.parquet", "dense_reference/reference.safetensors"):
            assert found["files"].get(name) == expected["files"].get(name), name
        assert old["scores"]["acc/mini_story"] == found["scores"]["acc/mini_story"]
    assert "3 cells, 3 done, 0 failed" in ended.out
    assert ended.out.count("3 done cells are left out") == 1
    table = load_scores(sweep / "results/default")
    assert set(table[table["status"] == "done"]["cell_id"]) == set(fresh)


def test_less_is_neither_compressed_nor_scored(run_cli, world, sweep, work):
    before = by_id(sweep)
    alone = [*GRID, *world(SMALL), "evaluation.zero_shot=null"]
    alone = [word for word in alone if "zero_shot." not in word]
    ended = run_cli(*alone, cwd=sweep)
    assert ended.code == 0, ended.err
    assert work == {"scored": [], "walks": 0}
    for record in (one for key, one in by_id(sweep).items() if key not in before):
        (old,) = [
            one for one in before.values() if one["cell"]["method"] == record["cell"]["method"]
        ]
        names = [name for name in old["scores"] if "story" not in name and "acc" not in name]
        assert record["scores"] == {name: old["scores"][name] for name in names}
        assert record["files"]["layers.parquet"] == old["files"]["layers.parquet"]
        assert record["compression"] == old["compression"]


@pytest.mark.parametrize(
    ("method", "form", "keeps"),
    [
        ("wanda", "dense", True),
        ("rtn", "compressed-tensors", True),
        ("rtn", "compressed-tensors", False),
    ],
)
def test_a_kept_model_is_scored_from_disk(
    method, form, keeps, run_cli, world, fresh, work, tmp_path
):
    if form == "compressed-tensors":
        pytest.importorskip("compressed_tensors")
    command, saving = [f"method={method}", "seed=0"], f"save_model={form}"
    assert run_cli(*command, *world(SMALL), saving, cwd=tmp_path).code == 0
    old = of_method(tmp_path, method)
    (kept,) = folder_of(tmp_path, old["cell_id"]).glob("model*")
    work.update(walks=0, scored=[])
    ended = run_cli(*command, *world(LARGE), *([saving] if keeps else []), cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert work["walks"] == 0 and work["scored"].count("more@32") == 2
    (new,) = [
        one
        for key, one in by_id(tmp_path).items()
        if key in fresh and one["cell"]["method"] == method
    ]
    assert new["scores"] == fresh[new["cell_id"]]["scores"]
    copies = list(folder_of(tmp_path, new["cell_id"]).glob("model*"))
    assert [path.name for path in copies] == ([kept.name] if keeps else [])
    for copy in copies:
        weights = "model.safetensors"
        assert (copy / weights).read_bytes() == (kept / weights).read_bytes()
        assert new["cell_id"] in (copy / "README.md").read_text()
        assert old["cell_id"] in (kept / "README.md").read_text()


def test_a_kept_model_that_is_damaged_or_of_other_weights_is_compressed_again(
    run_cli, world, work, tmp_path
):
    command = ["-m", "method=wanda", "seed=0,1"]
    assert run_cli(*command, *world(SMALL), "save_model=dense", cwd=tmp_path).code == 0
    first, second = sorted(tmp_path.glob("results/default/*wanda*/model/model.safetensors"))
    first.write_bytes(second.read_bytes())  # of another seed
    second.write_bytes(b"no weights")
    work.update(walks=0, scored=[])
    ended = run_cli(*command, *world(LARGE), cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert work["walks"] == 2
    assert "rounds its weights" in ended.err and "cannot be read" in ended.err


def test_scores_of_two_models_are_not_mixed(run_cli, world, sweep, work):
    old = of_method(sweep, "wanda")
    made, other = old["compression"]["fingerprint"], "0123" * 8
    old["config"]["ranks_per_cell"] = 2
    rewrite(sweep, old | {"compression": old["compression"] | {"fingerprint": other}})
    ended = run_cli(*GRID, *world(LARGE), "walk.batch_tokens=64", cwd=sweep)
    assert ended.code == 3
    (failed,) = [one for one in by_id(sweep).values() if one["status"] == "failed"]
    suspects = "batch_tokens None then, 64 now", "ranks_per_cell 2 then, 1 now"
    for told in (made, other, old["cell_id"], "not mixed", *suspects):
        assert told in failed["error"]["message"]
    assert failed["scores"] == {} and failed["cell"]["method"] == "wanda"
    assert sorted(work["scored"]) == 2 * ["mini_boolq"] + 2 * ["more@32"]


@pytest.mark.parametrize("name", ["items.parquet", "dense_reference/reference.safetensors"])
def test_what_lies_in_a_damaged_file_is_scored_again(run_cli, world, sweep, fresh, work, name):
    method = "wanda" if name == "items.parquet" else "dense"
    path = folder_of(sweep, of_method(sweep, method)["cell_id"]) / name
    path.write_bytes(path.read_bytes()[:-1])
    ended = run_cli(*GRID, *world(LARGE), cwd=sweep)
    assert ended.code == 0 and "is scored again" in ended.err
    assert work["scored"].count("mini_story") == 1 == work["scored"].count("stories@32")
    after = by_id(sweep)
    assert all(after[key]["scores"] == fresh[key]["scores"] for key in fresh)


def test_a_rescoring_that_was_interrupted_is_finished_by_the_same_command(
    run_cli, world, sweep, fresh, work, monkeypatch
):
    score = Scoring.task

    def interrupted(self, *arguments):
        if len(work["scored"]) == 3:  # in the middle of the second cell
            raise KeyboardInterrupt
        return score(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Scoring, "task", interrupted)
        assert run_cli(*GRID, *world(LARGE), cwd=sweep).code != 0
    assert len(by_id(sweep)) == 4 and len(work["scored"]) == 3
    assert run_cli("rescore", *GRID, *world(LARGE), cwd=sweep).code == 0
    assert len(work["scored"]) == 3 + 4  # the part of the cell that was cut off once more
    after = by_id(sweep)
    assert all(after[key]["scores"] == fresh[key]["scores"] for key in fresh)


def test_the_verb_refuses_what_was_never_finished(run_cli, world, sweep, work):
    before = by_id(sweep)
    ended = run_cli("rescore", *world(LARGE), "method.sparsity=0.6", cwd=sweep)
    assert ended.code == 1 and "1 of 2 were not" in ended.err
    ended = run_cli("rescore", "-m", "seed=0,1", *world(LARGE), cwd=sweep)
    assert ended.code == 1 and "1 of 3 were not: miniature wanda text seed 1" in ended.err
    assert by_id(sweep) == before and work == {"scored": [], "walks": 0}
    ended = run_cli("rescore", *GRID, *world(LARGE), cwd=sweep)
    assert ended.code == 0 and "3 cells were run with another evaluation before" in ended.err


def test_weights_of_files_that_changed_are_refused_before_anything_runs(
    run_cli, world, work, tmp_path
):
    own = write_documents(tmp_path / "own.jsonl", num_documents=16)
    command = ["method=wanda", *world(SMALL), f"dataset.path={own}"]
    assert run_cli(*command, cwd=tmp_path).code == 0
    own.write_text(own.read_text().replace("the", "THE"))
    before, scored = by_id(tmp_path), len(work["scored"])
    larger = ["method=wanda", *world(LARGE), f"dataset.path={own}"]
    ended = run_cli(*larger, cwd=tmp_path)
    assert ended.code == 1 and "dataset: its files have changed since cell" in ended.err
    assert by_id(tmp_path) == before and len(work["scored"]) == scored
