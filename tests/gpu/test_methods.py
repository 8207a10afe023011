"""Every shipped method, format and quantiser of inputs on a GPU: as on a CPU, and twice the same.

pytest -m gpu -n 0

A new YAML of conf/method/ or conf/activations/ is picked up by itself.
"""

import copy
import dataclasses
from dataclasses import replace

import pytest
import torch
from helpers.fakes import random_tokens, tiny_model
from helpers.repository import ROOT
from helpers.shipped import METHODS
from hydra.utils import instantiate
from omegaconf import OmegaConf

from calib_sweep.compression.walk import compress
from calib_sweep.method.grids.formats import FORMATS, INT, weight_format
from calib_sweep.method.selection.masks import lowest_of_all
from calib_sweep.method.statistics.spectrum import HessianSpectrum
from calib_sweep.model.blocks import decoder_blocks, linear_layers
from calib_sweep.model.placement import offload

DEVICE = "cuda"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
TOKENS = random_tokens(16, 100)
FLOATS = [name for name in FORMATS if name != INT]


def with_format(name, format):
    method = METHODS[name]
    bits = weight_format(format, 0, None, False).bits
    return replace(method, format=format, bits=bits, group_size=None)


# As shipped, and what rounds to floating-point numbers. Mixtures have a model of their own.
CASES = {name: m for name, m in METHODS.items() if name != "reap"} | {
    f"{name} {format}": with_format(name, format)
    for name in ("rtn", "gptq", "gptaq")
    for format in FLOATS
    if name in METHODS and hasattr(METHODS[name], "format")
}
ACTIVATIONS, ROTATIONS = (
    {
        path.stem: instantiate(OmegaConf.load(path))
        for path in sorted((ROOT / "conf" / group).glob("*.yaml"))
    }
    for group in ("activations", "rotation")
)
every_case = pytest.mark.parametrize("name", CASES)
every_quantiser = pytest.mark.parametrize("name", ACTIVATIONS)


def model(dtype=torch.float32, device=DEVICE):
    """Wide enough for groups of 128 and for second-level groups of 16 rows."""
    return tiny_model(hidden_size=128, intermediate_size=256).to(device, dtype)


def compressed(method, dtype=torch.float32, device=DEVICE, **settings):
    changed = model(dtype, device)
    return changed, compress(changed, copy.deepcopy(method), TOKENS, **settings)


def near(value, share):
    return None if value is None else pytest.approx(value, rel=share)


def told(reports):
    return [dataclasses.replace(report, seconds=0, grid=None) for report in reports]


@every_case
def test_a_gpu_leaves_the_zeros_bits_and_errors_that_a_cpu_leaves(name):
    """Not the very weights: where a tie falls the other way, what is solved after it moves."""
    (_, found), (_, expected) = (compressed(CASES[name], device=d) for d in (DEVICE, "cpu"))
    assert [report.layer for report in found] == [report.layer for report in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.sparsity == pytest.approx(theirs.sparsity, abs=0.01), ours.layer
        assert ours.bits == near(theirs.bits, 0.01), ours.layer
        assert (ours.damping, ours.note) == (near(theirs.damping, 1e-5), theirs.note), ours.layer
        tolerance = 0.03 if ours.block == 0 else 0.15
        assert ours.output_error == near(theirs.output_error, tolerance), ours.layer


@every_case
def test_twice_the_same_is_bit_equal(name):
    states = [compressed(CASES[name], torch.float16)[0].state_dict() for _ in range(2)]
    for key, tensor in states[0].items():
        assert bool(torch.isfinite(tensor).all()), key
        assert torch.equal(tensor, states[1][key]), key


@every_case
def test_blocks_that_wait_in_host_memory_give_the_same_bits(name):
    waiting, resident = model(torch.float16, "cpu"), model(torch.float16)
    offload(waiting, torch.device(DEVICE))
    reports = [compress(m, copy.deepcopy(CASES[name]), TOKENS) for m in (waiting, resident)]
    with torch.no_grad():
        logits = [m(TOKENS.to(DEVICE)).logits for m in (waiting, resident)]
    assert torch.equal(*logits)
    assert told(reports[0]) == told(reports[1])


@every_quantiser
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_quantised_inputs_are_those_of_a_cpu(name, dtype):
    activations = ACTIVATIONS[name]
    statistic = {"cpu": None, DEVICE: None}
    inputs = torch.randn(60, 128, generator=torch.Generator().manual_seed(0)).to(dtype)
    if activations.statistic is not None:
        statistic = {device: activations.statistic(128, device) for device in statistic}
        for device, own in statistic.items():
            own.add(inputs.to(device) * 2)
    quantised = {d: activations.quantizer(own)(inputs.to(d)) for d, own in statistic.items()}
    assert torch.equal(quantised[DEVICE].cpu(), quantised["cpu"])
    assert not torch.equal(quantised["cpu"], inputs)


@every_quantiser
@pytest.mark.parametrize("method", ["rtn", "gptq"])
def test_a_walk_with_quantised_inputs_is_that_of_a_cpu(name, method):
    pairs = [
        compressed(METHODS[method], device=d, activations=ACTIVATIONS[name])
        for d in (DEVICE, "cpu")
    ]
    ours, theirs = (logits_of(changed) for changed, _ in pairs)
    # An input near the middle of two levels goes either way: of 16 levels that is a large step.
    assert float((ours - theirs).norm() / theirs.norm()) < (0.05 if method == "rtn" else 0.3)
    for found, expected in zip(pairs[0][1], pairs[1][1], strict=True):
        assert found.input_quantizer == expected.input_quantizer is not None


@pytest.mark.parametrize("name", ROTATIONS)
@pytest.mark.parametrize("method", ["rtn", "gptq"])
def test_a_rotated_model_computes_what_it_did_and_is_quantised_as_on_a_cpu(name, method):
    logits = {}
    for device in (DEVICE, "cpu"):
        rotated, dense = model(device=device), model(device=device)
        undo = ROTATIONS[name].apply(rotated, is_quantized=True)
        logits[device] = [logits_of(m) for m in (dense, rotated)]
        torch.testing.assert_close(*logits[device], rtol=1e-3, atol=1e-3)
        compress(rotated, METHODS[method], TOKENS, activations=ACTIVATIONS["int4"])
        logits[device].append(logits_of(rotated))
        undo()
    ours, theirs = logits[DEVICE][2], logits["cpu"][2]
    assert float((ours - theirs).norm() / theirs.norm()) < (0.05 if method == "rtn" else 0.5)


def logits_of(changed):
    with torch.no_grad():
        return changed(TOKENS.to(changed.device)).logits.cpu()


@pytest.mark.parametrize("searches", [False, True])
@pytest.mark.parametrize("format", FLOATS)
def test_floating_point_grids_are_the_same_to_the_last_bit(format, searches):
    weight = torch.randn(200, 256, generator=torch.Generator().manual_seed(0)) ** 3
    weight[3] = 0
    form = weight_format(format, 0, None, False, searches=searches)
    grids = [form.fit(weight.to(device)) for device in (DEVICE, "cpu")]
    rounded = [
        grid.round(weight.to(device)) for grid, device in zip(grids, (DEVICE, "cpu"), strict=True)
    ]
    if not searches:  # a search sums errors in another order
        assert torch.equal(grids[0].scale_OG.cpu(), grids[1].scale_OG)
        assert torch.equal(rounded[0].cpu(), rounded[1])
    error = [float((w.cpu() - weight).norm()) for w in rounded]
    assert error[0] == pytest.approx(error[1], rel=1e-3)


@pytest.mark.parametrize("num_zeros", [1, 1000, 39_000])
def test_the_lowest_of_all_are_counted_exactly_and_ties_go_to_the_first(num_zeros):
    score = torch.randint(0, 99, (200, 200), generator=torch.Generator().manual_seed(0)).float()
    expected = lowest_of_all(score, num_zeros)
    assert int(expected.sum()) == num_zeros
    assert torch.equal(lowest_of_all(score.to(DEVICE), num_zeros).cpu(), expected)


def test_shifted_inverses_are_those_of_a_cpu():
    inputs = torch.randn(500, 96, generator=torch.Generator().manual_seed(0))
    found, expected = HessianSpectrum(96, DEVICE), HessianSpectrum(96)
    for statistic in (found, expected):
        statistic.add(inputs.to(statistic.device))
    inverses = [s.spectrum(0.01).inverse_II(0.1).cpu() for s in (found, expected)]
    torch.testing.assert_close(*inverses, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ["mixtral", "qwen3_moe"])
def test_experts_are_compressed_as_on_a_cpu(architecture):
    names = [name for name in ("wanda", "dsnot", "alps", "dash_q", "reap") if name in METHODS]
    for name in names:
        pair = []
        for device in (DEVICE, "cpu"):
            changed = tiny_model(architecture).to(device)
            pair.append(compress(changed, narrow(METHODS[name]), TOKENS))
            assert all(bool(torch.isfinite(p).all()) for p in changed.parameters()), name
        for ours, theirs in zip(*pair, strict=True):
            assert ours.num_routed == theirs.num_routed, name
            assert ours.sparsity == pytest.approx(theirs.sparsity, abs=0.05), name


def narrow(method):
    """The method with groups for 16 columns."""
    changes = {"group_size": 16} if getattr(method, "group_size", None) else {}
    return replace(method, **changes)


def test_every_layer_was_changed_by_every_method():
    """Else the tests above would compare dense models."""
    dense = [layer.weight_OI().cpu() for layer in layers_of(model(device="cpu"))]
    for name, method in CASES.items():
        changed = [layer.weight_OI().cpu() for layer in layers_of(compressed(method)[0])]
        num = sum(not torch.equal(*pair) for pair in zip(dense, changed, strict=True))
        assert (num == 0) == (name == "dense"), name


def layers_of(changed):
    return [one for block in decoder_blocks(changed) for one in linear_layers(block).values()]
