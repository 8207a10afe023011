"""Ranks that share what a model is asked: each has the answers of one rank, to the last bit."""

import copy
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.ranked import ThreadRanks, in_threads
from helpers.scored import random_llama, scorer_of

from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.evaluation import set_perplexity
from calib_sweep.evaluation.corpora.corpus import score_corpus
from calib_sweep.evaluation.reference import DenseReference
from calib_sweep.evaluation.requests import Request, Requests
from calib_sweep.evaluation.scorers import engines, sharing
from calib_sweep.evaluation.scorers.scorer import scored_parts
from calib_sweep.evaluation.suite import Evaluation
from calib_sweep.evaluation.windows import Windows
from calib_sweep.model.generation import Prompt
from calib_sweep.ranks import ALONE

COUNTS = (2, 3)


def rank(index, count):
    return ThreadRanks(index=index, count=count, barrier=None, board=None)


def counting(model):
    """A copy of a model that a rank has to itself, with the tokens that go through it."""
    own, seen = copy.deepcopy(model), []
    own.model.register_forward_pre_hook(
        lambda _, __, named: seen.append(named["input_ids"].shape), with_kwargs=True
    )
    return own, seen


def asked(model, ranks, ask, engine="packed", **settings):
    """What `ask(scorer)` returns on a rank, and the shapes that went through its model."""
    own, seen = counting(model)
    scorer = engines.shared(scorer_of(own, engine=engine, **settings), ranks)
    return ask(scorer), seen


def of_ranks(count, model, ask, **settings):
    found = in_threads(count, lambda ranks: asked(model, ranks, ask, **settings))
    return [one for one, _ in found], [seen for _, seen in found]


def requests(num=30):
    """Questions of one to forty tokens, with two or three choices of one to four tokens."""
    draw = np.random.default_rng(0)
    rows, items = [], []
    for number in range(num):
        context = draw.integers(3, 300, 1 + number * 4 // 3).tolist()
        choices = [draw.integers(3, 300, n).tolist() for n in (1, 4, 2)[: 2 + number % 2]]
        items.append(list(range(len(rows), len(rows) + len(choices))))
        rows += [Request(context, one) for one in choices]
    return Requests(rows, {"short": items[:10], "long": items[10:]})


def texts(num=7):
    """Windows of 16 tokens, of the last one only some are scored."""
    tokens_NT = np.random.default_rng(1).integers(3, 300, (num, 16))
    windows = Windows.whole("text@16", tokens_NT)
    windows.scored_NT[-1, 5:] = False
    return windows


def test_the_dearest_batch_goes_to_the_rank_that_has_least_to_do():
    costs = [3, 9, 5, 4, 4, 1]  # 9, 4 and 5, 4, 3, 1
    assert [sharing.dealt(costs, rank(index, 2)) for index in (0, 1)] == [[1, 4], [0, 2, 3, 5]]
    assert [sharing.dealt([2, 2], rank(index, 3)) for index in range(3)] == [[0], [1], []]
    assert sharing.dealt(costs, ALONE) == list(range(6))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("engine", ["packed", "hflm"])
def test_answers_are_those_of_one_rank_to_the_last_bit(count, engine):
    model = random_llama()
    alone, all_shapes = asked(
        model, ALONE, lambda s: s.loglikelihoods(requests()), engine, batch_tokens=128
    )
    ask = lambda scorer: scorer.loglikelihoods(requests())  # noqa: E731
    found, seen = of_ranks(count, model, ask, engine=engine, batch_tokens=128)
    assert found == [alone] * count
    assert sorted(shape for own in seen for shape in own) == sorted(all_shapes)
    places = [sum(rows * length for rows, length in own) for own in seen]
    assert max(places) <= sum(places) / count + 128


def test_with_fewer_batches_than_ranks_some_ask_nothing():
    ask = lambda scorer: scorer.loglikelihoods(requests(3))  # noqa: E731
    found, seen = of_ranks(3, random_llama(), ask, batch_tokens=10**6)
    assert found[0] == found[1] == found[2] and len(found[0]) == 7
    assert sorted(map(len, seen)) == [0, 0, 1] or sorted(map(len, seen)) == [0, 1, 1]


def test_what_is_no_number_is_asked_again_by_all_ranks_in_step():
    model = random_llama()
    model.model.embed_tokens.weight[7] = torch.nan
    ruined = Requests([Request([5, 6], [9]), Request([5, 7], [9]), Request([8, 7, 3], [9, 3])])
    ask = lambda scorer: scorer.loglikelihoods(ruined)  # noqa: E731
    alone, shapes = asked(model, ALONE, ask, batch_tokens=1)
    found, seen = of_ranks(2, model, ask, batch_tokens=1)
    assert repr(found) == repr([alone] * 2)
    assert [np.isnan(one.log_likelihood) for one in alone] == [False, True, True]
    assert sorted(chain(*seen)) == sorted(shapes) and all(seen)


@pytest.mark.parametrize("count", COUNTS)
def test_texts_are_written_by_one_rank_each(count):
    draw = np.random.default_rng(2)
    prompts = [
        Prompt(
            draw.integers(3, 300, 3 + n).tolist(), 5, uniform_L=draw.random(5) if n % 2 else None
        )
        for n in range(9)
    ]
    ask = lambda scorer: scorer.generate(prompts)  # noqa: E731
    alone, shapes = asked(random_llama(), ALONE, ask, batch_tokens=32)
    found, seen = of_ranks(count, random_llama(), ask, batch_tokens=32)
    assert found == [alone] * count
    assert sorted(map(tuple, chain(*seen))) == sorted(map(tuple, shapes))
    assert max(map(len, seen)) < len(shapes)


def same(part, other):
    assert (part.scores, part.stderr) == (other.scores, other.stderr)
    assert repr(part.rows) == repr(other.rows)


@pytest.mark.parametrize("count", (2, 3, 9))
@pytest.mark.parametrize("num_compared", (20, 95))
def test_a_corpus_is_shared_by_windows_and_its_reference_is_made_on_the_first_rank(
    count, num_compared, other_model
):
    windows, model = texts(), random_llama()
    dense, shapes = asked(
        model, ALONE, lambda s: score_corpus(s, windows, num_compared, None), batch_tokens=32
    )
    ask = lambda scorer: score_corpus(scorer, windows, num_compared, None)  # noqa: E731
    found, seen = of_ranks(count, model, ask, batch_tokens=32)
    assert list(chain(*seen)) == shapes  # each window once, in order of ranks
    assert max(map(len, seen)) - min(map(len, seen)) <= 1
    for part in found:
        same(part, dense)
    assert torch.equal(found[0].log_probs, dense.log_probs)
    assert torch.equal(found[0].top, dense.top)
    assert all(part.log_probs is part.top is None for part in found[1:])
    reference = DenseReference(
        log_probs={"text@16": dense.log_probs}, top={"text@16": dense.top}, correct={}, hashes={}
    )
    ask = lambda scorer: score_corpus(scorer, windows, num_compared, reference)  # noqa: E731
    alone, _ = asked(other_model, ALONE, ask, batch_tokens=32)
    assert alone.scores["kl/text@16"] > 0
    for part in of_ranks(count, other_model, ask, batch_tokens=32)[0]:
        same(part, alone)


def test_a_token_that_no_rank_has_scored_is_missed():
    class Lazy:
        ranks = ALONE

        def __init__(self, ranks):
            self.ranks = ranks

        def log_probs(self, windows):
            if self.ranks.is_first:
                yield slice(0, 60), torch.zeros(60, 3)
            else:
                yield slice(61, 94), torch.zeros(33, 3)

    def ask(ranks):
        with pytest.raises(RuntimeError, match=r"all 94 scored tokens"):
            list(scored_parts(Lazy(ranks), texts()))

    in_threads(2, ask)


class Even:
    """A scorer of somebody's own, which knows of no ranks."""

    def log_probs(self, windows):
        yield slice(0, windows.num_positions), torch.zeros(windows.num_positions, 300) - 5.7


def test_a_scorer_of_somebodys_own_is_asked_everything_by_each_rank():
    def ask(ranks):
        scorer = engines.shared(Even(), ranks)
        return score_corpus(scorer, texts(), 20, None)

    for part in in_threads(2, ask):
        assert part.scores["ppl/text@16"] == pytest.approx(np.exp(5.7))
        assert part.log_probs.shape == (20, 300)


def test_a_set_is_described_by_all_ranks_and_kept_by_the_first(tmp_path, monkeypatch):
    tokens_NT = texts(5).tokens_NT
    lengths_N = np.array([16, 3, 16, 1, 8])
    kept = []
    monkeypatch.setattr(set_perplexity.atomic, "write", lambda path, _: kept.append(path))
    drawn = CalibrationSet(tokens_NT=tokens_NT, lengths_N=lengths_N, samples=[], card={})
    drawn = SimpleNamespace(
        tokens_NT=tokens_NT, lengths_N=lengths_N, folder=tmp_path, hash=drawn.hash
    )

    def ask(scorer):
        return set_perplexity.dense_perplexity(drawn, scorer, {}, scorer.ranks)

    alone, _ = asked(random_llama(), ALONE, ask, batch_tokens=16)
    found, seen = of_ranks(3, random_llama(), ask, batch_tokens=16)
    assert found == [alone] * 3 and alone > 1
    assert [len(own) for own in seen] == [1, 2, 2]
    assert len(kept) == 2  # by the one that was alone, and by the first of three
    own = in_threads(3, lambda ranks: set_perplexity.dense_perplexity(drawn, Even(), {}, ranks))
    assert own == pytest.approx([np.exp(5.7)] * 3) and len(kept) == 3


@pytest.mark.parametrize("forgets", [0, 1])
def test_a_rank_that_prepares_its_evaluation_anew_stays_in_step(forgets, tokenizer, monkeypatch):
    from helpers.scored import corpus, perplexity_of

    from calib_sweep.evaluation import suite as suite_module

    monkeypatch.setattr(suite_module, "probed", lambda scorer, *_: scorer.engine)
    perplexity = perplexity_of(corpus(), max_windows=2)
    settings = Evaluation(perplexity=perplexity, zero_shot=None, divergence=None)

    def run(ranks):
        suite, model = settings.prepare(tokenizer), random_llama()
        suite.scorer(model, None, ranks)
        if ranks.index == forgets:
            suite = settings.prepare(tokenizer)
        suite.scorer(model, None, ranks)
        return ranks.gathered([ranks.index])

    assert in_threads(2, run) == [[0, 1]] * 2


def test_a_dense_model_is_probed_on_the_first_rank_and_all_do_what_it_says(tokenizer, monkeypatch):
    from helpers.scored import corpus, perplexity_of

    from calib_sweep.evaluation import suite as suite_module

    probed = []

    def probe(scorer, *_):
        probed.append(scorer.ranks.count)
        return engines.HFLMScorer.engine

    monkeypatch.setattr(suite_module, "probed", probe)
    perplexity = perplexity_of(corpus(), max_windows=2)
    settings = Evaluation(perplexity=perplexity, zero_shot=None, divergence=None)

    def run(ranks):
        suite = settings.prepare(tokenizer)
        scorer = suite.scorer(random_llama(), None, ranks)
        return type(scorer).__name__, scorer.ranks.count

    assert in_threads(2, run) == [("HFLMScorer", 2)] * 2
    assert probed == [1]
