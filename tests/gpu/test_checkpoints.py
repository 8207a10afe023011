"""Walks on a GPU that go on where they were: the same bits, with and without blocks on the host."""

import pytest
import torch
from helpers.fakes import random_tokens, tiny_model
from helpers.shipped import METHODS
from hydra.utils import instantiate
from omegaconf import OmegaConf

from calib_sweep.compression.checkpoint import Checkpoint
from calib_sweep.compression.nothing_kept import NOTHING_KEPT
from calib_sweep.compression.settings import Walk
from calib_sweep.compression.walk import walk
from calib_sweep.model.placement import offload
from calib_sweep.places import CONF

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]

SIZES = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 4, "head_dim": 32}
SETTINGS = Walk(
    propagate="published",
    true_sequential=False,
    batch_tokens=None,
    all_experts=False,
    tensor_cores=True,
)
INPUTS = instantiate(
    OmegaConf.merge(OmegaConf.load(CONF / "activations/int8.yaml"), {"scaling": "static"})
)


class StoppedError(Exception):
    pass


def walked(name, waits, activations, checkpoint=NOTHING_KEPT, stop=None):
    model = tiny_model("llama", **SIZES).half()
    if waits:
        offload(model, torch.device("cuda"))
    else:
        model.cuda()

    def on_block(index, *_):
        if index == stop:
            raise StoppedError

    given = {"settings": SETTINGS, "activations": activations, "on_block": on_block}
    walk(model, METHODS[name], random_tokens(8, 64), checkpoint=checkpoint, **given)
    return model.state_dict(), model(random_tokens(2, 64, seed=1).cuda()).logits


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("activations", [None, INPUTS], ids=["inputs as they come", "static"])
@pytest.mark.parametrize("name", ["gptaq", "gptq", "flap", "owl", "smoothquant"])
def test_a_walk_on_a_gpu_goes_on_to_the_same_bits(tmp_path, name, activations, waits):
    def kept():
        return Checkpoint(tmp_path / "kept", dict, every_s=0, device=torch.device("cuda"))

    expected = walked(name, waits, activations)
    with pytest.raises(StoppedError):
        walked(name, waits, activations, kept(), stop=2)
    going_on = kept()
    found = walked(name, waits, activations, going_on)
    assert going_on.num_done == 4 and going_on.seconds_before > 0
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
