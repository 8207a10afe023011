"""Requests beyond what a model reads at once: cut as lm-eval cuts them, or refused as there."""

import logging

import pytest
from helpers.scored import random_llama, scorer_of

from calib_sweep.errors import ConfigError
from calib_sweep.evaluation.requests import Request, Requests
from calib_sweep.evaluation.scorers.lengths import check_lengths

LIMIT = 128  # of the model


def tokens(num, start=0):
    return [3 + (start + 7 * k) % 250 for k in range(num)]


def test_it_is_said_how_many_requests_are_cut(caplog):
    sizes = [(3, 4), (LIMIT, 1), (LIMIT, 2), (400, 5)]
    rows = [Request(tokens(context), tokens(continuation)) for context, continuation in sizes]
    check_lengths(Requests(rows, {"mine": [[0, 1], [2], [3]], "other": []}), LIMIT)
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith("mine: 2 of 4 requests are longer than the 128 tokens")


def test_every_task_with_an_answer_that_is_too_long_is_named():
    rows = [Request([1], tokens(num)) for num in (LIMIT, LIMIT + 1, 300)]
    with pytest.raises(ConfigError) as raised:
        check_lengths(Requests(rows, {"fits": [[0]], "one": [[1]], "two": [[2]]}), LIMIT)
    one, two = raised.value.problems
    assert "tasks='one': expected answers of at most 128 tokens" in one and "has 129" in one
    assert "tasks='two'" in two and "has 300" in two


@pytest.mark.parametrize("engine", ["packed", "hflm"])
def test_no_engine_scores_an_answer_that_is_too_long(engine):
    scorer = scorer_of(random_llama(), engine=engine)
    longest = Requests([Request([5, 6], tokens(LIMIT)), Request([5, 6], [7])])
    assert len(scorer.loglikelihoods(longest)) == 2
    with pytest.raises(ConfigError, match="has 129"):
        scorer.loglikelihoods(Requests([Request([5, 6], tokens(LIMIT + 1))]))


def test_the_longest_answers_are_scored_alike(caplog):
    sizes = [(c, n) for c in (1, 2, 300) for n in (1, 64, LIMIT - 1, LIMIT)]
    rows = [Request(tokens(c, start=c), tokens(n, start=n)) for c, n in sizes]
    answers = [
        scorer_of(random_llama(), engine=engine).loglikelihoods(Requests(rows))
        for engine in ("packed", "hflm")
    ]
    ours, theirs = ([answer.log_likelihood for answer in one] for one in answers)
    assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-4)
    assert [a.is_greedy for a in answers[0]] == [a.is_greedy for a in answers[1]]
    names = {r.name for r in caplog.records if r.levelno >= logging.WARNING}
    assert names == {"calib_sweep.evaluation.scorers.lengths"}  # lm-eval warns of each
