"""Several trackers at once: each is told everything, and none harms a cell or another tracker."""

import logging

import pytest

from calib_sweep.errors import ConfigError
from calib_sweep.parts.building import Builder
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
    wandb = {"_target_": "calib_sweep.tracking.wandb.WandbTracking", "project": "a/b"}
    wandb |= {"entity": None, "mode": "x", "tags": [], "timeout_s": 1}
    with pytest.raises(ConfigError) as caught:
        Builder().build("tracking", {"wandb": wandb, "other": {"_target_": "os.system"}})
    starts = [problem.partition("=")[0] for problem in caught.value.problems]
    assert starts == ["tracking.wandb.project", "tracking.wandb.mode", "tracking.other._target_"]


def test_what_is_no_tracker_is_refused():
    with pytest.raises(ConfigError, match=r"tracking\.x=1: expected the keys of a tracker"):
        Builder().build("tracking", {"x": 1})


def test_no_tracker_is_none():
    assert Builder().build("tracking", {}) == Trackers(by_name={})
