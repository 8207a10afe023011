"""Empty figures in one style, and their bytes. The only file that imports matplotlib.

No global state, no display. The same records give the same bytes: matplotlib's own defaults, a
fixed salt for SVG ids, no date. Figures are as wide as a phone or a column of print, one panel
below the other. Colours are Okabe and Ito's, told apart with any colour vision; nothing is told
by colour alone.
"""

import io
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedLocator,
    LogLocator,
    NullFormatter,
    NullLocator,
    StrMethodFormatter,
)

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "++")
MARKERS = ("o", "s", "^", "D", "v", "P")
INK, GREY, PALE = "#222222", "#666666", "#DDDDDD"  # GREY: methods that need no data
DOTS_PER_INCH = 150
WIDTH_IN = 5.2  # of every figure: 9 points stay readable on a phone
STRIP_IN, PANEL_IN = 0.3, 1.0  # height of one strip, and of what surrounds the strips of a panel
LABEL_CHARACTERS = 24  # of a strip's name on one line
TITLE_CHARACTERS = 34
MIN_TICKS, MAX_TICKS = 3, 12
MOST_WITH_FIVES = 300.0  # largest over smallest value up to which 1, 2, 5, 10, 20 ... fit an axis
RATIOS = ((1, 2, 5), (1, 1.5, 2, 3, 5, 7))  # in each decade
STEPS = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005)  # of ratios near 1


def panels(heights_in: Sequence[float], titles: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """Make a figure with a panel of each height, one below the other, and a title to each.

    A single panel has no title: what there is one of goes without saying.
    """
    with plain_style():
        figure = Figure(
            figsize=(WIDTH_IN, sum(heights_in)), dpi=DOTS_PER_INCH, layout="constrained"
        )
        FigureCanvasAgg(figure)
        rows = figure.subplots(len(heights_in), 1, squeeze=False, height_ratios=heights_in)
        axes = [row[0] for row in rows]
        for own, title in zip(axes, titles, strict=True):
            own.set_axisbelow(True)
            for side in ("top", "right", "left"):
                own.spines[side].set_visible(False)
            if len(axes) > 1:
                shown = "\n".join(textwrap.wrap(title, TITLE_CHARACTERS))
                own.set_title(shown, loc="left", fontweight="bold", pad=16)
    return figure, axes


def strip_height(num_strips: int) -> float:
    """Return the height of a panel of strips, in inches."""
    return num_strips * STRIP_IN + PANEL_IN


def name_strips(axes: Axes, names: Sequence[str]) -> None:
    """Name strips from top to bottom at 0, 1, ... on the left, on two lines where need be."""
    labels = ["\n".join(_two_lines(name)) for name in names]
    size = 9.0 if all("\n" not in label for label in labels) else 7.0
    axes.set_yticks(range(len(names)), labels, fontsize=size)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=PALE, linewidth=0.6)


def _two_lines(name: str) -> list[str]:
    """Return `name` in at most two lines, broken at " - " or " / ", cut if too long."""
    if len(name) <= LABEL_CHARACTERS:
        return [name]
    sign = " / " if " / " in name else " - "
    first, has_sign, second = name.partition(sign)
    lines = (
        [first, f"{sign.strip()} {second}"] if has_sign else textwrap.wrap(name, LABEL_CHARACTERS)
    )
    lines = [*lines[:1], " ".join(lines[1:])] if len(lines) > 1 else lines
    longest = 2 * LABEL_CHARACTERS
    return [line if len(line) <= longest else f"{line[: longest - 3]}..." for line in lines]


def log_axis(axes: Axes, which: str) -> None:
    """Set a logarithmic axis ("x" or "y") with plain numbers, after all is drawn on it.

    Over many decades only powers of ten are written, as there is no room for others.
    """
    axis = axes.xaxis if which == "x" else axes.yaxis
    axes.set_xscale("log") if which == "x" else axes.set_yscale("log")
    low, high = axis.get_view_interval()
    ticks = (1.0, 2.0, 5.0) if high <= low * MOST_WITH_FIVES else (1.0,)
    axis.set_major_locator(LogLocator(subs=ticks, numticks=MAX_TICKS))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def ratio_axis(axes: Axes) -> None:
    """Set a logarithmic axis of ratios, with 1 on it and few plain numbers around it."""
    low, high = axes.get_xlim()
    low, high = min(low, 1 / 1.02), max(high, 1.02)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator(_ratios(low, high)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("x{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _ratios(low: float, high: float) -> list[float]:
    """Return round ratios between `low` and `high`, the fewest of which there are three."""
    decades = [10.0**power for power in range(-12, 13)]
    coarse = [[float(f"{m * d:.6g}") for d in decades for m in own] for own in RATIOS]
    fine = [[1 + step * i for i in range(-50, 51)] for step in STEPS]
    for candidates in [decades, *coarse, *fine]:
        found = [float(f"{ratio:.6g}") for ratio in candidates if low <= ratio <= high]
        if len(found) >= MIN_TICKS:
            return found
    return [1.0]


def legend_below(figure: Figure, axes: Axes, num_columns: int) -> None:
    """Set one legend for the whole figure, of what `axes` shows."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        figure.legend(
            handles,
            labels,
            loc="outside lower center",
            ncols=num_columns,
            frameon=False,
            fontsize=8,
        )


def render(figure: Figure) -> dict[str, bytes]:
    """Draw the figure as "png" and "svg", the same bytes whenever."""
    files = {}
    with plain_style():
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once, drawn twice
        for form, metadata in (
            ("png", {"Software": None}),
            ("svg", {"Date": None, "Creator": None}),
        ):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=form, dpi=DOTS_PER_INCH, metadata=metadata)
            files[form] = buffer.getvalue()
    return files


@contextmanager
def plain_style() -> Iterator[None]:
    """Set matplotlib's defaults and ours, whatever a user's own matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rc("svg", hashsalt="calib_sweep", fonttype="path")
        matplotlib.rc("font", size=9.0)
        matplotlib.rc("hatch", linewidth=0.6)
        yield
