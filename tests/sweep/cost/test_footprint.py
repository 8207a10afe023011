"""Memory and disk: by hand, and beside what was measured on one H200 (docs/performance.md)."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from calib_sweep.parts.building import Builder
from calib_sweep.places import CONF
from calib_sweep.sweep.cost.amounts import shape_of
from calib_sweep.sweep.cost.footprint import checkpoint_bytes, device_memory, disk
from calib_sweep.sweep.cost.parts import parts_of
from calib_sweep.sweep.cost.rates import GPU
from calib_sweep.sweep.plan import compose_command_line

GIB = 2**30


class Llama7B:
    def skeleton(self):
        with torch.device("meta"):
            sizes = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32}
            return LlamaForCausalLM(LlamaConfig(vocab_size=32000, **sizes))


@pytest.fixture(scope="module")
def shape():
    return shape_of(Llama7B())


def composed(*typed):
    large = ["calibration.num_samples=128", "calibration.seq_len=2048", "model.dtype=float16"]
    (point,) = compose_command_line(CONF, [*typed, *large, "evaluation=wikitext2"])
    return point.config, Builder().build("method", point.config["method"]).work()


MEASURED = {  # seconds of the walk, GiB on the device
    "magnitude": (1.1, 2.4),
    "wanda": (17.1, 4.7),
    "sparsegpt": (31.7, 6.7),
    "sparsegpt_24": (39.6, 6.7),
    "gptq": (30.0, 6.2),
    "spqr": (74.4, 6.7),
}


@pytest.mark.parametrize("method", MEASURED)
def test_a_7b_walk_takes_what_was_measured_on_an_h200(method, shape):
    config, work = composed(f"method={method}", "model.offload=blocks")
    seconds, gib = MEASURED[method]
    needs_data = work.passes > 0
    amounts = parts_of(config, work, shape, needs_data=needs_data, on_gpu=True)["compress"]
    told = GPU.predict("compress", method, amounts)
    assert seconds / 2 < told < 2 * seconds or method == "magnitude"
    memory = device_memory({**config, "evaluation": NOTHING}, work, shape, on_gpu=True).total / GIB
    assert gib / 1.3 < memory < 1.3 * gib or method == "magnitude"


NOTHING = {"perplexity": None, "zero_shot": None, "divergence": None}


def test_the_memory_of_a_walk_by_hand(shape):
    config, work = composed("method=gptq", "model.offload=blocks")
    memory = device_memory({**config, "evaluation": NOTHING}, work, shape, on_gpu=True)
    block = 4 * 4096**2 + 3 * 4096 * 11008
    assert memory.model == pytest.approx(2 * (block + 2 * 32000 * 4096 + 65 * 4096), rel=1e-6)
    assert memory.hidden == 2 * 128 * 2048 * 4096
    assert memory.statistics == 4 * (3 * 4096**2 + 11008**2) + 4 * 4 * 11008**2
    whole, work = composed("method=gptq", "model.offload=null")
    resident = device_memory({**whole, "evaluation": NOTHING}, work, shape, on_gpu=True).model
    assert resident - memory.model == 2 * 31 * block


def test_a_second_stream_takes_hidden_states_a_matrix_and_the_inputs_of_a_batch(shape):
    memories = [
        device_memory({**config, "evaluation": NOTHING}, work, shape, on_gpu=True)
        for config, work in (composed(f"method={name}") for name in ("gptq", "gptaq"))
    ]
    plain, paired = memories
    assert paired.hidden == 2 * plain.hidden
    assert paired.statistics - plain.statistics == 4 * (3 * 4096**2 + 11008**2)
    assert paired.batch - plain.batch == 2 * 16384 * (3 * 4096 + 11008)
    config, work = composed("method=gptaq", "method.alpha=0")
    alone = device_memory({**config, "evaluation": NOTHING}, work, shape, on_gpu=True)
    assert alone == plain


def test_the_disk_by_hand(shape):
    config, work = composed("method=gptq", "save_model=dense")
    told = disk(config, work, shape)
    assert told.reference == 2 * 4096 * 32000
    assert told.model == 2 * shape.parameters
    assert told.calibration == 14 * 128 * 2048
    dense, work = composed("method=wanda", "save_model=null")
    assert disk(dense, work, shape).model == 0


def test_the_state_of_a_walk_is_its_blocks_and_hidden_states_old_and_new(shape):
    blocks = 2 * 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    hidden = 2 * 2 * 128 * 2048 * 4096
    for typed, expected in (
        (["method=gptq", "checkpoint=blocks"], blocks + hidden),
        (["method=gptaq", "checkpoint=blocks"], blocks + 2 * hidden),
        (["method=rtn", "checkpoint=blocks"], blocks),
        (["method=gptq"], 0),
    ):
        config, work = composed(*typed)
        assert checkpoint_bytes(config, work, shape) == expected
