"""The front door for Python says what the command line says, and does what it does."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from pydoc import plaintext, render_doc

import hydra
import numpy as np
import pytest
import torch
from helpers.fakes import byte_tokenizer, random_tokens, save_tiny, tiny_model
from helpers.greedy import Greedy
from helpers.repository import ROOT
from helpers.shared_reading import shared_reading
from helpers.sweeps import read_records
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import OmegaConf

import calib_sweep
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.errors import ConfigError
from calib_sweep.sweep.points import parse
from calib_sweep.sweep.words import word


@pytest.fixture(autouse=True)
def composing_as_the_command_line_does_here():
    with shared_reading():
        yield


@pytest.fixture
def inside(tmp_path, monkeypatch):
    """An empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CALIB_SWEEP_CONF", raising=False)
    return tmp_path


@pytest.fixture
def by_hand(documents, scored_documents):
    """The settings of `tiny_world` as Python says them: dataset, sizes of a set, evaluation."""
    perplexity = {"corpora": [scored_documents], "seq_len": 32, "max_windows": 1}
    return (
        calib_sweep.dataset("text", path=documents),
        {"num_samples": 2, "seq_len": 32},
        calib_sweep.evaluation("miniature", perplexity=perplexity, zero_shot=None, divergence=None),
    )


@pytest.mark.parametrize("name", ["gptq", "spqr", "magnitude_24"])
def test_a_method_has_the_settings_of_its_yaml(name, inside):
    written = instantiate(OmegaConf.load(ROOT / "conf" / "method" / f"{name}.yaml"))
    assert calib_sweep.method(name) == written


def test_keys_are_set_one_by_one_also_in_what_a_part_is_made_of(inside):
    assert calib_sweep.method("gptq", bits=3, act_order=True).act_order is True
    assert calib_sweep.method("owl", base={"pattern": "unstructured"}).sparsity == 0.5
    few = calib_sweep.evaluation("miniature", **{"zero_shot.num_items": 3})
    assert few.zero_shot.num_items == 3 and few.zero_shot.scorer == "packed"
    assert calib_sweep.dataset("text", path="a.txt", name="true").name == "true"


@pytest.mark.parametrize(
    "value",
    [
        *("wanda", "2:4", "true", "Null", "nan", "", " ", "1e3", "a,b", "range(3)", "a=b", "$x"),
        *("it's", 'say "so"', "back\\", '\\"', "a\\'b", "{x}", "[1]", "naïve", "\n\n", "-m", "a b"),
        *(
            0,
            -3,
            2.5,
            1e-07,
            float("inf"),
            True,
            None,
            [],
            [1, "a b"],
            {"a": {"b-c": [None, "x:y"]}},
        ),
    ],
)
def test_what_is_said_in_python_is_read_as_the_same_value(value):
    assert parse(word("method.key", value)).value() == value


def test_numbers_of_numpy_and_paths_are_values_too_and_nothing_else_is():
    assert word("a", np.float64(0.5)) == "a=0.5" and word("a", np.int64(3)) == "a=3"
    assert parse(word("a", Path("x y/z.txt"))).value() == "x y/z.txt"
    with pytest.raises(ConfigError, match=r"a=.*expected a value that can be typed"):
        word("a", object())


@pytest.mark.parametrize(
    ("build", "typed"),
    [
        (lambda: calib_sweep.method("gptq", bitz=3), ["method=gptq", "method.bitz=3"]),
        (lambda: calib_sweep.method("gptq", bits=99), ["method=gptq", "method.bits=99"]),
        (lambda: calib_sweep.method("gptqq"), ["method=gptqq"]),
        (lambda: calib_sweep.model("hf"), ["model=hf"]),
        (lambda: calib_sweep.draw("mini_web", "miniature", sed=1), ["calibration.sed=1"]),
        (lambda: calib_sweep.run(["method=wnda", "seed=x"]), ["method=wnda", "seed=x"]),
    ],
)
def test_a_mistake_is_told_in_the_words_of_the_command_line(build, typed, run_cli, inside):
    ended = run_cli(*typed, cwd=inside)
    with pytest.raises(ConfigError) as refused:
        build()
    said = [line.removeprefix("ConfigError: ") for line in ended.err.splitlines()]
    assert ended.code == 1 and list(refused.value.problems) == said


@pytest.mark.parametrize("asked", [False, True])
def test_yaml_of_ones_own_is_found(asked, inside, monkeypatch):
    folder = inside / ("mine" if asked else "conf.local")
    own = folder / "method" / "half.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("defaults: [wanda]\nsparsity: 0.25\n")
    if asked:
        monkeypatch.setenv("CALIB_SWEEP_CONF", str(folder))
    assert calib_sweep.method("half").sparsity == 0.25
    monkeypatch.setenv("CALIB_SWEEP_CONF", "nowhere")
    with pytest.raises(ConfigError, match="nowhere: expected a folder"):
        calib_sweep.method("half")


def test_modules_of_the_current_folder_are_found_and_it_is_left_off_the_path(inside):
    write_failing_method(inside)
    assert str(inside) not in sys.path
    path = list(sys.path)
    try:
        assert type(calib_sweep.method("failing")).__name__ == "Failing"
    finally:
        sys.modules.pop("failing", None)
    assert sys.path == path


def test_a_set_is_drawn_with_the_sizes_of_the_yaml_and_of_the_model_s(by_hand, inside):
    dataset, sizes, _ = by_hand
    tokenizer = calib_sweep.model("miniature").load_tokenizer()
    assert calib_sweep.draw(dataset, "miniature", seq_len=32).tokens_NT.shape == (16, 32)
    with pytest.raises(ConfigError, match=r"calibration\.num_samples=128: expected at most 64"):
        calib_sweep.draw(dataset, tokenizer, seq_len=4)
    loaded = calib_sweep.model("miniature").load()
    owners = ("miniature", tokenizer, calib_sweep.model("miniature"), loaded)
    sets = [calib_sweep.draw(dataset, owner, **sizes, seed=2) for owner in owners]
    assert len({drawn.hash for drawn in sets}) == 1
    assert calib_sweep.draw(dataset, tokenizer, **sizes).hash != sets[0].hash
    with pytest.raises(ConfigError, match="tokenizer=5: expected a tokenizer"):
        calib_sweep.draw(dataset, 5, **sizes)


def test_a_selector_is_named_and_set(inside):
    named = calib_sweep.dataset("mini_web", selector="coverage")
    assert named.selector.name == "coverage" and named.selector.pool_size is None
    part = calib_sweep.dataset("mini_web", selector={"name": "zipf", "pool_size": 12})
    drawn = calib_sweep.draw(part, "miniature", num_samples=3, seq_len=16)
    assert drawn.tokens_NT.shape == (3, 16) and len(drawn.card["selection"]["scores"]) == 12
    assert calib_sweep.dataset("mini_web", selector=None).name == "mini_web"
    with pytest.raises(ConfigError, match=r"selector=\{'pool_size': 9\}: expected a name"):
        calib_sweep.dataset("mini_web", selector={"pool_size": 9})


def test_a_dataset_that_draws_with_the_model_is_given_one(by_hand, inside):
    _, sizes, _ = by_hand
    dataset = Greedy(name="greedy", notes=str(inside / "notes"))
    drawn = calib_sweep.draw(dataset, calib_sweep.model("miniature"), **sizes)
    assert drawn.hash == calib_sweep.draw(dataset, "miniature", **sizes).hash
    with pytest.raises(ConfigError, match="expected a model, or the name of one"):
        calib_sweep.draw(dataset, calib_sweep.model("miniature").load_tokenizer(), **sizes)


def test_activations_are_taken_by_name_and_as_they_are_made(inside):
    tokens, settings = random_tokens(2, 16), {"bits": 6, "scaling": "static"}
    six = calib_sweep.activations("int8", **settings)
    assert (six.name, six.bits, six.scaling) == ("int8", 6, "static")
    shown = []
    for chosen in (None, "int8", six):
        reports = calib_sweep.compress(tiny_model(), "wanda", tokens, activations=chosen)
        shown.append({report.input_quantizer for report in reports})
    assert shown == [{None}, {"int8 dynamic"}, {"int6 static"}]
    with pytest.raises(ConfigError, match="activations=int9: expected one of"):
        calib_sweep.compress(tiny_model(), "rtn", activations="int9")
    with pytest.raises(ConfigError, match=r"activations=8: expected a name, or a quantiser of"):
        calib_sweep.compress(tiny_model(), "rtn", activations=8)


def test_a_rotation_comes_before_activations_and_method(inside):
    seven = calib_sweep.rotation("random", seed=7)
    assert (seven.name, seven.matrix, seven.seed) == ("random", "random", 7)
    tokens, rtn = random_tokens(2, 16), calib_sweep.method("rtn", bits=8, group_size=None)
    expected = tiny_model()(tokens).logits
    for chosen in ("hadamard", seven):
        for given in (None, "int8"):
            model = tiny_model()
            calib_sweep.compress(model, rtn, rotation=chosen, activations=given)
            change = (model(tokens).logits - expected).norm() / expected.norm()
            assert 0 < float(change) < 0.05
            assert not torch.equal(
                model.get_input_embeddings().weight, tiny_model().model.embed_tokens.weight
            )
    with pytest.raises(ConfigError, match=r"not rotated yet.*Load the model anew"):
        calib_sweep.compress(model, rtn, rotation=seven, activations="int8")
    with pytest.raises(ConfigError, match=r"rotation=8: expected a name, or calib_sweep\.rotation"):
        calib_sweep.compress(tiny_model(), "rtn", rotation=8)


@pytest.mark.parametrize(
    ("method", "given", "said"),
    [
        ("wanda", {}, "tokens=None: expected token ids"),
        ("rtn", {"activations": "mxfp4"}, r"activations='mxfp4': expected groups"),
        ("flap", {"true_sequential": True}, r"walk\.true_sequential=True: expected false"),
    ],
)
def test_what_is_refused_is_not_rotated(inside, method, given, said):
    model = tiny_model(tie_word_embeddings=True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ConfigError, match=said):
        calib_sweep.compress(model, method, rotation="hadamard", **given)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert all(torch.equal(before[name], new) for name, new in model.state_dict().items())


def test_tokens_are_taken_in_every_form(inside):
    tokens = random_tokens(4, 24)
    drawn = CalibrationSet(tokens_NT=tokens.numpy(), lengths_N=None, samples=[], card={})
    weights = []
    unsigned = tokens.numpy().astype(np.uint16), tokens.numpy().astype(np.uint32)
    rows = list(tokens.numpy()), tuple(tokens)
    for given in (tokens, tokens.int(), tokens.numpy(), tokens.tolist(), *rows, *unsigned, drawn):
        model = tiny_model()
        reports = calib_sweep.compress(model, "wanda", given)
        assert len(reports) == 14
        weights.append(torch.cat([p.flatten() for p in model.parameters()]))
    assert all(torch.equal(weights[0], other) for other in weights)


def test_lengths_of_a_drawn_set_count(inside):
    tokens, lengths = random_tokens(4, 24), np.array([24, 3, 5, 24])
    drawn = CalibrationSet(tokens_NT=tokens.numpy(), lengths_N=lengths, samples=[], card={})
    models = [tiny_model() for _ in range(3)]
    calib_sweep.compress(models[0], "wanda", drawn)
    calib_sweep.compress(models[1], "wanda", tokens, lengths=list(lengths))
    calib_sweep.compress(models[2], "wanda", tokens)
    with pytest.raises(ConfigError, match=r"lengths=\[24\]: expected none beside a set"):
        calib_sweep.compress(models[2], "wanda", drawn, lengths=[24])
    first, same, full = (torch.cat([p.flatten() for p in m.parameters()]) for m in models)
    assert torch.equal(first, same) and not torch.equal(first, full)


def test_weights_are_taken_in_every_form(inside):
    tokens, answers = random_tokens(4, 24), np.zeros((4, 24), dtype=bool)
    answers[:, 5:9] = answers[1, 12:] = True
    lengths = np.array([24, 12, 24, 24])
    drawn = CalibrationSet(
        tokens_NT=tokens.numpy(), lengths_N=lengths, answers_NT=answers, samples=[], card={}
    )
    mask = answers & (np.arange(24) < lengths[:, None])
    means = np.where(np.arange(24) < lengths[:, None], 21 / lengths[:, None], 0)
    given = [
        [(drawn, w) for w in ("answers_only", mask, mask.tolist(), torch.tensor(mask).float())],
        [(drawn, w) for w in ("sequences", means)],
        [(drawn, w) for w in ("tokens", None, np.ones((4, 24)))],
    ]
    found = []
    for same in given:
        models = [tiny_model() for _ in same]
        for model, (source, weights) in zip(models, same, strict=True):
            calib_sweep.compress(model, "wanda", source, weights=weights)
        flat = [torch.cat([p.flatten() for p in model.parameters()]) for model in models]
        assert all(torch.equal(flat[0], other) for other in flat)
        found.append(flat[0])
    assert not torch.equal(found[0], found[2]) and not torch.equal(found[1], found[2])


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (("wanda", [[1, 2]]), {"weights": "answers"}, r"weights='answers': expected a number"),
        (("wanda", [[1, 2]]), {"weights": "tokens"}, r"weights='tokens': .* or beside a set one"),
        (("wanda", [[1, 2]]), {"weights": [["a", 1]]}, r"weights: expected a number from 0 for"),
        (("wanda", [[1, 2]]), {"weights": [[0, 0]]}, r"weights: expected a token that counts"),
        (("wanda", [[1, 2]]), {"weights": [1, 0]}, r"weights=\(2,\): expected one weight per tok"),
        (("wanda", [[0.5, 1.0]]), {}, r"tokens\.dtype='float64': expected whole numbers"),
        (("wanda", torch.zeros(1, 2)), {}, r"tokens\.dtype='torch\.float32': expected whole"),
        (("wanda", torch.zeros(1, 2).bool()), {}, r"tokens\.dtype='torch\.bool': expected whole"),
        (("wanda", [[True, False]]), {}, r"tokens\.dtype='bool': expected whole"),
        (("wanda", [["1", "2"]]), {}, r"tokens\.dtype='<U1': expected whole"),
        (("wanda", [[1, 2], [3]]), {}, r"tokens: expected .* of shape .*[^.]\. Pass token ids"),
        (("wanda", {"input_ids": [[1, 2]]}), {}, r"tokens='dict': expected whole numbers"),
        (("wanda", iter([[1, 2]])), {}, r"tokens='list_iterator': expected whole numbers"),
        (("wanda", byte_tokenizer()("hello")), {}, r"tokens='BatchEncoding': expected whole"),
        (("wanda", []), {}, r"tokens=\(0,\): expected token ids"),
        (("wanda", [[-1, 2]]), {}, r"tokens=-1: expected token ids from 0 to 258"),
        (("wanda", [[1, 259]]), {}, r"tokens=259: expected token ids from 0 to 258"),
        (("wanda", [[1, 2]]), {"lengths": ["a"]}, r"lengths\.dtype='<U1': expected a whole"),
        (("wanda", [[1, 2]]), {"lengths": 2}, r"lengths='int': expected a whole number for"),
        (("wanda", [[1, 2]]), {"lengths": [0]}, r"lengths=\[0\]: expected .*, 1 to 2\."),
        (("wanda", [[1, 2]]), {"lengths": [3]}, r"lengths=\[3\]: expected .*, 1 to 2\."),
        (("wanda", [[1, 2]]), {"lengths": [1, 1]}, r"lengths=\(2,\): expected one length"),
        (("wanda", [[1] * 600]), {}, r"tokens=\(1, 600\): expected .* at most 128"),
        (("wanda", None), {}, r"tokens=None: expected token ids"),
        ((5, [[1, 2]]), {}, r"method=5: expected a name, or a class derived"),
        (("wanda", [[1, 2]]), {"propagat": "dense"}, r"walk\.propagat=dense: no such key"),
        (("wanda", [[1, 2]]), {"propagate": "x"}, r"walk\.propagate='x': expected published"),
    ],
)
def test_what_cannot_be_compressed_is_refused(arguments, settings, message, inside):
    with pytest.raises(ConfigError, match=message):
        calib_sweep.compress(tiny_model(), *arguments, **settings)


@pytest.mark.parametrize("path", ["tiny", "./tiny"])
def test_a_folder_that_is_no_longer_seen_from_here_is_told(path, inside, by_hand, monkeypatch):
    save_tiny("llama", inside / "tiny")
    model = calib_sweep.model("hf", path=path).load()
    (inside / "below").mkdir()
    monkeypatch.chdir(inside / "below")
    message = rf"tokenizer=None: .* is {inside}/below/tiny, which does not exist\. Pass AutoTok"
    with pytest.raises(ConfigError, match=message):
        calib_sweep.evaluate(model, by_hand[2])


@pytest.mark.parametrize(
    ("build", "shown"),
    [
        (lambda: "miniature", "'miniature'"),
        (lambda: calib_sweep.model("miniature"), "'HubModel'"),
        (lambda: None, "None"),
        (lambda: torch.nn.Linear(2, 2), "'Linear'"),
    ],
)
def test_what_is_no_loaded_model_is_refused(build, shown, inside):
    message = rf"model={shown}: expected a loaded .*calib_sweep\.model\(\"miniature\"\)\.load"
    with pytest.raises(ConfigError, match=message):
        calib_sweep.compress(build(), "rtn")
    with pytest.raises(ConfigError, match=message):
        calib_sweep.evaluate(build(), "miniature")


def test_what_is_no_tokenizer_and_no_scores_is_refused(by_hand, inside):
    model = tiny_model()
    with pytest.raises(ConfigError, match="tokenizer='miniature': expected a tokenizer, or a"):
        calib_sweep.evaluate(model, by_hand[2], tokenizer="miniature")
    for dense, shown in (({}, "dict"), (model, "LlamaForCausalLM")):
        with pytest.raises(ConfigError, match=f"dense='{shown}': expected what evaluate"):
            calib_sweep.evaluate(model, by_hand[2], tokenizer=byte_tokenizer(), dense=dense)


def test_a_model_that_does_not_say_where_it_is_from_needs_a_tokenizer(inside, by_hand):
    with pytest.raises(ConfigError, match="tokenizer=None: expected one"):
        calib_sweep.evaluate(tiny_model(), by_hand[2])


def test_a_model_is_scored_without_dropout_and_left_in_its_mode(by_hand, inside):
    model, tokenizer = tiny_model("opt", dropout=0.5), byte_tokenizer()
    scores = calib_sweep.evaluate(model, by_hand[2], tokenizer=tokenizer).scores
    assert not model.training
    model.train()
    frozen = model.get_input_embeddings().eval()
    modes = [module.training for module in model.modules()]
    assert calib_sweep.evaluate(model, by_hand[2], tokenizer=tokenizer).scores == scores
    assert [module.training for module in model.modules()] == modes and not frozen.training


# About 10 s: `run` is a process of its own, which imports everything.
@pytest.mark.slow
def test_by_hand_by_run_and_by_the_command_line_the_scores_are_the_same(
    tiny_world, by_hand, run_cli, inside
):
    typed = ["method=wanda,rtn", "seed=1", *tiny_world]
    assert run_cli("-m", *typed, "results_dir=typed", cwd=inside).code == 0
    finished = calib_sweep.run([*typed, "results_dir=said"])
    assert (finished.code, finished.folder) == (0, inside / "said" / "default")
    dataset, sizes, evaluation = by_hand
    model = calib_sweep.model("miniature")
    for said, record in zip(
        read_records(finished.folder), read_records(inside / "typed" / "default"), strict=True
    ):
        assert said["scores"] == record["scores"] and said["cell_id"] == record["cell_id"]
        loaded, drawn = model.load(), None
        if record["calibration"] is not None:
            drawn = calib_sweep.draw(dataset, model, seed=1, **sizes)
            assert drawn.hash == said["calibration"]["hash"] == record["calibration"]["hash"]
        calib_sweep.compress(loaded, record["cell"]["method"], drawn)
        scored = calib_sweep.evaluate(loaded, evaluation)
        assert (scored.scores, scored.stderr) == (record["scores"], record["stderr"])
    table = finished.scores()
    assert sorted(table["method"].unique()) == ["dense", "rtn", "wanda"]
    assert table.equals(calib_sweep.load_scores("said/default"))


def test_a_dense_model_s_scores_are_what_others_diverge_from(documents, inside):
    settings = {"corpora": [documents], "seq_len": 32, "max_windows": 1}
    evaluation = calib_sweep.evaluation("miniature", perplexity=settings, zero_shot=None)
    model = calib_sweep.model("miniature").load()
    dense = calib_sweep.evaluate(model, evaluation)
    calib_sweep.compress(model, "rtn")
    (kl,) = (
        name
        for name in calib_sweep.evaluate(model, evaluation, dense=dense).scores
        if "kl/" in name
    )
    assert calib_sweep.evaluate(model, evaluation, dense=dense).scores[kl] > 0
    settings["seq_len"] = 16
    other = calib_sweep.evaluation("miniature", perplexity=settings, zero_shot=None)
    with pytest.raises(ConfigError, match=r"^dense: .* other tokens .*compared\. Score the dense"):
        calib_sweep.evaluate(model, other, dense=dense)
    with pytest.raises(ConfigError, match=r"dense=.*with divergence"):
        bare = dataclasses.replace(evaluation, divergence=None)
        calib_sweep.evaluate(model, evaluation, dense=calib_sweep.evaluate(model, bare))


def test_hydra_is_left_as_it_was_found(inside):
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        theirs, config = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
        calib_sweep.method("rtn")
        with pytest.raises(ConfigError):
            calib_sweep.method("rtm")
        assert GlobalHydra.instance().hydra is theirs and HydraConfig.instance().cfg is config


@pytest.mark.slow  # another such process
def test_cells_that_fail_are_told_by_the_code_and_in_the_scores(tiny_world, inside, capfd):
    write_failing_method(inside)
    finished = calib_sweep.run(["method=failing", *tiny_world])
    assert finished.code == 3
    done, failed = finished.scores()["status"], finished.scores()["error"].dropna()
    assert set(done) == {"done", "failed"} and failed.str.contains("nothing works").all()
    said = capfd.readouterr()
    assert "2 cells, 1 done, 1 failed" in said.out and "failing failed: " in said.err


def write_failing_method(folder):
    """A method of one's own in the current folder."""
    (folder / "failing.py").write_text(
        "from dataclasses import dataclass\n"
        "from calib_sweep.method.base import LayerMethod\n\n\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Failing(LayerMethod):\n"
        "    def compress_weight(self, weight_OI, statistic):\n"
        "        raise ArithmeticError('nothing works')\n"
    )
    (folder / "conf.local" / "method").mkdir(parents=True)
    (folder / "conf.local" / "method" / "failing.yaml").write_text("_target_: failing.Failing\n")


def test_a_run_takes_a_list_of_words_that_run_something(inside):
    with pytest.raises(ConfigError, match=r'expected a list of words, \["method=wanda"\]'):
        calib_sweep.run("method=wanda")
    with pytest.raises(ConfigError, match="expected the words of a sweep"):
        calib_sweep.run(["--cfg", "job"])
    with pytest.raises(ConfigError, match=r"nowhere.*expected"):
        calib_sweep.load_scores("nowhere")
    for load in (calib_sweep.load_scores, calib_sweep.load_report):
        with pytest.raises(ConfigError, match="folder=None: expected the folder of a sweep"):
            load(None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (None, r"run\(None\): expected a list of words"),
        ([3], r"3: expected a word, key=value"),
        (["method=rtn", ""], r"'': expected a word, key=value"),
        (["check", "method=rtn"], r"'check': expected key=value, as run takes no verb"),
        (["method=rtn", "--version"], r"'--version'\]\): expected the words of a sweep"),
        (["--help"], r"'--help'\]\): expected the words of a sweep"),
    ],
)
def test_a_run_of_other_words_starts_no_process(words, message, inside, monkeypatch):
    monkeypatch.setattr("calib_sweep.api.child.subprocess.Popen", None)
    with pytest.raises(ConfigError, match=message):
        calib_sweep.run(words)


@pytest.mark.slow
def test_the_front_door_opens_whatever_else_is_imported_and_costs_nothing_before():
    code = (
        "import sys, calib_sweep\n"
        "heavy = {'torch', 'hydra', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "from calib_sweep.method.rtn import RTN\n"
        "import calib_sweep.model.loading, calib_sweep.dataset.text\n"
        "assert calib_sweep.method('rtn') == calib_sweep.api.functions.method('rtn')\n"
        "assert isinstance(calib_sweep.method('rtn'), calib_sweep.method.rtn.RTN)\n"
        "assert calib_sweep.model('miniature').name == 'miniature'\n"
        "from calib_sweep import run, evaluation\n"
        "assert callable(run) and run.run_cell and evaluation('paper').zero_shot\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert set(calib_sweep.__all__) <= set(dir(calib_sweep))
    assert "errors" in dir(calib_sweep) and not {"ROOMS", "Room", "sys"} & set(dir(calib_sweep))
    with pytest.raises(AttributeError):
        calib_sweep.nothing  # noqa: B018


@pytest.mark.parametrize("name", calib_sweep.ROOMS)
def test_the_help_on_a_room_is_that_of_its_function(name):
    shown = render_doc(getattr(calib_sweep, name), renderer=plaintext)
    summary = getattr(calib_sweep.api.functions, name).__doc__.splitlines()[0].rstrip(".")
    assert f"{name} - {summary}" in shown
