"""Environments of the ranks that a launcher starts, as torch.distributed names them.

The launcher keeps the place where ranks meet: it outlives the first of them, and no port that was
free a moment ago can be taken meanwhile.
"""

from collections.abc import Mapping

LOOPBACK = "127.0.0.1"


def meeting_place() -> tuple[object, int]:
    """Open a place to meet at, on all addresses of this machine; return it, to keep, and its port.

    It closes when nobody keeps it.
    """
    from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

    store = TCPStore(LOOPBACK, 0, is_master=True, wait_for_workers=False)
    return store, store.port


def ranks_of(environment: Mapping[str, str], number: int) -> tuple[object, list[dict[str, str]]]:
    """Return where so many ranks on this machine meet, and the environment of each."""
    meeting, port = meeting_place()
    return meeting, [
        {**environment, **rank_names(k, number, k, LOOPBACK, port)} for k in range(number)
    ]


def rank_names(rank: int, count: int, local_rank: int, host: str, port: int) -> dict[str, str]:
    """Name a rank, and the place where it meets the others, which somebody has opened."""
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_RANK": str(local_rank),
        "MASTER_ADDR": host,
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
    }
