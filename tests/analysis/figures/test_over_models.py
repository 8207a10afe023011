"""The figure of several models: where models, mean and intervals lie."""

import numpy as np
import pandas as pd
import pytest

from calib_sweep.analysis.figures.over_models import EACH, MEAN, over_models_figure

ACCURACY, PERPLEXITY = "acc/mean", "ppl/geomean"


def summary(metric=ACCURACY, **fields):
    own = {"metric": metric, "settings": "", "a": "gptq", "b": "wanda", "models": "opt, llama"}
    own |= {"estimate": 0.03, "lo": 0.02, "hi": 0.04, "new_lo": -0.01, "new_hi": 0.07}
    return own | fields


def compared(model, value, a="gptq", b="wanda", *, metric=ACCURACY, dataset=""):
    own = {"model": model, "metric": metric, "kind": "method", "a": a, "b": b}
    return own | {"dataset": dataset, "mean_diff": value}


def drawn(rows, each, metric=ACCURACY):
    return over_models_figure(pd.DataFrame(rows), pd.DataFrame(each), metric)


def line_of(axes, label):
    return next(line for line in axes.lines if line.get_label() == label)


def test_models_lie_beside_their_mean_and_its_intervals():
    each = [
        compared("opt", 0.02),
        compared("llama", -0.04, "wanda", "gptq"),
        compared("opt", 9.0, dataset="web"),
        compared("other", 9.0),
    ]
    (axes,) = drawn([summary()], each).axes
    assert line_of(axes, EACH).get_xdata() == pytest.approx([2, 4])
    assert line_of(axes, MEAN).get_xdata() == pytest.approx([3])
    new, mean = (np.ravel(lines.get_segments()[0])[[0, 2]] for lines in axes.collections)
    assert (list(new), list(mean)) == (pytest.approx([-1, 7]), pytest.approx([2, 4]))
    assert [text.get_text() for text in axes.get_yticklabels()] == ["gptq - wanda"]


def test_perplexities_are_ratios():
    each = [compared("opt", 0.1, metric=PERPLEXITY)]
    (axes,) = drawn([summary(PERPLEXITY)], each, PERPLEXITY).axes
    assert line_of(axes, EACH).get_xdata() == pytest.approx([np.exp(0.1)])
    assert axes.get_xscale() == "log"


def test_models_of_other_settings_are_in_panels_of_their_own():
    rows = [summary(settings="dtype=float16"), summary(settings="dtype=float32")]
    each = [compared("opt dtype=float16", 0.02), compared("opt dtype=float32", 0.05)]
    figure = drawn(rows, each)
    found = [line_of(axes, EACH).get_xdata() for axes in figure.axes]
    assert np.ravel(found) == pytest.approx([2, 5])
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "dtype=float16",
        "dtype=float32",
    ]


def test_one_model_has_no_figure():
    assert drawn([summary()], [compared("opt", 0.02)], PERPLEXITY) is None
