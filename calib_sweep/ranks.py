"""The processes that share one cell: ranks, as in torch.distributed.

All ranks of a group run the same cell in step. Each works on its share of the samples and rows;
what they find is put together in order of ranks, so that every rank goes on with the same bytes,
and a second run gives them again. Rank 0 alone writes.

    ALONE                 one rank: nothing is sent, and nothing of torch.distributed is imported
    ProcessRanks(...)     the ranks of a process group that exists
"""

import io
import pickle
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")


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

    def raised(self, error: Exception) -> None:  # noqa: B027 - most have nobody to ask
        """Come back when all ranks have raised at the same place, as this one did."""

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
        """Return an error that arrives whole, and tells the others where it came from."""
        if self.index:  # the first rank records its own
            error.add_note(f"on rank {self.index}:\n{''.join(traceback.format_exception(error))}")
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # its class wants other arguments, or holds what cannot be sent
            return RuntimeError(f"{type(error).__name__}: {error}").with_traceback(
                error.__traceback__
            )
        return error

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

    device: where tensors of accelerators arrive. Those of the host stay there.
    """

    device: "torch.device"

    def _sent(self, value: T, owner: int) -> T:
        found, refusal = self._exchanged(value, owner)
        if refusal:
            raise TypeError(refusal)
        return found

    def _exchanged(self, value: T, owner: int) -> tuple[T, str]:
        """Return `value` of rank `owner`, and why that could not be sent, on every rank."""
        import torch
        from torch import distributed

        packed, tensors, refusal = b"", [], ""
        if self.index == owner:
            try:
                packed, tensors = _packed(value)
            except Exception as error:  # whatever an object of somebody's own class raises
                told = f"{type(error).__name__}: {error}"
                refusal = f"what rank {owner} has for the other ranks cannot be pickled: {told}"
        form = [(t.shape, t.dtype, t.device.type) for t in tensors]
        note: list[Any] = [packed, form, refusal]
        distributed.broadcast_object_list(note, src=owner)
        if self.index != owner:
            places = {"cpu": torch.device("cpu")}
            tensors = [
                torch.empty(shape, dtype=dtype, device=places.get(kind, self.device))
                for shape, dtype, kind in note[1]
            ]
        for tensor in tensors:  # as bytes: gloo and NCCL know neither int16 nor float8
            distributed.broadcast(tensor.flatten().view(torch.uint8), src=owner)
        if self.index == owner or note[2]:
            return value, note[2]
        return _unpacked(note[0], tensors), ""


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
