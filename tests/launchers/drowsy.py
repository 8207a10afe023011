"""A method whose first user falls asleep in the middle of its cell, until somebody wakes it."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from calib_sweep.method.base import CompressedWeight, LayerMethod

YAML = "_target_: drowsy.Drowsy\nbed: {bed}\n"


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
