"""A sweep that a program runs ends with that program."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from helpers import drowsy
from helpers.signals import hear

PROGRAM = "import calib_sweep, sys; calib_sweep.run(sys.argv[1:])"


@pytest.fixture
def program(tiny_world, tmp_path):
    """A program whose sweep sleeps in the middle of a cell, and the process of that sweep."""
    running = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "method=drowsy", *tiny_world],
        env={**os.environ, **drowsy.environment(tmp_path)},
        cwd=tmp_path,
        preexec_fn=hear,
    )
    while not (tmp_path / "bed").exists():
        assert running.poll() is None
        time.sleep(0.05)
    (sweep,) = psutil.Process(running.pid).children()
    yield running, sweep
    running.kill()
    if sweep.is_running():
        sweep.kill()


@pytest.mark.slow  # two processes that import everything
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_sweep_ends_with_the_program_that_runs_it(number, program, tmp_path):
    running, sweep = program
    assert list(tmp_path.glob("results/default/*/claim.*"))
    running.send_signal(number)
    assert running.wait(timeout=60) != 0
    if number == signal.SIGTERM:
        assert not sweep.is_running()  # the program has waited for it
    sweep.wait(timeout=60)
    assert not list(tmp_path.glob("results/default/*/claim.*"))
