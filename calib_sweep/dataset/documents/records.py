"""Records out of local files, whole columns of them: lists and mappings as well as text."""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from calib_sweep.dataset.documents.files import reader_of
from calib_sweep.dataset.documents.tables import load_table
from calib_sweep.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Records:
    """An ordered sequence of records. `id(i)` names record i within its dataset."""

    num_records: int
    read: Callable[[Sequence[int]], list[dict[str, Any]]]  # at these positions, in this order
    id: Callable[[int], str]
    key: Callable[[int], str] | None = None  # of record i in random streams; None: its id


def read_records(
    root: Path,
    files: Sequence[Path],
    columns: Mapping[str, str],
    cache_dir: str | None = None,
    hint: Callable[[Sequence[str]], str] = lambda present: "",
    most: int | None = None,
) -> Records:
    """Return the records of `files` in order, named `file:number`; `most`: the first so many.

    `columns`: those that are read, with the key of the setting that names each. `hint`: what to say
    besides of files with other columns.
    """
    import datasets

    tables = []
    for file in files:
        reader = reader_of(file)
        if reader in (None, "text"):
            raise ConfigError(
                f"dataset.path={str(file)!r}: expected files of records, but a text file has none. "
                "Convert it, for example to .jsonl with one conversation a line."
            )
        table = load_table(reader, [file], cache_dir)
        _require_columns(file, columns, table.column_names, hint)
        tables.append(table.select_columns(list(columns)))
    table = datasets.concatenate_datasets(tables) if len(tables) > 1 else tables[0]
    starts = [0, *accumulate(len(one) for one in tables)]
    names = [file.relative_to(root).as_posix() for file in files]

    def name(position: int) -> str:
        file = bisect_right(starts, position) - 1
        return f"{names[file]}:{position - starts[file]}"

    def read(positions: Sequence[int]) -> list[dict[str, Any]]:
        found = table[list(positions)]
        return [{key: found[key][i] for key in columns} for i in range(len(positions))]

    num = len(table) if most is None else min(most, len(table))
    return Records(num_records=num, read=read, id=name)


def _require_columns(
    file: Path,
    columns: Mapping[str, str],
    present: Sequence[str],
    hint: Callable[[Sequence[str]], str],
) -> None:
    missing = [column for column in columns if column not in present]
    if missing:
        raise ConfigError(
            *(
                f"dataset.{columns[column]}={column!r}: expected one of the columns of "
                f"{file.name}: {', '.join(present)}.{hint(present)}"
                for column in missing
            )
        )
