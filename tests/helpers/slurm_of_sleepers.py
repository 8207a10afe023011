"""A Hydra program whose three SLURM jobs, in two arrays, sleep: slurm_of_sleepers.py FOLDER."""

import sys
import time

import hydra

from calib_sweep.interruption import TERMINATION, ending_on


@hydra.main(version_base="1.3", config_path=None)
def sleep(_config: object) -> None:
    """Outlive the test, unless cancelled."""
    time.sleep(60)


if __name__ == "__main__":
    folder = sys.argv[1]
    options = ["hydra/launcher=slurm", "hydra.launcher.max_array_size=2", "+number=1,2,3"]
    sys.argv[1:] = ["-m", *options, f"hydra.sweep.dir={folder}"]
    try:
        with ending_on(*TERMINATION):
            sleep()
    except KeyboardInterrupt:
        sys.exit(130)
