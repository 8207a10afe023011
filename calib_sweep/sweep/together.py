"""Cells that several ranks run together: the first one is the worker, the others follow it.

The worker takes a cell by a claim, as ever, hands it to the others, and all run it in step. It
alone writes, shows and tracks. When it has no cell left, it dismisses the others.
"""

import logging
import os
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from calib_sweep.cell import Cell, Config
from calib_sweep.console import CellProgress
from calib_sweep.errors import RanksLostError
from calib_sweep.group.membership import Member, Place, joined
from calib_sweep.parts.building import Builder
from calib_sweep.ranks import ALONE, Ranks
from calib_sweep.results.losses import MOST, forget_losses, losses, note_loss
from calib_sweep.results.record import Record, describe_error, new_record, utc_now
from calib_sweep.results.store import Store
from calib_sweep.sweep.launching import BASIC
from calib_sweep.values import is_int, is_number

if TYPE_CHECKING:
    from calib_sweep.session import Session

log = logging.getLogger(__name__)


def company(cells: Sequence[Cell], ranks: Ranks = ALONE) -> AbstractContextManager[Ranks]:
    """Give the ranks that run `cells`: `ranks` if they are known, else those of the environment."""
    config = cells[0].config if cells else {"ranks_per_cell": 1}
    return nullcontext(ranks) if ranks.count > 1 else _joined(config)


def command_company(
    master: DictConfig, first_config: Callable[[], Config]
) -> AbstractContextManager[Ranks]:
    """Give the ranks that this command is to be one of, as it was started with others."""
    if str(master.hydra.launcher.get("_target_")) != BASIC or "RANK" not in os.environ:
        return nullcontext(ALONE)
    return _joined(first_config())


def _joined(config: Config) -> AbstractContextManager[Ranks]:
    number, timeout_s = config["ranks_per_cell"], config["rank_timeout_s"]
    if number == 1 or not (is_int(number, 1) and is_number(timeout_s) and timeout_s >= 1):
        return nullcontext(ALONE)  # others are refused with all that is wrong besides
    return joined(Place.of(os.environ, number), timeout_s)


def lead(cell: Cell, store: Store, session: "Session", progress: CellProgress) -> Record:
    """Run `cell` with the ranks of `session`, this one if it is alone; return the record."""
    from calib_sweep.run import run_cell

    ranks, folder = session.ranks, store.cell_folder(cell)
    if not isinstance(ranks, Member):
        return run_cell(cell, store, session, progress)
    if len(reasons := losses(folder)) >= MOST:
        record = _record_loss(cell, store, reasons)
    else:
        run = uuid.uuid4().hex[:8]
        with ranks.begin((run, cell, store), partial(note_loss, folder, run)):
            record = run_cell(cell, store, session, progress)
    forget_losses(folder)
    return record


def follow(ranks: Ranks, builder: Builder) -> None:
    """Run what the first rank hands out, until it has nothing more."""
    from calib_sweep.run import run_cell
    from calib_sweep.session import Session

    assert isinstance(ranks, Member)
    logging.getLogger("calib_sweep").setLevel(logging.ERROR)  # the first rank says the rest,
    logging.getLogger("calib_sweep.run").setLevel(logging.CRITICAL)  # and which cell has failed
    session = Session(builder, ranks)
    for run, cell, store in ranks.tasks():
        with ranks.on(partial(note_loss, store.cell_folder(cell), run)):
            run_cell(cell, store, session)


def losses_among(cells: Sequence[Cell], store: Store) -> int:
    """Return how often ranks were lost on cells that are not settled: twice at most on each."""
    if not cells or cells[0].config["ranks_per_cell"] == 1:
        return 0
    return sum(len(losses(store.cell_folder(cell))) for cell in cells)


def _record_loss(cell: Cell, store: Store, reasons: list[str]) -> Record:
    """Record `cell` as failed, without another try."""
    error = RanksLostError(
        f"ranks were lost twice on this cell: {'; then '.join(reasons[:MOST])}. If they ran out of "
        "memory, give them more of it. Then run the same command again."
    )
    record = new_record(cell)
    record["error"], record["status"] = describe_error(error), "failed"
    record["finished_at"] = utc_now()
    store.write(cell, record)
    log.error("%s failed: %s", cell.title, error)
    return record
