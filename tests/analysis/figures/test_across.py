"""The figure of several sweeps: every sweep's mark on the strip of its pair."""

import numpy as np
import pandas as pd
import pytest

from calib_sweep.analysis.figures.across import across_figure

ACCURACY, PERPLEXITY = "acc/mean", "ppl/geomean"


def row(second, value, *, metric=ACCURACY, pair=("gptq", "wanda"), model="tiny"):
    own = {"model": model, "metric": metric, "a": pair[0], "b": pair[1], "first": "half"}
    numbers = {"first_diff": 0.1, "first_lo": 0.05, "first_hi": 0.15}
    ends = {"second_diff": value, "second_lo": value - 0.05, "second_hi": value + 0.05}
    return own | {"second": second} | numbers | ends


def marks(axes):
    """Where the marks of each sweep lie, by its name; the last line marks no difference."""
    return {line.get_label(): line.get_xydata() for line in axes.lines[:-1]}


def test_every_sweep_is_on_the_strip_of_its_pair_and_the_first_one_once():
    rows = [row("seventy", 0.02), row("eighty", 0.04), row("eighty", 0.03, pair=("gptq", "awq"))]
    (axes,) = across_figure(pd.DataFrame(rows), ACCURACY).axes
    found = marks(axes)
    assert list(found) == ["half", "seventy", "eighty"]
    assert found["half"][:, 0] == pytest.approx([10, 10])
    assert found["seventy"][:, 0] == pytest.approx([2])
    assert found["eighty"][:, 0] == pytest.approx([4, 3])
    assert np.round(found["eighty"][:, 1]).tolist() == [0, 1]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["gptq - wanda", "gptq - awq"]
    segments = axes.collections[1].get_segments()
    assert np.array(segments)[0, :, 0] == pytest.approx([-3, 7])


def test_perplexities_are_ratios_around_one():
    (axes,) = across_figure(pd.DataFrame([row("b", 0.0, metric=PERPLEXITY)]), PERPLEXITY).axes
    assert marks(axes)["half"][0, 0] == pytest.approx(np.exp(0.1))
    assert marks(axes)["b"][0, 0] == pytest.approx(1)
    assert axes.get_xscale() == "log" and axes.lines[-1].get_xdata()[0] == 1


def test_models_have_panels_of_their_own():
    rows = [row("b", 0.1), row("b", 0.1, model="other")]
    figure = across_figure(pd.DataFrame(rows), ACCURACY)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["tiny", "other"]


def test_without_the_score_there_is_no_figure():
    assert across_figure(pd.DataFrame([row("b", 0.1)]), PERPLEXITY) is None
