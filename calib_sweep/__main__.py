"""`python -m calib_sweep`: the same program as `calib-sweep`."""

import sys

from calib_sweep.cli import main

if __name__ == "__main__":
    sys.exit(main())
