"""`python -m calib_sweep` and `calib-sweep`: the program, which Ctrl-C ends also while it loads."""

import gc
import sys

from calib_sweep.interruption import end_with_parent, interruptible
from calib_sweep.places import see_current_folder

# Of Python's collections of garbage the full ones look at everything: mostly at the modules that
# were just imported, which are none. With its own 10 they take a fifth of the time of a start.
FULL_COLLECTION_AFTER = 200  # smaller ones


def main() -> int:
    """Import the command line and run it; return the exit code."""
    see_current_folder()  # as `python -m` does by itself, and `calib-sweep` does not
    return interruptible(_run)


def _run() -> int:
    end_with_parent()
    gc.set_threshold(*gc.get_threshold()[:2], FULL_COLLECTION_AFTER)
    from calib_sweep import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
