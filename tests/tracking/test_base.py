"""Several trackers at once: each is told everything, and none harms a cell or another tracker."""

import logging

import pytest
import yaml

from calib_sweep.errors import ConfigError
from calib_sweep.parts.building import Builder
from calib_sweep.places import CONF
from calib_sweep.tracking.base import Trackers

HERE = "helpers.own_trackers"


def test_each_tracker_is_told_everything_in_the_order_chosen(make_cell):
    nodes = {name: {"_target_": f"{HERE}.Listener"} for name in ("second", "first")}
    trackers = Builder().build("tracking", nodes)
    assert list(trackers.by_name) == ["second", "first"]
    cell = make_cell()
    trackers.log(cell, {}, "store")
    trackers.log_missing([cell], "store")
    trackers.log_report("store")
    expected = [("log", cell, {}, "store"), ("log_missing", [cell], "store")]
    expected.append(("log_report", "store"))
    assert [tracker.calls for tracker in trackers.by_name.values()] == [expected, expected]


def test_a_tracker_that_raises_is_named_and_the_next_is_told(make_cell, caplog):
    caplog.set_level(logging.WARNING)
    nodes = {"bad": {"_target_": f"{HERE}.Raising"}, "good": {"_target_": f"{HERE}.Listener"}}
    trackers = Builder().build("tracking", nodes)
    trackers.log(make_cell(), {}, "store")
    trackers.log_missing([], "store")
    trackers.log_report("store")
    assert len(trackers.by_name["good"].calls) == 3
    assert [record.getMessage() for record in caplog.records] == [
        "tracking.bad: ValueError: the disk is on fire"
    ] * 3


def test_all_mistakes_of_all_trackers_are_told_by_their_keys():
    shipped = yaml.safe_load((CONF / "tracking" / "wandb.yaml").read_text())["wandb"]
    wandb = shipped | {"project": "a/b", "mode": "x"}
    with pytest.raises(ConfigError) as caught:
        Builder().build("tracking", {"wandb": wandb, "other": {"_target_": "os.system"}})
    starts = [problem.partition("=")[0] for problem in caught.value.problems]
    assert starts == ["tracking.wandb.project", "tracking.wandb.mode", "tracking.other._target_"]


def test_what_is_no_tracker_is_refused():
    with pytest.raises(ConfigError, match=r"tracking\.x=1: expected the keys of a tracker"):
        Builder().build("tracking", {"x": 1})


def test_no_tracker_is_none():
    assert Builder().build("tracking", {}) == Trackers(by_name={})


@pytest.mark.slow
def test_a_sweep_is_mirrored_by_several_trackers_at_once(tiny_world, run_cli, tmp_path):
    """One of them cannot write: the other has all cells, and the sweep all records."""
    for package in ("mlflow", "tensorboard"):
        pytest.importorskip(package)
    kept = [word for word in tiny_world if word != "tracking=none"]
    folder = tmp_path / "results" / "several"
    folder.mkdir(parents=True)
    (folder / "tensorboard").write_text("a file where a folder is wanted")
    command = ["-m", *kept, "method=magnitude", "sweep_name=several"]
    ended = run_cli(*command, "tracking=[tensorboard,mlflow]", cwd=tmp_path)
    assert ended.code == 0 and "2 cells, 2 done" in ended.out, ended
    marks = sorted(path.name for path in folder.glob("*/*.json"))
    assert marks.count("mlflow.json") == 3 and "tensorboard.json" not in marks
    assert ended.err.count("TensorBoard did not take") == 2  # a cell, and once more at the end
    (folder / "tensorboard").unlink()
    again = run_cli(*command, "tracking=[tensorboard,mlflow]", cwd=tmp_path)
    assert again.code == 0 and "did not take" not in again.err
    assert len(list(folder.glob("*/tensorboard.json"))) == 3
