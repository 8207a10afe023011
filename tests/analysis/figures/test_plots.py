"""Axes: their numbers can be read."""

import pytest

from calib_sweep.analysis.figures import plots


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((2, 300), ["2", "5", "10", "20", "50", "100", "200"]),
        ((2, 20_000), ["10", "100", "1000", "10000"]),
    ],
)
@pytest.mark.parametrize("which", ["x", "y"])
def test_numbers_on_a_logarithmic_axis_do_not_overlap(which, ends, expected):
    figure, (axes,) = plots.panels([3.0], ["values"])
    axes.scatter(*((ends, (0, 1)) if which == "x" else ((0, 1), ends)))
    plots.log_axis(axes, which)
    plots.name_strips(axes, ["a set with a name of 24"]) if which == "x" else None
    figure.draw_without_rendering()
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    labels = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    assert set(expected) <= {label.get_text() for label in labels}
    boxes = [label.get_window_extent() for label in labels]
    ends_of = [sorted((b.x0, b.x1) if which == "x" else (b.y0, b.y1)) for b in boxes]
    for (_, end), (start, _) in zip(sorted(ends_of), sorted(ends_of)[1:], strict=False):
        assert end < start
