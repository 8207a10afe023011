"""The worker processes of hydra/launcher=accelerate: started, watched, replaced, stopped.

A worker that comes back has seen every cell settled. One that is killed or crashes left a claim,
which any other takes over, and another process is put in its place.

A worker is told its task, and tells its outcome, through open files without a name: in the sweep's
folder, which others may write to, there are only logs.
"""

import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from hydra.core.utils import JobReturn, JobStatus
from hydra_plugins.calib_sweep import outcome
from hydra_plugins.calib_sweep.ranks_of import ranks_of

from calib_sweep.errors import WorkerLostError
from calib_sweep.interruption import GRACE_S
from calib_sweep.processes import describe_exit
from calib_sweep.results.cell_log import open_log

log = logging.getLogger("calib_sweep.launcher")

POLL_S = 0.1
TIME_STAMP = re.compile(r"\[\d\d:\d\d:\d\d\] ")  # as calib_sweep.sweep.progress writes it
WORKER = "hydra_plugins.calib_sweep.accelerate_worker"


@dataclass
class _Process:
    log: Path
    result: IO[bytes]
    process: subprocess.Popen[bytes]
    num_read: int = 0  # bytes of the log

    def news(self) -> list[str]:
        """Return what the worker's logger wrote since the last call, without time stamps."""
        with self.log.open("rb") as file:
            file.seek(self.num_read)
            whole_lines = file.read().rpartition(b"\n")[0]
        self.num_read += len(whole_lines) + bool(whole_lines)
        lines = whole_lines.decode(errors="replace").splitlines()
        return [line[stamp.end() :] for line in lines if (stamp := TIME_STAMP.match(line))]

    def outcome(self) -> JobReturn | None:
        """Return how the job ended, once the process has; None when it was killed or crashed."""
        with self.result as file:
            file.seek(0)
            text = file.read() if self.process.returncode in (0, 1) else b""
        return outcome.from_text(text, ()) if text else None

    def signal(self, number: int) -> None:
        """Send its group a signal, unless it has ended."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)


@dataclass
class _Member:
    """A worker: one process, or the ranks that run its cells together."""

    number: int
    environment: Mapping[str, str]
    ranks: list[_Process]
    meeting: object  # the place where the ranks meet, as long as it is kept
    first_ended: int | None = None  # the rank that was the first to end
    ended_at: float = 0.0

    @property
    def log(self) -> Path:
        """The log of the rank that ended first; at first that of the one which works."""
        return self.ranks[self.first_ended or 0].log

    def is_over(self, patience_s: float) -> bool:
        """Tell whether all ranks have ended. When one has, the others have so long to do so."""
        ended = [n for n, rank in enumerate(self.ranks) if rank.process.poll() is not None]
        if ended and self.first_ended is None:
            self.first_ended, self.ended_at = ended[0], time.monotonic()
        if ended and len(ended) < len(self.ranks):
            late_s = time.monotonic() - self.ended_at - patience_s
            if late_s > 0:
                for rank in self.ranks:
                    rank.signal(signal.SIGTERM if late_s < GRACE_S else signal.SIGKILL)
        return len(ended) == len(self.ranks)

    def ending(self) -> str:
        """Say how the process that ended first did."""
        first = self.first_ended or 0
        how = describe_exit(self.ranks[first].process.returncode)
        return how if len(self.ranks) == 1 else f"rank {first} {how}"


@dataclass
class Supervisor:
    """The worker processes of one job. `task`: pickled; `stem`: where their logs go.

    num_ranks: processes that make one worker. patience_s: after one of them has ended, the others
    have so long to notice.
    """

    task: bytes
    stem: Path
    max_restarts: int
    num_ranks: int = 1
    patience_s: float = 0.0
    num_started: int = 0
    num_restarts: int = 0
    running: list[_Member] = field(default_factory=list)
    outcomes: list[JobReturn] = field(default_factory=list)  # of the workers that came back
    last_death: str = ""

    def work(self, environments: Sequence[Mapping[str, str]]) -> list[JobReturn]:
        """Start a worker in each environment and wait for all: how those ended that came back."""
        for environment in environments:
            self._start(environment)
        while self.running:
            time.sleep(POLL_S)
            ended = [member for member in self.running if member.is_over(self.patience_s)]
            for member in self.running:
                for line in member.ranks[0].news():
                    log.info("worker %d: %s", member.number, line)
            for member in ended:
                self.running.remove(member)
                self._settle(member)
        return self.outcomes

    def loss(self) -> WorkerLostError:
        """Say why nobody came back."""
        return WorkerLostError(f"every worker died. {self.last_death}")

    def stop(self) -> None:
        """End the workers that still run, with all they started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + GRACE_S
            for process in self._alive():
                process.signal(number)
            while self._alive() and time.monotonic() < deadline:
                time.sleep(POLL_S)

    def _alive(self) -> list[_Process]:
        started = [process for member in self.running for process in member.ranks]
        return [one for one in started if one.process.poll() is None]

    def _start(self, environment: Mapping[str, str]) -> None:
        number, meeting = self.num_started, None
        self.num_started += 1
        environments = [dict(environment)]
        if self.num_ranks > 1:
            meeting, environments = ranks_of(environment, self.num_ranks)
        member = _Member(number, environment, [], meeting)
        self.running.append(member)  # now: who stops us meanwhile stops those that have begun
        for rank, own in enumerate(environments):
            name = f"{number}.log" if not rank else f"{number}.rank{rank}.log"
            member.ranks.append(self._start_one(own, name))

    def _start_one(self, environment: Mapping[str, str], name: str) -> _Process:
        log_path = self.stem.with_name(f"{self.stem.name}.{name}")
        result = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it is read
        with tempfile.TemporaryFile() as task, open_log(log_path) as log_file:
            task.write(self.task)
            task.seek(0)
            files = (task.fileno(), result.fileno())
            process = subprocess.Popen(
                [sys.executable, "-m", WORKER, *map(str, files)],
                env=dict(environment),
                stdin=subprocess.PIPE,  # closes when we die, however we die: see die_with_parent
                stdout=log_file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=files,
            )
        return _Process(log_path, result, process)

    def _settle(self, member: _Member) -> None:
        """Take the outcome of a worker that has ended, or put another in its place."""
        for rank in member.ranks:
            assert rank.process.stdin is not None
            rank.process.stdin.close()
        if (job := member.ranks[0].outcome()) is not None:
            self.outcomes.append(job)
            if job.status == JobStatus.FAILED:
                log.error("worker %d ended with an error. Its log: %s", member.number, member.log)
            return
        self.last_death = (
            f"Worker {member.number}: {member.ending()}. End of {member.log}:\n" + tail(member.log)
        )
        if any(job.status == JobStatus.COMPLETED for job in self.outcomes):
            log.warning(
                "worker %d: %s; no cell is left for another", member.number, member.ending()
            )
        elif self.num_restarts < self.max_restarts:
            self.num_restarts += 1
            log.warning(
                "worker %d: %s; worker %d replaces it (%d of at most %d). Its log: %s",
                *(member.number, member.ending(), self.num_started),
                *(self.num_restarts, self.max_restarts, member.log),
            )
            self._start(member.environment)
        else:
            log.error(
                "worker %d: %s; not replaced, as %d were already. Its log: %s",
                *(member.number, member.ending(), self.num_restarts, member.log),
            )


def tail(path: Path, num_lines: int = 15) -> str:
    """Return the last lines of a log."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-num_lines:])
    except FileNotFoundError:
        return "(no log)"
