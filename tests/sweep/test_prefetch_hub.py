"""Prefetch and runs against a hub on the loopback device, through all the real clients."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.fakes import save_tiny
from helpers.hub_client import client_of
from helpers.hub_server import READ_ONLY, Server, answer, serving
from helpers.repository import ROOT
from helpers.sweeps import read_records, write_documents

COMMIT = "1588ec454efa1a09f29cd18ddd04fe05fc8653a2"  # as conf/dataset/c4.yaml pins it
SHARD = "en/c4-train.00000-of-01024.json.gz"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[Path, bytes]:
    """A tiny model, and a shard of C4."""
    import gzip

    folder = tmp_path_factory.mktemp("files")
    texts = write_documents(folder / "texts.jsonl").read_bytes()
    return save_tiny("llama", folder / "tiny"), gzip.compress(texts)


@pytest.fixture
def hub(files) -> Iterator[Server]:
    model, shard = files
    with serving() as server:
        server.put("models", "me/tiny", model)
        server.put("datasets", "allenai/c4", {SHARD: shard, "en/other.json.gz": b"x"}, COMMIT)
        yield server


@pytest.fixture
def typed(tiny_world) -> list[str]:
    """A grid of three cells: all that it needs but what is scored is on the hub."""
    own = [word for word in tiny_world if not word.startswith(("model", "dataset"))]
    return ["model=hf", "model.path=me/tiny", "model.device=cpu", "dataset=c4", "seed=0,1", *own]


def spawn(arguments, cwd: Path, environment) -> subprocess.Popen:
    path = os.pathsep.join([str(ROOT), str(ROOT / "launchers")])
    return subprocess.Popen(
        [sys.executable, "-m", "calib_sweep", *arguments],
        cwd=cwd,
        env={**os.environ, "WANDB_MODE": "disabled", "PYTHONPATH": path, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_what_was_prefetched_runs_without_a_network(hub, typed, run_cli, tmp_path):
    home = tmp_path / "home"
    with client_of(hub, home):
        ended = run_cli("prefetch", "-m", *typed, cwd=tmp_path, env=hub.environment(home))
    assert ended.code == 0, ended.err
    assert "all that 3 cells need" in ended.out
    fetched = [asked.path for asked in hub.asked if asked.name == "resolve"]
    assert not [path for path in fetched if "other.json.gz" in path]
    offline = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    ran = spawn(["-m", *typed], tmp_path, offline)
    _, err = ran.communicate(timeout=300)
    assert ran.returncode == 0, err
    records = read_records(tmp_path / "results" / "default")
    assert {r["environment"]["model_commit"] for r in records} == {
        hub.repositories["models", "me/tiny"].refs["main"]
    }


@pytest.mark.slow
def test_commands_that_start_together_with_an_empty_cache_fetch_each_file_once(
    hub, typed, tmp_path
):
    environment = hub.environment(tmp_path / "home")
    running = [spawn(["-m", *typed], tmp_path, environment) for _ in range(2)]
    told = [one.communicate(timeout=300) for one in running]
    assert [one.returncode for one in running] == [0, 0], told
    fetched = [asked.path for asked in hub.asked if asked.name == "cdn"]
    assert len(fetched) == len(set(fetched)) == 2  # the weights and the shard
    assert len(read_records(tmp_path / "results" / "default")) == 3


def test_all_that_is_not_to_be_had_is_told_at_once(hub, typed, run_cli, tmp_path):
    hub.repositories["models", "me/tiny"].is_gated = True
    del hub.repositories["datasets", "allenai/c4"]
    home = tmp_path / "home"
    with client_of(hub, home):
        ended = run_cli("prefetch", "-m", *typed, cwd=tmp_path, env=hub.environment(home))
    assert ended.code == 1
    assert "model.path='me/tiny'" in ended.err and "hf auth login" in ended.err
    assert "Correct dataset.hub_id=allenai/c4" in ended.err
    assert not (tmp_path / "results").exists()


def test_a_prefetch_that_was_refused_goes_on_where_it_was(hub, typed, run_cli, tmp_path):
    home = tmp_path / "home"
    hub.repositories["datasets", "allenai/c4"].is_gated = True
    for token, code in ((None, 1), (READ_ONLY, 0)):
        with client_of(hub, home, token):
            # Told to be offline it leaves out the proof, which is slow; this client is not.
            told = {**hub.environment(home, token), "HF_HUB_OFFLINE": "1"}
            ended = run_cli("prefetch", "-m", *typed, cwd=tmp_path, env=told)
        assert ended.code == code, ended.err
    fetched = [asked.path for asked in hub.asked if asked.name == "cdn"]
    assert len(fetched) == len(set(fetched)) == 2


def test_a_check_without_a_hub_notes_what_it_could_not_see(typed, run_cli, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    with serving() as gone:
        gone.faults["info"] = answer(503)
        with client_of(gone, tmp_path / "home"):
            ended = run_cli("check", "-m", *typed[4:], "model=miniature", cwd=tmp_path)
    assert ended.code == 0, ended.err
