"""Download all that a grid needs, then prove that it loads without a network.

The proof is a second process that is told to stay offline and reads everything again: what loads
there loads on a compute node that shares the cache (HF_HOME).
"""

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import partial

from calib_sweep.cell import Cell
from calib_sweep.errors import FETCH, ConfigError, collected
from calib_sweep.parts.building import Builder
from calib_sweep.sweep.check import check_cells, check_pool

log = logging.getLogger(__name__)

RETRY = (
    "Run the same command where there is a connection, without HF_HUB_OFFLINE. Then copy the "
    "folder HF_HOME from there, and set HF_HOME here to the copy."
)
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


def prefetch_cells(builder: Builder, cells: Sequence[Cell], arguments: Sequence[str]) -> None:
    """Fetch models, datasets, corpora and tasks; `ConfigError` lists what is not to be had.

    `arguments`: all that was typed after the program, for the process that proves it.
    """
    try:
        _read_all(builder, cells)
    except ConfigError as error:  # to fetch it is what was typed, so that is no remedy here
        told = (text.replace(FETCH, RETRY) for text in error.problems)
        raise ConfigError(*told) from error
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return
    log.info("everything is here; a second process now loads it without a network")
    command = [sys.executable, "-m", "calib_sweep", *arguments]
    proof = subprocess.run(command, env=os.environ | OFFLINE, capture_output=True, text=True)
    if proof.returncode != 0:
        raise ConfigError(
            "prefetch: everything is here, but a second process cannot load it offline. Set "
            f"HF_HOME to the same folder for both and try again. It said: {proof.stderr[-2000:]}"
        )


def _read_all(builder: Builder, cells: Sequence[Cell]) -> None:
    parts = [builder.parts(cell) for cell in cells]
    missing: dict[str, None] = {}
    with collected(missing) as problems:
        for model in dict.fromkeys(part.model for part in parts):
            problems.of(model.prefetch)
        notes = problems.of(partial(check_cells, builder, cells, draw=check_pool)) or []
    if missing or notes:
        raise ConfigError(*missing, *notes)
    with collected(missing) as problems:
        for part in {id(part.evaluation): part for part in parts}.values():
            problems.of(part.evaluation.prepare, part.model.load_tokenizer())
    if missing:
        raise ConfigError(*missing)
