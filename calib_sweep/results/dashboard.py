"""The W&B dashboard of a sweep as code: a workspace of panels, and a report that explains them.

    report/dashboard/  workspace.json  report.json    as W&B would get them, without an account
                       pushed.json                    where they are in W&B, once it has got them

What they show is in `panels`. The keys of what runs have logged come from the records, layers and
report on disk, by the rules by which `tracking` logs them: W&B need not be asked.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from calib_sweep import atomic
from calib_sweep.errors import ConfigError, collected, require
from calib_sweep.results.layer_curves import BLOCK, read_curves
from calib_sweep.results.panels import Logged, build_report, build_workspace, own_entity
from calib_sweep.results.reading import RECORD, readable_records
from calib_sweep.results.store import Store
from calib_sweep.results.tracking import (
    CELL,
    CONCLUSION,
    MARK,
    REPORT,
    WandbTracking,
    report_files,
)

DASHBOARD, PUSHED = "dashboard", "pushed.json"
SETTINGS = ("project", "entity", "mode")  # of `tracking`, that this verb understands


def main(arguments: Sequence[str]) -> int:
    """Write the dashboard of the sweep in the folder named, push it when logged in."""
    folders = [argument for argument in arguments if "=" not in argument]
    if len(folders) != 1:
        given = " ".join(arguments) or "nothing"
        raise ConfigError(
            f"dashboard {given}: expected the folder of one sweep. Type dashboard results/NAME."
        )
    folder = Path(folders[0])
    if folder.name in ("", ".."):
        folder = folder.resolve()
    store = Store(folder.parent, folder.name)
    logged = read_logged(store)
    tracking = read_tracking(logged, [argument for argument in arguments if "=" in argument])
    write_dashboard(store.folder / REPORT / DASHBOARD, logged, tracking.project)
    sys.stdout.write(_publish(store, logged, tracking))
    return 0


def read_logged(store: Store) -> Logged:
    """What W&B has of the sweep in `store`; `ConfigError` where it has nothing."""
    name, report = str(store.folder), store.folder / REPORT
    if not (report / CONCLUSION).is_file():
        raise ConfigError(
            f"dashboard {name!r}: expected the folder of a sweep, with a report in it. "
            f"Type report {name} first."
        )
    runs = sorted(_mirrored(store), key=lambda run: run[1]["finished_at"])
    if not runs:
        raise ConfigError(
            f"dashboard {name!r}: expected a sweep whose cells are runs of W&B, but none is. "
            "Type the sweep's command again with tracking=wandb: what is finished is only mirrored."
        )
    records = [record for record, _, _ in runs]
    folders = {(r["cell"]["model"], r["cell"]["method"]): folder for r, _, folder in runs}
    points = [point for folder in folders.values() for point in read_curves(folder)]
    return Logged(
        sweep_name=store.sweep_name,
        sentences=json.loads((report / CONCLUSION).read_bytes()),
        places=[(mark.get("project"), mark.get("entity")) for _, mark, _ in runs],
        axes=_axes(records),
        scores=sorted({key for record in records for key in record["scores"]}),
        curves=sorted({key for point in points for key in point} - {BLOCK}),
        shown=list(report_files(report)) if (report / MARK).is_file() else [],
    )


def _mirrored(store: Store) -> Iterator[tuple[dict[str, Any], dict[str, Any], Path]]:
    """Record, mark and folder of each finished cell that is a run of W&B."""
    for path in sorted(store.folder.glob(f"*/{MARK}")):
        for record in readable_records([path.with_name(RECORD)]):
            if record["status"] == "done":
                yield record, json.loads(path.read_bytes()), path.parent


def _axes(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys of the runs' configuration by which they are grouped: seeds fall into one group."""
    several_models = len({record["cell"]["model"] for record in records}) > 1
    values: dict[str, set[str]] = {}
    for record in records:
        for key, value in record["cell"]["settings"].items():
            values.setdefault(key, set()).add(json.dumps(value))
    axes = ["model"] * several_models + ["method", "dataset"]
    settings = sorted(key for key, found in values.items() if len(found) > 1)
    return [f"{CELL}.{axis}" for axis in axes] + settings


def read_tracking(logged: Logged, overrides: Sequence[str]) -> WandbTracking:
    """Where the last run went, changed by `overrides` (tracking.KEY=VALUE)."""
    import yaml

    project, entity = logged.places[-1]
    values: dict[str, Any] = {"project": project, "entity": entity, "mode": "auto"}
    with collected() as problems:
        for text in overrides:
            name, _, value = text.removeprefix("tracking.").partition("=")
            known = ", ".join(f"tracking.{key}" for key in SETTINGS)
            is_known = text.startswith("tracking.") and name in SETTINGS
            remedy = "Type tracking.project=calib_sweep."
            problems.of(require, is_known, "dashboard", text, f"one of {known}", remedy)
            if is_known:
                values[name] = yaml.safe_load(value)
    return WandbTracking(**values, tags=[])


def write_dashboard(folder: Path, logged: Logged, project: str) -> None:
    """Write both as JSON, as W&B gets them but for ids that only W&B knows. Contacts nothing."""
    folder.mkdir(exist_ok=True)
    for name, build in (("workspace", build_workspace), ("report", build_report)):
        model = build(logged, project, "")._to_model()  # the library has no public way to it
        text = model.model_dump_json(by_alias=True, exclude_none=True, indent=1)
        atomic.write(folder / f"{name}.json", text + "\n")


def _publish(store: Store, logged: Logged, tracking: WandbTracking) -> str:
    """Push when logged in; what to tell the user."""
    folder = store.folder / REPORT / DASHBOARD
    try:
        if tracking.current_mode() != "online":
            return (
                f"dashboard: {folder / 'workspace.json'} and report.json\n"
                "Not pushed: W&B is offline, or you are not logged in. To push it, type wandb "
                f"login, wandb sync {store.folder}/wandb/offline-run-*, and this command again.\n"
            )
        pushed = push(folder / PUSHED, logged, tracking)
    except Exception as error:  # W&B raises far more than wandb.Error
        raise ConfigError(
            f"dashboard: W&B did not take it ({type(error).__name__}: {error}). It is safe in "
            f"{folder}. Type the same command to try again, or tracking.mode=offline not to."
        ) from error
    return f"workspace: {pushed['workspace']['url']}\nreport: {pushed['report']['url']}\n"


def push(path: Path, logged: Logged, tracking: WandbTracking) -> dict[str, Any]:
    """Make both in W&B, or renew those that `path` names; say there, and return, what they are."""
    project = tracking.project
    entity = tracking.entity or own_entity(project)
    workspace = build_workspace(logged, project, entity)
    report = build_report(logged, project, entity)
    before = json.loads(path.read_bytes()) if path.is_file() else {}
    if (before.get("project"), before.get("entity")) == (project, entity):
        workspace._internal_name = before["workspace"]["name"]
        workspace._internal_id = before["workspace"]["id"]
        report.id = before["report"]["id"]
    workspace.save()
    report.save()
    name, view = workspace._internal_name, workspace._internal_id
    pushed = {
        "project": project,
        "entity": entity,
        "workspace": {"name": name, "id": view, "url": workspace.url},
        "report": {"id": report.id, "url": report.url},
    }
    atomic.write(path, json.dumps(pushed, indent=1) + "\n")
    return pushed
