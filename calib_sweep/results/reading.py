"""Read records: one answer for all who ask, the sweep that would skip a cell or the report on it.

A file whose fields are not of the types that `record` lists, or that belongs to another cell than
its folder, is damaged: the error names the file and what is wrong. One of a newer schema is whole,
but not for this version. Of a record only `NEEDED` must be there, so that scores from elsewhere can
be read as well.
"""

import errno
import json
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import cast

from calib_sweep import valid_json
from calib_sweep.errors import StoreError
from calib_sweep.places import CONFLICT, RECORD
from calib_sweep.results.means import PPL_MEAN
from calib_sweep.results.record import SCHEMA, Record
from calib_sweep.results.schema import flaw_of

log = logging.getLogger(__name__)

_OF_A_CELL = re.compile(r".*-(?P<id>[0-9a-f]{12})")  # how the folders of our own cells are named


class UnreadableRecordError(StoreError):
    """A file that is there and cannot be taken for the record of its cell."""

    def __init__(self, path: Path, what: str) -> None:
        self.path, self.what = path, what
        super().__init__(f"{path} {what}")


class DamagedRecordError(UnreadableRecordError):
    """It is no record, or that of another cell."""


class NewerRecordError(UnreadableRecordError):
    """A newer version of this program wrote it."""


OF_NUMBERS = ("scores", "stderr", "timings_s", "compression")
OF_A_SET = ("descriptors", "overlap")  # of its numbers, under calibration


def read_record(path: Path) -> Record | None:
    """Read the record at `path`; None without one, `UnreadableRecordError` when it is none."""
    try:
        found: object = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsADirectoryError as error:
        raise DamagedRecordError(path, "is damaged: it is a folder") from error
    except (ValueError, RecursionError) as error:  # no JSON, or no text at all
        raise DamagedRecordError(path, f"is damaged: it is no JSON ({error})") from error
    except OSError as error:
        if error.errno != errno.ELOOP or not path.is_symlink():
            raise
        raise DamagedRecordError(path, "is damaged: it is a link to itself") from error
    found = _with_numbers(found)
    record = cast(Record, found)  # if it is one
    if (flaw := flaw_of(found) or _of_another_cell(record, path)) is not None:
        raise DamagedRecordError(path, f"is damaged: {flaw}")
    if record["schema"] > SCHEMA:
        raise NewerRecordError(
            path,
            f"was made by a newer calib_sweep (schema {record['schema']}, this version reads "
            f"{SCHEMA}). Install the newer version, or type sweep_name=NEW_NAME.",
        )
    return record


def _with_numbers(record: object) -> object:
    """Turn back the texts that stand for numbers (`valid_json`), where a record holds numbers."""
    if not valid_json.is_object(record):
        return record
    drawn = record.get("calibration")
    if valid_json.is_object(drawn):
        found = {key: valid_json.numbers(drawn[key]) for key in OF_A_SET if key in drawn}
        record = {**record, "calibration": {**drawn, **found}}
    return record | {key: valid_json.numbers(record[key]) for key in OF_NUMBERS if key in record}


def _of_another_cell(record: Record, path: Path) -> str | None:
    own, found = _OF_A_CELL.fullmatch(path.parent.name), record.get("cell_id")
    if own is None or found == own["id"] or record["schema"] > SCHEMA:
        return None
    return f"it is the record of another cell ({found})"


def readable_records(paths: Iterable[Path]) -> Iterator[Record]:
    """Read the records at `paths` that can be read, with a warning of every other one."""
    for path in paths:
        try:
            record = read_record(path)
        except (UnreadableRecordError, OSError) as error:
            log.warning("left out: %s", error)
            continue
        if record is not None:
            yield record


def same_scores(record: Record, other: Record) -> bool:
    """Tell whether two records score the same; a perplexity that is not a number equals itself.

    The mean perplexity follows from the others. Only one of the two may have it: the other is of a
    checkout that left it to the report.
    """
    scores = [dict(one["scores"]) for one in (record, other)]
    if not all(PPL_MEAN in one for one in scores):
        scores = [{k: v for k, v in one.items() if k != PPL_MEAN} for one in scores]
    texts = [valid_json.dumps(one, sort_keys=True) for one in scores]
    return texts[0] == texts[1]


def conflicts_in(folder: Path) -> list[str]:
    """Say a sentence for each result in a cell's folder that is another than the one on record."""
    others = sorted(folder.glob(CONFLICT))
    record = next(readable_records([folder / RECORD]), None) if others else None
    if record is None:
        return []
    found = {path: next(readable_records([path]), None) for path in others}
    return [
        f"{folder.name} has two results: {RECORD}, which counts, and {path.name}. Compare their "
        f"environments, then decide: delete {path.name}, or move it to {RECORD}."
        for path, other in found.items()
        if other is not None and not same_scores(record, other)
    ]
