"""The processes that share one cell: ranks, as in torch.distributed.

All ranks of a group run the same cell in step. Each works on its share of the samples and rows;
what they find is put together in order of ranks, so that every rank goes on with the same bytes,
and a second run gives them again. Rank 0 alone writes.

    ALONE                 one rank: nothing is sent, and nothing of torch.distributed is imported
    ProcessRanks(...)     the ranks of a process group that exists
"""

import io
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from calib_sweep.sent_errors import error_of_bytes, portable

if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")

RAISED = -1  # in place of the rank whose value is wanted
OUT_OF_STEP = (
    "ranks of this cell want values of different ranks. Something goes another way on each: a part "
    "of your own that draws, or asks for the time or the machine"
)


@dataclass(frozen=True, kw_only=True)
class Ranks(ABC):
    """One rank among `count`. What it is asked to do, all ranks have to be asked in one order."""

    index: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this rank writes."""
        return self.index == 0

    def share(self, total: int) -> range:
        """Return which of `total` items are this rank's: a run of them, empty if there are few."""
        return range(total * self.index // self.count, total * (self.index + 1) // self.count)

    def summed(self, tensor: "Tensor") -> "Tensor":
        """Return the sum over ranks of tensors of one shape and type, added in order of ranks."""
        total = self._sent(tensor, 0)
        for owner in range(1, self.count):
            total = total + self._sent(tensor, owner)
        return total

    def gathered(self, items: Sequence[T]) -> list[T]:
        """Return the items of all ranks, in order of ranks."""
        parts = [self._sent(list(items), owner) for owner in range(self.count)]
        return [item for part in parts for item in part]

    def from_rank(self, owner: int, make: Callable[[], T]) -> T:
        """Return what `make` gives on rank `owner`; what it raises there is raised on all ranks.

        Anything that can be pickled. Tensors arrive on the device of the rank that receives them.
        """
        value: T | None = None
        error: Exception | None = None
        if self.index == owner:
            try:
                value = make()
            except Exception as raised:  # every rank raises it below
                error = self._portable(raised)
        error, value = self._sent((error, value), owner)
        if error is not None:
            raise error
        return cast(T, value)

    def raised(self, error: Exception) -> None:  # noqa: B027 - most have nobody to tell
        """End a cell with an error: the others raise it where they wait for this rank.

        Come back when all have raised, be it errors of their own.
        """

    def together(self, run: Callable[[], T]) -> T:
        """Return what `run` gives on this rank; what it raises on any rank is raised on all."""
        value: T | None = None
        error: Exception | None = None
        try:
            value = run()
        except Exception as raised:  # every rank raises it below, or that of a rank before
            error = self._portable(raised)
        errors = [found for found in self.gathered([error]) if found is not None]
        if errors:
            raise errors[0]
        return cast(T, value)

    def _portable(self, error: Exception) -> Exception:
        return portable(error, self.index)

    @abstractmethod
    def _sent(self, value: T, owner: int) -> T:
        """Return `value` of rank `owner`, on every rank."""


@dataclass(frozen=True, kw_only=True)
class _Alone(Ranks):
    """One process, as ever."""

    def together(self, run: Callable[[], T]) -> T:
        return run()

    def _portable(self, error: Exception) -> Exception:
        return error

    def _sent(self, value: T, owner: int) -> T:
        return value


ALONE: Ranks = _Alone()


@dataclass(frozen=True, kw_only=True)
class ProcessRanks(Ranks):
    """A rank of the process group of this process.

    Every exchange begins with what each rank has come for. So one that has raised alone can say so
    while the others wait for something else, and all of them end the cell, in step as before.

    device: where tensors of accelerators arrive. Those of the host stay there.
    """

    device: "torch.device"
    told: list[Exception] = field(default_factory=list)  # by a rank that raised in this cell

    def raised(self, error: Exception) -> None:
        if not self.told:
            self._meet(RAISED, pickle.dumps(self._portable(error)))
        self.told.clear()

    def _sent(self, value: T, owner: int) -> T:
        import torch

        note, tensors = b"", list[torch.Tensor]()
        if self.index == owner:
            try:
                packed, tensors = _packed(value)
            except Exception as error:  # whatever an object of somebody's own class raises
                told = f"{type(error).__name__}: {error}"
                refusal = f"what rank {owner} has for the other ranks cannot be pickled: {told}"
                self._meet(RAISED, pickle.dumps(self._portable(TypeError(refusal))))
            else:
                form = [(t.shape, t.dtype, t.device.type) for t in tensors]
                note = pickle.dumps((packed, form))
        self._raise_told()
        note = self._meet(owner, note)
        self._raise_told()
        packed, form = pickle.loads(note)
        if self.index != owner:  # here, as memory may be short on this rank alone
            places = {"cpu": torch.device("cpu")}
            tensors = [
                torch.empty(shape, dtype=dtype, device=places.get(kind, self.device))
                for shape, dtype, kind in form
            ]
        if tensors:
            self._meet(owner, b"", tensors)
            self._raise_told()
        return value if self.index == owner else _unpacked(packed, tensors)

    def _meet(self, owner: int, own: bytes, tensors: Sequence["Tensor"] = ()) -> bytes:
        """Return the bytes of rank `owner`, and fill `tensors` with its; or else note in `told`."""
        errors, found = self._exchanged(owner, own, tensors)
        self.told.extend(map(error_of_bytes, errors))
        return found

    def _raise_told(self) -> None:
        if self.told:  # also of somebody who has caught it, and goes on
            raise self.told[0]

    def _exchanged(
        self, owner: int, own: bytes, tensors: Sequence["Tensor"]
    ) -> tuple[list[bytes], bytes]:
        """Return errors of ranks that have raised; where there is none, bytes of rank `owner`."""
        import torch
        from torch import distributed

        heads = [torch.empty(2, dtype=torch.int64) for _ in range(self.count)]
        distributed.all_gather(heads, torch.tensor([owner, len(own)]))
        come_for = [(int(head[0]), int(head[1])) for head in heads]
        found = [
            _broadcast(own if rank == self.index else bytes(size), rank)
            for rank, (what, size) in enumerate(come_for)
            if what == RAISED
        ]
        if found:
            return found, b""
        if len({what for what, _ in come_for}) > 1:
            return [pickle.dumps(RuntimeError(f"{OUT_OF_STEP} ({come_for})"))], b""
        for tensor in tensors:  # as bytes: gloo and NCCL know neither int16 nor float8
            distributed.broadcast(tensor.flatten().view(torch.uint8), src=owner)
        size = come_for[owner][1]
        return [], _broadcast(own if owner == self.index else bytes(size), owner) if size else b""


def _broadcast(own: bytes, owner: int) -> bytes:
    """Return the bytes of rank `owner`; those of the others are of the same number."""
    import torch
    from torch import distributed

    tensor = torch.frombuffer(bytearray(own), dtype=torch.uint8)
    distributed.broadcast(tensor, src=owner)
    return tensor.numpy().tobytes()


def _packed(value: object) -> tuple[bytes, list["Tensor"]]:
    """Pickle `value` without its tensors, which travel as they are."""
    import torch

    tensors: list[Tensor] = []

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: object) -> int | None:  # its one hook for single objects
            if not isinstance(obj, torch.Tensor) or isinstance(obj, torch.nn.Parameter):
                return None
            tensors.append(obj.detach().contiguous())
            return len(tensors) - 1

    file = io.BytesIO()
    Pickler(file).dump(value)
    return file.getvalue(), tensors


def _unpacked(packed: bytes, tensors: Sequence["Tensor"]) -> Any:
    class Unpickler(pickle.Unpickler):
        def persistent_load(self, pid: int) -> "Tensor":
            return tensors[pid]

    return Unpickler(io.BytesIO(packed)).load()
