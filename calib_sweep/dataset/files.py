"""Text out of local files, in an order that depends on their names and contents alone.

  .txt                              a document per file, or pieces between a separator
  .jsonl .json .jsonl.gz .json.gz   a document per record, from one column
  .parquet                          a document per row, from one column

Record files are read by the `datasets` library into a private folder that is gone as soon as they
are mapped into memory, so nothing is left behind in anybody's cache. Nothing is ever downloaded.
"""

import bisect
import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from calib_sweep.dataset.documents import Documents, in_memory
from calib_sweep.errors import ConfigError

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
    """Which reader a file needs by its name; None: none of ours."""
    return next((READERS[end] for end in READERS if file.name.lower().endswith(end)), None)


def find_files(path: str) -> tuple[Path, list[Path]]:
    """The folder that names are relative to, and the files behind a file, a folder or a glob.

    A folder gives all files below it that have a known extension; order is by relative name.
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
            f"dataset.path={path!r}: expected a file, a folder or a pattern such as texts/*.txt; "
            "there is nothing at that place. Check the spelling and the current folder "
            f"({Path.cwd()})."
        )
    files = sorted(f for f in files if f.is_file() and not f.name.startswith("."))
    if not files:
        raise ConfigError(
            f"dataset.path={path!r}: expected at least one file of these kinds: {EXTENSIONS}; "
            "found none. Point it at your text."
        )
    for file in files:
        if reader_of(file) is None:
            raise ConfigError(
                f"dataset.path={path!r}: expected files of these kinds: {EXTENSIONS}; {file.name} "
                "is none of them. Convert it, for example to .jsonl with one document a line."
            )
    return root, files


def _before_glob(place: Path) -> Path:
    """The leading part of a pattern that is a plain folder."""
    plain = []
    for part in place.parts:
        if any(sign in part for sign in "*?["):
            break
        plain.append(part)
    return Path(*plain)


def fingerprint_files(root: Path, files: Sequence[Path]) -> str:
    """Content hash of files and their names below `root`; where `root` is does not matter."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as handle:
            content = hashlib.file_digest(handle, "sha256").hexdigest()
        digest.update(f"{file.relative_to(root).as_posix()}\x1f{content}\x1e".encode())
    return digest.hexdigest()[:32]


def read_documents(
    root: Path,
    files: Sequence[Path],
    column: str,
    *,
    separator: str | None = None,
    cache_dir: str | None = None,
) -> Documents:
    """All documents of `files` in order, named `file:number` (a one-document file: `file`)."""
    kinds = {reader_of(file) for file in files}
    if kinds == {"text"}:
        return _plain_texts(root, files, separator)
    if "text" in kinds:
        raise ConfigError(
            "dataset.path: expected .txt files or record files, found both below "
            f"{root}. Name one kind, for example {root.as_posix()}/*.txt."
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
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"dataset.path: expected UTF-8 text, {file} is something else at byte {error.start}. "
            "Convert it: iconv -t UTF-8."
        ) from error


def _records(root: Path, files: Sequence[Path], column: str, cache_dir: str | None) -> Documents:
    import datasets

    tables = [_read_records(file, column, cache_dir) for file in files]
    starts = [0]
    for table in tables:
        starts.append(starts[-1] + len(table))
    names = [file.relative_to(root).as_posix() for file in files]
    whole = datasets.concatenate_datasets(tables)

    def read(positions: Sequence[int]) -> list[str]:
        return [text or "" for text in whole[list(positions)][column]]

    def name(position: int) -> str:
        file = bisect.bisect_right(starts, position) - 1
        return f"{names[file]}:{position - starts[file]}"

    return Documents(num_documents=len(whole), read=read, id=name)


def _read_records(file: Path, column: str, cache_dir: str | None) -> "datasets.Dataset":
    """One file as a memory-mapped table with only the text column."""
    import datasets
    from datasets.exceptions import DatasetGenerationError

    with tempfile.TemporaryDirectory(prefix="calib_sweep-") as private, _quiet_datasets():
        try:
            table = datasets.load_dataset(
                reader_of(file) or "json",
                data_files=[str(file)],
                split="train",
                cache_dir=cache_dir or private,
            )
        except (DatasetGenerationError, ValueError, OSError, StopIteration) as error:
            # The library ends an empty file with a bare StopIteration.
            reason = next(iter(str(error.__cause__ or error).splitlines()), "it is empty")
            raise ConfigError(
                f"dataset.path: expected records that can be read, {file} is not: {reason}. "
                "Is it complete, and of the kind that its name says?"
            ) from error
    assert isinstance(table, datasets.Dataset)
    if column not in table.column_names:
        raise ConfigError(
            f"dataset.column={column!r}: expected one of the columns of {file.name}: "
            f"{', '.join(table.column_names)}. Set dataset.column to the one that holds the text."
        )
    kind = table.features[column]
    if getattr(kind, "dtype", None) not in ("string", "large_string"):
        raise ConfigError(
            f"dataset.column={column!r}: expected a column of text, in {file.name} it holds "
            f"{getattr(kind, 'dtype', kind)}. Set dataset.column to the one that holds the text."
        )
    return table.select_columns([column])


@contextmanager
def _quiet_datasets() -> Iterator[None]:
    """Silence the progress bars of the `datasets` library, and leave them as they were."""
    import datasets

    were_on = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if were_on:
            datasets.enable_progress_bars()
