"""One worker process of hydra/launcher=accelerate: python -m ...accelerate_worker TASK OUTCOME.

Both are numbers of open files that have no name, inherited from the launcher: nobody else can put
anything into them, and nothing is left of them. TASK holds the pickled launcher with the job it was
asked to run. OUTCOME is written when the job came back, so a worker that leaves it empty was
killed or crashed.
"""

import os
import pickle
import sys
import threading
import traceback

from hydra_plugins.calib_sweep import outcome

from calib_sweep.interruption import INTERRUPTED, TERMINATION, end_group, ending_on


def die_with_parent() -> None:
    """End this process and its children once standard input closes: the parent holds it open."""

    def watch() -> None:
        os.read(sys.stdin.fileno(), 1)  # not sys.stdin.read(): its lock would be held at exit
        end_group()

    threading.Thread(target=watch, daemon=True, name="lifeline").start()


def main(task: int, result: int) -> int:
    """Run the job in `task`; return 0 if it completed, 1 if it raised."""
    die_with_parent()
    with os.fdopen(task, "rb") as file:
        launcher, overrides, number, state = pickle.load(file)
    job = launcher.run(overrides, number, state)
    completed = job.status.name == "COMPLETED"
    if not completed:
        traceback.print_exception(job._return_value)
    with os.fdopen(result, "w") as file:
        file.write(outcome.to_text(job))
    return 0 if completed else 1


if __name__ == "__main__":
    try:
        with ending_on(*TERMINATION):
            sys.exit(main(*map(int, sys.argv[1:])))
    except KeyboardInterrupt as told:
        sys.stderr.write(f"told to end by {told}: the cell that ran here can be taken by others\n")
        sys.exit(INTERRUPTED)
