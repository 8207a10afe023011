"""`check`: says what a grid is before it is run, without weights, and finds what cannot run."""

import json
import re
from types import SimpleNamespace

import pytest
from helpers.fakes import save_tiny
from helpers.sweeps import write_documents
from helpers.words import make_tokenizer, text_of
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.dataset.text import TextFiles
from calib_sweep.errors import FETCH, ConfigError, UnavailableError, collected
from calib_sweep.places import CONF
from calib_sweep.sweep.check import check_pool


@pytest.fixture
def no_hub(monkeypatch):
    """A machine without a network: the hub does not answer."""
    monkeypatch.setattr("calib_sweep.model.loading.hub_answers", lambda: False)


def test_check_counts_cells_and_leaves_nothing(run_cli, tiny_world, no_weights, tmp_path):
    grid = ["method=wanda,sparsegpt,magnitude", "seed=range(5)"]
    ended = run_cli("check", "-m", *tiny_world, *grid, cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert "sweep default: 11 cells and 1 dense, 0 done, 12 to run" in ended.out
    assert "every cell is valid" in ended.out and "by the cost model alone" in ended.out
    assert not list(tmp_path.iterdir())


def test_check_counts_what_is_done_and_says_how_long_the_rest_takes(run_cli, tiny_world, tmp_path):
    assert run_cli("-m", *tiny_world, "seed=0,1", cwd=tmp_path).code == 0
    ended = run_cli("check", "-m", *tiny_world, "seed=range(5)", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert "5 cells and 1 dense, 3 done, 3 to run" in ended.out
    assert "3 cells as finished ones like them" in ended.out
    windows = "evaluation.perplexity.max_windows=2"
    ended = run_cli("check", "-m", *tiny_world, windows, "seed=range(5)", cwd=tmp_path)
    assert "6 cells by the cost model fitted to 3 finished cells" in ended.out
    ended = run_cli("check", "-m", *tiny_world, "seed=0,1", cwd=tmp_path)
    assert "2 cells and 1 dense, 3 done, 0 to run" in ended.out
    assert "time:" not in ended.out


def test_hours_memory_and_disk_of_a_model_that_is_a_configuration_only(
    run_cli, tiny_world, no_weights, tmp_path
):
    folder = save_tiny("llama", tmp_path / "tiny")
    (folder / "model.safetensors").unlink()
    world = [word for word in tiny_world if word != "model=miniature"]
    ended = run_cli("check", *world, "model=hf", f"model.path={folder}", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert "time: about " in ended.out and "on one H200" in ended.out
    assert "memory: about " in ended.out and "disk: about " in ended.out
    assert "expected weights" in ended.out  # not checked


def test_problems_of_several_cells_are_found_each_once(run_cli, tiny_world, no_weights, tmp_path):
    grid = ["method=wanda,sparsegpt", "method.sparsity=0.5,2", "seed=0,40", "replicate=0,-1"]
    ended = run_cli("check", "-m", *tiny_world, *grid, cwd=tmp_path)
    assert ended.code == 1
    told = ended.err.splitlines()
    assert len(told) == 3
    for start in ("replicate=-1:", "method.sparsity=2:", "seed=40:"):
        assert [line for line in told if line.startswith(f"ConfigError: {start}")]


def test_a_set_is_drawn_once_per_source_for_its_largest_seed(
    run_cli, tiny_world, tmp_path, monkeypatch
):
    from calib_sweep.dataset.text import TextFiles

    draw, seeds = TextFiles.draw, []
    monkeypatch.setattr(TextFiles, "draw", lambda self, *a: seeds.append(a[-1]) or draw(self, *a))
    grid = ["method=wanda,sparsegpt", "seed=range(5)", "calibration.num_samples=2,3"]
    assert run_cli("check", "-m", *tiny_world, *grid, cwd=tmp_path).code == 0
    assert seeds == [4, 4]


def test_weights_that_no_token_of_a_set_has_are_refused_with_all_else(
    run_cli, tiny_world, no_weights, tmp_path
):
    grid = ["calibration.weighting=tokens,answers_only,words", "calibration.seq_len=16"]
    ended = run_cli("check", "-m", *tiny_world, *grid, "method.sparsity=2", cwd=tmp_path)
    assert ended.code == 1
    assert "calibration.weighting='answers_only': expected a dataset that marks" in ended.err
    assert "calibration.weighting='words': expected one of tokens, sequences" in ended.err
    assert "method.sparsity=2:" in ended.err


@pytest.mark.parametrize("architecture", ["llama", "mixtral"])
def test_all_experts_are_those_of_a_mixture(
    run_cli, tiny_world, no_weights, tmp_path, architecture
):
    folder = save_tiny(architecture, tmp_path / "tiny")
    world = [word for word in tiny_world if word != "model=miniature"]
    grid = ["model=hf", f"model.path={folder}", "walk.all_experts=true", "calibration.seq_len=16"]
    ended = run_cli("check", *world, *grid, cwd=tmp_path)
    assert ended.code == (0 if architecture == "mixtral" else 1), ended.err
    refused = "walk.all_experts=True: expected false, or a mixture of experts"
    assert (refused in ended.err) == (architecture == "llama")


def test_a_set_of_several_lengths_is_checked_and_counted(run_cli, tiny_world, no_weights, tmp_path):
    grid = ["calibration.weighting=tokens,sequences", "calibration.seq_len=[16,8]"]
    ended = run_cli("check", "-m", *tiny_world, *grid, cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert "2 cells and 1 dense, 0 done, 3 to run" in ended.out


def test_a_seed_that_no_pool_holds_is_told_before_a_large_grid_is_composed(
    run_cli, tiny_world, tmp_path, monkeypatch
):
    from calib_sweep.sweep import sweep

    compose, sizes = sweep.compose_grid, []
    monkeypatch.setattr(sweep, "compose_grid", lambda *a: sizes.append(len(a[2])) or compose(*a))
    ended = run_cli(
        "check", "-m", *tiny_world, "method=wanda,sparsegpt", "seed=range(9000)", cwd=tmp_path
    )
    assert ended.code == 1 and "seed=8999: expected at most 31" in ended.err
    assert sizes == [2]


def test_the_papers_grid_has_1800_cells():
    experiment = OmegaConf.load(CONF / "experiment" / "paper.yaml")
    words = [f"{key}={value}" for key, value in experiment.hydra.sweeper.params.items()]
    overrides = OverridesParser.create().parse_overrides(words)
    points = BasicSweeper.split_arguments(overrides, max_batch_size=None)[0]
    assert len(points) == len({tuple(point) for point in points}) == 1800


@pytest.mark.slow
def test_cells_of_the_papers_grid_are_valid(run_cli, no_weights, no_hub, tmp_path):
    """Two of the nine models and one of the ten sets; composing it all takes half a minute."""
    part = ["model=llama_7b,opt_30b", "seed=9"]
    ended = run_cli("check", "-m", "experiment=paper", *part, cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert "sweep paper: 40 cells and 2 dense, 0 done, 42 to run" in ended.out
    assert "every cell is valid" in ended.out
    notes = [line for line in ended.out.splitlines() if line.startswith("not checked: ")]
    for model in ("huggyllama/llama-7b", "facebook/opt-30b"):
        assert len([line for line in notes if f"'{model}'" in line]) == 1


def test_what_only_the_hub_has_stops_a_run(run_cli, no_weights, no_hub, tmp_path):
    ended = run_cli("-m", "experiment=paper", "model=opt_6.7b", "seed=0", cwd=tmp_path)
    assert ended.code == 1
    assert "model.path='facebook/opt-6.7b': expected a folder, or a hub model" in ended.err
    assert "calib_sweep prefetch" in ended.err
    assert not list(tmp_path.rglob("record.json"))


@pytest.mark.parametrize("verb", ["check", "run"])
def test_a_mistake_is_found_beside_a_model_that_is_not_here(
    run_cli, tiny_world, no_weights, no_hub, tmp_path, verb
):
    """A note about the model must not hide mistakes; a run is refused for it, and tells it too."""
    typed = ["model=opt_6.7b", "dataset.path=gone.txt", "evaluation.perplexity.corpora=[gone.txt]"]
    words = ["check"] if verb == "check" else []
    ended = run_cli(*words, "-m", *tiny_world, *typed, cwd=tmp_path)
    assert ended.code == 1
    assert "dataset.path='gone.txt'" in ended.err
    assert "evaluation.perplexity.corpora='gone.txt'" in ended.err
    assert ("facebook/opt-6.7b" in ended.err) == (verb == "run")


def test_problems_are_collected_and_told_once():
    def refuse(text):
        raise ConfigError(text)

    def miss(text):
        raise UnavailableError(text)

    notes = {}
    with pytest.raises(ConfigError) as caught, collected(notes) as problems:
        assert problems.of(len, "abc") == 3
        for text in ("one", "two", "one"):
            assert problems.of(refuse, text) is None
        problems.of(miss, "elsewhere")
    assert caught.value.problems == ("one", "two")
    assert list(notes) == ["elsewhere"]


def test_a_bug_is_not_collected():
    with pytest.raises(ZeroDivisionError), collected() as problems:
        problems.of(lambda: 1 / 0)


def test_a_dataset_that_only_the_hub_has_is_a_note_and_stops_a_run(
    run_cli, tiny_world, no_weights, tmp_path, monkeypatch
):
    from huggingface_hub import HfApi, constants

    def no_answer(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(HfApi, "repo_info", no_answer)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    world = [word for word in tiny_world if not word.startswith("dataset")]
    ended = run_cli("check", "-m", *world, "dataset=c4,redpajama", cwd=tmp_path)
    assert ended.code == 0, ended.err
    for hub_id in ("allenai/c4", "togethercomputer/RedPajama-Data-1T-Sample"):
        assert f"expected {hub_id} in the local cache" in ended.out
    ended = run_cli("-m", *world, "dataset=c4", cwd=tmp_path)
    assert (
        ended.code == 1
        and "expected allenai/c4 in the local cache" in ended.err
        and FETCH in ended.err
    )


def test_a_method_that_plans_for_whole_blocks_cannot_be_walked_layer_by_layer(
    run_cli, tiny_world, no_weights, tmp_path
):
    grid = ["method=awq,wanda", "walk.true_sequential=true"]
    ended = run_cli("check", "-m", *tiny_world, *grid, cwd=tmp_path)
    assert ended.code == 1
    (told,) = [line for line in ended.err.splitlines() if "true_sequential" in line]
    assert told.startswith("ConfigError: walk.true_sequential=True: expected false with AWQ")


def test_an_architecture_whose_scale_cannot_be_moved_is_found_without_weights(
    run_cli, tiny_world, no_weights, tmp_path
):
    folder = save_tiny("olmo2", tmp_path / "tiny")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config, "model_type": "olmo", "architectures": ["OlmoForCausalLM"]})
    )
    world = [word for word in tiny_world if word != "model=miniature"]
    world += ["model=hf", f"model.path={folder}"]
    ended = run_cli("check", *world, "method=awq", "method.group_size=null", cwd=tmp_path)
    assert ended.code == 1
    assert "LlamaDecoderLayer" in ended.err and "this is OlmoDecoderLayer" in ended.err
    assert "method=gptq" in ended.err
    assert run_cli("check", *world, "method=gptq", cwd=tmp_path).code == 0


def test_packing_a_scale_that_stays_in_the_weights_is_refused_without_weights(
    run_cli, tiny_world, no_weights, tmp_path
):
    folder = save_tiny("gpt_neox", tmp_path / "tiny")
    world = [word for word in tiny_world if word != "model=miniature"]
    world += ["model=hf", f"model.path={folder}", "method=awq", "method.group_size=16"]
    assert run_cli("check", *world, cwd=tmp_path).code == 0
    ended = run_cli("check", *world, "save_model=compressed-tensors", cwd=tmp_path)
    assert ended.code == 1 and "dense_4h_to_h" in ended.err and "save_model=dense" in ended.err


@pytest.fixture
def three_files(tmp_path):
    """one.jsonl, a copy of it, and other text."""
    for name in ("one", "copy", "other"):
        write_documents(tmp_path / f"{name}.jsonl", name="other" if name == "other" else "same")
    return tmp_path


@pytest.mark.parametrize("name", ["one", "copy"])
@pytest.mark.parametrize("verb", [["check"], []])
def test_text_that_is_scored_is_no_calibration_text(run_cli, tiny_world, three_files, name, verb):
    drawn, scored = three_files / f"{name}.jsonl", three_files / "one.jsonl"
    paths = [f"dataset.path={drawn}", f"evaluation.perplexity.corpora=[{scored}]"]
    ended = run_cli(*verb, *tiny_world, *paths, cwd=three_files)
    assert ended.code == 1
    (told,) = ended.err.splitlines()
    assert f"dataset='{name}': expected text that is not scored as well" in told
    assert f"{drawn} (scored as {scored})" in told
    assert not list(three_files.glob("results/calibration/*"))


def test_text_that_is_scored_may_be_drawn_where_one_says_so(run_cli, tiny_world, three_files):
    drawn, scored = three_files / "copy.jsonl", three_files / "one.jsonl"
    paths = [f"dataset.path={drawn}", f"evaluation.perplexity.corpora=[{scored}]"]
    paths += ["evaluation.perplexity.max_windows=null", "allow_overlap=true", "seed=1"]
    ended = run_cli("check", *tiny_world, *paths, cwd=three_files)
    assert ended.code == 0, ended.err
    (told,) = [line for line in ended.out.splitlines() if line.startswith("warning: ")]
    assert "of copy seed 1, 65 %" in told and " stand in one@32. " in told
    assert "most of 1 sample " in told


def test_text_that_holds_much_of_what_is_scored_is_warned_about(run_cli, tiny_world, three_files):
    one, other, mixed = (three_files / f"{name}.jsonl" for name in ("one", "other", "mixed"))
    mixed.write_text(one.read_text().rstrip() + "\n" + other.read_text())
    words = [f"dataset.path={mixed}", f"evaluation.perplexity.corpora=[{one}]", "seed=0,1"]
    words += ["evaluation.perplexity.max_windows=null", "calibration.num_samples=8"]
    ended = run_cli("check", "-m", *tiny_world, *words, cwd=three_files)
    assert ended.code == 0, ended.err
    (told,) = [line for line in ended.out.splitlines() if line.startswith("warning: ")]
    assert "of mixed seed 1, " in told and " stand in one@32. " in told
    (pool,) = [line for line in ended.out.splitlines() if line.startswith("pool of ")]
    assert re.fullmatch(r"pool of mixed: .*\d+ samples in \d+ documents.*: enough for .*", pool)
    assert not [path for path in three_files.iterdir() if path.is_dir()]


def test_other_text_beside_it_is_calibration_text(run_cli, tiny_world, three_files):
    paths = [f"dataset.path={three_files}/other.jsonl"]
    paths += [f"evaluation.perplexity.corpora=[{three_files}/one.jsonl]"]
    ended = run_cli("check", *tiny_world, *paths, cwd=three_files)
    assert ended.code == 0 and "warning" not in ended.out


@pytest.mark.slow
def test_a_part_of_a_mixture_is_not_scored_either(run_cli, tmp_path):
    typed = ["dataset=mixture", "dataset.parts.mini_wiki.split=heldout", "tracking=none"]
    typed += ["dataset.parts.mini_wiki.num_documents=400"]
    ended = run_cli("check", *typed, "evaluation.zero_shot=null", cwd=tmp_path)
    assert ended.code == 1 and "mini_wiki/heldout (scored as mini_wiki/heldout)" in ended.err
    assert run_cli("check", *typed, "dataset.weights.mini_wiki=0", cwd=tmp_path).code == 0


def test_a_corpus_shorter_than_a_window_is_told_before_anything_runs(run_cli, tiny_world, tmp_path):
    (tmp_path / "short.txt").write_text("the cat sees a fox")
    short = f"evaluation.perplexity.corpora=[{tmp_path}/short.txt]"
    for verb in (["check"], []):
        ended = run_cli(*verb, *tiny_world, short, cwd=tmp_path)
        assert ended.code == 1
        assert "evaluation.perplexity.seq_len=32: expected at most " in ended.err
        assert "the tokens of corpus 'short'" in ended.err
    assert not list(tmp_path.glob("results/*/*/record.json"))


def test_blocks_that_come_and_go_are_not_compiled(run_cli, tiny_world, tmp_path):
    words = ["model.offload=blocks", "evaluation.compile=true", "method=wanda"]
    ended = run_cli("check", *tiny_world[1:], *words, cwd=tmp_path)
    assert ended.code == 1
    assert "evaluation.compile=True: expected false with model.offload=blocks" in ended.err


@pytest.mark.parametrize("is_there", [True, False])
def test_what_a_check_tokenises_is_kept_where_results_are(tmp_path, is_there):
    (tmp_path / "a.txt").write_text(text_of(0, 60))
    dataset = TextFiles(
        name=None,
        path=str(tmp_path / "a.txt"),
        column="text",
        separator=None,
        join=" ",
        license=None,
    )
    chosen = Calibration(num_samples=1, seq_len=8, design="disjoint", window="slice", bos="none")
    model = SimpleNamespace(load_tokenizer=make_tokenizer)
    parts = SimpleNamespace(
        dataset=dataset, model=model, calibration=chosen, seed=0, check_tokens=lambda _: None
    )
    results = tmp_path / "results"
    if is_there:
        results.mkdir()
    drawn = check_pool(None, parts, results_dir=results)
    assert drawn.hash == check_pool(None, parts).hash
    assert len(list(results.glob("documents/*/*.safetensors"))) == is_there
    assert results.exists() == is_there


def test_a_tool_for_whole_models_is_not_kept_nor_shared(run_cli, tiny_world, no_weights, tmp_path):
    method = ["method=external", 'method.command="true {model} {output}"']
    company = ["ranks_per_cell=2", "checkpoint=blocks", "hydra/launcher=accelerate"]
    ended = run_cli("check", "-m", *tiny_world, *method, *company, cwd=tmp_path)
    assert "ranks_per_cell=2: expected 1 with External" in ended.err and ended.code == 1
    assert "checkpoint='blocks': expected null with External" in ended.err
