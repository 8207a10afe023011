"""Which cell a worker takes next: the order of the plan, dense cells first, the dead ones' last.

A worker looks at each cell once as it goes along. What it cannot take waits in one of two rooms:

    ahead -- free --> taken          blocked: their dense cell is not done; one look at that tells
          \\- waits -> blocked, held  held: somebody claims them, or died on them: what killed it
                                           may be the cell, so they are tried when all else is taken

A cell is settled when nothing is left to do for it: it is done, has failed since the command
began, or its dense cell has. Failures are known apart from earlier ones by what stood there when
the command began, not by clocks. Nothing waits for what nobody works on: a dense cell whose record
disappears is put back to work, `MAX_RETURNS` times at most.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Set
from contextlib import ExitStack
from itertools import chain

from calib_sweep.cell import Cell
from calib_sweep.errors import StoreError
from calib_sweep.results.claim import Claim, Watch, holder_of, last_claim, try_claim
from calib_sweep.results.record import Record
from calib_sweep.results.store import Store

MAX_RETURNS = 2  # of one dense cell
# The held are looked at again so often, for the number of settled cells that a person sees.
LOOK_BACK_S = 5.0

OPEN, DONE, FAILED = "open", "done", "failed"

Failures = Mapping[str, str | None]  # id of a failed cell: when its record says that it failed
OnDone = Callable[[Cell, Record], None]


class Outlook:
    """The state of cells by their records, for a command that began with `failed_before`.

    `on_done` is told of every record of a finished cell that is read.
    """

    def __init__(
        self, store: Store, failed_before: Failures, on_done: OnDone = lambda *_: None
    ) -> None:
        self.store, self.failed_before, self.on_done = store, failed_before, on_done

    def of(self, cell: Cell) -> str:
        """DONE, FAILED since the command began, or OPEN. Reads the record once."""
        record = self.store.find(cell)
        if record is None:
            return OPEN
        if record["status"] == "failed":
            is_old = self.failed_before.get(cell.id, "") == record.get("finished_at")
            return OPEN if is_old else FAILED
        if not self.store.completes(cell, record):
            return OPEN
        self.on_done(cell, record)
        return DONE

    def unsettled(self, cells: Iterable[Cell]) -> list[Cell]:
        """Those of `cells` for which something is left to do."""
        dense: dict[str, str] = {}
        left = []
        for cell in cells:
            if self.of(cell) != OPEN:
                continue
            key = cell.dense().id
            dense[key] = dense.get(key) or self.of(cell.dense())
            if dense[key] != FAILED:
                left.append(cell)
        return left


def failures(records: Iterable[tuple[Cell, Record | None]]) -> dict[str, str | None]:
    """Return the failed among `records`, for a later comparison."""
    return {
        cell.id: record.get("finished_at")
        for cell, record in records
        if record is not None and record["status"] == "failed"
    }


class Queue:
    """The cells that are not known to be settled, for one worker."""

    def __init__(self, cells: Iterable[Cell], outlook: Outlook) -> None:
        self.store, self.outlook = outlook.store, outlook
        self._ahead = deque(cells)
        self._blocked: dict[str, list[Cell]] = {}  # by the id of their dense cell
        self._held: deque[Cell] = deque()
        self._open = {cell.id for cell in self._ahead}
        self._failed: set[str] = set()  # run here; a finished record shows no later failure
        self._num_returns: Counter[str] = Counter()
        self._watch = Watch()
        self._next_look_back = 0.0

    def __len__(self) -> int:
        """Return how many cells are not known to be settled."""
        return len(self._open)

    @property
    def is_open(self) -> Set[str]:
        """Ids of the cells that are not known to be settled."""
        return self._open

    @property
    def held(self) -> list[str]:
        """Ids of those of them that others hold, as far as this worker has come along."""
        return [cell.id for cell in self._held if cell.id in self._open]

    def take(self) -> tuple[Cell, Claim] | None:
        """Claim the next cell; None when each that is left is held, or waits for one that is."""
        self._look_back()
        while self._ahead or self._unblock():
            cell = self._ahead.popleft()
            if not self._is_ready(cell):
                continue
            if last_claim(self.store.cell_folder(cell)):
                self._held.append(cell)
            elif claim := self._claim(cell):
                return cell, claim
        for _ in range(len(self._held)):
            cell = self._held.popleft()
            if self._is_ready(cell) and (claim := self._claim(cell)):
                return cell, claim
        assert self._ahead or self._held or not self._open, self._open
        return None

    def settle(self, cell: Cell, *, failed: bool = False) -> None:
        """Nothing is left to do for `cell`. `failed`: it was run here, and did not succeed."""
        self._open.discard(cell.id)
        if failed:
            self._failed.add(cell.id)

    def holders(self) -> list[str]:
        """Name who holds the cells that are held, as far as they can be named."""
        names = {holder_of(self.store.cell_folder(cell)) for cell in self._held}
        return sorted(name for name in names if name is not None)

    def is_with_the_living(self) -> bool:
        """Tell whether every cell that is left is held by somebody whom we have seen alive."""
        claims = [last_claim(self.store.cell_folder(cell)) for cell in self._held]
        alive = all(claim is not None and self._watch.shows_life(claim) for claim in claims)
        return alive and not self._ahead and not self._blocked

    def _is_ready(self, cell: Cell) -> bool:
        """Tell whether `cell` is open and its dense cell done; settle or block it otherwise."""
        if not cell.is_dense and cell.dense().id in self._blocked:
            self._blocked[cell.dense().id].append(cell)
        elif self.outlook.of(cell) != OPEN:
            self.settle(cell)
        elif cell.is_dense or (outcome := self._outcome(cell.dense())) == DONE:
            return True
        elif outcome == FAILED:
            self.settle(cell)
        else:
            self._block(cell)
        return False

    def _outcome(self, cell: Cell) -> str:
        return FAILED if cell.id in self._failed else self.outlook.of(cell)

    def _block(self, cell: Cell) -> None:
        dense = cell.dense()
        self._blocked[dense.id] = [cell]
        if dense.id in self._open:
            return
        self._num_returns[dense.id] += 1  # it was done, and its record is gone
        if self._num_returns[dense.id] > MAX_RETURNS:
            raise StoreError(
                f"{self.store.cell_folder(dense)}: the record of the dense cell has disappeared "
                f"{MAX_RETURNS + 1} times while cells that need it were running. Find out what "
                "deletes it, then run the same command again."
            )
        self._open.add(dense.id)
        self._ahead.appendleft(dense)

    def _unblock(self) -> bool:
        """Move on what waited for a dense cell that has been run; whether there is any."""
        for key, cells in list(self._blocked.items()):
            if key not in self._open or self._outcome(cells[0].dense()) != OPEN:
                self._ahead.extend(self._blocked.pop(key))
        return bool(self._ahead)

    def _claim(self, cell: Cell) -> Claim | None:
        """Claim `cell`, if it is still free and still open."""
        claim = try_claim(self.store.cell_folder(cell), self._watch)
        if claim is None:
            self._held.append(cell)
            return None
        with ExitStack() as given_back:
            given_back.callback(claim.release)
            self.store.tidy(cell)
            if self.store.is_behind(cell):
                self._held.append(cell)
                return None
            if self.outlook.of(cell) == OPEN:
                given_back.pop_all()
                return claim
        self.settle(cell)  # finished between our look and our claim
        return None

    def _look_back(self) -> None:
        """See which of the held have been settled by those that hold them."""
        if time.monotonic() < self._next_look_back:
            return
        self._next_look_back = time.monotonic() + LOOK_BACK_S
        for _ in range(len(self._held)):
            cell = self._held.popleft()
            if self.outlook.of(cell) == OPEN:
                self._held.append(cell)
            else:
                self.settle(cell)


def tidy_settled(store: Store, cells: Iterable[Cell]) -> None:
    """Clear away what killed processes left in folders of cells that nobody will claim again."""
    for cell in cells:
        folder = store.cell_folder(cell)
        left = chain(folder.glob(".*"), folder.glob("*/.*"), folder.glob("claim.*"))
        if any(left) and (claim := try_claim(folder)):
            with claim:
                store.tidy(cell)
