"""DSnoT: hand-computed swaps, a slow independent search, each trap of the published code."""

import math
from dataclasses import replace

import pytest
import torch
from helpers.fakes import random_tokens, tiny_model
from helpers.least_squares import deficient, pivots
from helpers.random_layers import correlated_inputs, random_weight
from torch import tensor

from calib_sweep.compression.rows import BatchTokens, Taken, add_alone
from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.method.dsnot import DSnoT
from calib_sweep.method.statistics.input_moments import HessianMoments, InputMoments
from calib_sweep.method.wanda import Wanda
from calib_sweep.model.blocks import decoder_blocks, linear_layers

DEFAULTS = {
    "sparsity": 0.5,
    "pattern": "unstructured",
    "initial": "wanda",
    "max_cycles": 50,
    "threshold": 0.1,
    "variance": "inside",
    "variance_power": 1,
    "same_sign": False,
    "skip": "mlp",
}


def dsnot(**settings):
    return DSnoT(**{**DEFAULTS, **settings})


def moments(inputs_TI, num_samples=1, kind=InputMoments):
    statistic = kind(inputs_TI.shape[1])
    if len(inputs_TI) < num_samples:
        statistic.add(inputs_TI, num_samples)
        return statistic
    for sample_TI in inputs_TI.chunk(num_samples):
        statistic.add(sample_TI)
    return statistic


def slow_dsnot(weight, inputs, num_samples=1, **settings):
    """Removed columns of each row, in Python numbers; also how close a decision was to its other.

    Each swap looks at all weights anew, without lists or places in them.
    """
    method = dsnot(**settings)
    inputs, num_in = inputs.double(), weight.shape[1]
    sums = (inputs.sum(dim=0) / num_samples).tolist()
    norms = (inputs.square().sum(dim=0) / num_samples).sqrt().tolist()
    samples = inputs.chunk(num_samples) if method.variance == "inside" else [inputs]
    variances = [
        sum(len(x) * float(x[:, i].var(unbiased=False)) for x in samples) / len(inputs)
        for i in range(num_in)
    ]
    free = None
    if method.initial == "sparsegpt":
        free = slow_pivots(inputs, num_samples)
    rows, margins = [], [1.0]
    for row in weight.double().tolist():
        wanda = [abs(w) * norm for w, norm in zip(row, norms, strict=True)]
        initial = {
            "wanda": wanda,
            "magnitude": [abs(w) for w in row],
            "sparsegpt": [
                0.0 if norms[i] == 0 else row[i] ** 2 / free[i] for i in range(num_in) if free
            ],
        }[method.initial]
        loss = [w * s for w, s in zip(row, sums, strict=True)]
        gain = [
            slow_gain(d, v**method.variance_power) for d, v in zip(loss, variances, strict=True)
        ]
        rows.append(slow_row(method, loss, gain, wanda, initial, margins))
    return rows, min(margins)


def slow_gain(loss, spread):
    return math.copysign(math.inf, loss) if spread == 0 and loss else loss / (spread or 1)


def slow_pivots(inputs, num_samples):
    hessian = 2 / num_samples * inputs.T @ inputs
    dead = hessian.diagonal() == 0
    hessian += torch.diag(dead.double())
    return pivots(hessian + 0.01 * hessian.diagonal().mean() * torch.eye(len(hessian)))


def slow_row(method, loss, gain, wanda, initial, margins):
    gone = first_mask(method, initial)
    start, touched = set(gone), set()
    error = first = sum(loss[i] for i in gone)
    for _ in range(method.max_cycles):
        margins.append(abs(abs(error) - method.threshold) / max(abs(error), method.threshold))
        if abs(error) <= method.threshold:
            break
        sign = 1 if error > 0 else -1
        back = [i for i in start - touched if loss[i] * sign > 0]
        if not back:
            break
        back = max(back, key=lambda i: (gain[i] * sign, i * sign))
        touched.add(back)
        kept = set(range(len(loss))) - start - touched
        out = slow_partner([i for i in kept if loss[i] * sign < 0], wanda)
        if method.pattern != "unstructured":
            length = int(method.pattern.split(":")[1])
            out = slow_partner([i for i in kept if i // length == back // length], initial)
        if out is None:
            continue
        touched.add(out)
        after = error + loss[out] - loss[back]
        if method.same_sign or method.pattern != "unstructured":
            margins.append(abs(after) / abs(error))
            if after * first <= 0:
                break
        error = after
        gone = gone - {back} | {out}
    return sorted(gone)


def slow_partner(columns, score):
    return min(columns, key=lambda i: score[i], default=None)


def first_mask(method, initial):
    num_in = len(initial)
    if method.pattern == "unstructured":
        return set(sorted(range(num_in), key=lambda i: initial[i])[: int(num_in * method.sparsity)])
    kept, length = map(int, method.pattern.split(":"))
    groups = [range(start, start + length) for start in range(0, num_in, length)]
    return {i for g in groups for i in sorted(g, key=lambda i: initial[i])[: length - kept]}


def removed(weight_OI):
    return [(row == 0).nonzero().flatten().tolist() for row in weight_OI]


# Sums 6, 2, -3 and 1 of a sample of two tokens; variances 4, 1, .25 and .25; |x| 6.3, 2, 2.2, 1.
SAMPLE = tensor([[5.0, 2.0, -2.0, 1.0], [1.0, 0.0, -1.0, 0.0]])


def test_2_by_4_by_hand():
    statistic = moments(SAMPLE)
    assert statistic.sum_I().tolist() == [6, 2, -3, 1]
    assert statistic.variance_I().tolist() == [4, 1, 0.25, 0.25]
    weight = tensor([[1.0, 1.0, 2.0, 1.0], [1.0, 1.0, 1.0, 1.0]])
    # First row: scores 5.1, 2, 4.5, 1; removed are columns 3 and 1, losses 1 and 2, r = 3. Losses
    # over variances are 4 and 2: column 3 comes back; of the kept, column 2 has a loss below 0 (-6)
    # and goes: r = 3 - 1 - 6 = -4. Then column 1, of the removed, would have to be below 0: none.
    # Second row: scores 5.1, 2, 2.2, 1, the same first mask; column 2 has loss -3: r = -1.
    new = dsnot().compress_weight(weight, statistic)
    assert new.weight_OI.tolist() == [[1, 0, 0, 1], [1, 0, 0, 1]]
    assert new.note is None and new.damping is None
    # By the loss alone column 1 comes back instead.
    new = dsnot(variance_power=0).compress_weight(weight, statistic).weight_OI
    assert new.tolist() == [[1, 1, 0, 0], [1, 1, 0, 0]]
    # Both rows would turn the sign of r.
    new = dsnot(same_sign=True).compress_weight(weight, statistic).weight_OI
    assert new.tolist() == [[1, 0, 2, 0], [1, 0, 1, 0]]
    # 3 is not above 3.
    assert dsnot(threshold=3).compress_weight(weight, statistic).weight_OI.tolist() == new.tolist()


def test_2_4_by_hand():
    weight = tensor([[1.0, 1.0, 0.5, 1.0], [1.0, 2.0, 1.0, 1.0]])
    # First row: scores 5.1, 2, 1.1, 1; removed are columns 2 and 3, losses -1.5 and 1, r = -.5.
    # Column 2 comes back, and column 1, the lower score, goes: r = -.5 + 2 + 1.5 turns its sign.
    # Second row: scores 5.1, 4, 2.2, 1; the same first mask, r = -2; column 1 goes: 5. Neither.
    new = dsnot(pattern="2:4").compress_weight(weight, moments(SAMPLE)).weight_OI
    assert new.tolist() == [[1, 1, 0, 0], [1, 2, 0, 0]]
    weight[1, 1] = -2.0  # then column 1 has loss -4: r = -2 + 3 - 4 = -3, and again nothing is left
    new = dsnot(pattern="2:4").compress_weight(weight, moments(SAMPLE)).weight_OI
    assert new.tolist() == [[1, 1, 0, 0], [1, 0, 1, 0]]


CASES = [
    {},
    {"sparsity": 0.7},
    {"initial": "magnitude"},
    {"initial": "sparsegpt"},
    {"same_sign": True},
    {"variance_power": 0},
    {"variance_power": 0.5, "threshold": 3.0},
    {"variance": "all"},
    {"max_cycles": 3},
    {"pattern": "2:4"},
    {"pattern": "4:8"},
    {"pattern": "1:4", "sparsity": 0.75},
    {"pattern": "2:4", "initial": "sparsegpt"},
]


@pytest.mark.parametrize("settings", CASES, ids=str)
@pytest.mark.parametrize("kind", ["many tokens", "few tokens", "deficient", "one sample"])
def test_agrees_with_the_slow_search(kind, settings):
    inputs = correlated_inputs({"few tokens": 9, "one sample": 1}.get(kind, 90), 24, 3)
    inputs += torch.linspace(-1, 1, 24)  # means that are not zero
    if kind == "deficient":
        inputs = deficient(inputs)
    weight = random_weight(40, 24)
    method = dsnot(**settings)
    statistic = moments(inputs, 3, method.statistic)
    expected, margin = slow_dsnot(weight, inputs, 3, **settings)
    assert margin > 1e-5  # no decision hangs on a last digit
    new = method.compress_weight(weight, statistic).weight_OI
    assert removed(new) == expected
    assert torch.equal(new[new != 0], weight[new != 0])


def test_masks_move_and_keep_their_share():
    weight, statistic = random_weight(40, 640), moments(correlated_inputs(700, 640) + 0.3)
    first = dsnot(sparsity=0.6, max_cycles=0).compress_weight(weight, statistic).weight_OI
    new = dsnot(sparsity=0.6).compress_weight(weight, statistic).weight_OI
    assert (new == 0).sum(dim=1).tolist() == [384] * 40
    assert 0 < ((first == 0) != (new == 0)).sum(dim=1).max() <= 2 * 50
    loss = weight * statistic.sum_I()
    left, at_first = ((loss * (w == 0)).sum(dim=1).abs() for w in (new, first))
    assert float(left.mean()) < 0.3 * float(at_first.mean())


@pytest.mark.parametrize("settings", CASES, ids=str)
def test_rows_without_candidates_keep_their_share(settings):
    weight, inputs = random_weight(20, 16), correlated_inputs(40, 16) + 2
    method = replace(dsnot(**settings), threshold=0, max_cycles=50)  # more swaps than weights
    new = method.compress_weight(weight, moments(inputs, 1, method.statistic)).weight_OI
    assert (new == 0).sum(dim=1).tolist() == [int(16 * method.sparsity)] * 20


@pytest.mark.parametrize("pattern", ["unstructured", "2:4"])
def test_no_cycles_are_wanda(pattern):
    weight, statistic = random_weight(8, 32), moments(correlated_inputs(50, 32) + 1)
    expected = Wanda(sparsity=0.5, pattern=pattern).compress_weight(weight, statistic).weight_OI
    for still in ({"max_cycles": 0}, {"threshold": 1e6}):
        new = dsnot(pattern=pattern, **still).compress_weight(weight, statistic).weight_OI
        assert torch.equal(new, expected)


def test_the_threshold_is_absolute_and_grows_with_the_length_of_samples():
    weight, inputs = random_weight(16, 32), correlated_inputs(64, 32) + 1
    long, short = (moments(inputs, num_samples=n) for n in (1, 64))
    torch.testing.assert_close(long.sum_I(), 64 * short.sum_I())
    swaps = [
        int((new != first).any(dim=1).sum())
        for statistic in (long, short)
        for new, first in [
            [
                m.compress_weight(weight, statistic).weight_OI
                for m in (dsnot(threshold=2), dsnot(max_cycles=0))
            ]
        ]
    ]
    assert swaps[0] == 16 > swaps[1]


def test_a_feature_that_is_the_same_in_every_token_comes_back_first():
    inputs = SAMPLE.clone()
    inputs[:, 1] = 1  # variance 0: D / v is infinite
    new = dsnot().compress_weight(tensor([[1.0, 1.0, 2.0, 1.0]]), moments(inputs))
    assert new.weight_OI.tolist() == [[1, 1, 0, 0]]


def test_weights_of_dead_features_never_come_back():
    inputs = correlated_inputs(60, 32) + 1
    inputs[:, :8] = 0
    for settings in CASES:
        method = dsnot(**settings)
        new = method.compress_weight(random_weight(16, 32), moments(inputs, 2, method.statistic))
        if "magnitude" not in settings.values() and "pattern" not in settings:
            assert not new.weight_OI[:, :8].any(), settings
        assert "8 dead input features" in new.note


@pytest.mark.parametrize("skip", ["mlp", "attention", None])
def test_layers_that_are_skipped_keep_the_first_mask(skip):
    tokens = random_tokens(4, 24)
    for architecture in ("llama", "opt", "gpt_neox"):
        first, moved = tiny_model(architecture), tiny_model(architecture)
        compress(first, dsnot(max_cycles=0), tokens)
        compress(moved, dsnot(skip=skip), tokens)
        layers = [linear_layers(decoder_blocks(m)[0]) for m in (first, moved)]
        for name, layer in layers[0].items():
            same = torch.equal(layer.weight_OI(), layers[1][name].weight_OI())
            part = "attention" if "att" in name else "mlp"
            assert same == (skip == part), (architecture, name)


def test_a_weight_of_a_token_counts_as_often_as_it_says():
    inputs, weights = correlated_inputs(30, 8) + 1, torch.randint(1, 4, (30,))
    repeated = moments(inputs.repeat_interleave(weights, dim=0), num_samples=3)
    for kind in (InputMoments, HessianMoments):
        weighted = kind(8)
        weighted.add(inputs, 3, weights.float())
        torch.testing.assert_close(weighted.sum_I(), repeated.sum_I())
        torch.testing.assert_close(weighted.variance_I(), repeated.variance_I())
        torch.testing.assert_close(weighted.square_sum_I(), repeated.square_sum_I())


def test_the_variance_is_the_mean_of_those_inside_samples_or_of_all_tokens():
    values = tensor([[1000.0], [1001.0], [1002.0], [1003.0]])
    whole, parts = moments(values), InputMoments(1)
    for value in values.split(2):
        parts.add(value)
    assert float(whole.variance_I()) == pytest.approx(1.25, rel=1e-6)
    assert float(whole.variance_inside_I()) == pytest.approx(1.25, rel=1e-6)
    assert float(parts.variance_I()) == pytest.approx(1.25, rel=1e-6)
    assert float(parts.variance_inside_I()) == pytest.approx(0.25, rel=1e-6)
    other = moments(values + 4)
    parts.merge(other)
    assert float(parts.variance_I()) == pytest.approx(21 / 4, rel=1e-6)
    assert float(parts.variance_inside_I()) == pytest.approx((2 * 0.5 + 4 * 1.25) / 8, rel=1e-6)
    assert float(parts.sum_I()) == pytest.approx(8028 / 3)


def test_the_walk_tells_samples_apart_with_padding_too():
    valid = tensor([[True] * 4, [True, True, False, False], [False] * 4])
    rows = BatchTokens(3, valid, None).rows(torch.arange(12.0).view(3, 4, 1), "q", is_sent=False)
    statistic = InputMoments(1)
    add_alone(Taken("q", statistic, rows, 3))
    assert (statistic.num_samples, statistic.num_tokens) == (3, 6)
    # 0, 1, 2, 3 have variance 1.25, and 4, 5 have 0.25; sums are 6 and 9, of three samples.
    assert float(statistic.variance_inside_I()) == pytest.approx((4 * 1.25 + 2 * 0.25) / 6)
    assert float(statistic.sum_I()) == 5
    # Which tokens a router sent is not known: then a batch stands for a sample.
    sent, statistic = tensor([[0.0], [1.0], [2.0]]), InputMoments(1)
    rows = BatchTokens(2, None, None).rows(sent, "up", is_sent=True)
    add_alone(Taken("up", statistic, rows, 2))
    assert float(statistic.variance_inside_I()) == pytest.approx(2 / 3)
    # So it is where a layer reads something else than a row for each token.
    rows, statistic = BatchTokens(2, None, None).rows(sent, "q", is_sent=False), InputMoments(1)
    add_alone(Taken("q", statistic, rows, 2))
    assert float(statistic.variance_inside_I()) == pytest.approx(2 / 3)


def test_batches_are_of_no_account():
    tokens, lengths = random_tokens(6, 24), tensor([24, 10, 24, 7, 24, 24])
    weights = []
    for batch_tokens in (24, 1000):
        model = tiny_model()
        compress(model, dsnot(skip=None), tokens, lengths=lengths, batch_tokens=batch_tokens)
        layers = linear_layers(decoder_blocks(model)[0])
        weights.append({name: layer.weight_OI() for name, layer in layers.items()})
    for name, weight in weights[0].items():
        assert torch.equal(weight == 0, weights[1][name] == 0), name


def test_mistakes_are_told_all_at_once():
    with pytest.raises(ConfigError) as caught:
        dsnot(
            sparsity=2,
            initial="ria",
            skip="gate",
            variance="token",
            max_cycles=-1,
            threshold=math.nan,
            same_sign=1,
        )
    for key in ("sparsity=2", "initial='ria'", "skip='gate'", "max_cycles=-1", "threshold=nan"):
        assert f"method.{key}" in str(caught.value)
    assert "method.same_sign=1" in str(caught.value)
    assert "method.variance='token': expected inside or all" in str(caught.value)
    assert replace(dsnot(), skip=None).for_layer("mlp.up_proj").max_cycles == 50
