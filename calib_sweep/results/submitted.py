"""The jobs that commands have submitted to SLURM for a sweep, kept in its folder.

One file for each submission, so that several commands need not know of each other. Whoever looks
after the sweep asks SLURM for these jobs (`status`).
"""

import json
import logging
import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from calib_sweep import atomic, valid_json
from calib_sweep.places import JOBS
from calib_sweep.results.record import utc_now

log = logging.getLogger(__name__)

ANSWER_S = 60.0  # how long squeue may take
# Why jobs wait that will start by themselves. Another reason may need a person: held, a limit, more
# than any node has.
PASSING = (
    *("None", "Priority", "Resources", "Dependency", "BeginTime", "JobArrayTaskLimit"),
    *("Cleaning", "Prolog"),
)


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """Job arrays that were submitted together."""

    ids: Sequence[str]  # of arrays
    num_jobs: int
    host: str
    at: str  # UTC


def keep(folder: Path, ids: Sequence[str], num_jobs: int) -> None:
    """Keep in the sweep's `folder` that these arrays were submitted."""
    told = Submitted(ids=ids, num_jobs=num_jobs, host=socket.gethostname(), at=utc_now())
    text = valid_json.dumps(asdict(told)) + "\n"
    atomic.write(folder / JOBS.replace("*", f"{socket.gethostname()}-{ids[0]}"), text)


def kept(folder: Path) -> list[Submitted]:
    """Return what was submitted for the sweep in `folder`, the oldest first."""
    found: list[Submitted] = []
    for path in folder.glob(JOBS):
        try:
            found.append(Submitted(**json.loads(path.read_bytes())))
        except (ValueError, TypeError, OSError) as error:
            log.warning("left out: %s says of no jobs (%s)", path, error)
    return sorted(found, key=lambda one: one.at)


def in_queue(all_submitted: Sequence[Submitted]) -> Mapping[str, int] | None:
    """Return how many of these jobs are in each state of the queue; None: SLURM does not say.

    A state may be followed by why a job waits, where it may not start by itself.
    """
    ids = [one for submitted in all_submitted for one in submitted.ids]
    if shutil.which("squeue") is None:
        return None
    command = ["squeue", "--noheader", "--array", "--format=%F %T %r"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S)
    except subprocess.TimeoutExpired:
        return None
    if answer.returncode != 0:
        return None
    found: Counter[str] = Counter()
    for array, state, *words in map(str.split, answer.stdout.splitlines()):
        if array in ids:
            why = waits_for(state, " ".join(words))
            found[state.lower() + (f" ({why})" if why else "")] += 1
    return found


def waits_for(state: str, reason: str) -> str | None:
    """Return why a job waits, as squeue says it; None where it runs, or will start by itself."""
    reason = reason.strip("()")
    return reason if state == "PENDING" and reason and reason not in PASSING else None
