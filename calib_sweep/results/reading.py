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
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from calib_sweep import valid_json
from calib_sweep.errors import StoreError
from calib_sweep.results.record import SCHEMA, STATUSES

log = logging.getLogger(__name__)

RECORD = "record.json"
CONFLICT = "record.conflict-*.json"  # a second result for the same cell

MOST = 10**300  # a whole number from here on is no float any more
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


class _Kind(NamedTuple):
    """What a value may be: a test, and the words for what passes it."""

    holds: Callable[[Any], bool]
    words: str


def _or_null(kind: _Kind) -> _Kind:
    return _Kind(lambda value: value is None or kind.holds(value), f"{kind.words} or null")


def _by_name(kind: _Kind) -> _Kind:
    def holds(value: Any) -> bool:
        return isinstance(value, dict) and all(kind.holds(item) for item in value.values())

    return _Kind(holds, f"{kind.words} by name")


def _is_number(value: Any) -> bool:
    """Whether it is a float, or can be made one."""
    is_int = isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, float) or (is_int and abs(value) < MOST)


ANYTHING = _Kind(lambda _: True, "values")
TEXT = _Kind(lambda value: isinstance(value, str), "text")
NAME = _Kind(lambda value: isinstance(value, str) and value != "", "a name")
NUMBER = _Kind(_is_number, "a number")
WHOLE = _Kind(lambda value: _is_number(value) and isinstance(value, int), "a whole number")
STATUS = _Kind(lambda value: value in STATUSES, " or ".join(STATUSES))
SHARED = _Kind(
    lambda value: (
        isinstance(value, dict)
        and NUMBER.holds(value.get("share"))
        and WHOLE.holds(value.get("samples"))
    ),
    "numbers called share and samples",
)
NUMBERS = _by_name(_or_null(NUMBER))
SECTION = _by_name(ANYTHING)

NEEDED = ("schema", "status", "cell", "scores")
# Every field by its path. What is not there is not looked at, but for those that are needed.
KINDS = {
    "cell_id": NAME,
    "status": STATUS,
    "cell": SECTION,
    "cell.model": NAME,
    "cell.method": NAME,
    "cell.dataset": _or_null(TEXT),
    "cell.seed": _or_null(WHOLE),
    "cell.replicate": _or_null(WHOLE),
    "cell.settings": _or_null(SECTION),
    "config": SECTION,
    "inputs": _by_name(_or_null(TEXT)),
    "files": _by_name(TEXT),
    "calibration": _or_null(SECTION),
    "calibration.hash": TEXT,
    "calibration.descriptors": _or_null(SECTION),
    "calibration.overlap": _or_null(_by_name(SHARED)),
    "compression": _or_null(SECTION),
    "scores": NUMBERS,
    "stderr": NUMBERS,
    "versions": SECTION,
    "timings_s": _by_name(NUMBER),
    "peak_memory_bytes": _or_null(NUMBER),
    "environment": SECTION,
    "environment.versions": _or_null(SECTION),
    "error": _or_null(SECTION),
    "error.type": TEXT,
    "error.message": _or_null(TEXT),
    "finished_at": _or_null(TEXT),
}
OF_NUMBERS = ("scores", "stderr", "timings_s", "compression")
OF_A_SET = ("descriptors", "overlap")  # of its numbers, under calibration
NEEDED_PARTS = {"cell": ("model", "method"), "error": ("type", "message")}


def read_record(path: Path) -> dict[str, Any] | None:
    """The record at `path`; None when there is none, an `UnreadableRecordError` when it is none."""
    try:
        record = _with_numbers(json.loads(path.read_bytes()))
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
    if (flaw := _flaw(record) or _of_another_cell(record, path)) is not None:
        raise DamagedRecordError(path, f"is damaged: {flaw}")
    if record["schema"] > SCHEMA:
        raise NewerRecordError(
            path,
            f"was made by a newer calib_sweep (schema {record['schema']}, this version reads "
            f"{SCHEMA}). Install the newer version, or type sweep_name=NEW_NAME.",
        )
    return record


def _with_numbers(record: Any) -> Any:
    """Turn back the texts that stand for numbers (`valid_json`), where a record holds numbers."""
    if not isinstance(record, dict):
        return record
    drawn = record.get("calibration")
    if isinstance(drawn, dict):
        found = {key: valid_json.numbers(drawn[key]) for key in OF_A_SET if key in drawn}
        record = {**record, "calibration": {**drawn, **found}}
    return record | {key: valid_json.numbers(record[key]) for key in OF_NUMBERS if key in record}


def _of_another_cell(record: dict[str, Any], path: Path) -> str | None:
    own, found = _OF_A_CELL.fullmatch(path.parent.name), record.get("cell_id")
    if own is None or found == own["id"] or record["schema"] > SCHEMA:
        return None
    return f"it is the record of another cell ({found})"


def readable_records(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """The records at `paths` that can be read, with a warning of every other one."""
    for path in paths:
        try:
            record = read_record(path)
        except (UnreadableRecordError, OSError) as error:
            log.warning("left out: %s", error)
            continue
        if record is not None:
            yield record


def _flaw(record: Any) -> str | None:
    """What keeps `record` from being one, or None."""
    if not isinstance(record, dict):
        return "it is no record by its form"
    for field in NEEDED:
        if field not in record:
            return f"it has no {field}"
    schema = record["schema"]
    if not WHOLE.holds(schema) or schema < 1:
        return f"its schema is {_shown(schema)}, expected {SCHEMA}"
    if schema > SCHEMA:
        return None  # its fields may be others
    for path, kind in KINDS.items():
        if (flaw := _flaw_of_field(record, path, kind)) is not None:
            return flaw
    return None


def _flaw_of_field(record: dict[str, Any], path: str, kind: _Kind) -> str | None:
    part, _, key = path.partition(".")
    value: Any = record.get(part, _ABSENT)
    if key and isinstance(value, dict):
        value = value.get(key, _ABSENT)
    elif key:
        return None  # said of the whole part, or the part is null
    if value is _ABSENT:
        return f"it has no {path}" if key in NEEDED_PARTS.get(part, ()) else None
    return None if kind.holds(value) else f"its {path} is {_shown(value)}, expected {kind.words}"


_ABSENT = object()


def _shown(value: Any) -> str:
    text = valid_json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def same_scores(record: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two records score the same; a perplexity that is not a number equals itself."""
    texts = [valid_json.dumps(one["scores"], sort_keys=True) for one in (record, other)]
    return texts[0] == texts[1]


def conflicts_in(folder: Path) -> list[str]:
    """A sentence for each result in a cell's folder that is another than the one on record."""
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
