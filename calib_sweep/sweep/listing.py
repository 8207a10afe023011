"""`calib-sweep ls FOLDER`: the cells of a sweep, their scores, and their states as in status."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from rich.table import Table

from calib_sweep import valid_json
from calib_sweep.analysis.formatting import number, scale
from calib_sweep.arguments import folders_and_settings, near_sweeps, option
from calib_sweep.cell import Cell
from calib_sweep.console import configure_logging, output, write
from calib_sweep.errors import ConfigError, StoreError
from calib_sweep.places import RECORD, RECORDS
from calib_sweep.results import grids
from calib_sweep.results.claim import holder_of
from calib_sweep.results.means import ACC_MEAN, PPL_MEAN
from calib_sweep.results.reading import read_record
from calib_sweep.results.store import Store
from calib_sweep.settings import axes_of, settings_text, telling, text_of
from calib_sweep.sweep.standing import DONE, LOST, RUNNING, STATES, state_of
from calib_sweep.wording import counted, meant

log = logging.getLogger(__name__)

METRIC, JSON = "--metric", "--json"
AXES = ("model", "method", "dataset", "seed", "replicate")
DIGITS = 4  # of a score
SOME_LEFT_OUT = 3  # exit code
MAX_SCORES = 4  # of cells without means
MAX_VALUES = 20  # of a key, in a note


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A cell as a list shows it."""

    state: str
    folder: str
    axes: Mapping[str, object]
    settings: Mapping[str, object]
    scores: Mapping[str, float | None]
    told: str  # who runs it, or the error that ended it

    def value(self, key: str) -> str | None:
        """Return what the cell has under `key`, as it is typed; None for what it has not."""
        if key == "state":
            return self.state
        of = self.axes if key in AXES else self.settings
        return text_of(of[key]) if of.get(key) is not None else None


def main(arguments: Sequence[str]) -> int:
    """Print the cells of a folder that were asked for."""
    configure_logging()
    wanted, words = option("ls", arguments, METRIC)
    is_json = JSON in words
    folders, filters = folders_and_settings("ls", words, (METRIC, JSON))
    folders = [folder for folder in folders if str(folder) != JSON]
    if len(folders) != 1:
        raise ConfigError(
            f"ls {' '.join(arguments) or 'nothing'}: expected the folder of one sweep. "
            "Example: python -m calib_sweep ls results/NAME."
        )
    store = Store(folders[0].absolute().parent, folders[0].absolute().name)
    flaws: list[str] = []
    found = list(listed(store, flaws))
    for flaw in flaws:
        log.error("left out: %s", flaw)
    if not found:
        raise ConfigError(
            f"{folders[0]}: expected the folder of a sweep, and no cells are there. "
            f"Example: python -m calib_sweep ls results/default.{near_sweeps(folders[0])}"
        )
    patterns = _read_filters(filters, found)
    shown = [one for one in found if _passes(one, patterns)]
    metrics = wanted.split(",") if wanted else None
    _require_known(metrics or [], found)
    _note_unmatched(patterns, found)
    if is_json:
        write("".join(valid_json.dumps(_as_json(one, metrics)) + "\n" for one in shown))
        return SOME_LEFT_OUT if flaws else 0
    metrics = metrics or _headlines(shown)
    output(_table(shown, metrics, telling((axes_of(one.axes), one.settings) for one in found)))
    output(_summary(shown, len(found)))
    return SOME_LEFT_OUT if flaws else 0


def listed(store: Store, flaws: list[str]) -> Iterator[Listed]:
    """Yield the cells of a folder, in the order of their folders' names.

    `flaws`: gets a sentence for each grid that cannot be read.
    """
    planned = {cell.folder_name: cell for cell in grids.kept_cells(store, flaws)}
    present = {path.parent.name for path in store.folder.glob(RECORDS)}
    for name in sorted(planned.keys() | present):
        yield _listed(store, store.folder / name, planned.get(name))


def _listed(store: Store, folder: Path, cell: Cell | None) -> Listed:
    try:
        record, told = read_record(folder / RECORD), ""
    except (StoreError, OSError) as error:  # damaged, or a colleague's
        record, told = None, str(error)
    if record is not None:
        names, own = record["cell"], record["cell"].get("settings") or {}
        axes = {key: names.get(key) for key in AXES}
    else:
        axes = dict(cell.axes()) if cell is not None else {}
        own = cell.settings if cell is not None else {}
    has_scores = record is not None and record["status"] == DONE
    is_done = has_scores if cell is None or record is None else store.completes(cell, record)
    state = state_of(folder, record, is_done=is_done)
    if state in (RUNNING, LOST):
        told = holder_of(folder) or ""
    elif record is not None and (error := record.get("error")) is not None:
        told = f"{error['type']}: {error.get('message') or ''}".splitlines()[0]
    scores = record["scores"] if record is not None and has_scores else {}
    return Listed(
        state=state, folder=folder.name, axes=axes, settings=own, scores=scores, told=told
    )


def _read_filters(words: Sequence[str], found: Sequence[Listed]) -> dict[str, list[str]]:
    """Return the patterns by key; `ConfigError` for a key that no cell has."""
    known = ["state", *AXES, *sorted({key for one in found for key in one.settings})]
    filters: dict[str, list[str]] = {}
    wrong = []
    for word in words:
        key, _, values = word.partition("=")
        if key in filters:
            both = ",".join([*filters[key], values])
            wrong.append(f"{word}: {key} is typed twice. Type {key}={both}.")
        filters[key] = values.split(",")
        if key not in known:
            expected = f"expected one of {', '.join(known)}"
            wrong.append(f"{word}: no cell has such a key, {expected}.{meant(key, known)}")
        elif key == "state" and (other := [v for v in filters[key] if v not in STATES]):
            wrong.append(f"state={','.join(other)}: expected {', '.join(STATES)}.")
    if wrong:
        raise ConfigError(*wrong)
    return filters


def _passes(one: Listed, filters: Mapping[str, Sequence[str]]) -> bool:
    return all(
        any(fnmatchcase(_typed(one.value(key)), pattern) for pattern in patterns)
        for key, patterns in filters.items()
    )


def _typed(value: str | None) -> str:
    return "null" if value is None else value


def _note_unmatched(filters: Mapping[str, Sequence[str]], found: Sequence[Listed]) -> None:
    """Say which patterns fit no cell of the sweep at all: a slip of the hand, mostly."""
    for key in (key for key in filters if key != "state"):
        values = sorted({_typed(one.value(key)) for one in found})
        more = f" and {len(values) - MAX_VALUES:,} more" if len(values) > MAX_VALUES else ""
        for pattern in (p for p in filters[key] if not any(fnmatchcase(v, p) for v in values)):
            known, near = ", ".join(values[:MAX_VALUES]), meant(pattern, values)
            log.warning("%s=%s: no cell has it; they have %s%s.%s", key, pattern, known, more, near)


def _headlines(shown: Sequence[Listed]) -> list[str]:
    """Return the two means; of cells from elsewhere that have none, some scores."""
    known = {metric for one in shown for metric in one.scores}
    return [m for m in (PPL_MEAN, ACC_MEAN) if m in known] or sorted(known)[:MAX_SCORES]


def _require_known(metrics: Sequence[str], found: Sequence[Listed]) -> None:
    known = sorted({metric for one in found for metric in one.scores})
    wrong = [
        f"{METRIC} {metric}: expected a score of these cells ({', '.join(known) or 'none'})."
        f"{meant(metric, known)}"
        for metric in metrics
        if metric not in known
    ]
    if wrong and known:
        raise ConfigError(*wrong)


def _table(shown: Sequence[Listed], metrics: Sequence[str], differing: Sequence[str]) -> Table:
    """Return a row for each cell, with those of its settings in which cells differ."""
    table = Table(box=None, pad_edge=False)
    for heading in ("state", *AXES[:4], "settings"):
        table.add_column(heading, no_wrap=heading == "state")
    for metric in metrics:
        table.add_column(f"{metric}, %" if scale(metric) != 1 else metric, justify="right")
    table.add_column("")
    for one in shown:
        axes = ["-" if (value := one.value(key)) is None else value for key in AXES[:4]]
        replicate = {"replicate": one.axes["replicate"]} if one.axes.get("replicate") else {}
        scores = [_score(one.scores.get(metric), metric) for metric in metrics]
        own = {key: one.settings[key] for key in differing if key in one.settings}
        told = settings_text({**own, **replicate})
        table.add_row(one.state, *axes, told, *scores, one.told)
    return table


def _score(value: float | None, metric: str) -> str:
    return "-" if value is None else number(scale(metric) * value, DIGITS)


def _summary(shown: Sequence[Listed], num_found: int) -> str:
    counts = [(state, sum(one.state == state for one in shown)) for state in STATES]
    told = ", ".join(f"{count:,} {state}" for state, count in counts if count)
    of = "" if len(shown) == num_found else f" of {num_found:,}"
    return f"{counted(len(shown), 'cell')}{of}: {told or 'none of those asked for'}"


def _as_json(one: Listed, metrics: Sequence[str] | None) -> dict[str, object]:
    """Return a cell as plain values, with the scores that were asked for, or all."""
    wanted = one.scores if metrics is None else [m for m in metrics if m in one.scores]
    axes, settings = dict(one.axes), dict(one.settings)
    told = {"told": one.told} if one.told else {}
    place = {"state": one.state, "folder": one.folder}
    return {
        **place,
        **axes,
        "settings": settings,
        "scores": {m: one.scores[m] for m in wanted},
        **told,
    }
