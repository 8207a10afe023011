"""The seam behind which models are scored: another engine fits, and is used by every part."""

import copy
import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from helpers.scored import corpus, perplexity_of, scorer_of, zero_shot_of
from helpers.sweeps import read_records

from calib_sweep.dataset.calibration.artifact import load_set, save_set
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.evaluation.corpora.divergence import Divergence
from calib_sweep.evaluation.requests import Answer, Request, Requests
from calib_sweep.evaluation.set_perplexity import dense_perplexity
from calib_sweep.evaluation.suite import Evaluation

VOCAB_SIZE = 300


class Unigram:
    """Scores by how often tokens occur, whatever stands before them. There is no model behind it.

    What it needs of requests alone it makes once and leaves there, as one that packs them would.
    """

    engine, context_length = "unigram 1", 64

    def __init__(self, log_p_V):
        self.log_p_V = torch.from_numpy(log_p_V).float()
        self.laid_out = 0

    def loglikelihoods(self, requests):
        totals = requests.kept("unigram", self._lay_out) @ self.log_p_V
        likeliest = int(self.log_p_V.argmax())
        return [
            Answer(float(total), set(request.continuation) == {likeliest})
            for total, request in zip(totals, requests, strict=True)
        ]

    def _lay_out(self, requests):
        self.laid_out += 1
        counts_RV = torch.zeros(len(requests), VOCAB_SIZE)
        for row, request in enumerate(requests):
            for token in request.continuation:
                counts_RV[row, token] += 1
        return counts_RV

    def log_probs(self, windows):
        for part in np.array_split(np.arange(windows.num_positions), 3):
            yield slice(part[0], part[-1] + 1), self.log_p_V.expand(len(part), -1)

    def generate(self, prompts):
        return [[int(self.log_p_V.argmax())] * prompt.max_new_tokens for prompt in prompts]


@dataclass(frozen=True, kw_only=True)
class ByFrequency(Evaluation):
    """An evaluation from outside the package: `model` is a table of frequencies."""

    def scorer(self, model, tokenizer):
        return Unigram(model)


def frequencies(tokens_NT, power=1.0):
    count = Counter(tokens_NT.ravel().tolist())
    p_V = np.array([1 + count[token] for token in range(VOCAB_SIZE)]) ** power
    return np.log(p_V / p_V.sum())


@pytest.fixture(scope="module")
def suite(task_folder, tokenizer):
    return ByFrequency(
        perplexity=perplexity_of(corpus("stories"), corpus("letters"), max_windows=6),
        zero_shot=zero_shot_of(
            task_folder, "t_choice", "t_word", "t_page", headline={"t_page": None}
        ),
        divergence=Divergence(num_tokens=100),
    ).prepare(tokenizer)


@pytest.fixture(scope="module")
def tables(suite):
    tokens_NT = np.concatenate([windows.tokens_NT for windows in suite.windows])
    return frequencies(tokens_NT), frequencies(tokens_NT, power=-0.5)


def test_another_scorer_gives_every_score(suite, tables):
    one, other = (suite.scorer(table) for table in tables)
    dense = suite.score(one, None)
    scores = suite.score(other, dense.reference).scores
    for windows in suite.windows:
        targets_P = windows.tokens_NT[:, 1:]
        assert dense.scores[f"ppl/{windows.label}"] == pytest.approx(
            math.exp(-tables[0][targets_P].mean()), rel=1e-5
        )
        kl = float(np.exp(tables[0]) @ (tables[0] - tables[1]))
        assert scores[f"kl/{windows.label}"] == pytest.approx(kl, rel=5e-3)  # float16
    totals = [
        tables[1][suite.tasks.encoder.pair(*instance.args).continuation].sum()
        for instance in suite.tasks.tasks["t_choice"].instances
    ]
    answered = [i.resps[0].log_likelihood for i in suite.tasks.tasks["t_choice"].instances]
    assert answered == pytest.approx(totals, rel=1e-5)
    assert 0 < scores["flips/t_choice"] < 1
    assert {"acc/mean", "ppl/geomean", "word_perplexity/t_page"} <= set(scores)


def test_what_a_scorer_makes_of_requests_alone_serves_the_next_model(suite, tables):
    one, other = (suite.scorer(table) for table in tables)
    suite.tasks._alone.clear()
    suite.score(one, None)
    made = one.laid_out
    assert made > 1  # tasks, and the windows of whole texts
    suite.score(other, None)
    assert (one.laid_out, other.laid_out) == (made, 0)


def test_another_scorer_describes_calibration_sets(tables, tmp_path):
    tokens_NT = np.arange(12).reshape(2, 6)
    save_set(CalibrationSet(tokens_NT=tokens_NT, lengths_N=None, samples=[], card={}), tmp_path)
    value = dense_perplexity(load_set(tmp_path), Unigram(tables[0]), {})
    assert value == pytest.approx(math.exp(-tables[0][tokens_NT[:, 1:]].mean()), rel=1e-5)


def test_both_ways_to_ask_a_model_agree(model):
    """The last tokens of a window after the first ones: by requests, and by its distributions."""
    from calib_sweep.evaluation.windows import Windows

    tokens_NT = np.random.Generator(np.random.PCG64(0)).integers(3, VOCAB_SIZE, (5, 12))
    scored_NT = np.zeros(tokens_NT.shape, dtype=bool)
    scored_NT[:, 8:] = True
    windows = Windows("x@12", tokens_NT, scored_NT)
    scorer = scorer_of(model, batch_tokens=24)
    asked = Requests(Request(row[:8].tolist(), row[8:].tolist()) for row in tokens_NT)
    log_probs_PV = torch.cat([part for _, part in scorer.log_probs(windows)])
    of_token_P = log_probs_PV.gather(1, torch.from_numpy(windows.targets())[:, None])[:, 0]
    answers = scorer.loglikelihoods(asked)
    totals = [float(part.sum()) for part in windows.by_window(of_token_P.numpy())]
    assert [a.log_likelihood for a in answers] == pytest.approx(totals, rel=1e-5)


class Forgetful(Unigram):
    """Leaves out a part of every corpus."""

    def __init__(self, log_p_V, left_out):
        super().__init__(log_p_V)
        self.left_out = left_out

    def log_probs(self, windows):
        for number, part in enumerate(super().log_probs(windows)):
            if number != self.left_out:
                yield part


@pytest.mark.parametrize(("left_out", "told"), [(1, "from "), (2, "expected all")])
def test_a_scorer_that_leaves_out_tokens_gives_no_score(suite, tables, left_out, told):
    with pytest.raises(RuntimeError, match=f"Forgetful.log_probs: .*{told}"):
        suite.score(Forgetful(tables[0], left_out), None)


@dataclass(frozen=True, kw_only=True)
class OfACopy(Evaluation):
    """Scored by an engine that takes over the weights when it is made."""

    def scorer(self, model, tokenizer):
        return super().scorer(copy.deepcopy(model), tokenizer)


def test_an_engine_that_copies_the_weights_scores_the_compressed_ones(
    run_cli, tiny_world, tmp_path
):
    command = ["method=magnitude", *tiny_world]
    copied = f"evaluation._target_={__name__}.OfACopy"
    scores = []
    for name, words in (("stock", []), ("copied", [copied])):
        ended = run_cli(*command, *words, f"sweep_name={name}", cwd=tmp_path)
        assert ended.code == 0, ended.err
        scores.append(
            {
                record["cell"]["method"]: record["scores"]
                for record in read_records(tmp_path / "results" / name)
            }
        )
    assert scores[0] == scores[1] and scores[0]["magnitude"] != scores[0]["dense"]
