"""What a reader must know before believing the tables: repetitions, divergence, what is missing.

A run is called diverged when its perplexity is not finite, or above DIVERGED_TIMES the median of
its group, where what is no number counts as infinite.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from calib_sweep.analysis.scores.groups import Group
from calib_sweep.analysis.scores.table import Row, settings_of, settings_text

DIVERGED_TIMES = 10.0


def cell_title(row: Row, shown: Collection[str] | None = None) -> str:
    """The cell of a row in words; the name of its folder when its record cannot be read.

    `shown`: the settings worth naming; None: all.
    """
    if row["model"] is None:
        return str(row["cell_id"])
    parts = [row["model"], row["method"]]
    parts += [row["dataset"]] if row["dataset"] is not None else []
    parts += [f"seed {row['seed']}"] if row["seed"] is not None else []
    parts += [f"replicate {row['replicate']}"] if row["replicate"] else []
    settings = settings_of(row)
    settings = settings_text({k: v for k, v in settings.items() if shown is None or k in shown})
    return " ".join([*parts, settings] if settings else parts)


@dataclass(frozen=True)
class Count:
    """Cells by status."""

    total: int
    done: int
    failed: int  # with the unreadable ones
    unfinished: int
    superseded: int


def count_cells(rows: Iterable[Row]) -> Count:
    """Count the cells behind `rows`."""
    status_of = {row["cell_id"]: row["status"] for row in rows}
    status = list(status_of.values())
    superseded, unfinished = status.count("superseded"), status.count("unfinished")
    done, total = status.count("done"), len(status) - superseded
    return Count(total, done, total - done - unfinished, unfinished, superseded)


def failures(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """Title and reason of every cell that has no scores in the tables."""
    rows = list(rows)
    varied = _varied_settings(rows)
    return [
        (cell_title(row, varied), str(row["error"]))
        for row in rows
        if row["status"] != "superseded" and row["metric"] is None
    ]


def _varied_settings(rows: Sequence[Row]) -> set[str]:
    """Settings in which cells of one method differ, or those of two methods that both have it."""
    names = {name for row in rows for name in settings_of(row)}
    found = {(n, row["method"], str(settings_of(row).get(n))) for row in rows for n in names}
    varied = set()
    for name in names:
        values = {(method, value) for n, method, value in found if n == name}
        in_one_method = len(values) > len({method for method, _ in values})
        if in_one_method or len({value for _, value in values} - {"None"}) > 1:
            varied.add(name)
    return varied


def has_diverged(perplexity_S: np.ndarray) -> np.ndarray:
    """Which of a group's perplexities are not finite, or far above their median [S]."""
    ordered_S = np.where(perplexity_S > 0, perplexity_S, np.inf)  # what is no perplexity, too
    return np.isinf(ordered_S) | (ordered_S > DIVERGED_TIMES * np.median(ordered_S))


def data_free(groups: Iterable[Group]) -> list[Group]:
    """The groups whose method reads no data: any spread of theirs is the machine's."""
    return [group for group in groups if group.dataset is None and not group.is_dense]
