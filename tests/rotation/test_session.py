"""What a worker keeps between cells: a rotated model is the dense one again for the next cell."""

import copy
from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from helpers.fakes import random_tokens
from helpers.rotated import lively, rotation
from helpers.shipped import METHODS

from calib_sweep.compression.walk import compress
from calib_sweep.session import Session

RTN = replace(METHODS["rtn"], bits=4, group_size=None)
TOKENS = random_tokens(2, 12)


@dataclass(frozen=True)
class Part:
    """A model with embeddings of both kinds."""

    is_tied: bool

    def load(self):
        return lively("llama", tie_word_embeddings=self.is_tied)


@pytest.mark.parametrize("is_quantized", [False, True])
@pytest.mark.parametrize("is_tied", [False, True])
@torch.no_grad()
def test_a_cell_without_rotation_gets_the_dense_model_to_the_last_bit(is_tied, is_quantized):
    session, part = Session(), Part(is_tied)
    model = session.model(part, None)
    before, expected = copy.deepcopy(model.state_dict()), model(TOKENS).logits
    names = [name for name, _ in model.named_parameters()]
    turned = []
    for seed in (0, 0, 1):  # from one rotation to the next without a dense cell between
        prepare = partial(rotation(seed=seed).apply, is_quantized=is_quantized)
        assert session.model(part, None, prepare) is model
        turned.append(model.lm_head.weight.clone())
        compress(model, RTN, None)
    assert torch.equal(turned[0], turned[1]) and not torch.equal(turned[1], turned[2])
    assert session.model(part, None) is model
    assert all(torch.equal(new, before[name]) for name, new in model.state_dict().items())
    assert torch.equal(model(TOKENS).logits, expected)
    assert [name for name, _ in model.named_parameters()] == names


def test_another_model_is_not_undone_by_what_undoes_the_first():
    session = Session()
    session.model(Part(True), None, partial(rotation().apply, is_quantized=False))
    model = session.model(Part(False), None)
    assert model.lm_head.weight is not model.model.embed_tokens.weight
