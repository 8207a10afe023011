"""Scorers with quantised inputs: what is asked is asked of q(x), token by token.

A last digit that another batch moves can move an input to the next step of its grid: answers are
near each other, not equal but for rounding.
"""

import numpy as np
import pytest
import torch
from helpers.fakes import byte_tokenizer, random_tokens
from helpers.scored import random_llama
from hydra.utils import instantiate
from omegaconf import OmegaConf

from calib_sweep.compression.walk import compress
from calib_sweep.evaluation.requests import Request, Requests
from calib_sweep.evaluation.scorers.compiled import compiled_blocks
from calib_sweep.evaluation.scorers.hflm import HFLMScorer
from calib_sweep.evaluation.scorers.packed import PackedScorer
from calib_sweep.method.dense import Dense
from calib_sweep.model.blocks import decoder_blocks, linear_layers
from calib_sweep.model.generation import Prompt, generate
from calib_sweep.places import CONF

NAMES = ("int8", "int4", "fp8", "nvfp4", "mxfp4")
TOKENS = random_tokens(4, 24)
NEAR = 0.05  # of a log-likelihood: what a step of a grid here and there makes of it


def activations(name):
    return instantiate(OmegaConf.load(CONF / "activations" / f"{name}.yaml"))


@pytest.fixture(scope="module", params=NAMES)
def models(request):
    """A model with quantised inputs, and one in which every layer was told so by hand."""
    model, by_hand = random_llama(), random_llama()
    compress(model, Dense(), TOKENS, activations=activations(request.param))
    for block, told in zip(decoder_blocks(model), decoder_blocks(by_hand), strict=True):
        for name, layer in linear_layers(told).items():
            (hook,) = linear_layers(block)[name].module._forward_pre_hooks.values()
            forward, quantizer = layer.module.forward, hook.quantizer.quantizer
            layer.module.forward = lambda x, f=forward, q=quantizer: f(q(x))
    return model, by_hand


def questions(num=12):
    draw = np.random.default_rng(0)
    rows = []
    for _ in range(num):
        context = draw.integers(3, 300, 9).tolist()
        rows += [Request(context, draw.integers(3, 300, n).tolist()) for n in (1, 3)]
    return Requests(rows, {"t": [[2 * i, 2 * i + 1] for i in range(num)]})


def answers(scorer):
    scorer._context_length = 64
    return [answer.log_likelihood for answer in scorer.loglikelihoods(questions())]


def plain(model):
    found = []
    for context, continuation in questions():
        with torch.inference_mode():
            logits = model(torch.tensor([context + continuation[:-1]])).logits[0]
        targets = torch.tensor(continuation).unsqueeze(1)
        scores = logits[len(context) - 1 :].log_softmax(-1).gather(1, targets)
        found.append(float(scores.sum()))
    return found


def test_packed_rows_and_batches_of_lm_evals_are_scored_on_quantised_inputs(models):
    model, by_hand = models
    expected, dense = plain(by_hand), plain(random_llama())
    assert plain(model) == expected
    moved = np.abs(np.subtract(expected, dense)).mean()
    packed = PackedScorer(model, None, batch_tokens=None, window_tokens=None)
    hflm = HFLMScorer(model, byte_tokenizer(), batch_tokens=100, window_tokens=100)
    for scorer in (packed, hflm):
        away = np.abs(np.subtract(answers(scorer), expected))
        assert away.mean() < NEAR and away.mean() < 0.2 * moved


def test_text_is_written_on_quantised_inputs(models):
    model, by_hand = models
    asked = [Prompt([3, 4, 5, 6], 8), Prompt([7, 8, 9], 8)]
    written = [generate(m, byte_tokenizer(), asked, 100) for m in (model, by_hand)]
    assert written[0] == written[1] and len(written[0][0]) == 8


def test_compiled_blocks_quantise_inputs(models, monkeypatch):
    """Traced, not made into machine code: that takes half a minute of a C++ compiler."""
    compiled = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module,
        "compile",
        lambda self, **how: compiled(self, backend="eager", fullgraph=True, **how),
    )
    torch._dynamo.reset()
    model, _ = models
    for enter in (torch.inference_mode, torch.no_grad):
        with enter():
            expected = model(input_ids=TOKENS, use_cache=False).logits
            with compiled_blocks(model):
                found = model(input_ids=TOKENS, use_cache=False).logits
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
