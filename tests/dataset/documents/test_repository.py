"""Repositories through the hub's own client, from a hub on the loopback device, with faults."""

import errno
import gzip
import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.hub_client import client_of
from helpers.hub_server import (
    READ_ONLY,
    Server,
    answer,
    cut,
    first,
    hang,
    only,
    reset,
    serving,
    sha256,
)
from huggingface_hub import constants

from calib_sweep.dataset.documents.repository import Repository
from calib_sweep.errors import FETCH, ConfigError, UnavailableError

NAME = "me/texts"
LARGE = gzip.compress(np.random.default_rng(0).bytes(40_000))
SHARDS = {f"en/part-{i:05d}-of-00003.json.gz": LARGE + bytes([i]) for i in range(3)}
FILES = {**SHARDS, "small.jsonl": b'{"text": "a"}\n', "loader.py": b"raise SystemExit"}


@pytest.fixture
def hub() -> Iterator[Server]:
    with serving() as server:
        server.put("datasets", NAME, FILES)
        yield server


@pytest.fixture
def client(hub: Server, tmp_path: Path) -> Iterator[None]:
    with client_of(hub, tmp_path):
        yield


def repository(**changed) -> Repository:
    chosen = {"label": "mine", "hub_id": NAME, "revision": None, "data_files": ["en/*.json.gz"]}
    return Repository(**{**chosen, **changed})


def fetched(hub: Server, name: str = "cdn") -> list[str]:
    return [asked.path.rpartition("/")[2] for asked in hub.asked if asked.name == name]


def test_only_the_named_files_arrive_and_a_second_look_asks_nothing(hub, client):
    wanted = repository(data_files=["en/*.json.gz", "small.jsonl"])
    root = wanted.root()
    found = {file.relative_to(root).as_posix(): file.read_bytes() for file in wanted.files(root)}
    assert found == {**SHARDS, "small.jsonl": FILES["small.jsonl"]}
    assert (
        not (root / "loader.py").exists()
        and root.name in hub.repositories["datasets", NAME].commits
    )
    hub.asked.clear()
    assert wanted.root() == root and not hub.asked


def test_a_connection_that_breaks_inside_a_file_goes_on_from_there(hub, client, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    hub.faults["cdn"] = first(1, cut(10_000))
    wanted = repository(data_files=["en/part-00001-of-00003.json.gz"])
    root = wanted.root()
    assert wanted.files(root)[0].read_bytes() == SHARDS["en/part-00001-of-00003.json.gz"]
    ranges = [asked.range for asked in hub.asked if asked.name == "cdn"]
    assert ranges[0] is None and ranges[1] == "bytes=10000-"


def test_what_arrived_before_a_fault_is_not_fetched_again(hub, client, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    repository(data_files=["en/part-00000-of-00003.json.gz"]).root()
    hub.faults["cdn"] = answer(403)
    with pytest.raises(ConfigError, match="the hub does not serve it"):
        repository().root()
    hub.faults.clear()
    hub.asked.clear()
    root = repository().root()
    assert len(repository().files(root)) == 3 and len(fetched(hub)) == 2


def test_what_an_older_client_left_incomplete_is_completed(hub, tmp_path):
    """Without a listing of the commit, no client can tell that its cache lacks a file."""
    with client_of(hub, tmp_path / "old"):
        repository(data_files=["en/part-00000-of-00003.json.gz"]).root()
    shutil.rmtree(tmp_path / "old" / "hub" / "datasets--me--texts" / "trees")
    (tmp_path / "old").rename(tmp_path / "new")  # this process remembers the listing by its place
    with client_of(hub, tmp_path / "new"):
        root = repository().root()
        assert len(repository().files(root)) == 3


def test_an_interrupted_download_is_not_a_smaller_pool_offline(hub, client, monkeypatch, caplog):
    caplog.set_level("INFO", logger="calib_sweep")
    repository(data_files=["en/part-00000-of-00003.json.gz"]).root()
    assert caplog.messages == ["fetching en/part-00000-of-00003.json.gz of me/texts"]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UnavailableError, match="expected me/texts in the local cache"):
        repository().root()
    with pytest.raises(UnavailableError, match="expected me/texts in the local cache"):
        repository(data_files=["en/part-*.json.gz", "small.jsonl"]).root()
    assert len(caplog.messages) == 1  # nothing is said to be fetched where nothing can be


def test_a_full_disk_is_told_with_its_place(hub, client, monkeypatch, tmp_path):
    def write(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.file_download.http_get", write)
        with pytest.raises(ConfigError, match=rf"the disk of {tmp_path}/hub is full.*HF_HOME"):
            repository().root()
    assert len(repository().files(repository().root())) == 3


def test_a_branch_that_moved_changes_nothing_here_and_a_commit_stays_what_it_was(hub, client):
    old = repository().root()
    moved = hub.put("datasets", NAME, {path: b"other" for path in FILES})
    assert repository().root() == old  # the cache says what was fetched first
    assert repository(revision=old.name).root() == old
    new = repository(revision=moved).root()
    assert (new / "en/part-00000-of-00003.json.gz").read_bytes() == b"other"


def test_a_pinned_commit_that_is_gone_is_an_error_that_names_it(hub, client):
    with pytest.raises(ConfigError) as caught:
        repository(revision="f" * 40).root()
    assert not isinstance(caught.value, UnavailableError)
    assert f"It has no revision {'f' * 40}: see {hub.url}/datasets/me/texts/commits" in str(
        caught.value
    )


def test_a_gated_repository_names_its_page_and_opens_to_who_is_logged_in(hub, tmp_path):
    hub.repositories["datasets", NAME].is_gated = True
    with client_of(hub, tmp_path), pytest.raises(ConfigError) as caught:
        repository().root()
    assert f"accept its terms at {hub.url}/datasets/me/texts, then type hf auth" in str(
        caught.value
    )
    with client_of(hub, tmp_path, token=READ_ONLY):
        assert len(repository().files(repository().root())) == 3


def test_who_is_logged_in_but_was_not_let_in_is_sent_to_the_page(hub, tmp_path):
    hub.faults["resolve"] = answer(403, {"X-Error-Code": "GatedRepo"})
    with client_of(hub, tmp_path, READ_ONLY), pytest.raises(ConfigError) as caught:
        repository().root()
    assert f"(GatedRepoError, 403). It asks who reads it: accept its terms at {hub.url}" in str(
        caught.value
    )


@pytest.mark.parametrize("token", [None, READ_ONLY])
def test_a_missing_or_private_repository_is_an_error(hub, tmp_path, token):
    with client_of(hub, tmp_path, token), pytest.raises(ConfigError) as caught:
        repository(hub_id="me/gone").root()
    assert not isinstance(caught.value, UnavailableError)
    assert "Correct dataset.hub_id=me/gone; where it is right, the repository is private" in str(
        caught.value
    )


@pytest.mark.parametrize("fault", [answer(503), answer(500), answer(429), reset])
def test_a_hub_that_cannot_answer_now_is_a_note_in_a_check(hub, client, fault):
    hub.faults["info"] = fault
    with pytest.raises(UnavailableError) as caught:
        repository().root()
    assert FETCH in str(caught.value) and len(hub.asked) < 4


@pytest.mark.parametrize("fault", [answer(503), reset])
def test_a_file_that_is_dropped_for_a_moment_arrives(hub, client, monkeypatch, fault):
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.faults["cdn"] = first(2, fault)
    assert [file.read_bytes() for file in repository().files(repository().root())] == [
        SHARDS[name] for name in sorted(SHARDS)
    ]


def test_a_file_that_no_pattern_finds_is_told(hub, client):
    with pytest.raises(ConfigError, match=r"data_files='de/\*\.json\.gz'.*me/texts"):
        wanted = repository(data_files=["de/*.json.gz"])
        wanted.files(wanted.root())


def arrive(gate, answers) -> None:
    gate.wait(20)
    root = repository().root()
    answers.put([len(file.read_bytes()) for file in repository().files(root)])


def test_workers_that_start_together_fetch_each_file_once(hub, client):
    fork = multiprocessing.get_context("fork")
    gate, answers = fork.Barrier(3), fork.Queue()
    workers = [fork.Process(target=arrive, args=(gate, answers)) for _ in range(3)]
    for worker in workers:
        worker.start()
    told = [answers.get(timeout=30) for _ in workers]
    for worker in workers:
        worker.join(10)
    assert told == [[len(LARGE) + 1] * 3] * 3
    assert sorted(fetched(hub)) == sorted(set(fetched(hub))) and len(fetched(hub)) == 3


def arrived(blobs: Path) -> int:
    """Files that are there whole."""
    return sum(path.suffix == "" for path in blobs.glob("*"))


def test_a_download_that_was_killed_goes_on_without_its_lock(hub, client):
    fork = multiprocessing.get_context("fork")
    names = sorted(SHARDS)
    hub.faults["cdn"] = only(sha256(SHARDS[names[2]]), hang)
    killed = fork.Process(target=repository().root)
    killed.start()
    deadline = time.monotonic() + 30
    blobs = Path(constants.HF_HUB_CACHE) / "datasets--me--texts" / "blobs"
    while hub.names().count("cdn") < 3 or arrived(blobs) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    killed.kill()
    killed.join(10)
    hub.faults.clear()
    hub.asked.clear()
    root = repository().root()
    assert [file.read_bytes() for file in repository().files(root)] == [SHARDS[n] for n in names]
    assert fetched(hub) == [sha256(SHARDS[names[2]])]


def test_what_datasets_loads_by_name_is_what_the_hub_has(hub, client):
    import datasets

    rows = "".join(json.dumps({"text": str(i)}) + "\n" for i in range(3))
    hub.put("datasets", "me/rows", {"data/train.jsonl": rows.encode(), "README.md": b"# rows\n"})
    assert datasets.load_dataset("me/rows", split="train")["text"] == ["0", "1", "2"]
