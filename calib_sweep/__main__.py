"""`python -m calib_sweep` and `calib-sweep`: the program, which Ctrl-C ends also while it loads."""

import sys
from importlib import import_module

from calib_sweep.interruption import interruptible


def main() -> int:
    """Import the command line and run it; returns the exit code."""
    return interruptible(lambda: import_module("calib_sweep.cli").main())


if __name__ == "__main__":
    sys.exit(main())
