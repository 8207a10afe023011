"""The state of a walk, kept beside its cell, so that a killed one goes on where it was.

Every rank keeps its own hidden states, rank 0 all else (`kept_state` says where). A state is used
if it is of the very same computation and every hash holds, on all ranks. Else it is left where it
is, with a note, until the walk that starts anew keeps one of its own.

Keeping takes time, at most a twentieth of the walk's: the next state waits nineteen times as long
as the last one took. What cannot be kept (a full disk, a quantiser of inputs that is a function) is
said once, and the walk goes on without.
"""

import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch

from calib_sweep import atomic
from calib_sweep.compression import plain
from calib_sweep.compression.kept_block import enter, hidden_states, kept_block, put_in_place
from calib_sweep.compression.kept_state import (
    BLOCK,
    HIDDEN,
    NOTED,
    PLAN,
    State,
    as_json,
    clear_rest,
    is_damaged,
    is_hidden,
    is_noted,
    read_state,
    write_state,
)
from calib_sweep.compression.layer import LayerReport
from calib_sweep.compression.nothing_kept import NothingKept
from calib_sweep.compression.plain import NotPlainError
from calib_sweep.compression.replay import BlockInputs
from calib_sweep.hashing import file_sha256
from calib_sweep.model.blocks import DecoderBlock
from calib_sweep.ranks import ALONE, Ranks
from calib_sweep.wording import counted

log = logging.getLogger(__name__)
cell_log = logging.getLogger("calib_sweep.compression.walk")  # whose lines no terminal shows

T = TypeVar("T")

CPU = torch.device("cpu")
PAUSE = 19  # times what keeping the last state took


class Checkpoint(NothingKept):
    """Keeps the state of one walk in `folder`.

    head: plain containers, all that the state depends on.
    every_s: seconds between two states, at least; 0: one after every block.
    device: where the model computes.
    """

    def __init__(
        self,
        folder: Path,
        head: Callable[[], Mapping[str, object]],
        *,
        every_s: float,
        device: torch.device = CPU,
        ranks: Ranks = ALONE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._every_s, self._ranks, self._clock = folder, every_s, ranks, clock
        self._make_head, self._device = head, device
        self._start_s = self._kept_s = clock()
        self._cost_s = 0.0
        self._state: State | None = None
        self._has_looked = False
        self._is_on = True
        self._is_begun = False  # the folder holds this walk's files alone
        self._files: dict[str, str] = {}
        self._waiting: dict[str, Callable[[], object]] = {}  # files of rank 0: what is in them
        self._num_noted = 0

    @property
    def seconds_before(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return 0.0 if self._state is None else self._state.seconds

    def planned(self, make: Callable[[], T]) -> T:
        if self._found is not None and PLAN in self._found.files:
            return self._read(PLAN)
        plan = make()
        self._num_noted = 0
        self._waiting.clear()  # what was noted has done its service
        self._after({PLAN: lambda: plan}, None)
        return plan

    def noted(self, inputs: BlockInputs) -> list[Any]:
        found = self._found
        if found is None or not found.num_noted:
            return []
        self._go_on(found)
        self._enter(found.num_noted, inputs)
        return [self._read(NOTED.format(index)) for index in range(found.num_noted)]

    def after_noted(self, note: object, inputs: BlockInputs | None) -> None:
        self._num_noted += 1
        self._after({NOTED.format(self._num_noted - 1): lambda: note}, inputs)

    def resume(
        self, pairs: Sequence[tuple[DecoderBlock, object]], inputs: BlockInputs | None
    ) -> list[LayerReport]:
        found = self._found
        if found is None or found.num_noted:
            return []
        self._go_on(found)
        reports: list[LayerReport] = []
        for block, method in pairs[: found.num_done]:
            kept = self._read(BLOCK.format(block.index))
            put_in_place(kept, block, method)
            reports += kept.reports
        if found.has_hidden and inputs is not None:
            self._enter(found.num_done, inputs)
        return reports

    def after_block(
        self, block: DecoderBlock, reports: Sequence[LayerReport], inputs: BlockInputs | None
    ) -> None:
        self.num_done += 1
        self._after({BLOCK.format(block.index): lambda: kept_block(block, reports)}, inputs)

    def _go_on(self, found: State) -> None:
        self._files, self._is_begun = dict(found.files), True
        self.num_done, self._num_noted = found.num_done, found.num_noted
        where = f"{counted(found.num_done, 'block')} that were compressed before"
        if not found.num_done:
            where = f"{counted(found.num_noted, 'block')} that were looked at before"
        log.info("goes on behind %s", where if found.num_done + found.num_noted else "its plan")

    def _read(self, name: str) -> Any:
        return plain.read(self._folder / name, self._device)

    def _enter(self, num: int, inputs: BlockInputs) -> None:
        # By way of the host: a device may have no room for hidden states twice.
        enter(plain.read(self._folder / self._hidden_name(num), CPU), inputs)

    def _after(self, made: Mapping[str, Callable[[], object]], inputs: BlockInputs | None) -> None:
        """Keep what was made since the last state, if it is time. `inputs`: what comes next."""
        if self._is_on:
            self._waiting |= made
            if self._is_due():
                self._keep(inputs)

    @cached_property
    def _head(self) -> Mapping[str, Any]:
        """What the state depends on, as JSON tells it; looked at by rank 0 alone."""
        return as_json({"ranks": self._ranks.count, **self._make_head()})

    @property
    def _found(self) -> State | None:
        """The state to go on from; None where there is none that may be used."""
        if not self._has_looked:  # no cached property, whose lock would keep other ranks waiting
            self._state, self._has_looked = self._usable_state(), True
        return self._state

    def _usable_state(self) -> State | None:
        state, note = self._ranks.from_rank(0, self._look)
        if state is not None:
            own = self._own_files(state)
            flaws = self._ranks.gathered(
                [name for name in own if is_damaged(self._folder, state, name)]
            )
            note = f"{flaws[0]} is damaged" if flaws else None
        if note is None:
            return state
        self._say("%s is not used, and the walk begins anew: %s", self._folder, note)
        return None

    def _look(self) -> tuple[State | None, str | None]:
        """Read the state; say why it is of no use, where there is one."""
        return read_state(self._folder, self._head)  # which is made now, while the model is dense

    def _own_files(self, state: State) -> list[str]:
        """Names of the files that this rank answers for."""
        hidden = [self._hidden_name(state.num_noted or state.num_done)] if state.has_hidden else []
        shared = [NOTED.format(index) for index in range(state.num_noted)]
        shared += [BLOCK.format(index) for index in range(state.num_done)]
        shared += [PLAN] if PLAN in state.files else []
        return [*shared, *hidden] if self._ranks.is_first else hidden

    def _is_due(self) -> bool:
        """Tell, the same on every rank, whether it is time to keep a state."""

        def is_time() -> bool:
            pause_s = max(self._every_s, PAUSE * self._cost_s) if self._every_s else 0.0
            return self._clock() - self._kept_s >= pause_s

        return self._is_on and self._ranks.from_rank(0, is_time)

    def _keep(self, inputs: BlockInputs | None) -> None:
        """Keep all that has come up to now."""
        start_s = self._clock()
        try:
            if not self._is_begun:
                self._ranks.from_rank(0, self._begin)
                self._is_begun = True
            written, error = self._write(inputs)
            found = self._ranks.gathered([(written, error)])
            if errors := [error for _, error in found if error is not None]:
                return self._stop(errors[0])
            files = {name: content for own, _ in found for name, content in own.items()}
            self._ranks.from_rank(0, lambda: self._commit(files, has_hidden=inputs is not None))
        except OSError as error:  # of rank 0, and so of all of them
            return self._stop(str(error))
        self._waiting.clear()
        self._kept_s = self._clock()
        self._cost_s = self._kept_s - start_s
        cell_log.info("state kept: %s, %.2f s", counted(self.num_done, "block"), self._cost_s)
        return None

    def _begin(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        atomic.make_folder(self._folder)

    def _write(self, inputs: BlockInputs | None) -> tuple[dict[str, str], str | None]:
        """Write this rank's files; return their hashes, and what went wrong."""
        values = dict(self._waiting) if self._ranks.is_first else {}
        if inputs is not None:
            name = self._hidden_name(self._num_noted or self.num_done)
            values[name] = lambda: hidden_states(inputs)
        written: dict[str, str] = {}
        try:
            for name, make in values.items():
                plain.write(self._folder / name, make())
                written[name] = file_sha256(self._folder / name)
        except NotPlainError as error:
            return {}, f"a {error} is more than its attributes"
        except OSError as error:
            return {}, str(error)
        return written, None

    def _commit(self, files: Mapping[str, str], *, has_hidden: bool) -> None:
        """Make the state that which counts, and clear away what it replaces."""
        stays = {name: own for name, own in self._files.items() if not is_hidden(name)}
        if not self._num_noted:  # the pass that plans is over
            stays = {name: own for name, own in stays.items() if not is_noted(name)}
        state = State(
            num_noted=self._num_noted,
            num_done=self.num_done,
            has_hidden=has_hidden,
            files={**stays, **files},
            seconds=round(self.seconds_before + self._clock() - self._start_s, 3),
        )
        write_state(self._folder, self._head, state)
        self._files = dict(state.files)
        clear_rest(self._folder, self._files)

    def _stop(self, why: str) -> None:
        """Keep no more: say so, and leave the last state where it is, and nothing beside it."""
        self._is_on = False
        self._waiting.clear()
        self._say("checkpoint=blocks: nothing more is kept of this walk: %s", why)
        if self._is_begun and self._ranks.is_first:
            with suppress(OSError):  # a disk that fails may not let go either
                clear_rest(self._folder, self._files)

    def _say(self, told: str, *of: object) -> None:
        if self._ranks.is_first:
            log.warning(told, *of)

    def _hidden_name(self, num_done: int) -> str:
        return HIDDEN.format(num_done, self._ranks.index)
