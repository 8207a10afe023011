"""Families that can be rotated, as lively tiny models, and the rotation of most tests.

Where a fixture of a test file puts `MORE` into `fakes.TINY`.
"""

import torch
from helpers.fakes import FUSES_EXPERTS, TINY, tiny_model

from calib_sweep.rotation.settings import Rotation

MORE = {  # families that the table knows and no other test needs
    "gemma": {**TINY["llama"], "head_dim": 8},
    "granite": {**TINY["llama"], "residual_multiplier": 0.5, "embedding_multiplier": 3.0},
    "smollm3": TINY["llama"],
    "cohere": TINY["llama"],
    "olmo3": TINY["llama"],
}
FUSED = ["mixtral", "qwen2_moe", "qwen3_moe", "gpt_oss"] if FUSES_EXPERTS else []
PLAIN = ["llama", "mistral", "qwen2", "qwen3", "gemma", "granite", "smollm3", "phi3"]
PLAIN += [] if FUSES_EXPERTS else ["mixtral", "qwen2_moe", "qwen3_moe"]


def rotation(matrix="hadamard", seed=0, online=True):
    return Rotation(name=matrix, matrix=matrix, seed=seed, online=online)


def lively(family, **settings):
    """A tiny model whose gains, biases and routers are not all one or zero."""
    model = tiny_model(family, **settings)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.ndim == 1 or len(parameter) == 4:
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model
