"""The sentences of the answer, from tables made by hand; what is claimed is the table's alone."""

import math

import pandas as pd
import pytest

from calib_sweep.analysis.report import answer, beats, claimed, differences, sensitivity
from calib_sweep.analysis.tables.variance_components import LEFT_OUT

ACCURACY, PERPLEXITY = "acc/mean", "ppl/geomean"
WORDS = {PERPLEXITY: "perplexity", ACCURACY: "accuracy"}
NAN = math.nan


def claim(**fields):
    """One row of claims.csv: sparsegpt is claimed to be 10.8 points better than wanda."""
    row = {"kind": "methods", "model": "tiny", "metric": ACCURACY, "method": "", "dataset": ""}
    row |= {"a": "sparsegpt", "b": "wanda", "n": 5, "estimate": 0.108, "lo": 0.075, "hi": 0.141}
    row |= {"p": 0.001, "weight": 0.5, "p_sweep": 0.002, "winner": "sparsegpt", "reason": ""}
    return row | fields


def moved(method, **fields):
    """One row of sensitivity.csv: of logarithms where the metric is perplexity."""
    row = {"model": "tiny", "method": method, "metric": PERPLEXITY, "n": 25, "num_datasets": 5}
    row |= {"draw_sd": 0.015, "draw_lo": 0.011, "draw_hi": 0.021, "draw_share": 0.3, "note": ""}
    row |= {"dataset_sd": 0.022, "dataset_lo": 0.012, "dataset_hi": 0.066, "dataset_share": 0.6}
    return row | {"item_se": 0.009, "item_share": 0.1} | fields


def tables_of(*claims, datasets=("web",), moves=()):
    """Tables of a sweep on these datasets."""
    pairs = {(c["a"], c["b"]) for c in claims if c["kind"] == "methods"}
    rows = [
        {"model": "tiny", "metric": m, "kind": "method", "a": a, "b": b, "dataset": dataset}
        for a, b in sorted(pairs)
        for m in WORDS
        for dataset in ("", *datasets)
    ]
    columns = ["model", "metric", "kind", "a", "b", "dataset"]
    return {
        "summary": pd.DataFrame({"model": ["tiny"]}),
        "comparisons": pd.DataFrame(rows, columns=columns),
        "claims": pd.DataFrame(list(claims), columns=[*claim()]),
        "losses": pd.DataFrame(columns=["model", "method", "metric", "population"]),
        "sensitivity": pd.DataFrame(list(moves), columns=[*moved("")]),
    }


LOWER = {"metric": PERPLEXITY, "estimate": math.log(0.47), "lo": math.log(0.41)}
LOWER |= {"hi": math.log(0.53)}


def test_a_pair_is_told_once_for_all_metrics_with_ratio_and_points():
    assert answer.sentences(tables_of(claim(**LOWER), claim()), WORDS) == [
        "sparsegpt beats wanda on web: x0.47 in perplexity (95 % 0.41..0.53) and 10.8 points in "
        "accuracy (7.5..14.1).",
        "Of sweeps in which nothing differs, at most 5 % would make any such claim.",
    ]


def test_several_datasets_and_a_new_one_are_two_populations():
    new = {"kind": "new_dataset", "lo": 0.03, "hi": 0.19}
    on = ("a", "b", "c", "d", "e")
    (line, _) = answer.sentences(tables_of(claim(), claim(**new), datasets=on), WORDS)
    assert line == (
        "sparsegpt beats wanda on these 5 datasets on average: 10.8 points in accuracy (95 % "
        "7.5..14.1); for a new dataset 95 %: 3.0..19.0 points in accuracy."
    )
    open_new = claim(**new | {"lo": -0.05, "hi": 0.27, "winner": ""})
    (line, _) = answer.sentences(tables_of(claim(), open_new, datasets=on), WORDS)
    assert line.endswith("; for a new dataset 95 %: not shown in accuracy (-5.0..27.0 points).")


def test_what_has_no_winner_is_never_a_claim_however_far_its_interval_is_from_zero():
    said = answer.sentences(tables_of(claim(winner="", p_sweep=0.2)), WORDS)
    assert said == [
        "In accuracy sparsegpt and wanda cannot be told apart on web, corrected for all that "
        "was compared (by itself 95 % 7.5..14.1 points)."
    ]
    ratio = claim(**LOWER | {"lo": math.log(0.97), "hi": math.log(1.04), "winner": ""})
    assert answer.sentences(tables_of(ratio), WORDS) == [
        "In perplexity sparsegpt and wanda cannot be told apart on web (95 % x0.970..1.040)."
    ]


def test_the_better_one_stands_first_also_where_less_is_better_or_b_wins():
    row = {"metric": PERPLEXITY, "winner": "wanda", "estimate": 0.1, "lo": 0.09, "hi": 0.11}
    found = claimed.Claim.of(claim(**row))
    assert (found.first, found.second, found.is_made) == ("wanda", "sparsegpt", True)
    assert found.amount == ("x0.905", "0.896..0.914")  # exp(-0.1), exp(-0.11), exp(-0.09)
    found = claimed.Claim.of(claim(winner="", estimate=-0.02, lo=-0.032, hi=0.008))
    assert (found.first, found.amount) == ("wanda", ("2.0 points", "-0.8..3.2"))


def test_who_is_ahead_on_which_dataset_is_said_where_it_is_not_so_on_average():
    on = {"kind": "methods_on", "estimate": -0.02, "lo": -0.03, "hi": -0.01, "winner": "wanda"}
    each = [claim(**on | {"dataset": d}) for d in ("slim", "wiki")]
    each += [claim(kind="methods_on", dataset="c4"), claim(kind="methods_on", dataset="x")]
    each[-1]["winner"] = ""
    datasets = ("c4", "slim", "wiki", "x")
    line = answer.sentences(tables_of(claim(), *each, datasets=datasets), WORDS)[0]
    assert line.endswith("(95 % 7.5..14.1). In accuracy wanda beats sparsegpt on slim and wiki.")
    pooled = claim(winner="", estimate=0.001, lo=-0.01, hi=0.012)
    line = answer.sentences(tables_of(pooled, *each, datasets=datasets), WORDS)[0]
    assert line.endswith(
        "cannot be told apart on these 4 datasets on average (95 % -1.0..1.2 points). In accuracy "
        "wanda beats sparsegpt on slim and wiki; sparsegpt beats wanda on c4."
    )


def test_a_difference_without_width_is_told_with_its_digits_and_no_spread_as_0():
    same = claim(**LOWER | {"lo": LOWER["estimate"], "hi": LOWER["estimate"]})
    assert claimed.Claim.of(same).amount == ("x0.47", "0.47..0.47")
    still = moved("wanda", draw_sd=0.0, draw_lo=0.0, draw_hi=0.0, dataset_sd=0.0, item_se=NAN)
    still |= {"draw_share": NAN, "dataset_share": NAN, "dataset_lo": NAN, "dataset_hi": NAN}
    assert list(sensitivity.sentences(tables_of(moves=[still]), "tiny", WORDS)) == [
        "Perplexity of wanda moves by (SD): 0 % with another draw and 0 % with another dataset."
    ]


def test_why_nothing_can_be_said_is_said():
    few = claim(lo=NAN, hi=NAN, p=NAN, winner="", reason="too few draws")
    assert answer.sentences(tables_of(few), WORDS) == [
        "In accuracy nothing can be said of sparsegpt and wanda: too few draws."
    ]
    assert answer.sentences(tables_of(), WORDS) == [answer.NEVER_SEEN]


def test_datasets_with_one_draw_each_are_a_sample_of_datasets():
    few = claim(lo=NAN, hi=NAN, p=NAN, winner="", reason="too few draws")
    new = claim(kind="new_dataset", lo=0.03, hi=0.19)
    assert answer.sentences(tables_of(few, new, datasets=("a", "b", "c")), WORDS) == [
        "sparsegpt beats wanda for a new dataset: 10.8 points in accuracy (95 % 3.0..19.0)."
    ]
    new |= {"lo": -0.03, "winner": ""}
    assert answer.sentences(tables_of(few, new, datasets=("a", "b", "c")), WORDS) == [
        "In accuracy sparsegpt and wanda cannot be told apart for a new dataset (95 % -3.0..19.0 "
        "points)."
    ]


def test_equality_is_said_only_where_it_was_tested_and_with_its_limit():
    pooled = claim(winner="", estimate=0.001, lo=-0.003, hi=0.004)
    equal = claim(kind="equivalence", estimate=0.001, lo=-0.002, hi=0.003, winner="equal")
    of_draws = equal | {"a": "", "b": "", "method": "wanda", "estimate": 0.002, "hi": 0.0034}
    tables = tables_of(pooled, equal, of_draws)
    tables["equivalence"] = pd.DataFrame({"metric": [ACCURACY], "margin": [0.005]})
    assert answer.sentences(tables, WORDS) == [
        "wanda does not mind the draw in accuracy: its SD is at most 0.34 points, within the 0.5 "
        "points asked for.",
        "In accuracy sparsegpt and wanda are equal within 0.5 points on web (95 % -0.30..0.40 "
        "points).",
    ]
    tables["claims"].loc[1:, "winner"] = ""
    assert answer.sentences(tables, WORDS) == [
        "In accuracy sparsegpt and wanda cannot be told apart on web (95 % -0.30..0.40 points)."
    ]


def test_unshared_draws_and_diverged_ones_are_said_beside_the_number():
    tables = tables_of(claim())
    tables["comparisons"] = tables["comparisons"].assign(design="unpaired", lost_a=0, lost_b=2)
    assert answer.sentences(tables, WORDS)[0] == (
        "sparsegpt beats wanda on web, of draws that they do not share: 10.8 points in accuracy "
        "(95 % 7.5..14.1, without 2 diverged draws)."
    )


def test_who_has_diverged_is_not_called_better_and_the_sentence_says_so():
    tables = tables_of(
        claim(winner="", reason="wanda, ahead on the other draws, has diverged on 1")
    )
    tables["comparisons"] = tables["comparisons"].assign(design="paired", lost_a=0, lost_b=1)
    said = answer.sentences(tables, WORDS)[0]
    assert said.startswith("In accuracy neither sparsegpt nor wanda is called better: wanda, ahead")
    assert "has diverged on 1 (" in said and "without 1 diverged draw" in said


def many(winners):
    """Rows of all pairs of a, b, c, d; `winners` of some."""
    names = ["a", "b", "c", "d"]
    return [
        claim(
            a=a,
            b=b,
            winner=winners.get(a + b, ""),
            estimate=-0.1 if b == winners.get(a + b) else 0.1,
        )
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    ]


@pytest.mark.parametrize(
    ("winners", "said"),
    [
        # a before all; b, c before d; b and c open
        (
            {"ab": "a", "ac": "a", "ad": "a", "bd": "b", "cd": "c"},
            "a; then b and c; then d (each beats all of the later groups); no other two "
            "can be told apart",
        ),
        # d before all, and c before b, of which a is open to both
        (
            {"ad": "d", "bd": "d", "cd": "d", "bc": "c"},
            "d; then c, a and b (each beats all of the later groups); c beats b; no "
            "other two can be told apart",
        ),
        # a and c beat the same one
        ({"ab": "a", "bc": "c"}, "a and c beat b; no other two can be told apart"),
        ({"ab": "a", "cd": "c"}, "a beats b; c beats d; no other two can be told apart"),
        ({}, "no two can be told apart"),
    ],
)
def test_many_methods_are_told_in_the_order_that_is_claimed_and_by_name(winners, said):
    lines = answer.sentences(tables_of(*many(winners), datasets=("web", "wiki")), WORDS)
    assert lines[0] == f"In accuracy, on these 2 datasets on average: {said}."


def test_of_many_methods_it_is_said_where_the_lead_changes_sides_and_who_has_diverged():
    rows = many({"ab": "a", "ac": "a", "ad": "a", "bd": "b"})
    rows[-1] |= {"reason": "c, ahead on the other draws, has diverged on 1"}  # c against d
    on = {"kind": "methods_on", "estimate": -0.02, "lo": -0.03, "hi": -0.01}
    on |= {"a": "a", "b": "b", "winner": "b"}
    on = [claim(**on | {"dataset": d}) for d in ("web", "wiki")]
    on.append(claim(kind="methods_on", a="a", b="c", dataset="web", winner="a"))
    tables = tables_of(*rows, *on, datasets=("web", "wiki", "x"))
    assert answer.sentences(tables, WORDS)[:3] == [
        "In accuracy, on these 3 datasets on average: a; then b, c and d (each beats all of the "
        "later groups); b beats d; no other two can be told apart.",
        "In accuracy c, ahead of d without its diverged draws, is not called better.",
        "In accuracy, on single datasets: b beats a on web and wiki.",
    ]


def test_what_has_no_direction_is_not_said_to_be_open():
    unknown = [row | {"winner": "", "p": NAN, "reason": "no direction"} for row in many({})]
    assert not any("told apart" in line for line in answer.sentences(tables_of(*unknown), WORDS))
    of_datasets = claim(kind="datasets", method="wanda", a="c4", b="web", winner="")
    of_datasets |= {"reason": "no direction"}
    assert not [*beats.of_datasets(tables_of(of_datasets), "tiny", WORDS)]
    of_datasets |= {"reason": ""}
    (line,) = beats.of_datasets(tables_of(of_datasets), "tiny", WORDS)
    assert line == "Accuracy of wanda: no two can be told apart."


def test_the_datasets_that_are_named_are_those_in_the_mean():
    tables = tables_of(claim(), datasets=("web", "wiki", "x"))
    compared = tables["comparisons"]
    tables["comparisons"] = compared.assign(design="unpaired", n_pairs=3)
    tables["comparisons"].loc[compared["dataset"] == "x", "n_pairs"] = 1
    said = "sparsegpt beats wanda on these 2 datasets on average, of draws that they do not share"
    assert answer.sentences(tables, WORDS)[0].startswith(said)
    tables["comparisons"] = compared.assign(design="paired", n_pairs=compared["dataset"] != "x")
    said = "sparsegpt beats wanda on these 2 datasets on average: "
    assert answer.sentences(tables, WORDS)[0].startswith(said)
    rows = tables_of(*many({}), datasets=("web", "wiki"))
    is_short = (rows["comparisons"]["a"] == "a") & (rows["comparisons"]["dataset"] == "wiki")
    rows["comparisons"] = rows["comparisons"].assign(n_pairs=(~is_short).astype(int))
    said = "In accuracy, each two on the datasets that both have: no two can be told apart."
    assert answer.sentences(rows, WORDS)[0] == said


def test_the_same_difference_on_too_few_draws_is_not_told_as_shown_by_itself():
    same = claim(estimate=0.01, lo=0.01, hi=0.01, p=0.25, p_sweep=0.5, winner="")
    assert answer.sentences(tables_of(same), WORDS) == [
        "In accuracy sparsegpt and wanda cannot be told apart on web: 1.00 points without any "
        "spread, but of too few draws."
    ]


def test_how_far_a_score_moves_is_told_for_each_method_with_intervals_and_shares():
    rows = [moved("sparsegpt"), moved("wanda", draw_sd=0.072, draw_lo=0.055, draw_hi=0.104)]
    spread = claim(kind="spread", metric=PERPLEXITY, n=25, winner="sparsegpt")
    spread |= {"estimate": math.log(0.2), "lo": math.log(0.122), "hi": math.log(0.323)}
    said = list(sensitivity.sentences(tables_of(spread, moves=rows), "tiny", WORDS))
    assert said == [
        "Perplexity of sparsegpt moves by (SD): 1.5 % with another draw (95 % 1.1..2.1), 2.2 % "
        "with another dataset (1.2..6.6) and 0.9 % with other test items (30, 60 and 10 % of the "
        "variance).",
        "Perplexity of wanda moves by (SD): 7.2 % with another draw (95 % 5.5..10.4), 2.2 % with "
        "another dataset (1.2..6.6) and 0.9 % with other test items (30, 60 and 10 % of the "
        "variance).",
        "With the draw wanda moves 5.0 times as far as sparsegpt in perplexity (95 % 3.1..8.2).",
    ]
    spread |= {"winner": "", "hi": math.log(1.3)}
    said = list(sensitivity.sentences(tables_of(spread, moves=rows), "tiny", WORDS))
    assert said[2] == (
        "How far the draw moves wanda and sparsegpt in perplexity cannot be told apart (ratio of "
        "SDs 95 % 0.8..8.2)."
    )
    spread |= {"hi": math.log(0.9)}
    rows[1] |= {"note": f"{LEFT_OUT}: 1"}
    said = list(sensitivity.sentences(tables_of(spread, moves=rows), "tiny", WORDS))
    assert said[1].endswith("of the variance), without its diverged draws.")
    assert said[2] == (
        "How far the draw moves wanda and sparsegpt in perplexity cannot be told apart, corrected "
        "for all that was compared (by itself the ratio of SDs 95 % 1.1..8.2)."
    )


def test_an_interval_of_a_ratio_without_width_is_told_without_it():
    same = claim(kind="spread", metric=PERPLEXITY, estimate=0.0, lo=-1e-16, hi=0.0, winner="")
    said = list(sensitivity.sentences(tables_of(same, moves=[moved("wanda")]), "tiny", WORDS))
    assert said[1].endswith(" in perplexity cannot be told apart: their SDs are equal.")


def test_what_is_not_known_of_a_spread_is_left_out_and_many_methods_are_a_range():
    one = moved("wanda", dataset_sd=NAN, dataset_share=NAN, item_se=NAN, draw_share=1.0)
    free = moved("magnitude", draw_sd=0.0, dataset_sd=0.0, n=1)
    said = list(sensitivity.sentences(tables_of(moves=[free, one]), "tiny", WORDS))
    assert said == ["Perplexity of wanda moves by (SD): 1.5 % with another draw (95 % 1.1..2.1)."]
    one |= {"num_datasets": 1}
    said = list(sensitivity.sentences(tables_of(moves=[one]), "tiny", WORDS))
    assert said[1] == "How far another dataset would move a score is not known: there is one."
    rows = [
        moved(name, draw_sd=sd, item_se=NAN) for name, sd in zip("abcd", (3, 1, 2, 4), strict=True)
    ]
    (line,) = sensitivity.sentences(tables_of(moves=rows), "tiny", WORDS)
    assert line == (
        "Perplexity moves by (SD): with another draw 100.0 % (b) to 400.0 % (d); with another "
        "dataset 2.2 % (a) to 2.2 % (d)."
    )


def test_an_interval_beyond_0_that_is_not_claimed_says_that_it_is_by_itself():
    rows = claim(p=math.nan, p_sweep=math.nan, winner="", reason="too few draws", lo=NAN, hi=NAN)
    new = claim(kind="new_dataset", lo=0.03, hi=0.19, p=0.04, p_sweep=0.08, winner="")
    assert answer.sentences(tables_of(rows, new), WORDS)[0] == (
        "In accuracy sparsegpt and wanda cannot be told apart for a new dataset, corrected for all "
        "that was compared (by itself 95 % 3.0..19.0 points)."
    )


def test_rows_of_the_page_have_the_number_of_the_sentence():
    new = claim(kind="new_dataset", lo=-0.27, hi=0.05, estimate=-0.108)
    row = claim(estimate=-0.108, lo=-0.141, hi=-0.075, winner="wanda")
    tables = tables_of(row, new)
    tables["comparisons"] = tables["comparisons"].assign(
        prob_better=0.0, prob_lo=0.0, prob_hi=0.5, mde=0.1
    )
    (shown,) = differences.method_pairs(tables).to_dict("records")
    assert (shown["a"], shown["b"], shown["claimed"]) == ("wanda", "sparsegpt", "yes")
    assert [shown[k] for k in ("estimate", "lo", "hi")] == [0.108, 0.075, 0.141]
    assert [shown[k] for k in ("new_lo", "new_hi")] == [-0.05, 0.27]
    assert [shown[k] for k in ("prob_better", "prob_lo", "prob_hi")] == [1.0, 0.5, 1.0]
