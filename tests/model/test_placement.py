"""Blocks that wait in host memory: they visit one at a time, and no number moves."""

import pytest
import torch
import yaml
from helpers.fakes import ARCHITECTURES, random_tokens, save_tiny, tiny_model
from helpers.repository import ROOT
from hydra.utils import instantiate

from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.method.sparsegpt import SparseGPT
from calib_sweep.method.wanda import Wanda
from calib_sweep.model import placement
from calib_sweep.model.blocks import decoder_blocks, linear_layers
from calib_sweep.model.loading import HubModel
from calib_sweep.model.placement import offload, onload
from calib_sweep.session import Session

CPU = torch.device("cpu")  # a device like any other: what visits it is a copy of what waits
TOKENS = random_tokens(6, 40)
WANDA = Wanda(sparsity=0.5, pattern="unstructured")
SPARSEGPT = SparseGPT(
    sparsity=0.5,
    pattern="unstructured",
    bits=None,
    group_size=None,
    symmetric=False,
    damping=0.01,
    off_diagonal=1,
    block_size=16,
)


CONF = ROOT / "conf" / "method"


def method(name):
    settings = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    settings |= {"group_size": None} if "group_size" in settings else {}
    return instantiate(settings, _convert_="all")


def placed(architecture="llama"):
    model = tiny_model(architecture)
    offload(model, CPU)
    return model


def addresses(block):
    return [tensor.data_ptr() for tensor in block.parameters()]


def assert_same_state(one, other):
    first, second = one.state_dict(), other.state_dict()
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_whole_model_runs_as_before(architecture, inference):
    model, plain = placed(architecture), tiny_model(architecture)
    waiting = [addresses(block) for block in decoder_blocks(model)]
    with torch.inference_mode(inference), torch.no_grad():
        assert torch.equal(model(TOKENS).logits, plain(TOKENS).logits)
    assert [addresses(block) for block in decoder_blocks(model)] == waiting


@pytest.mark.parametrize("settings", [{}, {"true_sequential": True}, {"propagate": "dense"}])
@pytest.mark.parametrize("method", [WANDA, SPARSEGPT], ids=["wanda", "sparsegpt"])
def test_the_walk_gives_the_same_weights(method, settings):
    model, plain = placed(), tiny_model()
    reports = compress(model, method, TOKENS, batch_tokens=80, **settings)
    expected = compress(plain, method, TOKENS, batch_tokens=80, **settings)
    assert_same_state(model, plain)
    assert [r.sparsity for r in reports] == [r.sparsity for r in expected]


@pytest.mark.parametrize("name", ["awq", "owl", "magnitude"])
def test_methods_that_look_at_blocks_or_at_the_model_give_the_same_weights(name):
    model, plain = placed(), tiny_model()
    for one in (model, plain):
        compress(one, method(name), TOKENS, batch_tokens=80)
    assert_same_state(model, plain)


def test_one_block_at_a_time_is_on_the_device():
    model, seen = placed(), []
    blocks = decoder_blocks(model)
    waiting = [addresses(block) for block in blocks]
    for block in blocks:
        block.input_layernorm.register_forward_pre_hook(
            lambda _, args: (
                seen.append([addresses(b) != w for b, w in zip(blocks, waiting, strict=True)])
                if args[0].shape[1] == TOKENS.shape[1]  # questions with few tokens are free
                else None
            )
        )
    with torch.no_grad():
        model(TOKENS)
    first, second = [True, False], [False, True]
    assert seen == [first, second]
    seen.clear()
    compress(model, WANDA, TOKENS, batch_tokens=10_000)
    # Observed and propagated; observed: the last one's output goes nowhere.
    assert seen == [first, first, second]


def test_changes_are_kept_at_work_and_only_there():
    model = placed()
    layer = linear_layers(decoder_blocks(model)[0])["mlp.up_proj"]
    with onload(decoder_blocks(model)[0]):
        layer.set_weight_OI(torch.ones_like(layer.weight_OI()))
    assert (layer.weight_OI() == 1).all()
    with pytest.raises(KeyError), onload(decoder_blocks(model)[0]):
        raise KeyError
    assert (layer.weight_OI() == 1).all()


def test_a_block_that_never_left_is_at_work_anyway():
    block = decoder_blocks(tiny_model())[0]
    before = addresses(block)
    with onload(block):
        assert addresses(block) == before


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_checkpoint_is_loaded_and_restored_that_way(tmp_path, monkeypatch, device):
    """With the CPU in the place of a GPU."""
    part = HubModel(
        name=None,
        path=str(save_tiny("llama", tmp_path)),
        revision=None,
        dtype="float32",
        device=device,
        offload="blocks",
        trust_remote_code=False,
    )
    calls = []
    monkeypatch.setattr(placement, "named_device", lambda name: FakeGPU())
    monkeypatch.setattr(placement, "offload", lambda model, device: calls.append(device.type))
    model = part.load()
    assert calls == ["cuda"] and model.device == CPU
    offload(model, CPU)
    monkeypatch.setattr(HubModel, "load", lambda self: model)
    session = Session()
    compress(session.model(part, "x"), WANDA, TOKENS)
    assert not torch.equal(model(TOKENS).logits, tiny_model()(TOKENS).logits)
    assert_same_state(session.model(part, "x"), tiny_model())


class FakeGPU:
    type = "cuda"


@pytest.mark.parametrize(
    ("offload", "device"), [("disk", "auto"), ("blocks", "cpu"), (True, "cuda")]
)
def test_a_placement_that_cannot_be_is_refused(offload, device):
    with pytest.raises(ConfigError, match=rf"model\.offload={offload!r}.*model\.offload=blocks"):
        HubModel(
            name=None,
            path="x",
            revision=None,
            dtype="float32",
            device=device,
            offload=offload,
            trust_remote_code=False,
        )
