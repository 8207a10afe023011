"""Being told to end by a signal."""

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import time

import pytest
from helpers.signals import hear, hearing

from calib_sweep import interruption
from calib_sweep import run as run_module
from calib_sweep.interruption import Interrupted, ending_on, raise_if_told

TERM = signal.SIGTERM


def test_no_except_exception_catches_it():
    assert not issubclass(Interrupted, Exception)


def test_it_is_remembered_until_the_program_is_left():
    with pytest.raises(Interrupted, match="SIGTERM"), ending_on(TERM):
        try:
            os.kill(os.getpid(), TERM)
        except BaseException as swallowed:
            assert isinstance(swallowed, Interrupted)
        raise_if_told()
    raise_if_told()  # not any more


def test_an_impatient_second_signal_does_not_disturb_what_the_first_set_in_motion(monkeypatch):
    with ending_on(TERM):
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), TERM)
        os.kill(os.getpid(), TERM)
        monkeypatch.setattr(interruption, "PATIENCE_S", 0.0)
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), TERM)


def test_a_signal_that_is_ignored_stays_ignored():
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending_on(signal.SIGHUP):
            os.kill(os.getpid(), signal.SIGHUP)
            raise_if_told()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_library_that_swallows_it_while_it_is_imported_gets_no_further(tmp_path, monkeypatch):
    (tmp_path / "greedy.py").write_text(
        "import os\ntry:\n    os.kill(os.getpid(), 15)\nexcept BaseException:\n    pass\n"
        "try:\n    import another_one\nexcept Exception:\n    pass\n"
    )
    (tmp_path / "another_one.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    before = list(sys.meta_path)
    with pytest.raises(Interrupted), ending_on(TERM):
        importlib.import_module("greedy")
    assert not {"greedy", "another_one"} & sys.modules.keys()
    assert sys.meta_path == before


def test_what_cleans_up_may_still_import(tmp_path, monkeypatch):
    (tmp_path / "broom.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Interrupted), ending_on(TERM):
        try:
            os.kill(os.getpid(), TERM)
        finally:
            importlib.import_module("broom")
    del sys.modules["broom"]


def test_where_python_cannot_raise_it_comes_a_moment_later(capsys):
    class Untimely:
        def __del__(self):
            os.kill(os.getpid(), TERM)
            time.sleep(0)  # where the signal is dealt with

    with pytest.raises(Interrupted), ending_on(TERM):
        del_me = Untimely()
        del del_me
        time.sleep(5)
    assert capsys.readouterr().err == ""


def test_ctrl_c_in_the_first_imports_is_one_line(tmp_path):
    (tmp_path / "hydra.py").write_text("import os\nos.kill(os.getpid(), 2)\n")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-m", "calib_sweep", "method=wanda"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        preexec_fn=hear,
    )
    assert done.returncode == 130
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("Interrupted.")


@pytest.mark.parametrize(
    ("name", "swallow"), [("SIGINT", False), ("SIGTERM", True), ("SIGHUP", True)]
)
def test_it_is_no_failure_of_the_cell_whatever_a_library_makes_of_it(
    name, swallow, run_cli, tiny_world, tmp_path, monkeypatch
):
    def told(*_, **__):
        try:
            os.kill(os.getpid(), signal.Signals[name])
        except BaseException as error:  # as a bare `except:` of a library does
            raise (ImportError("cannot import name 'x'") if swallow else error) from None

    monkeypatch.setattr(run_module, "walk", told)
    with hearing():
        ended = run_cli("-m", *tiny_world, "seed=0,1", cwd=tmp_path)
    assert ended.code == 130
    assert "run the same command" in ended.err and "Traceback" not in ended.err
    assert not list(tmp_path.glob("results/default/*/*.json"))
    assert not list(tmp_path.glob("results/default/*/claim.*"))
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # as it was


def test_what_is_computed_after_it_was_swallowed_is_not_recorded(
    run_cli, tiny_world, tmp_path, monkeypatch
):
    walk = run_module.walk

    def swallowed(*arguments, **settings):
        with contextlib.suppress(BaseException):
            os.kill(os.getpid(), TERM)
        return walk(*arguments, **settings)

    monkeypatch.setattr(run_module, "walk", swallowed)
    ended = run_cli("-m", *tiny_world, "seed=0,1", cwd=tmp_path)
    assert ended.code == 130
    assert not list(tmp_path.glob("results/default/*/*.json"))


PARENT = """
import os, subprocess, sys, time
from pathlib import Path

CHILD = '''
import os, sys, time
from pathlib import Path
from calib_sweep.interruption import end_with_parent, interruptible

def work():
    end_with_parent()
    Path("pid").write_text(str(os.getpid()))
    time.sleep(60)

sys.exit(interruptible(work))
'''
subprocess.Popen([sys.executable, "-c", CHILD])
time.sleep(60)
"""


@pytest.mark.parametrize(("mark", "ends"), [("TORCHELASTIC_RUN_ID", True), ("ANOTHER", False)])
def test_a_process_of_accelerate_launch_ends_when_that_is_killed(mark, ends, tmp_path):
    """What a shell started goes on when the shell is gone."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        cwd=tmp_path,
        env={**os.environ, mark: "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "pid").is_file() or not (pid := (tmp_path / "pid").read_text()):
        time.sleep(0.02)
    parent.kill()
    if not ends:
        time.sleep(1.5 * interruption.PARENT_POLL_S)
        os.kill(int(pid), signal.SIGKILL)  # it was there to be killed
    assert ("run the same command" in parent.communicate(timeout=20)[1]) == ends
