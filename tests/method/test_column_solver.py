"""The solver of columns: what it holds beside its weight, and the weight it hands out."""

import pytest
import torch
from helpers.random_layers import correlated_inputs, hessian_of, random_weight
from torch.profiler import ProfilerActivity, profile

from calib_sweep.method.column_solver import ColumnSolver

NUM_OUT, NUM_IN = 4096, 32
FLOAT32_BYTES = NUM_OUT * NUM_IN * 4
SMALL = 0.05  # the order and other vectors, as a share of the weight


def peak_of(action):
    """The most float32 weights' worth of tensors that `action` holds at once, and its result."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        result = action()
    events = profiled.profiler.kineto_results.events()
    changes = [(event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"]
    held = highest = 0
    for _, num_bytes in sorted(changes, key=lambda change: change[0]):
        held += num_bytes
        highest = max(highest, held)
    return highest / FLOAT32_BYTES, result


@pytest.fixture(params=[False, True], ids=["as they stand", "by activation"])
def factor(request):
    hessian = hessian_of(correlated_inputs(64, NUM_IN))
    return hessian.inverse_factor(0.01, by_activation=request.param)


def test_the_weight_is_copied_once_to_be_solved_and_is_half_as_large_when_given_back(factor):
    weight_OI = random_weight(NUM_OUT, NUM_IN)
    begun, solver = peak_of(lambda: ColumnSolver(weight_OI, factor))
    ended, half_OI = peak_of(lambda: solver.weight_OI(torch.float16))
    assert 1 <= begun <= 1 + SMALL
    assert 0.5 <= ended <= 1 + SMALL  # two half-precision copies: another order, another layout
    assert torch.equal(half_OI, weight_OI.to(torch.float16)) and half_OI.is_contiguous()
    assert torch.equal(solver.weight_OI(torch.float32), weight_OI)
