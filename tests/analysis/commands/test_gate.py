"""The gate of a made-up sweep: exit codes, bounds, what is told."""

import numpy as np
import pytest
from helpers.item_files import write_items
from scipy import stats

from calib_sweep.analysis.commands.gate import NOT_WITHIN, UNKNOWN, WITHIN, main
from calib_sweep.errors import ConfigError

DRAWS = [0.69, 0.70, 0.71, 0.70, 0.70]


def fill(sweep, method="wanda", scores=DRAWS, dataset="web", metric="acc/mean"):
    for seed, score in enumerate(scores):
        sweep.add(method, {metric: score}, dataset=dataset, seed=seed)
    return sweep


@pytest.fixture
def lossy(sweep):
    """Dense at 71 %, wanda on five draws at 70 % with an SD of .7 points, no items."""
    sweep.add("dense", {"acc/mean": 0.71})
    return fill(sweep)


def gate(sweep, *options):
    return main([str(sweep.folder), *options])


def test_the_limit_is_held_against_the_upper_bound_of_the_mean(lossy, capsys):
    bound = 0.01 + stats.t.ppf(0.95, 4) * np.std(DRAWS, ddof=1) / np.sqrt(5)
    assert gate(lossy, "--loss", f"{bound + 1e-6}") == WITHIN
    assert gate(lossy, "--loss", f"{bound - 1e-6}") == NOT_WITHIN
    bound = 0.01 + stats.t.ppf(0.8, 4) * np.std(DRAWS, ddof=1) / np.sqrt(5)
    assert gate(lossy, "--loss", f"{bound + 1e-6}", "--confidence", "0.8") == WITHIN
    told = capsys.readouterr().out
    assert (
        "wanda, accuracy, mean draw: loses 1.0 points, at most 1.7 (limit 1.7), for other" in told
    )


def test_the_worst_draws_have_a_limit_of_their_own(lossy, capsys):
    bound = 0.01 + 4.20268 * np.std(DRAWS, ddof=1)  # of tables: n = 5, 95 % with 95 %
    assert gate(lossy, "--loss", "0.03", "--worst", f"{bound + 1e-5}") == WITHIN
    assert gate(lossy, "--loss", "0.03", "--worst", f"{bound - 1e-5}") == NOT_WITHIN
    assert "95 % of draws: the worst seen lost 2.0 points, at most 4.0" in capsys.readouterr().out


def test_the_dataset_with_the_worst_draws_decides(lossy, capsys):
    fill(lossy, dataset="wiki", scores=[0.60, 0.70, 0.80, 0.70, 0.70])
    assert gate(lossy, "--loss", "0.2", "--worst", "0.1") == NOT_WITHIN
    assert "on wiki" in capsys.readouterr().out


def test_perplexity_has_a_relative_limit(sweep, capsys):
    sweep.add("dense", {"ppl/a@8": 10.0})
    fill(sweep, metric="ppl/a@8", scores=[10.5, 10.5, 10.5001])
    assert gate(sweep, "--loss", "0.051") == WITHIN
    assert gate(sweep, "--loss", "0.049") == NOT_WITHIN
    told = capsys.readouterr().out
    assert "perplexity, mean draw: loses x1.05" in told and "more than the limit already" in told


def test_items_widen_the_bound(sweep):
    for method, right, seeds in (("dense", 300, [None]), ("wanda", 298, range(3))):
        for seed in seeds:
            value_I = np.repeat([1.0, 0.0], [right, 400 - right])
            where = {} if seed is None else {"dataset": "web", "seed": seed}
            record = sweep.add(method, {"acc/x": right / 400}, **where)
            write_items(record.with_name("items.parquet"), value_I)
    # No draw differs from another: all that is open is the items. At the limit their variance is
    # that of losing so many of 400.
    bound = stats.t.ppf(0.95, 399) * np.sqrt(0.02 * 0.98 / 400) + 0.005
    assert bound < 0.02
    assert gate(sweep, "--loss", "0.02", "--metric", "acc/x") == WITHIN
    assert gate(sweep, "--loss", "0.01", "--metric", "acc/x") == NOT_WITHIN


def test_what_cannot_be_known_has_a_code_of_its_own(sweep, capsys):
    fill(sweep, scores=DRAWS[:1])
    assert gate(sweep, "--loss", "0.5") == UNKNOWN
    assert "the dense model has none" in capsys.readouterr().out
    sweep.add("dense", {"acc/mean": 0.71})
    assert gate(sweep, "--loss", "0.5") == UNKNOWN
    assert "too few draws" in capsys.readouterr().out
    fill(sweep, method="gptq", scores=[0.1, 0.1, 0.11])
    assert gate(sweep, "--loss", "0.5") == NOT_WITHIN
    assert gate(sweep, "--loss", "0.5", "--method", "wanda") == UNKNOWN


def test_equal_scores_of_a_few_draws_do_not_say_what_others_lose(sweep, capsys):
    sweep.add("dense", {"acc/mean": 0.71})
    fill(sweep, scores=[0.7, 0.7, 0.7])
    assert gate(sweep, "--loss", "0.02") == UNKNOWN
    assert "no spread over draws, and no list of items" in capsys.readouterr().out
    assert gate(sweep, "--loss", "0.005") == NOT_WITHIN


def test_a_model_whose_perplexity_is_not_finite_is_not_within(sweep, capsys):
    sweep.add("dense", {"ppl/a@8": 10.0})
    fill(sweep, metric="ppl/a@8", scores=[10.5, None, 10.6, 10.4])
    assert gate(sweep, "--loss", "0.9") == NOT_WITHIN
    assert "not finite" in capsys.readouterr().out


def test_cells_without_scores_are_told(lossy, capsys):
    error = {"type": "OutOfMemoryError", "message": "no"}
    lossy.add("wanda", {}, dataset="web", seed=9, status="failed", error=error)
    assert gate(lossy, "--loss", "0.5") == WITHIN
    assert "1 cell without scores" in capsys.readouterr().out


def test_every_mistake_is_told_at_once(lossy):
    typed = ["--loss", "1", "--worst", "much", "--confidence", "95", "--wrst=0.1"]
    with pytest.raises(ConfigError) as caught:
        gate(lossy, *typed)
    told = str(caught.value)
    for wanted in ("--loss='1'", "--worst='much'", "--confidence='95'", "Did you mean --worst?"):
        assert wanted in told
    with pytest.raises(ConfigError) as caught:
        gate(lossy, "--loss", "0.1", "--method", "wnda", "--metric", "bleu")
    told = "--method='wnda': expected a method of the sweep: wanda. Did you mean wanda?"
    assert told in str(caught.value)
    assert "--metric='bleu': expected a metric of the sweep: acc/mean, accuracy." in str(
        caught.value
    )


def test_options_may_come_first_and_names_with_commas(lossy):
    fill(lossy, method="gptq")
    typed = ["--loss", "0.5", "--method", "gptq,wanda", "--metric=accuracy", str(lossy.folder)]
    assert main(typed) == WITHIN
