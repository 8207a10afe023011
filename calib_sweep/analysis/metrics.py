"""Metrics: which way is better, where a value can lie, how it is analysed and shown.

A metric is named KIND/WHERE: acc/arc_easy, ppl/wikitext2@2048, exact_match,strict/gsm8k, or KIND
alone. What is true of a kind is true of each of its metrics, unless a whole name says otherwise.

    direction   +1 more is better, -1 less is, 0 not known: then nothing is called better
    low, high   where values can lie; what lies elsewhere is refused (`scores.refusals`)
    scale       share: a fraction, shown in percent;  log: analysed as a logarithm, differences are
                ratios;  plain: as it is
    headline    whether sentences and figures are made of it
    chance      what guessing scores; not a number where that is not known
    over        of a mean: the names of what it is over, where those of its kind do not say so
    words       what it is called;  unit: of a value as it is shown

OURS has the metrics of this program and those of lm-eval. Records say more (`Record.metrics`), and
`analysis.metrics` has the last word.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeGuard

from calib_sweep.results.means import ACC_MEAN, PPL_MEAN
from calib_sweep.values import is_int, is_number

SCALES = ("share", "plain", "log")
SLACK = 1e-6  # by which rounding may carry a value out of its range
PERCENT = 100.0

Declared = Mapping[str, Mapping[str, Any]]  # fields of a `Kind` by name of a kind or metric
NONE_DECLARED: Declared = {}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What is known of a metric, or of all metrics of a kind."""

    words: str
    direction: int = 0
    low: float = -math.inf
    high: float = math.inf
    scale: str = "plain"
    headline: bool = False
    unit: str = ""
    chance: float = math.nan
    over: str = ""

    @property
    def is_logged(self) -> bool:
        """Tell whether it is analysed as a logarithm, and its differences are ratios."""
        return self.scale == "log"

    @property
    def is_share(self) -> bool:
        return self.scale == "share"

    @property
    def times(self) -> float:
        """Return what a value is multiplied with to be shown."""
        return PERCENT if self.is_share else 1.0

    def flaw(self, value: float) -> str | None:
        """Say why no model can score `value`; None where it can, or where there is none (NaN)."""
        if self.low - SLACK <= value <= self.high + SLACK or math.isnan(value):
            return None
        between = f"{self.low:g} to {self.high:g}" if self.high < math.inf else f"{self.low:g}"
        between = f"{between} or more" if self.high == math.inf else between
        between = f"{self.high:g} or less" if self.low == -math.inf else between
        hint = ", a fraction: is it in percent?" if self.is_percent(value) else ""
        return f"is {value:g}, expected {between}{hint}"

    def is_percent(self, value: float) -> bool:
        """Tell whether `value` is a share that seems to be in percent."""
        return self.is_share and self.high + SLACK < value <= PERCENT * self.high


def recovery(kind: Kind, value: float, dense: float) -> float:
    """Return the share of the dense score that is kept; NaN where there is no such share.

    A score of which more is better: value / dense. A perplexity: dense / value, the likelihood of a
    token relative to the dense model's, by the geometric mean over tokens.
    """
    if kind.direction > 0 and dense > 0:
        return value / dense
    return dense / value if kind.is_logged and kind.direction < 0 and value > 0 else math.nan


def recovery_above_chance(kind: Kind, value: float, dense: float, dense_stderr: float) -> float:
    """Return the share that is kept of what the dense model scores above chance.

    (value - chance) / (dense - chance), below 0 for a model that is worse than guessing. NaN where
    chance is not known, and where the dense model is not above it by two standard errors.
    """
    above = dense - kind.chance
    is_above = above > 0 and not above <= 2 * dense_stderr
    return (value - kind.chance) / above if kind.direction > 0 and is_above else math.nan


def kind_of(metric: str) -> str:
    """Return the first word of a metric's name: exact_match of exact_match,strict/gsm8k."""
    return re.split("[/,]", metric, maxsplit=1)[0]


@dataclass(frozen=True)
class Metrics:
    """All that is known of metrics, by kind or by whole name."""

    kinds: Mapping[str, Kind]

    def of(self, metric: str) -> Kind:
        """Return what is known of `metric`; of one that nobody declared, no more than its name."""
        kind = kind_of(metric)
        return self.kinds.get(metric) or self.kinds.get(kind) or Kind(words=kind)

    def extended(self, declared: Declared) -> "Metrics":
        """Return these metrics with what is `declared` of some; what is declared last counts."""
        kinds = dict(self.kinds)
        for name, told in declared.items():
            known = {f: _as_field(f, value) for f, value in told.items()}
            if "unit" not in told and known.get("scale") == "share":
                known["unit"] = "%"
            for own in {name, *(other for other in kinds if kind_of(other) == name)}:
                kinds[own] = replace(Metrics(kinds).of(own), **known)
        return Metrics(kinds)

    def headlines(self, metrics: Iterable[str]) -> dict[str, str]:
        """Return the metrics that sentences and figures are made of, in words: ours first."""
        names = sorted({m for m in metrics if self.of(m).headline}, key=_ours_first)
        return {name: self.headline_words(name) for name in names}

    def headline_words(self, metric: str) -> str:
        """Return what a headline is called in a sentence: perplexity, bleu (wmt16)."""
        where = metric.partition("/")[2]
        words = self.of(metric).words
        return words if not where or metric in HEADLINES else f"{words} ({where})"


def _ours_first(metric: str) -> tuple[int, str]:
    ours = list(HEADLINES)
    return (ours.index(metric) if metric in ours else len(ours), metric)


def slug(words: str) -> str:
    """Return words as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9]+", "_", words).strip("_")


def _as_field(name: str, value: Any) -> Any:
    """Return the value of a declared field as `Kind` has it: null is no bound."""
    if name in ("low", "high"):
        none = -math.inf if name == "low" else math.inf
        return none if value is None else float(value)
    return value


HEADLINES = {PPL_MEAN: "perplexity", ACC_MEAN: "accuracy"}


def _share(words: str, direction: int = 1, *, headline: bool = False) -> Kind:
    return Kind(
        words=words,
        direction=direction,
        low=0.0,
        high=1.0,
        scale="share",
        headline=headline,
        unit="%",
    )


def _perplexity(words: str, *, headline: bool = False) -> Kind:
    return Kind(words=words, direction=-1, low=1.0, scale="log", headline=headline)


def _divergence(words: str) -> Kind:
    return Kind(words=words, direction=-1, unit="nats per token")


OURS = Metrics(
    {
        # Of this program.
        "ppl": _perplexity("perplexity"),
        PPL_MEAN: _perplexity("perplexity", headline=True),
        "acc": _share("accuracy"),
        ACC_MEAN: _share("accuracy", headline=True),
        "acc_norm": _share("length-normalised accuracy"),
        "kl": _divergence("KL divergence from dense"),
        "kl_median": _divergence("median KL divergence from dense"),
        "kl_p99": _divergence("99th percentile of KL divergence from dense"),
        "kl_p999": _divergence("99.9th percentile of KL divergence from dense"),
        "same_top": _share("positions with the same likeliest token as dense"),
        "flips": _share("answers that differ from dense in correctness", -1),
        "cut": _share("written answers that their bound cut off", -1),
        # As lm-eval's registry has them (HIGHER_IS_BETTER_REGISTRY), and names in common use.
        "accuracy": _share("accuracy"),
        "acc_mutual_info": _share("accuracy by mutual information"),
        "acc_bytes": _share("accuracy by bytes"),
        "acc_all": _share("accuracy of whole questions"),
        "exact_match": _share("exact match"),
        "f1": _share("F1"),
        "mcc": Kind(words="Matthews correlation", direction=1, low=-1.0, high=1.0),
        "bleu": Kind(words="BLEU", direction=1, low=0.0, high=100.0),
        "chrf": Kind(words="chrF", direction=1, low=0.0, high=100.0),
        "chrf++": Kind(words="chrF++", direction=1, low=0.0, high=100.0),
        "ter": Kind(words="translation edit rate", direction=-1, low=0.0),
        "brier_score": Kind(words="Brier score", direction=-1, low=0.0),
        "likelihood": Kind(words="likelihood", direction=1),
        "perplexity": _perplexity("perplexity"),
        "word_perplexity": _perplexity("perplexity per word"),
        "byte_perplexity": _perplexity("perplexity per byte"),
        "bits_per_byte": Kind(words="bits per byte", direction=-1, low=0.0),
    }
)

EXAMPLE = "analysis.metrics={bleu: {direction: 1, low: 0, high: 100}}"


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value != ""


def _is_bound(value: object) -> bool:
    return value is None or (is_number(value) and not math.isnan(value))


# What a declared field may be, and the words for it.
ACCEPTED: dict[str, tuple[Callable[[object], bool], str]] = {
    "words": (_is_text, "text"),
    "direction": (
        lambda value: is_int(value) and value in (-1, 0, 1),
        "1 (more is better), -1 (less is) or 0 (not known)",
    ),
    "low": (_is_bound, "a number, or null for no bound"),
    "high": (_is_bound, "a number, or null for no bound"),
    "scale": (lambda value: value in SCALES, f"one of {', '.join(SCALES)}"),
    "headline": (lambda value: isinstance(value, bool), "true or false"),
    "unit": (lambda value: isinstance(value, str), "text"),
    "over": (lambda value: isinstance(value, str), "names, joined by a comma and a space"),
    "chance": (lambda value: is_number(value) and math.isfinite(value), "a number"),
}
assert set(ACCEPTED) == {field.name for field in fields(Kind)}


def flaws_of(declared: object) -> list[str]:
    """Say all that is wrong with what was declared of metrics; nothing where it can be read."""
    if not isinstance(declared, Mapping):
        return [f"={declared!r}: expected fields by the name of a metric"]
    flaws = []
    for name, told in declared.items():
        if not _is_text(name) or not isinstance(told, Mapping) or not told:
            flaws.append(f".{name}={told!r}: expected some of {', '.join(ACCEPTED)}")
            continue
        own = _flaws_of_fields(told)
        flaws += [f".{name}{flaw}" for flaw in own or _flaws_of_range(told)]
    return flaws


def _flaws_of_fields(told: Mapping[str, Any]) -> Sequence[str]:
    known = ", ".join(ACCEPTED)
    flaws = []
    for name, value in told.items():
        is_good, expected = ACCEPTED.get(name, (lambda _: False, f"no such field, but {known}"))
        if not is_good(value):
            flaws.append(f".{name}={value!r}: expected {expected}")
    return flaws


def _flaws_of_range(told: Mapping[str, Any]) -> Sequence[str]:
    low, high = (_as_field(name, told.get(name)) for name in ("low", "high"))
    if low < high:
        return []
    return [f".low={told['low']!r}: expected less than high={told['high']!r}"]
