"""What a report says of a sweep that chose its number of seeds."""

import json

import numpy as np
import pytest

from calib_sweep.analysis.report import answer, stopping
from calib_sweep.analysis.report.write import is_current, write_report

ENTRY = {
    "model": "m",
    "a": "gptq",
    "b": "wanda",
    "datasets": ["c4"],
    "metric": "acc/mean",
    "width": 0.01,
    "state": "shown",
    "better": "wanda",
    "n": 7,
    "mean": -0.031,
    "sd": 0.01,
    "half": 0.012,
    "lo": -0.05,
    "hi": -0.012,
    "p": 0.001,
    "p_holm": 0.002,
}


def written(folder, *entries, most=20, num_looks=3):
    look = {"num_seeds": 7, "is_settled": True, "contrasts": [{**ENTRY, **e} for e in entries]}
    rule = {"most_seeds": most, "min_seeds": 5, "round": 1, "width": 0.01, "contrasts": None}
    told = {"schema": 1, "rule": rule, "seeds": list(range(7)), "looks": [look] * num_looks}
    (folder / "stopping.json").write_text(json.dumps(told))
    return folder


def conclusion_of(folder):
    return json.loads((folder / "report" / "conclusion.json").read_text())


def test_a_plain_grid_has_nothing_to_say_and_a_damaged_file_is_no_plain_grid(tmp_path):
    assert stopping.sentences(tmp_path) == []
    for text in ("", "[]", '{"schema": 2, "looks": [1]}', '{"schema": 1, "looks": []}'):
        (tmp_path / "stopping.json").write_text(text)
        assert stopping.sentences(tmp_path) == [stopping.UNREADABLE, stopping.CAUTION]
        assert stopping.reason(stopping.read(tmp_path)) == stopping.UNREADABLE


@pytest.mark.slow
def test_the_report_of_a_damaged_one_does_not_say_how_few_sweeps_claim(two_methods):
    write_report(two_methods.folder)
    assert answer.IN_ALL in conclusion_of(two_methods.folder)
    (two_methods.folder / "stopping.json").write_text("{")
    assert not is_current(two_methods.folder)
    write_report(two_methods.folder)
    said = conclusion_of(two_methods.folder)
    assert answer.IN_ALL not in said and stopping.UNREADABLE in said


def test_why_no_more_seeds_then_the_contrasts_then_what_it_does_to_the_rest(tmp_path):
    narrow = {"state": "narrow", "better": None, "mean": 0.002, "metric": "acc/mean", "a": "rtn"}
    said = stopping.sentences(written(tmp_path, {}, narrow))
    assert said[0] == "Stopped after 7 of at most 20 seeds and 3 looks, as every contrast is known."
    # the better one first, as a gain: 3.1 points, from 1.2 to 5.0
    assert said[1] == (
        "wanda is better than gptq in accuracy on c4: 3.1 points (95 % at all looks 1.2..5.0)."
    )
    # mean -+ the width asked for: 0.2 -+ 1 points
    assert said[2] == (
        "rtn against wanda in accuracy on c4: 0.2 points (95 % -0.8..1.2, as narrow as asked for)."
    )
    assert said[3] == stopping.CAUTION and len(said) == 4


def test_perplexities_are_told_as_ratios(tmp_path):
    entry = {"metric": "ppl/geomean", "better": "gptq", "datasets": ["c4", "wiki"]}
    entry |= {"mean": np.log(0.9), "lo": np.log(0.85), "hi": np.log(0.95)}
    said = stopping.sentences(written(tmp_path, entry))
    assert said[1].startswith("gptq is better than wanda in perplexity on these 2 datasets: x0.90")
    assert "(95 % at all looks 0.85" in said[1]


def test_what_is_open_is_told_first_with_what_is_lacking(tmp_path):
    still = {"state": "open", "better": None, "mean": 0.001, "lo": -0.02, "hi": 0.022, "a": "rtn"}
    said = stopping.sentences(written(tmp_path, {}, still, most=7))
    assert said[0] == "Not every contrast is known after all 7 seeds that were allowed."
    assert said[1].startswith("rtn against wanda in accuracy on c4 is open: 0.1 points")
    assert said[1].endswith(
        "(95 % at all looks -2.0..2.2), ±1.2\u00a0points and not ±1\u00a0points."
    )


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"n": 0}, "gptq against wanda: accuracy is on no draw of both on c4."),
        ({"n": 3}, "gptq against wanda: accuracy is not finite on some draw on c4."),
    ],
)
def test_without_scores_there_is_no_number(entry, told, tmp_path):
    nothing = dict.fromkeys(("mean", "sd", "half", "lo", "hi"), None)
    said = stopping.sentences(written(tmp_path, {"state": "lost", **nothing, **entry}))
    assert "no contrast has finite scores, so more seeds do not help" in said[0]
    assert said[1] == told


def test_too_few_seeds_with_both_scores_are_open(tmp_path):
    few = {"state": "open", "better": None, "half": None, "n": 3}
    assert "is open: 3 seeds with scores of both." in stopping.sentences(written(tmp_path, few))[1]


def test_many_contrasts_are_counted_and_models_named(tmp_path):
    many = [{"model": f"m{i}", "a": f"method{i}"} for i in range(9)]
    said = stopping.sentences(written(tmp_path, *many))
    assert said[1].startswith("m0: wanda is better than method0")
    assert said[-2] == "3 more contrasts in stopping.json."
