"""The scripts of benchmarks/, as a person starts them."""

import os
import subprocess
import sys

from helpers.repository import ROOT


def run_benchmark(script: str, *arguments: object) -> str:
    """Run benchmarks/SCRIPT on one thread to its end; return what it prints."""
    command = [sys.executable, str(ROOT / "benchmarks" / script), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return done.stdout
