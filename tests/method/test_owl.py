"""OWL: shares of outliers and sparsities by hand and against a slow reference; what stays exact."""

from functools import partial

import numpy as np
import pytest
import torch
from helpers.fakes import random_tokens, tiny_model
from helpers.random_layers import norms
from helpers.repository import ROOT
from helpers.shipped import METHODS
from hydra.utils import get_class
from omegaconf import OmegaConf
from torch import tensor

from calib_sweep.compression.layer import LayerError
from calib_sweep.compression.profile import profile
from calib_sweep.compression.replay import record
from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError, require
from calib_sweep.method.owl import OWL
from calib_sweep.method.rtn import RTN
from calib_sweep.method.statistics.input_norm import InputNorm
from calib_sweep.method.wanda import Wanda
from calib_sweep.model.blocks import decoder_blocks, enumerate_blocks, linear_layers

CONF = ROOT / "conf" / "method"
WANDA = partial(Wanda, pattern="unstructured")
TOKENS = random_tokens(6, 24)
BASES = ("wanda", "sparsegpt", "magnitude")


def base_of(name, **changes):
    """The method of a YAML, without its sparsity."""
    settings = dict(OmegaConf.load(CONF / f"{name}.yaml")) | changes
    target = settings.pop("_target_")
    del settings["sparsity"]
    return partial(get_class(target), **settings)


def owl(base=WANDA, sparsity=0.5, spread=0.08, outlier_multiple=5):
    return OWL(sparsity=sparsity, spread=spread, outlier_multiple=outlier_multiple, base=base)


def at_least_half(sparsity):
    """A base with a rule of its own."""
    require(sparsity >= 0.5, "method.sparsity", sparsity, "at least 0.5", "Type more.")
    return WANDA(sparsity=sparsity)


def model_with_outliers(**settings):
    """A tiny model whose second block has a few inputs that are much larger than the others."""
    model = tiny_model(**settings)
    block = decoder_blocks(model)[1]
    for norm in (block.input_layernorm, block.post_attention_layernorm):
        norm.weight.data[:3] *= 20
    return model


def slow_sparsities(model, sparsity, spread, outlier_multiple):
    """Sparsity of every block in float64, from runs of the whole dense model."""
    shares, sizes = [], []
    for block in decoder_blocks(model):
        scores = []
        for layer in linear_layers(block).values():
            rows = []
            handle = layer.module.register_forward_pre_hook(
                lambda module, args, rows=rows: rows.append(args[0].flatten(0, -2).double().numpy())
            )
            with torch.no_grad():
                model(TOKENS)
            handle.remove()
            norm_I = np.sqrt((np.concatenate(rows) ** 2).sum(axis=0) / len(TOKENS))
            scores.append((np.abs(layer.weight_OI().double().numpy()) * norm_I).ravel())
        scores = np.concatenate(scores)
        shares.append(np.mean(scores > outlier_multiple * scores.mean()))
        sizes.append(len(scores))
    kept = 2 * spread * (np.array(shares) - min(shares)) / (max(shares) - min(shares))
    return sparsity - (kept - np.average(kept, weights=sizes))


def slow_walk(model, methods):
    """Prune block after block, each with its own method and the whole model run anew for it."""
    for block, method in zip(decoder_blocks(model), methods, strict=True):
        layers, statistics, handles = linear_layers(block), {}, []
        for name, layer in layers.items() if method.statistic is not None else ():
            own = statistics[name] = method.statistic(layer.weight_OI().shape[1])
            handles.append(
                layer.module.register_forward_pre_hook(
                    lambda module, args, own=own: own.add(args[0].flatten(0, -2), len(TOKENS))
                )
            )
        with torch.no_grad():
            model(TOKENS)
        for handle in handles:
            handle.remove()
        for name, layer in layers.items():
            new = method.compress_weight(layer.weight_OI(), statistics.get(name))
            layer.set_weight_OI(new.weight_OI)


def test_share_of_outliers_by_hand():
    # Norms [3, 1]: scores [[3, 1], [30, 0]] and, in the second layer, [[1, 1]]. Mean 36 / 6 = 6.
    weights = {"a": tensor([[1.0, -1.0], [10.0, 0.0]]), "b": tensor([[-1.0, 1.0]])}
    statistics = {
        "a": norms(tensor([[3.0, 0.0], [0.0, 1.0]])),
        "b": norms(torch.eye(2)),
    }
    assert owl(outlier_multiple=4.9).sensitivity(weights, statistics) == 1 / 6
    assert owl(outlier_multiple=5).sensitivity(weights, statistics) == 0  # 30 is not above 30
    assert owl(outlier_multiple=0.4).sensitivity(weights, statistics) == 2 / 6
    assert owl(outlier_multiple=0.1).sensitivity(weights, statistics) == 5 / 6  # a zero never is


def test_a_layer_without_tokens_has_no_outlier_but_counts():
    weights = {"a": tensor([[1.0, 9.0]]), "expert": tensor([[5.0, 5.0]])}
    statistics = {"a": norms(torch.eye(2)), "expert": InputNorm(2)}
    assert owl(outlier_multiple=2).sensitivity(weights, statistics) == 1 / 4


def test_sparsities_by_hand():
    method = owl(sparsity=0.7, spread=0.08)
    got = method.sparsity_of_blocks([0.01, 0.03, 0.02], [10, 10, 10])
    assert got == pytest.approx([0.78, 0.62, 0.70], abs=1e-12)
    # The mean of what is kept more, [0, .16], is .04 where the first block is three times as large.
    got = method.sparsity_of_blocks([0.1, 0.2], [30, 10])
    assert got == pytest.approx([0.74, 0.58], abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_mean_sparsity_is_exactly_what_was_asked_and_more_outliers_keep_more(seed):
    generator = np.random.default_rng(seed)
    ratings, sizes = generator.random(12), generator.integers(1, 100, 12)
    for sparsity in (0.3, 0.5, 0.7):
        got = np.array(owl(sparsity=sparsity).sparsity_of_blocks(ratings, sizes))
        assert np.average(got, weights=sizes) == pytest.approx(sparsity, abs=1e-14)
        assert np.ptp(got) == pytest.approx(0.16)
        assert (np.argsort(got) == np.argsort(-ratings)).all()


def test_equal_shares_give_every_block_the_very_sparsity_asked_for():
    methods = owl(sparsity=0.3).plan_model([0.02] * 4, [7, 8, 9, 10])
    assert methods == [WANDA(sparsity=0.3)] * 4


@pytest.mark.parametrize("name", BASES)
def test_agrees_with_a_slow_reference_on_every_base(name):
    base = base_of(name)
    model = model_with_outliers(hidden_size=64, intermediate_size=96)
    sparsity_B = slow_sparsities(model, 0.5, 0.08, 5)
    assert sparsity_B[0] > 0.55 and sparsity_B[1] < 0.45  # the outliers are where we put them
    slow = model_with_outliers(hidden_size=64, intermediate_size=96)
    slow_walk(slow, [base(sparsity=float(sparsity)) for sparsity in sparsity_B])
    reports = compress(model, owl(base), TOKENS)
    for got, expected in zip(decoder_blocks(model), decoder_blocks(slow), strict=True):
        for name, layer in linear_layers(got).items():
            other_OI = linear_layers(expected)[name].weight_OI()
            assert torch.equal(layer.weight_OI() == 0, other_OI == 0), name
            torch.testing.assert_close(layer.weight_OI(), other_OI, rtol=1e-3, atol=1e-4)
    assert {report.block for report in reports} == {0, 1} and len(reports) == 14


def test_every_block_is_rated_on_what_the_dense_blocks_before_it_give():
    model = model_with_outliers(num_hidden_layers=5)
    expected = slow_sparsities(model, 0.5, 0.08, 5)
    assert len({round(sparsity, 3) for sparsity in expected}) >= 4  # more than a best and a worst
    inputs = record(model, decoder_blocks(model), TOKENS, None, 50)
    methods = profile(enumerate_blocks(model), owl(), inputs)
    assert [method.sparsity for method in methods] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("sparsity", [0.4, 0.6])
def test_the_sparsity_reached_is_the_one_asked_for(name, sparsity):
    settings = {"block_size": 64} if name == "sparsegpt" else {}
    model = model_with_outliers(hidden_size=128, intermediate_size=256)
    reports = compress(model, owl(base_of(name, **settings), sparsity=sparsity), TOKENS)
    sizes = [report.num_out * report.num_in for report in reports]
    reached = np.average([report.sparsity for report in reports], weights=sizes)
    # Wanda leaves a part of a column per row, SparseGPT takes dead features and thresholds more.
    assert reached == pytest.approx(sparsity, abs=1 / 128)
    first, last = reports[0].sparsity, reports[-1].sparsity
    assert first - last == pytest.approx(0.16, abs=0.02)


@pytest.mark.parametrize("name", BASES)
def test_without_spread_it_is_the_base_method(name):
    plain, spread = tiny_model(), tiny_model()
    compress(plain, base_of(name)(sparsity=0.5), TOKENS)
    compress(spread, owl(base_of(name), spread=0), TOKENS)
    for one, other in zip(plain.parameters(), spread.parameters(), strict=True):
        assert torch.equal(one, other)


def test_twice_the_same_is_bit_equal_and_the_order_of_samples_is_of_no_account():
    models = [model_with_outliers() for _ in range(3)]
    for model, tokens in zip(models, (TOKENS, TOKENS, TOKENS.flip(0)), strict=True):
        compress(model, owl(), tokens, batch_tokens=50)
    for one, same, other in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(one, same)
        torch.testing.assert_close(one, other)


def test_a_base_without_data_is_walked_without_data_after_the_survey():
    reports = compress(model_with_outliers(), owl(base_of("magnitude")), TOKENS)
    assert {report.num_tokens for report in reports} == {None}
    with pytest.raises(ConfigError, match="OWL needs calibration data"):
        compress(tiny_model(), owl(base_of("magnitude")), None)


def test_inputs_that_overflow_are_named():
    model = tiny_model().half()
    linear_layers(decoder_blocks(model)[0])["mlp.gate_proj"].module.weight.data.fill_(6e4)
    with pytest.raises(LayerError, match=r"block 0 layer mlp\.down_proj.*model\.dtype=bfloat16"):
        compress(model, owl(base_of("magnitude")), TOKENS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sparsity": 1.0}, r"method\.sparsity=1\.0.*method\.sparsity=0\.5"),
        ({"spread": 0.5}, r"method\.spread=0\.5: expected a number in \[0, 0\.5\)"),
        ({"spread": "wide"}, r"method\.spread='wide'"),
        ({"outlier_multiple": 0}, r"method\.outlier_multiple=0: expected a number > 0"),
        ({"base": WANDA(sparsity=0.5)}, r"method\.base=.*conf/method/owl\.yaml.*_partial_"),
        ({"base": "wanda"}, r"method\.base='wanda'.*conf/method/owl\.yaml"),
        (
            {"base": partial(RTN, bits=4, group_size=None, symmetric=False)},
            r"method\.base=.*unexpected keyword argument 'sparsity'",
        ),
        ({"base": partial(Wanda, pattern="2:4")}, r"method\.base\.pattern='2:4'.*unstructured"),
        ({"base": partial(Wanda, pattern="2-4")}, r"method\.base\.pattern='2-4'"),
        (  # whatever sparsity the pattern would ask for
            {"base": partial(Wanda, pattern="2:4"), "sparsity": 0.6},
            r"method\.base\.pattern='2:4'.*unstructured",
        ),
        ({"base": at_least_half, "sparsity": 0.3}, r"^method\.sparsity=0\.3: .* at least 0\.5"),
        ({"base": base_of("sparsegpt", damping=-1)}, r"^method\.base\.damping=-1.*base\.damping="),
        (
            {"base": partial(Wanda, pattern="unstructured", sparsity=0.4)},
            r"method\.base\.sparsity=0\.4: expected no value.*Example: method\.sparsity",
        ),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message) as caught:
        owl(**settings)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize("sparsity", [0.05, 0.95])
def test_a_spread_that_a_block_has_no_room_for_is_refused_before_anything_is_changed(sparsity):
    model = model_with_outliers()
    with pytest.raises(ConfigError, match=r"method\.spread=0\.08.*block \d would have.*Lower"):
        compress(model, owl(sparsity=sparsity), TOKENS)
    for parameter, before in zip(
        model.parameters(), model_with_outliers().parameters(), strict=True
    ):
        assert torch.equal(parameter, before)


def test_a_base_that_compares_two_streams_is_refused():
    with pytest.raises(ConfigError, match=r"method\.base='Qronos': expected a method that sees"):
        owl(lambda sparsity: METHODS["qronos"])
