"""A walk that goes on where it was: the same bits, whatever it was and wherever it stopped."""

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from helpers.fakes import FUSES_EXPERTS, random_tokens, tiny_model
from helpers.full_disk import no_room
from helpers.ranked import in_threads
from helpers.rotated import rotation
from helpers.shipped import METHODS
from hydra.utils import instantiate
from omegaconf import OmegaConf

from calib_sweep.compression import plain
from calib_sweep.compression.checkpoint import Checkpoint
from calib_sweep.compression.nothing_kept import NOTHING_KEPT
from calib_sweep.compression.settings import Walk
from calib_sweep.compression.walk import walk
from calib_sweep.method.base import CompressedWeight, LayerMethod, ModelMethod
from calib_sweep.method.structured import StructuredMethod
from calib_sweep.model.blocks import decoder_blocks
from calib_sweep.model.placement import offload
from calib_sweep.places import CONF
from calib_sweep.ranks import ALONE

SIZES = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 4, "head_dim": 32}
TOKENS = random_tokens(4, 24)
LENGTHS = torch.tensor([24, 9, 24, 17])
SETTINGS = Walk(
    propagate="published",
    true_sequential=False,
    batch_tokens=48,
    all_experts=False,
    tensor_cores=True,
)
PLANNING = [n for n, m in METHODS.items() if isinstance(m, StructuredMethod | ModelMethod)]
OTHERS = {"reap": "qwen3_moe"}  # what removes experts needs some


class StoppedError(Exception):
    pass


def dense(method):
    return tiny_model(OTHERS.get(method, "llama"), **SIZES)


def activations(name, **settings):
    node = OmegaConf.load(CONF / "activations" / f"{name}.yaml")
    return instantiate(OmegaConf.merge(node, settings))


def head():
    return {"cell": "this one"}


def kept_in(folder, head=head, ranks=ALONE):
    return Checkpoint(folder / "kept", head, every_s=0, ranks=ranks)


def run(model, method, checkpoint=NOTHING_KEPT, stop_after=None, **more):
    """Walk; raise when block `stop_after` is compressed and its state not kept yet."""
    done = []

    def on_block(index, *_):
        done.append(index)
        if index == stop_after:
            raise StoppedError

    given = {"lengths_N": LENGTHS, "settings": SETTINGS, "on_block": on_block, **more}
    try:
        return walk(model, method, TOKENS, checkpoint=checkpoint, **given), done
    except StoppedError:
        return None, done


def found(model, reports):
    """All that a walk leaves, as far as it does not hang on the clock."""
    rows = [{**report.row(), "seconds": None} for report in reports]
    grids = [None if r.grid is None else [r.grid.scale_OG, r.grid.zero_point_OG] for r in reports]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return rows, grids, state, model(TOKENS[:, :20]).logits


def assert_same(one, other):
    assert one[0] == other[0]
    torch.testing.assert_close(list(one[1:]), list(other[1:]), rtol=0, atol=0, equal_nan=True)


def check_resumes(folder, method, make, stops, **more):
    model = make()
    expected = found(model, run(model, method, **more)[0])
    for stop in stops:
        shutil.rmtree(folder / "kept", ignore_errors=True)
        assert run(make(), method, kept_in(folder), stop, **more)[0] is None
        model = make()
        reports, done = run(model, method, kept_in(folder), **more)
        assert done == list(range(stop, 4))
        assert_same(found(model, reports), expected)
    model = make()
    reports, done = run(model, method, kept_in(folder), **more)
    assert done == []  # a walk that is over is not walked again
    assert_same(found(model, reports), expected)


FEW = ("gptaq", "flap")  # two streams; a plan of masks, biases


@pytest.mark.parametrize(
    "name", [n if n in FEW else pytest.param(n, marks=pytest.mark.slow) for n in METHODS]
)
def test_every_method_goes_on_to_the_same_bits(tmp_path, name):
    if name == "reap" and not FUSES_EXPERTS:
        pytest.skip("this release keeps experts apart")
    check_resumes(tmp_path, METHODS[name], lambda: dense(name), (2,))


class Passed(Checkpoint):
    """Ends a pass that plans as soon as two blocks are kept."""

    def after_noted(self, note, inputs):
        super().after_noted(note, inputs)
        if self._num_noted == 2:
            raise StoppedError


@pytest.mark.parametrize(
    "name", ["flap", *(pytest.param(n, marks=pytest.mark.slow) for n in PLANNING if n != "flap")]
)
def test_a_pass_that_plans_goes_on_too(tmp_path, name):
    if name == "reap" and not FUSES_EXPERTS:
        pytest.skip("this release keeps experts apart")
    model = dense(name)
    expected = found(model, run(model, METHODS[name])[0])
    stopping = Passed(tmp_path / "kept", head, every_s=0)
    assert run(dense(name), METHODS[name], stopping)[0] is None
    assert len(list((tmp_path / "kept").glob("noted*"))) == 2
    seen = []

    class Watched(Checkpoint):
        def after_noted(self, note, inputs):
            seen.append(note)
            super().after_noted(note, inputs)

    model = dense(name)
    reports, done = run(model, METHODS[name], Watched(tmp_path / "kept", head, every_s=0))
    assert len(seen) == 2 and done == [0, 1, 2, 3]
    assert_same(found(model, reports), expected)
    assert not list((tmp_path / "kept").glob("noted*"))


MORE = {
    "dynamic inputs": ("gptq", {"activations": activations("int8")}),
    "static inputs": ("wanda", {"activations": activations("int8", scaling="static")}),
    "static inputs, two streams": (
        "gptaq",
        {"activations": activations("nvfp4", scaling="static")},
    ),
    "in order": ("qronos", {"settings": replace(SETTINGS, true_sequential=True)}),
    "dense outputs": ("gptq", {"settings": replace(SETTINGS, propagate="dense")}),
    "grids": ("gptq_nvfp4", {"keep_grids": True}),
    "integer grids": ("rtn", {"keep_grids": True}),
    "weights of tokens": ("wanda", {"weights_NT": torch.rand(4, 24).round(decimals=2)}),
}


QUICK = ("static inputs, two streams",)


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in MORE]
)
def test_whatever_stands_in_front_of_layers_and_however_it_is_walked(tmp_path, name):
    method, more = MORE[name]
    check_resumes(tmp_path, METHODS[method], lambda: dense(method), (2,), **more)


@pytest.mark.slow
def test_rotated_and_waiting_in_host_memory(tmp_path):
    def make():
        model = dense("gptq")
        rotation().apply(model, is_quantized=True)
        offload(model, torch.device("cpu"))
        return model

    check_resumes(tmp_path, METHODS["gptq"], make, (2,), activations=activations("int4"))


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """Folder of a walk that was stopped in its third block."""
    folder = tmp_path_factory.mktemp("interrupted")
    run(dense("gptaq"), METHODS["gptaq"], kept_in(folder), 2)
    return folder


@pytest.fixture
def state(interrupted, tmp_path):
    """A copy of its state, below `tmp_path`."""
    return shutil.copytree(interrupted / "kept", tmp_path / "kept")


def test_a_state_takes_the_place_of_the_one_before(state):
    assert sorted(path.name for path in state.iterdir()) == [
        "block-00000.safetensors",
        "block-00001.safetensors",
        "hidden-00002-rank0.safetensors",
        "state.json",
    ]


def flipped(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "a flipped bit of a block": lambda f: flipped(f / "block-00001.safetensors"),
    "a flipped bit of hidden states": lambda f: flipped(f / "hidden-00002-rank0.safetensors"),
    "a block that is cut": lambda f: (f / "block-00000.safetensors").write_bytes(b"short"),
    "a block that is gone": lambda f: (f / "block-00001.safetensors").unlink(),
    "a state that is cut": lambda f: (f / "state.json").write_text('{"head": {"sch'),
    "a state of another form": lambda f: (f / "state.json").write_text('{"head": {}}'),
    "no object": lambda f: (f / "state.json").write_text("[]"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_state_is_not_used(state, tmp_path, caplog, name):
    assert kept_in(tmp_path)._found is not None
    DAMAGE[name](state)
    checkpoint = kept_in(tmp_path)
    assert checkpoint.resume([], None) == [] and checkpoint.num_done == 0
    assert "is not used, and the walk begins anew" in caplog.text


def test_a_walk_begins_anew_beside_the_state_of_another_one(state, tmp_path, caplog):
    def other():
        return kept_in(tmp_path, lambda: {"cell": "another"})

    before = sorted(state.iterdir())
    assert other().resume([], None) == []
    assert "of another computation, by its cell" in caplog.text
    assert sorted(state.iterdir()) == before  # it is of use to its own, until there is a newer one
    model = dense("rtn")
    expected = found(model, run(model, METHODS["rtn"])[0])
    model = dense("rtn")
    reports, done = run(model, METHODS["rtn"], other())
    assert done == [0, 1, 2, 3]
    assert_same(found(model, reports), expected)
    assert json.loads((state / "state.json").read_text())["head"]["cell"] == "another"
    assert run(dense("rtn"), METHODS["rtn"], other())[1] == []


def test_the_dense_model_is_looked_at_before_anything_changes(tmp_path):
    model = dense("rtn")
    weight = decoder_blocks(model)[0].mlp.up_proj.weight
    before = float(weight.sum())
    run(model, METHODS["rtn"], kept_in(tmp_path, lambda: {"model": float(weight.sum())}))
    assert json.loads((tmp_path / "kept/state.json").read_text())["head"]["model"] == before
    assert float(weight.sum()) != before


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("every_s", "took_s", "kept_at"),
    [(25, 0, [30, 60, 90]), (0, 8, [10, 20, 30, 40, 50]), (5, 1, [10, 30, 50, 70, 90])],
)
def test_states_are_apart_and_take_a_twentieth_of_the_time_at_most(
    tmp_path, monkeypatch, every_s, took_s, kept_at
):
    """Blocks that end every ten seconds: when a state is kept."""
    clock, kept = Clock(), []
    checkpoint = Checkpoint(tmp_path, head, every_s=every_s, clock=clock)
    checkpoint.resume([], None)

    def write(_):
        kept.append(clock.now)
        clock.now += took_s
        return {}, None

    monkeypatch.setattr(checkpoint, "_write", write)
    for end in range(10, 100, 10):
        clock.now = max(clock.now, float(end))
        checkpoint.after_block(SimpleNamespace(index=end), [], None)
    assert kept[: len(kept_at)] == kept_at


class Halved(LayerMethod):
    """Its quantiser of inputs is a function, which no file holds."""

    def compress_weight(self, weight_OI, statistic):
        return CompressedWeight(weight_OI=weight_OI / 2, input_quantizer=lambda inputs: inputs)


def test_what_cannot_be_kept_is_said_and_the_walk_goes_on(tmp_path, caplog):
    reports, done = run(dense("halved"), Halved(), kept_in(tmp_path))
    assert done == [0, 1, 2, 3] and len(reports) == 4 * 7
    assert caplog.text.count("nothing more is kept of this walk") == 1
    assert "a builtins.function is more than its attributes" in caplog.text
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_disk_that_gets_full_loses_no_state_and_no_walk(tmp_path, caplog, monkeypatch):
    model = dense("wanda")
    expected = found(model, run(model, METHODS["wanda"])[0])
    write = plain.write

    def full(path, value):
        is_full = path.name == "hidden-00003-rank0.safetensors"
        if is_full:
            (path.parent / "not of ours, and no file").mkdir()
        with no_room() if is_full else nullcontext():
            write(path, value)

    monkeypatch.setattr(plain, "write", full)
    model = dense("wanda")
    assert_same(found(model, run(model, METHODS["wanda"], kept_in(tmp_path))[0]), expected)
    assert "File too large" in caplog.text
    model = dense("wanda")
    _, done = run(model, METHODS["wanda"], kept_in(tmp_path), 3)
    assert done == [2, 3]


def test_ranks_keep_one_state_together(tmp_path, caplog):
    """Hidden states of each rank; blocks of the first. All go on, or none does."""

    def walked(stop, count=2, folder="state"):
        models = [dense("gptq") for _ in range(count)]  # which is made by global seeds

        def of_rank(ranks):
            model, checkpoint = models[ranks.index], kept_in(tmp_path / folder, ranks=ranks)
            reports, done = run(model, METHODS["gptq"], checkpoint, stop, ranks=ranks)
            return done, None if stop else found(model, reports)

        return in_threads(count, of_rank)

    (_, expected), _ = walked(None, folder="whole")
    walked(2)
    names = [path.name for path in (tmp_path / "state/kept").glob("hidden*")]
    assert sorted(names) == [f"hidden-00002-rank{rank}.safetensors" for rank in (0, 1)]
    assert [done for done, _ in walked(3)] == [[2, 3]] * 2
    flipped(tmp_path / "state/kept/hidden-00003-rank1.safetensors")
    for done, result in walked(None):
        assert done == [0, 1, 2, 3]
        assert_same(result, expected)
    assert "hidden-00003-rank1.safetensors is damaged" in caplog.text
    walked(2, count=3)
    assert "of another computation, by its ranks" in caplog.text
