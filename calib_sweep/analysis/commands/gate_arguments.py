"""What is typed behind the verb `gate`, and which methods and metrics it asks about."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from calib_sweep.analysis.report.material import Material
from calib_sweep.analysis.report.write import require_records
from calib_sweep.analysis.scores.arrays import ScoreArray
from calib_sweep.analysis.tables.losses import can_be_lost
from calib_sweep.arguments import OptionParser, unknown_options
from calib_sweep.errors import Problems, collected, require
from calib_sweep.wording import meant

EXAMPLE = "Example: python -m calib_sweep gate results/NAME --loss 0.01 --worst 0.05."
LIMITS = ("--loss", "--worst", "--confidence")
CHOICES = ("--method", "--metric")
UNIT = "a number above 0 and below 1; 0.01 is one point of accuracy, 1 % of perplexity"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question: is the loss of these methods, in these metrics, within these limits?"""

    folder: Path
    loss: float  # of the mean draw
    worst: float | None  # of almost all draws
    confidence: float
    methods: Sequence[str] = ()  # none: all
    metrics: Sequence[str] = ()  # none: every headline metric


def read_arguments(arguments: Sequence[str]) -> Asked:
    """Read the folder and the options; every mistake is told at once."""
    parser = OptionParser("gate", EXAMPLE)
    parser.add_argument("folders", nargs="*")
    for option in LIMITS:
        parser.add_argument(option)
    for option in CHOICES:
        parser.add_argument(option, action="append", default=[])
    typed, others = parser.parse_known_intermixed_args(list(arguments))
    with collected() as problems:
        given = " ".join(typed.folders) or "nothing"
        if len(typed.folders) != 1:
            problems.add(f"gate {given}: expected the folder of one sweep. {EXAMPLE}")
        else:
            problems.of(require_records, Path(typed.folders[0]), verb="gate")
        problems.add(*unknown_options("gate", others, (*LIMITS, *CHOICES)))
        if typed.loss is None and not others:
            problems.add(f"gate: expected a limit, --loss LIMIT. {EXAMPLE}")
        loss = _share(problems, "--loss", typed.loss)
        worst = _share(problems, "--worst", typed.worst)
        confidence = _confidence(problems, typed.confidence)
    return Asked(
        folder=Path(typed.folders[0]),
        loss=loss or 0.0,
        worst=worst,
        confidence=confidence,
        methods=_split(typed.method),
        metrics=_split(typed.metric),
    )


def _share(problems: Problems, option: str, text: str | None) -> float | None:
    value = _number(text)
    if text is not None:
        is_good = value is not None and 0 < value < 1
        problems.of(require, is_good, option, text, UNIT, f"Type {option} 0.01.")
    return value


def _confidence(problems: Problems, text: str | None) -> float:
    value = 0.95 if text is None else _number(text)
    is_good = value is not None and 0.5 < value < 1
    expected = "a probability above 0.5 and below 1"
    problems.of(require, is_good, "--confidence", text, expected, "Type --confidence 0.95.")
    return value if value is not None else 0.95


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _split(words: Sequence[str]) -> list[str]:
    """Return several names, typed one by one or with commas between."""
    return [name.strip() for word in words for name in word.split(",") if name.strip()]


def chosen(
    asked: Asked, arrays: Sequence[ScoreArray], material: Material
) -> tuple[list[str], list[str]]:
    """Return the methods and metrics that are asked about, by their names in the report."""
    called: dict[str, dict[str, None]] = {}  # full name, or without settings -> full names
    for names in (names for array in arrays for names in array.methods):
        for name in (names.method, names.bare_method):
            called.setdefault(name, {})[names.method] = None
    headlines = material.known.headlines(material.metrics)
    metrics = {metric: metric for metric in material.metrics if can_be_lost(metric, material.known)}
    metrics |= {word: metric for metric, word in headlines.items()}
    with collected() as problems:
        for word in asked.methods:
            expected = f"a method of the sweep: {', '.join(sorted(called))}"
            remedy = f"{meant(word, called)} {EXAMPLE}".strip()
            problems.of(require, word in called, "--method", word, expected, remedy)
        for word in asked.metrics:
            expected = f"a metric of the sweep: {', '.join(sorted(metrics))}"
            remedy = f"{meant(word, metrics)} {EXAMPLE}".strip()
            problems.of(require, word in metrics, "--metric", word, expected, remedy)
        if not called:
            problems.add(f"gate {str(asked.folder)!r}: expected compressed cells with scores.")
        elif not (asked.metrics or headlines):
            problems.add(f"gate: expected --metric with one of {', '.join(sorted(metrics))}.")
    all_methods = dict.fromkeys(full for own in called.values() for full in own)
    methods = dict.fromkeys(full for word in asked.methods for full in called[word])
    return list(methods or all_methods), [metrics[w] for w in asked.metrics] or list(headlines)
