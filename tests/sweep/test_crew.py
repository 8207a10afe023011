"""Workers beside a command: they share its cells, are shown by it, and end with it."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import light_crew
from helpers.light_crew import Task
from helpers.repository import ROOT
from helpers.signals import hear
from helpers.sweeping import wait_until

from calib_sweep.results.cell_log import log_to
from calib_sweep.results.store import Store
from calib_sweep.sweep import crew as crew_module
from calib_sweep.sweep.crew import Crew
from calib_sweep.sweep.progress import Progress


@pytest.fixture
def crew(monkeypatch):
    """A crew without members; those that it starts load nothing heavy."""
    monkeypatch.setattr(crew_module, "MEMBER", light_crew.HERE)
    monkeypatch.syspath_prepend(ROOT / "tests")
    crew = Crew()
    yield crew
    crew.stop()
    assert all(member.process.poll() is not None for member in crew.members)


@pytest.fixture
def cells(make_cell):
    return [make_cell(seed=seed) for seed in range(3)]


@pytest.fixture
def progress(cells, tmp_path):
    with Progress(cells, Store(tmp_path, "s")) as progress:
        yield progress


def is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_what_a_member_runs_is_shown_and_counted_here(crew, cells, progress, caplog, tmp_path):
    crew.resize(1)
    with caplog.at_level("INFO", logger="calib_sweep"), log_to(tmp_path / "log.txt"):
        with crew.at_work(Task(light_crew.run, cells), cells, progress):
            wait_until(lambda: progress.num_settled == 3)
        logging.getLogger("calib_sweep.run").info("of the cell that runs here")
    pid = crew.members[0].process.pid
    assert crew.failed() == [cells[1].id] and crew.failed() == []
    lines = [
        line
        for n, cell in enumerate(cells, start=1)
        for line in (f"cell {n}/3: {cell.title}", f"{cell.title} by {pid}")
    ]
    assert caplog.messages == [*lines, "of the cell that runs here"]
    (line,) = (tmp_path / "log.txt").read_text().splitlines()  # of the members' cells nothing
    assert line.endswith("of the cell that runs here")


def test_live_bars_show_the_cell_of_a_member(crew, cells, tmp_path):
    crew.resize(1)
    progress = Progress(cells, Store(tmp_path, "s"))
    progress.is_live = True
    with progress, crew.at_work(Task(light_crew.run_slowly, cells[:1]), cells, progress):
        wait_until(lambda: len(progress.bars.tasks) == 2)
        assert [task.description for task in progress.bars.tasks] == ["sweep s", cells[0].title]
        wait_until(lambda: progress.num_settled == 1)
        wait_until(lambda: len(progress.bars.tasks) == 1)
        assert [task.completed for task in progress.bars.tasks] == [1]


def test_a_member_that_waits_is_woken_when_a_cell_is_settled(crew, cells, progress):
    """It would wait for a minute."""
    crew.resize(2)
    with crew.at_work(Task(light_crew.wait_for_news, cells[:1]), cells, progress):
        while not progress.num_settled:
            crew.ring()  # a cell was settled here
            crew.pause(0.1)


def test_what_a_member_has_loaded_serves_its_next_task(crew, cells, progress, caplog):
    crew.resize(1)
    with caplog.at_level("INFO", logger="calib_sweep"):
        for _ in range(2):
            with crew.at_work(Task(light_crew.say_sessions, cells[:1]), cells, progress):
                pass
        wait_until(lambda: len(caplog.messages) == 2)
    assert caplog.messages == ["sessions ['loaded']", "sessions ['loaded', 'loaded']"]


def test_a_killed_member_is_told_and_the_others_go_on(crew, cells, progress, caplog):
    crew.resize(1)
    with crew.at_work(Task(light_crew.die, cells[:1]), cells, progress):
        wait_until(lambda: not crew.members[0].can_work)
    (line,) = [text for text in caplog.messages if "worker process" in text]
    assert "killed by SIGKILL. The others go on. Its last words:\nlast words" in line
    assert progress.num_settled == 0
    crew.resize(1)  # another takes its place where the next cells are worth it
    assert [member.can_work for member in crew.members] == [False, True]


def test_what_a_member_cannot_do_is_told_and_it_stays(crew, cells, progress, caplog):
    crew.resize(1)
    with crew.at_work(Task(light_crew.fail, cells[:1]), cells, progress):
        wait_until(lambda: "ended its work: ValueError: not with me" in caplog.text)
    assert crew.members[0].can_work and crew.members[0].process.poll() is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_member_that_says_what_nobody_understands_is_lost_and_not_waited_for(
    crew, cells, progress, caplog
):
    crew.resize(1)
    with crew.at_work(Task(light_crew.run, cells), cells[:2], progress):
        wait_until(lambda: not crew.members[0].can_work)
    assert "The others go on" in caplog.text and progress.num_settled == 2


def test_members_that_are_not_needed_go_home_by_themselves(crew, caplog):
    crew.resize(2)
    crew.resize(0)
    assert [member.process.wait(20) for member in crew.members] == [0, 0]
    assert caplog.messages == []


def test_at_the_end_what_still_runs_is_waited_for(crew, cells, progress, caplog):
    crew.resize(1)
    caplog.set_level("INFO", logger="calib_sweep")
    with crew.at_work(Task(light_crew.run_slowly, cells[:1]), cells, progress):
        wait_until(lambda: len(caplog.messages) == 1)  # it has begun
    assert progress.num_settled == 1


def test_nobody_waits_for_a_member_that_runs_nothing(crew, cells, progress, tmp_path):
    """It may still import what the cells would have needed."""
    crew.resize(1)
    with crew.at_work(Task(light_crew.sleep, [tmp_path]), cells, progress):
        wait_until(lambda: list(tmp_path.glob("*.pid")))
    assert is_running(crew.members[0].process.pid)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGKILL"])
def test_however_the_command_ends_its_members_end_too(name, tmp_path):
    paths = [str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    parent = subprocess.Popen(
        [sys.executable, ROOT / "tests/helpers/light_crew.py", tmp_path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        stderr=subprocess.DEVNULL,
        preexec_fn=hear,
    )
    wait_until(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    pids = [int(path.stem) for path in tmp_path.glob("*.pid")]
    parent.send_signal(signal.Signals[name])
    assert parent.wait(20) == (-signal.SIGKILL if name == "SIGKILL" else 130)
    wait_until(lambda: not any(is_running(pid) for pid in pids), timeout_s=10)
