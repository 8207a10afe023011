"""What a finished cell read, beside its settings: when it changes, the cell is stale."""

import importlib
import json
import shutil
import sys

import pytest
from helpers.sweeps import read_records

from calib_sweep.parts.building import Builder

METHOD = """
from dataclasses import dataclass

from calib_sweep.method.base import CompressedWeight, LayerMethod


@dataclass(frozen=True, kw_only=True)
class Rounded(LayerMethod):
    step: float

    def compress_weight(self, weight_OI, statistic):
        return CompressedWeight(weight_OI=(weight_OI / self.step).round() * self.step)
"""


@pytest.fixture
def own_method(tmp_path, monkeypatch):
    """A method in a module and a YAML of one's own, below the folder it returns."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_methods", raising=False)
    (tmp_path / "my_methods.py").write_text(METHOD)
    folder = tmp_path / "conf.local/method"
    folder.mkdir(parents=True)
    (folder / "rounded.yaml").write_text("_target_: my_methods.Rounded\nstep: 0.01\n")
    return tmp_path


def edit(folder):
    with (folder / "my_methods.py").open("a") as file:
        file.write("# edited\n")


@pytest.mark.slow
def test_cells_of_a_method_whose_code_was_edited_are_refused(own_method, run_cli, tiny_world):
    command = ["method=rounded", "method.step=0.01,0.02", *tiny_world]
    assert run_cli("-m", *command, cwd=own_method).code == 0
    records = {
        path.parent: json.loads(path.read_text()) for path in own_method.rglob("record.json")
    }
    kept = [r["inputs"].get("method.code") for r in records.values()]
    assert kept.count(None) == 1  # dense
    assert run_cli("-m", *command, cwd=own_method).code == 0
    edit(own_method)
    ended = run_cli("-m", *command, cwd=own_method)
    assert ended.code == 1 and ended.err.count("ConfigError") == 1
    assert "method: the code of its classes has changed since cell" in ended.err
    assert "and 1 more ran" in ended.err and "sweep_name=NEW_NAME" in ended.err
    assert "delete the folder of each such cell to run it again" in ended.err
    for folder, record in records.items():
        if "method.code" in record["inputs"]:
            shutil.rmtree(folder)
    assert run_cli("-m", *command, cwd=own_method).code == 0


def test_the_code_of_a_class_is_that_of_its_modules_in_its_own_package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "base.py").write_text(METHOD)
    (package / "fine.py").write_text(
        "from .base import Rounded\n\n\nclass Fine(Rounded):\n    pass\n"
    )
    fine = {"_target_": "my_package.fine.Fine", "step": 0.1}
    nested = {"_target_": "calib_sweep.method.owl.OWL", "base": {**fine, "_partial_": True}}
    builder = Builder()
    before = builder.code_of("method", fine)
    assert before is not None and builder.code_of("method", nested) == before
    (package / "base.py").write_text(METHOD + "# edited\n")
    assert builder.code_of("method", fine) == before  # the code that runs is the old one
    assert Builder().code_of("method", fine) != before


def test_the_code_of_shipped_classes_is_no_input():
    """What changes there and moves a number raises NUMBERS_VERSION."""
    assert Builder().code_of("method", {"_target_": "calib_sweep.method.wanda.Wanda"}) is None


def test_inputs_that_no_cell_has_are_not_looked_for(own_method, run_cli, tiny_world):
    """As a damaged record has them, or one of another version."""
    command = ["method=rounded", *tiny_world]
    assert run_cli(*command, cwd=own_method).code == 0
    for path in own_method.rglob("record.json"):
        record = json.loads(path.read_text())
        record["inputs"] |= {"modem": "0a", "walk": "0a", "tracking": None, "seed.code": "0a"}
        path.write_text(json.dumps(record))
    ended = run_cli(*command, cwd=own_method)
    assert ended.code == 0 and "2 done, 0 failed" in ended.out


DATASET = """
from dataclasses import dataclass

from calib_sweep.dataset.base import TextDataset
from calib_sweep.dataset.documents.documents import generated


@dataclass(frozen=True, kw_only=True)
class Lines(TextDataset):
    name: str

    def documents(self):
        return generated(8, text=lambda i: f"A line {i} of words. " * 40, id=str)

    def provenance(self):
        return {}

    def fingerprint(self):
        return None
"""


@pytest.mark.slow
def test_sets_of_code_that_was_edited_are_drawn_again(tmp_path, monkeypatch, run_cli, tiny_world):
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "conf.local/dataset"
    folder.mkdir(parents=True)
    (folder / "lines.yaml").write_text("_target_: my_lines.Lines\nname: lines\n")
    world = [word for word in tiny_world if not word.startswith("dataset")]
    drawn = {}
    for sweep, text in {"a": DATASET, "b": DATASET.replace("line", "row"), "c": DATASET}.items():
        (tmp_path / "my_lines.py").write_text(text)
        monkeypatch.delitem(sys.modules, "my_lines", raising=False)
        importlib.invalidate_caches()
        ended = run_cli(*world, "dataset=lines", f"sweep_name={sweep}", cwd=tmp_path)
        assert ended.code == 0, ended.err
        (record,) = (r for r in read_records(tmp_path / "results" / sweep) if r["calibration"])
        drawn[sweep] = record["calibration"]["hash"], record["calibration"]["folder"]
    assert drawn["a"] == drawn["c"]
    assert drawn["a"][0] != drawn["b"][0] and drawn["a"][1] != drawn["b"][1]
