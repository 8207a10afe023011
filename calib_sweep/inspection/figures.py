"""Figures of calibration sets: descriptors of their samples, frequencies of their tokens.

One strip for each set, one dot for each sample, a bar over the middle half, a tick at the median.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep.dataset.calibration.calibration_set import not_padding
from calib_sweep.inspection.inspected import Inspected
from calib_sweep.inspection.samples import LOGGED
from calib_sweep.inspection.words import OF_SAMPLES

if TYPE_CHECKING:
    from calib_sweep.analysis.figures.plots import Axes, Figure

MAX_SETS = 40  # strips of a figure; the first ones
MAX_LINES = 6  # of token frequencies: as many as there are colours
LANES = (0.0, -0.12, 0.12, -0.24, 0.24)  # neighbours lie on different heights of a strip
FREQUENCY_HEIGHT_IN = 3.4


def figures_of(sets: Sequence[Inspected]) -> "dict[str, Figure]":
    """Return the figures by name: of each descriptor that varies, and of tokens."""
    found = {name: _strips(sets[:MAX_SETS], name) for name in _varying(sets)}
    return {**found, "token_frequency": _frequencies(sets[:MAX_LINES])}


def _varying(sets: Sequence[Inspected]) -> list[str]:
    names = [name for name in OF_SAMPLES if any(name in one.described for one in sets)]
    return [
        name
        for name in names
        if len({v for one in sets for v in one.described.get(name, []) if np.isfinite(v)}) > 1
    ]


def _strips(sets: Sequence[Inspected], name: str) -> "Figure":
    from calib_sweep.analysis.figures import plots

    figure, (axes,) = plots.panels([plots.strip_height(len(sets))], [name])
    with plots.plain_style():
        for y, one in enumerate(sets):
            value_N = one.described.get(name, np.zeros(0))
            _strip(axes, y, value_N[np.isfinite(value_N)], plots.COLOURS[y % len(plots.COLOURS)])
        if name in LOGGED:
            plots.log_axis(axes, "x")
        plots.name_strips(axes, [one.name for one in sets])
        axes.set_xlabel(f"{name}\n{OF_SAMPLES[name]}{', log scale' if name in LOGGED else ''}")
    return figure


def _strip(axes: "Axes", y: int, value_N: np.ndarray, colour: str) -> None:
    from calib_sweep.analysis.figures.plots import INK

    if not len(value_N):
        return
    lane_N = np.resize(LANES, len(value_N))
    look = {"facecolor": colour, "edgecolor": "white", "linewidth": 0.3}
    axes.scatter(value_N, y + lane_N, s=10, alpha=0.7, zorder=3, **look)
    low, middle, high = np.quantile(value_N, (0.25, 0.5, 0.75))
    axes.plot([low, high], [y, y], color=INK, linewidth=6, alpha=0.18, zorder=1.5)
    axes.plot([middle] * 2, [y - 0.36, y + 0.36], color=INK, linewidth=1.4, zorder=4)


def _frequencies(sets: Sequence[Inspected]) -> "Figure":
    """Draw frequency against rank of the tokens of each set: a straight line is Zipf's law."""
    from calib_sweep.analysis.figures import plots

    figure, (axes,) = plots.panels([FREQUENCY_HEIGHT_IN], ["tokens"])
    with plots.plain_style():
        for one, colour, marker in zip(sets, plots.COLOURS, plots.MARKERS, strict=False):
            count = np.sort(frequencies(one))[::-1]
            rank = np.arange(1, len(count) + 1)
            shown = np.unique(np.geomspace(1, len(count), 60).astype(int)) - 1
            every = max(1, len(shown) // 6)
            line = {"linewidth": 1.2, "markersize": 4, "markevery": every}
            axes.plot(
                *(rank[shown], count[shown] / count.sum()),
                **line,
                color=colour,
                marker=marker,
                label=one.name,
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("rank of a token")
        axes.set_ylabel("share of tokens")
        plots.legend_below(figure, axes, 2)
    return figure


def frequencies(one: Inspected) -> np.ndarray:
    """Return how often each different token occurs, padding left out."""
    tokens_NT, lengths_N = one.set.tokens_NT, one.set.lengths_N
    return np.unique(tokens_NT[not_padding(tokens_NT, lengths_N)], return_counts=True)[1]
