"""Every method that a YAML of conf/method/ describes, with a layer that all of them fit.

A new YAML is picked up by itself. Where only the methods that see one layer at a time can be asked,
those of `LAYER_METHODS`.
"""

from pathlib import Path

import torch
from helpers.random_layers import correlated_inputs, random_weight
from hydra.utils import instantiate
from omegaconf import OmegaConf

from calib_sweep.method.base import LayerMethod

FOLDER = Path(__file__).parents[2] / "conf" / "method"
TOOLS = ("external", "llm_compressor")  # programs of others, with keys that only the user can know
YAMLS = [path for path in sorted(FOLDER.glob("*.yaml")) if path.stem not in TOOLS]
METHODS = {path.stem: instantiate(OmegaConf.load(path)) for path in YAMLS}
LAYER_METHODS = {name: m for name, m in METHODS.items() if isinstance(m, LayerMethod)}
WITH_DATA = {name: m for name, m in LAYER_METHODS.items() if m.statistic is not None}

NUM_OUT, NUM_IN = 32, 128  # groups of 128 columns, second-level groups of 16 rows


def layer(seed=0):
    """A weight and its calibration inputs, more tokens than features."""
    return random_weight(NUM_OUT, NUM_IN, seed + 100), correlated_inputs(300, NUM_IN, seed)


def seen(method, inputs_TI):
    """The statistic of these inputs that a method wants; None for one without data."""
    if method.statistic is None:
        return None
    statistic = method.statistic(inputs_TI.shape[1])
    statistic.add(inputs_TI)
    return statistic


def output_error(weight_OI, new_OI, inputs_TI):
    """||XW^T - XW'^T||^2 / ||XW^T||^2, float64."""
    inputs_TI, weight_OI = inputs_TI.double(), weight_OI.double()
    change_TO = inputs_TI @ (weight_OI - new_OI.double()).T
    return float(change_TO.square().sum() / (inputs_TI @ weight_OI.T).square().sum())


def is_finite(tensor):
    return bool(torch.isfinite(tensor).all())
