"""A sweep's records as one tidy table: one row per cell and score.

Columns: model, method, dataset, seed, replicate; one column per setting that the cell has;
settings (all of them as text), metric, value, stderr, status, error, cell_id; in `read_table` also
what was measured of the cell (`measured`). A cell without
scores has one row, whose metric is None: "failed", "unreadable" (a damaged record), "refused" (its
scores cannot be true: `refusals`), or "unfinished" (started, no record yet). Of done cells that
nothing tells apart, as an older version of this program may have left, all but the last are
"superseded"; one all of whose scores stand in another of the same weights is "contained"
(`contained`). Of a record only schema, status, cell and scores are needed, so that scores from
elsewhere can be read as well.

A setting is what was swept or overridden, or differs between cells of the same model, method and
dataset. It is looked up in each cell's configuration, so that a default and the same value typed
are one setting. What cannot move a cell's numbers is left out.

Cells without the means over corpora and tasks are given them (`means`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from calib_sweep.analysis.metrics import NONE_DECLARED, Declared
from calib_sweep.analysis.scores.cells import Axes, ReadCell
from calib_sweep.analysis.scores.contained import CONTAINED, without_contained
from calib_sweep.analysis.scores.means import ACC_MEAN, stderr_with_means, unlike_tasks, with_means
from calib_sweep.analysis.scores.measured import MEASURED, measured
from calib_sweep.analysis.scores.refusals import refuse
from calib_sweep.errors import printable
from calib_sweep.places import BROKEN, CONFIG, RECORD
from calib_sweep.results.reading import UnreadableRecordError, read_record
from calib_sweep.settings import (
    MOVING,
    PREFIX,
    PREPARATIONS,
    SELECTOR,
    applies,
    axes_of,
    flatten,
    flatten_config,
    settings_text,
    telling,
    text_of,
)

if TYPE_CHECKING:
    import pandas as pd

DENSE = "dense"
UNNAMED = "unnamed"  # the dataset of a cell that has a seed, hence read data, and names none

AXES = ("model", "method", "dataset", "seed", "replicate")
LEFT_OUT = ("superseded", CONTAINED)  # their scores, or equal ones, stand in other cells
COLUMNS = (*AXES, "settings", "metric", "value", "stderr", "status", "error", "cell_id")

Row = dict[str, Any]  # the columns above; which settings there are, the sweep says


def read_table(folder: str | Path) -> "pd.DataFrame":
    """Read the tidy table of the sweep in `folder`; missing: a setting that a cell has not."""
    import pandas as pd

    cells = read_cells(folder)
    rows = to_rows(cells)
    names = [*AXES, *_setting_names(rows), *COLUMNS[len(AXES) :]]
    table = pd.DataFrame(rows, columns=pd.Index(names))
    beside = {record["cell_id"]: asdict(measured(record)) for record in cells}
    for name in MEASURED:
        table[name] = [beside[cell_id][name] for cell_id in table["cell_id"]]
    return table.astype({"seed": "Int64", "replicate": "Int64", "value": float, "stderr": float})


def _setting_names(rows: Iterable[Row]) -> list[str]:
    return sorted({name for row in rows for name in settings_of(row)})


def read_rows(folder: str | Path) -> list[Row]:
    """Read the tidy table of the sweep in `folder` as dictionaries, in the order of its folders."""
    return to_rows(read_cells(folder))


def read_cells(folder: str | Path, declared: Declared = NONE_DECLARED) -> list[ReadCell]:
    """Read one record per cell of the sweep in `folder`; a stub where none can be read.

    Cells whose scores cannot be true are refused; `declared` of metrics as `analysis.metrics`.
    """
    folders = [path for path in sorted(Path(folder).iterdir()) if path.is_dir()]
    found = [_read_cell(path) for path in folders if not path.name.startswith(".")]
    known = refuse([record for record in found if record is not None], declared)
    return without_contained(known)


def _read_cell(folder: Path) -> ReadCell | None:
    try:
        record = read_record(folder / RECORD)
    except UnreadableRecordError as error:
        return _stub(folder, "unreadable", f"{RECORD} {error.what}")
    except OSError as error:
        return _stub(folder, "unreadable", f"{RECORD} cannot be read: {error.strerror}")
    if record is not None:
        found = cast(ReadCell, _printable(record))
        cell = found["cell"]
        read_data = cell["method"] != DENSE and cell.get("seed") is not None
        cell["dataset"] = cell.get("dataset") or (UNNAMED if read_data else None)
        name = found.get("cell_id") or printable(folder.name)
        return {**found, "cell_id": name, "folder": folder.name}
    if aside := sorted(folder.glob(BROKEN)):
        return _stub(folder, "unreadable", f"damaged record, set aside: {aside[-1].name}")
    if (folder / CONFIG).exists():
        return _stub(folder, "unfinished", "no record: interrupted, or still running")
    return None  # not a cell: the report, logs


def _stub(folder: Path, status: str, why: str) -> ReadCell:
    return {
        "cell_id": printable(folder.name),
        "status": status,
        "cell": cast(Axes, dict.fromkeys(AXES)),
        "scores": {},
        "folder": folder.name,
        "error": {"type": status, "message": printable(why)},
    }


def _printable(value: object) -> object:
    """Return a value of a record with the control characters in its texts written out."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(key): _printable(item) for key, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list) else value


def to_rows(cells: Sequence[ReadCell]) -> list[Row]:
    """Make the tidy rows of `cells` (records, and stubs of cells that have none)."""
    left_out = [record for record in cells if record["status"] == CONTAINED]
    cells = [record for record in cells if record["status"] != CONTAINED]
    heads = []
    for record, settings in zip(cells, cell_settings(cells), strict=True):
        axes = {key: record["cell"].get(key) for key in AXES}
        axes["replicate"] = axes["replicate"] or 0
        heads.append({**axes, **settings, "settings": settings_text(settings)})
    superseded, unlike = _superseded(cells, heads), unlike_tasks(cells)
    rows = []
    for index, (record, common) in enumerate(zip(cells, heads, strict=True)):
        status = "superseded" if index in superseded else record["status"]
        rest = {"status": status, "error": None, "cell_id": record["cell_id"]}
        if record["status"] == "done" and record["scores"]:
            values = with_means(record["scores"])
            has_none = _chose_headlines(record) or common["model"] in unlike
            if has_none and ACC_MEAN not in record["scores"]:
                values.pop(ACC_MEAN, None)
            stderr = stderr_with_means(record.get("stderr") or {}, values)
            for metric, value in values.items():
                score = {"metric": metric, "value": value, "stderr": stderr[metric]}
                rows.append({**common, **score, **rest})
        else:
            rest["error"] = _first_line(record)
            rows.append({**common, **_NO_SCORE, **rest})
    return rows + [_row_of_contained(record) for record in left_out]


_NO_SCORE: Row = {"metric": None, "value": np.nan, "stderr": np.nan}


def _row_of_contained(record: ReadCell) -> Row:
    """Name a cell that is left out. Its settings tell no other cells apart."""
    axes = {key: record["cell"].get(key) for key in AXES}
    axes["replicate"] = axes["replicate"] or 0
    rest = {"status": CONTAINED, "error": None, "cell_id": record["cell_id"]}
    return {**axes, "settings": "", **_NO_SCORE, **rest}


def _superseded(cells: Sequence[ReadCell], heads: Sequence[Row]) -> set[int]:
    """Find done cells that finished before another one which nothing tells from them."""
    order = sorted(range(len(cells)), key=lambda i: str(cells[i].get("finished_at") or ""))
    last: dict[tuple[object, ...], int] = {}
    superseded = set()
    for index in order:
        if cells[index]["status"] == "done":
            key = (*(heads[index][axis] for axis in AXES), heads[index]["settings"])
            if key in last:
                superseded.add(last[key])
            last[key] = index
    return superseded


def _chose_headlines(record: ReadCell) -> bool:
    """Tell whether the cell was told which scores go into acc/mean, so that it may lack one."""
    return any("zero_shot.headline." in name for name in _moving(record.get("config") or {}))


def _first_line(record: ReadCell) -> str:
    """Say what went wrong in a cell, on one line."""
    error = record.get("error")
    if not error:
        return "no scores" if record["status"] == "done" else "no error recorded"
    lines = str(error.get("message") or "").strip().splitlines()
    first = lines[0] if lines else "no message"
    return first if error["type"] == record["status"] else f"{error['type']}: {first}"


def cell_settings(cells: Sequence[ReadCell]) -> list[dict[str, object]]:
    """Return the settings of each cell, by name: what was typed or differs, as the cell was run."""
    typed = [flatten(record["cell"].get("settings") or {}) for record in cells]
    config = [_moving(record.get("config") or {}) for record in cells]
    names = sorted({name for own in typed for name in own} | _differing(cells, config))
    result = []
    for record, own, run in zip(cells, typed, config, strict=True):
        known = {**own, **run}
        applying = [name for name in names if name in known and _applies(name, record["cell"])]
        result.append({_column(name): _plain(known[name]) for name in applying})
    return result


def _moving(config: Mapping[str, object]) -> dict[str, object]:
    return flatten_config({part: config[part] for part in MOVING if part in config})


def _applies(name: str, cell: Axes) -> bool:
    """Tell whether a setting can move the numbers of a cell."""
    reads_data = cell["dataset"] is not None
    return applies(name, is_dense=cell["method"] == DENSE, reads_data=reads_data)


def _differing(cells: Sequence[ReadCell], config: Sequence[dict[str, object]]) -> set[str]:
    """Return what tells cells apart of the same model, method, dataset, selector and the like.

    And the selector itself, where there are two, and the prefix, where a dataset has two.
    """
    alike: dict[tuple[object, ...], list[tuple[None, dict[str, object]]]] = {}
    kind: dict[tuple[object, ...], Axes] = {}
    chosen = {key: {run.get(key) for run in config if run} for key in (SELECTOR, *PREPARATIONS)}
    prefixes: dict[object, set[object]] = {}
    for record, run in zip(cells, config, strict=True):
        if run:
            axes = (*axes_of(record["cell"]), *map(run.get, (PREFIX, *chosen)))
            prefixes.setdefault(record["cell"]["dataset"], set()).add(run.get(PREFIX))
            alike.setdefault(axes, []).append((None, run))
            kind[axes] = record["cell"]
    found = {key for key, values in chosen.items() if len(values) > 1}
    found |= {PREFIX} if any(len(of_one) > 1 for of_one in prefixes.values()) else set()
    return found | {
        name for axes, own in alike.items() for name in telling(own) if _applies(name, kind[axes])
    }


def settings_of(row: Mapping[str, object]) -> dict[str, object]:
    """Return the settings columns of a row."""
    return {name: value for name, value in row.items() if name not in COLUMNS}


def _plain(value: object) -> object:
    """Make a value that can be compared and sorted: lists become text."""
    return text_of(value) if isinstance(value, list | tuple) else value


def _column(name: str) -> str:
    return f"setting.{name}" if name in COLUMNS else name
