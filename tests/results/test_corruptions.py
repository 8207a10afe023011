"""One file of a finished sweep is damaged: the report and the next run say so, and end.

Each corruption is made in a copy of a small sweep: a dense cell, a compressed one, one set. Fields
of a record that have other types are in results/test_store.py.
"""

import json
import shutil

import pytest

FILES = {  # each file that is read: where it lies
    "record.json": "default/*wanda*",
    "items.parquet": "default/*wanda*",
    "layers.parquet": "default/*wanda*",
    "config.yaml": "default/*wanda*",
    "reference.safetensors": "default/*dense*/dense_reference",
    "card.json": "calibration/*",
    "samples.jsonl": "calibration/*",
    "tokens.safetensors": "calibration/*",
    "made_from.json": "default/report",
    "conclusion.json": "default/report",
    "seen.json": "default/report",
}
NAMED_BY_REPORT = ("record.json", "items.parquet")  # it reads nothing else
NAMED_BY_RUN = ("record.json", "reference.safetensors", "card.json", "samples.jsonl")
NAMED_BY_RUN += ("tokens.safetensors",)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def garble(path):
    path.write_bytes(b"\xff\x00{" + path.read_bytes()[3:])


def flip(path):
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(bytes(damaged))


def to_folder(path):
    path.unlink()
    path.mkdir()


def to_loop(path):
    path.unlink()
    path.symlink_to(path.name)


def run_for_ever(path):
    record = json.loads(path.read_bytes())
    path.write_text(json.dumps(record | {"status": "running"}))


HARMS = (cut, empty, garble, flip, to_folder, to_loop)
CORRUPTIONS = [(name, harm) for name in FILES for harm in HARMS] + [("record.json", run_for_ever)]
QUIET = {("record.json", flip)}  # may be of a letter that means nothing
ALWAYS = {("items.parquet", flip)}  # each takes a run of its own


@pytest.fixture(scope="module")
def world(tiny_world):
    changes = {"evaluation.divergence=null": "evaluation.divergence.num_tokens=31"}
    return ["-m", *(changes.get(one, one) for one in tiny_world), "seed=0"]


@pytest.fixture(scope="module")
def finished(run_cli, world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    ended = run_cli(*world, cwd=folder)
    assert ended.code == 0, ended.err
    return folder


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        pytest.param(
            *one, marks=() if one in ALWAYS else pytest.mark.slow, id=f"{one[0]} {one[1].__name__}"
        )
        for one in CORRUPTIONS
    ],
)
def test_a_damaged_file_is_named_and_the_next_run_ends_by_itself(
    name, harm, run_cli, world, finished, tmp_path
):
    shutil.copytree(finished / "results", tmp_path / "results")
    (path,) = (tmp_path / "results").glob(f"{FILES[name]}/{name}")
    harm(path)

    report = run_cli("report", "results/default", cwd=tmp_path)
    run = run_cli(*world, "method=wanda,ria", cwd=tmp_path)  # one more cell: set and reference

    for ended, named in ((report, NAMED_BY_REPORT), (run, NAMED_BY_RUN)):
        told = " ".join((ended.out + ended.err).split())
        assert "Traceback" not in told
        is_told = name in told or (name, harm) in QUIET
        assert ended.code == 0 or (ended.code in (1, 3) and is_told), told
        if name in named and (name, harm) not in QUIET:
            assert name in told or "is damaged" in told, told
