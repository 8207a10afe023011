"""Figures of the report. The only file that imports matplotlib; no global state, no display.

The same records give the same bytes: matplotlib's own defaults, a fixed salt for SVG ids, no
date. Colours are Okabe and Ito's, told apart with any colour vision; every strip is named beside
it as well.
"""

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from calib_sweep.analysis import wording
from calib_sweep.analysis.descriptive import Group, direction

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
INK, GREY, PALE = "#222222", "#666666", "#DDDDDD"  # GREY: methods that need no data
DOTS_PER_INCH = 150
WIDTH_IN, STRIP_IN, ROW_IN = (
    9.0,
    0.27,
    1.05,
)  # of the figure, of a strip, of a row of panels beside them
LOG_RATIO = 4.0  # largest over smallest value from which an axis is logarithmic
LANES = (0.0, -0.16, 0.16)  # neighbouring seeds lie on different heights of a strip


def seeds_figure(
    groups: Sequence[Group], metrics: Sequence[str], headlines: Sequence[str]
) -> Figure:
    """Strips of the seeds, one per method, dataset and settings, beside the dense line.

    A row of panels per model, a panel per metric of `headlines`; `metrics` are all there are.
    """
    shown = [metric for metric in headlines if any(group.metric == metric for group in groups)]
    models = list(dict.fromkeys(group.model for group in groups))
    strips = {model: _strips(groups, model) for model in models}
    colours = _colours(groups)
    heights = [len(strips[model]) * STRIP_IN + ROW_IN for model in models]
    with _plain_style():
        figure = Figure(figsize=(WIDTH_IN, sum(heights)), layout="constrained")
        FigureCanvasAgg(figure)
        figure.get_layout_engine().set(wspace=0.04)  # type: ignore[union-attr]
        panels = figure.subplots(
            len(models), len(shown), squeeze=False, height_ratios=heights, sharey="row"
        )
        for model, row in zip(models, panels, strict=True):
            for metric, axes in zip(shown, row, strict=True):
                own = {g.label: g for g in groups if g.model == model and g.metric == metric}
                _draw_panel(axes, strips[model], own, colours)
                _label_values(axes, list(own.values()), wording.heading(metric, metrics))
            if len(models) > 1:
                row[0].set_title(model, loc="left", pad=18, fontweight="bold")
    return figure


def render(figure: Figure, form: str) -> bytes:
    """The figure as "png" or "svg", the same bytes whenever."""
    metadata = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}[form]
    buffer = io.BytesIO()
    with _plain_style():
        figure.savefig(buffer, format=form, dpi=DOTS_PER_INCH, metadata=metadata)
    return buffer.getvalue()


@contextmanager
def _plain_style() -> Iterator[None]:
    """matplotlib's defaults and ours, whatever a user's own matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rc("svg", hashsalt="calib_sweep", fonttype="path")
        matplotlib.rc("font", size=9.0)
        yield


def _strips(groups: Sequence[Group], model: str) -> list[Group]:
    """One group per strip, top to bottom; the dense model only where it is alone."""
    own = {group.label: group for group in groups if group.model == model}
    compressed = [group for group in own.values() if not group.is_dense]
    return compressed or list(own.values())


def _colours(groups: Sequence[Group]) -> dict[str, str]:
    """A colour for each method, the same in every panel."""
    drawn = dict.fromkeys(group.method for group in groups if group.dataset is not None)
    colours = dict.fromkeys((group.method for group in groups), GREY)
    return colours | {m: COLOURS[i % len(COLOURS)] for i, m in enumerate(sorted(drawn))}


def _draw_panel(
    axes: Axes,
    strips: Sequence[Group],
    own: dict[tuple[str, str, str | None, str], Group],
    colours: Mapping[str, str],
) -> None:
    present = [(y, own[strip.label]) for y, strip in enumerate(strips) if strip.label in own]
    for y, group in present:
        _draw_strip(axes, y, group, colours[group.method])
    for y in range(1, len(strips)):
        if strips[y].method != strips[y - 1].method:
            axes.axhline(y - 0.5, color=PALE, linewidth=0.8)
    for dense in [group for group in own.values() if group.is_dense]:
        _draw_dense(axes, dense)
    axes.set_yticks(range(len(strips)), [_strip_label(strip, strips) for strip in strips])
    axes.set_ylim(len(strips) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _draw_strip(axes: Axes, y: int, group: Group, colour: str) -> None:
    """The seeds of one group as points, their mean as a tick."""
    finite_S = np.isfinite(group.value_S)
    value_S = wording.scale(group.metric) * group.value_S[finite_S]
    lane_S = np.array([LANES[i % len(LANES)] for i in range(group.value_S.size)])[finite_S]
    is_single = group.value_S.size == 1
    axes.scatter(
        value_S,
        y + (0 if is_single else lane_S),
        s=34 if is_single else 22,
        marker="D" if is_single else "o",
        facecolor=colour,
        edgecolor="white",
        linewidth=0.5,
        alpha=0.85,
        zorder=3,
        label=" ".join(part for part in group.label[1:] if part),
    )
    if not is_single and value_S.size:
        axes.plot([value_S.mean()] * 2, [y - 0.33, y + 0.33], color=INK, linewidth=1.6, zorder=2)


def _draw_dense(axes: Axes, dense: Group) -> None:
    value = wording.scale(dense.metric) * dense.spread.mean
    if not math.isfinite(value):
        return
    axes.axvline(value, color=INK, linewidth=1.2, linestyle=(0, (4, 2)), zorder=2)
    text = f"dense {wording.number(value, wording.decimals(dense.metric, []))}"
    position = axes.get_xaxis_transform()
    axes.text(value, 1.02, text, transform=position, ha="center", va="bottom", color=INK)


def _strip_label(strip: Group, strips: Sequence[Group]) -> str:
    names = wording.shown_settings(strips)
    short = wording.short_names(names)
    pairs = zip(names, short, strict=True)
    settings = [f"{word}={wording.setting(strip, n)}" for n, word in pairs if n in strip.settings]
    return "  ".join([strip.method, strip.dataset or "(no data)", *settings])


def _label_values(axes: Axes, groups: Sequence[Group], heading: str) -> None:
    """What the values are; a logarithmic axis with plain numbers where perplexities span much."""
    if not groups:
        axes.set_axis_off()
        return
    better = {1: "higher is better", -1: "lower is better"}.get(direction(groups[0].metric), "")
    value_V = np.concatenate([group.value_S for group in groups])
    value_V = wording.scale(groups[0].metric) * value_V[np.isfinite(value_V)]
    is_perplexity = groups[0].metric.startswith("ppl/")
    if (
        is_perplexity
        and value_V.size
        and value_V.min() > 0
        and value_V.max() > LOG_RATIO * value_V.min()
    ):
        axes.set_xscale("log")
        better = f"{better}, log scale"
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.06)
    axes.set_xlabel(f"{heading}\n{better}")
