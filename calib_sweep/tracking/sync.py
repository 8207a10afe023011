"""The verb `sync`: bring over to W&B what it lacks of a sweep, when the user asks for it."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import cast

from calib_sweep.arguments import folder_and_settings, near_sweeps
from calib_sweep.console import configure_logging, output
from calib_sweep.errors import ConfigError
from calib_sweep.places import REPORT
from calib_sweep.results.record import Record
from calib_sweep.results.store import Store
from calib_sweep.settings import axes_of, telling, title_of
from calib_sweep.tracking import client_process
from calib_sweep.tracking.client_process import MirrorError
from calib_sweep.tracking.marks import Wanted, done_record, done_records
from calib_sweep.tracking.mirrored import Settings
from calib_sweep.tracking.wandb import WandbTracking, with_overrides
from calib_sweep.wording import counted

log = logging.getLogger(__name__)

Records = Mapping[Path, Record]  # of finished cells, by folder

DONE, SOME_LEFT = 0, 3
MAX_AT_ONCE = 8  # clients, of 150 MB each; W&B takes more than these can send
RUNS_PER_CLIENT = 4  # that pay for its start
GO_ON = (
    "Run the same command to go on; add tracking.wandb.timeout_s=120 to give each run more time."
)
MAX_REFUSED = 3  # in a row, after which W&B is not asked again
# As conf/tracking/wandb.yaml has them, for sweeps that were run without a mirror.
DEFAULTS: Settings = {
    "project": "calib_sweep", "entity": None, "mode": "auto", "tags": [],
    "artifacts": ["calibration-set", "items"], "timeout_s": 30,
}  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Mirror all finished cells of the sweep in the folder named, and its report."""
    configure_logging()
    store, typed = sweep_of("sync", arguments)
    records = done_records(store.folder)
    if not records:
        raise ConfigError(
            f"sync {str(store.folder)!r}: expected the folder of a sweep with finished cells. "
            f"Example: python -m calib_sweep sync results/NAME.{near_sweeps(store.folder)}"
        )
    tracking = with_overrides("sync", settings_of(records), typed)
    try:
        mode = tracking.current_mode()
    except MirrorError as error:
        output(f"W&B does not say who you are ({error}). {GO_ON}")
        return SOME_LEFT
    _require_wanted(mode, tracking)
    wanted = Wanted(is_online=mode == "online", inside=_typed_place(tracking, typed))
    return bring_over(store, records, tracking, wanted)


def sweep_of(verb: str, arguments: Sequence[str]) -> tuple[Store, list[str]]:
    """The store of the one folder among `arguments`, and the settings."""
    folder, typed = folder_and_settings(verb, arguments)
    if folder.name in ("", ".."):
        folder = folder.resolve()
    return Store(folder.parent, folder.name), typed


def settings_of(records: Records) -> Settings:
    """Return the tracking of the last finished cell that had any, with the mode of who asks now."""
    ordered = sorted(records.values(), key=lambda record: str(record.get("finished_at")))
    configs = [_of_wandb(record.get("config", {}).get("tracking")) for record in ordered]
    kept = [config for config in configs if isinstance(config, Mapping) and "project" in config]
    own = kept[-1] if kept else {}
    known = {k: v for k, v in own.items() if k in DEFAULTS and k != "mode"}
    return cast(Settings, {**DEFAULTS, **known})


def _of_wandb(tracking: object) -> object:
    """Return the settings of W&B among those of all trackers; the first records had no others."""
    return tracking.get("wandb", tracking) if isinstance(tracking, Mapping) else None


def _typed_place(tracking: WandbTracking, typed: Sequence[str]) -> dict[str, object]:
    """Return the project and entity that are typed: runs of others are made again there."""
    names = {word.partition("=")[0].rpartition(".")[2] for word in typed}
    return {key: value for key, value in tracking.named_in_marks().items() if key in names}


def _require_wanted(mode: str, tracking: WandbTracking) -> None:
    if mode not in ("online", tracking.mode):
        raise ConfigError(
            f"sync: W&B is {mode}, or you are not logged in. Type wandb login, then the same "
            "command. Or add tracking.wandb.mode=offline to write offline runs of what is missing."
        )


def bring_over(store: Store, records: Records, tracking: WandbTracking, wanted: Wanted) -> int:
    """Mirror what is missing until W&B gives no answer; say what came out."""

    def missing(records: Records) -> list[Path]:
        shown = tracking.marks.show
        return [folder for folder, record in records.items() if not shown(folder, record, wanted)]

    names, before = titles(records), missing(records)
    tasks: list[Callable[[], None]] = [
        partial(tracking.mirror_missing, folder, names[folder], wanted) for folder in before
    ]
    tasks.append(partial(tracking.mirror_report, store.folder / REPORT, wanted))
    problem = _perform(tasks)
    # As they are now: one may have been deleted, or run again.
    left = missing({f: record for f in before if (record := done_record(f)) is not None})
    where = "in W&B" if wanted.is_online else "offline runs"
    num_taken = len(before) - len(left)
    are = "1 cell is" if num_taken == 1 else f"{num_taken:,} cells are"
    output(f"sync {store.folder}: {are} now {where}, {len(left):,} left")
    if problem is not None:
        tracking.marks.begin_waiting(store.folder, problem)
        output(f"W&B did not take all ({problem}). {GO_ON}")
    elif left:
        output("Workers are still at them. Run the same command when they have ended.")
    else:
        tracking.marks.end_waiting(store.folder)
    return SOME_LEFT if left or problem is not None else DONE


def _perform(tasks: Sequence[Callable[[], None]]) -> str | None:
    """Do `tasks`, several at a time; the last problem, None without.

    Silence ends it, for each further one may cost it, and so does what W&B refuses time and again.
    """
    attempts = Attempts(len(tasks))
    with ThreadPoolExecutor(max(1, min(MAX_AT_ONCE, len(tasks) // RUNS_PER_CLIENT))) as pool:
        try:
            list(pool.map(attempts.make, tasks))
        except BaseException:
            attempts.are_over = True
            client_process.end()
            raise
    client_process.end()
    return attempts.problem


class Attempts:
    """What became of runs that were brought over, by several threads."""

    def __init__(self, total: int) -> None:
        self.problem: str | None = None
        self.are_over = False
        self._total, self._num_refused = total, 0  # in a row
        self._lock = threading.Lock()

    def make(self, task: Callable[[], None]) -> None:
        """Do `task` unless it is over."""
        if self.are_over:
            return
        try:
            task()
        except (MirrorError, OSError) as error:
            with self._lock:
                self.problem = str(error)
                self._num_refused += 1
                is_silence = isinstance(error, MirrorError) and error.is_silence
                self.are_over |= is_silence or self._num_refused >= MAX_REFUSED
            log.warning("one of %s: %s", counted(self._total, "run"), error)
        else:
            self._num_refused = 0


def titles(records: Records) -> dict[Path, str]:
    """Name the run of each finished cell, by folder: its axes, and the settings that differ."""
    cells = {folder: record["cell"] for folder, record in records.items()}
    shown = telling((axes_of(cell), cell.get("settings") or {}) for cell in cells.values())
    return {
        folder: title_of(cell, cell.get("settings") or {}, shown) for folder, cell in cells.items()
    }
