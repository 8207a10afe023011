"""FLAP: scores by hand and against a slow reference; what goes is replaced by its mean, no more."""

import copy

import numpy as np
import pytest
import torch
from helpers.fakes import FUSES_EXPERTS, TINY, byte_tokenizer, random_tokens, save_tiny, tiny_model
from helpers.hub_models import hub_model
from helpers.repository import ROOT
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import tensor

from calib_sweep.compression.layer import LayerError, summarise_layers
from calib_sweep.compression.removable import check_structured
from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.method.flap import FLAP, Fluctuation, Moments, lowest_share, standardised
from calib_sweep.method.structured import BlockParts, Part, Seen
from calib_sweep.model.additions import AddedBias, remove_additions
from calib_sweep.model.blocks import decoder_blocks, enumerate_blocks
from calib_sweep.model.saving import save_dense
from calib_sweep.model.structure import parts_of
from calib_sweep.rotation.settings import Rotation
from calib_sweep.session import Session

TOKENS = random_tokens(6, 24)
MIXTURES = ("mixtral", "qwen3_moe", "qwen2_moe", "gpt_oss")
BLOCKS = [name for name in TINY if name not in MIXTURES]
LAYOUTS = [
    *((name, {}) for name in BLOCKS),
    ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    ("falcon", {"multi_query": False}),
]
if FUSES_EXPERTS:  # older releases cannot make one
    LAYOUTS.append(("stablelm", {"qk_layernorm": True}))


def flap(sparsity=0.3, compensation=True, variance="running"):
    return FLAP(sparsity=sparsity, compensation=compensation, variance=variance)


def with_biases(model):
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_(generator=torch.Generator().manual_seed(1))
    return model


def last_layers(model):
    """Block, part and module of every layer after attention and of every last feed-forward one."""
    for block in enumerate_blocks(model):
        parts = parts_of(block)
        for part in (parts.attention, parts.feed_forward):
            yield block.index, part, block.layers[part.out].module


def inputs_of(model, modules, tokens):
    """What each of `modules` reads in a run of the dense model, a row for each token, float64."""
    read, handles = {}, []
    for module in modules:
        handles.append(
            module.register_forward_pre_hook(
                lambda m, args: read.__setitem__(m, args[0].flatten(0, -2).double().numpy())
            )
        )
    with torch.no_grad():
        model(tokens)
    for handle in handles:
        handle.remove()
    return read


def slow_variance(rows, num_samples, kind):
    """About the mean over all rows; or step by step as in the authors' code, one batch a sample."""
    if kind == "all":
        mean = sum(rows) / len(rows)
        return sum((row - mean) ** 2 for row in rows) / len(rows)
    baseline = fluctuation = 0 * rows[0]
    for seen, sample in enumerate(np.split(rows, num_samples)):
        baseline = baseline * seen / (seen + 1) + sample.mean(axis=0) / (seen + 1)
        if seen:
            fluctuation = fluctuation * (seen - 1) / seen
            fluctuation = fluctuation + ((sample - baseline) ** 2).sum(axis=0) / (seen + 1)
    return fluctuation


def slow_removed(model, tokens, sparsity, variance="running"):
    """By block and last layer the inputs that go, one by one from the highest score on."""
    places = list(last_layers(model))
    read = inputs_of(model, [module for _, _, module in places], tokens)
    listed = []
    for index, part, module in places:
        rows, weight = read[module], module.weight.double().numpy()
        weight = weight.T if type(module).__name__ == "Conv1D" else weight
        score = slow_variance(rows, len(tokens), variance) * (weight**2).sum(axis=0)
        is_attention = "attn" in part.out or "attention" in part.out
        score = score**2 if is_attention else score
        score = (score - score.mean()) / score.std(ddof=1)
        width = part.num_inputs // 4 if is_attention else 1
        for first in range(0, len(score), width):
            cost = part.num_weights * width / part.num_inputs
            listed.append(
                (score[first : first + width].mean(), cost, (index, part.out), first, width)
            )
    listed.sort(key=lambda one: -one[0])
    total = sum(cost for _, cost, *_ in listed)
    kept, distances = 0.0, []
    for _, cost, *_ in listed:
        kept += cost
        distances.append(abs(kept - total * (1 - sparsity)))
    gone = {(index, part.out): np.zeros(part.num_inputs, bool) for index, part, _ in places}
    for *_, place, first, width in listed[int(np.argmin(distances)) :]:
        gone[place][first : first + width] = True
    return gone, {(i, part.out): read[m].mean(axis=0) for i, part, m in places}


def test_moments_by_hand():
    moments = Moments(torch.zeros(2, dtype=torch.float64))
    moments.add(tensor([[1.0, 1e4], [3.0, 1e4]]), tensor([1.0, 3.0]))
    moments.add(tensor([[5.0, 1e4 + 1]]), None)
    assert moments.mean_I().tolist() == pytest.approx([3.0, 1e4 + 0.2])
    # (1 * 4 + 3 * 0 + 1 * 4) / 5, and 0.2 * 0.8 beside a mean of ten thousand.
    assert moments.variance_I().tolist() == pytest.approx([1.6, 0.16], abs=1e-6)
    # Of the second sample alone, about 3 and 0.2, halved: (5 - 3)^2 / 2 and 0.8^2 / 2.
    assert moments.running_variance_I().tolist() == pytest.approx([2.0, 0.32], abs=1e-6)
    moments.add(tensor([[4.0, 1e4], [8.0, 1e4]]), None)
    # Then about 27 / 7: 2 * (2 / 2 + (1 / 49 + 29^2 / 49) * 2 / 3 / 2).
    running = float(moments.running_variance_I()[0])
    assert running == pytest.approx((2.0 + (1 + 29**2) / 49 * 2 / 3) / 2)


def test_scores_by_hand_squared_after_attention_and_not_for_neurons():
    attention = Part(out="o", layers=("q", "o"), num_weights=8, num_inputs=4)
    feed_forward = Part(out="down", layers=("up", "down"), num_weights=8, num_inputs=2)
    block = BlockParts(kind="x", attention=attention, feed_forward=feed_forward, num_heads=2)
    weights = {"o": tensor([[1.0, 1, 1, 1], [0, 0, 0, 1]]), "down": tensor([[1.0, 2], [0, 0]])}
    survey = Fluctuation(weights, "o", "down")
    read = {"o": tensor([[0.0, 0, 0, 0], [2, 2, 2, 4]]), "down": tensor([[0.0, 0], [2, 2]])}
    survey.add(Seen(before_TD=torch.zeros(2, 1), after_TD=torch.zeros(2, 1), inputs=read))
    # Variances 1, 1, 1, 4; squares of weights 1, 1, 1, 2: 1, 1, 1, 8, squared 1, 1, 1, 64.
    heads, neurons = survey.scores(block, "all")
    sd = 31.5  # of these four, mean 16.75
    assert heads.tolist() == pytest.approx([-15.75 / sd, (-15.75 + 47.25) / 2 / sd])
    # Variances 1, 1; squares 1, 4.
    assert neurons.tolist() == pytest.approx([-(0.5**0.5), 0.5**0.5])


def test_equal_scores_are_all_zero():
    assert standardised(tensor([3.0, 3.0, 3.0])).tolist() == [0, 0, 0]


def test_parts_go_by_what_they_weigh_and_the_one_at_the_threshold_too():
    score = tensor([0.5, -1.0, 2.0, 1.0])
    assert lowest_share(score, tensor([1.0, 1, 1, 1]), 0.25).tolist() == [True, True, False, False]
    # From the highest: 1, 4, 5, 6 of 6; nearest to 4.5 are 4 and 5, and the first counts.
    assert lowest_share(score, tensor([1.0, 1, 1, 3]), 0.25).tolist() == [True, True, False, True]
    assert lowest_share(score, tensor([1.0, 1, 1, 1]), 0.0).tolist() == [False, True, False, False]


@pytest.mark.parametrize("variance", ["running", "all"])
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox", "phi3"])
def test_the_same_parts_go_as_by_a_slow_reference(architecture, variance):
    model = with_biases(tiny_model(architecture))
    dense = copy.deepcopy(model)
    gone, means = slow_removed(dense, TOKENS, 0.4, variance)
    compress(model, flap(0.4, variance=variance), TOKENS, batch_tokens=50)
    before = {(index, part.out): module for index, part, module in last_layers(dense)}
    for index, part, module in last_layers(model):
        place = index, part.out
        weight, old = module.weight.double(), before[place].weight.double()
        weight, old = (w.T if architecture == "gpt2" else w for w in (weight, old))
        assert (weight == 0).all(dim=0).tolist() == gone[place].tolist()
        moved = (old.numpy() * gone[place] * means[place]).sum(axis=1)
        bias = before[place].bias
        moved = moved if bias is None else moved + bias.double().numpy()
        if gone[place].any():
            assert module.bias.tolist() == pytest.approx(moved.tolist(), abs=1e-5)
            assert isinstance(module.bias, AddedBias) == (bias is None)


@pytest.mark.parametrize("compensation", [True, False])
@pytest.mark.parametrize(("architecture", "settings"), LAYOUTS)
def test_no_more_is_lost_than_the_inputs_that_go(architecture, settings, compensation):
    """Rows that were zeroed with them, of queries, keys, values and gates, change nothing else."""
    model = with_biases(tiny_model(architecture, **settings))
    slow = copy.deepcopy(model)
    reports = compress(model, flap(0.4, compensation), TOKENS)
    for (_, _, masked), (_, _, module) in zip(last_layers(model), last_layers(slow), strict=True):
        weight = masked.weight.T if type(masked).__name__ == "Conv1D" else masked.weight
        kept = (weight != 0).any(dim=0)
        rows = inputs_of(slow, [module], TOKENS)[module]
        mean = tensor(rows.mean(axis=0)).float() * compensation
        module.kept, module.mean = kept, mean
    for _, _, module in last_layers(slow):  # all means are of the dense model
        module.register_forward_pre_hook(lambda m, args: (args[0].where(m.kept, m.mean), *args[1:]))
    with torch.no_grad():
        logits, expected = model(TOKENS).logits, slow(TOKENS).logits
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    note = summarise_layers(reports, 1.0, "dense")
    zeros = sum(report.sparsity * report.num_out * report.num_in for report in reports)
    assert note["removed"]["weights"] == zeros
    assert sum("heads are removed" in (report.note or "") for report in reports) > 0


def test_rows_of_a_head_go_and_those_of_a_key_only_with_all_heads_that_read_it():
    model = tiny_model("llama")
    compress(model, flap(0.55), TOKENS)
    seen = set()
    for block in decoder_blocks(model):
        heads = (block.self_attn.o_proj.weight == 0).all(dim=0).view(4, 8).all(dim=1)
        queries = (block.self_attn.q_proj.weight == 0).all(dim=1).view(4, 8).all(dim=1)
        groups = heads.view(2, 2).all(dim=1)
        for layer in (block.self_attn.k_proj, block.self_attn.v_proj):
            assert torch.equal((layer.weight == 0).all(dim=1).view(2, 8).all(dim=1), groups)
        assert torch.equal(heads, queries)
        seen |= {(int(heads.sum()), int(groups.sum()))}
    assert any(num_heads > 2 * num_groups for num_heads, num_groups in seen)


@pytest.mark.parametrize("sparsity", [0.2, 0.5])
def test_without_grouped_heads_the_share_of_weights_is_the_one_asked_for(sparsity):
    model = tiny_model("llama", num_key_value_heads=4, hidden_size=64, intermediate_size=128)
    note = summarise_layers(compress(model, flap(sparsity), TOKENS), 1.0, "dense")
    assert note["removed"]["share"] == pytest.approx(sparsity, abs=0.02)
    assert note["sparsity"] == note["removed"]["share"]


@pytest.mark.parametrize("architecture", MIXTURES)
def test_mixtures_of_experts_are_refused_by_name(architecture):
    if architecture not in TINY:
        pytest.skip("a later release of transformers has it")
    model = tiny_model(architecture)
    with pytest.raises(ConfigError, match=r"model='\w+': expected .* not of experts.*method=reap"):
        compress(model, flap(), TOKENS)
    with pytest.raises(ConfigError, match="method=reap removes experts"):
        check_structured(model.to("meta"), flap())


@pytest.mark.parametrize("architecture", BLOCKS)
def test_a_model_without_weights_tells_what_it_is_made_of(architecture):
    check_structured(tiny_model(architecture).to("meta"), flap())


def test_added_biases_are_taken_away_again_and_not_saved(tmp_path):
    model, dense = tiny_model(), tiny_model()
    compress(model, flap(), TOKENS)
    with pytest.raises(
        ConfigError, match=r"save_model:.*(o|down)_proj has got a bias.*compensation=fal"
    ):
        save_dense(model, byte_tokenizer(), tmp_path)
    remove_additions(model)
    assert [n for n, _ in model.named_parameters()] == [n for n, _ in dense.named_parameters()]
    compress(model, flap(compensation=False), TOKENS)
    save_dense(model, byte_tokenizer(), tmp_path)
    opt = tiny_model("opt")  # comes with biases
    compress(opt, flap(), TOKENS)
    save_dense(opt, byte_tokenizer(), tmp_path / "opt")


def test_what_cannot_be_saved_is_refused_before_a_weight_is_read():
    parts = {name: [parts_of(b) for b in enumerate_blocks(tiny_model(name))] for name in BLOCKS}
    with pytest.raises(ConfigError, match=r"method\.compensation=True: .*self_attn\.o_proj has no"):
        flap().check_saving(parts["llama"])
    flap(compensation=False).check_saving(parts["llama"])
    flap().check_saving(parts["opt"])


def test_quantised_inputs_move_no_mask_and_are_read_by_the_masked_model():
    plain, quantized = tiny_model(), tiny_model()
    int8 = instantiate(OmegaConf.load(ROOT / "conf" / "activations" / "int8.yaml"))
    compress(plain, flap(), TOKENS)
    reports = compress(quantized, flap(), TOKENS, activations=int8)
    assert None not in {report.input_quantizer for report in reports}
    for one, other in zip(plain.parameters(), quantized.parameters(), strict=True):
        assert torch.equal(one, other)
    with torch.no_grad():
        assert not torch.equal(plain(TOKENS).logits, quantized(TOKENS).logits)


def test_a_rotated_residual_stream_loses_the_same_heads_and_neurons():
    """Rotating outputs moves neither inputs of the last layers nor the squares of their columns."""
    plain, rotated = tiny_model(), tiny_model()
    rotation = Rotation(name="hadamard", matrix="hadamard", seed=0, online=False)
    rotation.apply(rotated, is_quantized=False)
    for model in (plain, rotated):
        compress(model, flap(), TOKENS)
    for (_, _, one), (_, _, other) in zip(last_layers(plain), last_layers(rotated), strict=True):
        assert torch.equal((one.weight == 0).all(dim=0), (other.weight == 0).all(dim=0))
    with torch.no_grad():
        logits = plain(TOKENS).logits, rotated(TOKENS).logits
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-4)


def test_layers_in_order_have_no_meaning_and_are_refused():
    with pytest.raises(ConfigError, match=r"walk\.true_sequential=True: expected false with FLAP"):
        compress(tiny_model(), flap(), TOKENS, true_sequential=True)


def test_a_session_gives_the_dense_model_back(tmp_path):
    part, session = hub_model(save_tiny("llama", tmp_path)), Session()
    with torch.no_grad():
        dense = session.model(part, part.fingerprint())(TOKENS).logits
        compress(session.model(part, part.fingerprint()), flap(), TOKENS)
        assert torch.equal(session.model(part, part.fingerprint())(TOKENS).logits, dense)


def test_padding_counts_nowhere_and_batches_are_of_no_account():
    lengths = tensor([24, 10, 24, 7, 24, 24])
    noise = TOKENS.clone()
    noise[1, 10:], noise[3, 7:] = 5, 9
    one, other = tiny_model(), tiny_model()
    compress(one, flap(), TOKENS, lengths=lengths, batch_tokens=30)
    compress(other, flap(), noise, lengths=lengths, batch_tokens=1000)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
        assert torch.equal(a == 0, b == 0)


def test_one_token_has_no_variance_and_is_defined():
    model = tiny_model()
    compress(model, flap(variance="all"), TOKENS[:1, :1])
    with torch.no_grad():
        assert bool(torch.isfinite(model(TOKENS).logits).all())


def test_one_sample_has_no_running_variance_and_is_refused():
    with pytest.raises(ConfigError, match=r"two samples or more.*Type method\.variance=all"):
        compress(tiny_model(), flap(), TOKENS[:1])


def test_a_silent_layer_and_an_outlier_in_half_precision_are_defined():
    model = tiny_model().half()
    block = decoder_blocks(model)[0]
    block.input_layernorm.weight.data[7] = 1e4
    block.mlp.up_proj.weight.data.zero_()
    compress(model, flap(), TOKENS)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())
    model.get_input_embeddings().weight.data[int(TOKENS[0, 0])] = float("nan")
    with pytest.raises(LayerError, match="block 0: hidden states that enter it are not finite"):
        compress(model, flap(), TOKENS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sparsity": 1.0}, r"method\.sparsity=1\.0"),
        ({"variance": "paper"}, r"method\.variance='paper': expected running or all"),
        ({"compensation": "yes"}, r"method\.compensation='yes'.*method\.compensation=true"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        flap(**settings)
