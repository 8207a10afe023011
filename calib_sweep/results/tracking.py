"""Weights & Biases: a mirror of the records, one run per cell. The store is the truth.

The only file that imports wandb. A run has id = cell id, group = sweep, the resolved
configuration, and the scores as summary. Bar charts and curves are drawn from a history, so it has
one too: the output errors of the layers, block by block, then the scores. One more run per sweep,
of job type `analysis`, has the report: its tables, figures, page and sentences. Whatever goes wrong
here is logged and never ends a cell or a sweep: the mirror is made good the next time the same
command runs.
"""

import csv
import hashlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calib_sweep import atomic
from calib_sweep.cell import Cell
from calib_sweep.errors import collected, require
from calib_sweep.results.claim import try_claim
from calib_sweep.results.layer_curves import BLOCK, ERROR, mean_error, read_curves
from calib_sweep.results.store import Store

log = logging.getLogger(__name__)

MARK = "wandb.json"  # beside a record or report: it has been mirrored
REPORT, INDEX = "report", "index.html"
MADE_FROM, CONCLUSION = "made_from.json", "conclusion.json"
MAX_TABLE_ROWS = 10_000  # of a table that W&B shows

# What a dashboard asks for by name: kinds of runs, and keys of what they log.
CELL_JOB, ANALYSIS_JOB = "cell", "analysis"
CELL = "cell"  # of the configuration: the axes and settings of the record
MEAN_ERROR = "compression/output_error"  # of the summary, over all layers
PAGE = "report"


@dataclass(frozen=True, kw_only=True)
class NoTracking:
    """Keep no mirror; nothing is imported."""

    def log(self, cell: Cell, record: dict[str, Any], store: Store) -> None:
        """Do nothing."""

    def log_missing(self, cells: list[Cell], store: Store) -> None:
        """Do nothing."""

    def log_report(self, store: Store) -> None:
        """Do nothing."""


@dataclass(frozen=True, kw_only=True)
class WandbTracking:
    """Mirror each cell as a W&B run: online when the user is logged in, offline otherwise."""

    project: str
    entity: str | None  # null: the user's default
    mode: str  # auto, online or offline
    tags: list[str]

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(
                require,
                _is_text(self.project) and not set(self.project) & set("/\\#?%:"),
                "tracking.project",
                self.project,
                "a W&B project name, without any of / \\ # ? % :",
                "Type tracking.project=calib_sweep.",
            )
            problems.of(
                require,
                self.mode in ("auto", "online", "offline"),
                "tracking.mode",
                self.mode,
                "auto, online or offline",
                "Type tracking.mode=offline, or tracking=none to keep no mirror.",
            )
            problems.of(
                require,
                isinstance(self.tags, list) and all(_is_text(tag, 64) for tag in self.tags),
                "tracking.tags",
                self.tags,
                "a list of words, each of at most 64 characters",
                "Type 'tracking.tags=[first,second]'.",
            )

    def log(self, cell: Cell, record: dict[str, Any], store: Store) -> None:
        """Mirror `record` as one run."""
        try:
            path = self._write_run(cell, record, store)
            mark = {"id": cell.id, "run": path, "finished_at": record["finished_at"]}
            mark |= {"project": self.project, "entity": self.entity}
            atomic.write(store.cell_folder(cell) / MARK, json.dumps(mark) + "\n")
        except Exception as error:  # W&B raises far more than wandb.Error; no mirror ends a cell
            problem = f"{type(error).__name__}: {error}"
            log.warning("W&B did not take cell %s (%s). Its record is safe.", cell.id, problem)

    def log_missing(self, cells: list[Cell], store: Store) -> None:
        """Mirror finished cells that are not yet: their worker died, or W&B was down."""
        for cell in cells:
            if not _is_waiting(cell, store):
                continue
            claim = try_claim(store.cell_folder(cell))
            if claim is None:
                continue  # another worker is at it
            with claim:
                record = store.find(cell)
                if record is not None and _is_waiting(cell, store):
                    self.log(cell, record, store)

    def _write_run(self, cell: Cell, record: dict[str, Any], store: Store) -> str:
        import wandb

        axes = {key: value for key, value in cell.axes().items() if value is not None}
        run = wandb.init(
            project=self.project,
            entity=self.entity,
            id=cell.id,
            name=cell.title[:128],  # W&B takes no more
            group=store.sweep_name,
            job_type=CELL_JOB,
            tags=[*self.tags, *_tags(cell)],
            config={**cell.config, CELL: {**axes, "settings": dict(cell.settings)}},
            dir=str(store.folder),
            mode=self.current_mode(),
            resume="allow",
            reinit="finish_previous",
            settings=wandb.Settings(
                console="off", silent=True, x_disable_stats=True, x_disable_meta=True
            ),
        )
        summary: dict[str, Any] = {"status": record["status"]}
        if record["status"] == "done":  # charts count every run that has a score
            summary |= record["scores"]
            summary |= {f"stderr/{key}": value for key, value in record["stderr"].items()}
        summary |= {f"timings_s/{key}": value for key, value in record["timings_s"].items()}
        if record["compression"] is not None:
            compression = record["compression"].items()
            summary |= {f"compression/{key}": v for key, v in compression if v is not None}
        if record["calibration"] is not None:
            summary["calibration/hash"] = record["calibration"]["hash"]
        if record["status"] == "done":
            self._log_history(run, record, store.cell_folder(cell))
            if (error := mean_error(store.cell_folder(cell))) is not None:
                summary[MEAN_ERROR] = error
        run.summary.update(summary)
        path = Path(run.dir).parent
        run.finish(exit_code=0 if record["status"] == "done" else 1)
        return str(path)

    @staticmethod
    def _log_history(run: Any, record: dict[str, Any], folder: Path) -> None:
        """A step for each block, with the errors of its layers, and one with the scores."""
        run.define_metric(BLOCK, summary="none")
        run.define_metric(f"{ERROR}/*", step_metric=BLOCK, summary="none")
        for point in read_curves(folder):
            run.log(point)
        run.log(record["scores"])

    def log_report(self, store: Store) -> None:
        """Mirror the report of the sweep as one run, again whenever it says something else."""
        folder = store.folder / REPORT
        try:
            made_from = json.loads((folder / MADE_FROM).read_bytes())
            claim = None if _is_mirrored(folder, made_from) else try_claim(folder)
            if claim is None:
                return  # nothing new, or another worker is at it
            with claim:
                mark = {"made_from": made_from, "run": self._write_report(folder, store.sweep_name)}
                atomic.write(folder / MARK, json.dumps(mark) + "\n")
        except Exception as error:  # as for a cell: no mirror ends a sweep
            problem = f"{type(error).__name__}: {error}"
            log.warning("W&B did not take the report (%s). It is safe in %s.", problem, folder)

    def _write_report(self, folder: Path, sweep_name: str) -> str:
        import wandb

        run = wandb.init(
            project=self.project,
            entity=self.entity,
            id=f"analysis-{hashlib.sha256(sweep_name.encode()).hexdigest()[:16]}",
            name=f"analysis of {sweep_name}"[:128],
            group=sweep_name,
            job_type=ANALYSIS_JOB,
            tags=[*self.tags, ANALYSIS_JOB],
            dir=str(folder.parent),
            mode=self.current_mode(),
            resume="allow",
            reinit="finish_previous",
            settings=wandb.Settings(
                console="off", silent=True, x_disable_stats=True, x_disable_meta=True
            ),
        )
        run.log({key: _to_media(path) for key, path in report_files(folder).items()})
        sentences = json.loads((folder / CONCLUSION).read_bytes())
        run.summary.update({"conclusion": "\n".join(sentences)})
        path = Path(run.dir).parent
        run.finish(exit_code=0)
        return str(path)

    def current_mode(self) -> Any:
        """Never a prompt: whoever is not logged in gets offline runs, to be synchronised later."""
        import wandb

        if self.mode != "auto":
            return self.mode
        if wished := os.environ.get("WANDB_MODE"):
            return wished
        return "online" if wandb.login(prompt=False) else "offline"


def report_files(folder: Path) -> dict[str, Path]:
    """What the run of the report in `folder` logs, by key: tables/NAME, figures/NAME, the page."""
    files = [*sorted(folder.glob("tables/*.csv")), *sorted(folder.glob("figures/*.png"))]
    return {f"{path.parent.name}/{path.stem}": path for path in files} | {PAGE: folder / INDEX}


def _to_media(path: Path) -> Any:
    import wandb

    if path.suffix == ".png":
        return wandb.Image(str(path))
    if path.suffix == ".html":
        return wandb.Html(str(path), inject=False)
    columns, rows = _read_csv(path)
    return wandb.Table(columns=list(columns), data=list(rows), allow_mixed_types=True)


def _is_waiting(cell: Cell, store: Store) -> bool:
    """Whether `cell` is finished and its mirror is missing, or shows an earlier failure of it."""
    record = store.find(cell)
    if record is None or record["status"] != "done":
        return False
    try:
        mark = json.loads((store.cell_folder(cell) / MARK).read_bytes())
    except (OSError, ValueError):
        return True
    return mark["finished_at"] != record["finished_at"]


def _is_mirrored(folder: Path, made_from: Any) -> bool:
    """Whether the report that was mirrored is the one there is."""
    try:
        return json.loads((folder / MARK).read_bytes())["made_from"] == made_from
    except (OSError, ValueError):
        return False


def _read_csv(path: Path) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows; a column of numbers as such, with nothing where there is none."""
    with path.open(newline="") as file:
        columns, *rows = csv.reader(file)
    values = [_numbers([row[c] for row in rows]) for c in range(len(columns))]
    return columns, [list(row) for row in zip(*values, strict=True)][:MAX_TABLE_ROWS]


def _numbers(texts: list[str]) -> list[Any]:
    try:
        return [float(text) if text else None for text in texts]
    except ValueError:
        return list(texts)


def _is_text(value: object, max_length: int = 128) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= max_length


def _tags(cell: Cell) -> list[str]:
    """W&B refuses tags longer than 64 characters."""
    parts = [cell.model, cell.method, cell.dataset]
    return [part[:64] for part in parts if part]
