"""What several processes want at the same time: one makes it, the others wait for that one.

The claim is that of cells: nobody waits for the dead, another process takes over.
"""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from calib_sweep.interruption import raise_if_told
from calib_sweep.results.claim import Watch, try_claim

POLL_S = 0.5

T = TypeVar("T")


def once(
    claims: Path,
    find: Callable[[], T | None],
    make: Callable[[], T],
    *,
    patience_s: float = float("inf"),
) -> T:
    """Return what `find` finds, after `make` has made it: here, or in another process.

    claims: the folder of the claim, which goes when it is done. patience_s: after so long a wait
    for the living it is made here as well.
    """
    watch, since = Watch(), time.monotonic()
    while (found := find()) is None:
        claim = try_claim(claims, watch)
        if claim is None and time.monotonic() - since > patience_s:
            return make()
        if claim is None:
            raise_if_told()
            time.sleep(POLL_S)
            continue
        with claim:
            found = find()  # made between our look and our claim
            if found is None:
                found = make()
        break
    with contextlib.suppress(OSError):  # another process has it
        claims.rmdir()
    return found
