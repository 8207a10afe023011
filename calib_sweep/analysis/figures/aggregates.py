"""Figure of what many tasks say together: interquartile means, and how often A does better than B.

After Agarwal et al. 2021 (arXiv:2108.13264), who recommend both with intervals instead of means
alone: the middle half of all draws and tasks, and the probability of improvement.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from calib_sweep.analysis.formatting import Frame

if TYPE_CHECKING:
    from collections.abc import Mapping

    from calib_sweep.analysis.figures.plots import Axes, Figure

MAX_ROWS = 60  # in a panel


def aggregate_figure(iqm: Frame, pairs: Frame, metric: str) -> "Figure | None":
    """Draw two panels per model: IQM of each method, P(A better) of each pair in `metric`."""
    from calib_sweep.analysis.figures import plots

    models = list(dict.fromkeys(iqm["model"]))
    if not models:
        return None
    strips = []
    for model in models:
        own = iqm[(iqm["model"] == model) & iqm["iqm"].notna()].head(MAX_ROWS)
        of_pairs = pairs[(pairs["metric"] == metric) & (pairs["model"] == model)]
        of_pairs = of_pairs[of_pairs["prob_better"].notna()].head(MAX_ROWS)
        strips += [(model, own), ("", of_pairs)]
    heights = [plots.strip_height(len(table)) for _, table in strips]
    titles = [model if len(models) > 1 else "" for model, _ in strips]
    figure, panels = plots.panels(heights, titles)
    with plots.plain_style():
        for i, ((_, table), axes) in enumerate(zip(strips, panels, strict=True)):
            rows = table.to_dict("records")
            if i % 2 == 0:
                _draw(axes, rows, ("iqm", "iqm_lo", "iqm_hi"))
                plots.name_strips(axes, [str(row["method"]) for row in rows])
                axes.set_xlabel("IQM of draws and tasks, % of the dense score\n95 % interval")
            else:
                _draw(axes, rows, ("prob_better", "prob_lo", "prob_hi"))
                axes.axvline(50, color=plots.INK, linewidth=1.0)
                plots.name_strips(axes, [f"{row['a']} - {row['b']}" for row in rows])
                axes.set_xlim(min(45.0, *axes.get_xlim()), 102)
                axes.set_xlabel("draws on which the first does better, %\n95 % interval")
    return figure


def _draw(axes: "Axes", rows: "list[Mapping[str, Any]]", keys: tuple[str, str, str]) -> None:
    """Draw a value with its interval in each strip, in per cent."""
    from calib_sweep.analysis.figures import plots

    for y, row in enumerate(rows):
        middle, low, high = (100 * float(row[key]) for key in keys)
        if np.isfinite([low, high]).all():
            axes.plot([low, high], [y, y], color=plots.COLOURS[0], linewidth=1.8, zorder=2)
        axes.plot([middle], [y], "o", color=plots.COLOURS[0], zorder=3)
