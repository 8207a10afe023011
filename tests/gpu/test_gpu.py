"""What only a GPU can show: recorded launches, tensor cores, blocks that come and go.

pytest -m gpu -n 0
"""

from dataclasses import replace

import pytest
import torch
import yaml
from helpers.fakes import random_tokens, tiny_model
from helpers.repository import ROOT
from helpers.sweeps import read_records
from safetensors.torch import load_file

from calib_sweep.compression.walk import compress
from calib_sweep.method import column_solver
from calib_sweep.method.gpu import cuda_graphs
from calib_sweep.method.gpu.cuda_graphs import as_one_launch
from calib_sweep.method.gpu.precision import allow_tensor_cores
from calib_sweep.method.grids.bilevel_grid import grid_between
from calib_sweep.method.grids.floats import E2M1, E4M3
from calib_sweep.method.grids.formats import weight_format
from calib_sweep.method.grids.grid import fit_grid
from calib_sweep.method.statistics.hessian import Hessian
from calib_sweep.method.statistics.input_moments import HessianMoments, InputMoments
from calib_sweep.method.statistics.input_norm import InputNorm
from calib_sweep.method.statistics.input_profile import InputProfile
from calib_sweep.model.blocks import decoder_blocks
from calib_sweep.model.placement import offload

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
CONF = ROOT / "conf" / "method"
TOKENS = random_tokens(16, 100)
SOLVERS = {
    "sparsegpt": ("sparsegpt", {}),
    "sparsegpt 2:4": ("sparsegpt", {"pattern": "2:4"}),
    "sparsegpt with bits": ("sparsegpt", {"bits": 4, "group_size": 64}),
    "gptq": ("gptq", {}),
    "gptq groups": ("gptq", {"group_size": 32}),
    "gptq fresh groups": ("gptq", {"group_size": 32, "group_fit": "updated"}),
    "gptq wide groups": ("gptq", {"group_size": 320, "group_fit": "updated"}),
    "gptq static": ("gptq", {"group_size": 64, "static_groups": True, "act_order": True}),
    "gptq nvfp4": ("gptq", {"format": "nvfp4"}),
    "gptq mxfp4 in order": ("gptq", {"format": "mxfp4", "act_order": True}),
    "gptq fp8": ("gptq", {"format": "fp8", "bits": 8}),
    "gptq fp8 blocks": ("gptq", {"format": "fp8_block", "bits": 8}),
    "spqr": ("spqr", {}),
    "spqr rows": ("spqr", {"group_size": None}),
}


@pytest.fixture(autouse=True)
def nothing_recorded():
    cuda_graphs._recordings.clear()


def method(name, **changes):
    settings = yaml.safe_load((CONF / f"{name}.yaml").read_text()) | changes
    module, _, cls = settings.pop("_target_").rpartition(".")
    return getattr(__import__(module, fromlist=[cls]), cls)(**settings)


def random_layer(num_out=192, num_in=640, num_tokens=2000):
    generator = torch.Generator().manual_seed(0)
    mixing = torch.eye(num_in) + torch.randn(num_in, num_in, generator=generator) / num_in**0.5
    inputs = torch.randn(num_tokens, num_in, generator=generator) @ mixing
    inputs[:, 5] = 0
    statistic = Hessian(num_in, "cuda")
    statistic.add(inputs.cuda())
    return torch.randn(num_out, num_in, generator=generator).cuda(), statistic


@pytest.mark.parametrize("name", SOLVERS)
def test_replayed_kernels_give_the_same_bits_as_launched_ones(name, monkeypatch):
    monkeypatch.setattr(column_solver, "has_kernels", lambda tensor: False)
    solver, (weight, statistic) = method(SOLVERS[name][0], **SOLVERS[name][1]), random_layer()
    replayed = [solver.compress_weight(weight, statistic) for _ in range(3)]
    assert any(cuda_graphs._recordings.values())
    monkeypatch.setattr(column_solver, "as_one_launch", lambda function, *args: function(*args))
    launched = solver.compress_weight(weight, statistic)
    for got in replayed:
        assert torch.equal(got.weight_OI, launched.weight_OI) and got.bits == launched.bits


@pytest.mark.parametrize("name", [name for name in SOLVERS if name.startswith("gptq")])
def test_the_column_kernel_rounds_as_the_plain_loop_does(name, monkeypatch):
    solver, (weight, statistic) = method(SOLVERS[name][0], **SOLVERS[name][1]), random_layer()
    got = solver.compress_weight(weight, statistic)
    assert bool(cuda_graphs._recordings) == (name == "gptq fresh groups")  # fitted on the way
    monkeypatch.setattr(column_solver, "has_kernels", lambda tensor: False)
    plain = solver.compress_weight(weight, statistic)
    close = torch.isclose(got.weight_OI, plain.weight_OI, rtol=1e-4, atol=1e-5)
    assert close.double().mean() > 0.99  # a tie that falls the other way moves the rest of its row
    assert got.bits == plain.bits and got.damping == plain.damping


def test_grids_are_the_same_to_the_last_bit_on_a_gpu_and_a_cpu():
    weight = torch.randn(500, 64, generator=torch.Generator().manual_seed(0)).half()
    weight[:, 0] = -weight[:, 1:].abs().amax(dim=1)  # ends as far from 0: zero points are ties
    weight[:, 1] = -weight[:, 0]
    for symmetric in (False, True):
        ours, theirs = (fit_grid(w, 4, None, symmetric) for w in (weight.cuda(), weight))
        assert torch.equal(ours.scale_OG.cpu(), theirs.scale_OG)
        assert torch.equal(ours.zero_point_OG.cpu(), theirs.zero_point_OG)
    ends = weight.float().amin(dim=1), weight.float().amax(dim=1)
    ours, theirs = (grid_between(*(e.to(d) for e in ends), 4) for d in ("cuda", "cpu"))
    assert torch.equal(ours.scale_O.cpu(), theirs.scale_O)


@pytest.mark.parametrize("form", ["nvfp4", "mxfp4", "fp8", "fp8_block"])
@pytest.mark.parametrize("searches", [False, True])
def test_grids_of_floats_are_the_same_to_the_last_bit_on_a_gpu_and_a_cpu(form, searches):
    weight = torch.randn(300, 200, generator=torch.Generator().manual_seed(0)).bfloat16()
    weight[3], weight[:, 16:32] = 0, weight[:, 16:32] * 1e-6
    made = weight_format(form, 0, None, False, searches=searches)
    ours, theirs = made.fit(weight.cuda()), made.fit(weight)
    same = ours.scale_OG.cpu() == theirs.scale_OG
    # Errors of the search are added up in another order: a limit may be the one beside it.
    assert bool(same.all()) or (searches and same.double().mean() > 0.99)
    ours = replace(ours, scale_OG=theirs.scale_OG.cuda())
    assert torch.equal(ours.round(weight.cuda()).cpu(), theirs.round(weight))


@pytest.mark.parametrize("floats", [E2M1, E4M3], ids=["fp4", "fp8"])
def test_the_kernel_rounds_to_floats_to_the_last_bit(floats):
    """Without repair, so that no sum can differ: every number that is met on the way."""
    values = torch.linspace(-1.2 * floats.largest, 1.2 * floats.largest, 96 * 1000, device="cuda")
    weight_BO = torch.cat([values, values / 1e3]).reshape(96, -1)
    scale_BO = torch.ones_like(weight_BO) * torch.tensor([1.0, 0.3], device="cuda").repeat(1000)
    rounding = floats.rounding(scale_BO, None)
    eye_BB = torch.eye(96, device="cuda")
    by_kernel = rounding.kernel(weight_BO, eye_BB)
    plain = column_solver.solve_block(
        rounding.decision, 96, False, weight_BO, eye_BB, *rounding.arguments
    )
    assert torch.equal(by_kernel[0], plain[0])
    assert torch.equal(by_kernel[0], floats.nearest(weight_BO, scale_BO))
    # The compiler takes the product of the last digit into the difference, as with integers.
    torch.testing.assert_close(by_kernel[1], plain[1], rtol=1e-5, atol=1e-6 * floats.largest)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_gpu_solves_as_a_cpu_does(name):
    solver, (weight, statistic) = method(SOLVERS[name][0], **SOLVERS[name][1]), random_layer()
    on_cpu = Hessian(statistic.num_in)
    on_cpu._product_II = statistic._product_II.cpu()
    on_cpu.num_tokens, on_cpu.num_samples = statistic.num_tokens, statistic.num_samples
    got = solver.compress_weight(weight, statistic).weight_OI.cpu()
    expected = solver.compress_weight(weight.cpu(), on_cpu).weight_OI
    assert ((got == 0) == (expected == 0)).double().mean() > 0.999
    close = torch.isclose(got, expected, rtol=1e-3, atol=1e-4)
    assert close.double().mean() > 0.97  # a tie that falls the other way moves the rest of its row
    assert (got - expected).norm() / expected.norm() < 0.05


def test_recordings_are_bounded_and_tell_shapes_and_settings_apart(monkeypatch):
    monkeypatch.setattr(cuda_graphs, "MAX_RECORDINGS", 2)

    def scaled(factor, tensor):
        return (tensor * factor,)

    for factor in (1, 2, 3):
        for size in (4, 5):
            for value in (1.0, 2.0, 3.0):
                (got,) = as_one_launch(scaled, factor, torch.full((size,), value, device="cuda"))
                assert got.tolist() == [factor * value] * size
    assert len(cuda_graphs._recordings) == 2


@pytest.mark.parametrize(("num_tokens", "num_in"), [(16384, 512), (100, 200), (1, 33)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_tensor_cores_sum_as_well_as_float32_does(dtype, num_tokens, num_in):
    generator = torch.Generator("cuda").manual_seed(0)
    inputs = (torch.randn(num_tokens, num_in, generator=generator, device="cuda") ** 3).to(dtype)
    exact = 2 * inputs.double().T @ inputs.double()
    plain, statistic = Hessian(num_in, "cuda"), Hessian(num_in, "cuda")
    plain.add(inputs)
    with allow_tensor_cores(True):
        statistic.add(inputs)
    assert (plain.products, statistic.products) == ("float32", "tensor cores")
    error, plain_error = (
        (s.hessian_II().double() - exact).norm() / exact.norm() for s in (statistic, plain)
    )
    assert error < max(3 * plain_error, 1e-6)
    assert torch.equal(statistic.hessian_II(), statistic.hessian_II().T)


@pytest.mark.parametrize("run", [1, 100])
def test_tensor_cores_sum_weighted_tokens_as_well_as_float32_does(run):
    """Neighbours of one weight, as of a sample, by tensor cores; single ones in float32."""
    generator = torch.Generator("cuda").manual_seed(0)
    inputs = torch.randn(4000, 200, generator=generator, device="cuda").half()
    weights = torch.rand(4000 // run, generator=generator, device="cuda").repeat_interleave(run)
    exact = 2 * inputs.double().T @ (inputs.double() * weights.double().unsqueeze(1))
    statistic = Hessian(200, "cuda")
    with allow_tensor_cores(True):
        statistic.add(inputs, weights_T=weights)
    assert statistic.products == ("float32" if run == 1 else "tensor cores")
    error = (statistic.hessian_II().double() - exact).norm() / exact.norm()
    assert error < 1e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("kind", [InputNorm, Hessian, InputProfile, InputMoments, HessianMoments])
def test_weighted_statistics_are_those_of_a_cpu(kind, dtype):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(400, 48, generator=generator).to(dtype)
    weights = torch.rand(400, generator=generator) + 0.1
    found, expected = kind(48, "cuda"), kind(48)
    found.add(inputs.cuda(), 4, weights.cuda())
    expected.add(inputs, 4, weights)
    torch.testing.assert_close(
        found.square_sum_I().cpu(), expected.square_sum_I(), rtol=1e-5, atol=1e-5
    )


def test_tensor_cores_do_not_overflow_in_half_precision():
    statistic = Hessian(64, "cuda")
    with allow_tensor_cores(True):
        statistic.add(torch.full((100, 64), 6e4, dtype=torch.float16, device="cuda"))
    torch.testing.assert_close(statistic.hessian_II().cpu(), torch.full((64, 64), 200 * 6e4**2))


@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize("name", ["gptq", "awq"])
def test_the_report_says_what_made_the_products(name, allowed):
    used = method(name, group_size=16)
    reports = compress(tiny_model().half().cuda(), used, TOKENS, tensor_cores=allowed)
    expected = "tensor cores" if allowed else "float32"
    assert {report.products for report in reports} == {expected}


def test_a_grid_scores_on_a_gpu_as_on_a_cpu(run_cli, tmp_path):
    """GPTQ only roughly, and not its tails: a weight that rounds the other way moves all after it.
    Not spqr, whose grids hang on ties that a last digit decides: docs/performance.md.
    """
    command = ["-m", "method=magnitude,wanda,sparsegpt,gptq", "evaluation.zero_shot=null"]
    for device in ("cpu", "cuda"):
        options = [f"model.device={device}", f"sweep_name={device}", "save_model=dense"]
        ended = run_cli(*command, *options, "tracking=none", cwd=tmp_path)
        assert ended.code == 0, ended.err
    ours, theirs = (
        {record["cell"]["method"]: record for record in read_records(tmp_path / "results" / device)}
        for device in ("cuda", "cpu")
    )
    assert ours.keys() == theirs.keys() and len(ours) == 5
    for name, record in theirs.items():
        tolerance, kinds = (0.1, ("ppl/", "kl/")) if name == "gptq" else (1e-3, ("",))
        expected = {key: x for key, x in record["scores"].items() if key.startswith(kinds)}
        found = {key: ours[name]["scores"][key] for key in expected}
        assert found == pytest.approx(expected, rel=tolerance), name
    for name in ("magnitude", "wanda", "sparsegpt"):
        on_gpu, on_cpu = (zeros_of(tmp_path / "results" / d, name) for d in ("cuda", "cpu"))
        assert float((on_gpu == on_cpu).double().mean()) > 0.999, name


def zeros_of(sweep, name):
    """Where the matrices of blocks are zero in the model that a cell left, end to end."""
    (path,) = sweep.glob(f"*-{name}-*/model/model.safetensors")
    weights = load_file(path)
    matrices = [x for key, x in sorted(weights.items()) if ".layers." in key and x.ndim == 2]
    return torch.cat([matrix.flatten() == 0 for matrix in matrices])


def test_blocks_wait_in_pinned_host_memory():
    model = tiny_model().half()
    offload(model, torch.device("cuda"))
    inside = {id(p) for p in decoder_blocks(model).parameters()}
    for parameter in model.parameters():
        assert parameter.is_cuda == (id(parameter) not in inside)
        assert parameter.is_cuda or parameter.is_pinned()
