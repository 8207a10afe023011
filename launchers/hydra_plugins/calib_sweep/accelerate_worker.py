"""One worker process of hydra/launcher=accelerate: python -m ...accelerate_worker TASK RESULT.

TASK is the pickled launcher with the job it was asked to run. RESULT is written, by a rename, when
the job came back, so a worker without a RESULT was killed or crashed.
"""

import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any


def die_with_parent() -> None:
    """End this process and its children once standard input closes: the parent holds it open."""

    def watch() -> None:
        os.read(sys.stdin.fileno(), 1)  # not sys.stdin.read(): its lock would be held at exit
        os.killpg(os.getpgrp(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="lifeline").start()


def write_result(path: Path, result: Any) -> None:
    """Pickle the job's `JobReturn` to `path` in one step."""
    import cloudpickle

    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(cloudpickle.dumps(result))
    temporary.replace(path)


def main(task: Path, result: Path) -> int:
    """Run the job in `task`; return 0 if it completed, 1 if it raised."""
    import cloudpickle

    die_with_parent()
    launcher, overrides, number, state = cloudpickle.loads(task.read_bytes())
    job = launcher.run(overrides, number, state)
    completed = job.status.name == "COMPLETED"
    if not completed:
        traceback.print_exception(job._return_value)
    write_result(result, job)
    return 0 if completed else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
