"""What may stand behind `_target_`, and twenty that may not: none of them is called."""

import sys

import pytest
from hydra.utils import get_class
from omegaconf import OmegaConf

from calib_sweep.errors import ConfigError
from calib_sweep.parts.building import Builder
from calib_sweep.places import CONF
from calib_sweep.targets import check_targets, target_class, target_classes

HOSTILE = [
    "os.system",
    "subprocess.Popen",
    "builtins.eval",
    "builtins.exec",
    "torch.load",
    "logging.FileHandler",
    "shutil.rmtree",
    "pickle.loads",
    "importlib.import_module",
    "runpy.run_path",
    "pathlib.Path",
    "functools.partial",
    "ctypes.CDLL",
    "code.interact",
    "socket.socket",
    "antigravity.geohash",
    "hydra.utils.instantiate",
    "calib_sweep.method.wanda.torch.load",
    "calib_sweep.cli.os.system",
    "calib_sweep.method.wanda",
    "calib_sweep.method.selection.masks.lowest",
    "calib_sweep.errors.collected",
    "calib_sweep.results.store.Store",
]
PLACES = ["model", "method", "method.base", "dataset", "dataset.parts.one"]
PLACES += [
    "tracking.mine",
    "evaluation",
    "evaluation.perplexity",
    "evaluation.perplexity.corpora.0",
    "walk",
]


@pytest.mark.parametrize("target", HOSTILE)
def test_what_is_no_part_is_refused_wherever_it_stands(target):
    for place in PLACES:
        with pytest.raises(ConfigError) as refused:
            target_class(place, target)
        assert f"{place}._target_={target!r}: " in str(refused.value)


def test_the_library_of_python_is_not_even_imported(monkeypatch):
    """`import this` writes a poem, `import antigravity` opens a browser."""
    monkeypatch.delitem(sys.modules, "this", raising=False)
    with pytest.raises(ConfigError, match=r"expected a dataset: a class derived from"):
        target_class("dataset", "this.s")
    assert "this" not in sys.modules


@pytest.mark.parametrize("target", [None, 5, "", "Wanda", "a..b", "os system.x", ["os.system"], {}])
def test_what_is_no_name_of_a_class_is_refused(target):
    with pytest.raises(ConfigError, match=r"method._target_=.*expected a class derived from"):
        target_class("method", target)


def test_nothing_is_called_where_one_of_several_is_refused(tmp_path):
    victim = tmp_path / "log.txt"
    hostile = {"_target_": "logging.FileHandler", "filename": str(victim)}
    perplexity = OmegaConf.to_container(OmegaConf.load(CONF / "evaluation/miniature.yaml"))
    for node in (
        {**perplexity, "zero_shot": {**perplexity["zero_shot"], "headline": hostile}},
        {**perplexity, "perplexity": {**perplexity["perplexity"], "corpora": [hostile]}},
        {**perplexity, "divergence": {"deep": [[{"er": hostile}]]}},
        {**perplexity, "_args_": [hostile]},
    ):
        with pytest.raises(ConfigError, match="FileHandler"):
            Builder().build("evaluation", node)
    assert not victim.exists()


def test_every_refused_class_is_told():
    node = {"_target_": "os.system", "base": {"_target_": "torch.load", "_partial_": True}}
    with pytest.raises(ConfigError) as refused:
        check_targets("method", node)
    first, second = refused.value.problems
    assert first.startswith("method._target_='os.system'")
    assert second.startswith("method.base._target_='torch.load'")


@pytest.mark.parametrize("word", ["_args_", "_recursive_", "_convert_", "_partial_"])
def test_other_words_of_hydra_are_refused(word):
    node = {"_target_": "calib_sweep.method.dense.Dense", word: True}
    with pytest.raises(ConfigError, match=f"method.{word}=True: expected no such word"):
        check_targets("method", node)


def test_a_method_within_a_method_may_be_left_unfinished():
    from calib_sweep.method.owl import OWL
    from calib_sweep.method.wanda import Wanda

    node = OmegaConf.to_container(OmegaConf.load(CONF / "method/owl.yaml"))
    assert target_classes("method", node) == [OWL, Wanda]


def test_a_dataset_of_ones_own_derives_from_ours(tmp_path, monkeypatch):
    (tmp_path / "my_datasets.py").write_text(
        "from calib_sweep.dataset.base import Dataset\n"
        "class Mine(Dataset): pass\n"
        "class Alike:\n    draw = fingerprint = documents = provenance = sources = print\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert target_class("dataset", "my_datasets.Mine") is get_class("my_datasets.Mine")
    with pytest.raises(ConfigError, match=r"derived from one of calib_sweep\.dataset\.base"):
        target_class("dataset", "my_datasets.Alike")
    with pytest.raises(ConfigError, match=r"derived from calib_sweep\.dataset\.base\.TextDataset"):
        target_class("evaluation.perplexity.corpora.0", "my_datasets.Mine")


@pytest.mark.parametrize(
    ("place", "base"),
    [("model", "model.loading.HubModel"), ("evaluation", "evaluation.suite.Evaluation")],
)
def test_a_model_and_an_evaluation_of_ones_own_derive_from_ours(tmp_path, monkeypatch, place, base):
    """What has a few of their methods would be called by the others before anything is checked."""
    module = f"my_{place}"
    (tmp_path / f"{module}.py").write_text(
        f"from calib_sweep.{base.rpartition('.')[0]} import {base.rpartition('.')[2]} as Ours\n"
        "class Mine(Ours): pass\n"
        "class Alike:\n    load = load_tokenizer = check = prepare = fingerprint = print\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert target_class(place, f"{module}.Mine") is get_class(f"{module}.Mine")
    with pytest.raises(ConfigError, match=rf"expected an? {place}: calib_sweep\.{base}"):
        target_class(place, f"{module}.Alike")


def test_a_module_that_ends_the_program_when_imported_is_told(tmp_path, monkeypatch):
    (tmp_path / "my_exit.py").write_text("raise SystemExit(7)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"'my_exit.Method': expected a class to import: 7"):
        target_class("method", "my_exit.Method")
