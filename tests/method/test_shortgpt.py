"""ShortGPT: influence by hand and against a slow reference; a removed block is one that is gone."""

import copy
from itertools import pairwise

import pytest
import torch
from helpers.fakes import TINY, random_tokens, tiny_model
from torch import tensor

from calib_sweep.compression.layer import LayerError, summarise_layers
from calib_sweep.compression.removable import check_structured
from calib_sweep.compression.replay import record
from calib_sweep.compression.survey import survey
from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.method.shortgpt import Influence, ShortGPT
from calib_sweep.method.structured import Removal, Seen
from calib_sweep.model.blocks import decoder_blocks, enumerate_blocks, linear_layers

TOKENS = random_tokens(6, 24)
HALF = ShortGPT(sparsity=0.5)


def influence(before, after, weights=None):
    survey = Influence()
    weights = None if weights is None else tensor(weights)
    survey.add(Seen(before_TD=tensor(before), after_TD=tensor(after), weights_T=weights))
    return survey


def slow_influences(model, tokens):
    """1 - mean cosine of every block in float64, token by token; the last one's output normed."""
    model = copy.deepcopy(model).double()
    states = model(tokens, output_hidden_states=True).hidden_states
    found = []
    for before, after in pairwise(states):
        cosines = []
        for x, y in zip(before.reshape(-1, 32), after.reshape(-1, 32), strict=True):
            dot = sum(float(a) * float(b) for a, b in zip(x, y, strict=True))
            size = sum(float(a) ** 2 for a in x) * sum(float(b) ** 2 for b in y)
            cosines.append(dot / size**0.5)
        found.append(1 - sum(cosines) / len(cosines))
    return found


def test_influence_by_hand():
    # Turned by 90 degrees, by none, by 180, and by 45.
    before = [[1.0, 0.0], [2.0, 2.0], [0.0, 3.0], [1.0, 0.0]]
    after = [[0.0, 5.0], [1.0, 1.0], [0.0, -1.0], [4.0, 4.0]]
    turns = [1.0, 0.0, 2.0, 1 - 0.5**0.5]
    assert float(influence(before, after)) == pytest.approx(sum(turns) / 4, abs=1e-6)
    weighted = (1.0 + 0.0 + 2 * 0.5 + 3 * turns[3]) / 5.5
    assert float(influence(before, after, [1.0, 1.0, 0.5, 3.0])) == pytest.approx(weighted)


def test_a_cosine_that_is_not_defined_counts_as_a_half_as_published():
    assert float(influence([[0.0, 0.0]], [[1.0, 2.0]])) == 0.5


@pytest.mark.parametrize("architecture", ["llama", "opt", "gpt2", "gpt_neox", "phi"])
def test_influences_are_those_of_a_slow_reference_and_of_the_normed_last_output(
    architecture, monkeypatch
):
    settings = {"n_layer" if architecture == "gpt2" else "num_hidden_layers": 4}
    settings |= {"word_embed_proj_dim": 32} if architecture == "opt" else {}
    model = tiny_model(architecture, **settings)
    blocks = enumerate_blocks(model)
    inputs = record(model, [block.module for block in blocks], TOKENS[:2], None, 50)
    seen = []

    def noted(_method, surveyed):
        seen.extend(map(float, surveyed.surveys_B))
        return [Removal()] * 4

    monkeypatch.setattr(ShortGPT, "plan_removal", noted)
    with torch.no_grad():
        survey(model, blocks, HALF, inputs, (TOKENS[:2], None, None))
        assert seen == pytest.approx(slow_influences(model, TOKENS[:2]), abs=1e-5)


def test_the_blocks_of_least_influence_go_and_the_first_of_equals():
    surveys = [influence([[1.0, 0.0]], [[1.0, y]]) for y in (3.0, 0.1, 0.1, 2.0)]

    class Model:
        surveys_B = surveys

    gone = [removal.whole for removal in ShortGPT(sparsity=0.25).plan_removal(Model())]
    assert gone == [False, True, False, False]
    gone = [removal.whole for removal in ShortGPT(sparsity=0.74).plan_removal(Model())]
    assert gone == [False, True, True, True]


@pytest.mark.parametrize("architecture", TINY)
def test_the_masked_model_computes_what_one_without_the_blocks_does(architecture):
    model = tiny_model(architecture)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_(generator=torch.Generator().manual_seed(1))
    smaller = copy.deepcopy(model)
    reports = compress(model, HALF, TOKENS)
    gone = {report.block for report in reports if report.num_removed}
    assert len(gone) == 1
    assert {report.note for report in reports} == {None, "its block is removed"}
    shared = [report for report in reports if report.block in gone]
    assert all(r.sparsity == 1 and r.num_removed == r.num_out * r.num_in for r in shared)
    del decoder_blocks(smaller)[gone.pop()]
    with torch.no_grad():
        expected = smaller(TOKENS, use_cache=False).logits
        torch.testing.assert_close(model(TOKENS).logits, expected, rtol=1e-5, atol=1e-5)


def test_the_record_says_what_would_be_saved():
    reports = compress(tiny_model(), HALF, TOKENS)
    note = summarise_layers(reports, 1.0, "dense")
    num_weights = 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48
    assert note["removed"] == {"weights": num_weights, "share": 0.5}
    assert note["sparsity"] == 0.5 and note["bits"] is None


def test_blocks_that_norm_what_they_add_are_refused_before_anything_is_changed():
    model = tiny_model("opt", do_layer_norm_before=False)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ConfigError, match=r"block 0 \(OPTDecoderLayer\) changes it"):
        compress(model, HALF, TOKENS)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    with pytest.raises(ConfigError, match=r"block 0 \(OPTDecoderLayer\) changes it"):
        check_structured(model.to("meta"), HALF)


@pytest.mark.parametrize("architecture", TINY)
def test_a_model_without_weights_tells_as_much(architecture):
    check_structured(tiny_model(architecture).to("meta"), HALF)


@pytest.mark.parametrize("sparsity", [0.2, 0.8, 0.0])
def test_a_share_that_is_no_block_or_all_of_them_is_refused(sparsity):
    with pytest.raises(ConfigError, match=r"method\.sparsity=.*removes 1 to 1 of 2 blocks.*=0\.5"):
        compress(tiny_model(), ShortGPT(sparsity=sparsity), TOKENS)


def test_padding_counts_nowhere_and_weights_count_as_often():
    lengths = tensor([24, 10, 24, 7, 24, 24])
    noise = TOKENS.clone()
    noise[1, 10:], noise[3, 7:] = 5, 9
    weights = torch.ones(TOKENS.shape)
    weights[2] = 0.25
    whole, other = (tiny_model(num_hidden_layers=5) for _ in range(2))
    compress(whole, HALF, TOKENS, lengths=lengths, weights=weights, batch_tokens=30)
    compress(other, HALF, noise, lengths=lengths, weights=weights, batch_tokens=1000)
    for one, same in zip(whole.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, same)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_hidden_states_that_are_no_numbers_are_named(value):
    model = tiny_model()
    model.get_input_embeddings().weight.data[int(TOKENS[1, 3])] = value
    with pytest.raises(LayerError, match=r"block 0: hidden states that enter it are not finite"):
        compress(model, HALF, TOKENS)
    with pytest.raises(ConfigError, match="ShortGPT needs calibration data"):
        compress(tiny_model(), HALF, None)


def test_one_outlier_in_half_precision_and_a_silent_layer_are_defined():
    model = tiny_model().half()
    decoder_blocks(model)[0].input_layernorm.weight.data[7] = 1e4
    linear_layers(decoder_blocks(model)[1])["mlp.up_proj"].module.weight.data.zero_()
    reports = compress(model, HALF, TOKENS)
    # The second block only adds its attention: it turns the least.
    assert {report.block for report in reports if report.num_removed} == {1}
