"""The verb `status`: how the cells of a sweep get on, from any machine that sees its folder."""

import logging
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from calib_sweep.analysis.formatting import duration
from calib_sweep.arguments import folder_and_settings, near_sweeps
from calib_sweep.console import configure_logging, output
from calib_sweep.errors import ConfigError
from calib_sweep.places import INDEX, LOG, REPORT
from calib_sweep.results import submitted
from calib_sweep.results.store import Store
from calib_sweep.results.submitted import Submitted
from calib_sweep.sweep.eta import Estimate, Kind, time_left
from calib_sweep.sweep.standing import (
    DONE,
    FAILED,
    LOST,
    OPEN,
    RUNNING,
    STATES,
    Standing,
    standings,
)
from calib_sweep.sweep.tally import seconds_of
from calib_sweep.wording import counted

log = logging.getLogger(__name__)

ALL_DONE, NOT_ALL = 0, 3
MAX_NAMED = 20  # cells in each list
MAX_MESSAGE = 200  # characters of an error


def main(arguments: Sequence[str]) -> int:
    """Print how the sweep in the folder named gets on; return 0 when all its cells are done."""
    configure_logging()
    folder, typed = folder_and_settings("status", arguments)
    if typed:
        raise ConfigError(f"status {' '.join(typed)}: expected a folder alone. See status --help.")
    store = Store(folder.resolve().parent, folder.resolve().name)
    flaws: list[str] = []
    found = standings(store, flaws) if folder.is_dir() else []
    for flaw in flaws:
        log.error("left out: %s", flaw)
    if not found:
        raise ConfigError(
            f"status {str(folder)!r}: expected the folder of a sweep. Example: python -m "
            f"calib_sweep status results/NAME.{near_sweeps(folder)}"
        )
    jobs = submitted.kept(folder)
    output("\n".join(describe(folder, found, jobs, submitted.in_queue(jobs))))
    return ALL_DONE if not flaws and all(one.state == DONE for one in found) else NOT_ALL


def describe(
    folder: Path,
    found: Sequence[Standing],
    jobs: Sequence[Submitted],
    queued: Mapping[str, int] | None,
) -> Iterator[str]:
    """Say it in lines: numbers, the time that is left, jobs, and the cells that need a look.

    `queued`: how many of `jobs` SLURM has in each state; None where it does not say.
    """
    counts = Counter(one.state for one in found)
    told = ", ".join(f"{counts[state]:,} {state}" for state in STATES if counts[state])
    yield f"sweep {folder.resolve().name}: {counted(len(found), 'cell')}: {told}"
    is_open = any(counts[state] for state in (RUNNING, LOST, OPEN))
    if is_open and (estimate := time_left_of(found)) is not None:
        yield estimate.words()
    if is_open and jobs:
        yield describe_jobs(jobs, queued)
    yield from _named(found, RUNNING, _running)
    yield from _named(found, LOST, _lost)
    yield from _named(found, FAILED, _failed)
    if is_open and not counts[RUNNING] and not queued:
        more = f"python -m calib_sweep work {shlex.quote(str(folder))}"
        yield f"nobody works on it, as far as can be seen from here: {more}"
    report = folder / REPORT / INDEX
    if report.is_file() or not is_open:
        write = f"not written. Type python -m calib_sweep report {shlex.quote(str(folder))}"
        yield f"report: {report if report.is_file() else write}"


def time_left_of(found: Sequence[Standing]) -> Estimate | None:
    """Estimate what is left by the cells that are done; None before the first one is."""
    done: dict[Kind, list[float]] = {}
    for one in found:
        if one.state == DONE and one.record is not None and (took := seconds_of(one.record)) > 0:
            done.setdefault(one.kind, []).append(took)
    running = [(one.kind, one.since_s or 0.0) for one in found if one.state == RUNNING]
    waiting = [one.kind for one in found if one.state in (LOST, OPEN)]
    return time_left(waiting, running, done) if done else None


def describe_jobs(jobs: Sequence[Submitted], queued: Mapping[str, int] | None) -> str:
    """Say how many of the jobs that were submitted are in which state."""
    number = counted(sum(one.num_jobs for one in jobs), "SLURM job")
    hosts = " and ".join(sorted({one.host for one in jobs}))
    if queued is None:
        return f"{number} submitted on {hosts}; SLURM does not say here how they are"
    states = ", ".join(f"{num:,} {state}" for state, num in sorted(queued.items()))
    return f"{number} submitted on {hosts}: {states or 'none in the queue any more'}"


def _named(found: Sequence[Standing], state: str, told: Callable[[Standing], str]) -> Iterator[str]:
    own = [one for one in found if one.state == state]
    yield from (f"{state}: {told(one)}" for one in own[:MAX_NAMED])
    if len(own) > MAX_NAMED:
        yield f"{state}: {len(own) - MAX_NAMED:,} more"


def _running(one: Standing) -> str:
    since = "" if one.since_s is None else f", for {duration(one.since_s)}"
    return f"{one.title}{since}, by {one.by or 'another worker'}"


def _lost(one: Standing) -> str:
    return f"{one.title}: {one.by or 'who claimed it'} is gone; the next worker takes it over"


def _failed(one: Standing) -> str:
    error = (one.record or {}).get("error") or {}
    message = " ".join(str(error.get("message") or "").split())
    if len(message) > MAX_MESSAGE:
        message = f"{message[:MAX_MESSAGE]} ..."
    return f"{one.title}: {error.get('type')}: {message} (log: {one.folder / LOG})"
