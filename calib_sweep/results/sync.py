"""The verb `sync`: bring over to W&B what it lacks of a sweep, when the user asks for it."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from calib_sweep.errors import ConfigError
from calib_sweep.progress import configure_logging, output
from calib_sweep.results import mirrored
from calib_sweep.results.mirrored import REPORT
from calib_sweep.results.reading import RECORD
from calib_sweep.results.store import Store
from calib_sweep.results.tracking import WandbTracking, with_overrides
from calib_sweep.results.wandb_process import MirrorError

log = logging.getLogger(__name__)

DONE, SOME_LEFT = 0, 3
# As conf/tracking/wandb.yaml has them, for sweeps that were run without a mirror.
DEFAULTS = {"project": "calib_sweep", "entity": None, "mode": "auto", "tags": [], "timeout_s": 30}


def main(arguments: Sequence[str]) -> int:
    """Mirror all finished cells of the sweep in the folder named, and its report."""
    configure_logging()
    store = sweep_of("sync", arguments)
    if not any(mirrored.done_record(path.parent) for path in store.folder.glob(f"*/{RECORD}")):
        raise ConfigError(
            f"sync {str(store.folder)!r}: expected the folder of a sweep with finished cells. "
            "Type sync results/NAME."
        )
    tracking = with_overrides("sync", settings_of(store), [a for a in arguments if "=" in a])
    return bring_over(store, tracking, is_online=_require_mode(tracking) == "online")


def sweep_of(verb: str, arguments: Sequence[str]) -> Store:
    """The store of the one folder among `arguments`."""
    folders = [argument for argument in arguments if "=" not in argument]
    if len(folders) != 1:
        given = " ".join(arguments) or "nothing"
        raise ConfigError(
            f"{verb} {given}: expected the folder of one sweep. Type {verb} results/NAME."
        )
    folder = Path(folders[0])
    if folder.name in ("", ".."):
        folder = folder.resolve()
    return Store(folder.parent, folder.name)


def settings_of(store: Store) -> dict[str, Any]:
    """The tracking of the sweep's last finished cell that had any; whoever logs in wants W&B."""
    records = sorted(store.records(), key=lambda record: str(record.get("finished_at")))
    configs = [record.get("config", {}).get("tracking") for record in records]
    kept = [config for config in configs if isinstance(config, Mapping) and "project" in config]
    own = kept[-1] if kept else {}
    return DEFAULTS | {k: v for k, v in own.items() if k in DEFAULTS and k != "mode"}


def _require_mode(tracking: WandbTracking) -> str:
    try:
        mode = tracking.current_mode()
    except MirrorError as error:
        raise ConfigError(f"sync: W&B's client does not start ({error}).") from error
    if mode == "online" or tracking.mode == mode:
        return mode
    raise ConfigError(
        f"sync: W&B is {mode}, or you are not logged in. Type wandb login and the same command, or "
        "tracking.mode=offline for offline runs of what is missing."
    )


def bring_over(store: Store, tracking: WandbTracking, *, is_online: bool) -> int:
    """Mirror what is missing until W&B gives no answer; say what came out."""
    missing = mirrored.missing_cells(store.folder, online=is_online)
    names = titles(store)
    tasks: list[Callable[[], None]] = [
        partial(tracking.mirror_missing, folder, names[folder.name], online=is_online)
        for folder in missing
    ]
    tasks.append(partial(tracking.mirror_report, store.folder / REPORT, online=is_online))
    problem = _perform(tasks)
    left = mirrored.missing_cells(store.folder, online=is_online)
    where = "in W&B" if is_online else "offline runs"
    num_taken = len(missing) - len(left)
    output(f"sync {store.folder}: {num_taken} cells are now {where}, {len(left)} left")
    if problem is not None:
        mirrored.begin_waiting(store.folder, problem)
        output(f"W&B did not take all ({problem}). Type the same command to go on.")
    elif left:
        output("They are with workers that run. Type the same command when they have ended.")
    else:
        mirrored.end_waiting(store.folder)
    return SOME_LEFT if left or problem is not None else DONE


def _perform(tasks: Sequence[Callable[[], None]]) -> str | None:
    """Do `tasks`; the last problem, None without. Silence ends it: each further one may cost it."""
    problem = None
    for number, task in enumerate(tasks, 1):
        try:
            task()
        except (MirrorError, OSError) as error:
            problem = str(error)
            log.warning("run %d of %d: %s", number, len(tasks), error)
            if isinstance(error, MirrorError) and error.is_silence:
                break
    return problem


def titles(store: Store) -> dict[str, str]:
    """Name the run of each finished cell, by folder: its axes, and the settings that differ."""
    folders = [path.parent for path in sorted(store.folder.glob(f"*/{RECORD}"))]
    cells = {f.name: record["cell"] for f in folders if (record := mirrored.done_record(f))}
    values: dict[str, set[str]] = {}
    for cell in cells.values():
        for key, value in (cell.get("settings") or {}).items():
            values.setdefault(key, set()).add(json.dumps(value))
    varied = [key for key, found in values.items() if len(found) > 1]
    return {name: _title(cell, varied) for name, cell in cells.items()}


def _title(cell: Mapping[str, Any], varied: Sequence[str]) -> str:
    axes = [cell[key] for key in ("model", "method", "dataset") if cell.get(key)]
    seed = [] if cell.get("seed") is None else [f"seed {cell['seed']}"]
    settings = cell.get("settings") or {}
    return " ".join(
        [*axes, *seed, *(f"{key}={settings[key]}" for key in varied if key in settings)]
    )
