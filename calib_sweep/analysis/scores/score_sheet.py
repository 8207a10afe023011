"""A table of scores from elsewhere, read: which column holds what, and a score per line or field.

    long   a row is one score: model, method, dataset, seed, metric, value [, stderr, unit, ...]
    wide   a row is one cell, with a column for each score: acc/arc_easy, ppl/wikitext2, ...

A column is found by its name, or named: `model=net` (the column net), `model:=llama` (the same in
all rows). Nothing is guessed: a column that is none of these is told, with what to type.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from calib_sweep.analysis.metrics import OURS, kind_of
from calib_sweep.analysis.scores.measured import MEASURED
from calib_sweep.errors import Problems
from calib_sweep.results.means import ACC_MEAN, PPL_MEAN

AXES = ("model", "method", "dataset", "seed", "replicate")
NEEDED = ("model", "method", "dataset", "seed")
OF_A_SCORE = ("metric", "task", "value", "stderr", "direction", "unit")
# Columns that `load_scores(...).to_csv` has besides, and an index that pandas writes.
PASSED_OVER = ("", "settings", "error", "cell_id", "unnamed: 0", *MEASURED)
DELIMITERS = ",;\t"
# A mean under another name.
SAME = {"acc": ACC_MEAN, "accuracy": ACC_MEAN, "ppl": PPL_MEAN, "perplexity": PPL_MEAN}


@dataclass(frozen=True)
class Typed:
    """What was said of the columns: by role their names, or one value for all rows."""

    columns: Mapping[str, str] = field(default_factory=dict)  # role=COLUMN
    values: Mapping[str, str] = field(default_factory=dict)  # role:=VALUE
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class Score:
    """One field of the sheet, its texts as they are written."""

    line: int
    axes: Mapping[str, str]
    settings: Mapping[str, str]
    metric: str
    value: str
    stderr: str
    direction: str
    unit: str


@dataclass(frozen=True)
class Sheet:
    """A table of scores whose columns are known."""

    place: Mapping[str, int]  # role -> column
    values: Mapping[str, str]  # role -> the value of all rows
    settings: Mapping[str, int]  # key of a setting -> column
    scores: Mapping[str, int]  # wide: metric -> column
    lines: Sequence[tuple[int, Sequence[str]]]

    def __iter__(self) -> Iterator[Score]:
        for line, fields in self.lines:
            if self._get("status", fields) not in ("", "done"):
                continue
            axes = {role: self._get(role, fields) for role in AXES}
            settings = {key: fields[c] for key, c in self.settings.items() if fields[c]}
            rest = {key: self._get(key, fields) for key in ("stderr", "direction", "unit")}
            if self.scores:
                for metric, c in self.scores.items():
                    yield Score(line, axes, settings, metric, fields[c], **rest)
            else:
                metric = metric_name(self._get("metric", fields), self._get("task", fields))
                yield Score(line, axes, settings, metric, self._get("value", fields), **rest)

    def _get(self, role: str, fields: Sequence[str]) -> str:
        return fields[self.place[role]] if role in self.place else self.values.get(role, "")


def metric_name(metric: str, task: str = "") -> str:
    """Return the name that a score has here: accuracy is acc/mean, accuracy and x are acc/x."""
    kind, _, where = metric.partition("/")
    where = where or task
    if not where:
        return SAME.get(kind.lower(), metric)
    short = SAME.get(kind.lower(), kind).partition("/")[0]
    return f"{short}/{where}"


def read_sheet(text: str, typed: Typed, problems: Problems) -> Sheet | None:
    """Read the table; None where its columns are not understood (see `problems`)."""
    first = text.lstrip("\ufeff").partition("\n")[0]
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text.lstrip("\ufeff"), newline=""), delimiter=delimiter)
    header = [name.strip() for name in next(reader, [])]
    lines = []
    for fields in reader:
        if any(map(str.strip, fields)):
            if len(fields) > len(header):
                problems.add(
                    f"line {reader.line_num}: expected {len(header)} fields as in the first line, "
                    f"but there are {len(fields)}. Put texts that hold {delimiter!r} in quotes."
                )
            padded = [*map(str.strip, fields), *[""] * (len(header) - len(fields))]
            lines.append((reader.line_num, padded))
    if not lines:
        problems.add("the table has no rows: expected a line of names, and one for each score.")
        return None
    return _understood(header, lines, typed, problems)


def _understood(
    header: Sequence[str],
    lines: Sequence[tuple[int, Sequence[str]]],
    typed: Typed,
    problems: Problems,
) -> Sheet | None:
    place = _places(header, typed, problems)
    is_long = "value" in place
    used = set(place.values())
    settings, scores, unknown = {}, {}, []
    for c, name in enumerate(header):
        is_passed = name.lower() in PASSED_OVER or name in typed.ignored
        if c in used or is_passed:
            continue
        if "." in name and "/" not in name:
            settings[name] = c
        elif not is_long and (metric := _wide_metric(name, typed)):
            scores[metric] = c
        else:
            unknown.append(name)
    _tell(header, place, typed, bool(scores), unknown, problems)
    return None if problems.errors else Sheet(place, typed.values, settings, scores, lines)


def _places(header: Sequence[str], typed: Typed, problems: Problems) -> dict[str, int]:
    """Find the column of each role: the one that was named, else the one that is called so."""
    lower = [name.lower() for name in header]
    place = {}
    for role in (*AXES, *OF_A_SCORE, "status"):
        name = typed.columns.get(role)
        if name is not None and name not in header:
            problems.add(f"{role}={name}: expected a column. The columns are {_list(header)}.")
        elif name is not None:
            place[role] = header.index(name)
        elif role not in typed.values and role in lower:
            place[role] = lower.index(role)
    return place


def _wide_metric(name: str, typed: Typed) -> str | None:
    """Return the metric of a column of scores; None where it is no known one."""
    if kind_of(name) in OURS.kinds or name.lower() in SAME or "/" in name:
        return metric_name(name)
    kind = typed.values.get("metric")
    return metric_name(kind, name) if kind else None


def _tell(
    header: Sequence[str],
    place: Mapping[str, int],
    typed: Typed,
    has_scores: bool,
    unknown: Sequence[str],
    problems: Problems,
) -> None:
    """Tell every column that lacks, and every one that is not understood."""
    for role in NEEDED:
        if role not in place and role not in typed.values:
            problems.add(
                f"{role}: expected a column of that name; the columns are {_list(header)}. Type "
                f"{role}=COLUMN if it is called otherwise, or {role}:=VALUE if it is the same in "
                "all rows."
            )
    is_long = "value" in place
    if is_long and "metric" not in place and "metric" not in typed.values:
        problems.add(
            f"metric: expected a column that says what each value is; the columns are "
            f"{_list(header)}. Type metric=COLUMN, or metric:=acc if all are accuracies."
        )
    if not is_long and not has_scores and not unknown:
        problems.add(
            f"scores: expected columns metric and value, or a column for each score "
            f"(acc/arc_easy, ppl/wikitext2); the columns are {_list(header)}."
        )
    for name in unknown:
        problems.add(
            f"column {name!r} is not understood. Type ignore={name} to leave it out; value={name} "
            f"if it holds the values; metric:=acc if it is a task and the scores are accuracies; "
            f"or rename it to a key of a setting, for example method.{name}."
        )


def _list(names: Sequence[str]) -> str:
    return ", ".join(name or "(no name)" for name in names)
