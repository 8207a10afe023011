"""The W&B dashboard of a sweep as code: a workspace of panels, and a report that explains them.

    report/dashboard/  workspace.json  report.json    as W&B would get them, without an account
                       pushed.json                    where they are in W&B, once it has got them

What they show is in `panels`. The keys of what runs have logged come from the records, layers and
report on disk, by the rules by which `tracking` logs them: W&B need not be asked.
"""

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from calib_sweep import atomic, valid_json
from calib_sweep.console import write
from calib_sweep.errors import ConfigError
from calib_sweep.places import CONCLUSION, DASHBOARD, REPORT, SCALARS
from calib_sweep.results.record import Record
from calib_sweep.results.store import Store
from calib_sweep.settings import axes_of, telling
from calib_sweep.tracking.client_process import MirrorError
from calib_sweep.tracking.layer_curves import BLOCK, read_curves
from calib_sweep.tracking.marks import Mark, done_records
from calib_sweep.tracking.mirrored import (
    CELL,
    Pushed,
    Settings,
    report_files,
)
from calib_sweep.tracking.panels import Logged, build_report, build_workspace, own_entity
from calib_sweep.tracking.sync import DEFAULTS, sweep_of
from calib_sweep.tracking.wandb import WandbTracking, with_overrides

PUSHED = "pushed.json"


def main(arguments: Sequence[str]) -> int:
    """Write the dashboard of the sweep in the folder named, push it when logged in."""
    store, typed = sweep_of("dashboard", arguments)
    logged = read_logged(store)
    tracking = read_tracking(logged, typed)
    write_dashboard(store.folder / REPORT / DASHBOARD, logged, tracking.project)
    write(_publish(store, tracking))
    return 0


def read_logged(store: Store) -> Logged:
    """Read what W&B has of the sweep in `store`; `ConfigError` where it has nothing."""
    name, report = str(store.folder), store.folder / REPORT
    if not (report / CONCLUSION).is_file():
        raise ConfigError(
            f"dashboard {name!r}: expected the folder of a sweep with a report in it. First type "
            f"python -m calib_sweep report {shlex.quote(name)}."
        )
    runs = sorted(_mirrored(store), key=lambda run: run[1]["shows"])
    if not runs:
        raise ConfigError(
            f"dashboard {name!r}: expected a sweep whose cells are W&B runs, but none is. "
            "Run the sweep's command again with tracking=wandb: finished cells are only uploaded."
        )
    records = [record for record, _, _ in runs]
    folders = {(r["cell"]["model"], r["cell"]["method"]): folder for r, _, folder in runs}
    points = [point for folder in folders.values() for point in read_curves(folder)]
    mark = WandbTracking.marks.read(report)
    return Logged(
        sweep_name=store.sweep_name,
        sentences=json.loads((report / CONCLUSION).read_bytes()),
        places=[(mark.get("project"), mark.get("entity")) for _, mark, _ in runs],
        axes=_axes(records),
        scores=sorted({key for record in records for key in record["scores"]}),
        curves=sorted({key for point in points for key in point} - {BLOCK}),
        shown=list(report_files(report)) if mark else [],
        scalars=_scalars(report) if mark else [],
        records=f"{store.folder.absolute().parent.name}/{store.sweep_name}",
        report=mark["run"] if mark and mark["is_online"] else None,
    )


def _scalars(report: Path) -> list[str]:
    """Return the names of the report's numbers; one of older versions has none."""
    path = report / SCALARS
    return sorted(json.loads(path.read_bytes())) if path.is_file() else []


def _mirrored(store: Store) -> Iterator[tuple[Record, Mark, Path]]:
    """Yield record, mark and folder of each finished cell that is a run of W&B."""
    for folder, record in done_records(store.folder).items():
        if mark := WandbTracking.marks.read(folder):
            yield record, mark, folder


def _axes(records: Sequence[Record]) -> list[str]:
    """Return the configuration keys by which runs are grouped: seeds fall into one group."""
    cells = [record["cell"] for record in records]
    several_models = len({cell["model"] for cell in cells}) > 1
    axes = ["model"] * several_models + ["method", "dataset"]
    settings = telling((axes_of(cell), cell.get("settings") or {}) for cell in cells)
    return [f"{CELL}.{axis}" for axis in axes] + settings


def read_tracking(logged: Logged, overrides: Sequence[str]) -> WandbTracking:
    """Return where the last run went, changed by `overrides` (tracking.wandb.KEY=VALUE)."""
    project, entity = logged.places[-1]
    return with_overrides(
        "dashboard", cast(Settings, {**DEFAULTS, "project": project, "entity": entity}), overrides
    )


def write_dashboard(folder: Path, logged: Logged, project: str) -> None:
    """Write both as JSON, as W&B gets them but for ids that only W&B knows. Contacts nothing."""
    folder.mkdir(exist_ok=True)
    for name, build in (("workspace", build_workspace), ("report", build_report)):
        model = build(logged, project, "")._to_model()  # the library has no public way to it
        text = model.model_dump_json(by_alias=True, exclude_none=True, indent=1)
        atomic.write(folder / f"{name}.json", text + "\n")


def _publish(store: Store, tracking: WandbTracking) -> str:
    """Push when logged in; return what to tell the user."""
    folder = store.folder / REPORT / DASHBOARD
    try:
        if tracking.current_mode() != "online":
            is_whole = all(mark["is_online"] for _, mark, _ in _mirrored(store))
            sync = f"python -m calib_sweep sync {shlex.quote(str(store.folder))}, "
            sync = "" if is_whole else sync
            return (
                f"dashboard: {folder / 'workspace.json'} and report.json\n"
                "Not pushed: W&B is offline, or you are not logged in. To push it, type wandb "
                f"login, {sync}and this command again.\n"
            )
        pushed = tracking.push(store.folder)
    except MirrorError as error:
        raise ConfigError(
            f"dashboard: W&B did not take it ({error}). It is safe in {folder}. Run the same "
            "command again, or add tracking.wandb.mode=offline to write the files only."
        ) from error
    return f"workspace: {pushed['workspace']['url']}\nreport: {pushed['report']['url']}\n"


def push_sweep(folder: Path, project: str, entity: str | None) -> Pushed:
    """Push the dashboard of the sweep in `folder`."""
    logged = read_logged(Store(folder.parent, folder.name))
    return push(folder / REPORT / DASHBOARD / PUSHED, logged, project, entity)


def push(path: Path, logged: Logged, project: str, entity: str | None) -> Pushed:
    """Make both in W&B, or renew those that `path` names; say there, and return, what they are."""
    entity = entity or own_entity(project)
    workspace = build_workspace(logged, project, entity)
    before = json.loads(path.read_bytes()) if path.is_file() else {}
    if (before.get("project"), before.get("entity")) == (project, entity):
        workspace._internal_name = before["workspace"]["name"]
        workspace._internal_id = before["workspace"]["id"]
    else:
        before = {}
    workspace.save()
    report = build_report(logged, project, entity, workspace.url)
    if before:
        report.id = before["report"]["id"]
    report.save()
    name, view = workspace._internal_name, workspace._internal_id
    pushed: Pushed = {
        "project": project,
        "entity": entity,
        "workspace": {"name": name, "id": view, "url": workspace.url},
        "report": {"id": report.id, "url": report.url},
    }
    atomic.write(path, valid_json.dumps(pushed, indent=1) + "\n")
    return pushed
