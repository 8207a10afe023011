"""A method whose first user falls asleep in the middle of its cell, until somebody wakes it.

environment(folder)     makes method=drowsy known to a command, its bed is `folder/bed`
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from calib_sweep.method.base import CompressedWeight, LayerMethod


def environment(folder: Path) -> dict[str, str]:
    """What a command and its workers need to know of this method."""
    conf = folder / "conf"
    (conf / "method").mkdir(parents=True)
    (conf / "method/drowsy.yaml").write_text(
        f"_target_: helpers.drowsy.Drowsy\nbed: {folder / 'bed'}\n"
    )
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {"CALIB_SWEEP_CONF": str(conf), "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@dataclass(frozen=True, kw_only=True)
class Drowsy(LayerMethod):
    """Changes nothing. Whoever makes the folder `bed` sleeps until the file `woken` is in it."""

    bed: str

    def compress_weight(self, weight_OI: Tensor, statistic: Any) -> CompressedWeight:
        try:
            Path(self.bed).mkdir()
        except FileExistsError:
            return CompressedWeight(weight_OI=weight_OI)
        deadline = time.monotonic() + 300
        while not Path(self.bed, "woken").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        return CompressedWeight(weight_OI=weight_OI)
