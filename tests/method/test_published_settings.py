"""The settings that are shipped are the published ones; who changes one changes this table."""

from dataclasses import asdict

import pytest
from helpers.shipped import METHODS

INTEGERS = {"format": "int", "scale_rule": "ocp", "tensor_factor": None}
ONE_GRID_PER_ROW = {"bits": 4, "group_size": None, "symmetric": False}
PRUNE_ONLY = {**INTEGERS, "bits": None, "group_size": None, "symmetric": False}
HALF = {"sparsity": 0.5, "pattern": "unstructured"}
TWO_OF_FOUR = {"sparsity": 0.5, "pattern": "2:4"}
SOLVE = {"damping": 0.01, "off_diagonal": 1, "block_size": 128}

GPTQ = {
    **INTEGERS,
    **ONE_GRID_PER_ROW,
    "mse": False,
    "weighting": None,
    "act_order": False,
    "static_groups": False,
    "group_fit": "published",
    **SOLVE,
}
RTN = {**INTEGERS, **ONE_GRID_PER_ROW, "mse": False, "weighting": None}
W4A16 = {"group_size": 128, "weighting": "inputs"}
SPQR_README = {
    "bits": 4,
    "group_size": 16,
    "scale_bits": 3,
    "zero_bits": 3,
    "second_group_size": 16,
    "outlier_threshold": 0.2,
    "per_row": True,
    "act_order": True,
    "damping": 1.0,
    "off_diagonal": 1,
    "block_size": 128,
}
SPQR_SCRIPT = {
    "bits": 4,
    "group_size": None,
    "scale_bits": None,
    "zero_bits": None,
    "second_group_size": 16,
    "outlier_threshold": None,
    "per_row": False,
    "act_order": False,
    **SOLVE,
}
RIA = {"compare": "layer", "exponent": 0.5, "permutation": None}

ALPS = {"damping": 0.01, "rho": 0.1, "max_iterations": 300}
DSNOT = {
    "initial": "wanda",
    "max_cycles": 50,
    "threshold": 0.1,
    "variance": "inside",
    "variance_power": 1,
    "same_sign": False,
    "skip": "mlp",
}

AWQ_STEPS = {"scale_steps": 20, "clip_steps": 20, "max_shrink": 0.5}
FORMAT_BITS = {"nvfp4": 4, "mxfp4": 4, "fp8": 8}
AWQ_FORMAT = {"format": "int", "scale_rule": "ocp"}
OWL = {"sparsity": 0.5, "spread": 0.08, "outlier_multiple": 5}

W8 = {"bits": 8, "symmetric": True}

PUBLISHED = {
    "alps": {**HALF, **ALPS},
    "alps_24": {**TWO_OF_FOUR, **ALPS},
    "awq": {**AWQ_FORMAT, **ONE_GRID_PER_ROW, "group_size": 128, **AWQ_STEPS},
    "dash_q": {"bits": 4, "group_size": 128, "iterations": 9, "step": 0.5, "ridge": 0.01},
    "dense": {},
    "dsnot": {**HALF, **DSNOT},
    "dsnot_24": {**TWO_OF_FOUR, **DSNOT},
    "flap": {"sparsity": 0.2, "compensation": True, "variance": "running"},
    "gptaq": {
        **{key: GPTQ[key] for key in GPTQ if key not in ("off_diagonal", "weighting")},
        **{"alpha": 0.25, "rescomp": 0, "foem": 0, "beyond": "carried"},
    },
    "gptq": GPTQ,
    "gptq_imatrix": {**GPTQ, **W4A16, "act_order": True, "static_groups": True},
    **{
        f"gptq_{form}": {**GPTQ, "format": form, "bits": bits} for form, bits in FORMAT_BITS.items()
    },
    "gptq_shrunk": {**GPTQ, "group_size": 128, "off_diagonal": 0.7},
    "magnitude": {**HALF, "compare": "layer"},
    "magnitude_24": {**TWO_OF_FOUR, "compare": "layer"},
    "paper_gptq": {**GPTQ, "group_size": 128},
    "paper_sparsegpt": {**TWO_OF_FOUR, **PRUNE_ONLY, **SOLVE},
    "paper_spqr": SPQR_README,
    "paper_wanda": TWO_OF_FOUR,
    "reap": {"sparsity": 0.5},
    "ria": {**HALF, **RIA},
    "ria_24": {**TWO_OF_FOUR, **RIA},
    "qronos": {
        **INTEGERS,
        **ONE_GRID_PER_ROW,
        **{"mse": False, "act_order": True, "spectral_damping": 1e-6, "block_size": 128},
    },
    **{f"rtn_{form}": {**RTN, "format": form, "bits": bits} for form, bits in FORMAT_BITS.items()},
    "rtn": RTN,
    "rtn_8": {**RTN, **W8},
    "rtn_imatrix": {**RTN, **W4A16},
    "shortgpt": {"sparsity": 0.25},
    "smoothquant": {"alpha": 0.85, "base": {**RTN, **W8}},
    "smoothquant_gptq": {"alpha": 0.8, "base": {**GPTQ, **W8}},
    "sparsegpt": {**HALF, **PRUNE_ONLY, **SOLVE},
    "sparsegpt_24": {**TWO_OF_FOUR, **PRUNE_ONLY, **SOLVE},
    "sparsegpt_quantized": {**HALF, **INTEGERS, **ONE_GRID_PER_ROW, **SOLVE},
    "spqr": SPQR_README,
    "spqr_defaults": SPQR_SCRIPT,
    "two_ssp": {"sparsity": 0.25, "balance": 1.5, "num_attention": None, "num_samples": 1},
    "wanda": HALF,
    "wanda_24": TWO_OF_FOUR,
    "wanda_variant": {"sparsity": 0.5},
}


# OWL takes its sparsity to the blocks itself; the base has all its other settings.
BASES = {"owl": "wanda", "owl_magnitude": "magnitude", "owl_sparsegpt": "sparsegpt"}


@pytest.mark.parametrize("name", PUBLISHED)
def test_shipped_settings_are_the_published_ones(name):
    assert asdict(METHODS[name]) == PUBLISHED[name]


@pytest.mark.parametrize("name", BASES)
def test_owl_prunes_with_the_settings_of_the_method_below_it(name):
    settings = asdict(METHODS[name])
    base = settings.pop("base")
    assert settings == OWL and base(sparsity=0.5) == METHODS[BASES[name]]
