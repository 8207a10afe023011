"""Selectors through the command line: checked, swept, drawn once, shown in the report."""

import json

import pytest
from helpers.sweeps import read_records

PLAIN = '''
"""Choose the candidates whose text has the most letters."""

import numpy as np

from calib_sweep.dataset.selector.base import Selection, Selector


class Long(Selector):
    def select(self, pool, num_samples):
        letters = np.array([len(text) for text in pool.texts])
        return Selection(chosen=np.argsort(letters, kind="stable")[-num_samples:], scores_C=letters)
'''
YAML = "_target_: {module}.Long\nname: long\npool_size: 6\n"


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with a selector of the user's own, and its module on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "selector_of_a_test.py").write_text(PLAIN)
    folder = tmp_path / "own" / "dataset" / "selector"
    folder.mkdir(parents=True)
    (folder / "long.yaml").write_text(YAML.format(module="selector_of_a_test"))
    return ["--config-dir", str(tmp_path / "own")]


def test_what_is_wrong_with_selectors_is_told_together_before_anything_is_drawn(
    run_cli, tiny_world, tmp_path, no_weights
):
    refused = run_cli(
        *("check", "-m", *tiny_world, "dataset/selector=zipf,kmeans"),
        *("dataset.selector.pool_size=1,65",),
        cwd=tmp_path,
    )
    told = "dataset.selector.pool_size=1: expected at least calibration.num_samples=2"
    assert refused.code == 1 and refused.err.count(told) == 1
    assert "dataset.selector.pool_size=65: expected at most 64" in refused.err
    assert not (tmp_path / "results" / "calibration").exists()


def test_a_class_that_is_no_selector_is_refused(run_cli, tiny_world, tmp_path):
    words = ["dataset/selector=zipf", "dataset.selector._target_=calib_sweep.method.rtn.RTN"]
    refused = run_cli("check", *tiny_world, *words, cwd=tmp_path)
    assert refused.code == 1
    assert "dataset.selector._target_='calib_sweep.method.rtn.RTN': expected a sel" in refused.err


@pytest.mark.slow
def test_a_sweep_over_selectors(run_cli, tiny_world, own, tmp_path):
    command = [*tiny_world, "dataset/selector=null,zipf,perplexity,long", "method=wanda,wanda_24"]
    checked = run_cli("check", "-m", *command, *own, cwd=tmp_path)
    assert checked.code == 0, checked.err

    ended = run_cli("-m", *command, *own, cwd=tmp_path)
    assert ended.code == 0, ended.err
    records = [r for r in read_records(tmp_path / "results" / "default") if r["calibration"]]
    assert len(records) == 8
    hashes = {}
    for record in records:
        name = record["cell"]["settings"]["dataset.selector"]
        hashes.setdefault(name, set()).add(record["calibration"]["hash"])
        assert ("dataset.code" in record["inputs"]) == (name == "long")  # an edit is noticed
        if name is not None:
            assert record["calibration"]["selection"]["selector"]["name"] == name
            assert "scores" not in record["calibration"]["selection"]
    assert all(len(found) == 1 for found in hashes.values())  # shared by both methods
    assert len(set.union(*hashes.values())) == 4
    cards = list((tmp_path / "results" / "calibration").glob("*/card.json"))
    told = {c["selection"]["selector"]["name"]: c["selection"] for c in map(_read, cards[:]) if c}
    assert len(told["zipf"]["scores"]) == 16 and len(told["long"]["scores"]) == 6
    for name in ("null", "zipf", "perplexity", "long"):
        assert f" {name} " in ended.out
    again = run_cli("-m", *command, *own, cwd=tmp_path)
    assert again.code == 0 and "9 cells, 9 done" in again.out
    assert len(read_records(tmp_path / "results" / "default")) == 9


def _read(path):
    card = json.loads(path.read_text())
    return card if "selection" in card else None
