"""Scores that are missing or not finite: a report all the same, its sentences whole."""

import json
import math
import re
import warnings

import numpy as np
import pytest
from helpers.simulated import SETTINGS, array_of, rows_of
from rich.console import Console

from calib_sweep.analysis.formatting import described
from calib_sweep.analysis.inference.flips import split
from calib_sweep.analysis.inference.sample import describe
from calib_sweep.analysis.report.findings import findings
from calib_sweep.analysis.report.terminal import terminal_summary
from calib_sweep.analysis.report.write import is_current, write_report
from calib_sweep.analysis.rounding import equalised, variance, without_rounding
from calib_sweep.analysis.scores.arrays import score_arrays
from calib_sweep.analysis.scores.groups import group_rows
from calib_sweep.analysis.scores.means import PPL_MEAN
from calib_sweep.analysis.tables.comparisons import comparison_table
from calib_sweep.analysis.tables.spreads import spread_tables
from calib_sweep.analysis.tables.variance_components import variance_table

BROKEN = re.compile(
    r", \.(?!\.)|: \.|\(\)|  |\bnan\b|(?<!-)None|, ,|\s\.(?!\.)|\bby  |and \.|of \.|^$"
)
LOST = {"nan": math.nan, "inf": math.inf, "none": None, "zero": 0.0, "negative": -1.0}
PLACES = {
    "single": lambda method, seed: method == "magnitude",
    "one_draw": lambda method, seed: (method, seed) == ("wanda", 0),
    "all_draws": lambda method, seed: method == "wanda",
    "dense": lambda method, seed: method == "dense",
    "everything": lambda method, seed: True,
    "all_but_one_draw": lambda method, seed: method == "wanda" and seed != 4,
}


def scores_of(method, seed):
    """Perplexity, accuracy, divergence and flips, those of each draw a little different."""
    step = 0.01 * ((seed or 0) * 7 % 5) + {"sparsegpt": 0.05, "magnitude": 0.5}.get(method, 0)
    ppl, acc = 2.0 + step, 0.6 - step
    scores = {"ppl/a@64": ppl, "ppl/b@64": 4 * ppl, "acc/x": acc + 0.1, "acc/y": acc - 0.1}
    return {**scores, "acc/mean": acc, "kl/a@64": step, "flips/x": step / 2}


def fill(sweep, change=lambda method, seed, scores: scores, *, num_seeds=5, **fields):
    """Dense, a method without data and two with draws; `change` makes the holes."""
    sweep.add("dense", change("dense", None, scores_of("dense", None)), **fields)
    sweep.add("magnitude", change("magnitude", None, scores_of("magnitude", None)), **fields)
    for method in ("wanda", "sparsegpt"):
        for seed in range(num_seeds):
            scores = change(method, seed, scores_of(method, seed))
            sweep.add(method, scores, dataset="web", seed=seed, **fields)


def lost(value, is_there, kind=""):
    """A change that puts `value` into all scores of a kind where `is_there` says so."""

    def change(method, seed, scores):
        hit = is_there(method, seed)
        return {m: value if hit and m.startswith(kind) else v for m, v in scores.items()}

    return change


def without(*names, where=lambda method, seed: True):
    def change(method, seed, scores):
        return {m: v for m, v in scores.items() if m not in names or not where(method, seed)}

    return change


def told(sweep):
    """Every sentence of the report and the terminal; the report is written, and is current."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_report(sweep.folder)
    assert is_current(sweep.folder)
    console = Console(width=120, record=True, quiet=True)
    console.print(terminal_summary(sweep.folder, title="sweep"))
    conclusion = json.loads((sweep.folder / "report" / "conclusion.json").read_text())
    lines = (sweep.folder / "report" / "report.md").read_text().splitlines()
    return conclusion + [line[2:] for line in lines if line.startswith("- ")]


def assert_whole(sentences):
    assert sentences and [said for said in sentences if BROKEN.search(said)] == []


# One of these for the default suite; all take some seconds.
@pytest.mark.slow
def test_a_single_draw_that_is_not_finite_has_its_place_in_the_report(sweep):
    fill(sweep, lost(math.nan, PLACES["single"], "ppl/"))
    sentences = told(sweep)
    assert_whole(sentences)
    assert "diverged: magnitude; its perplexity is not finite." in sentences


def test_draws_none_of_which_is_finite_end_in_a_whole_sentence(sweep):
    fill(sweep, lost(math.inf, PLACES["all_draws"], "ppl/"))
    sentences = told(sweep)
    assert_whole(sentences)
    whole = "diverged: wanda web, on every draw; none of its perplexities is finite."
    assert whole in sentences


@pytest.mark.slow
@pytest.mark.parametrize("value", LOST)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["ppl/", "acc/", ""], ids=["ppl", "acc", "all"])
def test_no_hole_ends_a_report_or_breaks_a_sentence(sweep, kind, place, value):
    fill(sweep, lost(LOST[value], PLACES[place], kind))
    assert_whole(told(sweep))


OTHER_HOLES = {
    "one seed": lambda sweep: fill(sweep, num_seeds=1),
    "one seed, none finite": lambda sweep: fill(
        sweep, lost(math.nan, PLACES["everything"], "ppl/"), num_seeds=1
    ),
    "two seeds, one lost": lambda sweep: fill(
        sweep, lost(math.inf, PLACES["one_draw"]), num_seeds=2
    ),
    "dense alone": lambda sweep: sweep.add("dense", scores_of("dense", None)),
    "dense alone, lost": lambda sweep: sweep.add("dense", {"ppl/a@64": math.nan}),
    "no dense": lambda sweep: fill(
        sweep, without(*scores_of("dense", None), where=PLACES["dense"])
    ),
    "a task less": lambda sweep: fill(sweep, without("acc/x", where=PLACES["one_draw"])),
    "a task less, no mean": lambda sweep: fill(
        sweep,
        lambda method, seed, scores: without(
            "acc/mean", *(["acc/x"] if PLACES["one_draw"](method, seed) else [])
        )(method, seed, scores),
    ),
    "a corpus less": lambda sweep: fill(sweep, without("ppl/a@64", where=PLACES["all_draws"])),
    "no headline": lambda sweep: fill(
        sweep, lambda method, seed, scores: {"kl/a@64": scores["kl/a@64"]}
    ),
    "no headline, lost": lambda sweep: fill(
        sweep, lambda method, seed, scores: {"kl/a@64": math.nan}
    ),
    "no scores of one": lambda sweep: fill(
        sweep, lambda method, seed, scores: {} if method == "wanda" else scores
    ),
    "no scores at all": lambda sweep: fill(sweep, lambda method, seed, scores: {}),
    "all failed": lambda sweep: fill(sweep, status="failed"),
    "stderr lost": lambda sweep: fill(sweep, stderr={"acc/x": math.nan, "acc/y": None}),
    "two sizes, lost": lambda sweep: [
        fill(
            sweep,
            lost(math.inf, PLACES["all_draws"], "ppl/"),
            settings={"calibration.num_samples": size},
        )
        for size in (8, 16, 32)
    ],
    "two models, one lost": lambda sweep: [
        fill(sweep, lost(value, PLACES["everything"], "ppl/"), model=model)
        for model, value in (("a", math.nan), ("b", 1.5))
    ],
    "replicates, lost": lambda sweep: [
        fill(sweep, lost(math.nan, PLACES["one_draw"] if r else PLACES["single"]), replicate=r)
        for r in (0, 1)
    ],
    "all equal": lambda sweep: fill(sweep, lost(0.44, PLACES["everything"])),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHER_HOLES)
def test_no_odd_sweep_ends_a_report_or_breaks_a_sentence(sweep, name):
    OTHER_HOLES[name](sweep)
    assert_whole(told(sweep))


def test_scores_that_are_equal_but_for_rounding_have_no_spread():
    value_S = np.full(5, 0.44)
    assert value_S.mean() != 0.44 and value_S.std(ddof=1) > 0
    for own_S in (value_S, np.array([0.44, 0.44, 0.44000000000000006])):
        spread = describe(own_S)
        assert (spread.mean, spread.sd, spread.min, spread.max) == (0.44, 0.0, 0.44, 0.44)
    rows = rows_of(np.full((1, 1, 5, 1), 0.44), metrics=["acc/mean"])
    (group,) = group_rows(rows)
    assert described(group, 1)[:3] == ["44.0", "0", "44.0..44.0"]
    assert describe(np.array([0.44, 0.4401])).sd == pytest.approx(0.0001 / math.sqrt(2))


def test_rounding_is_told_from_the_smallest_spread():
    assert without_rounding(np.array([1e-13, 1e-11]), 1.0).tolist() == [0.0, 1e-11]
    assert np.isinf(without_rounding(np.array([math.inf]), math.inf)).all()
    assert variance(np.array([[0.1, 1.0], [0.1 + 1e-16, 1.1]])) == pytest.approx([0.0, 0.005])
    value = np.array([0.3, math.nan, 0.1 + 0.2, math.inf, 0.1, -math.inf])
    assert 0.1 + 0.2 != 0.3
    assert equalised(value) == pytest.approx(
        [0.3, math.nan, 0.3, math.inf, 0.1, -math.inf], rel=0, abs=0, nan_ok=True
    )


def test_two_methods_that_are_equal_but_for_rounding_are_called_equal():
    value = np.full((2, 2, 4, 1), 0.3)
    value[1] = 0.1 + 0.2
    (array,) = score_arrays(rows_of(value, metrics=["acc/mean"]))
    found = comparison_table([array], SETTINGS)
    assert set(found["verdict"][found["kind"] == "method"]) == {"equal"}
    parts = variance_table([array], SETTINGS)
    assert parts["variance"].tolist() == [0.0] * len(parts)


def test_equal_draws_of_unequal_datasets_leave_no_variance_between_draws():
    value = np.broadcast_to(np.array([0.44, 0.52, 0.61])[None, :, None, None], (2, 3, 5, 1))
    array = array_of(np.array(value), metrics=["acc/mean"])
    parts = variance_table([array], SETTINGS).set_index(["method", "component"])["variance"]
    assert parts["*", "draw"] == parts["*", "method:draw"] == parts["gptq", "draw"] == 0
    assert parts["gptq", "dataset"] == pytest.approx(np.var([0.44, 0.52, 0.61], ddof=1))
    for spreads in spread_tables([array]).values():
        assert (spreads["sd_a"] == 0).all() and spreads["p"].isna().all()
        assert set(spreads["reason"]) == {"equal on every draw"}


def test_items_that_flip_while_the_score_stays_leave_a_floor_and_no_spread():
    value_SI = np.array([[1, 0, 1, 0, 1], [0, 1, 1, 1, 0], [1, 1, 0, 1, 0]], dtype=float)
    assert split(value_SI).variance == 0 and split(value_SI).floor_variance > 0


def test_a_perplexity_that_is_no_number_loses_against_any_other():
    value = np.array([[[[2.0], [2.1], [2.2]]], [[[1.0], [math.nan], [math.inf]]]])
    rows = rows_of(np.nan_to_num(value, nan=-1, posinf=math.inf), metrics=[PPL_MEAN])
    rows = [row | ({"value": math.nan} if row["value"] == -1 else {}) for row in rows]
    found = comparison_table(score_arrays(rows), SETTINGS)
    assert found[["n_pairs", "lost_b", "prob_better"]].to_numpy().tolist() == [[1, 2, 2 / 3]] * 2


def test_a_perplexity_of_zero_or_less_is_no_perplexity():
    value = np.array([[[[2.0], [0.0], [-1.0]]]])
    (array,) = score_arrays(rows_of(value, metrics=[PPL_MEAN]))
    assert array.value_MDSE[0, 0, :, 0].tolist() == [math.log(2.0), math.inf, math.inf]
    (group,) = group_rows(rows_of(value, metrics=[PPL_MEAN]))
    (note,) = findings(rows_of(value, metrics=[PPL_MEAN]), [group])
    assert "seed 1, 2; the table keeps them, without them the mean is 2.00." in note
