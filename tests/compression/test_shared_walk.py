"""Ranks that share the samples and the layers of a cell end with the model that one rank makes.

What layers read is rounded to a coarse grid here, and samples go through blocks one by one. So sums
over tokens are exact, and no order of additions excuses a difference: all is equal to the last bit.
"""

import copy
from dataclasses import dataclass, replace

import pytest
import torch
from helpers.fakes import FUSES_EXPERTS, random_tokens, tiny_model
from helpers.ranked import in_processes, in_threads
from helpers.shipped import METHODS

from calib_sweep.activations.integers import IntegerInputs
from calib_sweep.compression.layer import LayerError
from calib_sweep.compression.replay import BlockInputs
from calib_sweep.compression.settings import Walk
from calib_sweep.compression.spreading import owners_of
from calib_sweep.compression.walk import walk
from calib_sweep.errors import ConfigError
from calib_sweep.method.base import LayerMethod
from calib_sweep.method.statistics.input_norm import InputNorm
from calib_sweep.method.structured import Removal, StructuredMethod
from calib_sweep.method.whole_model import WholeModelMethod
from calib_sweep.model.blocks import decoder_blocks, linear_layers
from calib_sweep.model.experts import Routing
from calib_sweep.model.placement import offload

QUICK = {"flap", "gptaq"}
WIDE = {"hidden_size": 128, "intermediate_size": 128, "num_attention_heads": 4}
SAMPLE = 24
SETTINGS = Walk(
    propagate="published",
    true_sequential=False,
    batch_tokens=SAMPLE,
    all_experts=False,
    tensor_cores=True,
)
TOKENS = random_tokens(7, SAMPLE)
LENGTHS = torch.tensor([24, 7, 23, 24, 2, 20, 24])
WEIGHTS = 4.0 ** torch.randint(-1, 2, (7, SAMPLE), generator=torch.Generator().manual_seed(0))
STATIC = IntegerInputs(name="int8", bits=8, symmetric=True, clip_ratio=1.0, scaling="static")


def coarse(tensor):
    return (tensor * 8).round().clamp(-64, 64) / 8


def coarse_model(architecture="llama", **settings):
    """What comes out of norms, and goes into each last layer of a part, is rounded."""
    model = tiny_model(architecture, **{**WIDE, **settings})
    for name, module in model.named_modules():
        if name.endswith("layernorm"):
            module.register_forward_hook(lambda _m, _a, output: coarse(output))
        if name.endswith(("o_proj", "down_proj")):
            module.register_forward_pre_hook(lambda _m, args: (coarse(args[0]), *args[1:]))
    return model


def walked(model, method, ranks=None, tokens=TOKENS, **how):
    """The model that a walk makes, and its reports."""
    settings = replace(SETTINGS, **{key: how.pop(key) for key in [*how] if hasattr(SETTINGS, key)})
    own = copy.deepcopy(model)
    more = {} if ranks is None else {"ranks": ranks}
    return own, walk(own, method, tokens, settings=settings, **how, **more)


def check(model, method, counts=(3,), errors=1e-6, **how):
    """Ranks end with the same model and reports as one rank; errors of outputs to so much."""
    expected, reports = walked(model, method, **how)
    for count in counts:
        found = in_threads(count, lambda ranks: walked(model, method, ranks, **how))
        states = [of_rank.state_dict() for of_rank, _ in found]
        for name, tensor in expected.state_dict().items():
            others = [state[name] for state in states]
            assert all(torch.equal(other, others[0]) for other in others), (count, name)
            assert torch.equal(others[0], tensor), (count, name)
        for _, of_rank in found:
            assert_alike(of_rank, reports, errors)


def assert_alike(reports, expected, errors):
    for report, one in zip(reports, expected, strict=True):
        row, known = report.row(), one.row()
        for key in known.keys() - {"seconds"}:
            wanted = known[key]
            if isinstance(wanted, float):
                rel = errors if key == "output_error" else 1e-6
                wanted = pytest.approx(wanted, rel=rel, abs=1e-9)
            assert row[key] == wanted, (one.layer, key)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in METHODS]
)
def test_every_shipped_method(name):
    counts = (3,) if name in QUICK else (2, 3)
    check(coarse_model("mixtral" if name == "reap" else "llama"), METHODS[name], counts)


HOW = {
    "fewer samples than ranks": {"tokens": TOKENS[:2]},
    "padded": {"lengths_N": LENGTHS},
    "weighted": {"weights_NT": WEIGHTS},
    "padded and weighted": {"lengths_N": LENGTHS, "weights_NT": WEIGHTS},
    "in order": {"true_sequential": True},
    "dense": {"propagate": "dense"},
    "static inputs": {"activations": STATIC},
}


REFUSED = {("awq", "in order"), ("flap", "in order"), ("gptaq", "dense")}
PREPARATIONS = [
    pytest.param(name, how, marks=() if name == "gptq" and "and" in how else pytest.mark.slow)
    for name in ("gptq", "wanda", "awq", "gptaq", "flap")
    for how in HOW
    if (name, how) not in REFUSED
]


@pytest.mark.parametrize(("name", "how"), PREPARATIONS)
def test_every_preparation(name, how):
    check(coarse_model(), METHODS[name], **HOW[how])


@pytest.mark.slow
@pytest.mark.skipif(not FUSES_EXPERTS, reason="experts of their own modules")
@pytest.mark.parametrize("all_experts", [False, True])
@pytest.mark.parametrize("name", ["wanda", "gptq", "awq", "gptaq", "smoothquant", "reap"])
def test_experts_some_of_which_a_rank_sends_nothing(name, all_experts, monkeypatch):
    """With 8 experts and 3 tokens a sample most ranks have experts without a token."""
    gated = Routing.gated
    monkeypatch.setattr(Routing, "gated", lambda *args: coarse(gated(*args)))
    model = coarse_model("mixtral", num_local_experts=8)
    check(model, METHODS[name], tokens=TOKENS[:4, :3], all_experts=all_experts)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["awq", "wanda", "dsnot"])
def test_tokens_that_are_kept_are_those_that_one_rank_keeps(name):
    """2,541 of them: every fourth is kept by one rank. Of two each keeps every second of its own,
    and the first has an odd number of them.

    On how many of the first an output error is measured depends on the mean length until then.
    """
    tokens = random_tokens(7, 400)
    lengths = torch.tensor([391, 400, 400, 352, 398, 301, 299])
    model, how = coarse_model(max_position_embeddings=512), {"lengths_N": lengths}
    check(model, METHODS[name], (2, 3), tokens=tokens, errors=1e-2, **how)


def test_blocks_that_wait_elsewhere():
    model = coarse_model()
    expected, _ = walked(model, METHODS["gptq"])

    def run(ranks):
        own = copy.deepcopy(model)
        offload(own, torch.device("cpu"))
        walk(own, METHODS["gptq"], TOKENS, settings=SETTINGS, ranks=ranks)
        return own

    for found in in_threads(2, run):
        for name, tensor in expected.state_dict().items():
            assert torch.equal(found.state_dict()[name], tensor)


@dataclass(frozen=True, kw_only=True)
class Failing(LayerMethod):
    """Fails for one layer, on the one rank that compresses it."""

    statistic = InputNorm

    def for_layer(self, name):
        return self if name == "mlp.up_proj" else METHODS["wanda"]

    def compress_weight(self, weight_OI, statistic):
        raise ArithmeticError("not this one")


def outcome(ranks, model, method, **how):
    try:
        return walked(model, method, ranks, **how)
    except Exception as error:
        return error


def test_what_fails_on_one_rank_fails_on_all():
    model = coarse_model()
    errors = in_threads(3, lambda ranks: outcome(ranks, model, Failing()))
    assert {type(error) for error in errors} == {LayerError}
    assert all("block 0 layer mlp.up_proj (128 x 128): not this one" in str(e) for e in errors)


@pytest.mark.parametrize("step", ["run", "replace"])
def test_a_batch_that_fails_on_one_rank_fails_on_all(step, monkeypatch):
    """While a block is observed, and while its outputs are passed on."""
    found = getattr(BlockInputs, step)

    def failing(self, *arguments):
        if self.ranks.index == 1:
            raise torch.OutOfMemoryError("no memory")
        return found(self, *arguments)

    monkeypatch.setattr(BlockInputs, step, failing)
    errors = in_threads(3, lambda ranks: outcome(ranks, coarse_model(), METHODS["wanda"]))
    assert {str(error) for error in errors} == {"no memory"}


def test_layers_go_to_the_rank_that_is_done_with_them_first():
    """down costs most by far, and has a rank of its own; of one statistic layers stay together."""
    block = decoder_blocks(tiny_model(hidden_size=64, intermediate_size=512))[0]
    layers = linear_layers(block)
    shared = {name: torch.empty(0) for name in ("attention", "o", "mlp", "down")}
    of = dict(zip(layers, ("attention",) * 3 + ("o",) + ("mlp",) * 2 + ("down",), strict=True))
    statistics = {name: shared[of[name]] for name in layers}
    methods = dict.fromkeys(layers, METHODS["gptq"])
    owners = owners_of(layers, methods, statistics, 2)
    assert [name for name in layers if owners[name] == owners["mlp.down_proj"]] == ["mlp.down_proj"]
    assert set(owners_of(layers, methods, statistics, 1).values()) == {0}


def weights_in_process(ranks, model):
    return walked(model, METHODS["gptaq"], ranks, lengths_N=LENGTHS)[0].state_dict()


@pytest.mark.slow
def test_processes(tmp_path):
    model = tiny_model(**WIDE)
    expected = walked(model, METHODS["gptaq"], lengths_N=LENGTHS)[0].state_dict()
    found = in_processes(2, tmp_path, weights_in_process, model)
    for name, tensor in expected.items():
        assert torch.equal(found[0][name], found[1][name])
        torch.testing.assert_close(found[0][name], tensor, rtol=1e-5, atol=1e-5)


@dataclass(frozen=True, kw_only=True)
class Tool(WholeModelMethod):
    needs_data = False

    def compress_model(self, handed):
        raise AssertionError("handed a model")


def test_a_tool_for_whole_models_runs_in_one_process():
    errors = in_threads(2, lambda ranks: outcome(ranks, tiny_model(), Tool()))
    assert {type(error) for error in errors} == {ConfigError}
    assert all("ranks_per_cell=2: expected 1 with Tool" in str(error) for error in errors)


class Counting:
    """A survey of somebody else's, from before ranks."""

    layers, sees_experts = (), False

    def add(self, seen):
        pass


@dataclass(frozen=True, kw_only=True)
class Own(StructuredMethod):
    def check_blocks(self, blocks_B):
        pass

    def start_survey(self, block, weights):
        return Counting()

    def plan_removal(self, model):
        return [Removal() for _ in model.blocks_B]


def test_a_survey_that_cannot_be_merged_is_told_by_name():
    walked(tiny_model(), Own())
    errors = in_threads(2, lambda ranks: outcome(ranks, tiny_model(), Own()))
    assert {type(error) for error in errors} == {ConfigError}
    assert all("ranks_per_cell=2: expected 1 with Own, because Counting" in str(e) for e in errors)
