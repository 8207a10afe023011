"""Settings of the analysis: its own seed, how often it resamples, what it plans for.

The values live in conf/config.yaml under `analysis`. They move no score of any cell, only the last
digits of intervals made by resampling, the verdicts' threshold and the targets of the power table.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from numbers import Real
from pathlib import Path

from calib_sweep.analysis.metrics import EXAMPLE, Declared, flaws_of
from calib_sweep.cell import Config
from calib_sweep.errors import ConfigError, collected, require
from calib_sweep.values import is_int
from calib_sweep.wording import meant

KEY = "analysis"
SHIPPED = Path(__file__).parent / "published"  # numbers of others, with their sources


@dataclass(frozen=True, kw_only=True)
class AnalysisSettings:
    """Settings of a report; besides what it reports on nothing else may move a byte of it."""

    seed: int  # of bootstraps, simulated quantiles and permutations
    num_resamples: int  # of each of them; permutations are counted exactly where they are fewer
    better_from: float  # P(A > B) that a useful improvement reaches; Bouthillier et al. 2021: 0.75
    power: float  # of the smallest detectable difference and of the seeds that are needed
    targets: Sequence[float]  # half-widths and differences to plan for: shares, log perplexity
    equivalence: Mapping[
        str, float
    ]  # kind of metric, or metric -> what is as good as no difference
    metrics: Declared = field(default_factory=dict)  # what is not known of them: `metrics`
    published: str | None = None  # a CSV file, or the name of a shipped one
    published_names: Mapping[str, str] = field(default_factory=dict)  # our label -> theirs

    def __post_init__(self) -> None:
        with collected() as problems:
            for name, is_good, expected, remedy in (
                ("seed", is_int(self.seed, 0), "an integer >= 0", "seed=0"),
                (
                    "num_resamples",
                    is_int(self.num_resamples, 1000),
                    "an integer >= 1000",
                    "num_resamples=2000",
                ),
                (
                    "better_from",
                    _is_between(self.better_from, 0.5, 1.0),
                    "a probability between 0.5 and 1",
                    "better_from=0.75",
                ),
                (
                    "power",
                    _is_between(self.power, 0.5, 1.0),
                    "a share between 0.5 and 1",
                    "power=0.8",
                ),
                (
                    "targets",
                    isinstance(self.targets, Sequence)
                    and not isinstance(self.targets, str)
                    and len(self.targets) > 0
                    and all(_is_between(target, 0.0, 1.0) for target in self.targets),
                    "a list of numbers between 0 and 1; 0.01 is 1 point, or 1 % perplexity",
                    "targets=[0.005,0.01]",
                ),
                (
                    "equivalence",
                    isinstance(self.equivalence, Mapping)
                    and all(isinstance(key, str) for key in self.equivalence)
                    and all(_is_between(size, 0.0, 1.0) for size in self.equivalence.values()),
                    "metrics with numbers between 0 and 1; 0.01 is 1 point, or 1 % perplexity",
                    "equivalence={acc: 0.005, ppl: 0.01}",
                ),
            ):
                value = getattr(self, name)
                remedy = f"Example: '{KEY}.{remedy}'."
                problems.of(require, is_good, f"{KEY}.{name}", value, expected, remedy)
            problems.of(self._check_published)
            problems.add(
                *(f"{KEY}.metrics{flaw}. Example: '{EXAMPLE}'." for flaw in flaws_of(self.metrics))
            )

    def _check_published(self) -> None:
        names = self.published_names
        is_text = isinstance(names, Mapping) and all(
            isinstance(text, str) for pair in names.items() for text in pair
        )
        remedy = f"Example: '{KEY}.published_names={{sparsegpt: SparseGPT}}'."
        require(is_text, f"{KEY}.published_names", names, "their label by ours", remedy)
        if self.published is not None:
            find_published(str(self.published))

    def margin(self, metric: str) -> float:
        """Return the difference in `metric` that is as good as none; NaN where none is named.

        Of the metric itself (acc/boolq), else of its kind (acc); acc_norm is a kind of acc.
        """
        kind = metric.partition("/")[0]
        named = [self.equivalence.get(key) for key in (metric, kind, kind.removesuffix("_norm"))]
        return next((float(size) for size in named if size is not None), math.nan)

    @property
    def resampling(self) -> dict[str, int]:
        """Return `seed` and `num_resamples`, as functions of `inference` take them."""
        return {"seed": self.seed, "num_resamples": self.num_resamples}


def find_published(name: str) -> Path:
    """Return the file of a name: a shipped one, or a path. Raise `ConfigError` where none is."""
    shipped = SHIPPED / f"{name}.csv"
    path = shipped if shipped.is_file() else Path(name)
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.csv")))
        raise ConfigError(
            f"{KEY}.published={name!r}: expected a CSV file with the columns model, method, "
            f"dataset, task, mean, sd, n, or one of {known}. "
            f"Example: report results/NAME --published {known}."
        )
    return path


def _is_between(value: object, low: float, high: float) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and low < float(value) < high


def read_settings(overrides: Sequence[str] = ()) -> AnalysisSettings:
    """Read the shipped settings, changed by `overrides` (analysis.KEY=VALUE)."""
    values = dict(_shipped())
    with collected() as problems:
        for text in overrides:
            name, _, value = text.removeprefix(f"{KEY}.").partition("=")
            known = ", ".join(f"{KEY}.{key}" for key in values)
            name, _, inner = name.partition(".")  # analysis.equivalence.acc=0.01
            is_known = text.startswith(f"{KEY}.") and name in values
            is_known &= not inner or isinstance(values.get(name), Mapping)
            if not is_known:
                key = text.partition("=")[0]
                near = meant(key, [f"{KEY}.{one}" for one in values])
                problems.add(f"{text}: expected one of {known}.{near} Example: {KEY}.seed=0.")
                continue
            read = problems.of(_value, text, value)
            if read is not None or value.strip() in ("", "null", "~"):
                values[name] = {**values[name], inner: read} if inner else read
    return AnalysisSettings(**values)


def _value(text: str, value: str) -> object:
    """Return what is typed behind the = of `text`."""
    import yaml

    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        what = getattr(error, "problem", None) or error
        raise ConfigError(
            f"{text}: cannot be read ({what}). What has brackets is quoted as a whole: '{EXAMPLE}'."
        ) from error


@cache
def _shipped() -> Config:
    import yaml

    package = Path(__file__).resolve().parents[1]
    # In a wheel conf/ lies inside the package, in a checkout beside it.
    for path in (package / "conf" / "config.yaml", package.parent / "conf" / "config.yaml"):
        if path.is_file():
            return yaml.safe_load(path.read_text())[KEY]
    raise ConfigError(f"{KEY}: expected conf/config.yaml in or beside {package}. Install again.")
