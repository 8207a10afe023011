"""A SLURM job that is told to end: whether it goes back into the queue, to go on from there.

    out of time       yes, if it has got on since it was started, `max_num_timeout` times at most
    preempted         yes, as long as its grace time runs; when that is over SLURM does so itself
    cancelled         no, nor for any other signal

It keeps its number in the queue, so whoever waits for it waits on. SLURM starts it two minutes
later at the earliest.
"""

import logging
import os
import re
import time
from pathlib import Path

from hydra_plugins.calib_sweep.slurm_queue import ask

from calib_sweep import atomic

log = logging.getLogger("calib_sweep.launcher")

ASKING_S, PAUSE_S = 60.0, 5.0

TOLD = "told to end by %s: the cell that ran here can be taken by others"


def end(signal_name: str, *, is_out_of_time: bool, got_on: bool, most: int, count: Path) -> None:
    """Say what comes next for this job, which was told to end, and see to it.

    `count`: the file with the number of times that this job was out of time.
    """
    log.warning(TOLD, signal_name)
    if os.environ.get("SLURM_PROCID", "0") != "0":
        return  # the first task of a job speaks for all
    job_id = os.environ["SLURM_JOB_ID"]
    if is_out_of_time:
        if not got_on:
            log.warning("not put back into the queue: nothing was kept of what it did in its time")
            return
        number = int(count.read_text()) + 1 if count.is_file() else 1
        if number > most:
            log.warning("not put back into the queue: it was out of time %d times before", most)
            return
        atomic.write(count, str(number))
    elif not is_preempted(job_id):
        return
    if (problem := requeue(job_id)) is None:
        log.info("back in the queue: it goes on from there")
    else:
        log.warning("SLURM did not put this job back into the queue: %s", problem)


def requeue(job_id: str) -> str | None:
    """Put the job back into the queue; return why that failed, if it did.

    A controller that restarts is asked again, as long as the job may still have some time.
    """
    deadline = time.monotonic() + ASKING_S
    while True:
        answer = ask("scontrol", "requeue", job_id)
        if answer is not None and answer.returncode == 0:
            return None
        if time.monotonic() > deadline:
            return "no answer" if answer is None else answer.stderr.strip()
        time.sleep(PAUSE_S)


def is_preempted(job_id: str) -> bool:
    """Tell whether SLURM has told this job to make room, and it has not ended yet."""
    answer = ask("scontrol", "show", "job", "--oneliner", job_id)
    if answer is None or answer.returncode != 0:
        return False
    told = dict(re.findall(r"\b(JobState|PreemptTime)=(\S+)", answer.stdout))
    return told.get("JobState") == "RUNNING" and told.get("PreemptTime", "None") != "None"
