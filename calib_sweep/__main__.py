"""`python -m calib_sweep` and `calib-sweep`: the program, which Ctrl-C ends also while it loads."""

import contextlib
import os
import sys

from calib_sweep.interruption import end_with_parent, interruptible


def main() -> int:
    """Import the command line and run it; return the exit code."""
    _see_current_folder()
    return interruptible(_run)


def _see_current_folder() -> None:
    """Let `calib-sweep` find modules of the current folder, as `python -m` does by itself.

    They come last: no file that happens to lie there takes the place of a library.
    """
    with contextlib.suppress(FileNotFoundError):  # deleted: the command line says so
        if not sys.flags.safe_path and (folder := os.getcwd()) not in sys.path:  # noqa: PTH109
            sys.path.append(folder)


def _run() -> int:
    end_with_parent()
    from calib_sweep import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
