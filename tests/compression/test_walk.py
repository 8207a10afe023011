"""The walk against a slow walk that runs the whole model for every layer, and its promises."""

import copy
import weakref
from dataclasses import replace

import pytest
import torch
from helpers.fakes import ARCHITECTURES, random_tokens, tiny_model

from calib_sweep.compression import spreading
from calib_sweep.compression.layer import LayerError, compress_layer
from calib_sweep.compression.observation import observe
from calib_sweep.compression.replay import record
from calib_sweep.compression.settings import Walk
from calib_sweep.compression.walk import compress, walk
from calib_sweep.errors import ConfigError
from calib_sweep.method.awq import AWQ
from calib_sweep.method.dense import Dense
from calib_sweep.method.magnitude import Magnitude
from calib_sweep.method.rtn import RTN
from calib_sweep.method.shortgpt import ShortGPT
from calib_sweep.method.sparsegpt import SparseGPT
from calib_sweep.method.statistics.hessian import Hessian
from calib_sweep.method.statistics.input_norm import InputNorm
from calib_sweep.method.statistics.statistic import Statistic
from calib_sweep.method.wanda import Wanda
from calib_sweep.model.blocks import decoder_blocks, linear_layers

WANDA = Wanda(sparsity=0.5, pattern="unstructured")
SOLVE = {"sparsity": 0.5, "damping": 0.01, "off_diagonal": 1, "block_size": 16}
SOLVE |= {"bits": None, "group_size": None, "symmetric": False}
SPARSEGPT = SparseGPT(pattern="unstructured", **SOLVE)
MAGNITUDE = Magnitude(sparsity=0.5, pattern="unstructured", compare="layer")
AWQ_4 = AWQ(bits=4, group_size=16, symmetric=False, scale_steps=2, clip_steps=4, max_shrink=0.5)
RTN_4 = RTN(bits=4, group_size=None, symmetric=False)
ALL = {
    "dense": Dense(),
    "magnitude": MAGNITUDE,
    "rtn": RTN_4,
    "wanda": WANDA,
    "wanda 2:4": Wanda(sparsity=0.5, pattern="2:4"),
    "sparsegpt": SPARSEGPT,
    "sparsegpt 2:4": SparseGPT(pattern="2:4", **SOLVE),
}
TOKENS = random_tokens(6, 40)
LENGTHS = torch.tensor([40, 7, 23, 40, 1, 30])
SETTINGS = Walk(
    propagate="compressed",
    true_sequential=False,
    batch_tokens=10_000,
    all_experts=False,
    tensor_cores=True,
)


def weights(model):
    return {
        (index, name): layer.weight_OI().clone()
        for index, block in enumerate(decoder_blocks(model))
        for name, layer in linear_layers(block).items()
    }


def inputs_of(model, layer, lengths=None):
    """A layer's input rows when the whole model runs on one sample after the other."""
    rows = []
    handle = layer.module.register_forward_pre_hook(
        lambda module, args: rows.append(args[0].reshape(-1, args[0].shape[-1]).clone())
    )
    with torch.no_grad():
        for sample, length in enumerate(lengths or [TOKENS.shape[1]] * len(TOKENS)):
            model(TOKENS[sample : sample + 1, :length])
    handle.remove()
    return rows


def slow_walk(model, method, *, propagate, lengths=None, order=None):
    """Compress by running the whole model anew for each layer; groups of a block in `order`."""
    dense = copy.deepcopy(model)
    for index, block in enumerate(decoder_blocks(model)):
        source = dense if propagate == "dense" else model
        statistics, groups = {}, order or [list(linear_layers(block))]
        for group in groups:
            for name in group:
                layer = linear_layers(decoder_blocks(source)[index])[name]
                statistics[name] = method.statistic(layer.weight_OI().shape[1])
                for rows in inputs_of(source, layer, lengths):
                    statistics[name].add(rows)
            for name in group:
                layer = linear_layers(block)[name]
                new = method.compress_weight(layer.weight_OI(), statistics[name])
                layer.set_weight_OI(new.weight_OI)


def assert_same_weights(got, expected, **tolerance):
    for key, weight in weights(expected).items():
        other = weights(got)[key]
        assert torch.equal(other == 0, weight == 0), key
        torch.testing.assert_close(other, weight, **tolerance)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("propagate", ["compressed", "dense"])
def test_agrees_with_the_slow_walk(architecture, propagate):
    fast, slow = tiny_model(architecture), tiny_model(architecture)
    compress(fast, WANDA, TOKENS, propagate=propagate, batch_tokens=80)
    slow_walk(slow, WANDA, propagate=propagate)
    assert_same_weights(fast, slow)


LLAMA_ORDER = [
    ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    ["self_attn.o_proj"],
    ["mlp.gate_proj", "mlp.up_proj"],
    ["mlp.down_proj"],
]


def test_sparsegpt_agrees_with_the_slow_walk():
    fast, slow = tiny_model(), tiny_model()
    compress(fast, SPARSEGPT, TOKENS, batch_tokens=80)
    slow_walk(slow, SPARSEGPT, propagate="compressed")
    assert_same_weights(fast, slow, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("batch_tokens", [80, 10_000])
def test_true_sequential_agrees_with_the_slow_walk(batch_tokens):
    fast, slow, plain = tiny_model(), tiny_model(), tiny_model()
    compress(fast, WANDA, TOKENS, true_sequential=True, batch_tokens=batch_tokens)
    slow_walk(slow, WANDA, propagate="compressed", order=LLAMA_ORDER)
    assert_same_weights(fast, slow)
    compress(plain, WANDA, TOKENS)
    first, other = weights(fast), weights(plain)
    assert torch.equal(first[0, "self_attn.q_proj"], other[0, "self_attn.q_proj"])
    assert not torch.equal(first[0, "mlp.down_proj"], other[0, "mlp.down_proj"])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_padding_is_left_out_of_every_statistic(architecture):
    fast, slow = tiny_model(architecture), tiny_model(architecture)
    reports = walk(fast, WANDA, TOKENS, lengths_N=LENGTHS, settings=SETTINGS)
    slow_walk(slow, WANDA, propagate="compressed", lengths=LENGTHS.tolist())
    assert_same_weights(fast, slow)
    assert {report.num_tokens for report in reports} == {int(LENGTHS.sum())}


@pytest.mark.parametrize("name", ["wanda", "sparsegpt", "sparsegpt 2:4"])
def test_the_order_of_samples_moves_no_number(name):
    in_order, shuffled = tiny_model(), tiny_model()
    compress(in_order, ALL[name], TOKENS, batch_tokens=80)
    compress(shuffled, ALL[name], TOKENS[[4, 0, 5, 3, 1, 2]], batch_tokens=120)
    assert_same_weights(shuffled, in_order, rtol=1e-3, atol=1e-4)


def test_any_number_of_samples_is_taken():
    for num_samples in (1, 130):
        reports = compress(tiny_model(), WANDA, random_tokens(num_samples, 4), batch_tokens=64)
        assert {report.num_tokens for report in reports} == {4 * num_samples}


def test_full_lengths_are_no_padding():
    padded, plain = tiny_model(), tiny_model()
    compress(padded, WANDA, TOKENS, lengths=torch.full((6,), 40))
    compress(plain, WANDA, TOKENS)
    assert_same_weights(padded, plain, rtol=0, atol=0)


@pytest.mark.parametrize("method", ["wanda", "sparsegpt", "sparsegpt 2:4"])
@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_the_batch_size_moves_no_number(architecture, method):
    whole, parts = tiny_model(architecture), tiny_model(architecture)
    compress(whole, ALL[method], TOKENS, batch_tokens=10_000)
    compress(parts, ALL[method], TOKENS, batch_tokens=1)
    assert_same_weights(parts, whole, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(
            parts(TOKENS, labels=TOKENS).loss, whole(TOKENS, labels=TOKENS).loss, rtol=1e-5, atol=0
        )


@pytest.mark.parametrize("name", ["wanda", "sparsegpt"])
def test_twice_the_same_is_bit_equal(name):
    one, other = tiny_model(), tiny_model()
    first, second = (compress(model, ALL[name], TOKENS) for model in (one, other))
    assert_same_weights(one, other, rtol=0, atol=0)
    assert [r.output_error for r in first] == [r.output_error for r in second]


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])  # the others: test_architectures.py
@pytest.mark.parametrize("name", ALL)
def test_every_method_reaches_its_sparsity_and_reports_it(architecture, name):
    model, dense = tiny_model(architecture), tiny_model(architecture)
    reports = compress(model, ALL[name], TOKENS)
    changed, before = weights(model), weights(dense)
    assert [(r.block, r.layer) for r in reports] == list(before)
    for report in reports:
        weight = changed[report.block, report.layer]
        assert (report.num_out, report.num_in) == weight.shape
        assert report.sparsity == pytest.approx(float((weight == 0).float().mean()))
        if hasattr(ALL[name], "sparsity"):
            # Blocks of 16 columns: one weight more each, and what dead features add.
            assert 0.5 <= report.sparsity < 0.56
        assert torch.equal(weight, before[report.block, report.layer]) == (name == "dense")
        assert (report.bits is not None) == (name == "rtn")
        assert (report.output_error is not None) == (ALL[name].statistic is not None)
        assert (report.damping is not None) == name.startswith("sparsegpt")
    # Nothing but the linear layers of blocks has changed.
    kept = {
        id(layer.module.weight)
        for block in decoder_blocks(model)
        for layer in linear_layers(block).values()
    }
    for new, old in zip(model.parameters(), dense.parameters(), strict=True):
        assert id(new) in kept or torch.equal(new, old)


@pytest.mark.parametrize("name", ["sparsegpt", "wanda"])
def test_output_error_is_that_of_the_layer(name):
    model, dense = tiny_model(), tiny_model()
    reports = compress(model, ALL[name], TOKENS)
    rows = torch.cat(inputs_of(dense, linear_layers(decoder_blocks(dense)[0])["mlp.gate_proj"]))
    key = (0, "mlp.gate_proj")
    change = rows @ (weights(dense)[key] - weights(model)[key]).T
    expected = change.square().sum() / (rows @ weights(dense)[key].T).square().sum()
    report = next(r for r in reports if (r.block, r.layer) == key)
    assert report.output_error == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("name", ["dense", "magnitude", "rtn"])
def test_data_free_methods_ignore_tokens_and_run_nothing(name):
    with_tokens, without = tiny_model(), tiny_model()
    runs = []
    with_tokens.register_forward_pre_hook(lambda *_: runs.append(1))
    decoder_blocks(with_tokens)[0].register_forward_pre_hook(lambda *_: runs.append(1))
    reports = compress(with_tokens, ALL[name], TOKENS)
    compress(without, ALL[name], None)
    assert_same_weights(with_tokens, without, rtol=0, atol=0)
    assert not runs and {r.num_tokens for r in reports} == {None}


def test_sparsity_zero_of_wanda_is_the_dense_model():
    model = tiny_model()
    compress(model, Wanda(sparsity=0.0, pattern="unstructured"), TOKENS)
    assert_same_weights(model, tiny_model(), rtol=0, atol=0)


@pytest.mark.parametrize("statistic_type", [InputNorm, Hessian])
@torch.no_grad()
def test_layers_with_one_input_share_a_statistic_equal_to_their_own(statistic_type):
    model = tiny_model()
    blocks = decoder_blocks(model)
    layers = linear_layers(blocks[0])
    inputs = record(model, blocks, TOKENS, None, 80)
    shared = observe(blocks[0], 0, layers, inputs, statistic_type)
    assert shared.groups() == LLAMA_ORDER and shared.each_once
    for name, layer in layers.items():
        alone = observe(blocks[0], 0, {name: layer}, inputs, statistic_type).statistics[name]
        assert torch.equal(alone.square_sum_I(), shared.statistics[name].square_sum_I())
        assert alone.num_tokens == shared.statistics[name].num_tokens == TOKENS.numel()
        assert alone.num_samples == len(TOKENS)


@pytest.mark.parametrize(
    ("architecture", "sizes"),
    [("opt", [3, 1, 1, 1]), ("gpt2", [1, 1, 1, 1]), ("gpt_neox", [1, 1, 1, 1])],
)
@torch.no_grad()
def test_other_architectures_share_what_they_can(architecture, sizes):
    model = tiny_model(architecture)
    blocks = decoder_blocks(model)
    inputs = record(model, blocks, TOKENS, None, 10_000)
    seen = observe(blocks[0], 0, linear_layers(blocks[0]), inputs, InputNorm)
    assert [len(group) for group in seen.groups()] == sizes


@pytest.mark.parametrize(
    ("settings", "runs"),
    [({}, [2, 1]), ({"propagate": "dense"}, [1, 1]), ({"true_sequential": True}, [6, 5])],
)
def test_blocks_run_no_more_often_than_needed(settings, runs):
    model = tiny_model()
    counts = [0, 0]
    for index, block in enumerate(decoder_blocks(model)):
        original = type(block).forward

        def forward(self, *args, index=index, original=original, **kwargs):
            counts[index] += (
                args[0].shape[1] == TOKENS.shape[1]
            )  # questions with few tokens are free
            return original(self, *args, **kwargs)

        block.__class__ = type("Counted", (type(block),), {"forward": forward})
    compress(model, WANDA, TOKENS, batch_tokens=10_000, **settings)
    assert counts == runs


@pytest.mark.parametrize(
    ("method", "in_order", "expected"),
    [
        (SPARSEGPT, False, [4, 4, 4, 3, 2, 2, 1]),
        (AWQ_4, False, [4, 4, 4, 3, 2, 2, 1]),
        (SPARSEGPT, True, 7 * [1]),
    ],
    ids=["sparsegpt", "awq", "sparsegpt in order"],
)
def test_a_statistic_is_let_go_with_the_last_layer_that_needs_it(
    monkeypatch, method, in_order, expected
):
    """With it goes its factorisation, of the same size: in a mixture both are gigabytes."""
    alive, counts = weakref.WeakSet(), []
    found = Statistic.__init__

    def begin(self, *arguments):
        found(self, *arguments)
        if type(self) is method.statistic:
            alive.add(self)

    def count(*arguments):
        counts.append(len(alive))
        return compress_layer(*arguments)

    monkeypatch.setattr(Statistic, "__init__", begin)
    monkeypatch.setattr(spreading, "compress_layer", count)
    compress(tiny_model(), method, TOKENS, true_sequential=in_order)
    assert counts == 2 * expected


def test_dense_propagation_changes_later_blocks_only():
    compressed, dense = tiny_model(), tiny_model()
    compress(compressed, WANDA, TOKENS)
    compress(dense, WANDA, TOKENS, propagate="dense")
    for key, weight in weights(dense).items():
        if key[0] == 0:
            assert torch.equal(weight, weights(compressed)[key])
    assert not torch.equal(weights(dense)[1, "mlp.up_proj"], weights(compressed)[1, "mlp.up_proj"])


def test_progress_is_told_block_by_block():
    told = []
    walk(
        tiny_model(),
        WANDA,
        TOKENS,
        settings=SETTINGS,
        on_block=lambda index, num_blocks, seconds: told.append((index, num_blocks, seconds > 0)),
    )
    assert told == [(0, 2, True), (1, 2, True)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_models_stay_so_and_end_in_eval_mode(dtype):
    model = tiny_model().to(dtype).train()
    reports = compress(model, SPARSEGPT, TOKENS)
    assert {p.dtype for p in model.parameters()} == {dtype} and not model.training
    assert all(0.5 <= r.sparsity < 0.6 for r in reports)


def test_weights_keep_their_memory_and_no_hook_is_left():
    model = tiny_model()
    addresses = [p.data_ptr() for p in model.parameters()]
    tokens = TOKENS.clone()
    compress(model, WANDA, tokens, true_sequential=True)
    assert addresses == [p.data_ptr() for p in model.parameters()] and torch.equal(tokens, TOKENS)
    for module in model.modules():
        assert not module._forward_pre_hooks and not module._forward_hooks
        assert "forward" not in module.__dict__


def test_works_where_gradients_or_inference_mode_are_on():
    trained, inferred, plain = tiny_model(), tiny_model(), tiny_model()
    compress(trained.requires_grad_(True), WANDA, TOKENS)
    with torch.inference_mode():
        compress(inferred, WANDA, TOKENS)
    compress(plain, WANDA, TOKENS)
    assert_same_weights(trained, plain)
    assert_same_weights(inferred, plain)


def test_blocks_run_in_full_float32_whatever_the_process_had_set():
    model, seen = tiny_model(), set()
    decoder_blocks(model)[0].register_forward_pre_hook(
        lambda *_: seen.add(torch.get_float32_matmul_precision())
    )
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        compress(model, WANDA, TOKENS)
        assert seen == {"highest"} and torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_pattern_that_does_not_fit_is_refused_before_anything_is_changed():
    model = tiny_model(intermediate_size=46)
    phrase = r"2:4.*46 input features of block 0 mlp\.down_proj"
    with pytest.raises(ConfigError, match=phrase) as caught:
        compress(model, Magnitude(sparsity=0.5, pattern="2:4", compare="layer"), None)
    assert len(caught.value.problems) == 1
    assert_same_weights(model, tiny_model(intermediate_size=46), rtol=0, atol=0)


@pytest.mark.parametrize("tokens", [None, torch.zeros(4, dtype=torch.long), TOKENS[:0]])
def test_a_method_that_needs_data_asks_for_it(tokens):
    with pytest.raises(ConfigError, match=r"tokens=.*\[num_samples, seq_len\].*Wanda needs"):
        compress(tiny_model(), WANDA, tokens)


def test_lengths_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="one length per sample, 6 in all"):
        compress(tiny_model(), WANDA, TOKENS, lengths=torch.tensor([1, 2]))


def test_a_damaged_weight_is_named():
    model = tiny_model()
    linear_layers(decoder_blocks(model)[1])["mlp.up_proj"].module.weight.data[3, 4] = float("nan")
    with pytest.raises(LayerError, match=r"block 1 layer mlp\.up_proj \(48 x 32\).*not finite"):
        compress(model, MAGNITUDE, None)


def test_overflowing_activations_are_named_with_a_remedy():
    model = tiny_model().half()
    linear_layers(decoder_blocks(model)[0])["mlp.gate_proj"].module.weight.data.fill_(6e4)
    with pytest.raises(LayerError, match=r"block 0 layer mlp\.down_proj.*model\.dtype=bfloat16"):
        compress(model, WANDA, TOKENS)


def test_a_repair_beyond_half_precision_is_named_and_leaves_the_weight():
    model = tiny_model().half()
    layer = linear_layers(decoder_blocks(model)[1])["mlp.down_proj"]
    layer.module.weight.data.fill_(6e4)  # what is removed adds to the others: more than 65,504
    with pytest.raises(LayerError, match=r"block 1 layer mlp\.down_proj.*not finite in float16"):
        compress(model, SPARSEGPT, TOKENS)
    assert (layer.module.weight == 6e4).all()


def test_a_failing_solve_is_named(monkeypatch):
    def fail(self, damping, **how):
        raise ArithmeticError("no factor")

    monkeypatch.setattr(Hessian, "inverse_factor", fail)
    with pytest.raises(LayerError, match=r"block 0 layer self_attn\.q_proj \(32 x 32\): no factor"):
        compress(tiny_model(), SPARSEGPT, TOKENS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"propagate": "sparse"},
            r"walk\.propagate='sparse': expected published, compressed or dense",
        ),
        ({"true_sequential": "yes"}, r"walk\.true_sequential='yes'"),
        ({"propagate": "dense", "true_sequential": True}, r"walk\.true_sequential=True.*dense"),
        ({"batch_tokens": 0}, r"walk\.batch_tokens=0.*16384"),
        ({"tensor_cores": 1}, r"walk\.tensor_cores=1: expected true or false"),
    ],
)
def test_wrong_settings_of_the_walk_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        compress(tiny_model(), WANDA, TOKENS, **settings)


@pytest.mark.parametrize("propagate", ["published", "compressed", "dense"])
def test_a_survey_is_dense_whatever_is_propagated(propagate):
    settings, method = replace(SETTINGS, propagate=propagate), ShortGPT(sparsity=0.5)
    assert settings.propagated(method) == "dense"


@pytest.mark.parametrize("propagate", ["published", "compressed"])
def test_a_survey_has_no_layers_in_order(propagate):
    settings = replace(SETTINGS, propagate=propagate, true_sequential=True)
    with pytest.raises(ConfigError, match=r"walk\.true_sequential=True.*false with ShortGPT"):
        settings.check_method(ShortGPT(sparsity=0.5))
