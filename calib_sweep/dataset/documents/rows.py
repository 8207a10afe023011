"""Documents out of record files: a row is a document, one column its text.

`where` keeps the rows whose columns have certain values. Rows keep the numbers of their files.

    {"language": "de"}           de in the column `language`
    {"language": ["de", "fr"]}   either of these
    {"meta.set": "x"}            x under `set`, inside of the column `meta`
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from calib_sweep import valid_json
from calib_sweep.dataset.documents.documents import Documents
from calib_sweep.dataset.documents.tables import load_table, unreadable
from calib_sweep.errors import ConfigError, require
from calib_sweep.wording import typed

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

Where = Mapping[str, object]  # column: its value, or a list of several

BATCH = 10_000  # rows whose columns are looked at together
SHOWN_VALUES = 8


@dataclass(frozen=True)
class _Part:
    """A table of some files, only the column with the text."""

    table: "datasets.Dataset"
    sizes: list[int]  # rows of each file
    rows: np.ndarray | None  # those that are documents, int64; None: all
    met: Mapping[str, set[str]]  # values that columns of `where` have, as far as they are shown


def check_where(where: object) -> None:
    """Raise `ConfigError` unless `where` says which values some columns must have."""
    plain = (str, int, float, bool)
    ok = where is None or (
        isinstance(where, Mapping)
        and all(isinstance(column, str) and column != "" for column in where)
        and all(
            isinstance(wanted, plain)
            or (
                isinstance(wanted, list | tuple)
                and len(wanted) > 0
                and all(isinstance(one, plain) for one in wanted)
            )
            for wanted in where.values()
        )
    )
    require(
        ok,
        "dataset.where",
        where,
        "columns with the value that they must have, or a list of values; null for all rows",
        "Example: 'dataset.where={language: de}'.",
    )


def named(where: Where | None) -> list[str]:
    """Return what `where` asks for as words that do not hang on the order of its columns."""
    return [
        f"{column}={valid_json.dumps(wanted)}" for column, wanted in sorted((where or {}).items())
    ]


def read_rows(
    root: Path,
    files: Sequence[Path],
    readers: Sequence[str],
    column: str,
    where: Where | None,
    cache_dir: str | None,
) -> Documents:
    """All documents of `files`, each read by one of `readers`: parquet or json."""
    import datasets

    if set(readers) == {"parquet"}:
        parts = [_read_parquet(files, column, where, cache_dir)]
    else:  # file by file, because their other columns may differ
        parts = [
            _read(reader, [file], column, where, cache_dir)
            for reader, file in zip(readers, files, strict=True)
        ]
    table = datasets.concatenate_datasets([part.table for part in parts])
    starts = [0, *accumulate(size for part in parts for size in part.sizes)]
    names = [file.relative_to(root).as_posix() for file in files]
    rows = _rows(parts) if where else np.arange(0)
    if where and not len(rows):
        raise _nothing_matches(where, parts, root)

    def row(position: int) -> int:
        return int(rows[position]) if where else position

    def read(positions: Sequence[int]) -> list[str]:
        return [text or "" for text in table[[row(i) for i in positions]][column]]

    def name(position: int) -> str:
        file = bisect_right(starts, row(position)) - 1
        return f"{names[file]}:{row(position) - starts[file]}"

    return Documents(num_documents=len(rows) if where else len(table), read=read, id=name)


def _rows(parts: Sequence[_Part]) -> np.ndarray:
    """The rows that are documents, by their place among those of all parts."""
    starts = [0, *accumulate(len(part.table) for part in parts)]
    found = [
        start + part.rows
        for start, part in zip(starts, parts, strict=False)
        if part.rows is not None
    ]
    return np.concatenate(found)


def _read_parquet(
    files: Sequence[Path], column: str, where: Where | None, cache_dir: str | None
) -> _Part:
    """All files in one go, only the columns that are needed."""
    import pyarrow.parquet as pq

    sizes, needed = [], {column}
    for file in files:
        try:
            description = pq.read_metadata(file)
        except (ValueError, OSError) as error:
            raise unreadable(file, error) from error
        present = description.schema.to_arrow_schema().names
        _require_column("dataset.column", column, file, present)
        needed |= {_column_of(key, file, present) for key in where or ()}
        sizes.append(description.num_rows)
    columns = [column, *sorted(needed - {column})]
    part = _read("parquet", files, column, where, cache_dir, columns=columns)
    return _Part(part.table, sizes, part.rows, part.met)


def _read(
    reader: str,
    files: Sequence[Path],
    column: str,
    where: Where | None,
    cache_dir: str | None,
    **options: Any,
) -> _Part:
    table = load_table(reader, files, cache_dir, **options)
    _require_column("dataset.column", column, files[0], table.column_names)
    kind = getattr(table.features[column], "dtype", table.features[column])
    if kind not in ("string", "large_string"):
        raise ConfigError(
            f"dataset.column={column!r}: expected a column of text, but in {files[0].name} it "
            f"holds {kind}. Set dataset.column to the one that holds the text."
        )
    rows, met = _matching(table, files[0], where) if where else (None, {})
    return _Part(table.select_columns([column]), [len(table)], rows, met)


def _matching(
    table: "datasets.Dataset", file: Path, where: Where
) -> tuple[np.ndarray, dict[str, set[str]]]:
    """The rows whose columns have the wanted values; and values that the columns have."""
    import pyarrow as pa

    columns = {key: _column_of(key, file, table.column_names) for key in where}
    rows, met = [np.zeros(0, dtype=np.int64)], {key: set() for key in where}
    looked_at = table.select_columns(sorted(set(columns.values()))).with_format("arrow")
    for number, batch in enumerate(looked_at.iter(batch_size=BATCH)):
        assert isinstance(batch, pa.Table)
        keeps_B = np.ones(len(batch), dtype=bool)
        for key, wanted in where.items():
            found = _values(batch, key, columns[key], file)
            keeps_B &= [value in _listed(wanted) for value in found]
            met[key] |= {valid_json.dumps(value, default=str) for value in found[:SHOWN_VALUES]}
        rows.append(number * BATCH + np.flatnonzero(keeps_B))
    return np.concatenate(rows), met


def _listed(wanted: object) -> Sequence[object]:
    return wanted if isinstance(wanted, list | tuple) else [wanted]


def _values(batch: "pa.Table", key: str, column: str, file: Path) -> list[object]:
    """The values of a column, or of what stands under names inside of it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = batch[column]
    inside = key.removeprefix(column).removeprefix(".").split(".") if key != column else []
    for name in inside:
        names = [field.name for field in found.type] if pa.types.is_struct(found.type) else []
        _require_column(f"dataset.where.{key}", name, file, names)
        found = pc.struct_field(found, name)  # type: ignore[attr-defined]  (made at import)
    return found.to_pylist()


def _column_of(key: str, file: Path, present: Sequence[str]) -> str:
    """The column that `key` of `where` is in: its own, or the one before its first dot."""
    column = key if key in present else key.partition(".")[0]
    _require_column(f"dataset.where.{key}", column, file, present)
    return column


def _require_column(key: str, column: str, file: Path, present: Sequence[str]) -> None:
    if column in present:
        return
    columns = ", ".join(present) or "none"
    remedy = "Set dataset.column to the one that holds the text."
    if key != "dataset.column":
        remedy = "Name one of these in dataset.where, or type dataset.where=null."
    raise ConfigError(
        f"{key}={column!r}: expected one of the columns of {file.name}: {columns}. {remedy}"
    )


def _nothing_matches(where: Where, parts: Sequence[_Part], root: Path) -> ConfigError:
    """The error for values that no row has; names those that rows have."""
    met = {key: sorted(set().union(*(part.met[key] for part in parts))) for key in where}
    found = "; ".join(f"{key}: {', '.join(met[key][:SHOWN_VALUES])}" for key in where)
    return ConfigError(
        f"{typed('dataset.where', dict(where))}: expected values that some row of the files in "
        f"{root} has, but none has all of them. Among those of the first rows are {found}."
    )
