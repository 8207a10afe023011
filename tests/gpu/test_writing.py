"""What only a GPU can show of text that a model writes: half precision, keys and values in place.

pytest -m gpu -n 0
"""

import numpy as np
import pytest
import torch
from helpers.fakes import VOCAB_SIZE, tiny_model

from calib_sweep.model.likelihood import token_log_probs
from calib_sweep.model.writing import Page, Sampling, write
from calib_sweep.seeding import stream

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
PAGE = Page(
    num_tokens=96,
    start=256,
    keeps_start="text",
    ends=range(0, 200, 9),
    is_joined=True,
    vocabulary=VOCAB_SIZE,
)
RICH = Sampling(t_init=2.0, t_final=0.7, t_tokens=6, top_k=60, top_p=0.9, repetition_penalty=1.3)
UNIFORM_BT = np.stack([stream("tests/gpu/writing", i).random(96) for i in range(8)])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_batch_is_the_same_again_and_a_row_whatever_its_neighbours_say(dtype):
    model = tiny_model("llama").to("cuda", dtype)
    whole = write(model, PAGE, RICH, UNIFORM_BT)
    assert write(model, PAGE, RICH, UNIFORM_BT) == whole
    others_BT = np.concatenate([UNIFORM_BT[:3], UNIFORM_BT[:5] / 2])
    assert write(model, PAGE, RICH, others_BT)[:3] == whole[:3]
    assert all(len(row) == 96 for row in whole)


def test_in_float32_a_gpu_writes_what_a_cpu_writes():
    model = tiny_model("llama")
    expected = write(model, PAGE, RICH, UNIFORM_BT)
    assert write(model.to("cuda"), PAGE, RICH, UNIFORM_BT) == expected


def test_likelihoods_are_those_of_a_cpu():
    model, tokens_NT = tiny_model("llama"), np.arange(5 * 20).reshape(5, 20) % VOCAB_SIZE
    expected = token_log_probs(model, tokens_NT, np.array([20, 3, 9, 1, 20]))
    found = token_log_probs(model.to("cuda"), tokens_NT, np.array([20, 3, 9, 1, 20]))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
