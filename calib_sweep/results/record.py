"""The record: everything that one cell leaves behind, as `record.json` holds it.

It is valid JSON: a number that is not finite is its name ("NaN", "Infinity", "-Infinity") in the
file, and a number again in a record that was read (`valid_json`).

A failed record may have scores: of a cell that was scored and whose files could not all be written.
No reader counts them; the cell runs again.
"""

import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, NotRequired, TypedDict

from calib_sweep.cell import Cell, Config
from calib_sweep.results.environment import Environment, describe_environment

SCHEMA = 1
STATUSES = ("done", "failed")


class CellNames(TypedDict):
    """The axes of a cell (`Cell.axes`), and what else was chosen."""

    model: str
    method: str
    dataset: NotRequired[str | None]
    seed: NotRequired[int | None]
    replicate: NotRequired[int | None]
    settings: NotRequired[Mapping[str, object] | None]  # swept or overridden keys beyond the axes


class CalibrationNote(TypedDict):
    """The calibration set of a cell; all that its card says stands beside these."""

    hash: str  # SHA-256 of its tokens
    folder: NotRequired[str | None]  # its name under results_dir/calibration; null: nowhere
    descriptors: NotRequired[Mapping[str, float | None]]
    # By corpus and task: share and samples; of a task items, too.
    overlap: NotRequired[Mapping[str, Mapping[str, float]]]


class ExpertsNote(TypedDict):
    """The calibration tokens that routers sent to an expert, over the experts of all blocks."""

    num_experts: int
    fewest: int
    median: float
    most: int
    unreached: int  # experts that got none


class RemovedNote(TypedDict):
    """What a model without the removed parts would save; biases and norms come on top."""

    weights: int
    share: float  # of those of all compressed layers


class CompressionNote(TypedDict):
    """The weights of all compressed layers, each layer weighted by its size."""

    sparsity: float | None  # fraction of zeros
    bits: float | None  # per weight; null: not on a grid
    num_weights: int
    products: str | None  # how the GPU summed
    input_quantizer: str | None  # what the layers' inputs are put through; null: nothing
    seconds: float
    propagated: str | None  # whose outputs fed the next block: compressed or dense
    removed: NotRequired[RemovedNote]  # where whole blocks, heads, neurons or experts went
    experts: NotRequired[ExpertsNote]  # where routers sent tokens to experts, and that was counted
    id: NotRequired[str]  # hash of all settings that can move the weights (`Cell.compression_id`)
    fingerprint: NotRequired[str]  # of all weights of the model that was scored


class PartNote(TypedDict):
    """A corpus or task that was scored: its scores are called metric/<its name>."""

    identity: str  # hash of all that its scores depend on, but the model
    headline: str | None  # the score that counts in acc/mean or ppl/geomean
    max_gen_toks: NotRequired[int]  # tokens that a written answer may have
    taken_from: NotRequired[str]  # the cell of the same weights that scored it


class ErrorNote(TypedDict):
    """The error that ended a cell."""

    type: str
    message: NotRequired[str | None]
    where: NotRequired[str]  # the traceback


class Record(TypedDict):
    """`record.json`, schema 1. What is not required may lack in a record from elsewhere."""

    schema: int
    status: Literal["done", "failed"]
    cell: CellNames
    scores: Mapping[str, float | None]  # null: there is none
    cell_id: NotRequired[str]
    config: NotRequired[Config]  # resolved
    inputs: NotRequired[
        Mapping[str, str | None]
    ]  # hashes of local files, and of code: "method.code"
    files: NotRequired[Mapping[str, str]]  # SHA-256 of each file beside the record
    calibration: NotRequired[CalibrationNote | None]
    compression: NotRequired[CompressionNote | None]
    stderr: NotRequired[Mapping[str, float | None]]  # of the scores that have one
    metrics: NotRequired[Mapping[str, Mapping[str, object]]]  # of a score: direction and others
    parts: NotRequired[Mapping[str, PartNote]]  # the corpora and tasks behind the scores, by name
    versions: NotRequired[Mapping[str, object]]  # of what asked, lm-eval and each task
    timings_s: NotRequired[Mapping[str, float]]
    peak_memory_bytes: NotRequired[int | None]
    environment: NotRequired[Environment]
    error: NotRequired[ErrorNote | None]
    finished_at: NotRequired[str | None]  # UTC


def scored_by(record: Record | None) -> str | None:
    """Return the engine that a record names; None where there is no record, or it names none."""
    engine = None if record is None else record.get("versions", {}).get("scorer")
    return engine if isinstance(engine, str) else None


def new_record(cell: Cell) -> Record:
    """Return the part of a record that is known before any work starts."""
    return {
        "schema": SCHEMA,
        "cell_id": cell.id,
        "status": "failed",
        "cell": {**cell.axes(), "settings": dict(cell.settings)},
        "config": cell.config,
        "inputs": {},
        "files": {},
        "calibration": None,
        "compression": None,
        "scores": {},
        "stderr": {},
        "metrics": {},
        "parts": {},
        "versions": {},
        "timings_s": {},
        "peak_memory_bytes": None,
        "environment": describe_environment(),
        "error": None,
        "finished_at": None,
    }


def describe_error(error: BaseException) -> ErrorNote:
    """Return type, message and traceback of what ended a cell."""
    return {
        "type": type(error).__name__,
        "message": str(error),
        "where": "".join(traceback.format_exception(error)),
    }


def utc_now() -> str:
    """Return the time in UTC, ISO 8601 with microseconds: its order as text is that in time."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
