"""Scores from elsewhere become a sweep: a record for each cell, which `report` reads.

    python -m calib_sweep import scores.csv [results/NAME] [--percent] [seed=draw] [model:=llama]

The table is long or wide (`scores.score_sheet`). Or it is the folder of a sweep whose records have
fractions in percent: then each record is written anew, in fractions. Importing the same scores
twice writes the same bytes. Nothing that is there is ever overwritten.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calib_sweep import atomic, valid_json
from calib_sweep.analysis.metrics import OURS, PERCENT
from calib_sweep.analysis.scores import imported
from calib_sweep.analysis.scores.score_sheet import AXES, NEEDED, OF_A_SCORE, Typed, read_sheet
from calib_sweep.arguments import unknown_options
from calib_sweep.console import output
from calib_sweep.errors import ConfigError, Problems, collected
from calib_sweep.hashing import file_sha256
from calib_sweep.places import RECORD, RECORDS
from calib_sweep.results.reading import UnreadableRecordError, read_record
from calib_sweep.wording import counted

VERB = "import"
UNITS = {"--percent": "percent", "--fraction": "fraction"}
RESULTS = "results"
Records = Mapping[str, dict[str, Any]]  # by the name of the cell's folder


@dataclass(frozen=True)
class Asked:
    """What was typed."""

    source: Path
    target: Path
    unit: str | None
    typed: Typed


def main(arguments: Sequence[str]) -> int:
    """Write the records of the scores named, say what they are, return the exit code."""
    asked = read_arguments(arguments)
    records = of_folder(asked) if asked.source.is_dir() else of_table(asked)
    write(records, asked.target)
    output(_summary(records, asked.target))
    return 0


def read_arguments(arguments: Sequence[str]) -> Asked:
    """Read what was typed; all mistakes at once."""
    columns: dict[str, str] = {}
    values: dict[str, str] = {}
    ignored: list[str] = []
    places, units = [], []
    roles = (*AXES, *OF_A_SCORE)
    with collected() as problems:
        problems.add(*unknown_options(VERB, arguments, UNITS))
        for word in (w for w in arguments if not unknown_options(VERB, [w], UNITS)):
            key, is_assigned, value = word.partition("=")
            if word in UNITS:
                units.append(UNITS[word])
            elif not is_assigned or Path(word).exists():
                places.append(Path(word))
            elif key == "ignore":
                ignored += value.split(",")
            elif key.removesuffix(":") in roles and value:
                (values if key.endswith(":") else columns)[key.removesuffix(":")] = value
            else:
                problems.add(
                    f"{VERB} {word}: expected KEY=COLUMN or KEY:=VALUE, KEY one of "
                    f"{', '.join(roles)}, or ignore=COLUMN. Example: seed=draw model:=llama."
                )
        if len(units) > 1:
            problems.add(f"{VERB}: expected one of {', '.join(UNITS)}. Leave one out.")
        if not 1 <= len(places) <= 2 or not places[0].exists():
            given = " ".join(map(str, places)) or "nothing"
            problems.add(
                f"{VERB} {given}: expected a CSV file of scores, or the folder of a sweep, and "
                f"where to write. Example: python -m calib_sweep {VERB} scores.csv {RESULTS}/NAME."
            )
    source = places[0]
    target = places[1] if len(places) > 1 else Path(RESULTS) / source.stem
    return Asked(
        source, target, units[0] if units else None, Typed(columns, values, tuple(ignored))
    )


def of_table(asked: Asked) -> Records:
    """Return the records of a table of scores."""
    try:
        text = asked.source.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{VERB} {asked.source}: expected a file of text in UTF-8 ({error}). Save it anew as "
            "CSV in UTF-8."
        ) from error
    found = Problems()
    sheet = read_sheet(text, asked.typed, found)
    cells = [] if sheet is None else imported.cells_of(sheet, asked.unit, found)
    if not cells and not found.errors:
        found.add("there is no score in it: all fields of scores are empty.")
    if found.errors:
        raise ConfigError(*(f"{asked.source}: {problem}" for problem in found.texts))
    hash_ = file_sha256(asked.source)
    return dict(sorted(imported.record_of(cell, hash_) for cell in cells))


def of_folder(asked: Asked) -> Records:
    """Return the records of a sweep whose fractions are in percent, in fractions."""
    if asked.unit != "percent" or asked.typed != Typed():
        raise ConfigError(
            f"{VERB} {asked.source}: expected --percent with the folder of a sweep, and nothing "
            f"else: its records are ready for the report but for that. Example: "
            f"python -m calib_sweep {VERB} {asked.source} {asked.source}_in_fractions --percent."
        )
    records, read = {}, []
    with collected() as problems:
        for path in sorted(asked.source.glob(RECORDS)):
            try:
                record = read_record(path)
            except (OSError, UnreadableRecordError) as error:
                problems.add(f"{VERB} {path}: expected a record that can be read ({error}).")
                continue
            read.append(record)
            records[path.parent.name] = _in_fractions(record)
        if not records:
            problems.add(f"{VERB} {asked.source}: expected records, {RECORD} in a folder each.")
        elif not any(value > 1 for record in read for value in _shares(record)):
            problems.add(
                f"{VERB} {asked.source} --percent: expected fractions in percent, but none is "
                "above 1. Its records are ready for the report as they are."
            )
    return records


def _shares(record: Mapping[str, Any]) -> Iterator[float]:
    """Yield all scores that are fractions, whatever their unit."""
    for metric, value in record.get("scores", {}).items():
        if isinstance(value, int | float) and OURS.of(metric).is_share:
            yield value


def _in_fractions(record: Any) -> dict[str, Any]:
    """Return a record with all fractions a hundredth of what they were, and no files beside it."""
    new = {**copy.deepcopy(record), "files": {}}
    for part in ("scores", "stderr"):
        for metric, value in new.get(part, {}).items():
            if value is not None and OURS.of(metric).is_share:
                new[part][metric] = value / PERCENT
    return new


def write(records: Records, target: Path) -> None:
    """Write the records below `target`; raise where there is anything else."""
    files = {
        target / name / RECORD: valid_json.dumps(record, indent=1, sort_keys=True) + "\n"
        for name, record in records.items()
    }
    there = sorted(target.glob(RECORDS))
    other = [path for path in there if _read(path) != files.get(path)]
    if other or (target.exists() and not target.is_dir()):
        what = f"{counted(len(other), 'other record')}, such as {other[0]}" if other else "a file"
        raise ConfigError(
            f"{VERB} {target}: expected a new folder, or one with these scores, but there is "
            f"{what}. Type another name behind the scores, for example {target}_2."
        )
    try:
        for path, text in files.items():
            if path not in there:
                atomic.make_folder(path.parent)
                atomic.write(path, text)
    except OSError as error:
        raise ConfigError(
            f"{VERB} {target}: expected a folder that can be written ({error}). Type another name "
            f"behind the scores, for example {RESULTS}/NAME."
        ) from error


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None


def _summary(records: Records, target: Path) -> str:
    """Say what was written, and what to type next."""
    cells = [record["cell"] for record in records.values()]
    parts = [counted(len(records), "cell")]
    for axis in NEEDED:
        found = {cell.get(axis) for cell in cells} - {None}
        parts.append(counted(len(found), axis))
    metrics = sorted({metric for record in records.values() for metric in record["scores"]})
    shown = ", ".join(metrics[:8]) + (f" and {len(metrics) - 8} more" if len(metrics) > 8 else "")
    return (
        f"{target}: {', '.join(parts)}; scores: {shown}\n"
        f"Next: python -m calib_sweep report {target}"
    )
