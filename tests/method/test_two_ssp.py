"""2SSP: shares by the authors' formula, norms by hand, both stages against a slow reference."""

import copy
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.fakes import TINY, random_tokens, tiny_model
from torch import tensor

from calib_sweep.compression.layer import summarise_layers
from calib_sweep.compression.removable import check_structured
from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.method.structured import BlockParts, Part, Seen
from calib_sweep.method.two_ssp import SampleNorms, TwoSSP, lowest_neurons
from calib_sweep.model.blocks import enumerate_blocks
from calib_sweep.model.structure import parts_of

TOKENS = random_tokens(6, 24)
MIXTURES = ("mixtral", "qwen3_moe", "qwen2_moe", "gpt_oss")
HALF = TwoSSP(sparsity=0.5, balance=1.5, num_attention=None, num_samples=1)


def blocks_of(num_blocks, attention, feed_forward):
    parts = {
        "attention": Part(out="o", layers=("o",), num_weights=attention, num_inputs=4),
        "feed_forward": Part(out="down", layers=("down",), num_weights=feed_forward, num_inputs=8),
    }
    return [BlockParts(kind="x", num_heads=2, **parts)] * num_blocks


def last(block):
    parts = parts_of(block)
    return (block.layers[parts.attention.out].module, block.layers[parts.feed_forward.out].module)


def slow_loss(model, sample_T):
    """Mean of -log p(token | tokens before it), float64, of one sample."""
    with torch.no_grad():
        log_p_TV = model(sample_T.unsqueeze(0)).logits[0].double().log_softmax(-1)
    terms = [-float(log_p_TV[t - 1, int(sample_T[t])]) for t in range(1, len(sample_T))]
    return sum(terms) / len(terms)


def slow(model, tokens, sparsity, num_attention, num_samples=1):
    """Neurons and attentions that go, each tried in the model itself."""
    model = copy.deepcopy(model).double()
    blocks = enumerate_blocks(model)
    neurons = slow_neurons(blocks, model, tokens, slow_share(blocks, sparsity, num_attention))
    gone = []
    for _ in range(num_attention):
        losses = {}
        for block in blocks:
            if block.index not in gone:
                with zeroed(last(block)[0]):
                    losses[block.index] = np.mean(
                        [slow_loss(model, t) for t in tokens[:num_samples]]
                    )
        gone.append(min(losses, key=losses.get))
        zero(last(blocks[gone[-1]])[0])
    return neurons, gone


def slow_share(blocks, sparsity, num_attention):
    own = parts_of(blocks[0])
    attention, feed_forward = own.attention.num_weights, own.feed_forward.num_weights
    target = round(sparsity * len(blocks) * (attention + feed_forward))
    return round((target - num_attention * attention) / len(blocks)) / feed_forward


def zero(module):
    for parameter in module.parameters():
        parameter.data.zero_()


@contextmanager
def zeroed(module):
    dense = copy.deepcopy(module.state_dict())
    zero(module)
    yield
    module.load_state_dict(dense)


def slow_neurons(blocks, model, tokens, share):
    """By block the neurons that go, whose columns are zero from then on."""
    neurons, handles, read = [], [], {}
    for block in blocks:
        handles.append(
            last(block)[1].register_forward_pre_hook(
                lambda m, args: read.setdefault(m, []).append(args[0].flatten(0, -2).numpy())
            )
        )
    for sample in tokens:
        with torch.no_grad():
            model(sample.unsqueeze(0))
    for handle in handles:
        handle.remove()
    for block in blocks:
        samples = read[last(block)[1]]
        norm = sum(np.sqrt((rows**2).sum(axis=0)) for rows in samples) / len(samples)
        num_kept = round(len(norm) * (1 - share))
        removed = np.ones(len(norm), bool)
        removed[np.argsort(-norm)[:num_kept]] = False
        neurons.append(removed)
        last(block)[1].weight.data[:, removed] = 0
    return neurons


def test_shares_are_the_authors_for_llama_2_7b():
    # 4 x 4096^2 and 3 x 4096 x 11008: 32 * 0.25^(2.0156 / 1.5) = 4.97, 32 * 0.5^1.3437 = 12.6.
    blocks = blocks_of(32, 4 * 4096**2, 3 * 4096 * 11008)
    method = replace(HALF, sparsity=0.25)
    num_attention, share = method.shares(blocks)
    assert num_attention == 5 and round(11008 * (1 - share)) == 7744
    assert HALF.shares(blocks)[0] == 13
    assert replace(method, balance=3.0).shares(blocks)[0] == 13
    assert replace(method, num_attention=0).shares(blocks) == (
        0,
        pytest.approx(0.25 * (1 + 4 * 4096 / (3 * 11008)), abs=1e-6),
    )


def test_both_stages_together_take_the_share_asked_for():
    for sparsity in (0.1, 0.25, 0.375, 0.5, 0.7):
        num_attention, share = replace(HALF, sparsity=sparsity).shares(blocks_of(24, 300, 700))
        assert num_attention * 300 + share * 24 * 700 == pytest.approx(sparsity * 24_000, abs=12)


def test_more_attentions_than_there_are_are_refused():
    method = replace(HALF, num_attention=25)
    with pytest.raises(ConfigError, match=r"method\.num_attention=25: expected at most 24"):
        method.check_blocks(blocks_of(24, 300, 700))


@pytest.mark.parametrize(("sparsity", "num_attention"), [(0.1, 20), (0.9, 0)], ids=["much", "few"])
def test_a_share_that_neurons_cannot_make_up_is_refused(sparsity, num_attention):
    method = replace(HALF, sparsity=sparsity, num_attention=num_attention)
    with pytest.raises(ConfigError, match=rf"method\.sparsity={sparsity}: .*{num_attention} of 24"):
        method.check_blocks(blocks_of(24, 300, 700))


def test_norms_by_hand_are_of_samples_and_their_mean():
    survey = SampleNorms("down")
    nothing = torch.zeros(4, 1)

    def see(rows, samples, weights=None):
        weights = None if weights is None else tensor(weights)
        survey.add(
            Seen(
                before_TD=nothing,
                after_TD=nothing,
                inputs={"down": tensor(rows)},
                sample_T=tensor(samples),
                weights_T=weights,
            )
        )

    see([[3.0, 1.0], [4.0, 0.0], [0.0, 2.0]], [0, 0, 1])  # 5, 1 and 0, 2
    assert survey.mean_F().tolist() == pytest.approx([2.5, 1.5])
    see([[1.0, 6.0]], [1], [4.0])  # sample 0 of this batch has no token that counts
    by_hand = [(5 + 0 + 2) / 3, (1 + 2 + 12) / 3]
    assert survey.mean_F().tolist() == pytest.approx(by_hand)
    see([], [])  # no token of this batch counts
    assert survey.mean_F().tolist() == pytest.approx(by_hand)


def test_the_lowest_neurons_go_and_the_first_of_equals():
    norm = tensor([2.0, 1.0, 1.0, 3.0])
    assert lowest_neurons(norm, 0.25).tolist() == [False, True, False, False]
    assert lowest_neurons(norm, 0.6).tolist() == [False, True, True, False]
    assert not lowest_neurons(norm, 0.1).any()


def test_the_attention_goes_whose_absence_costs_least_and_the_first_of_equals():
    class Model:
        blocks_B = blocks_of(3, 300, 700)
        surveys_B = ()

        def losses(self, removals, num_samples):
            gone = [tuple(b for b, of in enumerate(tried) if of.attention) for tried in removals]
            known = {(0,): 3.0, (1,): 1.0, (2,): 1.0, (0, 1): 5.0, (1, 2): 6.0}
            return [known[blocks] for blocks in gone]

    model = Model()
    model.surveys_B = [SampleNorms("down") for _ in range(3)]
    for survey in model.surveys_B:
        seen = Seen(
            before_TD=torch.zeros(1, 1),
            after_TD=torch.zeros(1, 1),
            inputs={"down": torch.ones(1, 8)},
            sample_T=tensor([0]),
        )
        survey.add(seen)
    gone = replace(HALF, num_attention=2).plan_removal(model)
    assert [removal.attention for removal in gone] == [True, True, False]


@pytest.mark.parametrize("num_samples", [1, 3])
@pytest.mark.parametrize("architecture", ["llama", "opt", "gpt_neox"])
def test_both_stages_agree_with_a_slow_reference(architecture, num_samples):
    model = tiny_model(architecture, num_hidden_layers=5)
    neurons, gone = slow(model, TOKENS, 0.4, 3, num_samples)
    method = TwoSSP(sparsity=0.4, balance=1.5, num_attention=3, num_samples=num_samples)
    reports = compress(model, method, TOKENS, batch_tokens=50)
    for block, removed in zip(enumerate_blocks(model), neurons, strict=True):
        attention, feed_forward = last(block)
        assert bool((attention.weight == 0).all()) == (block.index in gone)
        assert (feed_forward.weight == 0).all(dim=0).tolist() == removed.tolist()
    silent = {report.block for report in reports if report.note == "its attention is removed"}
    assert silent == set(gone) and len(gone) == 3


def test_attentions_are_chosen_in_the_model_that_has_lost_its_neurons():
    """A trap: chosen in the dense model, others would go."""
    differs = []
    for seed in range(3):
        model = tiny_model(num_hidden_layers=5, seed=seed)
        _, expected = slow(model, TOKENS, 0.6, 2)
        of_attention = 2 * 3072 / (5 * 7680)  # no neuron goes with it
        neurons, in_dense = slow(model, TOKENS, of_attention, 2)
        assert not any(removed.any() for removed in neurons)
        differs.append(set(expected) != set(in_dense))
        compress(model, replace(HALF, sparsity=0.6, num_attention=2), TOKENS)
        silent = [bool((last(b)[0].weight == 0).all()) for b in enumerate_blocks(model)]
        assert {block for block, is_silent in enumerate(silent) if is_silent} == set(expected)
    assert any(differs)


@pytest.mark.parametrize("architecture", [name for name in TINY if name not in MIXTURES])
def test_the_masked_model_is_the_one_whose_loss_was_seen(architecture):
    """Zeroed rows, columns and biases do what the hooks did that stood for them."""
    model = tiny_model(architecture)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_(generator=torch.Generator().manual_seed(1))
    masked, hooked = copy.deepcopy(model), model
    reports = compress(masked, HALF, TOKENS)
    for block, own in zip(enumerate_blocks(hooked), enumerate_blocks(masked), strict=True):
        out, down = last(block)
        names = parts_of(block)
        if (own.layers[names.attention.out].weight_OI() == 0).all():
            out.register_forward_hook(lambda m, a, output: torch.zeros_like(output))
        gone = (own.layers[names.feed_forward.out].weight_OI() == 0).all(dim=0)
        down.register_forward_pre_hook(
            lambda m, args, gone=gone: (args[0].masked_fill(gone, 0.0), *args[1:])
        )
    with torch.no_grad():
        expected = hooked(TOKENS).logits
        torch.testing.assert_close(masked(TOKENS).logits, expected, rtol=1e-5, atol=1e-5)
    note = summarise_layers(reports, 1.0, "dense")
    assert note["removed"]["share"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("architecture", MIXTURES)
def test_mixtures_of_experts_are_refused_by_name(architecture):
    if architecture not in TINY:
        pytest.skip("a later release of transformers has it")
    with pytest.raises(ConfigError, match=r"model='\w+': expected .* not of experts.*method=reap"):
        check_structured(tiny_model(architecture).to("meta"), HALF)


def test_padding_counts_nowhere_also_not_in_the_loss():
    lengths = tensor([10, 24, 7, 24, 24, 24])
    noise = TOKENS.clone()
    noise[0, 10:], noise[2, 7:] = 5, 9
    one, other = (tiny_model(num_hidden_layers=4) for _ in range(2))
    method = replace(HALF, num_attention=2, num_samples=2)
    compress(one, method, TOKENS, lengths=lengths, batch_tokens=30)
    compress(other, method, noise, lengths=lengths, batch_tokens=1000)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_model_without_a_finite_perplexity_is_told():
    model = tiny_model()
    model.lm_head.weight.data[3] = float("inf")
    with pytest.raises(ArithmeticError, match="whichever attention goes, the perplexity"):
        compress(model, replace(HALF, num_attention=1), TOKENS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sparsity": 1.0}, r"method\.sparsity=1\.0"),
        ({"balance": 0}, r"method\.balance=0: expected a number > 0.*=1\.5"),
        ({"num_attention": -1}, r"method\.num_attention=-1: .*or null"),
        ({"num_samples": 0}, r"method\.num_samples=0: .*method\.num_samples=1"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message) as caught:
        replace(HALF, **settings)
    assert len(caught.value.problems) == 1
