"""A test for each field of a record, as `record` types it: files are anybody's."""

from collections.abc import Callable
from dataclasses import dataclass

from calib_sweep.results.record import SCHEMA, STATUSES
from calib_sweep.valid_json import dumps, is_object

MOST = 10**300  # a whole number from here on is no float any more


@dataclass(frozen=True)
class _Kind:
    """A test of a value, and the words for what passes it."""

    holds: Callable[[object], bool]
    words: str


def _or_null(kind: _Kind) -> _Kind:
    return _Kind(lambda value: value is None or kind.holds(value), f"{kind.words} or null")


def _by_name(kind: _Kind) -> _Kind:
    def holds(value: object) -> bool:
        return is_object(value) and all(kind.holds(item) for item in value.values())

    return _Kind(holds, f"{kind.words} by name")


def _is_number(value: object) -> bool:
    """Tell whether it is a float, or can be made one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < MOST
    return isinstance(value, float)


ANYTHING = _Kind(lambda _: True, "values")
TEXT = _Kind(lambda value: isinstance(value, str), "text")
NAME = _Kind(lambda value: isinstance(value, str) and value != "", "a name")
NUMBER = _Kind(_is_number, "a number")
WHOLE = _Kind(lambda value: _is_number(value) and isinstance(value, int), "a whole number")
STATUS = _Kind(lambda value: value in STATUSES, " or ".join(STATUSES))
SHARED = _Kind(
    lambda value: (
        is_object(value) and NUMBER.holds(value.get("share")) and WHOLE.holds(value.get("samples"))
    ),
    "numbers called share and samples",
)
PART = _Kind(
    lambda value: (
        is_object(value)
        and NAME.holds(value.get("identity"))
        and (value.get("headline") is None or TEXT.holds(value["headline"]))
        and TEXT.holds(value.get("taken_from", ""))
        and WHOLE.holds(value.get("max_gen_toks", 1))
    ),
    "texts called identity, headline and taken_from, and a whole number called max_gen_toks",
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
    "compression.id": TEXT,
    "compression.fingerprint": TEXT,
    "scores": NUMBERS,
    "stderr": NUMBERS,
    "metrics": _by_name(SECTION),
    "parts": _by_name(PART),
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
NEEDED_PARTS = {"cell": ("model", "method"), "error": ("type", "message")}


def flaw_of(record: object) -> str | None:
    """Say what keeps `record` from being one, or None."""
    if not is_object(record):
        return "it is no record by its form"
    for field in NEEDED:
        if field not in record:
            return f"it has no {field}"
    schema = record["schema"]
    if not isinstance(schema, int) or not WHOLE.holds(schema) or schema < 1:
        return f"its schema is {_shown(schema)}, expected {SCHEMA}"
    if schema > SCHEMA:
        return None  # its fields may be others
    for path, kind in KINDS.items():
        if (flaw := _flaw_of_field(record, path, kind)) is not None:
            return flaw
    return None


def _flaw_of_field(record: dict[str, object], path: str, kind: _Kind) -> str | None:
    part, _, key = path.partition(".")
    value: object = record.get(part, _ABSENT)
    if key and is_object(value):
        value = value.get(key, _ABSENT)
    elif key:
        return None  # said of the whole part, or the part is null
    if value is _ABSENT:
        return f"it has no {path}" if key in NEEDED_PARTS.get(part, ()) else None
    return None if kind.holds(value) else f"its {path} is {_shown(value)}, expected {kind.words}"


_ABSENT = object()


def _shown(value: object) -> str:
    text = dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
