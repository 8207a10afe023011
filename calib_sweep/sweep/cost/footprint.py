"""The memory of the device and the disk that a cell needs, from configurations alone.

While a model is compressed the device holds

    the model      all weights; with model.offload=blocks all but the blocks, and one block
    hidden states  of all samples, once; twice where a method compares them with the dense model's
    statistics     one for each different input of a block: I numbers, or I^2 for a Hessian, two for
                   such a method; while one of them is factorised, four copies of the largest
    a batch        what the widest layers read and write for walk.batch_tokens; for such a method
                   what all layers read as well, until the dense model has read the same

and while it is scored the model, a batch's layers and float32 log-probabilities. The larger of the
two counts.
"""

from typing import TYPE_CHECKING, NamedTuple

from calib_sweep.cell import Config
from calib_sweep.dataset.calibration.settings import longest
from calib_sweep.sweep.cost.amounts import Shape
from calib_sweep.sweep.cost.parts import batch_tokens_of, scored_of, width_of

if TYPE_CHECKING:
    from calib_sweep.method.base import Work

COPIES_OF_A_FACTOR = 4
LAYERS_OF_A_BATCH = 6  # widest activations that are alive at once
LOG_PROBS, COPIES = 2**26, 3  # numbers that a scorer makes at once: logits, float32, result
CPU_PROCESS = 0.6e9  # bytes that Python and its libraries take in host memory

RECORD_BYTES = 20_000  # record, configuration, log, headers of tables
ITEM_BYTES, LAYER_BYTES = 110, 100  # a row of items.parquet and of layers.parquet
SET_BYTES = 14  # of a calibration token: its id, and the text that it came from


class Memory(NamedTuple):
    """Bytes on the device at the peak of a cell, and what takes them."""

    model: float
    hidden: float
    statistics: float
    batch: float

    @property
    def total(self) -> float:
        return sum(self)


def device_memory(config: Config, work: "Work", shape: Shape, *, on_gpu: bool) -> Memory:
    """Return the device memory of a cell with this configuration."""
    width, calibration = width_of(config["model"]), config["calibration"]
    block = shape.weights / shape.num_blocks
    kept = shape.parameters - (shape.weights - block if config["model"].get("offload") else 0)
    model = float(width) * kept
    seq_len = longest(calibration["seq_len"])
    tokens = calibration["num_samples"] * seq_len if work.passes else 0
    at_once = max(batch_tokens_of(config["walk"], on_gpu), seq_len) if tokens else 0
    wide = LAYERS_OF_A_BATCH * width * shape.widest
    sizes = [(size, num / shape.num_blocks) for size, num in shape.inputs]
    statistics = 4.0 * sum(size * num for size, num in sizes)
    if work.solves:
        largest = max(size for size, _ in sizes)
        statistics = 4.0 * sum(size**2 * num for size, num in sizes) * work.streams
        statistics += 4.0 * COPIES_OF_A_FACTOR * largest**2
    hidden = float(width) * tokens * shape.hidden * work.streams
    waiting = width * sum(size * num for size, num in sizes) * (work.streams - 1)
    walk = Memory(model, hidden, statistics, (wide + waiting) * min(at_once, tokens))
    return max(
        walk,
        _scoring(config["evaluation"], model, wide, shape.vocab, on_gpu),
        key=lambda m: m.total,
    )


def _scoring(settings: Config, model: float, wide: float, vocab: int, on_gpu: bool) -> Memory:
    scored = scored_of(settings).values()
    tokens = max(
        (
            min(max(batch_tokens_of(own, on_gpu), one.length), one.tokens)
            for one, own in scored
            if one.tokens
        ),
        default=0.0,
    )
    log_probs = 4.0 * COPIES * min(LOG_PROBS, tokens * vocab)
    return Memory(model, 0.0, 0.0, wide * tokens + log_probs)


def checkpoint_bytes(config: Config, work: "Work", shape: Shape) -> float:
    """Return the disk that the state of a walk takes at most, while its cell runs.

    All blocks, and the hidden states twice: the new ones are written beside the last.
    """
    if config.get("checkpoint") is None:
        return 0.0
    width, calibration = width_of(config["model"]), config["calibration"]
    tokens = calibration["num_samples"] * longest(calibration["seq_len"]) if work.passes else 0
    return width * (shape.weights + 2.0 * tokens * shape.hidden * work.streams)


class Disk(NamedTuple):
    """Bytes that cells leave behind."""

    records: float  # of a cell
    reference: float  # of a dense cell: float16 log-probabilities
    calibration: float  # of a calibration set
    model: float  # of a saved model, packed or not at the width of the dense one


def disk(config: Config, work: "Work", shape: Shape | None) -> Disk:
    """Return what a cell with this configuration leaves on the disk."""
    evaluation, calibration = config["evaluation"], config["calibration"]
    scored = [one for one, _ in scored_of(evaluation).values()]
    layers = sum(num for *_, num in shape.layers) if shape else 0
    rows = sum(one.rows for one in scored)
    kept = (evaluation.get("divergence") or {}).get("num_tokens", 0)
    corpora = len((evaluation.get("perplexity") or {}).get("corpora", ()))
    tokens = calibration["num_samples"] * longest(calibration["seq_len"]) if work.passes else 0
    model = 0.0
    if config["save_model"] is not None and shape and work.sweeps:
        model = width_of(config["model"]) * shape.parameters
    return Disk(
        records=RECORD_BYTES + ITEM_BYTES * rows + LAYER_BYTES * layers,
        reference=2.0 * kept * corpora * (shape.vocab if shape else 0),
        calibration=float(SET_BYTES) * tokens,
        model=model,
    )
