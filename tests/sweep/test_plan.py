"""The plan: the fast composition equals Hydra's own, and all mistakes are told."""

import json
from pathlib import Path

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_automatic_config_search_path
from hydra.types import RunMode
from omegaconf import OmegaConf

from calib_sweep.errors import ConfigError
from calib_sweep.places import CONF
from calib_sweep.results.store import Store
from calib_sweep.sweep.choices import as_hydra_takes_it
from calib_sweep.sweep.plan import compose_command_line, plan_cells


def compose(*arguments):
    return compose_command_line(CONF, arguments)


def cells_of(tmp_path, *arguments):
    return plan_cells(Store(tmp_path, "default"), compose(*arguments))


def composed_by_hydra(*overrides):
    """As Hydra composes it; what is new in an open mapping takes a + there."""
    overrides = [f"+{word}" if ".headline." in word else word for word in overrides]
    search_path = create_automatic_config_search_path(None, None, str(CONF))
    loader = ConfigLoaderImpl(config_search_path=search_path)
    config = loader.load_configuration("config", list(overrides), run_mode=RunMode.RUN)
    plain = OmegaConf.to_container(
        OmegaConf.masked_copy(config, [k for k in config if k != "hydra"])
    )
    return plain


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("method=sparsegpt", "method.sparsity=0.7", "seed=3"),
        ("method.sparsity=0.6", "method=sparsegpt"),
        ("dataset=text", "dataset.path=a.txt", "calibration.num_samples=8"),
        ("+method.extra=1",),
        ("~tracking.wandb.tags",),
        ("tracking=[none,wandb]", "tracking.wandb.mode=offline"),
        ("evaluation.perplexity.corpora=[a.txt,b.txt]", "evaluation.zero_shot=null"),
        ("seed=7", "evaluation.perplexity.max_windows=null", "sweep_name='a b'", "seed=8"),
        ("method.sparsity=1e-1", "walk.true_sequential=True", "method.pattern='2:4'"),
        ("evaluation.zero_shot.headline.mini_facts=acc_norm",),
        ("dataset/selector=length", "dataset.selector.low=0.25"),
        ("activations=int8", "activations.bits=6"),
    ],
)
def test_fast_composition_equals_hydras_own(overrides):
    (point,) = compose(*overrides)
    assert json.dumps(point.config, sort_keys=True) == json.dumps(
        composed_by_hydra(*overrides), sort_keys=True
    )


def test_plain_values_cost_a_cell_no_help_of_hydras(monkeypatch):
    """Hydra takes 6 ms for what assigning does in a tenth of one."""

    apply = ConfigLoaderImpl._apply_overrides_to_config

    def apply_to_bases_only(overrides, config):
        assert "hydra" in config, "Hydra was asked about a cell"
        apply(overrides, config)

    monkeypatch.setattr(ConfigLoaderImpl, "_apply_overrides_to_config", apply_to_bases_only)
    points = compose("method=wanda,rtn", "seed=range(50)", "evaluation.zero_shot.num_items=3")
    assert [point.config["seed"] for point in points] == [*range(50), *range(50)]
    assert {point.config["evaluation"]["zero_shot"]["num_items"] for point in points} == {3}


def test_a_grid_is_the_product_of_its_axes_with_one_dense_cell(tmp_path):
    cells = cells_of(tmp_path, "method=wanda,sparsegpt", "seed=range(5)")
    assert len(cells) == 11
    assert cells[0].is_dense and [c.is_dense for c in cells].count(True) == 1
    assert {(c.method, c.seed) for c in cells[1:]} == {
        (m, s) for m in ("wanda", "sparsegpt") for s in range(5)
    }


def test_cells_that_share_a_calibration_set_follow_each_other(tmp_path):
    cells = cells_of(tmp_path, "method=wanda,sparsegpt", "seed=range(3)")
    assert [c.seed for c in cells[1:]] == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("paths", "labels", "shown"),
    [
        ("a/shop.jsonl,b/news.txt", ["news", "shop"], False),
        ("a/shop.jsonl,b/shop.jsonl,b/news.txt", ["news", "shop", "shop"], True),
    ],
)
def test_texts_are_called_by_their_files_and_told_apart_where_these_clash(
    tmp_path, paths, labels, shown
):
    cells = cells_of(tmp_path, "dataset=text", f"dataset.path={paths}")[1:]
    assert sorted(str(cell.dataset) for cell in cells) == labels
    assert all(("dataset.path" in cell.shown) == shown for cell in cells)
    assert len({cell.title for cell in cells}) == len({cell.id for cell in cells}) == len(labels)


@pytest.mark.parametrize("method", ["magnitude", "rtn"])
def test_a_method_that_needs_no_data_is_one_cell_for_all_seeds(tmp_path, method):
    cells = cells_of(tmp_path, f"method={method}", "seed=range(3)", "dataset=mini_web,mini_wiki")
    assert [c.method for c in cells] == ["dense", method]
    assert cells[1].seed is None and cells[1].dataset is None


def test_the_dense_method_is_one_cell(tmp_path):
    assert len(cells_of(tmp_path, "method=dense", "seed=range(3)")) == 1


def test_the_same_cell_named_twice_runs_once(tmp_path):
    assert len(cells_of(tmp_path, "seed=0,0", "method.sparsity=0.5,0.5")) == 2


def test_seed_zero_is_a_seed(tmp_path):
    cells = cells_of(tmp_path, "seed=0")
    assert cells[1].seed == 0


def test_settings_hold_what_was_swept_or_overridden_beyond_the_axes(tmp_path):
    arguments = ("method.sparsity=0.6", "calibration.num_samples=8", "tracking=none", "seed=1")
    cells = cells_of(tmp_path, *arguments)
    assert cells[1].settings == {"method.sparsity": 0.6, "calibration.num_samples": 8}
    assert cells[0].settings == {}


def test_selectors_are_swept_and_null_is_one_of_them(tmp_path):
    cells = cells_of(tmp_path, "dataset/selector=null,length", "method=wanda,rtn")
    with_data = [cell for cell in cells if cell.needs_data]
    settings = [cell.settings["dataset.selector"] for cell in with_data]
    assert sorted(map(str, settings)) == ["None", "length"]
    titles = {cell.title.partition("dataset.selector=")[2] for cell in with_data}
    assert titles == {"null", "length"}
    (plain,) = (cell for cell in with_data if cell.settings["dataset.selector"] is None)
    untyped = [cell.id for cell in cells_of(tmp_path, "method=wanda") if cell.needs_data]
    assert [plain.id] == untyped and "selector" not in plain.config["dataset"]
    assert all("dataset.selector" not in cell.settings for cell in cells if not cell.needs_data)


def test_null_undoes_the_selector_of_a_configuration_and_hydra_is_told_in_its_own_words():
    search_path = create_automatic_config_search_path(None, None, str(CONF))
    loader = ConfigLoaderImpl(config_search_path=search_path)
    point = ["dataset/selector=null", "dataset=mini_news", "seed=1"]
    words = as_hydra_takes_it(loader, point)
    assert words == ["~dataset/selector", "dataset=mini_news", "++seed=1"]
    for before in ([], ["dataset/selector=length"]):
        master = loader.load_configuration("config", before, run_mode=RunMode.MULTIRUN)
        config = loader.load_sweep_config(master, words)
        assert "selector" not in config.dataset and config.dataset.name == "mini_news"


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("dataset.selector=length", "Type dataset/selector=NAME besides"),
        ("dataset.selector.pool_size=9", "Type dataset/selector=NAME besides"),
        ("~dataset/selector", "Type dataset/selector=null"),
        ("+dataset/selector=length", "Type dataset/selector=length"),
        ("dataset/selector=lenght", "Did you mean dataset/selector=length"),
    ],
)
def test_a_selector_that_is_typed_otherwise_is_told_how(typed, told):
    with pytest.raises(ConfigError) as error:
        compose(typed)
    assert told in str(error.value)


def test_every_mistake_of_a_command_line_is_told_at_once():
    with pytest.raises(ConfigError) as caught:
        compose("method.sparsty=0.5", "calibration.num_sample=3", "method=wanda,sparsegpt")
    text = str(caught.value)
    assert "method.sparsty=0.5: no such key. method has: " in text and "sparsity" in text
    assert "calibration.num_sample=3: no such key. calibration has: num_samples" in text
    assert len(caught.value.problems) == len(set(caught.value.problems))


def test_an_unknown_choice_names_the_available_ones():
    with pytest.raises(ConfigError) as caught:
        compose("method=wnda,wanda", "seed=range(3)")
    (problem,) = caught.value.problems
    assert problem.startswith("method=wnda: expected one of ") and "sparsegpt" in problem
    assert problem.endswith("Did you mean method=wanda?")


def test_a_key_that_is_nearly_right_is_named():
    with pytest.raises(ConfigError, match=r"Did you mean method\.sparsity\?$"):
        compose("method.sparsty=0.5")


@pytest.mark.parametrize(
    "typed, told",
    [
        ("results_dir=${oc.env:NO_SUCH_NAME}/r", "results_dir: the environment variable NO_SUCH_"),
        ("method.sparsity=${foo.bar}", "method.sparsity: there is no key foo.bar to take a value"),
        ("seed=${seed}", "seed: Recursive interpolation detected"),
        ("seed.x=1", "seed.x=1: no such key. seed is one value"),
        ("evaluation.perplexity={seq_lne: 3}", "no such key. evaluation.perplexity has: corpora"),
        ("evaluation.zero_shot={}", "evaluation.zero_shot={}: expected the keys that change"),
        ("method=[wanda,gptq]", "expected one name. To sweep several, type -m method=wanda,gptq."),
        ("~method", "~method: expected to stay"),
    ],
)
def test_what_cannot_be_composed_is_told_in_plain_words(typed, told):
    with pytest.raises(ConfigError) as caught:
        compose(typed)
    (problem,) = caught.value.problems
    assert told in problem


def test_a_value_that_must_be_given_is_named_with_what_to_type():
    with pytest.raises(
        ConfigError, match=r"dataset.path is missing: expected a value. Type dataset.path=VALUE"
    ):
        compose("dataset=text")


def test_an_unknown_group_is_refused():
    with pytest.raises(ConfigError, match="metod=wanda"):
        compose("metod=wanda")


def test_the_dense_method_of_the_yaml_is_the_one_that_ids_are_made_of():
    assert OmegaConf.to_container(OmegaConf.load(Path(CONF) / "method" / "dense.yaml")) == {
        "_target_": "calib_sweep.method.dense.Dense"
    }


def test_a_large_grid_asks_hydra_about_each_key_and_each_choice_once(monkeypatch):
    """Both questions cost Hydra tens of milliseconds: 1,800 cells must not ask them 1,800 times."""
    asked, composed = [], []
    ask, load = ConfigLoaderImpl.get_group_options, ConfigLoaderImpl.load_sweep_config
    monkeypatch.setattr(
        ConfigLoaderImpl, "get_group_options", lambda *a: asked.append(a[1]) or ask(*a)
    )
    monkeypatch.setattr(
        ConfigLoaderImpl, "load_sweep_config", lambda *a: composed.append(a[2]) or load(*a)
    )
    points = compose("method=wanda,sparsegpt", "seed=range(10)", "calibration.num_samples=2,4,8")
    assert len(points) == 60
    assert asked.count("method") <= 2 and asked.count("calibration.num_samples") <= 2
    assert composed == [["method=wanda"], ["method=sparsegpt"]]


def test_another_checkpoint_under_a_shipped_models_name_is_refused():
    with pytest.raises(
        ConfigError, match=r"model.path=a/b: expected model=hf beside it.*miniature"
    ):
        compose("model.path=a/b")
    assert compose("model=hf", "model.path=a/b") and compose("model.path=a/b", "model.name=mine")


def test_every_word_that_cannot_be_parsed_is_named_with_a_hint():
    with pytest.raises(ConfigError) as caught:
        compose("method=wanda,", "seed=range(5")
    first, second = caught.value.problems
    assert "'method=wanda,' cannot be read" in first and "'seed=range(5' cannot be" in second


UNREADABLE = [
    "a",
    "=",
    "+",
    "é=1",
    "seed=range(5",
    "seed=range(a,b)",
    "seed=range(1,2,3,4)",
    "seed='",
]
UNREADABLE += ["seed=choice()", "seed=1,", "method[sparsity]=1", "method..x=1", "seed=٣", "seed=${"]


def test_words_that_cannot_be_read_are_all_told_as_they_were_typed():
    with pytest.raises(ConfigError) as caught:
        compose("seed=1", *UNREADABLE)
    told = [
        problem.partition(" cannot be read as key=value.")[0] for problem in caught.value.problems
    ]
    assert told == [repr(word) for word in UNREADABLE if word != "="]


def test_a_mapping_that_says_what_belongs_to_what_takes_new_keys():
    (point,) = compose("evaluation.zero_shot.headline={mini_facts: acc_norm}", "seed=3")
    assert point.config["evaluation"]["zero_shot"]["headline"] == {"mini_facts": "acc_norm"}
    assert point.settings["evaluation.zero_shot.headline.mini_facts"] == "acc_norm"


def test_metrics_and_labels_are_declared_for_the_report_and_move_no_cell():
    typed = ["analysis.metrics={bleu: {direction: 1}}", "analysis.published_names={c4: C4}"]
    (point,), (plain,) = compose(*typed, "seed=3"), compose("seed=3")
    assert point.config["analysis"]["metrics"] == {"bleu": {"direction": 1}}
    assert point.config["analysis"]["published_names"] == {"c4": "C4"}
    assert point.settings == plain.settings


def test_letters_that_take_quotes_are_told_with_the_quotes():
    with pytest.raises(ConfigError, match="Quote such text for Hydra and for the shell"):
        compose("model.path=\u6a21")
    assert compose("model=hf", 'model.path="\u6a21"')[0].config["model"]["path"] == "\u6a21"


def test_a_choice_with_a_slash_is_a_file_in_a_folder_of_its_group(tmp_path):
    own = tmp_path / "method" / "mine" / "half.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("# @package method\ndefaults: [/method/wanda]\nsparsity: 0.25\n")
    (point,) = compose("--config-dir", str(tmp_path), "method=mine/half")
    assert point.config["method"]["sparsity"] == 0.25
    for choice in ("mine/wanda", "wanda/", "a/b/wanda"):
        with pytest.raises(ConfigError, match=rf"^method={choice}: expected one of .*, wanda"):
            compose("--config-dir", str(tmp_path), f"method={choice}")
    with pytest.raises(ConfigError, match=r"Did you mean method=wanda\?"):
        compose("method=mehtod/wanda")


MISTAKEN = {
    "method.x.y=1": "no such key. method has: sparsity, pattern",
    "~method.sparsity.x": "no such key. method.sparsity is one value and has no keys",
    "~nope": "no such key. the configuration has: seed, replicate",
    "+method=wanda": "expected without +, ++ or @, as there is one already. Type method=wanda.",
    "++dataset=c4": "expected without +, ++ or @, as there is one already. Type dataset=c4.",
    "method@x=wanda": "expected without +, ++ or @",
    "experiment=nope": "experiment=nope: expected one of constant_tokens, controls",
    "method=mehtod/wanda": ", wanda, wanda_24",
    "tracking=null": "tracking=null: expected one of mlflow, none, tensorboard, trackio, wandb",
    "evaluation=[wikitext2]": "expected one name. To sweep several, type -m evaluation=wikitext2.",
    "model={}": "model={}: expected one of gemma_2b",
    "analysis.powr=1": "no such key. analysis has: seed, num_resamples",
    "evaluation.perplexity.seq_ln=2": "no such key. evaluation.perplexity has: corpora",
    "metod=wanda": "no such key. the configuration has: ",
    "activation=int8": "rotation, activations. Did you mean activations?",
    "method.fromat=fp8": "sparsity, pattern. These are the keys of method=wanda.",
    "seed.x=1": "no such key. seed is one value and has no keys",
    "+walk.propagate=dense": "expected without +, as there is one already. Type walk.propagate=de",
}


def test_each_of_many_mistakes_is_told_as_it_was_typed():
    with pytest.raises(ConfigError) as caught:
        compose(*MISTAKEN)
    for word, told in MISTAKEN.items():
        assert [p for p in caught.value.problems if p.startswith(f"{word}: ") and told in p], word
    assert len(caught.value.problems) == len(MISTAKEN)
