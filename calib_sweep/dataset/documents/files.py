"""Text out of local files, in an order that depends on their names and contents alone.

  .txt                              a document per file, or pieces between a separator
  .jsonl .json .jsonl.gz .json.gz   a document per record, from one column
  .parquet                          a document per row, from one column

Record files are read by the `datasets` library into a private folder that is gone as soon as they
are mapped into memory, so nothing is left behind in anybody's cache. Nothing is ever downloaded.
"""

import glob
import hashlib
import shlex
import tempfile
from bisect import bisect_right
from codecs import BOM_UTF8
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calib_sweep import valid_json
from calib_sweep.dataset.documents.documents import Documents, in_memory
from calib_sweep.errors import ConfigError
from calib_sweep.hashing import file_sha256
from calib_sweep.quiet import quiet_datasets
from calib_sweep.wording import typed

if TYPE_CHECKING:
    import datasets

# Longest suffix first: .jsonl.gz is not a .gz of something unknown.
READERS = {
    ".jsonl.gz": "json",
    ".json.gz": "json",
    ".jsonl": "json",
    ".json": "json",
    ".parquet": "parquet",
    ".txt": "text",
}
EXTENSIONS = ", ".join(READERS)


def reader_of(file: Path) -> str | None:
    """Choose the reader of a file by its name; None: none of ours."""
    return next((READERS[end] for end in READERS if file.name.lower().endswith(end)), None)


def find_files(path: str) -> tuple[Path, list[Path]]:
    """The folder that names are relative to, and the files behind a file, a folder or a glob.

    A folder gives all files below it that have a known extension; order is by relative name. What
    is hidden (a notebook's checkpoints, a cache) is no text unless it is named.
    """
    place = Path(path).expanduser()
    if place.is_file():
        root, files = place.parent, [place]
    elif place.is_dir():
        root, files = place, [file for file in place.rglob("*") if reader_of(file)]
    elif any(sign in path for sign in "*?["):
        root = _before_glob(place)
        files = list(root.glob(str(place.relative_to(root))))
    else:
        raise ConfigError(
            f"dataset.path={path!r}: expected a file, a folder or a pattern such as texts/*.txt, "
            f"but nothing is there (seen from {Path.cwd()}). Correct the path, or give it in full."
        )
    files = sorted(f for f in files if f == place or (f.is_file() and not is_hidden(f, root)))
    if not files:
        raise ConfigError(
            f"dataset.path={path!r}: expected at least one file of these kinds: {EXTENSIONS}, "
            "but there is none. Name another folder, or convert your files."
        )
    for file in files:
        if reader_of(file) is None:
            raise ConfigError(
                f"dataset.path={path!r}: expected files of these kinds: {EXTENSIONS}, but "
                f"{file.name} is none of them. Convert it, for example to .jsonl with one document "
                "a line."
            )
    return root, files


def is_hidden(path: Path, root: Path) -> bool:
    """Tell whether `path`, or a folder between it and `root`, has a name that begins with a dot."""
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _before_glob(place: Path) -> Path:
    """The leading part of a pattern that is a plain folder."""
    plain = []
    for part in place.parts:
        if any(sign in part for sign in "*?["):
            break
        plain.append(part)
    return Path(*plain)


def content_hash(file: Path) -> str:
    """Return the SHA-256 of a file, without the mark that may begin a .txt.

    The mark says how the text is written: the same text without it is the same.
    """
    return file_sha256(file, after=BOM_UTF8 if reader_of(file) == "text" else b"")


def fingerprint_files(root: Path, files: Sequence[Path]) -> str:
    """Content hash of files and their names below `root`; where `root` is does not matter."""
    digest = hashlib.sha256()
    for file in files:
        name = file.relative_to(root).as_posix()
        digest.update(f"{name}\x1f{content_hash(file)}\x1e".encode())
    return digest.hexdigest()[:32]


def read_documents(
    root: Path,
    files: Sequence[Path],
    column: str,
    *,
    separator: str | None = None,
    cache_dir: str | None = None,
    content: str | None = None,
) -> Documents:
    """All documents of `files` in order, named `file:number` (a one-document file: `file`).

    `content`: what names the content of files of these names; None: its hash.
    """
    # Whatever decides which texts these are, and in which order.
    how = {"column": column, "separator": separator}

    def identity() -> str:
        names = [file.relative_to(root).as_posix() for file in files] if content else []
        contents = content or [content_hash(file) for file in files]
        kinds = [reader_of(file) for file in files]
        return valid_json.dumps([contents, names, kinds, how], sort_keys=True)

    return _read(root, files, column, separator, cache_dir).named(identity)


def _read(
    root: Path, files: Sequence[Path], column: str, separator: str | None, cache_dir: str | None
) -> Documents:
    kinds = {reader_of(file) for file in files}
    if kinds == {"text"}:
        return _plain_texts(root, files, separator)
    if "text" in kinds:
        raise ConfigError(
            f"dataset.path={str(root)!r}: expected .txt files or record files, but both are there. "
            f"Name one kind. Example: {typed('dataset.path', f'{root.as_posix()}/*.txt')}."
        )
    return _records(root, files, column, cache_dir)


def _plain_texts(root: Path, files: Sequence[Path], separator: str | None) -> Documents:
    texts: list[str] = []
    ids: list[str] = []
    for file in files:
        name = file.relative_to(root).as_posix()
        text = _read_utf8(file)
        if separator is None:
            texts.append(text)
            ids.append(name)
            continue
        pieces = [piece for piece in text.split(separator) if piece.strip()]
        texts.extend(pieces)
        ids.extend(f"{name}:{number}" for number in range(len(pieces)))
    return in_memory(texts, ids)


def _read_utf8(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"dataset.path={str(file)!r}: expected UTF-8 text, but byte {error.start} is none. "
            f"Convert it: iconv -f latin1 -t UTF-8 {shlex.quote(str(file))} > NEW.txt."
        ) from error


def _records(root: Path, files: Sequence[Path], column: str, cache_dir: str | None) -> Documents:
    if {reader_of(file) for file in files} == {"parquet"}:
        table, sizes = _read_parquet(files, column, cache_dir)
    else:
        table, sizes = _read_each(files, column, cache_dir)
    starts = [0, *accumulate(sizes)]
    names = [file.relative_to(root).as_posix() for file in files]

    def read(positions: Sequence[int]) -> list[str]:
        return [text or "" for text in table[list(positions)][column]]

    def name(position: int) -> str:
        file = bisect_right(starts, position) - 1
        return f"{names[file]}:{position - starts[file]}"

    return Documents(num_documents=len(table), read=read, id=name)


def _read_parquet(
    files: Sequence[Path], column: str, cache_dir: str | None
) -> tuple["datasets.Dataset", list[int]]:
    """All files in one go, only the text column of them: (table, rows of each file)."""
    import pyarrow.parquet as pq

    sizes = []
    for file in files:
        try:
            description = pq.read_metadata(file)
        except (ValueError, OSError) as error:
            raise _unreadable(file, error) from error
        _require_column(file, column, description.schema.to_arrow_schema().names)
        sizes.append(description.num_rows)
    return _load("parquet", files, column, cache_dir, columns=[column]), sizes


def _read_each(
    files: Sequence[Path], column: str, cache_dir: str | None
) -> tuple["datasets.Dataset", list[int]]:
    """File by file, because their other columns may differ: (table, rows of each file)."""
    import datasets

    tables = [_load(reader_of(file) or "json", [file], column, cache_dir) for file in files]
    return datasets.concatenate_datasets(tables), [len(table) for table in tables]


def _load(
    reader: str, files: Sequence[Path], column: str, cache_dir: str | None, **options: Any
) -> "datasets.Dataset":
    """Files as one memory-mapped table that has only the text column."""
    table = load_table(reader, files, cache_dir, **options)
    _require_column(files[0], column, table.column_names)
    kind = getattr(table.features[column], "dtype", table.features[column])
    if kind not in ("string", "large_string"):
        raise ConfigError(
            f"dataset.column={column!r}: expected a column of text, but in {files[0].name} it "
            f"holds {kind}. Set dataset.column to the one that holds the text."
        )
    return table.select_columns([column])


def load_table(
    reader: str, files: Sequence[Path], cache_dir: str | None, **options: Any
) -> "datasets.Dataset":
    """Read files into one memory-mapped table; `ConfigError` where they cannot be read."""
    import datasets
    from datasets.exceptions import DatasetGenerationError

    with tempfile.TemporaryDirectory(prefix="calib_sweep-") as private, quiet_datasets():
        try:
            table = datasets.load_dataset(
                reader,
                data_files=[glob.escape(str(file)) for file in files],
                split="train",
                cache_dir=cache_dir or private,
                **options,
            )
        except (DatasetGenerationError, ValueError, OSError, StopIteration) as error:
            raise _unreadable(files[0], error) from error
    assert isinstance(table, datasets.Dataset)
    return table


def _require_column(file: Path, column: str, present: Sequence[str]) -> None:
    if column not in present:
        raise ConfigError(
            f"dataset.column={column!r}: expected one of the columns of {file.name}: "
            f"{', '.join(present)}. Set dataset.column to the one that holds the text."
        )


def _unreadable(file: Path, error: Exception) -> ConfigError:
    # The `datasets` library ends an empty file with a bare StopIteration.
    reason = next(iter(str(error.__cause__ or error).splitlines()), "it is empty")
    return ConfigError(
        f"dataset.path={str(file)!r}: expected records that can be read, but: {reason}. Is the "
        "file complete, and of the kind that its name says?"
    )
