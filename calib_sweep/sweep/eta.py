"""The time that is left of a sweep, from the cells that are done: a pure function.

    a kind       cells of one model, method and settings: they take equally long but for chance
    timed        its cells take the mean of those that are done
    not timed    its cost, times (seconds / cost) of the nearest kinds, as a mean of logarithms:
                 those of the same model and method; else of the method on another model, times how
                 the two models differ in methods that both have; else of the model, of the method,
                 or of all
    time left    a cell goes to the first worker that is free: the end of the last one

How sure it is: the SD of (seconds / mean) over cells of timed kinds, 0.2 where that is not known
yet, and 0.5 for kinds that are not timed, whose mean is as wrong for each of their cells. Twice the
SD of the sum makes a range, with one SD of a cell for each end where workers wait for the last one.
It knows nothing of workers that come, go or die.
"""

import heapq
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from calib_sweep.analysis.formatting import duration, listed

UNKNOWN_SD, UNTIMED_SD = 0.2, 0.5  # of a cell's seconds, relative to what is expected
WIDE = 1.25  # high / low from which a range is told instead of one number


class Kind(NamedTuple):
    """Cells that should take equally long."""

    model: str
    method: str
    settings: str = ""


@dataclass(frozen=True)
class Estimate:
    """The seconds that are left."""

    seconds: float
    low: float
    high: float
    num_workers: int
    untimed: tuple[Kind, ...]  # kinds of cells that are left and that no cell has timed

    def words(self) -> str:
        """Say it in a few words: about 3 min 0 s left (2 workers)."""
        is_sharp = self.high <= WIDE * self.low or self.high < 10
        about = (
            f"about {duration(self.seconds)}"
            if is_sharp
            else f"{duration(self.low)} to {duration(self.high)}"
        )
        notes = [f"{self.num_workers} workers"] if self.num_workers > 1 else []
        methods = sorted({kind.method for kind in self.untimed})
        notes += [f"{listed(methods)} not timed yet"] if methods else []
        return f"{about} left" + (f" ({', '.join(notes)})" if notes else "")


class Expected(NamedTuple):
    """The seconds that a cell of some kind takes."""

    seconds: float
    is_timed: bool


def expected(
    kind: Kind, done: Mapping[Kind, Sequence[float]], costs: Mapping[Kind, float]
) -> Expected | None:
    """Return what a cell of `kind` takes; None before the first cell is done.

    `done`: seconds of cells by kind. `costs`: of a cell of a kind, in any unit; without that of one
    of two kinds they are taken to cost the same.
    """
    if done.get(kind):
        return Expected(fmean(done[kind]), is_timed=True)
    timed = {other: fmean(seconds) for other, seconds in done.items() if seconds}
    if not timed:
        return None
    own = costs.get(kind)
    logs = {}
    for other, seconds in timed.items():
        cost = costs.get(other)
        logs[other] = math.log(seconds * (own / cost if own and cost else 1.0))
    return Expected(math.exp(_log_seconds(kind, logs)), is_timed=False)


def _log_seconds(kind: Kind, logs: Mapping[Kind, float]) -> float:
    """Log of the seconds of a cell of `kind`, from those that others say, corrected for costs."""
    of_model = [other for other in logs if other.model == kind.model]
    of_method = [other for other in logs if other.method == kind.method]
    of_both = [other for other in of_model if other.method == kind.method]
    if not of_both:
        found = []
        for other in of_method:
            gaps = [
                logs[here] - logs[there]
                for here in of_model
                for there in logs
                if (there.model, there.method) == (other.model, here.method)
            ]
            found += [logs[other] + fmean(gaps)] if gaps else []
        if found:
            return fmean(found)
    return fmean(logs[other] for other in of_both or of_model or of_method or logs)


def time_left(
    waiting: Sequence[Kind],
    running: Sequence[tuple[Kind, float]],
    done: Mapping[Kind, Sequence[float]],
    costs: Mapping[Kind, float] | None = None,
) -> Estimate | None:
    """Estimate the seconds until all cells are done; None before the first one is.

    `waiting`: cells that nobody runs, in their order. `running`: those that a worker runs each,
    with the seconds since it began; with none of them one worker is free.
    """
    costs = costs or {}
    left = Counter([*waiting, *(kind for kind, _ in running)])
    found = {kind: expected(kind, done, costs) for kind in left}
    known = {kind: one for kind, one in found.items() if one is not None}
    if len(known) < len(left):
        return None
    free = [max(0.0, known[kind].seconds - since) for kind, since in running] or [0.0]
    heapq.heapify(free)
    for kind in waiting:
        heapq.heapreplace(free, free[0] + known[kind].seconds)
    seconds, sd = max(free), _relative_sd(left, known, done)
    if len(free) > 1 and seconds:
        longest = max(one.seconds for one in known.values())
        sd += _sd_of_a_cell(done) * longest / seconds / 2
    low, high = seconds / (1 + 2 * sd), seconds * (1 + 2 * sd)
    untimed = tuple(kind for kind, one in known.items() if not one.is_timed)
    return Estimate(seconds, low, high, len(free), untimed)


def _relative_sd(
    left: Mapping[Kind, int],
    known: Mapping[Kind, Expected],
    done: Mapping[Kind, Sequence[float]],
) -> float:
    """SD of the seconds of all cells that are left, relative to their sum.

    Of a kind with k cells left and n done, each of SD s: k s by chance apart, as k s^2, and k s / n
    in common, as k^2 s^2 / n.
    """
    total = sum(num * known[kind].seconds for kind, num in left.items())
    if not total:
        return 0.0
    sd = _sd_of_a_cell(done)
    variance = 0.0
    for kind, num in left.items():
        mean, n = known[kind].seconds, len(done.get(kind, ()))
        in_common = sd**2 / n if n else UNTIMED_SD**2
        variance += mean**2 * (num * sd**2 + num**2 * in_common)
    return math.sqrt(variance) / total


def _sd_of_a_cell(done: Mapping[Kind, Sequence[float]]) -> float:
    """SD of seconds around the mean of their kind, relative to it; pooled over kinds."""
    squares, num_free = 0.0, 0
    for seconds in done.values():
        if len(seconds) > 1 and (mean := fmean(seconds)):
            squares += sum((one / mean - 1) ** 2 for one in seconds)
            num_free += len(seconds) - 1
    return math.sqrt(squares / num_free) if num_free > 1 else UNKNOWN_SD
