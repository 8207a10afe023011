"""The files of a walk's state.

    .checkpoint/
        block-00007.safetensors          what became of a block: `kept_block`
        noted-00007.safetensors          what the pass that plans, if any, noted of a dense block
        plan.safetensors                 the methods of all blocks, as it chose them; it is over
        hidden-00008-rank0.safetensors   what enters the next block, the dense model's beside it
        state.json                       whose state it is, blocks done, the hash of every file

`state.json` is written last: what is not in it does not exist. `head` says whose it is: everything
that can move a bit of the walk.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from calib_sweep import atomic, valid_json
from calib_sweep.hashing import file_sha256

SCHEMA = 1
STATE, PLAN = "state.json", "plan.safetensors"
NOTED, BLOCK = "noted-{:05d}.safetensors", "block-{:05d}.safetensors"
HIDDEN = "hidden-{:05d}-rank{}.safetensors"


@dataclass(frozen=True, kw_only=True)
class State:
    """What `state.json` says, beside whose it is."""

    num_noted: int  # blocks that the pass that plans has seen; 0: it is over, or there is none
    num_done: int  # blocks that are compressed
    has_hidden: bool
    files: Mapping[str, str]  # SHA-256 by name
    seconds: float  # of the walk so far


def as_json(known: Mapping[str, object]) -> Mapping[str, Any]:
    """Return plain containers as they are when they have been written and read."""
    return json.loads(valid_json.dumps({"schema": SCHEMA, **known}))


def read_state(folder: Path, wanted: Mapping[str, Any]) -> tuple[State | None, str | None]:
    """Read the state whose head is `wanted`; say why one that is there is of no use."""
    try:
        told = json.loads((folder / STATE).read_bytes())
        head, state = told.pop("head"), State(**told)
        others = [key for key, value in wanted.items() if head.get(key) != value]
    except FileNotFoundError:
        return None, None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return None, f"{STATE} cannot be read ({error})"
    if others:
        return None, f"it is of another computation, by its {' and '.join(others)}"
    return state, None


def write_state(folder: Path, head: Mapping[str, Any], state: State) -> None:
    """Make `state` the one that counts."""
    text = valid_json.dumps({"head": head, **asdict(state)}, indent=1)
    atomic.write(folder / STATE, text + "\n")


def is_damaged(folder: Path, state: State, name: str) -> bool:
    """Tell whether a file is not the one that was written."""
    try:
        return file_sha256(folder / name) != state.files.get(name)
    except OSError:
        return True


def is_hidden(name: str) -> bool:
    """Tell whether a file holds hidden states, which the next ones replace."""
    return name.startswith("hidden-")


def is_noted(name: str) -> bool:
    """Tell whether a file is of a pass that plans, and of no use when it is over."""
    return name.startswith("noted-")


def clear_rest(folder: Path, files: Collection[str]) -> None:
    """Delete all that no longer counts."""
    for path in folder.glob("*"):
        if path.name not in (*files, STATE):
            path.unlink(missing_ok=True)
