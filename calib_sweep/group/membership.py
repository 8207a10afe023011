"""Membership in a group of ranks: how a process becomes one of them, and how it leaves.

Whoever starts the processes names rank, number and meeting place as torch.distributed expects
them (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT): `accelerate launch`, `torchrun`, and
our launchers. More processes than a cell takes make several groups, each with cells of its own.

    with joined(place, timeout_s=60) as member:
        rank 0     member.begin(task, note), then the cell: the others are handed the task
        others     for task in member.tasks(): ...
"""

import atexit
import pickle
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from calib_sweep.errors import ConfigError, require
from calib_sweep.group.signs import PATIENCE
from calib_sweep.group.watch import RANKS_LOST, Watch, end_at_once, in_a_thread
from calib_sweep.interruption import INTERRUPTED
from calib_sweep.ranks import ProcessRanks
from calib_sweep.wording import counted

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.distributed.distributed_c10d import Store

T = TypeVar("T")

JOIN = 5  # times the silence allowed: so long the first rank waits for the last one to start
POLL_S = 0.05
MOST = 65535  # of ports
LEFT_OVER = (
    "If nothing else was started, these variables are left over in this shell. Type: unset RANK "
    "WORLD_SIZE LOCAL_RANK MASTER_ADDR MASTER_PORT"
)
NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True, kw_only=True)
class Place:
    """A place in a group, by the environment of this process. `group`: which one of several."""

    index: int
    count: int
    group: int
    local_index: int
    host: str
    port: int
    hosts: bool  # the meeting place is in this process
    attempt: str  # of whoever starts the processes again

    @staticmethod
    def of(environment: Mapping[str, str], ranks_per_cell: int) -> "Place":
        """Read it; `ConfigError` where these are not as many processes as a cell takes."""
        if missing := [name for name in NAMES if name not in environment]:
            raise ConfigError(
                f"ranks_per_cell={ranks_per_cell}: expected to be started as so many processes, "
                f"but {missing[0]} is not set. {_remedy(ranks_per_cell)}"
            )
        total = _number(environment, "WORLD_SIZE", 1)
        rank = _number(environment, "RANK", 0, total - 1)
        local = _number(environment, "LOCAL_RANK")
        port = _number(environment, "MASTER_PORT", 1, MOST)
        if total % ranks_per_cell:
            raise ConfigError(
                f"ranks_per_cell={ranks_per_cell}: expected a number that divides the "
                f"{counted(total, 'process', 'processes')} that were started (WORLD_SIZE). "
                + _remedy(ranks_per_cell)
            )
        hosted = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        return Place(
            index=rank % ranks_per_cell,
            count=ranks_per_cell,
            group=rank // ranks_per_cell,
            local_index=local,
            host=environment["MASTER_ADDR"],
            port=port,
            hosts=rank == 0 and not hosted,
            attempt=environment.get("TORCHELASTIC_RESTART_COUNT", "0"),
        )


def _number(
    environment: Mapping[str, str], name: str, low: int = 0, high: int | None = None
) -> int:
    text = environment[name]
    ok = text.isdecimal() and low <= int(text) and (high is None or int(text) <= high)
    limits = f"an integer >= {low}" if high is None else f"an integer from {low} to {high}"
    require(ok, name, text, f"{limits}, as a launcher sets it", LEFT_OVER)
    return int(text)


def _remedy(ranks_per_cell: int) -> str:
    return (
        "Type hydra/launcher=accelerate, or start them: accelerate launch --config_file "
        f"launchers/accelerate/gpus.yaml --num_processes {ranks_per_cell} -m calib_sweep -m ... "
        f"ranks_per_cell={ranks_per_cell} (cpu.yaml without GPUs: else it starts one and says "
        "nothing)."
    )


@dataclass(frozen=True, kw_only=True)
class Member(ProcessRanks):
    """This process as a rank of its group."""

    watch: Watch
    store: "Store"

    def _exchanged(
        self, owner: int, own: bytes, tensors: Sequence["Tensor"]
    ) -> tuple[list[bytes], bytes]:
        exchange = super()._exchanged
        return self.watch.call(lambda: exchange(owner, own, tensors))

    def begin(self, task: object, note: Callable[[str], None]) -> AbstractContextManager[None]:
        """Hand the others a task, and be on it meanwhile. `note`: see `Watch.on`."""
        self.store.set(f"task/{self.watch.cell + 1}", pickle.dumps(task).hex())
        return self.on(note)

    def on(self, note: Callable[[str], None]) -> AbstractContextManager[None]:
        """Be on the next task meanwhile. `note`: see `Watch.on`."""
        return self.watch.on(self.watch.cell + 1, note)

    def tasks(self) -> Iterator[Any]:
        """Yield what the first rank hands out, until it has nothing more."""
        while True:
            key = f"task/{self.watch.cell + 1}"
            while not self.store.check([key]):
                time.sleep(POLL_S)
            task = pickle.loads(bytes.fromhex(self.store.get(key).decode()))
            if task is None:
                return
            yield task

    def dismiss(self) -> None:
        """Tell the others that there is nothing more to do."""
        self.store.set(f"task/{self.watch.cell + 1}", pickle.dumps(None).hex())


@contextmanager
def joined(place: Place, timeout_s: float) -> Iterator[Member]:
    """Be a rank meanwhile. `timeout_s`: a rank that gives no sign for so long is lost."""
    member = in_a_thread(lambda: _meet(place, timeout_s))
    watch, error = member.watch, None
    watch.start()
    try:
        yield member
    except BaseException as raised:
        error = raised
        raise
    finally:
        if member.is_first and not isinstance(error, KeyboardInterrupt):
            member.dismiss()
        watch.leave(error, wait=member.is_first)  # the others may meet in this process
        _end(watch, error)


def _end(watch: Watch, error: BaseException | None) -> None:
    """Take the process group down, or leave without: with ranks lost it would wait for them.

    One that was told to end, by whomever, has yet to say what comes next: to SLURM, say.
    """
    is_told = isinstance(error, KeyboardInterrupt)
    if (ending := watch.ending) is not None and (ending.is_loss or not is_told):
        end_at_once(RANKS_LOST if ending.is_loss else INTERRUPTED)
    if error is None:
        from torch import distributed

        distributed.destroy_process_group()
    elif watch.is_on_a_cell or is_told:
        watch.spare()
        atexit.register(end_at_once, INTERRUPTED if is_told else RANKS_LOST)


def _meet(place: Place, timeout_s: float) -> Member:
    """Meet the other ranks; `ConfigError` where they do not come."""
    import torch
    from torch import distributed
    from torch.distributed.distributed_c10d import PrefixStore

    device = _device(place)
    stores = [_connect(place, timeout_s, hosts=hosts) for hosts in (place.hosts, False)]
    # A process may be a rank again when it has left: of a group that meets under another name.
    number = str(stores[0].add(f"joined/{place.index}", 1))
    store, second = (PrefixStore(number, one) for one in stores)
    store.set(f"device/{place.index}", f"{socket.gethostname()} {_identity(device)}")
    watch = Watch(_Board(second), place.index, place.count, timeout_s)
    watch.say()
    _await_all(store, place, timeout_s)
    devices = store.multi_get([f"device/{rank}" for rank in range(place.count)])
    # Two ranks on one GPU cannot talk by NCCL. Objects, and tensors of the host, go by gloo.
    by_nccl = device.type == "cuda" and len(set(devices)) == place.count
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if by_nccl else "gloo",
        store=PrefixStore("group", store),
        rank=place.index,
        world_size=place.count,
        timeout=timedelta(seconds=2 * PATIENCE * timeout_s),  # the watch ends it before
    )
    if by_nccl:
        torch.cuda.set_device(device)
    watch.prepare = partial(torch.cuda.set_device, device) if by_nccl else None
    return Member(index=place.index, count=place.count, device=device, watch=watch, store=store)


def _device(place: Place) -> "torch.device":
    """Return the device that `model.device=auto` means here."""
    import torch

    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return torch.device("cuda", place.local_index % num_gpus) if num_gpus else torch.device("cpu")


def _identity(device: "torch.device") -> str:
    import torch

    return str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else "cpu"


def _connect(place: Place, timeout_s: float, *, hosts: bool) -> "Store":
    from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]
    from torch.distributed.distributed_c10d import PrefixStore

    limit = timedelta(seconds=JOIN * timeout_s)
    try:
        store = TCPStore(
            *(place.host, place.port),
            is_master=hosts,
            timeout=limit,
            wait_for_workers=False,
        )
    except RuntimeError as error:
        raise ConfigError(
            f"ranks_per_cell={place.count}: nobody answers at {place.host}:{place.port}, where "
            f"ranks are to meet (MASTER_ADDR, MASTER_PORT): {_first_line(error)}. {LEFT_OVER}"
        ) from error
    return PrefixStore(f"calib_sweep/{place.attempt}/{place.group}", store)


def _await_all(store: "Store", place: Place, timeout_s: float) -> None:
    deadline = time.monotonic() + JOIN * timeout_s
    missing = range(place.count)
    while missing := [rank for rank in missing if not store.check([f"sign/{rank}"])]:
        if time.monotonic() > deadline:
            raise ConfigError(
                f"ranks_per_cell={place.count}: rank {' and '.join(map(str, missing))} did not "
                f"come within {JOIN * timeout_s:.0f} s (5 times rank_timeout_s). {LEFT_OVER}"
            )
        time.sleep(POLL_S)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")


class _Board:
    """The store that ranks meet at, through a connection of the watch's own."""

    def __init__(self, store: "Store") -> None:
        self._store = store

    def write(self, key: str, text: str) -> None:
        self._store.set(key, text)

    def read(self, keys: Sequence[str]) -> list[bytes]:
        return self._store.multi_get(list(keys))
