"""Compiled blocks: the same scores, one program, and no trace of it in the model afterwards."""

from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch
from helpers.fakes import tiny_model

from calib_sweep.errors import ConfigError
from calib_sweep.evaluation.requests import Request, Requests
from calib_sweep.evaluation.scorers import in_memory
from calib_sweep.evaluation.scorers.compiled import compiled_blocks
from calib_sweep.evaluation.scorers.packed import PackedScorer
from calib_sweep.evaluation.windows import Windows
from calib_sweep.model.blocks import decoder_blocks
from calib_sweep.model.input_quantizer import set_input_quantizer

TOKENS = torch.arange(64).reshape(2, 32) % 50


def logits(model):
    with torch.inference_mode():
        return model(input_ids=TOKENS, use_cache=False).logits


def num_programs():
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


@pytest.mark.slow  # half a minute of a C++ compiler
def test_one_program_serves_all_blocks_and_goes_on_when_weights_change():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    model = tiny_model()
    expected = logits(model)
    with compiled_blocks(model):
        found = logits(model)
    assert torch.allclose(found, expected, atol=1e-5)
    assert num_programs() == 1 and len(decoder_blocks(model)) > 1

    with torch.no_grad():
        for parameter in decoder_blocks(model).parameters():
            parameter.mul_(0.5)
    changed = logits(model)
    assert not torch.allclose(changed, expected, atol=1e-2)
    with compiled_blocks(model):
        assert torch.allclose(logits(model), changed, atol=1e-5)
    assert num_programs() == 1


def test_inputs_that_are_quantised_since_a_program_was_made_are_quantised(monkeypatch):
    """dynamo does not look at hooks by itself: it would go on with the program of the dense one."""
    compiled = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self, **how: compiled(self, backend="eager", **how)
    )
    torch._dynamo.reset()
    model = tiny_model()
    layers, values = [block.mlp.down_proj for block in decoder_blocks(model)], []
    for steps in (None, [1.0, 1.0], [0.25, 0.25], [1.0, None], [None, 1.0], None):
        for layer, step in zip(layers, steps or [None, None], strict=True):
            quantizer = None if step is None else partial(rounded, step=step)
            set_input_quantizer(layer, quantizer)
        expected = logits(model)
        with compiled_blocks(model):
            assert torch.allclose(logits(model), expected, atol=1e-5)
        values.append(float(expected.sum()))
    assert values[0] == values[-1] and len(set(values)) == 5


def rounded(hidden, step):
    return (hidden / step).round() * step


def test_a_model_is_left_as_it_was(monkeypatch):
    monkeypatch.setattr(
        torch.nn.Module,
        "compile",
        lambda self, **_: setattr(self, "_compiled_call_impl", self._call_impl),
    )
    model, seen = tiny_model(), []
    with pytest.raises(KeyError), compiled_blocks(model):
        assert all(block._compiled_call_impl is not None for block in decoder_blocks(model))
        raise KeyError("whatever")
    assert all(block._compiled_call_impl is None for block in decoder_blocks(model))
    layer = decoder_blocks(model)[0].mlp.down_proj
    layer.register_forward_pre_hook(lambda *_: seen.append(1))
    logits(model)
    assert seen == [1]


def test_a_machine_without_a_compiler_is_told_to_do_without():
    error = torch._inductor.exc.InductorError(RuntimeError("no C++ compiler"), None)
    told = r"evaluation\.compile=true.*no C\+\+.*compile=false"
    with pytest.raises(ConfigError, match=told), compiled_blocks(tiny_model()):
        raise error


def test_batches_have_one_shape_where_blocks_are_compiled(monkeypatch):
    """A last batch of another shape would need a program of its own."""
    monkeypatch.setattr(in_memory, "compiled_blocks", lambda model: nullcontext())
    model, shapes = tiny_model(), []
    model.register_forward_pre_hook(
        lambda _model, _, inputs: shapes.append(tuple(inputs["input_ids"].shape)), with_kwargs=True
    )
    requests = Requests(Request([n, *range(2, 40)], [n]) for n in range(3, 43))
    windows = Windows.whole("w", np.arange(7 * 16).reshape(7, 16) % 50)
    found, parts = [], []
    for is_compiled in (False, True):
        scorer = PackedScorer(
            model, None, batch_tokens=768, window_tokens=48, is_compiled=is_compiled
        )
        scorer._context_length = 64
        found.append(scorer.loglikelihoods(requests))
        parts.append(torch.cat([part for _, part in scorer.log_probs(windows)]))
        ours, shapes[:] = set(shapes), []
        assert len(ours) == (2 if is_compiled else 4)
    assert [a.is_greedy for a in found[0]] == [a.is_greedy for a in found[1]]
    assert np.allclose([a[0] for a in found[0]], [a[0] for a in found[1]], atol=1e-5)
    assert torch.allclose(*parts, atol=1e-5)
