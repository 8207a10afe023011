"""What a worker has seen of a sweep: which cells run since when, and what the others took.

Nothing is read for it: cells of others are seen as the queue goes along, by records that it reads
anyway. A model is loaded once by a worker and kept, so loading is not part of what a cell takes.
"""

from collections.abc import Callable, Collection, Sequence
from functools import cached_property

from calib_sweep.cell import Cell
from calib_sweep.results.record import Record
from calib_sweep.sweep.eta import Estimate, Kind, expected, time_left

LEAST_PAUSE_S = 1.0  # between two estimates: thousands of cells are counted for each


def kind_of(cell: Cell) -> Kind:
    """Return the kind of cells that takes as long as `cell`."""
    own = {key: cell.settings[key] for key in cell.settings if not key.startswith("dataset")}
    return Kind(cell.model, cell.method, repr(sorted(own.items(), key=str)) if own else "")


def seconds_of(record: Record) -> float:
    """Seconds that a cell took in a process that had its model."""
    timings = record.get("timings_s", {})
    return sum(seconds for part, seconds in timings.items() if part != "load")


class Tally:
    """The cells of a sweep as one worker sees them.

    `most`: cells that this worker runs at most, and then only these are counted; None: it stays
    until all are settled, and what is counted is the sweep, over all workers. `cost_of`: what a
    cell costs, in any unit, for those of whose kind none is done.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        clock: Callable[[], float],
        most: int | None = None,
        cost_of: Callable[[Cell], float | None] = lambda _: None,
    ) -> None:
        self._one_of_each = {kind_of(cell): cell for cell in cells}
        self._cost_of = cost_of
        self._kinds = {cell.id: kind_of(cell) for cell in cells}
        self._clock, self._most = clock, most
        self._done: dict[Kind, list[float]] = {}
        self._seen: set[str] = set()
        self._since: dict[str, float] = {}  # of a cell that is held: when we saw that first
        self._last: Estimate | None = None
        self._last_s = 0.0

    def finished(self, cell: Cell, record: Record) -> None:
        """`record` is what `cell` left, whoever ran it."""
        if cell.id not in self._seen and (seconds := seconds_of(record)) > 0:
            self._done.setdefault(kind_of(cell), []).append(seconds)
        self._seen.add(cell.id)

    @cached_property
    def _costs(self) -> dict[Kind, float]:
        """Cost of a cell of each kind, where it is known; worked out when a cell is done."""
        found = {kind: self._cost_of(cell) for kind, cell in self._one_of_each.items()}
        return {kind: cost for kind, cost in found.items() if cost}

    def seconds_of(self, cell: Cell) -> float | None:
        """Return what `cell` takes, by those that are done; None before the first one is."""
        found = expected(kind_of(cell), self._done, self._costs) if self._done else None
        return None if found is None else found.seconds

    def time_left(
        self, is_open: Collection[str], held: Collection[str], own: str | None
    ) -> Estimate | None:
        """Estimate the seconds that are left of the open cells, by their ids.

        `held`: those of them that others run. `own`: the one that begins here now.
        """
        now = self._clock()
        if self._last is None or now - self._last_s >= LEAST_PAUSE_S:
            self._last, self._last_s = self._time_left(is_open, held, own, now), now
        return self._last

    def _time_left(
        self, is_open: Collection[str], held: Collection[str], own: str | None, now: float
    ) -> Estimate | None:
        taken = [one for one in (*held, own) if one in self._kinds]
        self._since = {one: self._since.get(one, now) for one in taken if one is not None}
        if own in self._since:
            self._since[own] = now  # whoever held it before and died takes no more of its time
        if not self._done:
            return None
        running = [(self._kinds[one], now - since) for one, since in self._since.items()]
        waiting = [
            kind
            for one, kind in self._kinds.items()
            if one in is_open and one not in self._since and one not in self._seen
        ]
        if self._most is not None:
            running = [(self._kinds[own], 0.0)] if own in self._kinds else []
            waiting = waiting[: self._most - len(running)]
        return time_left(waiting, running, self._done, self._costs)

    def ran_one(self) -> None:
        """This worker has run one of the cells that it may run."""
        self._most = None if self._most is None else self._most - 1
