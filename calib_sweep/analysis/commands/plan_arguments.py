"""What is typed behind the verb `plan`: a budget or a target, and which two methods."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from calib_sweep.analysis.report.write import require_records
from calib_sweep.analysis.settings import AnalysisSettings, read_settings
from calib_sweep.arguments import OptionParser, unknown_options
from calib_sweep.errors import Problems, collected, require

EXAMPLE = "Example: python -m calib_sweep plan results/NAME --budget 40 --target 0.3."
OPTIONS = ("--budget", "--target", "--contrast", "--metric", "--model", "--datasets")
MIN_BUDGET = 4
MAX_DATASETS = 50


@dataclass(frozen=True, kw_only=True)
class Asked:
    """How narrow an interval so many cells buy, or how many cells so narrow an interval costs."""

    folder: Path
    settings: AnalysisSettings
    budget: int | None  # cells
    target: float | None  # half-width, in points or per cent of perplexity
    contrast: tuple[str, str] | None  # two methods
    metric: str | None
    model: str | None
    most_datasets: int


def read_arguments(arguments: Sequence[str]) -> Asked:
    """Read the folder, the options and settings of the analysis; every mistake is told at once."""
    parser = OptionParser("plan", EXAMPLE)
    parser.add_argument("words", nargs="*")
    for option in OPTIONS:
        parser.add_argument(option)
    typed, others = parser.parse_known_intermixed_args(list(arguments))
    folders = [word for word in typed.words if "=" not in word or Path(word).is_dir()]
    settings = [word for word in typed.words if word not in folders]
    with collected() as problems:
        if len(folders) != 1:
            given = " ".join(folders) or "nothing"
            problems.add(f"plan {given}: expected the folder of one sweep. {EXAMPLE}")
        read = problems.of(read_settings, settings)
        if folders and read is not None:
            problems.of(require_records, Path(folders[0]), read.metrics, verb="plan")
        problems.add(*unknown_options("plan", others, OPTIONS))
        if typed.budget is None and typed.target is None and not others:
            problems.add(f"plan: expected --budget CELLS, --target WIDTH, or both. {EXAMPLE}")
        budget = _count(problems, "--budget", typed.budget, MIN_BUDGET)
        most = _count(problems, "--datasets", typed.datasets, 1)
        target = _target(problems, typed.target)
        contrast = _contrast(problems, typed.contrast)
    return Asked(
        folder=Path(folders[0]),
        settings=cast(AnalysisSettings, read),
        budget=budget,
        target=target,
        contrast=contrast,
        metric=typed.metric,
        model=typed.model,
        most_datasets=most or MAX_DATASETS,
    )


def _count(problems: Problems, option: str, text: str | None, least: int) -> int | None:
    if text is None:
        return None
    is_good = text.isdecimal() and int(text) >= least
    expected = f"a whole number, {least} or more"
    problems.of(require, is_good, option, text, expected, f"Type {option} 40.")
    return int(text) if is_good else None


def _target(problems: Problems, text: str | None) -> float | None:
    try:
        value = None if text is None else float(text)
    except ValueError:
        value = -1.0
    is_good = value is None or 0 < value < 100
    expected = "a half-width between 0 and 100: points of accuracy, per cent of perplexity"
    problems.of(require, is_good, "--target", text, expected, "Type --target 0.3.")
    return value


def _contrast(problems: Problems, text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    is_good = len(names) == 2 and names[0] != names[1] and all(names)
    expected = "two different methods with a comma between"
    problems.of(require, is_good, "--contrast", text, expected, "Type --contrast wanda,sparsegpt.")
    return (names[0], names[1]) if is_good else None
