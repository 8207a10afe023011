"""What would make a sweep slow is said before it starts."""

import pytest
import torch

from calib_sweep.parts.building import Builder
from calib_sweep.sweep import hints


@pytest.mark.parametrize(
    ("num_weights", "num_threads", "threads", "on_gpu", "is_told"),
    [
        (1_000_000, None, 4, False, True),
        (1_000_000, 2, 4, False, False),  # somebody has decided
        (1_000_000, None, 1, False, False),
        (1_000_000_000, None, 4, False, False),
        (None, None, 4, False, False),  # a model that is not here
        (1_000_000, None, 4, True, False),
    ],
)
def test_a_small_model_on_several_threads_of_a_cpu_is_told(
    num_weights, num_threads, threads, on_gpu, is_told, make_cell, monkeypatch
):
    monkeypatch.setattr(hints, "num_weights", lambda *_: num_weights)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: on_gpu)
    model = {"name": "tiny", "path": "tiny", "device": "auto"}
    told = hints.thread_hint(Builder(), [make_cell(model=model, num_threads=num_threads)])
    assert (told is not None) == is_told
    assert told is None or "num_threads=1" in told
