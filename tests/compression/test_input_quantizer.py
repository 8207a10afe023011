"""A method of somebody else's that quantises the inputs of layers: what runs with it, what not."""

import sys
from dataclasses import dataclass

import pandas as pd
import pytest
import torch
from helpers.fakes import FUSES_EXPERTS, byte_tokenizer, random_tokens, save_tiny, tiny_model
from helpers.hub_models import hub_model
from helpers.sweeps import read_records

from calib_sweep.compression.contract import hollow
from calib_sweep.compression.layer import LayerError
from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.method.base import CompressedWeight, LayerMethod
from calib_sweep.method.rtn import RTN
from calib_sweep.method.statistics.input_norm import InputNorm
from calib_sweep.model.blocks import decoder_blocks, linear_layers
from calib_sweep.model.packing import save_packed
from calib_sweep.model.saving import save_dense
from calib_sweep.session import Session

TOKENS = random_tokens(4, 24)
RTN_4 = RTN(bits=4, group_size=16, symmetric=True)
METHOD = """
from dataclasses import dataclass

from calib_sweep.method.base import CompressedWeight, LayerMethod


def coarse(inputs):
    return inputs.round()


@dataclass(frozen=True, kw_only=True)
class CoarseInputs(LayerMethod):
    def compress_weight(self, weight_OI, statistic):
        return CompressedWeight(weight_OI=weight_OI, input_quantizer=coarse)
"""


class Steps:
    """Rounds to multiples of a step."""

    def __init__(self, step):
        self.step = step

    def __call__(self, inputs):
        return (inputs / self.step).round() * self.step


@dataclass(frozen=True, kw_only=True)
class QuantizedInputs(LayerMethod):
    """Leaves weights as they are; notes the norms of the inputs that it was shown."""

    statistic = InputNorm
    step: float

    def compress_weight(self, weight_OI, statistic):
        note = f"{float(statistic.norm_I().sum())}"
        return CompressedWeight(
            weight_OI=weight_OI, note=note, input_quantizer=Steps(self.step) if self.step else None
        )


def logits(model):
    with torch.no_grad():
        return model(TOKENS).logits


def quantized_by_hand(model, step):
    """Every linear layer of every block runs on inputs rounded to steps."""
    for block in decoder_blocks(model):
        for layer in linear_layers(block).values():
            forward = layer.module.forward
            layer.module.forward = lambda x, forward=forward: forward(Steps(step)(x))
    return model


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("in_order", [False, True])
def test_the_compressed_model_runs_on_quantised_inputs(architecture, in_order):
    model, dense = tiny_model(architecture), logits(tiny_model(architecture))
    reports = compress(model, QuantizedInputs(step=0.5), TOKENS, true_sequential=in_order)
    expected = logits(quantized_by_hand(tiny_model(architecture), 0.5))
    assert torch.equal(logits(model), expected) and not torch.allclose(expected, dense)
    assert {report.input_quantizer for report in reports} == {"Steps"}
    assert {report.row()["input_quantizer"] for report in reports} == {"Steps"}


def by_name(mlp, x):
    gated = mlp.act_fn(mlp.gate_proj(input=x)) * mlp.up_proj(input=x)
    return mlp.down_proj(input=gated)


def test_layers_that_are_called_by_the_name_of_their_input_are_no_different(monkeypatch):
    plain, named = tiny_model(), tiny_model()
    expected = [report.note for report in compress(plain, QuantizedInputs(step=0.5), TOKENS)]
    on_quantised = logits(plain)
    monkeypatch.setattr(type(decoder_blocks(named)[0].mlp), "forward", by_name)
    assert logits(hollow(named)).shape == on_quantised.shape
    found = [report.note for report in compress(named, QuantizedInputs(step=0.5), TOKENS)]
    assert found == expected
    assert torch.equal(logits(named), on_quantised)
    compress(named, RTN_4, None)
    hooks = [m._forward_pre_hooks_with_kwargs for m in named.modules()]
    assert not any(hooks)


@pytest.mark.parametrize(("in_order", "num_alike"), [(False, 7), (True, 3)])
def test_what_follows_a_quantised_layer_sees_what_it_gives(in_order, num_alike):
    """The rest of the block only where layers are compressed in order; the next block always."""
    notes = []
    for step in (0.5, 0.0):
        method = QuantizedInputs(step=step)
        reports = compress(tiny_model(), method, TOKENS, true_sequential=in_order)
        notes.append([report.note for report in reports])
    alike = [quantised == plain for quantised, plain in zip(*notes, strict=True)]
    assert alike == [True] * num_alike + [False] * (14 - num_alike)


def test_another_compression_puts_another_quantiser_in_its_place_or_none():
    model = tiny_model()
    for step in (0.5, 0.25):
        compress(model, QuantizedInputs(step=step), TOKENS)
    assert torch.equal(logits(model), logits(quantized_by_hand(tiny_model(), 0.25)))
    compress(model, RTN_4, None)
    rounded = tiny_model()
    assert all(report.input_quantizer is None for report in compress(rounded, RTN_4, None))
    assert torch.equal(logits(model), logits(rounded))


def test_a_session_gives_the_dense_model_back(tmp_path):
    part, session = hub_model(save_tiny("llama", tmp_path)), Session()
    dense = logits(session.model(part, part.fingerprint()))
    model = session.model(part, part.fingerprint())
    compress(model, QuantizedInputs(step=0.5), TOKENS)
    assert not torch.allclose(logits(model), dense)
    assert session.model(part, part.fingerprint()) is model
    assert torch.equal(logits(model), dense)


def test_hooks_of_others_are_left_alone(tmp_path):
    part, session, calls = hub_model(save_tiny("llama", tmp_path)), Session(), []
    model = session.model(part, part.fingerprint())
    layer = linear_layers(decoder_blocks(model)[0])["mlp.up_proj"]
    layer.module.register_forward_pre_hook(lambda *_: calls.append(1))
    compress(model, QuantizedInputs(step=0.5), TOKENS)
    session.model(part, part.fingerprint())
    calls.clear()
    logits(model)
    assert calls == [1]


def test_no_checkpoint_leaves_a_quantiser_out(tmp_path):
    model = tiny_model()
    reports = compress(model, RTN_4, None, keep_grids=True)
    grids = {(report.block, report.layer): report.grid for report in reports}
    compress(model, QuantizedInputs(step=0.5), TOKENS)
    refusal = r"save_model: .*model\.layers\.0\.self_attn\.q_proj are quantised.*save_model=null"
    with pytest.raises(ConfigError, match=refusal):
        save_dense(model, byte_tokenizer(), tmp_path)
    with pytest.raises(ConfigError, match=refusal):
        save_packed(model, byte_tokenizer(), tmp_path, grids, RTN_4.grid_format())
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.skipif(not FUSES_EXPERTS, reason="older releases keep experts as modules")
def test_fused_experts_are_refused_by_name():
    model = tiny_model("mixtral")
    before = [p.clone() for p in decoder_blocks(model)[0].mlp.parameters()]
    refusal = r"block 0 layer mlp\.experts\.0\.gate_proj \(.*\(Steps\).*fused experts"
    with pytest.raises(LayerError, match=refusal):
        compress(model, QuantizedInputs(step=0.5), TOKENS)
    after = decoder_blocks(model)[0].mlp.parameters()
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


@pytest.fixture
def coarse(tmp_path, monkeypatch):
    """A command that runs in a folder where `method=coarse` is known."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "coarse_inputs", raising=False)
    (tmp_path / "coarse_inputs.py").write_text(METHOD)
    folder = tmp_path / "conf.local/method"
    folder.mkdir(parents=True)
    (folder / "coarse.yaml").write_text("_target_: coarse_inputs.CoarseInputs\n")
    return tmp_path


@pytest.mark.slow
def test_a_sweep_scores_it_says_so_and_undoes_it(coarse, run_cli, tiny_world):
    for sweep, methods in (("both", "coarse,rtn"), ("alone", "rtn")):
        command = ["-m", f"method={methods}", f"sweep_name={sweep}", *tiny_world]
        assert run_cli(*command, cwd=coarse).code == 0
    both, alone = (
        {r["cell"]["method"]: r for r in read_records(coarse / "results" / sweep)}
        for sweep in ("both", "alone")
    )
    assert both["coarse"]["scores"] != both["dense"]["scores"]
    assert both["rtn"]["scores"] == alone["rtn"]["scores"]
    said = {name: r["compression"]["input_quantizer"] for name, r in both.items()}
    assert said == {"dense": None, "coarse": "coarse", "rtn": None}
    (folder,) = (coarse / "results" / "both").glob(f"*{both['coarse']['cell_id']}*")
    assert set(pd.read_parquet(folder / "layers.parquet")["input_quantizer"]) == {"coarse"}


def test_a_cell_that_is_to_be_saved_fails_and_says_why(coarse, run_cli, tiny_world):
    command = ["-m", "method=coarse", "save_model=dense", *tiny_world]
    assert run_cli(*command, cwd=coarse).code == 3
    records = {r["cell"]["method"]: r for r in read_records(coarse / "results" / "default")}
    assert records["dense"]["status"] == "done"
    assert "which no checkpoint written here can hold" in records["coarse"]["error"]["message"]
