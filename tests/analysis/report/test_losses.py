import math

import pandas as pd
import pytest

from calib_sweep.analysis.report import losses
from calib_sweep.analysis.report.document import Heading, to_markdown
from calib_sweep.analysis.report.material import Material
from calib_sweep.analysis.tables.losses import COLUMNS

WORDS = {"ppl/geomean": "perplexity", "acc/mean": "accuracy"}
LOSS = {"estimate": -0.262, "lo": -0.294, "hi": -0.230, "winner": "dense", "reason": ""}
OPEN = {"estimate": -0.001, "lo": -0.004, "hi": 0.002, "winner": ""}


def tables(*rows):
    """Tables of these claims; what losses.csv says of each stands among them."""
    axes = {"model": "tiny", "metric": "acc/mean", "population": "draws and items"}
    known = [{**axes, "num_datasets": 5, **LOSS, **row} for row in rows]
    claims = pd.DataFrame(known).assign(kind="loss", b="dense")
    return {"claims": claims, "losses": pd.DataFrame(known).reindex(columns=COLUMNS)}


def said(*rows):
    told = losses.sentences(tables(*rows), "tiny", WORDS)
    return [line.replace("\u00a0", " ") for line in told]


WHERE = "for other draws of these 5 datasets and other items."


def test_all_that_lose_are_in_one_sentence_with_size_and_population():
    assert said(
        {"method": "wanda", "estimate": -0.37, "lo": -0.405, "hi": -0.335}, {"method": "sparsegpt"}
    ) == [
        "sparsegpt (-26.2 points in accuracy, 95 % -29.4..-23.0) and wanda (-37.0 points in "
        f"accuracy, 95 % -40.5..-33.5) are worse than dense {WHERE}"
    ]


def test_perplexity_is_told_as_a_ratio_beside_accuracy():
    log = {name: math.log(x) for name, x in (("estimate", 1.35), ("lo", 1.32), ("hi", 1.38))}
    assert said(
        {"method": "wanda", "metric": "ppl/geomean", "num_datasets": 1, **log},
        {"method": "wanda", "num_datasets": 1},
    ) == [
        "wanda (x1.350 in perplexity, 95 % 1.320..1.380; -26.2 points in accuracy, 95 % "
        "-29.4..-23.0) is worse than dense for other draws of this dataset and other items."
    ]


def test_only_a_winner_is_told_to_differ():
    told = said(
        {"method": "awq", **OPEN},
        {"method": "gptq", **OPEN, "hi": -0.0005},
        {"method": "rtn", **OPEN, "reason": "too few draws"},
        {"method": "spqr", "winner": "spqr", "estimate": 0.01, "lo": 0.005, "hi": 0.015},
    )
    assert told == [
        f"awq (-0.10 points in accuracy, 95 % -0.40..0.20) cannot be told from dense {WHERE}",
        "gptq (-0.10 points in accuracy, 95 % -0.40..-0.05) cannot be told from dense, "
        f"corrected for all that was compared, {WHERE}",
        "In accuracy nothing can be said of rtn against dense: too few draws.",
        f"spqr (1.0 points in accuracy, 95 % 0.5..1.5) is better than dense {WHERE}",
    ]


@pytest.mark.parametrize(
    ("population", "wanted"),
    [
        ("draws", "for other draws of these 5 datasets, on these items."),
        ("datasets and items", "for a new dataset and other items."),
        ("items", "for other items, without calibration data."),
        ("items of one draw", "for other items, with this one calibration set."),
    ],
)
def test_every_population_is_named(population, wanted):
    assert said({"method": "wanda", "population": population})[0].endswith(wanted)


def test_of_many_methods_the_ends_of_the_range_are_told():
    rows = [{"method": f"m{i}", **LOSS, "estimate": -0.2 - i / 100} for i in range(9)]
    assert said(*rows)[0].startswith("9 methods, from m0 (-20.0 points in accuracy")


def test_the_chapter_has_a_row_for_each_method():
    rows = [{"metric": metric} for metric in WORDS]
    material = Material("made up", rows, [], [], {})
    blocks = losses.write(tables({"method": "wanda"}, {"method": "rtn"}), material, WORDS)
    assert blocks[0] == Heading("Is the loss real?")
    assert "| rtn | draws and items | -26.2 (-29.4..-23.0) |" in to_markdown(blocks)


def test_without_dense_there_is_no_chapter():
    empty = pd.DataFrame(columns=COLUMNS)
    assert losses.write({"losses": empty}, Material("made up", [], [], [], {}), WORDS) == []
    claims = pd.DataFrame(columns=["kind", "model"])
    assert losses.sentences({"claims": claims, "losses": empty}, "tiny", WORDS) == []
