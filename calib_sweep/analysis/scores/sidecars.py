"""Files beside the records: scores per item in each cell, the calibration sets of all sweeps.

    results/<sweep>/<cell>/items.parquet      results/calibration/<folder>/card.json
                                              results/calibration/<folder>/tokens.safetensors

A sweep can be reported on without them; whether they are there, and what they hold, moves it. A
damaged one is left out, and told.
"""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from calib_sweep.analysis.scores.cells import ReadCell
from calib_sweep.hashing import file_sha256, tokens_sha256
from calib_sweep.places import CALIBRATION, CARD, ITEMS, RECORD, TOKENS
from calib_sweep.results.files import damage
from calib_sweep.results.reading import conflicts_in

if TYPE_CHECKING:
    import numpy as np
    import pyarrow

log = logging.getLogger(__name__)

SCORED = ("correct", "correct_norm", "nll")  # columns of scores

Tell = Callable[[str], None]  # takes a sentence about what is left out
Set = tuple["np.ndarray", "np.ndarray | None"]  # tokens [N, T], lengths [N]


def item_files(folder: str | Path, cells: Sequence[ReadCell]) -> Iterator[tuple[ReadCell, Path]]:
    """Find every done cell of the sweep in `folder` that has scores per item, and the file."""
    for record in cells:
        path = cell_folder(folder, record) / ITEMS
        if record["status"] == "done" and (path.exists() or ITEMS in record.get("files", {})):
            yield record, path


def cell_folder(folder: str | Path, record: ReadCell) -> Path:
    """Return the folder of a cell that `read_cells` found."""
    return Path(folder) / str(record.get("folder", record["cell_id"]))


def item_tables(
    folder: str | Path, cells: Sequence[ReadCell], tell: Tell
) -> Iterator[tuple[ReadCell, "pyarrow.Table"]]:
    """Read the scores per item of every done cell whose file is whole."""
    import pyarrow
    import pyarrow.parquet

    for record, path in item_files(folder, cells):
        flaw = damage(path.parent, record.get("files"), ITEMS)
        try:
            table = None if flaw else pyarrow.parquet.read_table(path)
        except (OSError, pyarrow.ArrowException) as error:
            table, flaw = None, f"{ITEMS} cannot be read ({type(error).__name__})"
        flaw = unfit(table) if table is not None else flaw
        if table is not None and not flaw:
            yield record, table
        else:
            tell(
                f"{path.parent.name}: {flaw}, so its single items are left out. Delete its "
                f"{RECORD} and type the sweep's command to run the cell again."
            )


def unfit(table: "pyarrow.Table") -> str | None:
    """Say what is wrong with the columns of a table of items; of those that it has."""
    from pyarrow import types

    texts = types.is_string, types.is_large_string, types.is_dictionary
    numbers = types.is_integer, types.is_floating, types.is_boolean, types.is_null
    needed = {"kind": texts, "name": texts, "item": (types.is_integer,)}
    for column, kinds in {**needed, **dict.fromkeys(SCORED, numbers)}.items():
        if column in table.column_names:
            own = table[column]
            has_gaps = column in needed and own.null_count > 0
            if has_gaps or not any(is_kind(own.type) for is_kind in kinds):
                return f"{ITEMS} has {own.type} with {own.null_count} gaps as {column}"
    return None


def stored_sets(results_dir: str | Path, cells: Sequence[ReadCell]) -> Iterator[tuple[str, Path]]:
    """Find the sets behind `cells` still on disk: the hash of the tokens, their file."""
    wanted = {str((record.get("calibration") or {}).get("hash")) for record in cells}
    for path in sorted((Path(results_dir) / CALIBRATION).glob(f"*/{CARD}")):
        tokens = path.with_name(TOKENS)
        try:
            hash_ = json.loads(path.read_text(encoding="utf-8"))["hash"]
        except (OSError, ValueError, LookupError, TypeError):
            continue  # no card of ours; whoever draws from it is told
        is_aside = ".broken-" in path.parent.name
        is_there = tokens.exists() or tokens.is_symlink()
        if hash_ in wanted and is_there and not is_aside:
            yield hash_, tokens


def token_sets(
    results_dir: str | Path, cells: Sequence[ReadCell], tell: Tell
) -> Iterator[tuple[str, Set]]:
    """Read hash and tokens of every set behind `cells` that is still on disk, and whole."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    for hash_, path in stored_sets(results_dir, cells):
        try:
            tensors = load_file(path)
            tokens_NT, lengths_N = tensors["tokens"], tensors.get("lengths")
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            flaw = f"cannot be read ({type(error).__name__})"
        else:
            if tokens_sha256(tokens_NT, lengths_N, tensors.get("answers")) == hash_:
                yield hash_, (tokens_NT, lengths_N)
                continue
            flaw = "are not the tokens that its card names"
        tell(
            f"calibration set {path.parent.name}: {TOKENS} {flaw}, so it is not described. Delete "
            "that folder and draw the set again."
        )


def conflicts(folder: Path, cells: Sequence[ReadCell]) -> list[str]:
    """Say which cells have two results."""
    return [text for record in cells for text in conflicts_in(cell_folder(folder, record))]


def fingerprint(folder: Path, cells: Sequence[ReadCell]) -> list[object]:
    """Return what a report is made of: items by their bytes, sets by the hash of tokens."""
    items = {
        str(record["cell_id"]): file_sha256(path) if path.is_file() else None
        for record, path in item_files(folder, cells)
    }
    sets = sorted({hash_ for hash_, _ in stored_sets(folder.parent, cells)})
    return [items, sets, conflicts(folder, cells)]
