"""Notes on the headline tables: repeats, gaps, draws that diverged."""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from calib_sweep.analysis.formatting import decimals, number, scale
from calib_sweep.analysis.inference.sample import has_diverged
from calib_sweep.analysis.scores.contained import CONTAINED
from calib_sweep.analysis.scores.groups import Group
from calib_sweep.analysis.scores.means import ACC_MEAN, PPL_MEAN
from calib_sweep.analysis.scores.names import Naming
from calib_sweep.analysis.scores.table import Row
from calib_sweep.analysis.tables.controls import cell_title

METRIC_WORDS = {PPL_MEAN: "perplexity", ACC_MEAN: "accuracy"}


def findings(rows: Sequence[Row], groups: Sequence[Group]) -> list[str]:
    """Say a sentence for each thing that a reader of the headline tables must know."""
    headline = [group for group in groups if group.metric in METRIC_WORDS]
    notes = [_repeated(headline), _unequal_counts(headline), _superseded(rows)]
    notes += [_contained(rows)]
    notes += _diverged([group for group in headline if group.metric == PPL_MEAN])
    notes += [_different_scores(rows)]
    return [note for note in notes if note]


def _repeated(groups: Sequence[Group]) -> str | None:
    parts, lost = [], []
    for metric, word in METRIC_WORDS.items():
        own = [g for g in groups if g.metric == metric and g.num_repeated]
        if not own:
            continue
        largest = scale(metric) * max(g.max_difference for g in own)
        num_pairs = sum(g.num_repeated for g in own)
        shown = "0" if largest == 0 else f"{largest:.2g}"
        unit = " points" if metric == ACC_MEAN else ""
        parts.append(f"{shown}{unit} in {word} ({num_pairs} repeated)")
        lost += [word] if math.isinf(largest) else []
    if lost:
        return f"replicates: in {' and '.join(lost)} the same cell was finite once and once not."
    if not parts:
        return None
    return f"replicates: the same cell run again differs by at most {' and '.join(parts)}."


def _unequal_counts(groups: Sequence[Group]) -> str | None:
    counts = {g.spread.n for g in groups if g.dataset is not None}
    if len(counts) < 2:
        return None
    return (
        "n differs between rows: a range grows with n, so compare min..max only where n is equal."
    )


def _superseded(rows: Sequence[Row]) -> str | None:
    older = {row["cell_id"]: row for row in rows if row["status"] == "superseded"}
    if not older:
        return None
    row = next(iter(older.values()))
    return (
        f"{len(older)} done cells are left out, as a later one has the same name and settings: "
        f"{cell_title(row)} ({', '.join(sorted(older)[:3])}{', ...' if len(older) > 3 else ''})."
    )


def _contained(rows: Sequence[Row]) -> str | None:
    fewer = {row["cell_id"]: row for row in rows if row["status"] == CONTAINED}
    if not fewer:
        return None
    are = "cell is" if len(fewer) == 1 else "cells are"
    return (
        f"{len(fewer)} done {are} left out, as all that was scored there stands in another cell of "
        f"the same weights: {', '.join(sorted(fewer)[:3])}{', ...' if len(fewer) > 3 else ''}."
    )


def _diverged(groups: Sequence[Group]) -> Iterator[str]:
    naming, several = Naming.of_groups(groups), len({group.model for group in groups}) > 1
    for group in groups:
        is_far_S = has_diverged(group.value_S)
        if is_far_S.any():
            names = naming.of(group)
            parts = [names.model if several else None, names.method, names.dataset]
            yield f"diverged: {' '.join(filter(None, parts))}{_how_far(group, is_far_S)}"


def _different_scores(rows: Iterable[Row]) -> str | None:
    """Say where means are over other corpora or tasks, as scores from elsewhere may be."""
    scored: dict[tuple[str | None, str, str], set[str]] = {}
    for row in rows:
        kind, _, of = str(row["metric"]).partition("/")
        if row["status"] == "done" and kind in ("ppl", "acc", "acc_norm"):
            scored.setdefault((row["model"], row["cell_id"], kind), set()).add(of)
    sets: dict[tuple[str | None, str], set[frozenset[str]]] = {}
    for (model, _, kind), names in scored.items():
        sets.setdefault((model, kind), set()).add(frozenset(names))
    mixed = sorted(
        {f"{kind} of {model}" for (model, kind), found in sets.items() if len(found) > 1}
    )
    if not mixed:
        return None
    return (
        f"cells were scored on different corpora or tasks ({', '.join(mixed)}): means over them "
        "are comparable only between cells that have the same ones."
    )


def _how_far(group: Group, is_far_S: np.ndarray) -> str:
    """Say which draws of a group have diverged, and what the others give."""
    if group.spread.n == 1:
        return "; its perplexity is not finite."
    if is_far_S.all():
        return ", on every draw; none of its perplexities is finite."
    seeds = [str(seed) for seed, far in zip(group.seeds, is_far_S, strict=True) if far]
    it = "it" if len(seeds) == 1 else "them"
    mean = number(float(group.value_S[~is_far_S].mean()), decimals(group.metric, [group.spread]))
    return f", seed {', '.join(seeds)}; the table keeps {it}, without {it} the mean is {mean}."
