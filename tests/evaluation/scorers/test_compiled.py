"""Compiled blocks: the same scores, one program, and no trace of it in the model afterwards."""

import pytest
import torch
from helpers.fakes import tiny_model

from calib_sweep.errors import ConfigError
from calib_sweep.evaluation.scorers.compiled import compiled_blocks
from calib_sweep.model.blocks import decoder_blocks

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
