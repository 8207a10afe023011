"""Sentences on models: who is named, what is claimed, and what is left open."""

import pandas as pd
import pytest

from calib_sweep.analysis.metrics import OURS
from calib_sweep.analysis.report.over_models import IN_ALL, ahead_first, sentences
from calib_sweep.analysis.tables.over_models import COLUMNS

ACCURACY, PERPLEXITY = "acc/mean", "ppl/geomean"
WORDS = {PERPLEXITY: "perplexity", ACCURACY: "accuracy"}


def row(metric=ACCURACY, estimate=0.03, half=0.02, *, winner="", models="opt, llama, qwen"):
    num = models.count(",") + 1
    own = {"metric": metric, "settings": "", "a": "gptq", "b": "wanda", "models": models}
    own |= {"num_models": num, "num_ahead": num, "estimate": estimate, "winner": winner}
    own |= {"lo": estimate - half, "hi": estimate + half, "p": 0.01, "p_holm": 0.02}
    own |= {"tau": 0.01, "tau_lo": 0.0, "tau_hi": 0.05}
    return own | {"new_lo": estimate - 3 * half, "new_hi": estimate + 3 * half}


def said(*rows):
    return list(sentences(pd.DataFrame(rows).reindex(columns=COLUMNS), WORDS))


def test_a_claim_names_the_models_and_where_one_more_would_lie():
    first, last = said(row(winner="gptq"))
    assert first == (
        "gptq beats wanda over 3 models (opt, llama and qwen): 3.0 points in accuracy "
        "(95 % 1.0..5.0; on one more model -3.0..9.0 points)."
    )
    assert last == IN_ALL


def test_the_winner_stands_first_whichever_way_is_better():
    """Less perplexity is better: log(a) - log(b) of -0.5 is a ratio of 0.61 for a."""
    (first, *_) = said(row(PERPLEXITY, 0.5, 0.1, winner="wanda"))
    assert first.startswith("wanda beats gptq over 3 models (opt, llama and qwen): x0.61 in perp")
    assert "(95 % 0.55..0.67; on one more model x0.45..0.82)" in first


def test_scores_of_one_pair_are_told_in_one_sentence():
    found = said(row(winner="gptq"), row(PERPLEXITY, -0.5, 0.1, winner="gptq"))
    assert len(found) == 2 and found[0].count("on one more model") == 2


def test_what_is_open_is_no_claim():
    assert said(row(half=0.05)) == [
        "No two methods can be told apart over 3 models (opt, llama and qwen) in accuracy."
    ]


def test_what_was_not_tested_is_not_said_to_be_open():
    """Not a difference that never varied, nor one of which nobody knows what is better."""
    assert said(row(half=0.0) | {"p_holm": float("nan")}) == []
    table = pd.DataFrame([row("foo/x", half=0.001)]).reindex(columns=COLUMNS)
    assert list(sentences(table, {"foo/x": "foo (x)"})) == []


def test_of_two_models_it_says_that_they_hardly_say_anything():
    (only,) = said(row(half=0.5, models="opt, llama"))
    assert only == (
        "Two models (opt and llama) can hardly say whether the order of methods holds on others: "
        "gptq - wanda in accuracy would lie at -147.0..153.0 points (95 %)."
    )


def test_without_several_models_there_is_nothing_to_say():
    assert list(sentences(pd.DataFrame(columns=COLUMNS), WORDS)) == []


@pytest.mark.parametrize(("metric", "estimate"), [(ACCURACY, -0.03), (PERPLEXITY, 0.5)])
def test_rows_are_turned_round_with_all_their_numbers(metric, estimate):
    table = pd.DataFrame([row(metric, estimate)]).assign(num_ahead=1)
    (found,) = ahead_first(table, OURS).to_dict("records")
    (before,) = table.to_dict("records")
    assert (found["a"], found["b"], found["num_ahead"]) == ("wanda", "gptq", 2)
    assert (found["lo"], found["hi"]) == (-before["hi"], -before["lo"])
    assert (found["new_lo"], found["new_hi"]) == (-before["new_hi"], -before["new_lo"])
