"""GPTAQ with ResComp and FOEM: slow loops, hand-computed cases, GPTQ without its additions."""

from dataclasses import asdict

import pytest
import torch
from helpers.compensated import slow_compensated
from helpers.fakes import random_tokens, tiny_model
from helpers.least_squares import deficient
from helpers.random_layers import correlated_inputs, random_inputs, random_weight
from torch import tensor

from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.method.gptaq import GPTAQ
from calib_sweep.method.gptq import GPTQ

DEFAULTS = {
    "bits": 4,
    "group_size": None,
    "symmetric": False,
    "mse": False,
    "act_order": False,
    "static_groups": False,
    "group_fit": "published",
    "damping": 0.01,
    "block_size": 128,
    "alpha": 0.25,
    "rescomp": 0,
    "foem": 0,
    "beyond": "carried",
}
OWN = ("alpha", "rescomp", "foem", "beyond")


def gptaq(**settings):
    return GPTAQ(**{**DEFAULTS, **settings})


def gptq_of(method):
    """GPTQ with the settings that both have."""
    own = {key: value for key, value in asdict(method).items() if key not in OWN}
    return GPTQ(**own, off_diagonal=1)


def paired(method, dense_TI, seen_TI):
    statistic = method.statistic(seen_TI.shape[1])
    statistic.add_pair(dense_TI, seen_TI)
    return statistic


def rounded(method, weight, dense, seen):
    return method.compress_weight(weight, paired(method, dense, seen)).weight_OI


def layer(num_tokens=60, num_in=24, seed=0, num_out=16):
    """A weight, what the dense model saw, and that with an error that follows the input."""
    dense = correlated_inputs(num_tokens, num_in, seed)
    lost = 0.3 * correlated_inputs(num_tokens, num_in, seed + 50)
    return random_weight(num_out, num_in, seed + 100), dense, 0.9 * dense + lost


def assert_equals_reference(weight, dense, seen, **settings):
    """Rows without a weight close to a tie must agree; float32 may break a tie the other way."""
    method = gptaq(**settings)
    slow, margin = slow_compensated(method, weight, dense, seen)
    clear = margin > 2e-4
    assert clear.double().mean() > 0.7
    fast = rounded(method, weight, dense, seen)
    torch.testing.assert_close(fast[clear].double(), slow[clear], rtol=1e-4, atol=1e-5)


ALL = {"alpha": 0.25, "rescomp": 0.25, "foem": 0.2}
SETTINGS = [
    {},
    {"alpha": 1, "block_size": 7},
    {"alpha": 1, "block_size": 7, "beyond": "clipped"},
    {"act_order": True, "block_size": 10},
    {"group_size": 8, "block_size": 16, "symmetric": True, "bits": 3},
    {"group_size": 8, "static_groups": True, "act_order": True},
    {"rescomp": 0.25, "block_size": 7},
    {"rescomp": 0.25, "block_size": 7, "beyond": "clipped", "act_order": True},
    {"alpha": 0, "rescomp": 0.25, "block_size": 7},
    {"alpha": 0, "foem": 0.2, "block_size": 7},
    {"foem": 0.2, "block_size": 7},
    {"foem": 0.2, "block_size": 7, "beyond": "clipped"},
    {**ALL, "block_size": 5, "bits": 3},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_agrees_with_slow_loops(settings):
    weight, dense, seen = layer()
    if not settings.get("alpha", 0.25):
        dense = seen
    assert_equals_reference(weight, dense, seen, **settings)


@pytest.mark.parametrize("settings", [{}, {"act_order": True}, ALL], ids=str)
@pytest.mark.parametrize("num_tokens", [60, 10, 1])
def test_agrees_where_the_hessian_is_deficient(settings, num_tokens):
    weight, dense, seen = layer(num_tokens)
    assert_equals_reference(weight, dense, deficient(seen), block_size=8, **settings)


# H = 1 and U = 1: with inputs of a unit matrix over sqrt(2), and damping 0, D is what is added to
# the dense inputs times sqrt(2), transposed. 2 bits from -1 to 2: levels -1, 0, 1, 2.
UNIT = torch.eye(4) / 2**0.5
BY_HAND = {"bits": 2, "damping": 0, "alpha": 1, "block_size": 4}
WEIGHT = tensor([[1.8, 0.0, -1.0, 2.0], [-0.8, 2.0, 0.4, -1.0]])


def dense_with(cross):
    """Dense inputs for which D is `cross`."""
    return UNIT + tensor(cross).T / 2**0.5


CROSS = [[0.0, 0.5, 0, 0], [0, 0, 0, 0], [0, -0.5, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # Rounding to nearest, as errors repair nothing where features are not correlated.
        ({"alpha": 0}, [[2.0, 0, -1, 2], [-1, 2, 0, -1]]),
        # Column 1 gets w_0 D_01: 0 + 1.8 / 2 = 0.9, and 2 - 0.8 / 2 = 1.6. D_21 lies below.
        ({}, [[2.0, 1, -1, 2], [-1, 2, 0, -1]]),
        # A fourth of that: 0.225, and 1.9.
        ({"alpha": 0.25}, [[2.0, 0, -1, 2], [-1, 2, 0, -1]]),
    ],
)
def test_two_rows_of_four_by_hand(settings, expected):
    method = gptaq(**{**BY_HAND, **settings})
    assert rounded(method, WEIGHT, dense_with(CROSS), UNIT).tolist() == expected


def test_beyond_a_block_counts_what_was_rounded_or_the_weight_by_hand():
    """D_01 = 0.29: the next column gets 0.29 * 1.8 = 0.522 or, of Q = 2, 0.58; less 0.05."""
    cross = [[0.0, 0.29, 0, 0], [0] * 4, [0] * 4, [0] * 4]
    weight = tensor([[1.8, -0.05, -1.0, 2.0], [1.8, -0.05, -1.0, 2.0]])
    found = {
        (beyond, size): float(
            rounded(
                gptaq(**{**BY_HAND, "beyond": beyond, "block_size": size}),
                weight,
                dense_with(cross),
                UNIT,
            )[0, 1]
        )
        for beyond in ("carried", "clipped")
        for size in (1, 4)
    }
    # -0.05 + 0.522 = 0.472 is below a half, -0.05 + 0.58 = 0.53 above; inside a block w counts.
    assert found == {
        ("carried", 1): 1.0,
        ("clipped", 1): 0.0,
        ("carried", 4): 0.0,
        ("clipped", 4): 0.0,
    }


@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize("group_size", [None, 8])
def test_without_its_additions_it_is_gptq_to_the_bit(act_order, group_size):
    weight, dense, seen = layer()
    method = gptaq(alpha=0, act_order=act_order, group_size=group_size, block_size=16)
    assert not method.compares_streams
    plain = gptq_of(method).compress_weight(weight, paired(method, dense, seen))
    found = method.compress_weight(weight, paired(method, dense, seen))
    assert torch.equal(found.weight_OI, plain.weight_OI)
    assert (found.bits, found.damping, found.note) == (plain.bits, plain.damping, plain.note)


def test_where_both_streams_are_the_same_it_is_gptq():
    weight, dense, _ = layer()
    method, same = gptaq(), gptaq().statistic(24)
    same.add(dense)
    expected = gptq_of(method).compress_weight(weight, same).weight_OI
    assert torch.equal(method.compress_weight(weight, same).weight_OI, expected)
    assert torch.equal(rounded(method, weight, dense, dense), expected)


def distance(weight, new, dense, seen):
    """||d W^T - x Q^T||^2: from the output of the dense model."""
    return float(
        (dense.double() @ weight.double().T - seen.double() @ new.double().T).square().sum()
    )


def test_it_comes_nearer_to_the_outputs_of_the_dense_model_than_gptq():
    """On 20 random layers, with the formula's alpha of 1 and with the code's."""
    means = {}
    for name, settings in {"gptq": {"alpha": 0}, "code": {}, "paper": {"alpha": 1}}.items():
        layers = [layer(400, 32, seed) for seed in range(20)]
        method = gptaq(bits=3, **settings)
        errors = [distance(w, rounded(method, w, d, x), d, x) for w, d, x in layers]
        means[name] = sum(errors) / len(errors)
    assert means["paper"] < means["code"] < means["gptq"]
    assert means["paper"] < 0.95 * means["gptq"]


def test_a_dead_feature_counts_in_the_dense_model_but_moves_nothing():
    """Its row of D is not zero, but its weight is: what the dense model made of it is lost."""
    weight, dense, seen = layer()
    seen[:, 5] = 0
    other = dense.clone()
    other[:, 5] = random_inputs(60, 1).squeeze(1)
    new = rounded(gptaq(alpha=1), weight, dense, seen)
    assert torch.equal(new, rounded(gptaq(alpha=1), weight, other, seen))
    assert bool((new[:, 5] == 0).all())


def test_the_block_size_groups_the_arithmetic_where_nothing_is_pulled_across_blocks():
    weight, dense, seen = layer()
    plain = gptaq(alpha=0)
    assert torch.allclose(
        rounded(plain, weight, dense, seen),
        rounded(gptaq(alpha=0, block_size=5), weight, dense, seen),
    )
    foem = [
        rounded(gptaq(alpha=0, foem=0.2, bits=3, block_size=size), weight, dense, seen)
        for size in (5, 128)
    ]
    assert not torch.allclose(*foem)  # the first column of a block is not pulled


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"alpha": -0.1}, "method.alpha=-0.1: expected a number from 0 to 1"),
        ({"rescomp": 2}, "method.rescomp=2"),
        ({"foem": True}, "method.foem=True"),
        ({"beyond": "org"}, "method.beyond='org': expected carried or clipped"),
        ({"bits": 9, "alpha": "x"}, "method.bits=9"),
        ({"static_groups": True}, "method.static_groups=True"),
    ],
)
def test_wrong_settings_are_refused(settings, said):
    with pytest.raises(ConfigError) as caught:
        gptaq(**settings)
    assert said in str(caught.value)
    assert settings.get("alpha") != "x" or "method.alpha='x'" in str(caught.value)


def test_the_shipped_walk_leaves_less_of_a_model_to_be_lost_than_gptq():
    """Errors of all blocks are made up for on the way; more where layers follow each other."""
    tokens, losses = random_tokens(6, 40), {}
    for name, alpha, in_order in (("gptq", 0, True), ("gptaq", 1, True)):
        model, dense = tiny_model(), tiny_model()
        compress(model, gptaq(bits=3, alpha=alpha), tokens, true_sequential=in_order)
        with torch.no_grad():
            change = model(tokens).logits - dense(tokens).logits
        losses[name] = float(change.square().mean())
    assert losses["gptaq"] < 0.8 * losses["gptq"]
