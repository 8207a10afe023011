"""A method whose first user falls asleep in the middle of its cell, until somebody wakes it.

environment(folder)     makes method=drowsy known to a command, its bed is `folder/bed`
method.after=20         it falls asleep after so many layers of its process
environment(folder, who="crew_member")     only a process of this program falls asleep, and others
                        wait until it does
"""

import itertools
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from calib_sweep.method.base import CompressedWeight, LayerMethod


def environment(folder: Path, who: str = "") -> dict[str, str]:
    """What a command and its workers need to know of this method."""
    conf = folder / "conf"
    (conf / "method").mkdir(parents=True)
    (conf / "method/drowsy.yaml").write_text(
        f"_target_: helpers.drowsy.Drowsy\nbed: {folder / 'bed'}\nwho: '{who}'\nafter: 0\n"
    )
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {"CALIB_SWEEP_CONF": str(conf), "PYTHONPATH": os.pathsep.join(filter(None, paths))}


LAYERS = itertools.count()


@dataclass(frozen=True, kw_only=True)
class Drowsy(LayerMethod):
    """Changes nothing. Whoever makes the folder `bed` sleeps until the file `woken` is in it."""

    bed: str
    who: str
    after: int

    def compress_weight(self, weight_OI: Tensor, statistic: Any) -> CompressedWeight:
        bed = Path(self.bed)
        if next(LAYERS) < self.after:
            return CompressedWeight(weight_OI=weight_OI)
        if self.who not in sys.argv[0]:
            _wait_for(bed)
        else:
            try:
                bed.mkdir()
            except FileExistsError:
                return CompressedWeight(weight_OI=weight_OI)
            _wait_for(bed / "woken")
        return CompressedWeight(weight_OI=weight_OI)


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 300
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
