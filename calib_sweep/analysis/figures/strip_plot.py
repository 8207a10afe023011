"""Figure of the seeds: strips of dots, the interval of their mean, the dense line."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep.analysis import formatting
from calib_sweep.analysis.inference import intervals
from calib_sweep.analysis.metrics import OURS, Metrics
from calib_sweep.analysis.scores.groups import Group
from calib_sweep.analysis.scores.names import Naming

if TYPE_CHECKING:
    from calib_sweep.analysis.figures.plots import Axes, Figure

LOG_RATIO = 4.0  # largest over smallest value from which an axis is logarithmic
MAX_STRIPS = 100  # in a panel; the first ones
LANES = (0.0, -0.16, 0.16)  # neighbouring seeds lie on different heights of a strip


def seeds_figure(
    groups: Sequence[Group], metric: str, metrics: Sequence[str], known: Metrics = OURS
) -> "Figure":
    """Draw a panel per model; `metrics` are all there are, `groups` of whatever metric."""
    from calib_sweep.analysis.figures import plots

    models = list(dict.fromkeys(group.model for group in groups if group.metric == metric))
    strips = {model: _strips(groups, model, metric) for model in models}
    heights = [plots.strip_height(len(strips[model])) for model in models]
    figure, panels = plots.panels(heights, models)
    colours = colours_of(groups)
    with plots.plain_style():
        for model, axes in zip(models, panels, strict=True):
            own = [g for g in groups if g.model == model and g.metric == metric]
            for y, group in enumerate(strips[model]):
                _draw_strip(axes, y, group, colours[group.method])
            for dense in [group for group in own if group.is_dense]:
                _draw_dense(axes, dense)
            plots.name_strips(axes, _strip_labels(strips[model]))
            _label_values(axes, own, formatting.heading(metric, metrics, known))
    return figure


def _strips(groups: Sequence[Group], model: str, metric: str) -> list[Group]:
    """Return one group per strip, top to bottom; the dense model only where it is alone."""
    own = [group for group in groups if group.model == model and group.metric == metric]
    return ([group for group in own if not group.is_dense] or own)[:MAX_STRIPS]


def are_cut(groups: Sequence[Group], metric: str) -> bool:
    """Tell whether a panel shows only the first of its strips."""
    num = Counter(g.model for g in groups if g.metric == metric and not g.is_dense)
    return any(of_model > MAX_STRIPS for of_model in num.values())


def colours_of(groups: Sequence[Group]) -> dict[str, str]:
    """Return a colour for each method, the same in every figure."""
    from calib_sweep.analysis.figures.plots import COLOURS, GREY

    drawn = dict.fromkeys(group.method for group in groups if group.dataset is not None)
    colours = dict.fromkeys((group.method for group in groups), GREY)
    return colours | {m: COLOURS[i % len(COLOURS)] for i, m in enumerate(sorted(drawn))}


def _draw_strip(axes: "Axes", y: int, group: Group, colour: str) -> None:
    """Draw the seeds of one group as points, their mean as a tick, its interval as a bar."""
    from calib_sweep.analysis.figures.plots import INK

    times = group.kind.times
    is_finite_S = np.isfinite(group.value_S)
    is_single = group.value_S.size == 1
    value_S = times * group.value_S[is_finite_S]
    lane_S = np.resize([0.0] if is_single else LANES, group.value_S.size)[is_finite_S]
    axes.scatter(
        value_S,
        y + lane_S,
        s=30 if is_single else 18,
        marker="D" if is_single else "o",
        facecolor=colour,
        edgecolor="white",
        linewidth=0.5,
        alpha=0.85,
        zorder=3,
        label=" ".join(part for part in group.label[1:] if part),
    )
    if is_single or not value_S.size:
        return
    axes.plot([value_S.mean()] * 2, [y - 0.33, y + 0.33], color=INK, linewidth=1.6, zorder=2)
    spread = group.spread
    ends = intervals.mean_interval(*map(np.array, (spread.mean, spread.sd, spread.n)))
    low, high = (times * float(end) for end in ends)
    if math.isfinite(low):
        axes.plot([low, high], [y, y], color=INK, linewidth=5, alpha=0.18, zorder=1.5)


def _draw_dense(axes: "Axes", dense: Group) -> None:
    from calib_sweep.analysis.figures.plots import INK

    value = dense.kind.times * dense.spread.mean
    if not math.isfinite(value):
        return
    axes.axvline(value, color=INK, linewidth=1.2, linestyle=(0, (4, 2)), zorder=2)
    text = f"dense {formatting.number(value, formatting.decimals_of(dense.kind, []))}"
    position = axes.get_xaxis_transform()
    axes.text(
        value, 1.01, text, transform=position, ha="center", va="bottom", color=INK, fontsize=8
    )


def _strip_labels(strips: Sequence[Group]) -> list[str]:
    naming = Naming.of_groups(strips)
    return [_strip_label(strip, naming) for strip in strips]


def _strip_label(strip: Group, naming: Naming) -> str:
    """Return method, dataset and settings of a strip."""
    own = [name for name in naming.short if name in strip.settings]
    settings = [f"{naming.short[name]}={naming.setting(strip, name)}" for name in own]
    num_lost = int(np.sum(~np.isfinite(strip.value_S)))
    lost = [f"({num_lost} not finite)"] if num_lost else []
    return " ".join([strip.method, strip.dataset or "(no data)", *settings, *lost])


def _label_values(axes: "Axes", groups: Sequence[Group], heading: str) -> None:
    """Name the values; use a logarithmic axis where perplexities span much."""
    from calib_sweep.analysis.figures.plots import log_axis

    kind = groups[0].kind
    better = {1: "higher is better", -1: "lower is better"}.get(kind.direction, "")
    value_V = np.concatenate([group.value_S for group in groups])
    value_V = kind.times * value_V[np.isfinite(value_V)]
    if kind.is_logged and spans_much(value_V):
        log_axis(axes, "x")
        better = f"{better}, log scale"
    axes.margins(x=0.06)
    axes.set_xlabel(f"{heading}\n{better}".rstrip())


def spans_much(value_V: np.ndarray) -> bool:
    """Tell whether values span so much that only a logarithmic axis shows them all."""
    return bool(value_V.size and value_V.min() > 0 and value_V.max() > LOG_RATIO * value_V.min())
