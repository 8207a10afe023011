"""REAP: saliencies by hand and against a slow reference; a removed expert is one that is gone."""

import copy

import pytest
import torch
from helpers.fakes import FUSES_EXPERTS, TINY, byte_tokenizer, random_tokens, save_tiny, tiny_model
from helpers.hub_models import hub_model
from torch import nn, tensor

from calib_sweep.compression.layer import LayerError, summarise_layers
from calib_sweep.compression.removable import check_structured
from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.method.reap import REAP, Saliency
from calib_sweep.method.structured import Mixture, Routed, Seen
from calib_sweep.model.additions import remove_additions
from calib_sweep.model.blocks import enumerate_blocks
from calib_sweep.model.saving import save_dense
from calib_sweep.model.structure import parts_of
from calib_sweep.session import Session

pytestmark = pytest.mark.skipif(not FUSES_EXPERTS, reason="experts of their own modules")

TOKENS = random_tokens(6, 24)
MIXTURES = [name for name in TINY if name in ("mixtral", "qwen3_moe", "qwen2_moe", "gpt_oss")]
EIGHT = {
    "mixtral": {"num_local_experts": 8},
    "gpt_oss": {"num_local_experts": 8},
    "qwen3_moe": {"num_experts": 8},
    "qwen2_moe": {"num_experts": 8},
}
HALF = REAP(sparsity=0.5)


def model_of(architecture, **settings):
    """Eight experts, two for each token, biases that are not zero."""
    model = tiny_model(architecture, **EIGHT[architecture], **settings)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
    return model


def mixtures(model):
    """Modules of experts and router of each block."""
    for block in enumerate_blocks(model):
        mixture = parts_of(block).mixture
        yield (block.module.get_submodule(name) for name in (mixture.experts, mixture.router))


def slow_saliencies(model, tokens, lengths=None):
    """Token by token and expert by expert, summed in float64, from runs of the dense model."""
    model = copy.deepcopy(model)
    calls = {}
    handles = [
        experts.register_forward_pre_hook(
            lambda m, args, kwargs: calls.setdefault(m, []).append([*args, *kwargs.values()]),
            with_kwargs=True,
        )
        for experts, _ in mixtures(model)
    ]
    found = []
    with torch.no_grad():
        for sample, length in zip(tokens, lengths or [24] * len(tokens), strict=True):
            model(sample[:length].unsqueeze(0))
        for handle in handles:
            handle.remove()
        for experts, _ in mixtures(model):
            sums = torch.zeros(8, 2, dtype=torch.float64)
            for hidden, choice, gates in calls[experts]:
                for x, chosen, own in zip(hidden.view(-1, 32), choice, gates, strict=True):
                    for expert, gate in zip(chosen, own, strict=True):
                        alone = experts(x[None], expert.view(1, 1), torch.ones(1, 1))
                        sums[expert] += tensor([float(gate) * float(alone.norm()), 1.0])
            found.append(sums[:, 0] / sums[:, 1].clamp(min=1))
    return found


def gone(model):
    """By block the experts that are zero."""
    return [
        [not bool(experts.down_proj[e].any()) for e in range(len(experts.down_proj))]
        for experts, _ in mixtures(model)
    ]


def test_saliency_by_hand():
    survey = Saliency(3)
    first = Routed(tensor([0.5, 0.25]), tensor([2.0, 8.0]), None)  # 1 and 2
    second = Routed(tensor([1.0, 1.0]), tensor([3.0, 5.0]), tensor([1.0, 3.0]))
    nothing = torch.zeros(1, 1)
    survey.add(Seen(before_TD=nothing, after_TD=nothing, routed=[(0, first), (1, second)]))
    survey.add(Seen(before_TD=nothing, after_TD=nothing, routed=[(0, second)]))
    # Expert 0: (1 + 2 + 3 + 15) over 6 tokens; expert 1: 18 over 4; to expert 2 nobody went.
    assert survey.mean_E().tolist() == [21 / 6, 18 / 4, 0]


@pytest.mark.parametrize("architecture", MIXTURES)
def test_the_experts_of_least_saliency_go_as_by_a_slow_reference(architecture):
    model = model_of(architecture)
    expected = slow_saliencies(model, TOKENS)
    compress(model, HALF, TOKENS, batch_tokens=50)
    for removed, saliency in zip(gone(model), expected, strict=True):
        order = saliency.argsort().tolist()
        assert [e for e in range(8) if removed[e]] == sorted(order[:4])


@pytest.mark.parametrize("architecture", MIXTURES)
def test_the_masked_model_computes_what_one_without_the_experts_does(architecture):
    model = model_of(architecture)
    smaller = copy.deepcopy(model)
    reports = compress(model, HALF, TOKENS)
    for (experts, router), removed in zip(mixtures(smaller), gone(model), strict=True):
        kept = ~tensor(removed)
        for module in (experts, router):
            for name, parameter in list(module.named_parameters()):
                setattr(module, name, nn.Parameter(parameter[kept], requires_grad=False))
            module.num_experts = int(kept.sum())
    with torch.no_grad():
        expected, got = smaller(TOKENS).logits, model(TOKENS).logits
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    note = summarise_layers(reports, 1.0, "dense")
    zeros = sum(report.sparsity * report.num_out * report.num_in for report in reports)
    assert note["removed"]["weights"] == zeros > 0
    assert {report.note for report in reports} == {None, "its expert is removed"}


def test_no_token_is_sent_to_a_removed_expert_and_all_are_sent_to_as_many():
    model = model_of("qwen3_moe")
    compress(model, REAP(sparsity=0.75), TOKENS)  # two of eight are left, for two of a token
    for (_, router), removed in zip(mixtures(model), gone(model), strict=True):
        _, gates, choice = router(torch.randn(9, 32, generator=torch.Generator().manual_seed(0)))
        assert choice.shape == gates.shape == (9, 2)
        assert set(choice.flatten().tolist()) == {e for e in range(8) if not removed[e]}


def test_the_saved_share_is_rounded_down_as_published():
    mixture = Mixture(experts="e", router="r", num_experts=6, num_chosen=2)
    assert REAP(sparsity=0.49)._num_removed(mixture) == 2
    assert REAP(sparsity=0.5)._num_removed(mixture) == 3


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.9])
def test_a_share_that_is_no_expert_or_leaves_too_few_is_refused(sparsity):
    model = model_of("mixtral")
    message = r"method\.sparsity=.*removes 1 to 6 of 8 experts, of which a token needs 2, not "
    with pytest.raises(ConfigError, match=message):
        compress(model, REAP(sparsity=sparsity), TOKENS)
    with pytest.raises(ConfigError, match=message):
        check_structured(model.to("meta"), REAP(sparsity=sparsity))


@pytest.mark.parametrize("architecture", MIXTURES)
def test_a_model_without_weights_tells_as_much(architecture):
    check_structured(tiny_model(architecture).to("meta"), HALF)


def test_models_without_experts_and_routers_of_another_form_are_refused_by_name(monkeypatch):
    message = r"model='LlamaDecoderLayer': expected blocks with a mixture.*method=two_ssp"
    with pytest.raises(ConfigError, match=message):
        check_structured(tiny_model("llama").to("meta"), HALF)
    model = model_of("mixtral")
    _, router = next(mixtures(model))
    forward = type(router).forward
    monkeypatch.setattr(type(router), "forward", lambda *args: [*forward(*args)])
    with pytest.raises(ConfigError, match=r"mlp\.gate returns something else"):
        check_structured(model, HALF)
    model.model.layers[0].mlp.gate.register_buffer("correction", torch.zeros(8))
    assert parts_of(enumerate_blocks(model)[0]).mixture is None


def test_a_session_gives_the_dense_model_back_and_a_masked_router_is_not_saved(tmp_path):
    part, session = hub_model(save_tiny("qwen3_moe", tmp_path)), Session()
    with torch.no_grad():
        dense = session.model(part, part.fingerprint())(TOKENS).logits
        model = session.model(part, part.fingerprint())
        compress(model, HALF, TOKENS)
        again = copy.deepcopy(model)
        assert torch.equal(again(TOKENS).logits, model(TOKENS).logits)
        with pytest.raises(ConfigError, match="save_model: expected null with REAP"):
            HALF.check_saving([])
        with pytest.raises(ConfigError, match=r"save_model: .*mlp\.gate chooses among some"):
            save_dense(model, byte_tokenizer(), tmp_path / "saved")
        assert torch.equal(session.model(part, part.fingerprint())(TOKENS).logits, dense)
    assert not any("forward" in module.__dict__ for module in model.modules())
    remove_additions(again)
    assert not torch.equal(again(TOKENS).logits, dense)  # its weights stay zero


def test_padding_counts_nowhere():
    lengths = [24, 10, 24, 7, 24, 24]
    noise = TOKENS.clone()
    noise[1, 10:], noise[3, 7:] = 5, 9
    expected = slow_saliencies(model_of("qwen2_moe"), TOKENS, lengths)
    for tokens, size in ((TOKENS, 30), (noise, 1000)):
        model = model_of("qwen2_moe")
        compress(model, HALF, tokens, lengths=tensor(lengths), batch_tokens=size)
        for removed, saliency in zip(gone(model), expected, strict=True):
            assert [e for e in range(8) if removed[e]] == sorted(saliency.argsort().tolist()[:4])


def test_experts_that_no_token_went_to_go_first_and_the_first_of_equals():
    model = model_of("mixtral")
    reports = compress(model, HALF, TOKENS[:1, :1])  # one token, two experts
    for removed in gone(model):
        assert sum(removed) == 4
        assert removed.index(False) == 4 or sum(removed[:6]) == 4
    assert all(report.output_error is None for report in reports)


def test_a_weight_that_is_no_number_is_named():
    model = model_of("mixtral")
    model.model.layers[1].mlp.experts.down_proj.data[3, 4, 5] = float("nan")
    with pytest.raises(
        LayerError, match=r"block 1 layer mlp\.experts\.3\.down_proj.*weight is not"
    ):
        compress(model, HALF, TOKENS)


def test_wrong_settings_are_refused():
    with pytest.raises(ConfigError, match=r"method\.sparsity=1\.0"):
        REAP(sparsity=1.0)
