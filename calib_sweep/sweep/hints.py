"""Say before a sweep starts what would make it slow."""

from collections.abc import Iterable

from calib_sweep.cell import Cell
from calib_sweep.parts.building import Builder
from calib_sweep.sweep.estimate import num_weights

# Weights of the linear layers below which threads wait for each other longer than they compute.
SMALL = 20_000_000


def thread_hint(builder: Builder, cells: Iterable[Cell]) -> str | None:
    """Return a hint where small models would run on several threads of a CPU; None otherwise.

    It is a hint and no default: sums of float32 come out in another order on another number of
    threads, so that a default would move the last digits of everybody's records.
    """
    import torch

    threads = torch.get_num_threads()
    for cell in cells:
        model, chosen = cell.config["model"], cell.config["num_threads"]
        on_gpu = model.get("device") != "cpu" and torch.cuda.is_available()
        num = num_weights(builder, model)
        if chosen is None and threads > 1 and not on_gpu and num is not None and num < SMALL:
            return (
                f"{cell.model} is small and runs on {threads} threads. num_threads=1 is often "
                "faster, most of all on a busy machine"
            )
    return None
