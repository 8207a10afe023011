"""Tables of record files: read once in a process, and large ones once in a grid.

    results_dir/documents/<address>.arrow        a large table, as other processes map it
    results_dir/documents/<address>.tokenising   who reads the files now

Files of records are read by the `datasets` library: of a hub's into the cache of its own that all
share, of local files into a private folder that is gone as soon as it is mapped into memory, so
that nothing is left behind in anybody's cache. Nothing is ever downloaded.
"""

import glob
import logging
import tempfile
from collections.abc import Sequence
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calib_sweep.atomic import make_folder, replacing
from calib_sweep.dataset.documents.keeping import kept_documents
from calib_sweep.errors import ConfigError
from calib_sweep.hashing import Stamp, address_of, file_sha256, stamp_of
from calib_sweep.places import TOKENISING
from calib_sweep.quiet import quiet_datasets
from calib_sweep.results.once import once

if TYPE_CHECKING:
    import datasets

log = logging.getLogger(__name__)

LARGE = 50_000_000  # bytes of files: a moment to read, compressed ones seconds
# In a process. A map of a private folder holds its room on the disk as long as it is remembered.
NUM_REMEMBERED = 8


def load_table(
    reader: str,
    files: Sequence[Path],
    cache_dir: str | None,
    columns: Sequence[str] | None = None,
) -> "datasets.Dataset":
    """Read files into one memory-mapped table; `ConfigError` where they cannot be read.

    `reader`: parquet or json. `columns`: those that are read of parquet files; None: all.
    """
    stamps = tuple(stamp_of(file) for file in files)
    return _load_once(reader, stamps, cache_dir, None if columns is None else tuple(columns))


@lru_cache(maxsize=NUM_REMEMBERED)
def _load_once(
    reader: str,
    stamps: tuple[Stamp, ...],
    cache_dir: str | None,
    columns: tuple[str, ...] | None,
) -> "datasets.Dataset":
    files = [stamp.path for stamp in stamps]
    make = partial(_load, reader, files, cache_dir, columns)
    folder = kept_documents()
    if folder is None or cache_dir is not None or sum(one.size for one in stamps) < LARGE:
        return make()
    contents = [file_sha256(file) for file in files]
    known = ["table", reader, contents, columns, version("datasets")]
    path = folder / f"{address_of(known)}.arrow"
    try:
        claims = path.with_suffix(TOKENISING)
        return once(claims, partial(_map, path), partial(_keep, path, make))
    except OSError as error:
        log.warning("%s cannot be used (%s): each process reads the files", folder, error)
        return make()


def _map(path: Path) -> "datasets.Dataset | None":
    """Return what is kept; None where nothing is, or it is damaged."""
    import datasets

    if not path.exists():
        return None
    try:
        return datasets.Dataset.from_file(str(path))
    except PermissionError:
        raise
    except (ValueError, OSError) as error:  # Arrow's own: it is garbled, it is cut
        log.warning("%s is damaged (%s): the files are read again", path, error)
        path.unlink()
        return None


def _keep(path: Path, make: "partial[datasets.Dataset]") -> "datasets.Dataset":
    import pyarrow as pa

    table = make()
    data = table.data.table
    make_folder(path.parent)
    with replacing(path) as partial_path, pa.OSFile(str(partial_path), "wb") as sink:  # noqa: SIM117
        with pa.ipc.new_stream(sink, data.schema) as writer:
            for batch in data.to_batches():
                writer.write_batch(batch)
    return _map(path) or table


def _load(
    reader: str, files: Sequence[Path], cache_dir: str | None, columns: Sequence[str] | None
) -> "datasets.Dataset":
    import datasets
    from datasets.exceptions import DatasetGenerationError

    options: dict[str, Any] = {} if columns is None else {"columns": list(columns)}
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
            raise unreadable(files[0], error) from error
    assert isinstance(table, datasets.Dataset)
    return table


def unreadable(file: Path, error: Exception) -> ConfigError:
    """Return the error for a file that the library cannot read."""
    # The `datasets` library ends an empty file with a bare StopIteration.
    reason = next(iter(str(error.__cause__ or error).splitlines()), "it is empty")
    return ConfigError(
        f"dataset.path={str(file)!r}: expected records that can be read, but: {reason}. Is the "
        "file complete, and of the kind that its name says?"
    )
