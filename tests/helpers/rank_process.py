"""A rank that runs an invented cell: python -m helpers.rank_process FOLDER COUNT WHAT.

It exchanges with the others until FOLDER/enough is there, and leaves FOLDER/begun.RANK when it has
begun. WHAT happens in the cell: exchange, nothing else; fail-K, rank K alone raises; fail-all;
hang-K, rank K comes to no further exchange. Who is told to end says so in FOLDER/told.RANK, behind
all that its group does.
"""

import os
import sys
import time
from functools import partial
from pathlib import Path

from calib_sweep.group import signs
from calib_sweep.group.membership import Place, joined
from calib_sweep.interruption import GRACE_S, interruptible
from calib_sweep.results.losses import note_loss

TIMEOUT_S = 3.0


def run(folder, count, what):
    try:
        return run_as_one(folder, count, what)
    except KeyboardInterrupt:
        time.sleep(GRACE_S + 1)  # to tell others takes its time
        (folder / f"told.{os.environ['RANK']}").touch()
        raise


def run_as_one(folder, count, what):
    with joined(Place.of(os.environ, count), TIMEOUT_S) as member:
        if member.is_first:
            for number in (1, 2):
                with member.begin(number, partial(note_loss, folder, f"run{number}")):
                    run_cell(member, folder, what)
        else:
            for number in member.tasks():
                with member.on(partial(note_loss, folder, f"run{number}")):
                    run_cell(member, folder, what)
    (folder / f"left.{member.index}").touch()
    return 0


def run_cell(member, folder, what):
    try:
        exchange(member, folder, what)
    except ValueError as error:
        member.raised(error)
        with (folder / f"failed.{member.index}").open("a") as file:
            file.write(f"{error}\n")


def exchange(member, folder, what):
    number = 0
    while not member.from_rank(0, (folder / "enough").exists):
        number += 1
        assert member.gathered([member.index] * number) == [
            rank for rank in range(member.count) for _ in range(number)
        ]
        if number == 3:
            (folder / f"begun.{member.index}").touch()
            if what in ("fail-all", f"fail-{member.index}"):
                raise ValueError(f"no good on {member.index}")
            while what == f"hang-{member.index}":
                time.sleep(0.1)


if __name__ == "__main__":
    signs.PATIENCE = 3  # times TIMEOUT_S
    sys.exit(interruptible(partial(run, Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])))
