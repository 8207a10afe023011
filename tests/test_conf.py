"""Every YAML of conf/ composes and builds, offline and without weights; a new one is picked up."""

import dataclasses
import math
import re
from functools import cache
from importlib.util import find_spec

import pytest
from helpers.fakes import FUSES_EXPERTS, random_tokens, tiny_model
from helpers.shared_reading import shared_reading
from helpers.shipped import METHODS
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_automatic_config_search_path
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from calib_sweep.compression.walk import compress
from calib_sweep.method.base import Method
from calib_sweep.method.structured import StructuredMethod
from calib_sweep.parts.building import Builder
from calib_sweep.places import CONF
from calib_sweep.sweep.check import build_problems
from calib_sweep.sweep.compose import compose_grid
from calib_sweep.sweep.plan import plan_cells, store_of
from calib_sweep.sweep.points import parse_words, split_points

YAMLS = sorted(path.relative_to(CONF).as_posix() for path in CONF.rglob("*.yaml"))
PARTS = ("model", "method", "dataset", "evaluation", "tracking")
PREPARATIONS = ("rotation", "activations")
GROUPS = (*PARTS, *PREPARATIONS, "experiment", "dataset/selector", "hydra/launcher")
NEEDED = {  # keys that only the user can know
    "model/hf": ["model.path=."],
    "dataset/text": ["dataset.path=text.txt"],
    "dataset/imported": ["dataset.path=sets"],
    "dataset/chat": ["dataset.path=chat.jsonl"],
    "dataset/task": ["dataset.tasks=[boolq]"],
    "method/external": ["method.command='tool {model} {set} {output}'"],
    "method/llm_compressor": ["method.recipe={GPTQModifier: {scheme: W4A16}}"],
    "evaluation/text": ["evaluation.perplexity.corpora=[texts.txt]"],
}


def names_in(*groups: str) -> list[str]:
    """The choices of some groups, as method/wanda; not those of groups within."""
    return [name.removesuffix(".yaml") for name in YAMLS if name.rpartition("/")[0] in groups]


@pytest.fixture(autouse=True)
def nothing_from_elsewhere(tmp_path, monkeypatch):
    """No YAML of the user's; no hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CALIB_SWEEP_CONF", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with shared_reading():
        yield


@cache
def loader() -> ConfigLoaderImpl:
    search_path = create_automatic_config_search_path(None, None, str(CONF))
    return ConfigLoaderImpl(config_search_path=search_path)


@cache
def master(*words: str) -> DictConfig:
    return loader().load_configuration("config", list(words), run_mode=RunMode.MULTIRUN)


def test_every_yaml_is_of_a_group_that_is_tried_here():
    assert set(YAMLS) - {"config.yaml"} == {f"{name}.yaml" for name in names_in(*GROUPS)}


@pytest.mark.parametrize("name", YAMLS)
def test_a_yaml_says_in_one_line_what_it_is_and_has_its_own_name(name):
    first, *lines = (CONF / name).read_text().splitlines()
    if first == "# @package _global_":
        first, *lines = lines
    assert first.startswith("# calib_sweep: " if name == "config.yaml" else f"# conf/{name}: ")
    assert not first.endswith(".")
    node = OmegaConf.load(CONF / name)
    own = node.get("model", node).get("name") or node.get("sweep_name")
    choice = name.rpartition("/")[2].removesuffix(".yaml")
    assert name == "config.yaml" or own in (None, choice)


@pytest.mark.parametrize("name", names_in("method", *PREPARATIONS))
def test_every_setting_of_a_method_is_explained(name):
    lines = (CONF / f"{name}.yaml").read_text().splitlines()[1:]
    assert all("#" in line for line in lines if line and not line.startswith("_target_"))


@pytest.mark.parametrize("name", names_in(*PARTS, *PREPARATIONS))
def test_a_part_is_built_from_its_yaml(name):
    group, _, choice = name.partition("/")
    if choice in ("mlflow", "tensorboard", "trackio") and find_spec(choice) is None:
        pytest.skip(f"{choice} is not installed")
    point = [f"{group}={choice}", *NEEDED.get(name, ())]
    (composed,) = compose_grid(loader(), master(), [point])
    part = Builder().build(group, composed.config[group])
    assert getattr(part, "name", None) in (None, choice)


@pytest.mark.parametrize("name", names_in("dataset/selector"))
def test_a_selector_is_built_from_its_yaml(name):
    choice = name.rpartition("/")[2]
    (composed,) = compose_grid(loader(), master(), [[f"dataset/selector={choice}"]])
    selected = Builder().build("dataset", composed.config["dataset"])
    assert selected.selector.name == choice and selected.name == "mini_web"


@pytest.mark.parametrize("name", names_in("dataset/selector"))
def test_every_setting_of_a_selector_is_explained(name):
    lines = (CONF / f"{name}.yaml").read_text().splitlines()[1:]
    assert all("#" in line for line in lines if line and not line.startswith("_target_"))


@pytest.mark.parametrize("name", names_in("experiment"))
def test_every_choice_of_an_experiment_is_composed_and_built(name):
    experiment = name.replace("/", "=")
    params = master(experiment).hydra.sweeper.params
    swept = parse_words([f"{key}={value}" for key, value in params.items()], loader())
    values = [[word for (word,) in split_points([one])] for one in swept]
    points = []
    for words in values:  # one key after another: all together would take a minute
        others = [own[0] for own in values if own is not words]
        points += [[experiment, *others, word] for word in words]
    composed = compose_grid(loader(), master(experiment), points)  # as from the command line
    assert not build_problems(plan_cells(store_of(composed[0].config), composed))


@pytest.mark.parametrize("name", names_in("experiment"))
def test_an_experiment_has_as_many_cells_as_its_first_line_says(name):
    """Where every point is a cell: methods without data are one cell for all sets."""
    said = re.search(r"([\d,]+) cells", (CONF / f"{name}.yaml").read_text().splitlines()[0])
    if said is None:
        return
    params = master(name.replace("/", "=")).hydra.sweeper.params
    swept = parse_words([f"{key}={value}" for key, value in params.items()], loader())
    numbers = [len(split_points([one])) for one in swept]
    assert math.prod(numbers) == int(said[1].replace(",", ""))


@pytest.mark.parametrize("name", names_in("hydra/launcher"))
def test_a_launcher_is_made_of_its_settings(name):
    choice = name.rpartition("/")[2]
    launcher = instantiate(master(f"hydra/launcher={choice}").hydra.launcher)
    assert callable(launcher.launch)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_compresses(name):
    method = METHODS[name]
    assert isinstance(method, Method)
    is_structured = isinstance(method, StructuredMethod)
    if is_structured:
        method = dataclasses.replace(method, sparsity=0.5)  # a share of two blocks
    reads_data = is_structured or method.statistic is not None
    tokens = random_tokens(4, 24) if reads_data else None
    of_experts = is_structured and method.removes_experts
    if of_experts and not FUSES_EXPERTS:
        pytest.skip("experts of their own modules")
    architecture, num_layers = ("mixtral", 32) if of_experts else ("llama", 14)
    wide = {"hidden_size": 128, "intermediate_size": 256}  # enough for groups of 128
    reports = compress(tiny_model(architecture, **wide), method, tokens)
    assert len(reports) == num_layers
    assert all(0 <= report.sparsity < 1 or report.num_removed for report in reports)


def test_the_published_methods_are_there():
    published = {"dense", "magnitude", "rtn", "wanda", "sparsegpt", "gptq", "spqr"}
    presets = {"paper_gptq", "paper_spqr", "paper_sparsegpt", "paper_wanda"}
    assert {f"method/{name}" for name in published | presets} <= set(names_in("method"))
