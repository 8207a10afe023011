"""Figure of our means beside published ones: differences with their intervals."""

from typing import TYPE_CHECKING

from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.inference.intervals import LEVEL
from calib_sweep.analysis.metrics import Metrics

if TYPE_CHECKING:
    from calib_sweep.analysis.figures.plots import Figure

MAX_STRIPS = 40  # in a panel; the first ones, means before tasks


def published_figure(published: Frame, metric: str, known: Metrics) -> "Figure | None":
    """Draw ours minus theirs of one metric, a panel per model; a point alone has no test."""
    from calib_sweep.analysis.figures import plots

    own = published[published["metric"] == metric]
    if own.empty:
        return None
    models = list(dict.fromkeys(own["model"]))
    tables = [own[own["model"] == model].head(MAX_STRIPS) for model in models]
    figure, panels = plots.panels([plots.strip_height(len(t)) for t in tables], models)
    kind = known.of(metric)
    with plots.plain_style():
        for table, axes in zip(tables, panels, strict=True):
            for y, row in enumerate(table.to_dict("records")):
                middle, low, high = (kind.times * row[k] for k in ("difference", "lo", "hi"))
                differs = row["p_holm"] < 1 - LEVEL
                colour = plots.COLOURS[0] if differs else plots.GREY
                axes.plot([low, high], [y, y], color=colour, linewidth=1.8, zorder=2)
                fill = colour if differs else "white"
                axes.plot([middle], [y], "o", color=colour, markerfacecolor=fill, zorder=3)
            axes.axvline(0, color=plots.INK, linewidth=1.0)
            names = zip(table["method"], table["dataset"], strict=True)
            plots.name_strips(axes, [" / ".join(filter(None, pair)) for pair in names])
            unit = ", points" if kind.is_share else ""
            axes.set_xlabel(f"{kind.words}: ours - published{unit}\n95 % interval")
    return figure
