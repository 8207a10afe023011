"""Two worker processes that sleep, watched as the accelerate launcher watches its own.

    crew_of_sleepers.py FOLDER

The same file is the worker: python -m crew_of_sleepers TASK RESULT.
"""

import os
import sys
import time
from pathlib import Path


def watch(folder: Path) -> None:
    from hydra_plugins.calib_sweep import crew
    from hydra_plugins.calib_sweep.interruption import sigterm_as_exit

    crew.WORKER = "crew_of_sleepers"
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    sleepers = crew.Crew(task=folder / "task", stem=folder / "sleeper", max_restarts=0)
    try:
        with sigterm_as_exit():
            sleepers.work([environment, environment])
    finally:
        sleepers.stop()


def sleep(task: Path) -> None:
    from hydra_plugins.calib_sweep.accelerate_worker import die_with_parent

    die_with_parent()
    (task.parent / f"{os.getpid()}.pid").touch()
    time.sleep(60)


if __name__ == "__main__":
    first = Path(sys.argv[1])
    watch(first) if first.is_dir() else sleep(first)
