"""Whether a job told to end goes back into the queue; scontrol writes down what it hears."""

import logging
import os
from types import SimpleNamespace

import pytest
from hydra_plugins.calib_sweep import slurm_job

STATES = {
    "preempted": "JobState=RUNNING Restarts=0 PreemptTime=2026-11-30T11:57:35 EndTime=x",
    "cancelled": "JobState=CANCELLED PreemptTime=None EndTime=x",
    "signalled": "JobState=RUNNING PreemptTime=None EndTime=x",
    "requeued": "JobState=COMPLETING EndTime=Unknown",
}


@pytest.fixture
def ended(tmp_path, monkeypatch):
    """`ended(**changes)`: what scontrol was asked when the job was told to end."""
    (tmp_path / "scontrol").write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\necho "$STATE"\nexit ${{CODE:-0}}\n'
    )
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "7")

    def end(**changes):
        (tmp_path / "asked").write_text("")
        settings = {"is_out_of_time": True, "got_on": True, "most": 2, "count": tmp_path / "count"}
        slurm_job.end("SIGUSR2", **(settings | changes))
        return (tmp_path / "asked").read_text().splitlines()

    return end


def test_out_of_time_it_goes_on_so_often_and_no_more(ended, caplog):
    asked = [ended() for _ in range(3)]
    assert asked == [["requeue 7"], ["requeue 7"], []]
    assert "it was out of time 2 times before" in caplog.text


def test_out_of_time_it_does_not_go_on_when_nothing_was_kept(ended, caplog):
    assert ended(got_on=False) == []
    assert "nothing was kept" in caplog.text


@pytest.mark.parametrize(("state", "goes_on"), [(s, s == "preempted") for s in STATES])
def test_of_other_signals_only_that_of_a_preemption_puts_it_back(
    state, goes_on, ended, monkeypatch
):
    monkeypatch.setenv("STATE", STATES[state])
    asked = ended(is_out_of_time=False, got_on=False)
    assert asked == ["show job --oneliner 7"] + ["requeue 7"] * goes_on


def test_only_the_first_task_of_a_job_speaks_for_it(ended, monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert ended() == []


def test_a_controller_that_is_away_for_a_moment_is_asked_again(ended, monkeypatch, caplog):
    monkeypatch.setenv("CODE", "1")
    naps = iter([lambda: None, lambda: os.environ.update(CODE="0")])
    clock = SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda _: next(naps)())
    monkeypatch.setattr(slurm_job, "time", clock)  # not that of subprocess
    assert ended() == ["requeue 7"] * 3
    assert "did not" not in caplog.text


def test_a_slurm_that_refuses_is_told(ended, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("CODE", "1")
    monkeypatch.setattr(slurm_job, "ASKING_S", -1)
    assert ended() == ["requeue 7"]
    assert "SLURM did not put this job back into the queue" in caplog.text
    assert "goes on from there" not in caplog.text
