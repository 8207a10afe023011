"""W&B's client: a program of its own that `client_process` asks. The only file that imports wandb.

A run has the resolved configuration, and the scores as summary. Bar charts and curves are drawn
from a history, so it has one too: the output errors of the layers, block by block, then the scores.
Online it uses its calibration set and has its items, which are `artifacts`. The run of the report
has its tables, figures, page and sentences, and numbers that can be charted over sweeps.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calib_sweep.places import CONCLUSION, INDEX, RECORD, SCALARS
from calib_sweep.results.reading import read_record
from calib_sweep.results.record import Record
from calib_sweep.tracking.artifacts import Artifact, calibration_set, items
from calib_sweep.tracking.content import (
    config_of,
    notes_of,
    numbers,
    read_table,
    summary_of,
    tags_of,
)
from calib_sweep.tracking.layer_curves import BLOCK, ERROR, read_curves
from calib_sweep.tracking.marks import Place, report_state
from calib_sweep.tracking.mirrored import (
    ANALYSIS_JOB,
    CELL_JOB,
    ITEM_SCORES,
    MAX_NAME,
    MAX_TAG,
    SET,
    Pushed,
    Settings,
    group_of,
    links_of,
    report_files,
    shortened,
)
from calib_sweep.tracking.serving import LossError, answer_all

if TYPE_CHECKING:
    import wandb
    from wandb import Run
    from wandb.sdk.data_types.base_types.wb_value import WBValue

# What wandb's log says, as an error, of data that was refused or not written: `finish` is silent.
LOSSES = (
    "/file_stream",
    "filestream: json",  # an answer that was none, of a page to sign in for one
    "file transfer: upload",
    "runfiles: ",
    "failed to log artifact",
    "writer: failed",
)
# Variables of a program in whose shell we may be, as of W&B's agent: they would give a run another
# id or project, go on with an older run, leave parts out, or hide what was lost.
OF_ANOTHER_RUN = (
    *("WANDB_RUN_ID", "WANDB_RESUME", "WANDB_RESUME_FROM", "WANDB_FORK_FROM"),
    *("WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH", "WANDB_LAUNCH", "WANDB_SERVICE"),
    *("WANDB_IGNORE_GLOBS", "WANDB_X_PRIMARY", "WANDB_X_LOG_LEVEL"),
    *("WANDB__PRIMARY", "WANDB__LOG_LEVEL"),
)
MODES = {"run": "online", "shared": "online", "dryrun": "offline"}  # other words of W&B's


def find_mode(tracking: Settings) -> str:
    """Say online, offline or disabled; never prompt: who is not logged in gets offline runs.

    `WANDB_DISABLED` is what Hugging Face's libraries go by.
    """
    import wandb

    if tracking["mode"] != "auto":
        return tracking["mode"]
    if os.environ.get("WANDB_DISABLED", "").lower() in ("1", "true", "yes", "on"):
        return "disabled"
    wished = os.environ.get("WANDB_MODE")
    if wished and wished not in (*MODES, "online", "offline", "disabled"):
        raise ValueError(f"WANDB_MODE={wished!r}: expected online, offline or disabled")
    mode = wandb.setup().settings.mode  # that, or what `wandb offline` and `wandb disabled` keep
    mode = MODES.get(mode, mode)
    if wished or mode != "online":
        return mode
    return "online" if wandb.login(prompt=False) else "offline"


def log_cell(tracking: Settings, folder: str, run_id: str, name: str) -> Place | None:
    """Mirror the record in `folder` as one run; say where it is.

    None where W&B is disabled, or somebody has deleted the record.
    """
    record = read_record(Path(folder) / RECORD)
    if record is None:
        return None
    is_done = record["status"] == "done"
    fields: dict[str, Any] = {"id": run_id, "name": shortened(name, MAX_NAME)}
    fields |= {"job_type": CELL_JOB, "config": config_of(record)}
    fields["notes"] = notes_of(Path(folder), RECORD, record.get("cell_id"))
    with _run(tracking, Path(folder).parent, tags_of(record), is_done, **fields) as place:
        if place is None:
            return None
        if is_done:
            _log_history(place.run, record, Path(folder))
            if place.url is not None:
                _log_artifacts(place.run, tracking, Path(folder), record)
        place.run.summary.update(summary_of(record, Path(folder)) | place.links())
    return place.told(str(record.get("finished_at")))


def log_report(tracking: Settings, folder: str, run_id: str, name: str) -> Place | None:
    """Mirror the report in `folder` as one run; say where it is, None where W&B is disabled."""
    state = report_state(Path(folder))
    fields = {"id": run_id, "name": shortened(name, MAX_NAME), "job_type": ANALYSIS_JOB}
    fields["notes"] = notes_of(Path(folder), INDEX)
    with _run(tracking, Path(folder).parent, [ANALYSIS_JOB], True, **fields) as place:
        if place is None:
            return None
        files = report_files(Path(folder))
        media = {key: _to_media(path) for key, path in files.items()}
        place.run.log(media | _scalars(Path(folder)))
        sentences = json.loads((Path(folder) / CONCLUSION).read_bytes())
        place.run.summary.update({"conclusion": "\n".join(sentences)} | place.links())
    return place.told(str(state))


def _scalars(report: Path) -> dict[str, float]:
    """Read the numbers of a report that are charted over sweeps; one of older versions has none."""
    path = report / SCALARS
    found = json.loads(path.read_bytes()) if path.is_file() else {}
    return numbers("", found)


def push(tracking: Settings, folder: str) -> Pushed:
    """Push the dashboard of the sweep in `folder`; say where workspace and report are."""
    from calib_sweep.tracking.dashboard import push_sweep

    return push_sweep(Path(folder), tracking["project"], tracking["entity"])


class _Place:
    """A run that is open, and where it lies."""

    def __init__(self, run: "Run", sweep: Path) -> None:
        self.run, self.sweep = run, sweep
        self.folder = Path(run.dir).parent
        self.url = None if run.offline else run.url

    def links(self) -> dict[str, str]:
        """Return the addresses of the report's run and of those of all cells; offline none."""
        return {} if self.url is None else links_of(self.url, self.sweep.name)

    def told(self, shows: str) -> Place:
        if self.url is not None:
            return {"is_online": True, "run": self.url, "shows": shows}
        return {"is_online": False, "run": str(self._inside()), "shows": shows}

    def require_whole(self) -> None:
        """Raise `LossError` if the server refused a part of the run, or the disk was full."""
        log = self.folder / "logs" / "debug-internal.log"
        text = log.read_text() if log.is_file() else ""
        errors = [line for line in text.splitlines() if '"level":"ERROR"' in line]
        if lost := [line for line in errors if any(loss in line for loss in LOSSES)]:
            raise LossError((lost[0].partition('"msg":')[2] or lost[0])[:300])
        files = [*self.folder.glob("*.wandb"), *([log] if log.is_file() else [])]
        if not all(file.stat().st_size for file in files):
            raise LossError("its files were not written")
        self._inside()

    def _inside(self) -> Path:
        """Return where it is, seen from the sweep. wandb goes elsewhere where it cannot write."""
        try:
            return self.folder.relative_to(self.sweep)
        except ValueError:
            raise LossError(f"{self.sweep} cannot be written") from None


@contextlib.contextmanager
def _run(
    tracking: Settings, sweep: Path, tags: list[str], is_done: bool, **fields: Any
) -> Iterator[_Place | None]:
    import wandb

    mode: Any = find_mode(tracking)
    if mode == "disabled":
        yield None
        return
    words = [shortened(tag, MAX_TAG) for tag in [*tracking["tags"], *tags]]
    run = wandb.init(
        project=tracking["project"],
        entity=tracking["entity"],
        group=group_of(sweep.name),
        tags=list(dict.fromkeys(words)),
        dir=str(sweep),
        mode=mode,
        # Not `resume`: a mirror that is made again writes over the one before.
        settings=wandb.Settings(
            console="off",
            silent=True,
            x_disable_stats=True,
            # Of whoever pushes it: not where, nor by which code and packages, the cell was run.
            x_disable_meta=True,
            x_save_requirements=False,
            disable_git=True,
            save_code=False,
            host="",
            program="calib_sweep",
            init_timeout=tracking["timeout_s"],
            finish_timeout=tracking["timeout_s"],
            finish_timeout_raises=True,
        ),
        **fields,
    )
    place = None if run.disabled else _Place(run, sweep)
    yield place
    run.finish(exit_code=0 if is_done else 1)
    if place is not None:
        place.require_whole()


def _log_artifacts(run: "Run", tracking: Settings, folder: Path, record: Record) -> None:
    """Have the run use the calibration set of its cell, which is sent once, and log its items."""
    if SET in tracking["artifacts"] and (used := record.get("calibration")):
        key = (run.entity, run.project, used["hash"])
        if (sent := _sent_sets.get(key)) is not None:
            run.use_artifact(sent)
        elif (found := calibration_set(folder, record)) is not None:
            _sent_sets[key] = run.use_artifact(_to_wandb(found), aliases=list(found.aliases))
    if ITEM_SCORES in tracking["artifacts"] and (found := items(folder, record, run.id)):
        run.log_artifact(_to_wandb(found))


_sent_sets: dict[tuple[str, str, str], "wandb.Artifact"] = {}  # by this process


def _to_wandb(found: Artifact) -> "wandb.Artifact":
    import wandb

    made = wandb.Artifact(found.name, type=found.type, metadata=dict(found.metadata))
    for name, path in found.files.items():  # sent from where they are: they never change
        made.add_file(str(path), name=name, policy="immutable", skip_cache=True)
    return made


def _log_history(run: "Run", record: Record, folder: Path) -> None:
    """A step for each block, with the errors of its layers, and one with the scores."""
    run.define_metric(BLOCK, summary="none")
    run.define_metric(f"{ERROR}/*", step_metric=BLOCK, summary="none")
    for point in read_curves(folder):
        run.log(point)
    run.log(numbers("", record["scores"]))


def _to_media(path: Path) -> "WBValue":
    import wandb

    if path.suffix == ".png":
        return wandb.Image(str(path))
    if path.suffix == ".html":
        return wandb.Html(str(path), inject=False)
    columns, rows = read_table(path)
    return wandb.Table(columns=list(columns), data=list(rows), allow_mixed_types=True)


CALLS: Mapping[str, Callable[..., object]] = {
    "find_mode": find_mode,
    "log_cell": log_cell,
    "log_report": log_report,
    "push": push,
}


if __name__ == "__main__":
    for variable in OF_ANOTHER_RUN:
        os.environ.pop(variable, None)
    if not os.environ.get("WANDB_MODE"):
        os.environ.pop("WANDB_MODE", None)  # empty is unset, which wandb does not know
    answer_all(CALLS, "wandb")
