"""Signs of life: what ranks say of themselves, and what follows from what they say.

Ranks of a cell wait for each other at every exchange, so one that is gone would hold all others
up for ever. Each keeps a sign where all can read it:

    beat      counts up twice a second, as long as the process lives
    cell      which of the cells that this group has begun
    calls     how many exchanges it has come to
    state     WORKING; DONE: with this cell; OVER: with all
              TOLD: somebody told it to end; LOST: it found that another is gone
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from calib_sweep import valid_json

WORKING, DONE, OVER, TOLD, LOST = "working", "done", "over", "told", "lost"
ENDED = (OVER, TOLD, LOST)  # it will say nothing more
# A rank that lives, but lets the others wait, is lost after so many times the silence allowed:
# one that solves a large layer, or draws text, may let them wait for long.
PATIENCE = 30


@dataclass(frozen=True, kw_only=True)
class Sign:
    """What a rank said last."""

    beat: int = 0
    cell: int = 0
    calls: int = 0
    state: str = WORKING
    why: str = ""

    def to_text(self) -> str:
        return valid_json.dumps(asdict(self))

    @staticmethod
    def from_text(text: str | bytes) -> "Sign":
        return Sign(**json.loads(text))


@dataclass(frozen=True)
class Heard:
    """The last sign of another rank, and when it became another one, by the clock here."""

    sign: Sign
    at: float


@dataclass(frozen=True)
class Ending:
    """Why the ranks of a group end. `is_loss`: it counts against the cell that runs."""

    reason: str
    is_loss: bool


def ending_of(
    own: Sign,
    heard: Mapping[int, Heard],
    now: float,
    timeout_s: float,
    waits_since: float | None,
) -> Ending | None:
    """Say why this rank has to end; None where all is well.

    waits_since: when it came to the exchange in which it is; None: it is in none.
    """
    for rank, last in sorted(heard.items()):
        if last.sign.state == TOLD:
            return Ending(f"rank {rank} was told to end", is_loss=False)
    for rank, last in sorted(heard.items()):
        if why := _loss(rank, last, own, now, timeout_s):
            return Ending(why, is_loss=True)
    if waits_since is not None and now - waits_since > PATIENCE * timeout_s:
        late = [str(rank) for rank, last in heard.items() if last.sign.calls < own.calls]
        reason = f"rank {' and '.join(late) or '?'} let the others wait for "
        return Ending(f"{reason}{PATIENCE * timeout_s:.0f} s", is_loss=True)
    return None


def _loss(rank: int, last: Heard, own: Sign, now: float, timeout_s: float) -> str:
    sign = last.sign
    if sign.state == LOST:
        return sign.why
    has_left = sign.state in (DONE, OVER) and sign.calls < own.calls
    if has_left and (sign.cell == own.cell or sign.state == OVER):
        return f"rank {rank} alone ended the cell: {sign.why or sign.state}"
    if sign.state not in ENDED and now - last.at > timeout_s:
        return f"rank {rank} gave no sign of life for {timeout_s:.0f} s"
    return ""
