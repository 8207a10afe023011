"""The fingerprint of weights: what it is by hand, and that every bit of a model moves it."""

import copy
import hashlib
import struct

import pytest
import torch
from helpers.fakes import tiny_model
from torch import nn

from calib_sweep.model import fingerprint
from calib_sweep.model.fingerprint import weights_fingerprint, word_sum

CPU, MASK = torch.device("cpu"), 2**64 - 1


def by_hand(tensor):
    """SplitMix64's last step over eight bytes at a time, in Python's own integers."""
    content = tensor.contiguous().view(torch.uint8).numpy().tobytes()
    content += bytes(-len(content) % 8)
    total = 0
    for place, (word,) in enumerate(struct.iter_unpack("<Q", content), start=1):
        x = (word + place * 0x9E3779B97F4A7C15) & MASK
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
        total += x ^ (x >> 31)
    return total & MASK


@pytest.mark.parametrize("at_once", [1, 4, 2**20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 5), (1,), (8, 4), (0,)])
def test_the_sum_of_a_tensor_is_the_one_worked_out_by_hand(monkeypatch, at_once, dtype, shape):
    monkeypatch.setattr(fingerprint, "AT_ONCE", at_once)
    numbers = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    for tensor in (numbers, numbers.T if len(shape) == 2 else numbers, numbers[1:]):
        assert word_sum(tensor, CPU).item() & MASK == by_hand(tensor)


def test_the_first_output_of_the_published_generator():
    """SplitMix64 seeded with 0 gives 0xE220A8397B1DCDAF: its state is then one step."""
    assert word_sum(torch.zeros(2), CPU).item() & MASK == 0xE220A8397B1DCDAF


def test_a_fingerprint_holds_name_type_shape_and_sum_of_each_parameter():
    module = nn.Linear(3, 2, bias=False)
    line = f"weight torch.float32 [2, 3] {by_hand(module.weight.detach())}\n"
    expected = hashlib.sha256(line.encode()).hexdigest()[:32]
    assert weights_fingerprint(module) == expected


def test_every_weight_moves_it_and_their_order_does():
    model = tiny_model()
    before = weights_fingerprint(model)
    assert before == weights_fingerprint(copy.deepcopy(model))
    found = {before}
    parameters = list(model.parameters())
    for parameter in parameters:
        own = parameter.detach().clone()
        for change in (
            lambda p: p.view(-1)[-1:].nextafter_(torch.tensor(9.0)),  # one bit
            lambda p: p.copy_(p.flip(0)),
            lambda p: p.zero_(),
            lambda p: p.mul_(0).neg_(),  # -0.0 is another weight
        ):
            with torch.no_grad():
                change(parameter)
                is_other = not torch.equal(parameter.view(torch.uint8), own.view(torch.uint8))
                found.add(weights_fingerprint(model)) if is_other else None
                parameter.copy_(own)
    assert weights_fingerprint(model) == before
    assert len(found) > 3 * len(parameters)  # a vector of ones flipped is itself
