"""Show calibration sets to a person at a terminal.

Only layout is here; the numbers are made in `inspected`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from calib_sweep.dataset.calibration.overlap import CONTAMINATION_TOKENS, in_words, is_seen
from calib_sweep.inspection.inspected import Inspected, Inspection, Seen, Shared
from calib_sweep.inspection.shared import WINDOW_TOKENS
from calib_sweep.inspection.words import (
    OF_SET,
    beginning,
    card_rows,
    characters_in_words,
    duplicates_in_words,
    languages_in_words,
    number,
    title_of_sample,
)
from calib_sweep.wording import counted

SHOWN_CHARACTERS = 300
SHOWN_UNUSUAL, SHOWN_REASONS = 12, 2
SHOWN_PAIRS = 12


def show(inspection: Inspection, num_shown: int = 3) -> RenderableType:
    """Everything worth a look before sets are used, for a rich console.

    `num_shown`: samples of each set that are printed in part.
    """
    parts = [part for one in inspection.sets for part in _set(one, num_shown)]
    parts.append(_numbers(inspection.sets))
    if inspection.shared:
        parts.append(_shared(inspection.shared))
    return Group(*parts)


def _set(one: Inspected, num_shown: int) -> list[RenderableType]:
    return [
        _card(one),
        *_samples(one, num_shown),
        _descriptors(one.described),
        Text(f"languages: {languages_in_words(one.languages)}"),
        Text(f"characters: {characters_in_words(one.characters)}"),
        _unusual(one),
        Text(duplicates_in_words(one.duplicates), style="bold" if one.duplicates else ""),
        *_near(one),
        *_seen(one.seen),
    ]


def _card(one: Inspected) -> Panel:
    """Show where the set is from and how it was drawn."""
    table = Table.grid(padding=(0, 2))
    for key, value in card_rows(one.set).items():
        table.add_row(Text(key, style="bold"), Text(value))
    return Panel(table, title=escape(f"calibration set {one.name}"), expand=False)


def _samples(one: Inspected, num_shown: int) -> list[Panel]:
    return [
        Panel(
            Text(beginning(sample["text"], SHOWN_CHARACTERS)),
            title=escape(title_of_sample(one.set, index)),
            title_align="left",
        )
        for index, sample in enumerate(one.set.samples[:num_shown])
    ]


def _descriptors(described: Mapping[str, np.ndarray]) -> Table:
    """Median and range of each descriptor."""
    table = Table(title="samples", title_justify="left")
    table.add_column("descriptor")
    for column in ("median", "lowest", "highest"):
        table.add_column(column, justify="right")
    for name, value_N in described.items():
        numbers = (np.nanmedian(value_N), np.nanmin(value_N), np.nanmax(value_N))
        table.add_row(name, *(f"{value:.4g}" for value in numbers))
    return table


def _numbers(sets: Sequence[Inspected]) -> Table:
    """Descriptors of whole sets, a column for each set."""
    table = Table(title="whole sets", title_justify="left")
    table.add_column("descriptor")
    for one in sets:
        table.add_column(escape(one.name), justify="right")
    for name in OF_SET:
        if any(name in one.numbers for one in sets):
            table.add_row(name, *(number(one.numbers.get(name)) for one in sets))
    return table


def _unusual(one: Inspected) -> RenderableType:
    if not one.unusual:
        return Text("no sample stands out")
    more = f", the first {SHOWN_UNUSUAL}" if len(one.unusual) > SHOWN_UNUSUAL else ""
    title = f"{counted(len(one.unusual), 'unusual sample')}{more}"
    table = Table(title=title, title_justify="left")
    for column in ("sample", "document", "why", "text"):
        table.add_column(column)
    for found in one.unusual[:SHOWN_UNUSUAL]:
        origin = one.set.samples[found.sample]
        start = Text(" ".join(beginning(origin["text"], 60).split()))
        why = Text("; ".join(found.reasons[:SHOWN_REASONS]))
        table.add_row(str(found.sample), Text(str(origin["document"])), why, start)
    return table


def _near(one: Inspected) -> list[Text]:
    if not one.near:
        return []
    told = [f"{p.one} and {p.other} (about {p.likeness:.0%})" for p in one.near[:SHOWN_PAIRS]]
    more = f" and {len(one.near) - SHOWN_PAIRS} more" if len(one.near) > SHOWN_PAIRS else ""
    return [Text(f"near duplicates, samples {', '.join(told)}{more}", style="bold")]


def _seen(seen: Seen) -> list[Text]:
    """Say what is shared with text that is scored, or that nothing is."""
    told = [in_words(name, found) for name, found in seen.items() if is_seen(found)]
    if told:
        return [Text(f"text that is scored: {'; '.join(told)}", style="bold")]
    if not seen:
        return []
    name, found = max(seen.items(), key=lambda one: one[1]["share"])
    most = f"most of all {found['share']:.1%} of its {CONTAMINATION_TOKENS}-token runs in {name}"
    return [Text(f"shared with {counted(len(seen), 'text')} that are scored: {most}")]


def _shared(shared: Sequence[Shared]) -> Table:
    """Show what each two sets have in common."""
    table = Table(title="what sets share", title_justify="left")
    table.add_column("set")
    table.add_column("other set")
    table.add_column("shared documents", justify="right")
    table.add_column(f"shared {WINDOW_TOKENS}-token windows", justify="right")
    table.add_column("near duplicates", justify="right")
    for pair in shared:
        windows = f"{max(pair.windows):.1%}"
        names = (Text(pair.one), Text(pair.other))
        table.add_row(*names, str(pair.documents), windows, str(pair.near))
    return table
