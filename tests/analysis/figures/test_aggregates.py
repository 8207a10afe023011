"""The aggregate figure: what its panels show, and that nothing of it is cut."""

import numpy as np
import pandas as pd
import pytest

from calib_sweep.analysis.figures import plots
from calib_sweep.analysis.figures.aggregates import BETTER, KEPT, aggregate_figure

LONG = "sparsegpt sparsity=0.5 pattern=2:4"


def iqm_of(*methods, model="tiny"):
    rows = [(model, name, 0.7, 0.6, 0.8, 0.65) for name in methods]
    return pd.DataFrame(rows, columns=["model", "method", "iqm", "iqm_lo", "iqm_hi", "mean"])


def improvement_of(*pairs, model="tiny"):
    rows = [(model, a, b, 0.75, 0.4, 0.9) for a, b in pairs]
    return pd.DataFrame(rows, columns=["model", "a", "b", "prob", "prob_lo", "prob_hi"])


def test_each_method_and_pair_is_a_strip_with_its_interval():
    figure = aggregate_figure(iqm_of("wanda", "gptq"), improvement_of(("wanda", "gptq")))
    kept, better = figure.axes
    assert [label.get_text() for label in kept.get_yticklabels()] == ["wanda", "gptq"]
    assert [label.get_text() for label in better.get_yticklabels()] == ["wanda - gptq"]
    (lines,) = kept.collections
    assert np.array(lines.get_segments())[:, :, 0] == pytest.approx(np.array([[60, 80]] * 2))
    middle, mean = (list(line.get_xdata()) for line in kept.lines)
    assert (middle, mean) == ([70, 70], [65, 65])
    (lines,) = better.collections
    assert np.array(lines.get_segments())[0, :, 0] == pytest.approx([40, 90])


def test_panels_are_named_by_model_where_there_are_several():
    tables = (iqm_of("wanda"), iqm_of("wanda", model="other"))
    figure = aggregate_figure(pd.concat(tables), improvement_of())
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [f"tiny: {KEPT.lower()}", f"other: {KEPT.lower()}"]


def test_without_a_dense_model_there_are_probabilities_alone():
    figure = aggregate_figure(iqm_of(), improvement_of(("wanda", "gptq")))
    assert len(figure.axes) == 1 and BETTER


def test_nothing_to_show_is_no_figure():
    assert aggregate_figure(iqm_of(), improvement_of()) is None


def test_long_names_are_not_cut_in_what_is_drawn():
    """Text is wider in finer pixels: the figure is laid out in those that it is drawn in."""
    figure = aggregate_figure(iqm_of(LONG, "gptq"), improvement_of(("gptq", LONG)))
    assert figure.dpi == plots.DOTS_PER_INCH
    plots.render(figure)
    for axes in figure.axes:
        texts = [*axes.get_yticklabels(), axes.xaxis.label]
        ends = [text.get_window_extent() for text in texts]
        assert min(end.x0 for end in ends) >= 0
        assert max(end.x1 for end in ends) <= figure.bbox.width
