"""Claims: exclusive, released, taken over from the dead, never from the living."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

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

    monkeypatch.setattr(claims.Path, "read_text", stale)
    assert claims._is_dead(tmp_path / "claim.0")


def write_claim_of_another_host(folder, age_s):
    path = folder / "claim.0"
    path.write_text(json.dumps({"host": "elsewhere", "pid": os.getpid(), "started": "0"}))
    then = time.time() - age_s
    os.utime(path, (then, then))


def test_another_hosts_claim_is_respected_while_its_heart_beats(tmp_path):
    write_claim_of_another_host(tmp_path, claims.STALE_S - 30)
    assert claims.try_claim(tmp_path) is None


def test_another_hosts_claim_is_taken_over_after_missed_heartbeats(tmp_path):
    write_claim_of_another_host(tmp_path, claims.STALE_S + 30)
    taken = claims.try_claim(tmp_path)
    assert taken is not None
    taken.release()


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
