"""The parts of a cell whose time is estimated, as they stand in a record's `timings_s`.

    describe    the dense model over the calibration set, once for each set of a model
    compress    the walk
    evaluate    windows and items

What is not: loading a model, which a worker does once, and drawing sets, which takes moments.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from calib_sweep.cell import Config
from calib_sweep.dataset.calibration.settings import longest
from calib_sweep.sweep.cost.amounts import KERNELS_OF_A_BLOCK, Amounts, Shape, compression
from calib_sweep.sweep.cost.scored import Scored, items_of, windows_of

if TYPE_CHECKING:
    from calib_sweep.method.base import Work

DESCRIBE, COMPRESS, EVALUATE = PARTS = ("describe", "compress", "evaluate")

BATCH_TOKENS = {True: 16384, False: 4096}  # where null: on a GPU, on a CPU
STEPS_OF_A_REQUEST = 6  # by lm-eval in Python, in operations on a device: its metrics
PARTIAL_PASSES = 2  # more where walk.true_sequential observes the layers of a block in turn


def width_of(model: Config) -> int:
    """Bytes of a number of a model."""
    return 4 if model.get("dtype") == "float32" else 2


def batch_tokens_of(settings: Config | None, on_gpu: bool) -> int:
    """Tokens at once, as set or as the device takes them."""
    return (settings or {}).get("batch_tokens") or BATCH_TOKENS[on_gpu]


def parts_of(
    config: Config, work: "Work", shape: Shape, *, needs_data: bool, on_gpu: bool
) -> dict[str, Amounts]:
    """Return the amounts of each part of a cell with this configuration."""
    calibration, walk, width = config["calibration"], config["walk"], width_of(config["model"])
    seq_len = longest(calibration["seq_len"])  # shorter ones are padded
    tokens = calibration["num_samples"] * seq_len if needs_data else 0
    at_once = batch_tokens_of(walk, on_gpu)
    if walk["true_sequential"] and needs_data:
        work = work._replace(passes=work.passes + PARTIAL_PASSES)
    is_dense = not work.sweeps
    compress = (
        Amounts()
        if is_dense
        else compression(shape, work, tokens, seq_len, max(at_once, seq_len), width)
    )
    described = tokens if config.get("dense_perplexity", True) else 0
    return {
        DESCRIBE: shape.forward(described, seq_len, max(at_once, seq_len), described, width),
        COMPRESS: compress,
        EVALUATE: evaluation(config["evaluation"], shape, width, on_gpu),
    }


def evaluation(settings: Config, shape: Shape, width: int, on_gpu: bool) -> Amounts:
    """Return the amounts of scoring windows and items."""
    total = Amounts()
    for scored, own in scored_of(settings, on_gpu=on_gpu).values():
        at_once = max(batch_tokens_of(own, on_gpu), scored.length)
        ran = shape.forward(scored.tokens, scored.length, at_once, scored.logits, width)
        total = total.plus(ran).plus(Amounts(steps=STEPS_OF_A_REQUEST * scored.requests))
        written = scored.writing / at_once  # one token more of each row of a batch
        kernels = written * shape.num_blocks * KERNELS_OF_A_BLOCK
        total = total.plus(Amounts(moved=written * width * shape.weights, steps=kernels))
    kept = (settings.get("divergence") or {}).get("num_tokens", 0)
    corpora = len((settings.get("perplexity") or {}).get("corpora", ()))
    return total.plus(Amounts(moved=24.0 * kept * corpora * shape.vocab))  # read, exp, products


def scored_of(
    settings: Config, *, on_gpu: bool = False
) -> Mapping[str, tuple[Scored, Config | None]]:
    """Return what an evaluation scores, with the settings that say so."""
    perplexity, zero_shot = settings.get("perplexity"), settings.get("zero_shot")
    return {
        "perplexity": (windows_of(perplexity), perplexity),
        "zero_shot": (items_of(zero_shot, on_gpu=on_gpu), zero_shot),
    }
