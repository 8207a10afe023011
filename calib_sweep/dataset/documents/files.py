"""Text out of local files, in an order that depends on their names and contents alone.

.txt           a document per file, or pieces between a separator
.jsonl .json   a document per record, from one column; also compressed: .jsonl.gz, .jsonl.zst
.parquet       a document per row, from one column
"""

import hashlib
import json
import shlex
from codecs import BOM_UTF8
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from calib_sweep import valid_json
from calib_sweep.dataset.documents.documents import Documents, in_memory
from calib_sweep.dataset.documents.rows import Where, read_rows
from calib_sweep.dataset.documents.tables import NUM_REMEMBERED
from calib_sweep.errors import ConfigError
from calib_sweep.hashing import Stamp, file_sha256, stamp_of
from calib_sweep.places import expanded
from calib_sweep.wording import typed

# Longest suffix first: .jsonl.gz is not a .gz of something unknown.
READERS = {
    ".jsonl.zst": "json",
    ".json.zst": "json",
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
    place = expanded(path)
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
    where: Where | None = None,
    cache_dir: str | None = None,
    content: str | None = None,
) -> Documents:
    """All documents of `files` in order, named `file:number` (a one-document file: `file`).

    `where`: the values that columns of a row must have; None: all rows are documents.
    `content`: what names the content of files of these names; None: its hash.
    """
    # Whatever decides which texts these are, and in which order.
    how = {"column": column, "separator": separator, "where": where and dict(where)}

    def identity() -> str:
        names = [file.relative_to(root).as_posix() for file in files] if content else []
        contents = content or [content_hash(file) for file in files]
        kinds = [reader_of(file) for file in files]
        return valid_json.dumps([contents, names, kinds, how], sort_keys=True)

    asked = None if where is None else valid_json.dumps(dict(where))
    stamps = tuple(stamp_of(file) for file in files)
    return _read(root, stamps, column, separator, asked, cache_dir).named(identity)


@lru_cache(maxsize=NUM_REMEMBERED)  # a sweep asks for the same documents for each seed
def _read(
    root: Path,
    stamps: tuple[Stamp, ...],
    column: str,
    separator: str | None,
    asked: str | None,
    cache_dir: str | None,
) -> Documents:
    files, where = [stamp.path for stamp in stamps], None if asked is None else json.loads(asked)
    readers = [reader_of(file) or "json" for file in files]
    kinds = set(readers)
    if kinds == {"text"} and where:
        raise ConfigError(
            f"{typed('dataset.where', dict(where))}: expected record files, which have columns, "
            f"but {files[0].name} has none. Type dataset.where=null, or name record files."
        )
    if kinds == {"text"}:
        return _plain_texts(root, files, separator)
    if "text" in kinds:
        raise ConfigError(
            f"dataset.path={str(root)!r}: expected .txt files or record files, but both are there. "
            f"Name one kind. Example: {typed('dataset.path', f'{root.as_posix()}/*.txt')}."
        )
    return read_rows(root, files, readers, column, where, cache_dir)


def _plain_texts(root: Path, files: Sequence[Path], separator: str | None) -> Documents:
    """Files that are documents, read when they are asked for; pieces of files, all in memory."""
    names = [file.relative_to(root).as_posix() for file in files]
    if separator is None:
        return Documents(
            num_documents=len(files),
            read=lambda positions: [_read_utf8(files[i]) for i in positions],
            id=names.__getitem__,
        )
    texts: list[str] = []
    ids: list[str] = []
    for file, name in zip(files, names, strict=True):
        pieces = [piece for piece in _read_utf8(file).split(separator) if piece.strip()]
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
