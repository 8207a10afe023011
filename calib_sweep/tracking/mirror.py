"""A tracker that mirrors the records, one run per cell: what all of them have in common.

The store is the truth. One more run per sweep has the report. The library of a tracker is imported
by its client alone, a process of its own, which is given `timeout_s` for one run. Whatever goes
wrong here never ends a cell or a sweep. The first run that a tracker does not take is the last that
is tried: then this mirror waits, and the others go on.
"""

import importlib.util
import logging
import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from calib_sweep.cell import Cell, digest
from calib_sweep.errors import Problems, require
from calib_sweep.places import REPORT
from calib_sweep.results.claim import try_claim
from calib_sweep.results.record import Record
from calib_sweep.results.store import Store
from calib_sweep.tracking import client_process
from calib_sweep.tracking.client_process import MirrorError
from calib_sweep.tracking.marks import ANYWHERE, Mark, Marks, Wanted, done_record, report_state
from calib_sweep.tracking.mirrored import ANALYSIS_JOB, run_id
from calib_sweep.wording import counted

log = logging.getLogger(__name__)

MAX_TIMEOUT_S = 86_400


@dataclass(frozen=True, kw_only=True)
class Mirror(ABC):
    """Mirror each cell as a run of a tracker, whose client is NAME_client beside this file."""

    marks: ClassVar[Marks]
    title: ClassVar[str]  # of the tracker, for the user
    # Whether only `sync` has it tried again; else the end of each command tries it once more.
    waits_for_sync: ClassVar[bool] = False

    timeout_s: float  # for one run

    def _check_timeout(self, problems: Problems) -> None:
        name = f"tracking.{self.marks.tracker}.timeout_s"
        problems.of(
            require,
            type(self.timeout_s) in (int, float) and 0 < self.timeout_s <= MAX_TIMEOUT_S,
            name,
            self.timeout_s,
            f"a number of seconds > 0 and <= {MAX_TIMEOUT_S:,}",
            f"Example: {name}=30.",
        )

    @abstractmethod
    def where(self, mark: Mark, sweep: Path) -> str:
        """Say where the runs of the sweep are, and how to look at them."""

    def named_in_marks(self) -> Mapping[str, Any]:
        """Return what a mark says besides of where a run went."""
        return {}

    def log(self, cell: Cell, record: Record, store: Store) -> None:
        """Mirror the record of `cell` as one run."""
        folder = store.cell_folder(cell)
        self._attempt(folder, partial(self.mirror_cell, folder, cell.id, cell.title))

    def log_missing(self, cells: Sequence[Cell], store: Store) -> None:
        """Mirror finished cells that are not yet: their worker died, or the mirror waited."""
        if self.marks.is_waiting(store.folder) and not self.waits_for_sync:
            self.marks.end_waiting(store.folder)
        for cell in cells:
            folder = store.cell_folder(cell)
            record = done_record(folder)
            if record is not None and not self.marks.show(folder, record):
                self._attempt(folder, partial(self.mirror_missing, folder, cell.title))

    def log_report(self, store: Store) -> None:
        """Mirror the report of the sweep as one run, again whenever it says something else.

        It is the last of a sweep, so this says too where the runs are, or how to bring them over.
        """
        folder = store.folder / REPORT
        self._attempt(folder, partial(self.mirror_report, folder))
        if self.marks.is_waiting(store.folder):
            typed = f"python -m calib_sweep sync {shlex.quote(str(store.folder))}"
            log.warning(
                "%s lacks %s of this sweep. When it answers, type: %s",
                self.title,
                counted(self.marks.num_missing(store.folder), "run"),
                typed if self.waits_for_sync else "the same command again",
            )
        elif mark := self.marks.read(folder):
            log.info("%s", self.where(mark, store.folder))

    def _attempt(self, folder: Path, mirror: Callable[[], object]) -> None:
        """Try it, unless the mirror waits; have it wait when the tracker does not take it."""
        if self.marks.is_waiting(folder.parent):
            return
        try:
            mirror()
        except (MirrorError, OSError) as error:
            kept = "It is kept here."
            log.warning("%s did not take %s (%s). %s", self.title, folder.name, error, kept)
            self.marks.begin_waiting(folder.parent, str(error))

    def mirror_missing(self, folder: Path, name: str, wanted: Wanted = ANYWHERE) -> None:
        """Mirror the finished cell in `folder` unless it is, or another worker is at it."""
        claim = try_claim(folder)
        if claim is None:
            return
        with claim:
            record = done_record(folder)
            if record is not None and not self.marks.show(folder, record, wanted):
                self.mirror_cell(folder, record.get("cell_id") or digest(folder.name), name)

    def mirror_cell(self, folder: Path, cell_id: str, name: str) -> None:
        """Mirror the record in `folder`, and mark it, unless the tracker is disabled."""
        self._mirror("log_cell", folder, cell_id, name)

    def mirror_report(self, folder: Path, wanted: Wanted = ANYWHERE) -> None:
        """Mirror the report in `folder` unless it is, or another process is at it."""
        state = report_state(folder)
        if state is None or self.marks.has(folder, state, wanted):
            return
        claim = try_claim(folder)
        if claim is None:
            return
        with claim:
            self._mirror("log_report", folder, ANALYSIS_JOB, f"analysis of {folder.parent.name}")

    def _mirror(self, call: str, folder: Path, what: str, name: str) -> None:
        own = {"id": run_id(folder.parent.name, what), **self.named_in_marks()}
        told = self.ask(call, folder=str(folder.absolute()), name=name, run_id=own["id"])
        if told is not None:
            self.marks.write(folder, own | told)

    def ask(self, call: str, **arguments: str) -> Any:
        """Have the tracker's client do `call`."""
        return client_process.ask(self.marks.tracker, call, asdict(self), **arguments)


def require_installed(tracker: str, package: str) -> None:
    """Raise `ConfigError` where the package of a tracker is not there."""
    require(
        importlib.util.find_spec(package) is not None,
        "tracking",
        tracker,
        f"the package {package} to be installed",
        f"Type pip install 'calib-sweep[{tracker}]', or tracking=none.",
    )
