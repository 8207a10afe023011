"""Claims: exclusive, released, taken over from the dead, never from the living."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from calib_sweep.results import claim as claims

HOLD = """
import sys, time
from pathlib import Path
from calib_sweep.results.claim import try_claim
held = try_claim(Path(sys.argv[1]))
print("held" if held else "refused", flush=True)
time.sleep(60)
"""


def start_holder(folder):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline().strip() == "held"
    return process


def test_a_claim_is_exclusive_and_can_be_given_back(tmp_path):
    first = claims.try_claim(tmp_path)
    assert claims.try_claim(tmp_path) is None
    first.release()
    assert list(tmp_path.iterdir()) == []
    second = claims.try_claim(tmp_path)
    assert second is not None
    second.release()


def test_of_many_at_once_exactly_one_gets_the_claim(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        got = [c for c in pool.map(lambda _: claims.try_claim(tmp_path), range(64)) if c]
    assert len(got) == 1
    got[0].release()


def test_a_living_process_keeps_its_claim_and_a_killed_one_loses_it_at_once(tmp_path):
    process = start_holder(tmp_path)
    try:
        assert claims.try_claim(tmp_path) is None
        assert f"process {process.pid}" in claims.holder_of(tmp_path)
        os.kill(process.pid, signal.SIGKILL)
        # Not waited for: a zombie is dead too.
        time.sleep(0.3)
        taken = claims.try_claim(tmp_path)
        assert taken is not None
        taken.release()
        assert list(tmp_path.iterdir()) == []
    finally:
        process.kill()
        process.wait()


def test_of_many_who_see_a_dead_claim_exactly_one_takes_it_over(tmp_path):
    process = start_holder(tmp_path)
    process.kill()
    process.wait()
    with ThreadPoolExecutor(16) as pool:
        got = [c for c in pool.map(lambda _: claims.try_claim(tmp_path), range(64)) if c]
    assert len(got) == 1
    got[0].release()


def test_who_looked_too_early_does_not_share_a_cell(tmp_path, monkeypatch):
    """A gives claim.0 back; B, who still saw it, makes claim.1; C, who saw none, claim.0."""
    look = claims._numbers

    def first_sees(*numbers):
        looks = [list(numbers)]
        monkeypatch.setattr(
            claims, "_numbers", lambda folder: looks.pop() if looks else look(folder)
        )

    first_sees(0)
    of_b = claims.try_claim(tmp_path)
    assert of_b.number == 1
    first_sees()
    assert claims.try_claim(tmp_path) is None
    assert [path.name for path in tmp_path.iterdir()] == ["claim.1"]
    of_b.release()
    assert list(tmp_path.iterdir()) == []


def test_a_claim_that_nfs_calls_stale_is_gone(tmp_path, monkeypatch):
    write_claim_of_another_host(tmp_path, age_s=0)

    def stale(*_):
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(claims.Path, "read_bytes", stale)
    assert claims.Watch().is_dead(tmp_path / "claim.0")


def write_claim_of_another_host(folder, age_s):
    path = folder / "claim.0"
    path.write_text(json.dumps({"host": "elsewhere", "pid": os.getpid(), "started": "0"}))
    then = time.time() - age_s
    os.utime(path, (then, then))
    return path


def test_another_hosts_claim_is_respected_while_its_heart_beats(tmp_path):
    write_claim_of_another_host(tmp_path, claims.STALE_S - 30)
    assert claims.try_claim(tmp_path) is None


def test_another_hosts_claim_is_taken_over_after_missed_heartbeats(tmp_path):
    write_claim_of_another_host(tmp_path, claims.STALE_S + 30)
    taken = claims.try_claim(tmp_path)
    assert taken is not None
    taken.release()


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self):
        return self.now


def test_a_heartbeat_in_the_future_is_watched_not_believed(tmp_path):
    """The clock of a file server was set back, or the host that died had it wrong."""
    write_claim_of_another_host(tmp_path, age_s=-3600)
    watch = claims.Watch(clock := Clock())
    assert claims.try_claim(tmp_path, watch) is None
    clock.now = claims.STALE_S
    assert claims.try_claim(tmp_path, watch) is None
    clock.now += 1
    taken = claims.try_claim(tmp_path, watch)
    assert taken is not None
    taken.release()
    assert list(tmp_path.iterdir()) == []


def test_a_heart_that_beats_in_the_future_is_alive(tmp_path):
    watch = claims.Watch(clock := Clock())
    for beat in range(20):
        path = write_claim_of_another_host(tmp_path, age_s=-3600 - beat)
        assert claims.try_claim(tmp_path, watch) is None
        assert watch.shows_life(path) == (beat > 0)
        clock.now += claims.STALE_S - 1


NO_CLAIMS = {
    "empty": b"",
    "garbled": b"\xff\x00{",
    "half": b'{"host": "elsewhere", "pi',
    "a list": b"[1, 2]",
    "wrong types": b'{"host": 7, "pid": "x", "started": []}',
    "no process id": b'{"host": "elsewhere", "pid": -1, "started": "0"}',
    "too deep": b"[" * 100_000,
}


@pytest.mark.parametrize("content", NO_CLAIMS.values(), ids=NO_CLAIMS)
def test_what_is_no_claim_is_nobodys(tmp_path, content):
    (tmp_path / "claim.0").write_bytes(content)
    assert claims.holder_of(tmp_path) is None
    taken = claims.try_claim(tmp_path)
    assert taken.number == 1
    taken.release()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_place_of_a_claim_is_nobodys_and_stays(tmp_path):
    (tmp_path / "claim.4").mkdir()
    for _ in range(2):
        taken = claims.try_claim(tmp_path)
        assert taken.number == 5
        taken.release()
    assert [path.name for path in tmp_path.iterdir()] == ["claim.4"]


def test_a_claim_that_may_not_be_read_is_judged_by_its_heartbeat(tmp_path, monkeypatch):
    write_claim_of_another_host(tmp_path, age_s=0)

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    watch = claims.Watch(clock := Clock())
    with monkeypatch.context() as patch:
        patch.setattr(claims.Path, "read_bytes", refuse)
        assert claims.try_claim(tmp_path, watch) is None
        assert claims.holder_of(tmp_path) is None
        clock.now = claims.STALE_S + 1
        taken = claims.try_claim(tmp_path, watch)
    assert taken is not None
    taken.release()


def test_who_lost_its_folder_does_not_give_back_the_claim_of_another(tmp_path):
    folder = tmp_path / "cell"
    lost = claims.try_claim(folder)
    shutil.rmtree(folder)
    folder.mkdir()
    other = write_claim_of_another_host(folder, age_s=0)
    lost.release()
    assert other.exists()
    shutil.rmtree(tmp_path / "cell")
    lost.release()


def test_a_folder_that_nfs_calls_stale_ends_no_worker_whose_claim_it_held(tmp_path, monkeypatch):
    held = claims.try_claim(tmp_path)

    def stale(_path):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(claims, "_read_holder", stale)
    held.release()


def test_a_reused_process_id_is_not_the_holder(tmp_path):
    holder = {"host": claims.host_identity(), "pid": os.getpid(), "started": "1"}
    (tmp_path / "claim.0").write_text(json.dumps(holder))
    taken = claims.try_claim(tmp_path)
    assert taken is not None
    taken.release()


def test_the_heart_beats(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "HEARTBEAT_S", 0.05)
    with claims.try_claim(tmp_path) as held:
        os.utime(held.path, (0, 0))
        time.sleep(0.3)
        assert held.path.stat().st_mtime > 0


@pytest.mark.parametrize("step", ["_numbers", "partial_name"])
def test_a_folder_that_is_deleted_between_two_steps_is_claimed_when_tried_again(
    tmp_path, monkeypatch, step
):
    folder, original = tmp_path / "place", getattr(claims, step)

    def meanwhile(path):
        monkeypatch.setattr(claims, step, original)
        folder.rmdir()
        return original(path)

    monkeypatch.setattr(claims, step, meanwhile)
    assert claims.try_claim(folder) is None
    claim = claims.try_claim(folder)
    assert claim is not None
    claim.release()


def test_a_file_in_the_place_of_a_folder_is_no_reason_to_try_again(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        claims.try_claim(tmp_path / "file")
