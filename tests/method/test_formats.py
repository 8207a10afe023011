"""FP4 and FP8 grids: by hand, against Python numbers, and what methods make of them."""

import math
from itertools import pairwise

import pytest
import torch
from helpers.fakes import random_tokens, tiny_model
from helpers.least_squares import deficient, swept
from helpers.random_layers import correlated_inputs, hessian_of, random_weight
from helpers.slow_floats import FP4, FP8, slow_scale, slow_snap
from torch import tensor

from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.method.gptq import GPTQ
from calib_sweep.method.grids.float_grid import Groups
from calib_sweep.method.grids.floats import E2M1, E4M3
from calib_sweep.method.grids.formats import weight_format
from calib_sweep.method.rtn import RTN
from calib_sweep.method.sparsegpt import SparseGPT

BITS = {"nvfp4": 4, "mxfp4": 4, "fp8": 8, "fp8_block": 8}
GROUP = {"nvfp4": 16, "mxfp4": 32, "fp8": None, "fp8_block": 128}


def rtn(form, **settings):
    fixed = {"bits": BITS[form], "group_size": None, "symmetric": False}
    return RTN(format=form, **{**fixed, **settings})


def gptq(form, **settings):
    fixed = {"bits": BITS[form], "group_size": None, "symmetric": False, "mse": False}
    order = {"act_order": False, "static_groups": False, "group_fit": "published"}
    solve = {"damping": 0.01, "off_diagonal": 1.0, "block_size": 128}
    return GPTQ(format=form, **{**fixed, **order, **solve, **settings})


def sparsegpt(form, **settings):
    grid = {"format": form, "bits": BITS[form], "group_size": None, "symmetric": False}
    prune = {"sparsity": 0.5, "pattern": "unstructured", "damping": 0.01, "off_diagonal": 1.0}
    return SparseGPT(**{**grid, **prune, "block_size": 128, **settings})


def make(form, **settings):
    return weight_format(form, BITS[form], None, False, **settings)


# The numbers


def test_e2m1_has_eight_magnitudes_and_breaks_ties_to_even_mantissas():
    ties = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0]
    expected = [0.0, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0]
    assert E2M1.snap(tensor(ties)).tolist() == expected
    assert E2M1.snap(-tensor(ties)).tolist() == [-x for x in expected]
    above = tensor(ties).nextafter(tensor(10.0))
    assert E2M1.snap(above).tolist() == [0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
    below = tensor(ties).nextafter(tensor(0.0))
    assert E2M1.snap(below).tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0]
    assert E2M1.snap(tensor([6.5, -7.0, 1e30])).tolist() == [6.0, -6.0, 6.0]


def test_e4m3_is_the_type_of_torch():
    codes = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float()
    codes = codes[torch.isfinite(codes)]
    assert sorted(set(codes.abs().tolist())) == FP8
    assert torch.equal(E4M3.snap(codes), codes)
    values = torch.randn(5000, generator=torch.Generator().manual_seed(0)) * 50
    values = torch.cat([values, values / 1e4, (codes[1:] + codes[:-1]) / 2])
    assert torch.equal(E4M3.snap(values), values.to(torch.float8_e4m3fn).float())
    assert E4M3.snap(tensor([448.0, 449.0, 1e9, -1e9])).tolist() == [448, 448, 448, -448]


@pytest.mark.parametrize(("floats", "numbers"), [(E2M1, FP4), (E4M3, FP8)], ids=["fp4", "fp8"])
def test_numbers_are_the_nearest_ones(floats, numbers):
    values = torch.randn(300, generator=torch.Generator().manual_seed(1)) * numbers[-1] / 2
    assert floats.snap(values).tolist() == [slow_snap(v, numbers) for v in values.tolist()]


# The grids


def test_nvfp4_by_hand():
    """The largest weight gives g = 448 * 6 / 12 = 224; the second group's scale is rounded."""
    weight = torch.zeros(2, 32)
    weight[0, :3] = tensor([12.0, 5.0, -1.0])  # scale 2, stored as 448: the points 12, 8, 6, 4, ..
    weight[0, 16:18] = tensor([1.0, 0.3])  # 1/6 * 224 = 37.3, stored as 36: scale 0.160714
    grid = make("nvfp4").fit(weight)
    assert grid.tensor_factor == 224
    torch.testing.assert_close(grid.scale_OG[0], tensor([2.0, 36 / 224]), rtol=1e-7, atol=0)
    rounded = grid.round(weight)
    assert rounded[0, :3].tolist() == [12.0, 4.0, -1.0]  # 2.5 steps: a tie, to the even mantissa
    torch.testing.assert_close(rounded[0, 16:18], tensor([6.0, 2.0]) * 36 / 224)
    assert not rounded[1].any()  # a row of zeros stays one


def test_mxfp4_by_hand():
    weight = torch.zeros(2, 64)
    weight[0, :2] = tensor([7.0, 2.4])  # 2^(2 - 2) = 1: 7 is clipped
    weight[0, 32:34] = tensor([4.0, 3.0])  # exactly a power of two: 2^0
    weight[1, :2] = tensor([3.9, 1.2])  # 2^(1 - 2)
    ocp, wider = make("mxfp4").fit(weight), make("mxfp4", scale_rule="four_thirds").fit(weight)
    assert ocp.scale_OG.tolist() == [[1.0, 1.0], [0.5, 1.0]]
    torch.testing.assert_close(wider.scale_OG, ocp.scale_OG * 4 / 3)
    assert ocp.round(weight)[0, :2].tolist() == [6.0, 2.0]
    torch.testing.assert_close(wider.round(weight)[0, :2], tensor([6.0, 2.0]) * 4 / 3)
    assert ocp.round(weight)[1, :2].tolist() == [3.0, 1.0]


def test_fp8_by_hand():
    weight = tensor([[448.0, 17.0, 1.0], [-0.448, 0.0, 0.0171]])
    grid = make("fp8").fit(weight)
    torch.testing.assert_close(grid.scale_OG, tensor([[1.0], [0.001]]))
    torch.testing.assert_close(grid.round(weight)[0], tensor([448.0, 16.0, 1.0]))
    torch.testing.assert_close(grid.round(weight)[1], tensor([-0.448, 0.0, 0.018]))  # 17.1 to 18


def test_blocks_of_fp8_share_a_scale_in_both_directions():
    weight = random_weight(130, 200)
    weight[5, 7], weight[129, 199] = 44.8, 448.0
    grid = make("fp8_block").fit(weight)
    assert grid.scale_OG.shape == (130, 2)
    torch.testing.assert_close(grid.scale_OG[:128, 0], torch.full((128,), 0.1))
    torch.testing.assert_close(grid.scale_OG[128:, 1], torch.full((2,), 1.0))
    largest = weight[:128, 128:].abs().max()
    torch.testing.assert_close(grid.scale_OG[:128, 1], (largest / 448).expand(128))


@pytest.mark.parametrize("form", BITS)
@pytest.mark.parametrize("mse", [False, True])
@pytest.mark.parametrize("num_in", [64, 40])  # 40: the last group is shorter
def test_scales_are_those_of_python_numbers(form, mse, num_in):
    weight = random_weight(3, num_in) * tensor([[1.0], [0.01], [7.0]])
    weight[1, :16] *= 1e-9  # in nvfp4, a group whose scale is too small for a number
    grid = make(form, searches=mse).fit(weight)
    size, factor = GROUP[form] or num_in, 448 * 6 / float(weight.abs().max())
    groups = [weight[:, at : at + size] for at in range(0, num_in, size)]
    for g, group in enumerate(groups):
        rows = [group.flatten().tolist()] * 3 if form == "fp8_block" else group.tolist()
        expected = tensor([slow_scale(values, form, factor, mse=mse) for values in rows])
        torch.testing.assert_close(grid.scale_OG[:, g], expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("form", BITS)
def test_more_candidates_never_worsen_the_search(form, monkeypatch):
    """Of what the search looks at: grids whose scales are not yet rounded themselves."""
    weight, levels = random_weight(8, 96), E4M3 if BITS[form] == 8 else E2M1
    groups = Groups(size=GROUP[form], num_rows=128 if form == "fp8_block" else 1)

    def error(num_steps):
        monkeypatch.setattr("calib_sweep.method.grids.float_grid.NUM_STEPS", num_steps)
        limit = groups.searched_limit_OG(weight, levels)
        size = GROUP[form] or weight.shape[1]
        scale = (limit / levels.largest).repeat_interleave(size, 1)[:, : weight.shape[1]]
        return float((levels.nearest(weight, scale) - weight).abs().pow(2.4).sum())

    errors = [error(num_steps) for num_steps in (1, 2, 10, 100)]  # each has the steps before it
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0]


def test_bits_count_scales():
    assert make("nvfp4").average_bits(64, 128) == 4 + 8 / 16 + 32 / (64 * 128)
    assert make("mxfp4").average_bits(64, 128) == 4.25
    assert make("fp8").average_bits(64, 128) == 8 + 16 / 128
    assert make("fp8_block").average_bits(256, 512) == 8 + 16 / 128**2
    assert make("fp8_block").average_bits(192, 128) == 8 + 16 / (96 * 128)  # two blocks


@pytest.mark.parametrize("form", BITS)
@pytest.mark.parametrize("size", [0.0, 1e-38, 1e-30, 1e30, 3e38])
def test_no_size_of_weights_gives_a_number_that_is_not_finite(form, size):
    weight = random_weight(3, 48) * size
    weight = weight.clamp(-3e38, 3e38)
    weight[1] = 0
    for mse in (False, True):
        rounded = rtn(form, mse=mse).compress_weight(weight, None).weight_OI
        assert torch.isfinite(rounded).all() and not rounded[1].any()
    if 1e-30 <= size <= 1e30:
        assert (rounded.double() - weight).norm() < 0.2 * weight.double().norm()


# The methods


def slow_gptq(weight, inputs, form, act_order=False, **grid):
    """The rounded weight, and of every row the smallest distance from a tie, in levels."""
    num_in, size = weight.shape[1], GROUP[form] or weight.shape[1]
    numbers = FP8 if BITS[form] == 8 else FP4
    factor = 448 * 6 / float(weight.abs().max())
    scales = torch.empty_like(weight, dtype=torch.float64)
    for at in range(0, num_in, size):
        for row, values in enumerate(weight[:, at : at + size].tolist()):
            scales[row, at : at + size] = slow_scale(values, form, factor, **grid)
    hessian = 2 * inputs.double().T @ inputs.double()
    dead = hessian.diagonal() == 0
    hessian[dead, dead] = 1
    alive = weight.double().masked_fill(dead, 0)
    order = sorted(range(num_in), key=lambda i: -float(hessian[i, i]) if act_order else 0)
    hessian += 0.01 * hessian.diagonal().mean() * torch.eye(num_in)
    margins = [1.0] * len(weight)

    def decide(i, free):
        column = []
        for row, value in enumerate(free[:, i].tolist()):
            scale = float(scales[row, order[i]])
            column.append(slow_snap(value / scale, numbers) * scale)
            gaps = [abs(abs(value) / scale - (a + b) / 2) for a, b in pairwise(numbers)]
            margins[row] = min(margins[row], *gaps)
        return tensor(column, dtype=torch.float64)

    result = torch.empty_like(alive)
    result[:, order] = swept(alive[:, order], hessian[order][:, order], decide)
    return result, tensor(margins)


@pytest.mark.parametrize(
    ("form", "settings"),
    [
        ("nvfp4", {}),
        ("nvfp4", {"act_order": True, "block_size": 8}),
        ("nvfp4", {"mse": True}),
        ("mxfp4", {}),
        ("mxfp4", {"scale_rule": "four_thirds", "act_order": True}),
        ("fp8", {"block_size": 7}),
    ],
    ids=str,
)
@pytest.mark.parametrize("spoil", [lambda x: x, deficient], ids=["full", "deficient"])
def test_gptq_equals_the_slow_solve_on_grids_of_the_dense_weight(form, settings, spoil):
    weight, inputs = random_weight(12, 40), spoil(correlated_inputs(90, 40))
    fast = gptq(form, **settings).compress_weight(weight, hessian_of(inputs)).weight_OI
    slow_settings = {k: v for k, v in settings.items() if k != "block_size"}
    slow, margin = slow_gptq(weight, inputs, form, **slow_settings)
    clear = margin > 1e-4
    assert clear.double().mean() > 0.5
    torch.testing.assert_close(fast[clear].double(), slow[clear], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", BITS)
def test_gptq_by_hand_on_two_features(form):
    """H = [[2, 1], [1, 2]]: what the first column loses, the second gains half of."""
    weight = tensor([[6.0, 2.4], [0.7, 6.0]])
    inputs = tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]) / 2**0.5
    method = gptq(form, damping=0.0)
    found = method.compress_weight(weight, hessian_of(inputs)).weight_OI
    grid = method.grid_format().fit(weight)
    scale = grid.scale_OG[:, 0]
    levels = E4M3 if BITS[form] == 8 else E2M1
    first = levels.nearest(weight[:, 0], scale)
    second = levels.nearest(weight[:, 1] + (weight[:, 0] - first) / 2, scale)
    torch.testing.assert_close(found, torch.stack([first, second], 1))


@pytest.mark.parametrize("form", BITS)
def test_gptq_without_correlations_is_rounding_to_nearest(form):
    weight = random_weight(9, 64)
    found = gptq(form).compress_weight(weight, hessian_of(torch.eye(64))).weight_OI
    assert torch.equal(found, rtn(form).compress_weight(weight, None).weight_OI)


@pytest.mark.parametrize("form", BITS)
def test_gptq_has_less_error_than_rounding_to_nearest(form):
    weight, inputs = random_weight(32, 128), correlated_inputs(400, 128)
    found = [
        method.compress_weight(weight, hessian_of(inputs)).weight_OI
        for method in (gptq(form), rtn(form))
    ]
    errors = [float((inputs @ (new - weight).T).norm()) for new in found]
    assert errors[0] < 0.9 * errors[1]


@pytest.mark.parametrize("form", BITS)
def test_all_weights_lie_on_the_grid_that_is_handed_on(form):
    weight, inputs = random_weight(9, 64), deficient(correlated_inputs(90, 64))
    for method in (rtn(form), gptq(form, act_order=True), sparsegpt(form)):
        new = method.compress_weight(weight, hessian_of(inputs))
        assert new.grid is not None and torch.equal(new.grid.round(new.weight_OI), new.weight_OI)


@pytest.mark.parametrize("form", BITS)
def test_sparsegpt_keeps_half_of_the_weights_and_rounds_them(form):
    weight, inputs = random_weight(9, 64), correlated_inputs(90, 64)
    new = sparsegpt(form).compress_weight(weight, hessian_of(inputs))
    assert 0.5 <= float((new.weight_OI == 0).float().mean()) < 0.62
    dense = make(form).average_bits(9, 64)
    num_removed = 9 * 64 // 2 + 1
    assert new.bits == pytest.approx(dense - BITS[form] * num_removed / (9 * 64) + 1)


def test_nvfp4_shares_its_factor_between_layers_that_runtimes_fuse():
    """Queries, keys and values share the smallest g, whether the method has data or not."""
    model = tiny_model()
    with torch.no_grad():
        model.model.layers[0].self_attn.k_proj.weight[0, 0] = 40.0
        model.model.layers[0].mlp.up_proj.weight[0, 0] = 20.0
    tokens = random_tokens(2, 16)
    for method, in_order in ((rtn("nvfp4"), False), (gptq("nvfp4"), False), (gptq("nvfp4"), True)):
        weights = {k: v.clone() for k, v in model.state_dict().items()}
        reports = compress(model, method, tokens, true_sequential=in_order, keep_grids=True)
        model.load_state_dict(weights)
        factors = {r.layer: r.grid.tensor_factor for r in reports if r.block == 0}
        for name in ("q_proj", "k_proj", "v_proj"):
            assert factors[f"self_attn.{name}"] == pytest.approx(448 * 6 / 40)
        for name in ("gate_proj", "up_proj"):
            assert factors[f"mlp.{name}"] == pytest.approx(448 * 6 / 20)
        for name in ("self_attn.o_proj", "mlp.down_proj"):
            own = model.get_submodule(f"model.layers.0.{name}").weight.abs().max()
            assert factors[name] == pytest.approx(448 * 6 / float(own))


# Settings


@pytest.mark.parametrize("form", BITS)
@pytest.mark.parametrize("method", [rtn, gptq, sparsegpt])
def test_what_does_not_belong_to_a_format_is_refused_with_what_to_type(method, form):
    method(form, group_size=GROUP[form])
    method(form, symmetric=True)
    with pytest.raises(ConfigError, match=rf"bits=3: expected {BITS[form]} .*Type method\.bits="):
        method(form, bits=3)
    with pytest.raises(ConfigError, match=r"group_size=64: .*Type method\.group_size=null"):
        method(form, group_size=64)
    if form != "mxfp4":
        with pytest.raises(ConfigError, match=r"scale_rule='four_thirds'.*method\.format=mxfp4"):
            method(form, scale_rule="four_thirds")


def test_a_format_that_is_none_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=r"format='fp4': expected one of int, nvfp4, mxfp4"):
        RTN(format="fp4", bits=4, group_size=None, symmetric=False)
    with pytest.raises(ConfigError, match=r"static_groups=True: expected false with .*=nvfp4"):
        gptq("nvfp4", static_groups=True, group_size=16)
    with pytest.raises(ConfigError, match=r"format='nvfp4': .*method\.bits=null"):
        sparsegpt("nvfp4", bits=None)


def test_two_mistakes_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        RTN(format="nvfp4", bits=8, group_size=128, symmetric=False, scale_rule="half")
    keys = [problem.split("=")[0] for problem in caught.value.problems]
    assert keys == ["method.scale_rule", "method.bits", "method.group_size"]


def test_every_format_gives_a_model_that_works():
    tokens = random_tokens(2, 16)
    for form in BITS:
        model = tiny_model("qwen3_moe")
        compress(model, gptq(form), tokens)
        assert math.isfinite(float(model(tokens).logits.sum()))
