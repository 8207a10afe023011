"""`python -m calib_sweep` and `calib-sweep`: the program, which Ctrl-C ends also while it loads."""

import sys

from calib_sweep.interruption import end_with_parent, interruptible
from calib_sweep.places import see_current_folder
from calib_sweep.processes import look_for_less_garbage


def main() -> int:
    """Import the command line and run it; return the exit code."""
    see_current_folder()  # as `python -m` does by itself, and `calib-sweep` does not
    return interruptible(_run)


def _run() -> int:
    end_with_parent()
    look_for_less_garbage()
    from calib_sweep import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
