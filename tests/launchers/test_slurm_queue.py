"""What is made of SLURM's answers: commands of that name in PATH answer as they are told."""

import pytest
from hydra_plugins.calib_sweep import slurm_queue
from hydra_plugins.calib_sweep.slurm_queue import LOOKS_UNTIL_OVER, UNKNOWN, Queue

INVALID = "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1"
AWAY = "echo 'Unable to contact slurm controller (connect failure)' >&2; exit 1"


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """`slurm(squeue=SCRIPT, scontrol=SCRIPT)` sets what the two commands do."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def answer(**scripts: str) -> None:
        for name, script in scripts.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / name).chmod(0o755)

    return answer


def looks(queue: Queue, num_looks: int, *job_ids: str) -> list[dict[str, str]]:
    return [queue.over(job_ids) for _ in range(num_looks)]


def test_a_job_that_slurm_says_has_ended_is_over_after_several_looks(slurm):
    slurm(squeue="echo 7_1", scontrol="echo JobId=8 JobState=TIMEOUT Reason=TimeLimit")
    *early, last = looks(Queue(), LOOKS_UNTIL_OVER, "7_0", "7_1")
    assert early == [{}] * (LOOKS_UNTIL_OVER - 1)
    assert last == {"7_0": "TIMEOUT"}


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "COMPLETING", "REQUEUE_HOLD"])
def test_a_queue_that_shows_nothing_ends_no_job_that_is_still_there(slurm, state):
    slurm(squeue="exit 0", scontrol=f"echo JobId=8 JobState={state}")
    assert looks(Queue(), 10, "7_0", "7_1") == [{}] * 10


def test_no_answer_at_all_ends_no_job(slurm, monkeypatch, caplog):
    monkeypatch.setattr(slurm_queue, "UNKNOWN_S", 0.0)
    queue = Queue()
    slurm(squeue=AWAY, scontrol=INVALID)
    assert looks(queue, 5, "7_0") == [{}] * 5
    assert caplog.text.count("squeue does not answer") == 1  # said once, not at every look
    slurm(squeue="exit 0", scontrol=AWAY)
    assert looks(queue, 5, "7_0") == [{}] * 5
    slurm(squeue="exit 0", scontrol="exit 0")
    assert looks(queue, 5, "7_0") == [{}] * 5


def test_why_jobs_wait_is_said_once_unless_they_will_start_by_themselves(slurm, caplog):
    lines = ["7_0 PENDING launch failed requeued held", "7_1 PENDING (PartitionConfig)"]
    lines += ["7_2 PENDING Priority", "7_3 RUNNING None", "7_4 PENDING PartitionConfig", "7_5"]
    lines += ["9_0 PENDING JobHeldUser"]  # somebody else's
    slurm(squeue="\n".join(f"echo '{line}'" for line in lines))
    assert looks(Queue(), 3, *(f"7_{index}" for index in range(6))) == [{}] * 3
    said = [message for message in caplog.messages if "wait" in message]
    assert [message.partition(".")[0] for message in said] == [
        "SLURM lets 1 job wait, perhaps for ever: launch failed requeued held",
        "SLURM lets 2 jobs wait, perhaps for ever: PartitionConfig",
    ]


def test_a_command_that_hangs_is_no_answer(slurm, monkeypatch):
    monkeypatch.setattr(slurm_queue, "ANSWER_S", 0.1)
    slurm(squeue="exec sleep 5", scontrol="exec sleep 5")
    assert Queue().over(["7_0"]) == {}


def test_a_job_that_nobody_knows_is_over_only_after_a_while(slurm, monkeypatch):
    slurm(squeue="exit 0", scontrol=INVALID)
    queue = Queue()
    assert looks(queue, 10, "7_0") == [{}] * 10
    monkeypatch.setattr(slurm_queue, "UNKNOWN_S", 0.0)
    assert queue.over(["7_0"]) == {"7_0": UNKNOWN}


def test_a_job_that_is_seen_again_was_never_gone(slurm):
    queue = Queue()
    slurm(squeue="exit 0", scontrol="echo JobState=PREEMPTED")
    looks(queue, LOOKS_UNTIL_OVER - 1, "7_0")
    slurm(squeue="echo 7_0")  # requeued
    assert queue.over(["7_0"]) == {}
    slurm(squeue="exit 0")
    assert looks(queue, LOOKS_UNTIL_OVER, "7_0")[:-1] == [{}] * (LOOKS_UNTIL_OVER - 1)
