"""What is known of metrics, from ours, from lm-eval, from records and from the configuration."""

import math

import pytest

from calib_sweep.analysis import formatting
from calib_sweep.analysis.metrics import OURS, flaws_of
from calib_sweep.analysis.settings import read_settings
from calib_sweep.errors import ConfigError


def test_lm_evals_own_directions_are_those_of_its_registry():
    import lm_eval.api.metrics  # noqa: F401  fills the registry
    from lm_eval.api.registry import higher_is_better_registry

    theirs = dict(higher_is_better_registry.items())
    del theirs["bypass"]  # no score
    assert {name: OURS.of(name).direction for name in theirs} == {
        name: 1 if is_higher else -1 for name, is_higher in theirs.items()
    }


def test_a_kind_is_the_first_word_whatever_the_filter():
    assert OURS.of("exact_match,strict-match/gsm8k").direction == 1
    assert OURS.of("word_perplexity,none/wikitext").is_logged
    assert OURS.of("latency/a") == OURS.of("latency")
    assert OURS.of("latency").direction == 0


@pytest.mark.parametrize(
    ("metric", "value", "says"),
    [
        ("acc/x", 60.1, "is 60.1, expected 0 to 1, a fraction: is it in percent?"),
        ("acc/x", -0.1, "is -0.1, expected 0 to 1"),
        ("acc_norm/x", 250.0, "is 250, expected 0 to 1"),
        ("ppl/a@64", 0.0, "is 0, expected 1 or more"),
        ("ppl/geomean", -3.0, "is -3, expected 1 or more"),
        ("ppl/a@64", 0.99, "is 0.99, expected 1 or more"),
        ("bleu/wmt", 101.0, "is 101, expected 0 to 100"),
        ("flips/x", math.inf, "is inf, expected 0 to 1"),
    ],
)
def test_a_value_that_no_model_can_score_is_told(metric, value, says):
    assert OURS.of(metric).flaw(value) == says


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("acc/x", 1.0 + 1e-9),
        ("acc/x", 0.0),
        ("ppl/a@64", 1.0 - 1e-9),
        ("ppl/a@64", math.inf),  # diverged: told elsewhere
        ("ppl/a@64", math.nan),
        ("latency", -5.0),
    ],
)
def test_what_a_model_can_score_passes(metric, value):
    assert OURS.of(metric).flaw(value) is None


def test_what_is_declared_of_a_kind_holds_for_its_metrics_and_comes_last():
    of_record = OURS.extended({"rouge/cnn": {"direction": 1, "high": 1, "low": 0}})
    assert of_record.of("rouge/cnn").direction == 1
    assert of_record.of("rouge/xsum").direction == 0
    last = of_record.extended({"rouge": {"direction": -1, "scale": "share"}})
    assert (last.of("rouge/cnn").direction, last.of("rouge/xsum").direction) == (-1, -1)
    assert (last.of("rouge/cnn").high, last.of("rouge/xsum").high) == (1, math.inf)
    assert formatting.heading("rouge/cnn", [], last) == "rouge, % (cnn)"
    assert OURS.of("rouge/cnn").direction == 0  # nothing global has moved


def test_headlines_are_ours_first_then_those_that_are_named():
    known = OURS.extended({"bleu": {"headline": True}})
    found = ["bleu/wmt", "acc/mean", "acc/x", "bleu", "ppl/geomean"]
    assert list(known.headlines(found).items()) == [
        ("ppl/geomean", "perplexity"),
        ("acc/mean", "accuracy"),
        ("bleu", "BLEU"),
        ("bleu/wmt", "BLEU (wmt)"),
    ]


def test_all_that_is_wrong_with_a_declaration_is_told_at_once():
    wrong = {
        "bleu": {"direction": 2, "low": "x"},
        "ter": {"low": 5, "high": 1},
        "f": {"colour": "red"},
        "g": 1,
        "h": {"direction": math.nan},
    }
    flaws = flaws_of(wrong)
    for says in (".bleu.direction=2: expected 1 (more", ".bleu.low='x'", ".ter.low=5", ".h.direc"):
        assert sum(flaw.startswith(says) for flaw in flaws) == 1
    assert any("no such field" in flaw and "colour" in flaw for flaw in flaws)
    assert len(flaws) == 6
    assert len(flaws_of([1])) == 1


def test_metrics_are_declared_on_the_command_line():
    typed = "analysis.metrics={bleu: {direction: -1, low: 0, high: 100}}"
    settings = read_settings([typed])
    assert OURS.extended(settings.metrics).of("bleu/x").direction == -1
    with pytest.raises(ConfigError) as error:
        read_settings(["analysis.metrics={bleu: {direction: up}}", "analysis.seed=x"])
    assert len(error.value.problems) == 2
    assert "analysis.metrics.bleu.direction='up': expected 1" in str(error.value)
    assert "Example: 'analysis.metrics={bleu: {direction: 1, low: 0" in str(error.value)


@pytest.mark.parametrize(
    ("metric", "metrics", "says"),
    [
        ("acc/mean", ["acc/mean"], "accuracy, %"),  # of what it is the mean nobody knows
        ("acc/mean", ["acc/mean", "acc/x"], "accuracy, % (x)"),
        ("acc/mean", ["acc/mean", "acc/x", "acc_norm/y"], "accuracy, % (mean of 2 tasks)"),
        ("ppl/geomean", ["ppl/geomean"], "perplexity"),
        ("ppl/geomean", ["ppl/a", "ppl/b"], "perplexity (geometric mean of 2 corpora)"),
        ("kl/a@64", [], "KL divergence from dense, nats per token (a@64)"),
        ("exact_match,strict/gsm8k", [], "exact match, % (gsm8k, strict)"),
    ],
)
def test_a_heading_says_the_unit_and_of_what_a_mean_is(metric, metrics, says):
    assert formatting.heading(metric, metrics) == says


def test_a_heading_says_what_a_record_says_that_the_mean_is_over():
    metrics = ["acc/mean", "acc/mmlu", "acc/mmlu_law", "acc/mmlu_virology", "exact_match/gsm8k"]
    both = OURS.extended({"acc/mean": {"over": "mmlu, gsm8k"}})
    assert formatting.heading("acc/mean", metrics, both) == "accuracy, % (mean of 2 tasks)"
    one = OURS.extended({"acc/mean": {"over": "mmlu"}})
    assert formatting.heading("acc/mean", metrics, one) == "accuracy, % (mmlu)"
