"""Parts are built from configuration: once, for whoever owns the builder, and nowhere else."""

import importlib.util
import pickle

import pytest

from calib_sweep.errors import ConfigError, Problems
from calib_sweep.parts.building import Builder
from calib_sweep.places import CONF
from calib_sweep.sweep.plan import compose_command_line, plan_cells, store_of

WANDA = {"_target_": "calib_sweep.method.wanda.Wanda", "sparsity": 0.5, "pattern": "unstructured"}


def test_a_part_is_built_once_however_its_keys_are_ordered():
    builder = Builder()
    first = builder.build("method", WANDA)
    assert builder.build("method", dict(reversed(WANDA.items()))) is first
    assert builder.build("method", {**WANDA, "sparsity": 0.6}) is not first


def test_two_builders_share_nothing_and_one_that_is_pickled_arrives_empty():
    builder = Builder()
    first = builder.build("method", WANDA)
    other, arrived = Builder(), pickle.loads(pickle.dumps(builder))
    for one in (other, arrived):
        assert one.build("method", WANDA) == first and one.build("method", WANDA) is not first


WEB = {"_target_": "calib_sweep.miniature.dataset.MiniatureDataset", "domain": "mini_web"}
WEB |= {"name": "mini_web", "split": "calibration", "num_documents": 50}
ZIPF = {"_target_": "calib_sweep.dataset.selector.zipf.ZipfWords", "name": "zipf", "pool_size": 9}


def test_a_dataset_with_a_selector_is_chosen_from_and_null_is_none():
    built = Builder().build("dataset", {**WEB, "selector": ZIPF})
    plain = Builder().build("dataset", {**WEB, "selector": None})
    assert built.source == plain == Builder().build("dataset", WEB)
    assert built.selector.pool_size == 9 and built.name == "mini_web"


def test_a_part_of_a_mixture_may_have_a_selector():
    chosen = {"_target_": "calib_sweep.dataset.selected.Selected", "source": WEB, "selector": ZIPF}
    mixture = {"_target_": "calib_sweep.dataset.mixture.Mixture", "name": "mix"}
    node = {**mixture, "parts": {"web": chosen}, "weights": {"web": 1}}
    assert Builder().build("dataset", node).parts["web"].selector.pool_size == 9
    assert Builder().build("dataset", chosen).selector.pool_size == 9
    both = Builder().build("dataset", {**chosen, "selector": {**ZIPF, "name": "other"}})
    assert both.selector.name == "other"


@pytest.mark.parametrize(
    ("dataset", "told"),
    [
        ({**WEB, "selector": "zipf"}, "Choose one by its name: dataset/selector=NAME"),
        ({**WEB, "selector": WEB}, r"dataset\.selector\._target_=.*expected a selector"),
        ({**WEB, "selector": {**ZIPF, "low": 1}}, r"dataset\.selector\.low: no such key"),
        (
            {**WEB, "split": 3, "selector": {**ZIPF, "pool_size": 0}},
            r"dataset\.selector\.pool_size",
        ),
    ],
)
def test_a_selector_that_is_none_is_refused(dataset, told):
    with pytest.raises(ConfigError, match=told):
        Builder().build("dataset", dataset)


def test_a_cell_runs_where_a_tracker_is_not_installed_and_a_check_says_so(tmp_path, monkeypatch):
    """A worker builds the parts of its cells on its own machine, where the library may be gone."""
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *rest: None if name == "tensorboard" else real(name, *rest),
    )
    typed = ["model=miniature", "method=magnitude", "tracking=tensorboard"]
    composed = compose_command_line(CONF, [*typed, f"results_dir={tmp_path}"])
    cell = plan_cells(store_of(composed[0].config), composed)[0]
    builder, problems = Builder(), Problems()
    assert builder.parts(cell).model is not None
    builder.check_beside(cell, problems)
    assert (
        len(problems.texts) == 1 and "pip install 'calib-sweep[tensorboard]'" in problems.texts[0]
    )
