"""Show a calibration set to a person: provenance, first samples, what stands out, what it shares.

Only layout is here; the numbers are made in `samples` and `shared`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.dataset.calibration.pool import describe_pools
from calib_sweep.inspection.samples import describe_samples, find_outliers
from calib_sweep.inspection.shared import (
    WINDOW_TOKENS,
    find_duplicates,
    shared_documents,
    shared_windows,
)
from calib_sweep.wording import counted

SHOWN_CHARACTERS = 300
SHOWN_OUTLIERS = 12


def inspect_set(
    calibration_set: CalibrationSet,
    others: Mapping[str, CalibrationSet] | None = None,
    num_shown: int = 3,
) -> RenderableType:
    """Everything worth a look before a set is used, for a rich console.

    `others`: sets of other seeds (or datasets) by name, to compare with; `num_shown`: samples
    printed in part.
    """
    described = describe_samples(calibration_set)
    parts: list[RenderableType] = [
        _card(calibration_set),
        *_samples(calibration_set, num_shown),
        _descriptors(described),
        _outliers(calibration_set, find_outliers(described)),
        _duplicates(find_duplicates(calibration_set)),
    ]
    if others:
        parts.append(_overlap(calibration_set, others))
    return Group(*parts)


def _card(calibration_set: CalibrationSet) -> Panel:
    """Show where the set is from and how it was drawn."""
    card = calibration_set.card
    rows: dict[str, object] = {
        "dataset": card["dataset"],
        "seed": card["seed"],
        "set": f"{counted(card['num_samples'], 'sample')} of {counted(card['seq_len'], 'token')}",
        "design": f"{card['design']}, window {card['window']}, bos {card['bos']}",
        "pool": "\n".join(f"{name}: {text}" for name, text in describe_pools(card).items()) or "-",
        "tokenizer": f"{card['tokenizer']['name']} ({card['tokenizer']['vocabulary']} tokens)",
        "folder": calibration_set.folder or "-",
        "hash of the tokens": calibration_set.hash,
    }
    for key, value in card["provenance"].items():
        if value is not None:
            rows[key] = value if isinstance(value, str) else _flat(value)
    table = Table.grid(padding=(0, 2))
    for key, value in rows.items():
        table.add_row(Text(key, style="bold"), Text(str(value)))
    return Panel(table, title="calibration set", expand=False)


def _flat(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_flat(item)}" for key, item in value.items() if key != "card")
    if isinstance(value, list | tuple):
        more = f" and {len(value) - 5} more" if len(value) > 5 else ""
        return ", ".join(map(str, value[:5])) + more
    return str(value)


def _samples(calibration_set: CalibrationSet, num_shown: int) -> list[Panel]:
    panels = []
    for number, sample in enumerate(calibration_set.samples[:num_shown]):
        text = sample["text"]
        shown = text[:SHOWN_CHARACTERS] + (" ..." if len(text) > SHOWN_CHARACTERS else "")
        title = f"sample {number}: document {sample['document']}, token {sample['offset']}"
        panels.append(Panel(Text(shown), title=escape(title), title_align="left"))
    return panels


def _descriptors(described: Mapping[str, np.ndarray]) -> Table:
    """Median and range of each descriptor."""
    table = Table(title="samples", title_justify="left")
    table.add_column("descriptor")
    for column in ("median", "lowest", "highest"):
        table.add_column(column, justify="right")
    for name, value_N in described.items():
        numbers = (np.median(value_N), value_N.min(), value_N.max())
        table.add_row(name, *(f"{number:.4g}" for number in numbers))
    return table


def _outliers(
    calibration_set: CalibrationSet, outliers: Sequence[tuple[int, str, float, float]]
) -> RenderableType:
    if not outliers:
        return Text("no sample stands out")
    title = f"{len(outliers)} anomalies (robust z beyond 3.5)"
    table = Table(title=title, title_justify="left")
    for column in ("sample", "document", "what", "value", "robust z", "text"):
        table.add_column(column)
    for sample, what, value, z in outliers[:SHOWN_OUTLIERS]:
        origin = calibration_set.samples[sample]
        start = Text(" ".join(origin["text"][:60].split()))
        document = Text(str(origin["document"]))
        table.add_row(str(sample), document, what, f"{value:.3g}", f"{z:+.1f}", start)
    return table


def _duplicates(groups: Sequence[Sequence[int]]) -> Text:
    if not groups:
        return Text("no exact duplicates")
    listed = "; ".join(" = ".join(map(str, group)) for group in groups)
    return Text(f"exact duplicates, samples {listed}", style="bold")


def _overlap(calibration_set: CalibrationSet, others: Mapping[str, CalibrationSet]) -> Table:
    """Show what this set shares with others."""
    table = Table(title="overlap with other sets", title_justify="left")
    table.add_column("set")
    table.add_column("shared documents", justify="right")
    table.add_column(f"shared {WINDOW_TOKENS}-token windows", justify="right")
    for name, other in others.items():
        documents = shared_documents(calibration_set, other)
        windows = shared_windows(calibration_set, other)
        table.add_row(Text(name), str(documents), f"{windows:.1%}")
    return table
