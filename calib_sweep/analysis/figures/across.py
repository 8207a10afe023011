"""The same differences in several sweeps, side by side: a mark with its interval for each sweep."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from calib_sweep.analysis import formatting
from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.metrics import OURS, Metrics

if TYPE_CHECKING:
    from calib_sweep.analysis.figures.plots import Axes, Figure

MAX_ROWS = 40  # pairs of methods in a panel
MAX_SWEEPS = 6
APART = 0.7  # of a strip, which its marks share


def across_figure(table: Frame, metric: str, known: Metrics = OURS) -> "Figure | None":
    """Draw each pair of methods in one score, as every sweep has it; a panel for each model."""
    from calib_sweep.analysis.figures import plots

    own = table[table["metric"] == metric]
    if own.empty:
        return None
    models = list(dict.fromkeys(own["model"]))
    sweeps = list(dict.fromkeys([*own["first"], *own["second"]]))[:MAX_SWEEPS]
    pairs = {
        model: list(dict.fromkeys(zip(of["a"], of["b"], strict=True)))[:MAX_ROWS]
        for model, of in own.groupby("model", sort=False)
    }
    heights = [plots.strip_height(len(pairs[model])) for model in models]
    figure, panels = plots.panels([*heights[:-1], heights[-1] + 0.3], models)
    is_ratio = known.of(metric).is_logged
    with plots.plain_style():
        for model, axes in zip(models, panels, strict=True):
            rows = own[own["model"] == model].to_dict("records")
            for place, sweep in enumerate(sweeps):
                _draw_sweep(axes, rows, pairs[model], (place, len(sweeps), sweep), metric, known)
            axes.axvline(1 if is_ratio else 0, color=plots.INK, linewidth=1.0, zorder=1)
            if is_ratio:
                plots.ratio_axis(axes)
            sign = "/" if is_ratio else "-"
            plots.name_strips(axes, [f"{a} {sign} {b}" for a, b in pairs[model]])
            unit = formatting.difference_unit(metric, known)
            what = "ratio" if is_ratio else "difference"
            of_what = f"{what} of {formatting.named(metric, known)}{unit and ', '}{unit}"
            axes.set_xlabel(f"{of_what}\n95 % interval")
        plots.legend_below(figure, panels[0], 2)
    return figure


def _draw_sweep(
    axes: "Axes",
    rows: Sequence[Mapping[str, Any]],
    pairs: Sequence[tuple[str, str]],
    place: tuple[int, int, str],
    metric: str,
    known: Metrics,
) -> None:
    """Draw what one sweep has; `place`: its number, of how many, its name."""
    from calib_sweep.analysis.figures import plots

    number, of, sweep = place
    found = {}
    for row in rows:
        side = "first" if row["first"] == sweep else "second" if row["second"] == sweep else None
        if side is not None:
            found[row["a"], row["b"]] = [row[f"{side}_{end}"] for end in ("diff", "lo", "hi")]
    known_pairs = [(y, found[pair]) for y, pair in enumerate(pairs) if pair in found]
    if not known_pairs:
        return
    shift = APART * ((number + 0.5) / of - 0.5)
    y = np.array([y for y, _ in known_pairs]) + shift
    shown = [[formatting.difference(metric, v, known) for v in own] for _, own in known_pairs]
    middle, low, high = np.array(shown).T
    colour = plots.COLOURS[number % len(plots.COLOURS)]
    axes.hlines(y, low, high, color=colour, linewidth=1.8, zorder=2)
    marker = plots.MARKERS[number % len(plots.MARKERS)]
    axes.plot(middle, y, marker, color=colour, label=sweep, markersize=5, zorder=3)
