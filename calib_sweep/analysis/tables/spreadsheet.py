"""Tables as CSV that a spreadsheet takes for data: no text in it is a formula.

A text that begins with = + - @, a tab or a carriage return, and is no number, gets an apostrophe
before it; other control characters are written out (as \\x1b).
"""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from calib_sweep.errors import printable

if TYPE_CHECKING:
    import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def frame_csv(frame: "pd.DataFrame") -> bytes:
    """Write twelve digits of every number: beyond, the order of a sum decides. Empty: none."""
    texts = {name: own.map(as_data) for name, own in frame.items() if own.dtype.kind not in "biuf"}
    shown = frame.assign(**{str(name): own for name, own in texts.items()})
    return shown.to_csv(index=False, lineterminator="\n", float_format="%.12g").encode()


def rows_csv(rows: Iterable[Sequence[str]]) -> bytes:
    """Write rows of text."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([as_data(cell) for cell in row] for row in rows)
    return buffer.getvalue().encode()


def as_data(cell: object) -> object:
    """Return `cell` as no spreadsheet computes it; what is no text stays as it is."""
    if not isinstance(cell, str):
        return cell
    is_formula = cell.startswith(FORMULA) and not _is_number(cell)
    return printable(f"'{cell}" if is_formula else cell)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
