"""Samples are what one text at a time, without a cache, token by token, would be."""

from dataclasses import replace
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.fakes import ARCHITECTURES, TINY, VOCAB_SIZE, tiny_model

from calib_sweep.model.steps import BucketedSteps, fits_buckets
from calib_sweep.model.writing import Page, Sampling, draw, rows_at_once, write
from calib_sweep.seeding import stream

T = 28
START, ENDS = 256, list(range(0, 200, 9))  # a text has a dozen tokens or so
PAGE = Page(
    num_tokens=T, start=START, keeps_start="text", ends=ENDS, is_joined=True, vocabulary=VOCAB_SIZE
)
PLAIN = Sampling(
    t_init=1.0, t_final=1.0, t_tokens=0, top_k=None, top_p=None, repetition_penalty=1.0
)
RICH = Sampling(t_init=2.0, t_final=0.5, t_tokens=6, top_k=60, top_p=0.9, repetition_penalty=1.3)
UNIFORM_BT = np.stack([stream("tests/writing", i).random(T) for i in range(3)])


def slow_draw(logits_V, context, num_before, number, sampling, barred):
    """Choose one token by numpy, in float64."""
    scores_V = logits_V.astype(np.float64).copy()
    for token in set(context):
        penalty = sampling.repetition_penalty
        scores_V[token] = (
            scores_V[token] / penalty if scores_V[token] > 0 else (scores_V[token] * penalty)
        )
    scores_V[barred] = -np.inf
    temperature = sampling.t_final
    if num_before < sampling.t_tokens:
        step = (sampling.t_final - sampling.t_init) / sampling.t_tokens
        temperature = sampling.t_init + num_before * step
    if temperature == 0:
        return int(scores_V.argmax())
    scores_V = scores_V / temperature
    order = np.argsort(-scores_V)[: sampling.top_k]
    p = np.exp(scores_V[order] - scores_V[order[0]])
    p /= p.sum()
    if sampling.top_p is not None:
        num = int(np.searchsorted(np.cumsum(p), sampling.top_p)) + 1
        order, p = order[:num], p[:num] / p[:num].sum()
    by_id = np.argsort(order)
    ends = np.cumsum(p[by_id])
    return int(order[by_id][np.searchsorted(ends, number * ends[-1], side="right")])


@torch.no_grad()
def slow_sample(model, page, sampling, uniform_T, prefixes=()):
    """Write one sample: each text alone, the whole text through the model for every token."""
    sample, num_drawn, num_texts = [], 0, 0
    firsts = page.first
    barred_first = (
        [i for i in range(page.vocabulary) if i in page.ends]
        if firsts is None
        else [i for i in range(page.vocabulary) if i not in firsts]
    )
    while len(sample) < page.num_tokens and (page.is_joined or not num_texts):
        keeps = page.keeps_start == "text" or (page.keeps_start == "sample" and not num_texts)
        prefix = list(prefixes[num_texts % len(prefixes)]) if prefixes else []
        text = [page.start, *prefix]
        num_before = 0
        while text[-1] not in page.ends or not num_before:
            if len(sample) + len(text) - (not keeps) >= page.num_tokens:
                break
            logits_V = model(input_ids=torch.tensor([text])).logits[0, -1].numpy()
            barred = barred_first if len(text) == 1 else []
            barred = [*barred, page.start]  # which ends no text here
            number = uniform_T[num_drawn]
            chosen = slow_draw(
                logits_V[: page.vocabulary], text, num_before, number, sampling, barred
            )
            text.append(chosen)
            num_drawn, num_before = num_drawn + 1, num_before + 1
        sample += text if keeps else text[1:]
        num_texts += 1
    return sample[: page.num_tokens]


def slow(model, page, sampling, uniform_BT=UNIFORM_BT, prefixes=None):
    own = prefixes or [()] * len(uniform_BT)
    pairs = zip(uniform_BT, own, strict=True)
    return [slow_sample(model, page, sampling, row, one) for row, one in pairs]


def in_buckets(size):
    return partial(BucketedSteps, bucket=size)


USUAL = {*ARCHITECTURES, "bloom", "gemma3_text", "mixtral"}


@pytest.mark.parametrize(
    "architecture",
    [one if one in USUAL else pytest.param(one, marks=pytest.mark.slow) for one in TINY],
)
def test_samples_are_those_of_one_text_at_a_time_without_a_cache(architecture):
    model = tiny_model(architecture)
    page = replace(PAGE, keeps_start="none")
    expected = slow(model, page, PLAIN)
    found = write(model, page, PLAIN, UNIFORM_BT)
    assert found == expected
    if fits_buckets(model):
        assert write(model, page, PLAIN, UNIFORM_BT, steps=in_buckets(8)) == expected
    assert sum(token in ENDS for row in found for token in row) >= 2
    assert all(len(row) == T for row in found)


PREFIXES = [[[5, 6], [7]], [[8, 0, 9]], [[1, 2], [START, 4], [5, 6]]]


@pytest.mark.parametrize("keeps_start", ["text", "sample", "none"])
@pytest.mark.parametrize("prefixes", [None, PREFIXES])
def test_every_setting_of_sampling_together(keeps_start, prefixes):
    model, page = tiny_model("llama"), replace(PAGE, keeps_start=keeps_start)
    expected = slow(model, page, RICH, prefixes=prefixes)
    assert write(model, page, RICH, UNIFORM_BT, prefixes) == expected
    for size in (1, 5, 256):
        assert write(model, page, RICH, UNIFORM_BT, prefixes, in_buckets(size)) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"t_init": 0.0, "t_final": 1.0, "t_tokens": 3},
        {"t_init": 0.5, "t_final": 0.0, "t_tokens": 8},
        {"top_k": 3},
        {"top_p": 0.3},
        {"repetition_penalty": 3.0},
        {"repetition_penalty": 0.5},
    ],
)
def test_each_setting_of_sampling_alone(changes):
    model, sampling = tiny_model("llama"), replace(PLAIN, **changes)
    found = write(model, PAGE, sampling, UNIFORM_BT)
    assert found == slow(model, PAGE, sampling)
    assert found != write(model, PAGE, PLAIN, UNIFORM_BT)


def test_rows_do_not_depend_on_each_other():
    model = tiny_model("mistral")
    whole = write(model, PAGE, RICH, UNIFORM_BT)
    alone = [write(model, PAGE, RICH, UNIFORM_BT[i : i + 1])[0] for i in range(3)]
    assert whole == alone
    assert write(model, PAGE, RICH, UNIFORM_BT[::-1].copy()) == whole[::-1]


def test_one_text_alone_ends_where_it_ends():
    model, page = tiny_model("llama"), replace(PAGE, is_joined=False)
    found = write(model, page, PLAIN, UNIFORM_BT)
    assert found == slow(model, page, PLAIN)
    assert write(model, page, PLAIN, UNIFORM_BT, steps=in_buckets(10)) == found
    assert min(map(len, found)) < T
    assert all(row[-1] in ENDS or len(row) == T for row in found)


def test_a_text_that_never_ends_fills_the_sample():
    found = write(tiny_model("llama"), replace(PAGE, ends=[]), PLAIN, UNIFORM_BT)
    assert found == slow(tiny_model("llama"), replace(PAGE, ends=[]), PLAIN)
    assert all(len(row) == T for row in found)


class Constant:
    """A model that says the same whatever stands before."""

    device = torch.device("cpu")

    def __init__(self, logits_V):
        self.logits_V, self.config = torch.tensor(logits_V), tiny_model("llama").config

    def forward(self, input_ids, attention_mask, position_ids, past_key_values, use_cache):
        return SimpleNamespace(logits=self.logits_V.expand(len(input_ids), 1, -1))

    __call__ = forward


def test_texts_that_end_at_once_have_a_token_each_by_hand():
    """The end, token 2, is nearly sure; a text must not begin with it, so 1 comes first."""
    page = Page(num_tokens=7, start=0, keeps_start="text", ends=[2], is_joined=True, vocabulary=3)
    model = Constant([-50.0, 0.0, 9.0])
    assert write(model, page, PLAIN, np.full((2, 7), 0.5)) == [[0, 1, 2, 0, 1, 2, 0]] * 2
    bare = replace(page, keeps_start="none")
    assert write(model, bare, PLAIN, np.full((1, 7), 0.5)) == [[1, 2, 1, 2, 1, 2, 1]]
    once = replace(page, keeps_start="sample")
    assert write(model, once, PLAIN, np.full((1, 7), 0.5)) == [[0, 1, 2, 1, 2, 1, 2]]


def test_only_tokens_that_the_tokenizer_knows_are_drawn():
    page = Page(num_tokens=6, start=0, keeps_start="none", ends=[], is_joined=True, vocabulary=3)
    assert write(Constant([-50.0, 0.0, 0.0, 99.0]), page, PLAIN, np.full((1, 6), 0.25)) == [[1] * 6]


def test_texts_begin_with_a_token_of_the_list():
    page = replace(PAGE, first=[10, 11, 12], keeps_start="none")
    found = write(tiny_model("llama"), page, PLAIN, UNIFORM_BT)
    assert found == slow(tiny_model("llama"), page, PLAIN)
    firsts = [row[0] for row in found] + [
        after for row in found for end, after in pairwise(row) if end in ENDS
    ]
    assert set(firsts) == {10, 11, 12}


def test_a_temperature_changes_linearly_and_then_stays():
    sampling = replace(PLAIN, t_init=2.0, t_final=0.5, t_tokens=3)
    expected = [2.0, 1.5, 1.0, 0.5, 0.5, 0.5]
    assert sampling.temperature(torch.arange(6)).tolist() == pytest.approx(expected)
    assert PLAIN.temperature(torch.arange(2)).tolist() == [1.0, 1.0]


def test_tokens_are_drawn_in_their_shares_by_hand():
    """Odds 1 : 3 : 4 at t = 1; at t = 0.5 they are squared, 1 : 9 : 16."""
    score_BV = torch.tensor([[1.0, 3.0, 4.0]]).log().expand(5, 3)

    def at(temperature, *numbers, **changes):
        number_B1 = torch.tensor(numbers, dtype=torch.float64)[:, None]
        rows = score_BV[: len(numbers)]
        heat_B = torch.full((len(numbers),), temperature)
        return draw(rows, heat_B, number_B1, replace(PLAIN, **changes)).tolist()

    assert at(1.0, 0.0, 0.12, 0.13, 0.49, 0.51) == [0, 0, 1, 1, 2]
    assert at(0.5, 0.03, 0.05, 0.38, 0.41) == [0, 1, 1, 2]
    assert at(1.0, 0.0, 0.42, 0.44, top_k=2) == [1, 1, 2]
    assert at(1.0, 0.0, 0.42, 0.44, top_p=0.6) == [1, 1, 2]
    assert at(1.0, 0.0, 0.42, top_p=0.5) == [2, 2]
    assert at(0.0, 0.0, 0.9) == [2, 2]


def test_rows_at_once_are_a_power_of_two_that_the_memory_holds(monkeypatch):
    """LLaMA 7B in half precision: 512 KiB a token, 1 GiB a sample, beside 12.6 GiB of weights."""
    config = SimpleNamespace(num_hidden_layers=32, num_attention_heads=32, hidden_size=4096)
    config.get_text_config = lambda decoder: config
    weights = SimpleNamespace(nbytes=int(12.6 * 2**30), device=torch.device("cuda"))
    model = SimpleNamespace(
        device=torch.device("cuda"),
        dtype=torch.float16,
        config=config,
        parameters=lambda: [weights],
    )
    found = []
    for gib in (141, 80, 24, 13):
        device = SimpleNamespace(total_memory=gib * 2**30)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _, d=device: d)
        found.append(rows_at_once(model, 2048))
    assert found == [64, 32, 4, 1]  # 77, 40.4, 6.8 and 0.2 samples
    assert rows_at_once(tiny_model("llama"), 2048) == 32
