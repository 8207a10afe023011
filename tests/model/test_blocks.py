"""Where architectures keep their blocks, and how a linear layer is read and written."""

import pytest
import torch
from helpers.fakes import ARCHITECTURES, tiny_model
from torch import nn
from transformers.pytorch_utils import Conv1D

from calib_sweep.errors import ConfigError
from calib_sweep.model.blocks import LinearLayer, decoder_blocks, linear_layers


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "falcon"])
def test_weights_are_out_by_in_whichever_way_they_are_stored(architecture):
    for layer in linear_layers(decoder_blocks(tiny_model(architecture))[0]).values():
        weight = layer.weight_OI()
        inputs = torch.randn(3, weight.shape[1], generator=torch.Generator().manual_seed(0))
        bias = layer.module.bias
        expected = inputs @ weight.T + (0 if bias is None else bias)
        torch.testing.assert_close(layer.module(inputs), expected)


@pytest.mark.parametrize("module", [nn.Linear(3, 5), Conv1D(5, 3)])
def test_a_set_weight_is_read_back_in_the_same_memory(module):
    layer = LinearLayer(module)
    address, new = module.weight.data_ptr(), torch.arange(15.0).reshape(5, 3)
    layer.set_weight_OI(new)
    assert torch.equal(layer.weight_OI(), new) and module.weight.data_ptr() == address
    with pytest.raises(AssertionError):
        layer.set_weight_OI(new.T)


def test_an_unknown_architecture_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"model=Linear.*model\.layers \(LLaMA.*blocks\.py"):
        decoder_blocks(nn.Linear(2, 2))


def test_what_may_hold_its_weight_in_another_form_is_refused():
    class Packed(nn.Linear):
        pass

    with pytest.raises(ConfigError, match=r"1 is a Packed\. Merge adapters"):
        linear_layers(nn.Sequential(nn.Linear(2, 2), Packed(2, 2)))
