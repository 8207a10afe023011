"""What a GPU records of a step is the same for every step of a bucket."""

from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch
from helpers.fakes import TINY, VOCAB_SIZE, tiny_model
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from calib_sweep.model import steps as module
from calib_sweep.model.steps import (
    RECORDED,
    BucketedSteps,
    GrowingSteps,
    can_be_recorded,
    fits_buckets,
    steps_of,
)
from calib_sweep.model.writing import Page, Sampling, write
from calib_sweep.seeding import stream

WINDOWS = {"mistral", "qwen2", "gemma2", "gemma3_text", "gpt_oss"}  # of the tiny ones
# What makes the host wait for a GPU, or brings it a number that will be another the next time.
LOOKS = ("_local_scalar_dense", "nonzero", "equal", "_unique", "masked_select", "lift_fresh")
UNIFORM_BT = np.stack([stream("tests/steps", i).random(28) for i in range(3)])


class Tape(TorchDispatchMode):
    """Every operation of a context, and the tensors it reads and makes."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        self.operations.append((function, args, kwargs or {}, made))
        return made


class TapedRecording:
    """What `Recording` is on a GPU: the same operations on the same tensors, no Python between."""

    made = 0

    def __init__(self, function, arguments):
        TapedRecording.made += 1
        self.arguments = [one.clone() for one in arguments]
        with Tape() as self.tape:
            self.results = function(*self.arguments)

    def replay(self, arguments):
        for own, given in zip(self.arguments, arguments, strict=True):
            own.copy_(given)
        for function, args, kwargs, made in self.tape.operations:
            again = function(*args, **kwargs)
            for kept, new in zip(tree_leaves(made), tree_leaves(again), strict=True):
                if isinstance(kept, torch.Tensor) and kept.data_ptr() != new.data_ptr():
                    kept.copy_(new)
        return self.results


def recorded(model, num_tokens, size):
    ask = BucketedSteps(model, num_tokens, bucket=size)
    ask.records = True
    return ask


PAGE = Page(
    num_tokens=28,
    start=256,
    keeps_start="none",  # so that a row takes more steps than it has tokens
    ends=range(0, 200, 9),
    is_joined=True,
    vocabulary=VOCAB_SIZE,
)
RICH = Sampling(t_init=2.0, t_final=0.5, t_tokens=6, top_k=60, top_p=0.9, repetition_penalty=1.3)
OF_TINY = sorted(set(RECORDED) & set(TINY) - WINDOWS)


@pytest.mark.parametrize("architecture", OF_TINY)
def test_a_replayed_step_gives_what_a_growing_one_does(architecture, monkeypatch):
    monkeypatch.setattr(module, "Recording", TapedRecording)
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    monkeypatch.setattr(TapedRecording, "made", 0)
    model = tiny_model(architecture)
    found = write(model, PAGE, RICH, UNIFORM_BT, steps=partial(recorded, size=8))
    assert found == write(model, PAGE, RICH, UNIFORM_BT, steps=GrowingSteps)
    # To 8, 16, 24, 28 as long as the sample is, 32 behind it, and where texts are short, more.
    assert TapedRecording.made >= 5


@pytest.mark.parametrize("architecture", OF_TINY)
def test_steps_of_a_bucket_look_at_no_value_and_run_the_same(architecture):
    model = tiny_model(architecture)
    assert can_be_recorded(model)
    with torch.inference_mode():
        ask = BucketedSteps(model, 28, bucket=8)
        run = []
        for step in range(4):
            one_B1 = torch.full((2, 1), step)
            with Tape() as tape:
                ask(one_B1, torch.ones(2, step + 1, dtype=torch.long), one_B1)
            run.append([(one[0], _shapes(one[1])) for one in tape.operations])
    names = [str(function) for function, _ in run[3]]
    assert not [name for name in names if any(look in name for look in LOOKS)]
    # The pad before the model differs; what a bucket's first step sets up, too.
    begin = names.index("aten.embedding.default")
    assert run[3][begin:] == run[2][begin:] and len(run[3]) - begin > 40


def _shapes(arguments):
    return [one.shape for one in tree_leaves(arguments) if isinstance(one, torch.Tensor)]


def test_windows_and_models_that_count_places_themselves_do_without():
    unfit = {name for name in TINY if not fits_buckets(tiny_model(name))}
    assert unfit == (WINDOWS & set(TINY)) | {"bloom"}
    assert fits_buckets(tiny_model("mistral", sliding_window=None))


def test_recorded_is_what_is_known_and_on_one_device():
    assert can_be_recorded(tiny_model("mistral", sliding_window=None))
    assert not can_be_recorded(tiny_model("mixtral"))  # its experts are looked up
    assert not can_be_recorded(tiny_model("mistral"))
    model = tiny_model("llama")
    model.model.rotary_emb.rope_type = "dynamic"  # frequencies that the host looks at
    assert not can_be_recorded(model)
    eager = tiny_model("llama")
    eager.config._attn_implementation = "eager"
    assert not can_be_recorded(eager)
    away = tiny_model("llama")
    away.model.layers[1].to("meta")
    assert not can_be_recorded(away)
    assert isinstance(steps_of(tiny_model("llama"), 8), GrowingSteps)  # on a CPU
