"""A cell as the analysis reads it: its record, or a stub where none can be read."""

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from calib_sweep.results.environment import Environment
from calib_sweep.results.record import CalibrationNote, CompressionNote, ErrorNote, PartNote


class Axes(TypedDict):
    """The axes of a cell; in a stub all of them are None."""

    model: str
    method: str
    dataset: str | None
    seed: NotRequired[int | None]
    replicate: NotRequired[int | None]
    settings: NotRequired[Mapping[str, object] | None]


class ReadCell(TypedDict):
    """The fields of `Record` that the analysis looks at; those not required may lack."""

    cell_id: str
    status: str  # done, failed, refused, contained; of a stub: unreadable, unfinished
    cell: Axes
    scores: Mapping[str, float | None]
    folder: NotRequired[str]  # its name; none: that of the cell
    config: NotRequired[Mapping[str, object]]
    files: NotRequired[Mapping[str, str]]
    calibration: NotRequired[CalibrationNote | None]
    compression: NotRequired[CompressionNote | None]
    timings_s: NotRequired[Mapping[str, float]]
    peak_memory_bytes: NotRequired[int | None]
    stderr: NotRequired[Mapping[str, float | None]]
    metrics: NotRequired[Mapping[str, Mapping[str, object]]]  # what is known of its scores
    parts: NotRequired[Mapping[str, PartNote]]
    versions: NotRequired[Mapping[str, object]]
    environment: NotRequired[Environment]
    timings_s: NotRequired[Mapping[str, float]]
    error: NotRequired[ErrorNote | None]
    finished_at: NotRequired[str | None]
