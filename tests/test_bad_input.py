"""What a careless user types is refused before anything starts, with what to type instead.

Every message names the key, the value and what is accepted. Nothing is loaded, no record is made,
and no traceback is shown.
"""

import json

import pytest

TYPED = [
    # wrong keys
    (["method.sparsty=0.6"], ["method.sparsty=0.6: no such key. method has: sparsity, pattern."]),
    (["sead=1"], ["sead=1: no such key. the configuration has: ", "seed"]),
    (["+extra=1"], ["+extra: no such key"]),
    (["~seed"], ["~seed: expected to stay"]),
    (["method=wnda"], ["method=wnda: expected one of", "Did you mean method=wanda?"]),
    (
        ["tracking=null"],
        ["tracking=null: expected one of mlflow, none, tensorboard, trackio, wandb"],
    ),
    (["=5"], ["=5: expected key=value"]),
    (["calibration=null"], ["calibration=None: expected its keys (num_samples, "]),
    # wrong values
    (["method.sparsity=half"], ["method.sparsity='half': expected a fraction", "sparsity=0.5 "]),
    (["method.sparsity=1.0"], ["method.sparsity=1.0: expected a fraction in [0, 1)"]),
    (
        ["method._target_=nowhere.Method"],
        ["method._target_='nowhere.Method': expected a class to import"],
    ),
    (
        ["method._target_=pathlib.Path"],
        ["method._target_='pathlib.Path': expected a class derived"],
    ),
    (["seed=-1"], ["seed=-1: expected an integer >= 0", "'seed=range(5)'"]),
    (["seed=1.5"], ["seed=1.5: expected an integer >= 0"]),
    (["seed=first,2"], ["seed='first': expected an integer >= 0"]),
    (["seed=range(0)"], ["the grid is empty", "'seed=range(5)'"]),
    (["replicate=-1"], ["replicate=-1: expected an integer >= 0", "replicate=0,1"]),
    (["calibration.design=foo"], ["calibration.design='foo': expected one of disjoint"]),
    (["save_model=x"], ["save_model='x': expected null, dense or compressed-tensors"]),
    (["save_model=compressed-tensors"], ["but this one is Wanda", "rtn", "save_model=dense"]),
    (
        ["save_model=compressed-tensors", "method=spqr"],
        ["but this one is SpQR", "Type save_model=dense"],
    ),
    (["ranks_per_cell=0"], ["ranks_per_cell=0: expected an integer >= 1"]),
    (["ranks_per_cell=2"], ["ranks_per_cell=2", "RANK is not set", "hydra/launcher=accelerate"]),
    (["ranks_per_cell=1,2"], ["ranks_per_cell=1,2: expected one value"]),
    (["rank_timeout_s=0"], ["rank_timeout_s=0: expected seconds >= 1", "rank_timeout_s=60"]),
    (["checkpoint=block"], ["checkpoint='block': expected null or blocks"]),
    (["checkpoint_seconds=-1"], ["checkpoint_seconds=-1: expected a number of seconds >= 0"]),
    (
        ["checkpoint=blocks", "method=external", 'method.command="true {model} {output}"'],
        ["checkpoint='blocks': expected null with External", "Type checkpoint=null"],
    ),
    (["num_threads=0"], ["num_threads=0: expected an integer >= 1, or null"]),
    (["allow_overlap=maybe"], ["allow_overlap='maybe': expected true or false"]),
    (["dense_perplexity=maybe"], ["dense_perplexity='maybe': expected true or false"]),
    (["sweep_name=a/b"], ["sweep_name='a/b': expected a folder name", "sweep_name=my_sweep"]),
    (["sweep_name=2024"], ["sweep_name=2024: expected a folder name"]),
    (["results_dir=null"], ["results_dir=None: expected a folder", "results_dir=results"]),
    (["sweep_name=one,two"], ["sweep_name=one,two: expected one value for all cells"]),
    (
        ["analysis.seed=x"],
        ["analysis.seed='x': expected an integer >= 0. Example: 'analysis.seed=0'"],
    ),
    (["analysis.power=80"], ["analysis.power=80: expected a share between 0.5 and 1"]),
    (
        ["tracking=wandb", "tracking.wandb.mode=x", "tracking.wandb.tags=y"],
        [
            "tracking.wandb.mode='x': expected auto, online or off",
            "tracking.wandb.tags='y': expected a list of words",
        ],
    ),
    (["tracking=wandb", "tracking.mode=x"], ["Did you mean tracking.wandb.mode?"]),
    (
        ["tracking=wandb,none", "checkpoint=null,blocks"],
        ["tracking: expected the same trackers for all cells", "checkpoint=None,blocks: expected"],
    ),
    (["tracking=none", "tracking.wandb.mode=offline"], ["That tracker is not chosen"]),
    (["ranks_per_cell=0", "rank_timeout_s=x"], ["ranks_per_cell=0: expected an integer >= 1"]),
    (["tracking=[none,x]"], ["tracking=[none,x]: expected a list of any of "]),
    (["+tracking.x=1"], ["tracking.x=1: expected the keys of a tracker"]),
    (
        ["tracking=wandb", "~tracking.wandb.mode"],
        ["tracking.wandb.mode is missing: expected a value. Type tracking.wandb.mode=VALUE"],
    ),
    (["evaluation.perplexity=5"], ["evaluation.perplexity=5: expected its keys, or null"]),
    (["model.device=gpu"], ["model.device='gpu': expected auto, cpu, cuda"]),
    # values that do not fit together, or not the model
    (
        ['method.pattern="3:7"', "method.sparsity=0.571429"],
        ["method.pattern='3:7': expected groups that divide the 128 input features", "4, 8"],
    ),
    (
        ["method.pattern=2:4", "method.sparsity=0.7"],
        ["method.sparsity=0.7: expected 0.5, the share of zeros in pattern 2:4"],
    ),
    (
        ["calibration.seq_len=4096"],
        ["calibration.seq_len=4096: expected at most 512, the context length of miniature"],
    ),
    (
        ["evaluation.perplexity.seq_len=4096"],
        ["evaluation.perplexity.seq_len=4096: expected at most 512", "seq_len=512."],
    ),
    # what is not there
    (["dataset.path=gone.txt"], ["dataset.path='gone.txt': expected a file, a folder or a patt"]),
    (["dataset.column=body"], ["dataset.column='body': expected one of the columns", "text, id"]),
    (
        ["dataset=chat"],
        [
            "dataset.template=null: expected a tokenizer with a chat template",
            "dataset.messages='messages': expected one of the columns",
        ],
    ),
    (
        ["dataset=chat", "dataset.template=chatlm", "dataset.messages=null"],
        [
            "dataset.template='chatlm': expected Jinja text",
            "dataset.messages=None: expected either",
        ],
    ),
    (
        ["evaluation.perplexity.corpora=[gone.txt]"],
        ["evaluation.perplexity.corpora='gone.txt': expected the path of a text file"],
    ),
    (
        ["dataset.path='~nobody_of_this_name/x.txt'"],
        ["dataset.path='~nobody_of_this_name/x.txt': expected a file, a folder or a pattern"],
    ),
    (
        ["evaluation.perplexity.corpora=['~nobody_of_this_name/x.txt']"],
        ["corpora='~nobody_of_this_name/x.txt': expected the path of a text file"],
    ),
    (
        ["model=hf", "model.path='~nobody_of_this_name/x'"],
        ["model.path='~nobody_of_this_name/x': expected a folder with a model"],
    ),
    (["model=hf"], ["model.path is missing: expected a value. Type model.path=VALUE"]),
    (["model=hf", "model.path=./gone"], ["model.path='./gone': expected a folder with a model"]),
    # no token would count; the set is one that the model helps to draw, so nobody has seen it yet
    (
        [
            "calibration.weighting=answers_only",
            "dataset/selector=perplexity",
            "dataset.selector.pool_size=8",
        ],
        [
            "calibration.weighting='answers_only': expected a dataset that marks its answers, "
            "but 'text' does not tell",
            "type calibration.weighting=tokens.",
        ],
    ),
    # a dataset too small for the seeds asked
    (
        ["seed=0,40"],
        [
            "seed=40: expected at most 31 (32 disjoint sets of 2",
            "The pool of dataset 'text' holds 64",
        ],
    ),
    (
        ["calibration.num_samples=65", "calibration.design=independent"],
        ["calibration.num_samples=65: expected at most 64", "Lower calibration.num_samples"],
    ),
]


def assert_refused(ended, cwd, *phrases):
    assert ended.code == 1, ended
    for phrase in phrases:
        assert phrase in ended.err
    assert "Traceback" not in ended.err
    assert not list(cwd.rglob("record.json")) and not list(cwd.rglob("claim.*"))


@pytest.mark.parametrize("typed, phrases", TYPED, ids=[" ".join(typed) for typed, _ in TYPED])
def test_a_mistake_is_explained_and_nothing_starts(
    typed, phrases, run_cli, tiny_world, no_weights, tmp_path
):
    ended = run_cli("-m", *tiny_world, *typed, cwd=tmp_path)
    assert_refused(ended, tmp_path, *phrases)
    assert len(ended.err.splitlines()) <= 3  # the mistake, not what follows from it
    # Only a draw can tell a pool that is too small: what it tokenised is there for the next try.
    is_drawn = "The pool of dataset 'text' holds" in ended.err
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("**/*")}
    assert all(path.startswith("results/documents") for path in left - {"results"})
    assert is_drawn or not left


@pytest.mark.parametrize("number", ["0", "x"])
def test_a_number_of_ranks_that_is_none_is_explained_to_ranks_too(
    number, run_cli, tiny_world, no_weights, tmp_path
):
    names = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_PORT": "1"}
    typed = f"ranks_per_cell={number}"
    ended = run_cli(*tiny_world, typed, cwd=tmp_path, env={**names, "MASTER_ADDR": "localhost"})
    assert_refused(ended, tmp_path, "expected an integer >= 1")
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize(
    "typed",
    [
        ["method.sparsity=half", "seed=-1"],
        ["method.sparsity=half", "calibration.design=foo", "dataset.path=gone.txt"],
        ["model=hf", "model.path=./gone", "dataset.path=gone.txt", "evaluation.perplexity.bos=x"],
        ["method.sparsity=half", "evaluation.perplexity.seq_len=4096", "seed=40"],
        ["method.sparsty=0.5", "calibration.desing=disjoint"],
        ["method.sparsty=0.5", "seed=-1", "walk.propagate=x"],
        ["dataset=text2", "method=wnda"],
        ["evaluation.perplexity.bos=x", "evaluation.perplexity.batch_tokens=0", "seed=-1"],
        ["sweep_name=a/b", "replicate=x", "tracking=wandb", "tracking.wandb.mode=x"],
    ],
    ids=" ".join,
)
def test_mistakes_in_different_parts_are_told_together(
    typed, run_cli, tiny_world, no_weights, tmp_path
):
    ended = run_cli("-m", *tiny_world, *typed, cwd=tmp_path)
    assert_refused(ended, tmp_path)
    mistakes = [word for word in typed if word not in ("model=hf", "tracking=wandb")]
    for mistake in mistakes:
        key, _, value = mistake.partition("=")
        told = [
            line for line in ended.err.splitlines() if f"{key}={value}" in line.replace("'", "")
        ]
        told += [line for line in ended.err.splitlines() if f"'{key}/{value}'" in line]
        assert len(told) == 1, (mistake, ended.err)


def test_mistakes_are_told_together_without_multirun_too(run_cli, tiny_world, tmp_path):
    ended = run_cli(*tiny_world, "method.sparsty=0.5", "tracking=null", "seed=-1", cwd=tmp_path)
    assert_refused(ended, tmp_path, "sparsty=0.5: no such key", "tracking=null: expected one of")


def test_one_mistake_in_many_cells_is_told_once(run_cli, tiny_world, tmp_path):
    grid = ["method=wanda,sparsegpt", "seed=range(4)", "method.sparsity=half,0.5"]
    ended = run_cli("check", "-m", *tiny_world, *grid, cwd=tmp_path)
    assert_refused(ended, tmp_path, "method.sparsity='half'")
    assert len(ended.err.splitlines()) == 1


def test_an_unknown_task_is_refused_with_near_names(run_cli, tiny_world, no_weights, tmp_path):
    tasks = ["evaluation.zero_shot={_target_:calib_sweep.evaluation.tasks.settings.ZeroShot,"]
    tasks += ["tasks:[arc_esy],headline:{},include_path:null,storycloze_path:null,"]
    tasks += ["num_items:2,batch_tokens:8}"]
    world = [word for word in tiny_world if "zero_shot" not in word]
    ended = run_cli("-m", *world, "".join(tasks), cwd=tmp_path)
    assert_refused(ended, tmp_path, "'arc_esy'", "Near it: ", "arc_easy")


@pytest.mark.parametrize("place", ["stories.jsonl", "stories.jsonl/results", "/proc/results"])
def test_a_results_folder_that_cannot_be_written_is_refused(
    place, run_cli, tiny_world, no_weights, tmp_path
):
    (tmp_path / "stories.jsonl").write_text("a file, not a folder")
    typed = [f"results_dir={place}", "method.sparsity=half"]
    ended = run_cli("-m", *tiny_world, *typed, cwd=tmp_path)
    assert_refused(ended, tmp_path, f"{place}': expected a folder that can be written", "'half'")
    assert "Name a folder of yours. Example: results_dir=my_results" in ended.err


@pytest.fixture
def checkpoint(tmp_path):
    """A folder with a configuration and whatever else is asked for."""

    def make(*names, **config):
        folder = tmp_path / "checkpoint"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
        for name in names:
            (folder / name).write_bytes(b"?")
        return [f"model.path={folder}", "model=hf"]

    return make


def test_a_checkpoint_with_pickles_only_is_refused(checkpoint, run_cli, tiny_world, tmp_path):
    model = checkpoint("pytorch_model.bin", "tokenizer.json")
    ended = run_cli("-m", *tiny_world, *model, cwd=tmp_path)
    assert_refused(ended, tmp_path, "weights in *.safetensors", "pytorch_model.bin", "convert it")


def test_an_empty_checkpoint_is_refused(checkpoint, run_cli, tiny_world, tmp_path):
    ended = run_cli("-m", *tiny_world, *checkpoint(), cwd=tmp_path)
    assert_refused(ended, tmp_path, "expected weights in *.safetensors, but there are no weights")


def test_an_architecture_that_is_not_known_is_refused(checkpoint, run_cli, tiny_world, tmp_path):
    model = checkpoint("model.safetensors", "tokenizer.json", model_type="perceptron")
    ended = run_cli("-m", *tiny_world, *model, cwd=tmp_path)
    assert_refused(ended, tmp_path, "model.path=", "perceptron")


def test_the_remedy_for_a_pattern_is_accepted(run_cli, tiny_world, tmp_path):
    """0.571429 is what the message says of 3:7, in six digits of 4/7."""
    typed = ['method.pattern="3:7"', "method.sparsity=0.571429"]
    ended = run_cli("check", "-m", *tiny_world, *typed, cwd=tmp_path)
    assert "share of zeros" not in ended.err


def test_a_corpus_that_is_no_text_is_told_before_anything_starts(run_cli, tiny_world, tmp_path):
    empty, binary = tmp_path / "empty.txt", tmp_path / "model.safetensors"
    empty.write_text("")
    binary.write_bytes(bytes(range(256)))
    corpora = f"evaluation.perplexity.corpora=[{empty},{binary}]"
    ended = run_cli(*tiny_world, corpora, cwd=tmp_path)
    assert ended.code == 1 and "Traceback" not in ended.err
    assert str(empty) in ended.err and str(binary) in ended.err
    assert "evaluation.perplexity.corpora" in ended.err
    assert not (tmp_path / "results").exists()
