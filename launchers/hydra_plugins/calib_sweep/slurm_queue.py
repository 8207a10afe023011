"""Ask SLURM about jobs; no answer is not taken for the end of a job.

A controller that restarts, or is overloaded, answers with an error, after minutes, or with an empty
list, while the jobs run on. So a job is over when squeue has left it out for several looks in a row
and scontrol, asked for this one, says that it ended, or for two minutes that there is no such job.
"""

import logging
import os
import re
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from calib_sweep.results.submitted import waits_for
from calib_sweep.wording import counted

log = logging.getLogger("calib_sweep.launcher")

LOOKS_UNTIL_OVER = 3  # a result in the queue's stead may take a while to be seen: NFS
UNKNOWN_S = 120.0  # that long a job must be unknown; one that ended stays known for minutes
ANSWER_S = 60.0  # how long a command of SLURM's may take

UNKNOWN = "no longer known to SLURM"
# `scontrol show job`; whatever is not among them may still run, or run again.
FINAL_STATES = {
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL"),
    *("OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
}


def ask(*command: str) -> subprocess.CompletedProcess[str] | None:
    """Run one of SLURM's commands; None where it gave no answer in time."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S)
    except subprocess.TimeoutExpired:
        return None


def state_of(job_id: str) -> str | None:
    """Return the state of a job by its own number: `UNKNOWN` without one; None: no answer."""
    answer = ask("scontrol", "show", "job", "--oneliner", job_id)
    if answer is None:
        return None
    if answer.returncode != 0:
        return UNKNOWN if "Invalid job id" in answer.stderr else None
    state = re.search(r"\bJobState=(\w+)", answer.stdout)
    return state[1] if state else None


@dataclass
class _Absence:
    since: float = field(default_factory=time.monotonic)
    num_looks: int = 0
    state: str | None = None

    def is_final(self) -> bool:
        if self.num_looks < LOOKS_UNTIL_OVER:
            return False
        return self.state != UNKNOWN or time.monotonic() - self.since >= UNKNOWN_S


class Queue:
    """The queue as it was seen in several looks."""

    def __init__(self) -> None:
        self._absences: dict[str, _Absence] = {}
        self._is_silent = False
        self._told: set[str] = set()  # why jobs wait

    def over(self, job_ids: Iterable[str]) -> dict[str, str]:
        """Look once more: those of the jobs that are over for certain, with their states."""
        queued, job_ids = self._queued(), list(job_ids)
        if queued is None:
            return {}
        self._tell_why({job_id: queued[job_id] for job_id in job_ids if job_id in queued})
        over = {}
        for job_id in job_ids:
            if job_id in queued:
                self._absences.pop(job_id, None)
                continue
            absence = self._absences.setdefault(job_id, _Absence())
            if absence.state not in FINAL_STATES:
                absence.state = state_of(job_id)
            if absence.state not in (*FINAL_STATES, UNKNOWN):
                # It is there, or nobody can tell: what squeue left out proves nothing this time.
                del self._absences[job_id]
                return over
            absence.num_looks += 1
            if absence.is_final():
                over[job_id] = str(absence.state)
        return over

    def _tell_why(self, queued: Mapping[str, str | None]) -> None:
        """Say once of each reason why jobs wait that may never start."""
        for job_id, why in queued.items():
            if why is not None and why not in self._told:
                self._told.add(why)
                number = counted([*queued.values()].count(why), "job")
                told = "SLURM lets %s wait, perhaps for ever: %s. More of it: scontrol show job %s"
                log.warning(told, number, why, job_id)

    def _queued(self) -> dict[str, str | None] | None:
        """Return this user's queued jobs, and why they wait, if they may do so for ever.

        By id (array tasks: ARRAY_INDEX). None: no answer.
        """
        form = "--format=%i %T %r"
        answer = ask("squeue", "--noheader", "--array", form, f"--user={os.getuid()}")
        is_silent = answer is None or answer.returncode != 0
        if is_silent and not self._is_silent:
            said = "it took too long" if answer is None else answer.stderr.strip()
            log.warning("squeue does not answer (%s); asking until it does", said)
        self._is_silent = is_silent
        if answer is None or is_silent:
            return None
        lines = [line.split(maxsplit=2) for line in answer.stdout.splitlines()]
        return {line[0]: waits_for(*line[1:]) if line[2:] else None for line in lines if line}
