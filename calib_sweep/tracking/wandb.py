"""Weights & Biases: a mirror of the records, one run per cell. The store is the truth.

A run has the cell's id and the sweep's in its own, and the sweep as group; what it logs is in
`wandb_client`. One more run per sweep, of job type `analysis`, has the report. Whatever goes wrong
here never ends a cell or a sweep. The first run of a sweep that W&B does not take is the last that
is tried: then the mirror waits, until `sync` makes it good.
"""

import logging
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from calib_sweep.cell import Cell, digest
from calib_sweep.errors import collected, require
from calib_sweep.places import REPORT
from calib_sweep.results.claim import try_claim
from calib_sweep.results.record import Record
from calib_sweep.results.store import Store
from calib_sweep.tracking import mirrored, wandb_process
from calib_sweep.tracking.mirrored import ANALYSIS_JOB, Pushed, Settings
from calib_sweep.tracking.wandb_process import MirrorError
from calib_sweep.wording import counted

log = logging.getLogger(__name__)

MAX_TIMEOUT_S = 86_400


@dataclass(frozen=True, kw_only=True)
class WandbTracking:
    """Mirror each cell as a W&B run: online when the user is logged in, offline otherwise."""

    project: str
    entity: str | None  # null: the user's default
    mode: str  # auto, online or offline
    tags: list[str]
    timeout_s: float  # for one run

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(
                require,
                _is_text(self.project) and not set(self.project) & set("/\\#?%:"),
                "tracking.project",
                self.project,
                "a name of a W&B project without any of / \\ # ? % :",
                "Example: tracking.project=calib_sweep.",
            )
            problems.of(
                require,
                self.mode in ("auto", "online", "offline"),
                "tracking.mode",
                self.mode,
                "auto, online or offline",
                "Example: tracking.mode=offline; tracking=none keeps W&B out of it.",
            )
            problems.of(
                require,
                isinstance(self.tags, list) and all(_is_text(tag, 64) for tag in self.tags),
                "tracking.tags",
                self.tags,
                "a list of words of at most 64 characters each",
                "Example: 'tracking.tags=[first,second]'.",
            )
            problems.of(
                require,
                type(self.timeout_s) in (int, float) and 0 < self.timeout_s <= MAX_TIMEOUT_S,
                "tracking.timeout_s",
                self.timeout_s,
                f"a number of seconds > 0 and <= {MAX_TIMEOUT_S:,}",
                "Example: tracking.timeout_s=30.",
            )

    def log(self, cell: Cell, record: Record, store: Store) -> None:
        """Mirror the record of `cell` as one run."""
        folder = store.cell_folder(cell)
        self._attempt(folder, partial(self.mirror_cell, folder, cell.id, cell.title))

    def log_missing(self, cells: Sequence[Cell], store: Store) -> None:
        """Mirror finished cells that are not yet: their worker died, or had W&B disabled."""
        for cell in cells:
            folder = store.cell_folder(cell)
            record = mirrored.done_record(folder)
            if record is not None and not mirrored.is_shown(folder, record):
                self._attempt(folder, partial(self.mirror_missing, folder, cell.title))

    def log_report(self, store: Store) -> None:
        """Mirror the report of the sweep as one run, again whenever it says something else.

        It is the last of a sweep, so this says too where the runs are, or how to bring them over.
        """
        folder = store.folder / REPORT
        self._attempt(folder, partial(self.mirror_report, folder))
        if mirrored.is_waiting(store.folder):
            log.warning(
                "W&B lacks %s of this sweep. When it answers, type: python -m calib_sweep sync %s",
                counted(mirrored.num_missing(store.folder), "run"),
                shlex.quote(str(store.folder)),
            )
        elif mark := mirrored.read_mark(folder):
            log.info("%s", _where(mark, store.folder))

    @staticmethod
    def _attempt(folder: Path, mirror: Callable[[], object]) -> None:
        """Try it, unless the mirror waits; have it wait when W&B does not take it."""
        if mirrored.is_waiting(folder.parent):
            return
        try:
            mirror()
        except (MirrorError, OSError) as error:
            log.warning("W&B did not take %s (%s). It is kept here.", folder.name, error)
            mirrored.begin_waiting(folder.parent, str(error))

    def mirror_missing(self, folder: Path, name: str, *, online: bool = False) -> None:
        """Mirror the finished cell in `folder` unless it is, or another worker is at it."""
        claim = try_claim(folder)
        if claim is None:
            return
        with claim:
            record = mirrored.done_record(folder)
            if record is not None and not mirrored.is_shown(folder, record, online=online):
                self.mirror_cell(folder, record.get("cell_id") or digest(folder.name), name)

    def mirror_cell(self, folder: Path, cell_id: str, name: str) -> None:
        """Mirror the record in `folder`, and mark it, unless W&B is disabled."""
        self._ask("log_cell", folder, cell_id, name)

    def mirror_report(self, folder: Path, *, online: bool = False) -> None:
        """Mirror the report in `folder` unless it is, or another process is at it."""
        state = mirrored.report_state(folder)
        if state is None or mirrored.is_mirrored(folder, state, online=online):
            return
        claim = try_claim(folder)
        if claim is None:
            return
        with claim:
            self._ask("log_report", folder, ANALYSIS_JOB, f"analysis of {folder.parent.name}")

    def _settings(self) -> Settings:
        return cast(Settings, asdict(self))

    def _ask(self, call: str, folder: Path, what: str, name: str) -> None:
        place = {"folder": str(folder.absolute()), "name": name}
        place["run_id"] = mirrored.run_id(folder.parent.name, what)
        told = wandb_process.ask(call, self._settings(), **place)
        if told is not None:
            own = {"id": place["run_id"], "project": self.project, "entity": self.entity}
            mirrored.write_mark(folder, own | told)

    def current_mode(self) -> str:
        """Online, offline or disabled: never a prompt, so whoever is not logged in is offline."""
        return wandb_process.ask("find_mode", self._settings())

    def push(self, sweep: Path) -> Pushed:
        """Push the dashboard of the sweep in the folder `sweep`; say where it is."""
        return wandb_process.ask("push", self._settings(), folder=str(sweep.absolute()))


def _where(mark: Mapping[str, object], sweep: Path) -> str:
    """Say where the runs of the sweep are: at an address, or offline on this disk."""
    if mark["is_online"]:
        project = str(mark["run"]).partition("/runs/")[0]
        return f"W&B: {project}, group {mirrored.group_of(sweep.name)}"
    sync = f"python -m calib_sweep sync {shlex.quote(str(sweep))}"
    return f"W&B: offline runs in {sweep}. To upload them: wandb login, then {sync}"


def with_overrides(verb: str, values: Settings, overrides: Sequence[str]) -> WandbTracking:
    """Return what `values` and `overrides` (tracking.KEY=VALUE) of a verb say together."""
    import yaml

    known = ", ".join(f"tracking.{key}" for key in values)
    changed: dict[str, Any] = dict(values)
    with collected() as problems:
        for text in overrides:
            name, _, value = text.removeprefix("tracking.").partition("=")
            is_known = text.startswith("tracking.") and name in values
            remedy = "Example: tracking.project=calib_sweep."
            problems.of(require, is_known, verb, text, f"one of {known}", remedy)
            if is_known:
                changed[name] = yaml.safe_load(value)
    return WandbTracking(**changed)


def _is_text(value: object, max_length: int = 128) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= max_length
