"""Numbers and names as a reader meets them, the same on the terminal and in the report.

Shares (accuracy, flips) are shown in percent, perplexity as it is. A column has the decimals that
show its median SD to about two digits, within limits.
"""

import math
import re
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from calib_sweep.analysis.inference.sample import Spread
from calib_sweep.analysis.metrics import OURS, Kind, Metrics, kind_of
from calib_sweep.analysis.scores.groups import Group
from calib_sweep.analysis.scores.means import ACC_MEAN, PPL_MEAN

DIGITS = {"log": (2, 4), "share": (1, 2), "plain": (3, 5)}  # fewest, most

NO_BREAK = "\u00a0"
UNIT_AFTER_NUMBER = re.compile(r"(?<=\d) (?=%|(?:points?|nats|GiB|s|min)\b)")


def scale(metric: str, known: Metrics = OURS) -> float:
    """Return what a value of `metric` is multiplied with to be shown."""
    return known.of(metric).times


def decimals(metric: str, spreads: Iterable[Spread], known: Metrics = OURS) -> int:
    """Return the decimals for a column of `metric`."""
    return decimals_for(metric, (spread.sd for spread in spreads), known)


def decimals_for(metric: str, all_sds: Iterable[float], known: Metrics = OURS) -> int:
    """Return the decimals for a column of `metric` whose values have these SDs."""
    return decimals_of(known.of(metric), all_sds)


def decimals_of(kind: Kind, all_sds: Iterable[float]) -> int:
    """Return the decimals for a column of scores of one kind whose values have these SDs."""
    fewest, most = DIGITS[kind.scale]
    sds = [kind.times * sd for sd in all_sds if sd > 0 and math.isfinite(sd)]
    if not sds:
        return fewest
    return min(max(1 - math.floor(math.log10(2 * median(sds))), fewest), most)


def number(value: float, num_decimals: int, *, signed: bool = False) -> str:
    """Return `value` with at most `num_decimals`, fewer when it is large."""
    sign = "+" if signed else ""
    if not math.isfinite(value):
        return f"{value:{sign}}"
    if abs(value) >= 1e6:
        return f"{value:{sign}.2e}"
    before_point = len(str(int(abs(value))))
    # "z": what rounds to zero has no sign of its own.
    return f"{value:{sign}z.{min(num_decimals, max(0, 5 - before_point))}f}"


def sd_text(sd: float, n: int, num_decimals: int) -> str:
    """Return an SD as text: '-' when it is undefined, and 0 only when it is exactly that."""
    if n < 2:
        return "-"
    if sd == 0:
        return "0"
    smallest = 10.0**-num_decimals
    return f"<{number(smallest, num_decimals)}" if sd < smallest / 2 else number(sd, num_decimals)


def described(group: Group, num_decimals: int) -> list[str]:
    """Return mean, SD, min..max, n, vs dense as text."""
    spread, times = group.spread, group.kind.times
    mean, low, high = (
        number(times * v, num_decimals) for v in (spread.mean, spread.min, spread.max)
    )
    difference = times * (spread.mean - group.dense)
    known = not group.is_dense and not math.isnan(group.dense)
    return [
        mean,
        sd_text(times * spread.sd, spread.n, num_decimals),
        f"{low}..{high}" if spread.n > 1 else "-",
        str(spread.n),
        number(difference, num_decimals, signed=True) if known else "-",
    ]


def heading(metric: str, metrics: Iterable[str], known: Metrics = OURS) -> str:
    """Say what a metric is; of a mean, over how many corpora or tasks among `metrics`."""
    name, of = with_unit(known.of(metric)), _where(metric)
    parts = parts_of_mean(metric, metrics, known)
    if metric not in (PPL_MEAN, ACC_MEAN):
        return f"{name} ({of})" if of else name
    if len(parts) < 2:  # of what it is the mean may not be recorded
        return f"{name} ({parts[0]})" if parts else name
    mean_of = "geometric mean of {} corpora" if metric == PPL_MEAN else "mean of {} tasks"
    return f"{name} ({mean_of.format(len(parts))})"


def with_unit(kind: Kind) -> str:
    """Return what a metric is called, with the unit of its values."""
    return f"{kind.words}, {kind.unit}" if kind.unit else kind.words


def named(metric: str, known: Metrics = OURS) -> str:
    """Say what a metric is, without a unit; of a single corpus or task, of which."""
    name, of = known.of(metric).words, _where(metric)
    return name if not of or metric in (PPL_MEAN, ACC_MEAN) else f"{name} ({of})"


def _where(metric: str) -> str:
    """Return what was scored and how its answers were read: gsm8k, strict-match."""
    kind, _, of = metric.partition("/")
    return ", ".join(filter(None, (of, kind.partition(",")[2])))


def parts_of_mean(metric: str, metrics: Iterable[str], known: Metrics = OURS) -> list[str]:
    """Return the corpora, tasks and groups that a mean is over."""
    told = known.of(metric).over
    return told.split(", ") if told else parts_of(kind_of(metric), metrics)


def parts_of(kind: str, metrics: Iterable[str]) -> list[str]:
    """Return the corpora or tasks scored by metrics of one kind; acc_norm is a kind of acc."""
    kinds = ("acc", "acc_norm") if kind == "acc" else (kind,)
    own = {m.partition("/")[2] for m in metrics if kind_of(m) in kinds}
    return sorted(own - {"mean", "geomean"})


def duration(seconds: float) -> str:
    """Return seconds as text: 38 s, 2 min 5 s, 1 h 3 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if whole >= 10 else f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(num_bytes: float) -> str:
    """Return bytes as text: 640 KiB, 12 MiB, 6.7 GiB."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20)):
        if num_bytes >= scale:
            value = num_bytes / scale
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
    return f"{num_bytes / 1024:.0f} KiB"


def unit(metric: str, known: Metrics = OURS) -> str:
    """Return the unit of a shown SD of the analysis: 'points', '%', or nothing known."""
    return {"log": "%", "share": "points", "plain": ""}[known.of(metric).scale]


def difference_unit(metric: str, known: Metrics = OURS) -> str:
    """Return the unit of a shown difference: 'points', or nothing, as of a ratio."""
    return "" if known.of(metric).is_logged else unit(metric, known)


def difference(metric: str, value: float, known: Metrics = OURS) -> float:
    """Return a difference as it is shown everywhere: of logarithms as the ratio exp(d)."""
    if not known.of(metric).is_logged:
        return scale(metric, known) * value
    return math.inf if value >= 100 else math.exp(value)  # NaN stays NaN


def spread(metric: str, sd: float, known: Metrics = OURS) -> float:
    """Return an SD of the analysis as it is shown: in points, of logarithms in per cent."""
    return 100 * sd if unit(metric, known) else sd


def amount(
    metric: str, value: float, low: float, high: float, known: Metrics = OURS
) -> tuple[str, str]:
    """Return a difference with its unit and its interval: 'x0.47' and '0.41..0.53'."""
    shown = [difference(metric, one, known) for one in (value, low, high)]
    is_ratio = known.of(metric).is_logged
    half_width = (shown[2] - shown[1]) / 2
    has_width = math.isfinite(half_width) and half_width > 0
    none = 1.0 if is_ratio else 0.0  # what is no difference
    digits = difference_decimals([half_width]) if has_width else _of_size(shown[0] - none)
    text, *ends = (number(one, digits) for one in shown)
    text = f"x{text}" if is_ratio else f"{text} {unit(metric, known)}".rstrip()
    return text, f"{ends[0]}..{ends[1]}"


def _of_size(difference: float) -> int:
    """Return the decimals of a difference that has no interval, or one without width."""
    return max(difference_decimals([difference]), 2)


def difference_decimals(half_widths: Iterable[float]) -> int:
    """Return the decimals that show the median half-width to two digits or more."""
    known = [abs(width) for width in half_widths if math.isfinite(width) and width != 0]
    return min(max(1 - math.floor(math.log10(2 * median(known))), 1), 4) if known else 1


def with_interval(
    value: float, low: float, high: float, num_decimals: int, *, signed: bool = False
) -> str:
    """Return '1.2 (0.3..2.1)'; without an interval where there is none, '-' without a value."""
    if math.isnan(value):
        return "-"
    text = number(value, num_decimals, signed=signed)
    if math.isnan(low) or math.isnan(high):
        return text
    ends = [number(end, num_decimals, signed=signed) for end in (low, high)]
    return f"{text} ({ends[0]}..{ends[1]})"


def unbroken(text: str) -> str:
    """Return `text` with its units tied to their numbers, by spaces that no line ends at."""
    return UNIT_AFTER_NUMBER.sub(NO_BREAK, text)


def capitalised(text: str) -> str:
    """Return `text` as a sentence begins with it; the rest stays: BLEU, not Bleu."""
    return text[:1].upper() + text[1:]


def listed(words: Sequence[str]) -> str:
    """Return 'a', 'a and b', 'a, b and c'."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


Frame = Any  # pandas.DataFrame, whose own types call every selection of rows a Series too
