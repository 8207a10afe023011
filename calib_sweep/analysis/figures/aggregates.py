"""All tasks at once, with intervals, as Agarwal et al. 2021 show it: what is kept, who improves.

Two panels for each model. What is kept: the interquartile mean over draws and tasks (filled), and
the plain mean (hollow), of the dense accuracy. Who improves: P(first does better) on one draw and
task, of each pair of methods, with 50 % marked.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from calib_sweep.analysis.formatting import Frame

if TYPE_CHECKING:
    from calib_sweep.analysis.figures.plots import Axes, Figure

MAX_ROWS = 40  # methods or pairs in a panel
KEPT, BETTER = "What is kept", "Who does better"
KEPT_OF = "accuracy, % of the dense model's,\nover draws and tasks"
BETTER_ON = "P(first does better)\non one draw and task, %"
IQM, MEAN = "interquartile mean, 95 % interval", "mean"
PERCENT = 100.0


def aggregate_figure(iqm: Frame, improvement: Frame) -> "Figure | None":
    """Draw interquartile means and probabilities of improvement, each with its interval."""
    from calib_sweep.analysis.figures import plots

    fields = [
        (model, what, own.head(MAX_ROWS))
        for model in dict.fromkeys([*iqm["model"], *improvement["model"]])
        for what, table in ((KEPT, iqm), (BETTER, improvement))
        if len(own := table[table["model"] == model])
    ]
    if not fields:
        return None
    several = len({model for model, _, _ in fields}) > 1
    titles = [f"{model}: {what.lower()}" if several else what for model, what, _ in fields]
    heights = [plots.strip_height(len(own)) for _, _, own in fields]
    figure, panels = plots.panels([*heights[:-1], heights[-1] + 0.3], titles)
    with plots.plain_style():
        for (_, what, own), axes in zip(fields, panels, strict=True):
            (_draw_kept if what == KEPT else _draw_improvement)(axes, own)
        kept = next((axes for f, axes in zip(fields, panels, strict=True) if f[1] == KEPT), None)
        if kept is not None:
            plots.legend_below(figure, kept, 2)
    return figure


def _draw_kept(axes: "Axes", iqm: Frame) -> None:
    from calib_sweep.analysis.figures import plots

    means = PERCENT * iqm["mean"].to_numpy(float)
    hollow = {"color": plots.GREY, "markerfacecolor": "white", "zorder": 2}
    _draw_rows(axes, iqm, ("iqm", "iqm_lo", "iqm_hi"), IQM)
    axes.plot(means, range(len(iqm)), "D", label=MEAN, **hollow)
    plots.name_strips(axes, list(iqm["method"]))
    axes.set_xlabel(KEPT_OF)


def _draw_improvement(axes: "Axes", improvement: Frame) -> None:
    from calib_sweep.analysis.figures import plots

    _draw_rows(axes, improvement, ("prob", "prob_lo", "prob_hi"))
    pairs = zip(improvement["a"], improvement["b"], strict=True)
    plots.name_strips(axes, [f"{a} - {b}" for a, b in pairs])
    axes.axvline(50, color=plots.INK, linewidth=1.0, zorder=1)
    axes.set_xlim(0, 103)
    axes.set_xlabel(BETTER_ON)


def _draw_rows(axes: "Axes", table: Frame, keys: Sequence[str], label: str = "") -> None:
    """Draw a point with its interval in each strip."""
    from calib_sweep.analysis.figures import plots

    middle, low, high = (PERCENT * table[key].to_numpy(float) for key in keys)
    rows, colour = range(len(table)), plots.COLOURS[0]
    axes.hlines(rows, low, high, color=colour, linewidth=1.8, zorder=2)
    axes.plot(middle, rows, "o", color=colour, label=label or None, zorder=3)
