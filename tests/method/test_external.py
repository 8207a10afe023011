"""A command of the user's as a method: what it is handed, what is believed, what is undone."""

import json
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.fakes import byte_tokenizer, random_tokens, save_tiny, tiny_model
from helpers.hub_models import hub_model
from helpers.ranked import in_threads
from helpers.rotated import rotation
from helpers.sweeps import read_records
from safetensors.torch import load_file

from calib_sweep.activations.integers import IntegerInputs
from calib_sweep.compression.walk import compress
from calib_sweep.dataset.calibration.artifact import load_set
from calib_sweep.errors import ConfigError
from calib_sweep.handed import beside, set_of_tokens
from calib_sweep.method.external import External
from calib_sweep.method.whole_model import ToolError
from calib_sweep.model.fingerprint import weights_fingerprint
from calib_sweep.model.saving import save_dense
from calib_sweep.places import LAYERS
from calib_sweep.processes import process_mark
from calib_sweep.results.files import hash_files
from calib_sweep.results.kin import Kin
from calib_sweep.session import Session
from calib_sweep.weights import made_before

# A tool without transformers, so that it starts in no time: it copies the model with weights that
# CHANGE makes of `state`, and keeps what it was handed.
TOOL = """
import json, os, shutil, subprocess, sys, time
from pathlib import Path
import numpy as np
from safetensors.numpy import load_file, save_file

model, data, output = map(Path, sys.argv[1:4])
kept = Path(__file__).parent
state = load_file(model / "model.safetensors")
config = json.loads((model / "config.json").read_text())
UP = "model.layers.1.mlp.up_proj.weight"
{change}
shutil.copytree(model, output)
(output / "config.json").write_text(json.dumps(config))
save_file(state, output / "model.safetensors", metadata={{"format": "pt"}})
"""
UP = "model.layers.1.mlp.up_proj.weight"
TOKENS = random_tokens(3, 24)


def tool(folder, change=""):
    """The method that runs a tool which makes this change."""
    (folder / "tool.py").write_text(TOOL.format(change=change))
    return external(f"{sys.executable} {folder / 'tool.py'} {{model}} {{set}} {{output}}")


def external(command, timeout_s=60):
    return External(command=command, timeout_s=timeout_s)


@pytest.fixture
def part(tmp_path):
    return hub_model(save_tiny("llama", tmp_path / "tiny"))


def run(method, model, part, tokens=TOKENS, **settings):
    """Compress `model`, that of `part`, by a method of whole models."""
    drawn = set_of_tokens(tokens.numpy(), byte_tokenizer())
    return compress(model, method, tokens, beside=beside(part, lambda: drawn), **settings)


def weights_of(model):
    return {name: tensor.clone() for name, tensor in model.named_parameters()}


def test_a_tool_gets_model_and_set_and_its_weights_are_the_model_s(tmp_path, part):
    change = "shutil.copytree(data, kept / 'set'); shutil.copytree(model, kept / 'model')\n"
    change += "state[UP][state[UP] < 0] = 0"
    model = part.load()
    before = weights_of(model)
    reports = run(tool(tmp_path, change), model, part)
    handed = load_file(tmp_path / "model" / "model.safetensors")
    assert all(torch.equal(handed[name], weight) for name, weight in before.items())
    assert torch.equal(torch.as_tensor(load_set(tmp_path / "set").tokens_NT), TOKENS)
    rows = [json.loads(line) for line in (tmp_path / "set" / "data.jsonl").open()]
    assert [row["input_ids"] for row in rows] == TOKENS.tolist()
    assert rows[0]["text"] == byte_tokenizer().decode(TOKENS[0])
    expected = before | {UP: before[UP].clamp(min=0)}
    assert all(torch.equal(expected[name], weight) for name, weight in weights_of(model).items())
    changed = {(r.block, r.layer): r for r in reports if r.note is None}
    assert list(changed) == [(1, "mlp.up_proj")] and len(reports) == 14
    share = float((before[UP] <= 0).double().mean())
    assert changed[1, "mlp.up_proj"].sparsity == pytest.approx(share)


def test_samples_are_written_without_their_padding(tmp_path, part):
    model = part.load()
    lengths = torch.tensor([24, 5, 11])
    drawn = set_of_tokens(TOKENS.numpy(), byte_tokenizer(), lengths.numpy())
    method = tool(tmp_path, "shutil.copytree(data, kept / 'set')")
    compress(model, method, TOKENS, lengths=lengths, beside=beside(part, lambda: drawn))
    rows = [json.loads(line)["input_ids"] for line in (tmp_path / "set" / "data.jsonl").open()]
    assert [len(row) for row in rows] == [24, 5, 11] and rows[1] == TOKENS[1, :5].tolist()


FAULTS = {
    "exit code 3.*out of luck": "print('out of luck', file=sys.stderr); sys.exit(3)",
    "killed by SIGKILL": "os.kill(os.getpid(), 9)",
    "left no folder at {output}": "sys.exit(0)",
    "no such model as {model}.*config.json": "os.makedirs(output); sys.exit(0)",
    "misshapen: .*up_proj": "state[UP] = state[UP][:16]",
    "missing or misshapen: .*norm.weight": "del state['model.norm.weight']",
    "no others, but there are .*weight_scale": "state[UP + '_scale'] = state[UP][:1]",
    "not finite": "state[UP][2, 3] = np.inf",
    "other shapes: .*mlp": (
        "config['intermediate_size'] = 16\n"
        "for name in state:\n"
        "    if 'gate_proj' in name or 'up_proj' in name: state[name] = state[name][:16].copy()\n"
        "    if 'down_proj' in name: state[name] = state[name][:, :16].copy()"
    ),
    "other parameters.*bias": (
        "config['mlp_bias'] = True\n"
        "for name in [n for n in state if 'mlp' in n]:\n"
        "    state[name.replace('weight', 'bias')] = np.zeros(len(state[name]), np.float32)"
    ),
    "quantises inputs as well": (
        "config['quantization_config'] = {'quant_method': 'compressed-tensors',\n"
        "    'config_groups': {'group_0': {'input_activations': {'num_bits': 8}}}}"
    ),
    "safetensors, but found .*pytorch_model.bin": (
        "shutil.copytree(model, output); os.rename(output / 'model.safetensors', "
        "output / 'pytorch_model.bin'); sys.exit(0)"
    ),
}


@pytest.mark.parametrize("said", FAULTS)
def test_what_is_out_of_order_is_told_and_changes_nothing(tmp_path, part, said, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "work"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "work").mkdir()
    model = part.load()
    before = weights_of(model)
    with pytest.raises(Exception, match=said.replace("{", r"\{")) as caught:
        run(tool(tmp_path, FAULTS[said]), model, part)
    assert type(caught.value).__name__ in ("ToolError", "LayerError")
    assert all(torch.equal(before[name], weight) for name, weight in weights_of(model).items())
    assert not list((tmp_path / "work").iterdir())  # nor is anything left behind


SLEEPER = (
    "child = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)'])\n"
    "(kept / 'pid').write_text(str(child.pid)); time.sleep(60)"
)


def has_ended(pid):
    end_s = time.monotonic() + 20
    while process_mark(pid) is not None and time.monotonic() < end_s:
        time.sleep(0.02)
    return process_mark(pid) is None


@pytest.mark.slow
def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path, part):
    method = external(tool(tmp_path, SLEEPER).command, timeout_s=3)
    with pytest.raises(ToolError, match=r"ended after 3 s .*method\.timeout_s"):
        run(method, part.load(), part)
    assert has_ended(int((tmp_path / "pid").read_text()))


@pytest.mark.slow
def test_whoever_is_told_to_end_takes_the_command_along(tmp_path, part):
    def tell(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, tell)
    signal.setitimer(signal.ITIMER_REAL, 3)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(tool(tmp_path, SLEEPER), part.load(), part)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert has_ended(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize(
    ("command", "timeout_s", "said"),
    [
        ("tool {model}", 1, "method.command='tool {model}': expected a program"),
        ("", 1, "method.command=''"),
        ("tool '{model} {output}", 1, "method.command="),  # a quote that is not closed
        (None, 1, "method.command=None"),
        # Else it would read no data, and one cell would stand for every seed.
        (
            "tool {model} {sett} {output}",
            1,
            "nothing in braces but {model}, {set} and {output}, not {sett}",
        ),
        ("tool {model} {output}", 0, "method.timeout_s=0: expected seconds, more than 0"),
        ("tool {model} {output}", "long", "method.timeout_s='long'"),
    ],
)
def test_settings_are_refused_by_name(command, timeout_s, said):
    with pytest.raises(ConfigError) as caught:
        External(command=command, timeout_s=timeout_s)
    assert said in str(caught.value)


def test_a_command_without_a_set_needs_no_data_and_one_with_it_does():
    words = {"command": "tool {model} {output}"}
    assert not External.reads_data(words) and not external(words["command"]).needs_data
    words = {"command": "tool {model} {set} {output}"}
    assert External.reads_data(words) and external(words["command"]).needs_data
    assert not External.reads_data({})


def test_the_files_that_a_command_names_are_part_of_what_it_is(tmp_path):
    method = tool(tmp_path)
    before = method.fingerprint()
    (tmp_path / "tool.py").write_text("other")
    assert before is not None and method.fingerprint() not in (None, before)
    assert external("tool {model} {output}").fingerprint() is None


def test_a_file_is_found_behind_an_option_and_not_in_a_program_of_many_words(tmp_path):
    (tmp_path / "a=b.yaml").write_text("1")
    method = external(f"tool --recipe={tmp_path / 'a=b.yaml'} {{model}} {{output}}")
    before = method.fingerprint()
    (tmp_path / "a=b.yaml").write_text("2")
    assert before is not None and method.fingerprint() not in (None, before)
    words = "print(1); " * 500
    assert external(f"python -c '{words}' {{model}} {{output}}").fingerprint() is None


def test_without_what_goes_beside_the_model_it_says_what_to_call(part):
    with pytest.raises(ConfigError, match=r"Call calib_sweep\.compress"):
        compress(part.load(), external("tool {model} {set} {output}"), TOKENS)


def test_weights_of_tokens_and_settings_of_the_walk_are_refused(tmp_path, part):
    method = tool(tmp_path)
    with pytest.raises(ConfigError, match=r"Type calibration\.weighting=tokens"):
        run(method, part.load(), part, weights=torch.ones(TOKENS.shape))
    with pytest.raises(ConfigError) as caught:
        run(method, part.load(), part, propagate="compressed", true_sequential=True)
    assert [text.split(":")[0] for text in caught.value.problems] == [
        "walk.propagate='compressed'",
        "walk.true_sequential=True",
    ]
    assert "Type walk.propagate=published." in str(caught.value)


def test_quantised_inputs_are_refused_by_the_name_that_was_typed(tmp_path, part):
    int8 = IntegerInputs(name="int8", bits=8, symmetric=True, clip_ratio=1.0, scaling="dynamic")
    with pytest.raises(ConfigError, match="activations='int8': expected null with External"):
        run(tool(tmp_path), part.load(), part, activations=int8)


def test_a_session_gives_back_what_a_tool_changed_outside_of_blocks(tmp_path, part):
    session, name = Session(), "model.embed_tokens.weight"
    model = session.model(part, None)
    before = weights_of(model)
    reports = run(tool(tmp_path, f"state[{name!r}] *= 2"), model, part)
    assert torch.equal(weights_of(model)[name], 2 * before[name])
    assert {report.note for report in reports} == {"weight left as it was"}
    again = weights_of(session.model(part, None))
    assert all(torch.equal(before[name], weight) for name, weight in again.items())


def test_a_kept_model_that_differs_outside_of_blocks_is_read_whole(tmp_path, part, make_cell):
    model, name = part.load(), "model.embed_tokens.weight"
    run(tool(tmp_path, f"state[{name!r}] *= 2; state[UP] *= 0.5"), model, part)
    save_dense(model, byte_tokenizer(), tmp_path / "cell" / "model")
    (tmp_path / "cell" / LAYERS).write_bytes(b"rows")
    note = {"fingerprint": weights_fingerprint(model)}
    kin = Kin(tmp_path / "cell", {"compression": note, "files": hash_files(tmp_path / "cell")})
    again = part.load()
    made = made_before(again, make_cell(), part, [kin], is_asked=True)
    assert made is not None and weights_fingerprint(again) == note["fingerprint"]

    def see(ranks):  # a file that came by NFS to one rank alone
        cell, own = make_cell(), kin if ranks.is_first else replace(kin, folder=tmp_path)
        return made_before(again, cell, part, [own], ranks, is_asked=False)

    assert in_threads(2, see) == [None, None]


def test_fused_experts_are_told_one_by_one(tmp_path):
    part = hub_model(save_tiny("mixtral", tmp_path / "moe"))
    # On disk every expert stands by itself.
    change = "name = sorted(n for n in state if 'experts.2.' in n)[0]; state[name] *= 0"
    reports = run(tool(tmp_path, change), part.load(), part)
    (changed,) = [report for report in reports if report.note is None]
    assert "experts.2." in changed.layer and changed.sparsity == 1


WORLD = ("method=external", "seed=0,1")


@pytest.mark.slow
def test_a_sweep_of_a_command_records_what_it_made(run_cli, tiny_world, tmp_path):
    command = tool(tmp_path, "state[next(n for n in state if 'up_proj' in n)] *= 0.5").command
    words = [*tiny_world, *WORLD, f'method.command="{command}"']
    ended = run_cli("-m", *words, cwd=tmp_path)
    assert ended.code == 0, ended.err
    dense, *cells = read_records(tmp_path / "results" / "default")
    assert [cell["cell"]["seed"] for cell in cells] == [0, 1]
    for cell in cells:
        note = cell["compression"]
        assert note["propagated"] is None and note["bits"] is None and note["num_weights"] > 0
        assert cell["inputs"]["method"] == external(command).fingerprint()
        assert list(cell["scores"].values()) != list(dense["scores"].values())
    (tmp_path / "tool.py").write_text("other")
    ended = run_cli("-m", *words, cwd=tmp_path)
    assert "its files have changed" in ended.err


def test_a_check_finds_what_cannot_run(run_cli, tiny_world, tmp_path):
    words = [*tiny_world, 'method.command="./nowhere {model} {set} {output}"', "method=external"]
    words += ["calibration.weighting=sequences", "walk.all_experts=true"]
    ended = run_cli("check", *words, cwd=tmp_path)
    assert ended.code == 1 and "there is none at './nowhere'" in ended.err
    assert "calibration.weighting='sequences'" in ended.err
    assert "which walks over the blocks by itself" in ended.err


@pytest.mark.slow
def test_a_command_that_reads_no_data_has_one_cell(run_cli, tiny_world, tmp_path):
    tool(tmp_path, "state[next(n for n in state if 'up_proj' in n)] *= 0.5")
    command = f"{sys.executable} {tmp_path / 'tool.py'} {{model}} - {{output}}"
    words = [*tiny_world, *WORLD, f'method.command="{command}"']
    assert run_cli("-m", *words, cwd=tmp_path).code == 0
    _, cell = read_records(tmp_path / "results" / "default")
    assert cell["cell"]["dataset"] is None and cell["calibration"] is None


def test_the_front_door_hands_tools_what_they_need(tmp_path, part):
    import calib_sweep

    model = part.load()
    method = tool(tmp_path, "shutil.copytree(data, kept / 'set'); state[UP] *= 0")
    reports = calib_sweep.compress(model, method, TOKENS)
    assert [report.sparsity for report in reports if report.note is None] == [1.0]
    assert torch.equal(torch.as_tensor(load_set(tmp_path / "set").tokens_NT), TOKENS)
    assert Path(model.name_or_path) == tmp_path / "tiny"


def test_the_front_door_hands_tools_no_padding(tmp_path, part):
    import calib_sweep

    method = tool(tmp_path, "shutil.copytree(data, kept / 'set'); state[UP] *= 0")
    calib_sweep.compress(part.load(), method, TOKENS, lengths=[24, 5, 11])
    handed = load_set(tmp_path / "set")
    assert handed.lengths_N.tolist() == [24, 5, 11]
    rows = [json.loads(line) for line in (tmp_path / "set" / "data.jsonl").open()]
    assert [row["input_ids"] for row in rows] == [
        row[:end].tolist() for row, end in zip(TOKENS, (24, 5, 11), strict=True)
    ]
    assert rows[1]["text"] == byte_tokenizer().decode(TOKENS[1, :5])


def test_tiny_models_of_no_folder_want_a_tokenizer():
    import calib_sweep

    with pytest.raises(ConfigError, match="tokenizer"):
        calib_sweep.compress(tiny_model(), external("tool {model} {set} {output}"), TOKENS)


@pytest.mark.parametrize("is_tied", [False, True])
def test_a_rotated_model_is_handed_over_as_it_is_and_comes_back(tmp_path, is_tied):
    """Rotation gives a head that was the embedding weights of its own."""
    folder = save_tiny("llama", tmp_path / "tied", tie_word_embeddings=is_tied)
    part = hub_model(folder)
    model = part.load()
    with torch.no_grad():
        dense = model(TOKENS).logits
        rotation().apply(model, is_quantized=False)
        before, expected = weights_of(model), model(TOKENS).logits
        torch.testing.assert_close(expected, dense, rtol=1e-3, atol=1e-3)
        reports = run(tool(tmp_path), model, part)
        assert torch.equal(model(TOKENS).logits, expected)
    assert all(torch.equal(before[name], weight) for name, weight in weights_of(model).items())
    assert {report.note for report in reports} == {"weight left as it was"}
