"""Draw a calibration set: a design says which documents, a window says which of their tokens.

A draw is a function of documents, settings, tokenizer and seed. It does not depend on the method,
on other draws, on the process, or on any generator that somebody else may have touched.

Shapes: N = samples, T = tokens in a sample (`seq_len`).
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep.dataset.calibration.calibration_set import CalibrationSet, Card, ends_of
from calib_sweep.dataset.calibration.pool import pool_of
from calib_sweep.dataset.calibration.reference import reference_packed, reference_slices
from calib_sweep.dataset.calibration.settings import Calibration, check_seed
from calib_sweep.dataset.calibration.shortage import pool_too_small
from calib_sweep.dataset.calibration.windows import (
    Cut,
    Piece,
    Source,
    cut_heads,
    cut_packed,
    cut_slices,
)
from calib_sweep.dataset.documents.documents import Documents, in_memory
from calib_sweep.dataset.documents.marked import without_marks
from calib_sweep.dataset.documents.tokenizing import special_token, tokenizer_hash
from calib_sweep.errors import ConfigError
from calib_sweep.seeding import stream

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def draw_from_documents(
    documents: Documents | Sequence[str],
    tokenizer: "PreTrainedTokenizerBase",
    calibration: Calibration,
    seed: int,
    provenance: Mapping[str, object],
    name: str,
    streams: str | None = None,
) -> CalibrationSet:
    """Draw the set of `seed` from `documents`.

    `name` labels the dataset; `streams` names the random streams (None: the label does).
    """
    if not isinstance(documents, Documents):
        documents = in_memory(documents)
    source = Source(
        name=name,
        streams=name if streams is None else streams,
        documents=documents,
        tokenizer=tokenizer,
        calibration=calibration,
    )
    return draw_from_source(source, seed, provenance)


def draw_from_source(source: Source, seed: int, provenance: Mapping[str, object]) -> CalibrationSet:
    """Draw the set of `seed` from a source."""
    check_seed(seed)
    tokenizer, calibration = source.tokenizer, source.calibration
    if not source.documents:
        raise ConfigError(
            f"dataset={source.name}: expected documents, but it has none. Choose another."
        )
    try:
        cut = cut_for(source, seed)
    finally:
        source.tokenised.keep()
    if len(cut.pieces) < calibration.num_samples:
        raise pool_too_small(source, cut, seed)
    marked_NT, lengths_N = _assemble(source, cut.pieces)
    tokens_NT, answers_NT = without_marks(marked_NT)
    rows = zip(tokens_NT, ends_of(tokens_NT, lengths_N), strict=True)
    texts = [str(tokenizer.decode(row[:end])) for row, end in rows]
    pool = pool_of(cut, calibration)
    return CalibrationSet(
        tokens_NT=tokens_NT,
        lengths_N=lengths_N,
        answers_NT=answers_NT if source.tells_answers else None,
        samples=[
            {**piece.origin(), "text": text} for piece, text in zip(cut.pieces, texts, strict=True)
        ],
        card=make_card(source.name, provenance, pool, calibration, seed, tokenizer),
    )


def make_card(
    name: str,
    provenance: Mapping[str, object],
    pool: Mapping[str, object] | None,
    calibration: Calibration,
    seed: int,
    tokenizer: "PreTrainedTokenizerBase",
) -> Card:
    """Return the card of a set: where it is from, how it was drawn, with which software."""
    return {
        "dataset": name,
        "provenance": dict(provenance),
        "pool": None if pool is None else dict(pool),
        "design": calibration.design,
        "window": calibration.window,
        "bos": calibration.bos,
        "seed": seed,
        "num_samples": calibration.num_samples,
        "seq_len": calibration.seq_len,
        "tokenizer": {
            "hash": tokenizer_hash(tokenizer),
            "class": type(tokenizer).__name__,
            "name": tokenizer.name_or_path or None,
            "vocabulary": len(tokenizer),
        },
        "versions": {package: version(package) for package in ("tokenizers", "transformers")},
    }


def cut_for(source: Source, seed: int) -> Cut:
    """Return the samples that the design gives to this seed, not yet joined with special tokens."""
    design, window = source.calibration.design, source.calibration.window
    if (design, window) != ("reference", "pack"):  # which reads all documents as one text
        source.tokenised.complete_if_little()
    if design == "reference":
        draw = reference_slices if window == "slice" else reference_packed
        return draw(source, seed)
    count, streams = source.calibration.num_samples, source.streams
    if design == "disjoint":  # one order for all seeds, seed k takes the k-th run
        shuffle, first, rotation = stream("calibration/disjoint", streams), seed * count, None
    else:  # independent: an order per seed, always from its beginning
        shuffle, first = stream("calibration/independent", streams, seed), 0
        rotation = stream("calibration/rotation", streams, seed)
    order = shuffle.permutation(len(source.documents))
    if window == "slice":
        return cut_slices(source, order, first, count, seed)
    if window == "document":
        return cut_heads(source, order, first, count)
    return cut_packed(source, order, first, count, rotation)


def _assemble(source: Source, pieces: list[Piece]) -> tuple[np.ndarray, np.ndarray | None]:
    """Tokens [N, T], marked as the pieces are; of whole documents their lengths [N] unpadded."""
    tokenizer, calibration = source.tokenizer, source.calibration
    head = np.zeros(0, dtype=np.int64)
    if calibration.bos == "sample":
        setting = "calibration.bos='sample'"
        head = np.array([special_token(tokenizer, "bos", setting, "which begins every sample")])
    rows = [np.concatenate([head, piece.tokens], dtype=np.int64) for piece in pieces]
    if calibration.window != "document":
        return np.stack(rows), None
    padding = tokenizer.pad_token_id
    if padding is None:
        setting = "calibration.window='document'"
        padding = special_token(tokenizer, "eos", setting, "or a padding token, to fill short ones")
    tokens_NT = np.full((len(rows), calibration.seq_len), padding, dtype=np.int64)
    for sample, row in enumerate(rows):
        tokens_NT[sample, : len(row)] = row
    return tokens_NT, np.array([len(row) for row in rows], dtype=np.int64)
