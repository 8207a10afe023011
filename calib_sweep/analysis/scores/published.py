"""Published numbers, read from a CSV file: mean, SD and number of draws of each score.

    model, method, dataset, task, mean, sd, n [, unit]

`task` is a task (its accuracy), `mean` (acc/mean), or a whole name (ppl/wikitext2@2048). `dataset`
is empty where a method reads none; `sd` and `n` are empty where they are not printed. `unit` says
"percent" or "fraction". Lines that begin with # come first: what the numbers are and where they are
from; and `# same: OURS = THEIRS` where a label here is another one there.
"""

import csv
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from calib_sweep.analysis.metrics import OURS, PERCENT
from calib_sweep.analysis.scores.score_sheet import DELIMITERS
from calib_sweep.analysis.settings import find_published
from calib_sweep.errors import ConfigError, Problems
from calib_sweep.results.means import ACC_MEAN

NEEDED = ("model", "method", "dataset", "task", "mean", "sd", "n")
UNITS = {"percent": PERCENT, "%": PERCENT, "per cent": PERCENT, "fraction": 1.0, "": 1.0}
SAME = "same:"


@dataclass(frozen=True)
class PublishedScore:
    """One printed number, as a fraction where it is one."""

    model: str
    method: str
    dataset: str  # "" where it reads none
    task: str
    mean: float
    sd: float  # NaN: not printed
    n: float  # NaN: not printed
    half_mean: float  # half a unit of the last digit in its column
    half_sd: float


@dataclass(frozen=True)
class Published:
    """The numbers of one file, what it says of itself, and its labels for ours."""

    name: str
    source: str
    same: Mapping[str, str]  # our label -> theirs
    scores: Sequence[PublishedScore]
    sha256: str

    def label(self, ours: str) -> str:
        """Return their label for ours."""
        return self.same.get(ours, ours)


def read_published(name: str, same: Mapping[str, str]) -> Published:
    """Read published numbers; `same` of labels adds to what the file says, and comes first."""
    path = find_published(name)
    content = path.read_bytes()
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"published {name}: expected text in UTF-8 ({error}). Save it anew as CSV in UTF-8."
        ) from error
    remarks = [line.lstrip("# ").strip() for line in lines if line.startswith("#")]
    labels = [line[len(SAME) :].split("=", 1) for line in remarks if line.startswith(SAME)]
    told = {pair[0].strip(): pair[1].strip() for pair in labels if len(pair) == 2}
    table = [line for line in lines if line and not line.startswith("#")]
    delimiter = max(DELIMITERS, key="".join(table[:1]).count)
    rows = list(csv.DictReader(table, restval="", delimiter=delimiter))
    problems = Problems()
    scores = _scores(rows, problems)
    if problems.errors:
        raise ConfigError(*(f"published {name}: {problem}" for problem in problems.texts))
    return Published(
        name=path.stem,
        source=" ".join(line for line in remarks if not line.startswith(SAME)),
        same={**told, **same},
        scores=scores,
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _scores(rows: Sequence[Mapping[str, str]], problems: Problems) -> list[PublishedScore]:
    columns = list(rows[0]) if rows else []
    lacking = [name for name in NEEDED if name not in columns]
    if lacking:
        problems.add(
            f"expected the columns {', '.join(NEEDED)}; {', '.join(lacking)} lacking, and there "
            f"are {', '.join(columns) or 'none'}. Leave sd and n empty where they are not printed."
        )
        return []
    half = {name: _half_unit([row[name] for row in rows]) for name in ("mean", "sd")}
    found = []
    for place, row in enumerate(rows, start=1):
        numbers = [_number(row[name], f"row {place}, {name}", problems) for name in NEEDED[4:]]
        unit = (row.get("unit") or "").strip().lower()
        if unit not in UNITS:
            problems.add(f"row {place}: unit {unit!r}, expected percent or fraction.")
            continue
        kind = OURS.of(metrics_of(row["task"])[0])
        times = UNITS[unit] if kind.is_share else 1.0
        mean, sd, n = numbers[0] / times, numbers[1] / times, numbers[2]
        if flaw := kind.flaw(mean):
            remedy = "A column unit says percent." if kind.is_share else "Correct it."
            problems.add(f"row {place}: {row['task']} {flaw.rstrip('?')}. {remedy}")
        model, method, dataset, task = (row[name].strip() for name in NEEDED[:4])
        half_mean, half_sd = half["mean"] / times, half["sd"] / times
        found.append(PublishedScore(model, method, dataset, task, mean, sd, n, half_mean, half_sd))
    return found


def metrics_of(task: str) -> tuple[str, ...]:
    """Return the metrics that a task's published score may be here, the likeliest first."""
    if "/" in task:
        return (task,)
    return (ACC_MEAN,) if task == "mean" else (f"acc/{task}", f"acc_norm/{task}")


def _half_unit(texts: Sequence[str]) -> float:
    """Return half a unit of the last digit that a column prints."""
    decimals = max((len(text.partition(".")[2].strip()) for text in texts if text), default=0)
    return 0.5 * 10.0**-decimals


def _number(text: str, place: str, problems: Problems) -> float:
    if not text.strip():
        return math.nan
    try:
        return float(text)
    except ValueError:
        problems.add(f"{place}: {text!r} is no number. Write 61.3, or nothing.")
        return math.nan
