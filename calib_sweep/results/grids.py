"""The grids of a folder: the cells that commands have planned there, for `work` and `status`.

A grid is kept as `grid-HASH.json`, with the resolved configuration of each cell, so that whoever
reads it needs neither the words that were typed nor the YAML they stood for. Thousands of cells
share nearly all of it: each value stands there once, and a cell has its place in the list.

    {"schema": 1, "command": ["-m", ...], "shown": [...],
     "values": {"config.model": [{...}], "config.seed": [0, 1], ...}, "same": ["config.model", ...],
     "cells": [{"id": ..., "needs_data": ..., "values": {"config.seed": 0}}, ...]}

Several grids may lie in a folder. A cell that stands in several is the one of the newest: its
settings that move no number may be others. A file that is damaged, or of another version, is named
and left where it is; the other grids count.
"""

import json
import logging
import os
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from calib_sweep import atomic, valid_json
from calib_sweep.cell import Cell, digest
from calib_sweep.errors import StoreError
from calib_sweep.places import GRID
from calib_sweep.results.store import Store

log = logging.getLogger(__name__)

SCHEMA = 1
PARTS = ("config", "choices", "settings")  # mappings of a cell
OF_PLACE = ("config.results_dir", "config.sweep_name")  # said by the folder, wherever that lies


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The cells of one command, in the order they run, and what was typed for them."""

    cells: tuple[Cell, ...]
    command: tuple[str, ...]
    owner: int  # the user who typed it


def keep(
    store: Store, cells: Sequence[Cell], command: Sequence[str], owner: int | None = None
) -> None:
    """Keep these cells in the folder, as its newest grid, where it can be written.

    The same grid makes the same file. Older ones go whose cells are all in this one.
    `owner`: the user who typed the command; None: whoever runs this process.
    """
    if store.folder.exists() and not os.access(store.folder, os.W_OK):
        return  # a colleague's, in which all is done: else this was refused
    path, text = _file_of(store, cells, command, owner)
    before = _paths(store)
    if before[-1:] == [path] and _is_whole(path, text):
        return
    atomic.make_folder(store.folder)
    atomic.write(path, text)
    own = {cell.id for cell in cells}
    for older in (other for other in before if other != path):
        try:
            if _ids(older) <= own:
                older.unlink(missing_ok=True)
        except StoreError as flaw:
            log.warning("%s", flaw)
        except PermissionError:  # somebody else's, where each deletes only their own
            continue


def kept(store: Store, flaws: list[str]) -> list[Grid]:
    """Return the grids of the folder, the oldest first.

    `flaws`: gets a sentence for each file that is none, or none of this version.
    """
    found: list[Grid] = []
    for path in _paths(store):
        try:
            grid = _read(path, store)
        except StoreError as flaw:
            flaws.append(str(flaw))
        else:
            found += [] if grid is None else [grid]
    return found


def kept_cells(store: Store, flaws: list[str]) -> list[Cell]:
    """Return the cells of all grids of the folder, each once, in the order they run."""
    cells = {cell.id: cell for grid in kept(store, flaws) for cell in grid.cells}
    return list(cells.values())


def take_out(store: Store, ids: Iterable[str]) -> None:
    """Keep the grids of the folder without these cells."""
    gone = set(ids)
    for path in _paths(store):
        try:
            grid = _read(path, store)
        except StoreError as flaw:
            log.error("left out: %s", flaw)
            continue
        if grid is None or gone.isdisjoint(cell.id for cell in grid.cells):
            continue
        if left := [cell for cell in grid.cells if cell.id not in gone]:
            age = path.stat()
            other, text = _file_of(store, left, grid.command, grid.owner)
            atomic.write(other, text)
            os.utime(other, ns=(age.st_atime_ns, age.st_mtime_ns))  # no newer than it was
        path.unlink(missing_ok=True)


def _file_of(
    store: Store, cells: Sequence[Cell], command: Sequence[str], owner: int | None
) -> tuple[Path, str]:
    """Return where a grid is kept, and as what."""
    told = _to_plain(cells, command)
    if owner not in (None, os.geteuid()):
        told["owner"] = owner  # whoever keeps the grid of another does not vouch for it
    text = valid_json.dumps(told, separators=(",", ":")) + "\n"
    return store.folder / GRID.replace("*", digest(text)), text


def _is_whole(path: Path, text: str) -> bool:
    """Tell whether the file at `path` is as it was written."""
    try:
        return path.read_bytes() == text.encode()
    except FileNotFoundError:
        return False


def _paths(store: Store) -> list[Path]:
    """Return the files of the grids, the oldest first."""
    written: dict[Path, int] = {}
    for path in store.folder.glob(GRID):
        try:
            written[path] = path.stat().st_mtime_ns
        except FileNotFoundError:
            continue  # another command has kept a grid that holds its cells
    return sorted(written, key=lambda path: (written[path], path.name))


def _to_plain(cells: Sequence[Cell], command: Sequence[str]) -> dict[str, object]:
    """Return a grid as plain containers, without what its place says."""
    table = _Table()
    rows = [table.row(_flat(cell)) for cell in cells]
    same = [key for key, found in table.values.items() if len(found) == 1 and table.is_full(key)]
    return {
        "schema": SCHEMA,
        "command": list(command),
        "shown": list(cells[0].shown) if cells else [],
        "values": table.values,
        "same": same,
        "cells": [
            {
                "id": cell.id,
                "needs_data": cell.needs_data,
                "values": {key: number for key, number in row.items() if key not in same},
            }
            for cell, row in zip(cells, rows, strict=True)
        ],
    }


def _flat(cell: Cell) -> dict[str, object]:
    """Return all that a cell holds by name: `config.seed`, `choices.method`, ..."""
    found = {f"{part}.{key}": value for part in PARTS for key, value in getattr(cell, part).items()}
    return {key: None if key in OF_PLACE else value for key, value in found.items()}


class _Table:
    """The different values of each key, in order of their first row."""

    def __init__(self) -> None:
        self.values: dict[str, list[object]] = {}
        self._places: dict[str, dict[Hashable, int]] = {}
        self._texts: dict[int, str] = {}  # rows share most of their containers
        self._counts: Counter[str] = Counter()
        self._num_rows = 0

    def row(self, row: Mapping[str, object]) -> dict[str, int]:
        """Take the values of `row` in; return the place of each."""
        self._num_rows += 1
        self._counts.update(row.keys())
        return {key: self._place(key, value) for key, value in row.items()}

    def is_full(self, key: str) -> bool:
        """Tell whether every row has the key."""
        return self._counts[key] == self._num_rows

    def _place(self, key: str, value: object) -> int:
        known = self._known(value)
        places, values = self._places.setdefault(key, {}), self.values.setdefault(key, [])
        if known not in places:
            places[known] = len(values)
            values.append(value)
        return places[known]

    def _known(self, value: object) -> Hashable:
        """Return what is equal for equal values of one type."""
        if value is None or isinstance(value, str | int | float):
            return type(value), value
        if id(value) not in self._texts:
            self._texts[id(value)] = valid_json.dumps(value)
        return self._texts[id(value)]


def _read(path: Path, store: Store) -> Grid | None:
    """Return the grid at `path`; None where it is gone."""
    told = _load(path)
    if told is None:
        return None
    try:
        owner = path.stat().st_uid
        owner = int(told.get("owner", owner)) if owner == os.geteuid() else owner
        cells = [_to_cell(row, told, store) for row in told["cells"]]
    except FileNotFoundError:
        return None
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, f"it is no grid by its form: {error!r}") from error
    pairs = zip(cells, told["cells"], strict=True)
    other = [cell.title for cell, row in pairs if cell.id != row["id"]]
    if other:
        raise StoreError(
            f"{path}: this version, or its lm-eval, gives other numbers than the one that planned "
            f"{other[0]}{f' and {len(other) - 1:,} more' if other[1:] else ''}. Install what the "
            "grid was planned with, or run its command here, in a folder of its own. If nobody "
            "needs it any more, delete it."
        )
    return Grid(cells=tuple(cells), command=tuple(told["command"]), owner=owner)


def _to_cell(row: Mapping[str, Any], told: Mapping[str, Any], store: Store) -> Cell:
    """Return one cell of a grid, in the folder of `store`, wherever that lies here."""
    numbers = dict.fromkeys(told["same"], 0) | row["values"]
    parts: dict[str, dict[str, Any]] = {part: {} for part in PARTS}
    for key, values in told["values"].items():
        if key in numbers:
            part, _, name = key.partition(".")
            parts[part][name] = values[numbers[key]]
    parts["config"] |= {"results_dir": str(store.results_dir), "sweep_name": store.sweep_name}
    return Cell(**cast(Any, parts), needs_data=row["needs_data"], shown=tuple(told["shown"]))


def _ids(path: Path) -> set[str]:
    """Return the ids of the cells of the grid at `path`."""
    told = _load(path)
    try:
        return set() if told is None else {row["id"] for row in told["cells"]}
    except (KeyError, TypeError) as error:
        raise _damaged(path, f"it is no grid by its form: {error!r}") from error


def _load(path: Path) -> dict[str, Any] | None:
    """Read the file of a grid; None where it is gone, `StoreError` where it is none."""
    try:
        told: object = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}). Ask its owner.") from error
    except (ValueError, RecursionError, IsADirectoryError) as error:
        raise _damaged(path, f"it is no JSON: {error}") from error
    if not valid_json.is_object(told) or not isinstance(told.get("cells"), list):
        raise _damaged(path, "it has no cells")
    if told.get("schema") != SCHEMA:
        raise StoreError(
            f"{path} was made by another calib_sweep (schema {told.get('schema')}, this version "
            f"reads {SCHEMA}). Install that version, or plan its grid anew."
        )
    return told


def _damaged(path: Path, what: str) -> StoreError:
    return StoreError(
        f"{path} is damaged ({what}). Delete it, and run the command of its grid again."
    )
