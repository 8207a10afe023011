"""Every method YAML builds on its own and compresses the tiny model; a new YAML is picked up."""

import pytest
from helpers.fakes import random_tokens, tiny_model
from helpers.repository import ROOT
from hydra.utils import instantiate
from omegaconf import OmegaConf

from calib_sweep.compression.walk import compress
from calib_sweep.method.base import Method

FOLDER = ROOT / "conf" / "method"
YAMLS = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("path", YAMLS, ids=[path.stem for path in YAMLS])
def test_method_yaml_builds_alone_and_compresses(path):
    method = instantiate(OmegaConf.load(path))
    assert isinstance(method, Method)
    tokens = None if method.statistic is None else random_tokens(4, 24)
    model = tiny_model(hidden_size=128, intermediate_size=256)  # wide enough for groups of 128
    reports = compress(model, method, tokens)
    assert len(reports) == 14
    assert all(0 <= report.sparsity < 1 for report in reports)


@pytest.mark.parametrize("path", YAMLS, ids=[path.stem for path in YAMLS])
def test_method_yaml_says_what_it_is(path):
    lines = path.read_text().splitlines()
    assert lines[0].startswith(f"# conf/method/{path.name}: ")
    assert all("#" in line for line in lines[1:] if line and not line.startswith("_target_"))


def test_the_published_methods_are_there():
    published = {"dense", "magnitude", "rtn", "wanda", "sparsegpt", "gptq", "spqr"}
    presets = {"paper_gptq", "paper_spqr", "paper_sparsegpt", "paper_wanda"}
    assert published | presets <= {path.stem for path in YAMLS}
