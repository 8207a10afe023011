"""Rotation on a GPU: the same model, also with blocks that wait in host memory.

pytest -m gpu -n 0
"""

import copy

import pytest
import torch
from helpers.fakes import random_tokens
from helpers.rotated import lively, rotation

from calib_sweep.model.placement import offload

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
TOKENS = random_tokens(4, 100)


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("is_quantized", [False, True])
@pytest.mark.parametrize("matrix", ["hadamard", "random"])
@torch.no_grad()
def test_weights_are_those_of_a_cpu_and_logits_those_of_the_dense_model(
    matrix, is_quantized, waits
):
    on_cpu = lively("llama", tie_word_embeddings=True)
    expected, model = on_cpu(TOKENS).logits, copy.deepcopy(on_cpu)
    if waits:
        offload(model, torch.device("cuda"))
    else:
        model.to("cuda")
    undo = rotation(matrix).apply(model, is_quantized=is_quantized)
    rotation(matrix).apply(on_cpu, is_quantized=is_quantized)
    torch.testing.assert_close(model(TOKENS.to("cuda")).logits.cpu(), expected, rtol=0, atol=5e-5)
    for (name, one), other in zip(on_cpu.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(other.cpu(), one, rtol=1e-6, atol=1e-7, msg=name)
    undo()
    assert model.lm_head.weight is model.model.embed_tokens.weight
