"""Say of a sweep that added seeds until it was known: why it ended, and what that does to the rest.

Read from stopping.json in the sweep's folder, which hydra/sweeper=adaptive writes. Two intervals,
both of `inference.sequential`: of a difference that is shown, or open, the sequential one, which
holds at every look; of one that is narrow its mean -+ the width asked for.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from calib_sweep.analysis import formatting
from calib_sweep.analysis.metrics import OURS, Metrics
from calib_sweep.places import STOPPING
from calib_sweep.wording import counted

Entry = Mapping[str, Any]  # a look, or a contrast at it

SHOWN, NARROW, LOST, OPEN = "shown", "narrow", "lost", "open"
MAX_NAMED = 6
# Rates: benchmarks/stopping.py, "The report's t tests claim a difference where there is none".
CAUTION = (
    "Whether to add seeds was decided by their scores, and all other intervals and p-values take "
    "their number as fixed beforehand: of such sweeps in which nothing differs up to 9 % claim a "
    "difference by them, not 5 %, and what is claimed looks larger than it is. By the statements "
    "over all looks at most 5 % do, or 8 % where the draws of one method alone are strongly skewed."
)


UNREADABLE = (
    f"{STOPPING} cannot be read: the sweep may have chosen its seeds by their scores. The command "
    "of the sweep, typed again, writes it anew."
)


def read(folder: str | Path) -> dict[str, Any] | None:
    """Read how the sweep in `folder` stopped; None where it did not choose its seeds itself.

    Empty where that cannot be read: then it may have, and its tests are not to be trusted blindly.
    """
    path = Path(folder) / STOPPING
    if not path.exists():
        return None
    try:
        told = json.loads(path.read_bytes())
        return told if told["schema"] == 1 and told["looks"] else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def sentences(folder: str | Path, known: Metrics = OURS) -> list[str]:
    """Say why the sweep in `folder` stopped, each contrast, and a caution; [] for a plain grid."""
    told = read(folder)
    if told is None:
        return []
    if not told:
        return [UNREADABLE, CAUTION]
    entries = sorted(told["looks"][-1]["contrasts"], key=_order)
    several = len({entry["model"] for entry in entries}) > 1
    said = [
        (f"{entry['model']}: " if several else "") + describe(entry, known)
        for entry in entries[:MAX_NAMED]
    ]
    if len(entries) > MAX_NAMED:
        said.append(f"{counted(len(entries) - MAX_NAMED, 'more contrast')} in {STOPPING}.")
    return [reason(told), *said, CAUTION]


def _order(entry: Entry) -> int:
    return (OPEN, SHOWN, NARROW, LOST).index(entry["state"])


def reason(told: Entry) -> str:
    """Say why no further seed was added."""
    if not told:
        return UNREADABLE
    look, most = told["looks"][-1], told["rule"]["most_seeds"]
    states = {entry["state"] for entry in look["contrasts"]}
    used = f"{look['num_seeds']} of at most {counted(most, 'seed')}"
    if OPEN in states:
        return f"Not every contrast is known after all {counted(most, 'seed')} that were allowed."
    if not states & {SHOWN, NARROW}:
        return f"Stopped after {used}: no contrast has finite scores, so more seeds do not help."
    looks = "one look" if len(told["looks"]) == 1 else f"{len(told['looks'])} looks"
    rest = " that has finite scores" if LOST in states else ""
    return f"Stopped after {used} and {looks}, as every contrast{rest} is known."


def describe(entry: Entry, known: Metrics = OURS) -> str:
    """Say one contrast in one metric at a look."""
    a, b, state, metric = (entry[key] for key in ("a", "b", "state", "metric"))
    what, pair, where = known.headline_words(metric), f"{a} against {b}", _population(entry)
    if state == LOST:
        why = "is not finite on some draw" if entry["n"] else "is on no draw of both"
        return f"{pair}: {what} {why}{where}."
    if entry["mean"] is None or entry["half"] is None:
        seeds = counted(entry["n"], "seed")
        return f"{pair} in {what}{where} is open: {seeds} with scores of both."
    if state == NARROW:
        size, interval = formatting.amount(metric, *_fixed(entry), known)
        return f"{pair} in {what}{where}: {size} (95 % {interval}, as narrow as asked for)."
    mean, low, high = (entry[key] for key in ("mean", "lo", "hi"))
    if state == OPEN:
        size, interval = formatting.amount(metric, mean, low, high, known)
        now, asked = (_width(metric, entry[key], known) for key in ("half", "width"))
        at_looks = f"95 % at all looks {interval}"
        return f"{pair} in {what}{where} is open: {size} ({at_looks}), ±{now} and not ±{asked}."
    if entry["better"] == b:
        a, b, mean, low, high = b, a, -mean, -high, -low
    verb = "differs from" if entry["better"] is None else "is better than"
    size, interval = formatting.amount(metric, mean, low, high, known)
    return f"{a} {verb} {b} in {what}{where}: {size} (95 % at all looks {interval})."


def _population(entry: Entry) -> str:
    datasets: Sequence[str] = entry["datasets"]
    return f" on {datasets[0]}" if len(datasets) == 1 else f" on these {len(datasets)} datasets"


def _fixed(entry: Entry) -> tuple[float, float, float]:
    mean, width = entry["mean"], entry["width"]
    return mean, mean - width, mean + width


def _width(metric: str, value: float, known: Metrics) -> str:
    unit = formatting.unit(metric, known)
    return f"{formatting.spread(metric, value, known):.2g}\u00a0{unit}".rstrip()


def describe_look(look: Entry, known: Metrics) -> str:
    """Say in one line what a look finds, for the log."""
    several = len({entry["model"] for entry in look["contrasts"]}) > 1
    named: dict[str, list[str]] = {}
    for entry in look["contrasts"]:
        pair = f"{entry['a']} and {entry['b']} in {known.headline_words(entry['metric'])}"
        pair = f"{entry['model']}: {pair}" if several else pair
        if entry["state"] == OPEN and entry["half"] is not None:
            now, asked = (_width(entry["metric"], entry[key], known) for key in ("half", "width"))
            pair = f"{pair} (±{now}, asked ±{asked})"
        named.setdefault(entry["state"], []).append(pair)
    parts = [
        f"{state}: {', '.join(pairs[:MAX_NAMED])}"
        + (f" and {len(pairs) - MAX_NAMED} more" if len(pairs) > MAX_NAMED else "")
        for state in (SHOWN, NARROW, LOST, OPEN)
        if (pairs := named.get(state))
    ]
    found = "; ".join(parts) or "no cell has scores"
    return f"look after {counted(look['num_seeds'], 'seed')}: {found}"
