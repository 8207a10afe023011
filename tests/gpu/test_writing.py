"""What only a GPU can show of text that a model writes: half precision, keys and values in place.

pytest -m gpu -n 0
"""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from helpers.fakes import TINY, VOCAB_SIZE, tiny_model

from calib_sweep.model.likelihood import token_log_probs
from calib_sweep.model.steps import (
    RECORDED,
    BucketedSteps,
    GrowingSteps,
    can_be_recorded,
    steps_of,
)
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


@pytest.mark.parametrize("architecture", sorted(set(RECORDED) & set(TINY)))
def test_recorded_steps_write_what_launched_ones_do(architecture):
    model = tiny_model(architecture).to("cuda")
    if not can_be_recorded(model):
        pytest.skip("the tiny one has windows")
    for keeps_start in ("text", "none"):  # the latter takes more steps than there are tokens
        page = replace(PAGE, keeps_start=keeps_start)
        found = write(model, page, RICH, UNIFORM_BT, steps=partial(BucketedSteps, bucket=16))
        assert found == write(model, page, RICH, UNIFORM_BT, steps=GrowingSteps)
        launched = partial(BucketedSteps, bucket=16, records=False)
        assert found == write(model, page, RICH, UNIFORM_BT, steps=launched)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_half_precision_a_recorded_step_gives_the_bits_of_a_launched_one(dtype):
    model = tiny_model("llama").to("cuda", dtype)
    assert isinstance(steps_of(model, 96), BucketedSteps)
    recorded = write(model, PAGE, RICH, UNIFORM_BT)
    assert recorded == write(
        model, PAGE, RICH, UNIFORM_BT, steps=partial(BucketedSteps, records=False)
    )


def test_nothing_is_kept_of_what_was_recorded():
    model = tiny_model("llama").to("cuda")
    write(model, PAGE, RICH, UNIFORM_BT)  # libraries keep what they work in
    torch.cuda.empty_cache()
    allocated, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    for _ in range(3):
        write(model, PAGE, RICH, UNIFORM_BT)
    torch.cuda.empty_cache()
    assert torch.cuda.memory_allocated() == allocated
    assert torch.cuda.memory_reserved() <= reserved


def test_likelihoods_are_those_of_a_cpu():
    model, tokens_NT = tiny_model("llama"), np.arange(5 * 20).reshape(5, 20) % VOCAB_SIZE
    expected = token_log_probs(model, tokens_NT, np.array([20, 3, 9, 1, 20]))
    found = token_log_probs(model.to("cuda"), tokens_NT, np.array([20, 3, 9, 1, 20]))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
