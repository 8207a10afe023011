"""Every method behind a rotation, with quantised inputs and products at run time, and without."""

import pytest
import torch
from helpers.fakes import random_tokens
from helpers.rotated import lively, rotation
from helpers.shipped import METHODS
from hydra.utils import instantiate
from omegaconf import OmegaConf

from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.method.structured import StructuredMethod
from calib_sweep.method.whole_model import WholeModelMethod
from calib_sweep.places import CONF

INT8 = instantiate(OmegaConf.load(CONF / "activations" / "int8.yaml"))
TOKENS = random_tokens(4, 24)
WHOLE = StructuredMethod | WholeModelMethod
WALKED = {name: method for name, method in METHODS.items() if not isinstance(method, WHOLE)}
# Those that differ in what they do with inputs: none, Hessians, scales that move, a dense stream.
ALWAYS = ("rtn", "gptq", "awq", "smoothquant", "gptaq")
CASES = [
    pytest.param(name, marks=() if name in ALWAYS else pytest.mark.slow)
    for name in WALKED
    if name != "dense"
]


def rotated(is_quantized):
    model = lively("llama", hidden_size=128, intermediate_size=256)  # wide enough for groups of 128
    expected = model(TOKENS).logits
    rotation().apply(model, is_quantized=is_quantized)
    return model, expected


@pytest.mark.parametrize("is_quantized", [False, True])
@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_a_method_compresses_a_rotated_model(name, is_quantized):
    model, expected = rotated(is_quantized)
    activations = INT8 if is_quantized else None
    reports = compress(model, WALKED[name], TOKENS, activations=activations)
    assert len(reports) == 14
    assert {r.input_quantizer for r in reports} == {"int8 dynamic" if is_quantized else None}
    found = model(TOKENS).logits
    # Of random weights all count: with half of them gone the model is far from what it was.
    alike = torch.nn.functional.cosine_similarity(found.flatten(), expected.flatten(), dim=0)
    assert (0.2 if hasattr(WALKED[name], "sparsity") else 0.7) < float(alike) < 1


@pytest.mark.parametrize("name", [name for name, m in METHODS.items() if isinstance(m, WHOLE)])
def test_methods_that_see_more_than_layers_are_refused_behind_products_alone(name):
    rotation().check_method(METHODS[name], is_quantized=False)
    rotation(online=False).check_method(METHODS[name], is_quantized=True)
    with pytest.raises(ConfigError, match=r"expected false with .*Type rotation\.online=false"):
        rotation().check_method(METHODS[name], is_quantized=True)
