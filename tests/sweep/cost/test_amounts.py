"""Amounts of work by hand, and beside what torch counts of a forward pass."""

import pytest
import torch
from helpers.fakes import save_tiny
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from calib_sweep.method.base import Work
from calib_sweep.parts.building import Builder
from calib_sweep.sweep.cost.amounts import Amounts, Shape, compression, shape_of

# Two blocks of q, k, v, o [4, 4], gate and up [6, 4], down [4, 6]; 10 tokens to know.
BY_HAND = Shape(
    layers=((4, 4, 8), (6, 4, 4), (4, 6, 2)),
    inputs=((4, 6), (6, 2)),
    num_blocks=2,
    hidden=4,
    vocab=10,
    parameters=400,
)


def model(folder):
    node = {"name": None, "path": str(folder), "revision": None, "dtype": "float32"}
    node |= {"device": "cpu", "offload": None, "trust_remote_code": False}
    return Builder().build("model", {"_target_": "calib_sweep.model.loading.HubModel", **node})


def test_a_shape_is_read_off_a_configuration_alone(tmp_path):
    folder = save_tiny("llama", tmp_path / "tiny")
    (folder / "model.safetensors").unlink()
    config = model(folder).load_config()
    shape, d, m = shape_of(model(folder)), config.hidden_size, config.intermediate_size
    num = config.num_hidden_layers
    num_kv = config.num_key_value_heads * (d // config.num_attention_heads)
    attention = 2 * d * d + 2 * num_kv * d
    assert shape.weights == num * (attention + 3 * d * m)
    assert dict(shape.inputs) == {d: 3 * num, m: num}  # of q, k, v; of o; of gate, up; of down
    assert (shape.num_blocks, shape.hidden, shape.vocab) == (num, d, config.vocab_size)


def test_one_forward_by_hand():
    """W = 8 x 16 + 4 x 24 + 2 x 24 = 272; 4 layers' inputs and outputs: 64 + 40 + 20 = 124."""
    assert BY_HAND.weights == 272 and BY_HAND.activations == 124
    ran = BY_HAND.forward(tokens=32, seq_len=8, batch_tokens=16, logits=5, width=2)
    attention = 2 * 4 * 8  # 2 blocks, half of two products of 8 tokens by 4 features
    assert ran.products == 2 * 32 * (272 + attention) + 2 * 5 * 4 * 10
    assert ran.moved == 3 * 2 * 32 * 124 + 4 * 6 * 5 * 10
    assert ran.steps == 2 * 2 * 40 and ran.columns == ran.solves == 0


def test_the_walk_by_hand():
    """Two passes but for the last block's second; Hessians of 6 inputs of 4 and 2 of 6."""
    work = Work(passes=2, solves=True, column_steps=3, sweeps=1)
    done = compression(BY_HAND, work, 32, 8, 16, 2)
    ran = BY_HAND.forward(32, 8, 16, 0, 2)
    squares, cubes = 6 * 16 + 2 * 36, 6 * 64 + 2 * 216
    updates = 8 * 4 * 16 + 4 * 6 * 16 + 2 * 4 * 36
    assert done.products == 1.5 * ran.products + 2 * 32 * squares
    assert done.solves == pytest.approx(4 / 3 * cubes + 2 * updates)
    assert done.columns == 3 * (8 * 4 + 4 * 4 + 2 * 6)
    assert done.moved == 1.5 * ran.moved + 2 * 2 * 32 * (6 * 4 + 2 * 6) + 8 * 272


def test_without_data_only_weights_are_touched():
    assert compression(BY_HAND, Work(sweeps=1), 0, 8, 16, 2) == Amounts(moved=8 * 272)


@pytest.mark.parametrize("kind", ["llama", "gpt_neox", "gpt2"])
@pytest.mark.parametrize("seq_len", [16, 32])
def test_products_are_those_that_torch_counts(kind, seq_len, tmp_path):
    """Attention apart, of which torch counts the half that a causal model does not need too."""
    folder = save_tiny(kind, tmp_path / "tiny")
    shape, tokens = shape_of(model(folder)), 2 * seq_len
    loaded = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        loaded(torch.ones(2, seq_len, dtype=torch.long))
    told = shape.forward(tokens, 2 * seq_len, 4096, tokens, 4).products
    assert told == pytest.approx(counter.get_total_flops(), rel=0.01)
