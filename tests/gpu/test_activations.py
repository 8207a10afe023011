"""Quantised inputs on a GPU: the same bits as on a CPU, with the same scales."""

import pytest
import torch
from helpers.random_layers import correlated_inputs
from hydra.utils import instantiate
from omegaconf import OmegaConf

from calib_sweep.places import CONF

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]

YAMLS = sorted((CONF / "activations").glob("*.yaml"))


@pytest.mark.parametrize("scaling", ["static", "dynamic"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("yaml", YAMLS, ids=[yaml.stem for yaml in YAMLS])
def test_inputs_are_quantised_to_the_same_bits(yaml, dtype, scaling):
    node = OmegaConf.load(yaml)
    if "scaling" in node:
        node.scaling = scaling
    chosen = instantiate(node)
    seen_TI = correlated_inputs(300, 256, seed=1).to(dtype)
    x_TI = (2 * correlated_inputs(4000, 256, seed=2)).to(dtype)  # some are larger than all seen
    x_TI[3] = 0
    found = {}
    for device in ("cpu", "cuda"):
        statistic = None if chosen.statistic is None else chosen.statistic(256, device)
        if statistic is not None:
            statistic.add(seen_TI.to(device))
        found[device] = chosen.quantizer(statistic)(x_TI.to(device)).cpu()
    assert torch.equal(found["cuda"], found["cpu"])
    assert not torch.equal(found["cpu"], x_TI)
