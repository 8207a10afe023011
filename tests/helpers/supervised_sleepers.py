"""Two worker processes that sleep, watched as the accelerate launcher watches its own.

    supervised_sleepers.py FOLDER

The same file is the worker: python -m helpers.supervised_sleepers TASK OUTCOME.
"""

import os
import sys
import time
from pathlib import Path


def watch(folder: Path) -> int:
    from hydra_plugins.calib_sweep import supervisor

    from calib_sweep.interruption import TERMINATION, ending_on

    supervisor.WORKER = "helpers.supervised_sleepers"
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    sleepers = supervisor.Supervisor(
        task=os.fsencode(folder), stem=folder / "sleeper", max_restarts=0
    )
    try:
        with ending_on(*TERMINATION):
            sleepers.work([environment, environment])
    except KeyboardInterrupt:
        return 130
    finally:
        sleepers.stop()
    return 0


def sleep(task: int) -> None:
    from hydra_plugins.calib_sweep.accelerate_worker import die_with_parent

    die_with_parent()
    with os.fdopen(task, "rb") as file:
        folder = Path(os.fsdecode(file.read()))
    (folder / f"{os.getpid()}.pid").touch()
    time.sleep(60)


if __name__ == "__main__":
    first = sys.argv[1]
    sys.exit(sleep(int(first)) if first.isdigit() else watch(Path(first)))
