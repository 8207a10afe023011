"""Pairs of methods over models: each model's difference, the mean, where one more would lie."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from calib_sweep.analysis import formatting
from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.metrics import OURS, Metrics

BETWEEN = ", "  # the names of models, as in over_models.csv

if TYPE_CHECKING:
    from calib_sweep.analysis.figures.plots import Axes, Figure

MAX_ROWS = 40  # pairs of methods in a panel
ABOVE = 0.25  # of a strip, by which models lie above the line of their mean
EACH, MEAN, NEW = "one model", "mean, 95 % interval", "one more model, 95 %"


def over_models_figure(
    table: Frame, comparisons: Frame, metric: str, known: Metrics = OURS
) -> "Figure | None":
    """Draw the rows of one score; `comparisons` has the difference on each model."""
    from calib_sweep.analysis.figures import plots

    own = table[(table["metric"] == metric) & np.isfinite(table["lo"].astype(float))]
    if own.empty:
        return None
    groups = list(dict.fromkeys(own["settings"]))
    tables = [own[own["settings"] == group].head(MAX_ROWS) for group in groups]
    heights = [plots.strip_height(len(rows)) for rows in tables]
    figure, panels = plots.panels([*heights[:-1], heights[-1] + 0.3], groups)
    is_ratio = known.of(metric).is_logged
    with plots.plain_style():
        for rows, axes in zip(tables, panels, strict=True):
            for y, row in enumerate(rows.to_dict("records")):
                _draw_row(axes, y, row, _on_each(comparisons, metric, row), metric, known)
            axes.axvline(1 if is_ratio else 0, color=plots.INK, linewidth=1.0, zorder=0)
            if is_ratio:
                plots.ratio_axis(axes)
            pairs = zip(rows["a"], rows["b"], strict=True)
            plots.name_strips(axes, [f"{a} {'/' if is_ratio else '-'} {b}" for a, b in pairs])
            unit = formatting.difference_unit(metric, known)
            what = "ratio" if is_ratio else "difference"
            axes.set_xlabel(f"{what} of {formatting.named(metric, known)}{unit and ', '}{unit}")
        plots.legend_below(figure, panels[0], 3)
    return figure


def _draw_row(
    axes: "Axes",
    y: int,
    row: Mapping[str, Any],
    each: Sequence[float],
    metric: str,
    known: Metrics,
) -> None:
    """Draw one pair in its strip: models above the line, on it the mean with both intervals."""
    from calib_sweep.analysis.figures import plots

    numbers = [row[name] for name in ("estimate", "lo", "hi", "new_lo", "new_hi")]
    middle, *ends = (formatting.difference(metric, value, known) for value in numbers)
    dots = [formatting.difference(metric, value, known) for value in each]
    labels = (EACH, MEAN, NEW) if y == 0 else ("", "", "")  # each once, in the legend
    colour, above = plots.COLOURS[0], [y - ABOVE] * len(dots)
    axes.plot(
        dots, above, "o", color=plots.INK, markerfacecolor="white", markersize=4, label=labels[0]
    )
    axes.hlines([y], ends[2], ends[3], color=plots.GREY, linewidth=0.9, label=labels[2], zorder=1)
    axes.hlines([y], ends[0], ends[1], color=colour, linewidth=2.4, zorder=2)
    axes.plot([middle], [y], "D", color=colour, markersize=6, label=labels[1], zorder=3)


def _on_each(comparisons: Frame, metric: str, row: Mapping[str, Any]) -> list[float]:
    """Return the difference a - b over all datasets of each model of a row."""
    settings = f" {row['settings']}" if row["settings"] else ""
    models = {f"{model}{settings}" for model in row["models"].split(BETWEEN)}
    is_own = (comparisons["kind"] == "method") & (comparisons["dataset"] == "")
    own = comparisons[is_own & (comparisons["metric"] == metric)]
    is_named = own["model"].isin(models)
    own = own[is_named] if is_named.any() else own  # of models that all have other settings
    a, b = row["a"], row["b"]
    same = own[(own["a"] == a) & (own["b"] == b)]["mean_diff"]
    turned = own[(own["a"] == b) & (own["b"] == a)]["mean_diff"]
    return [*same, *(-turned)]
