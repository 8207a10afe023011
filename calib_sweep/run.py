"""Run one cell: load, draw, compress, score, record.

model, tokenizer   <- checkpoint                      kept between cells, weights restored
calibration set    <- (dataset, design, seed)         drawn once, shared by every method
its descriptors    <- dense model                     once for each model and set
compressed model   <- walk(model, method, set)        per block: observe, compress, propagate
scores             <- evaluation(compressed model)    against the dense model's reference; of what
                                                      was scored before (`kin`) only the rest
record             -> store                           last, once, atomically
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import yaml

from calib_sweep import atomic
from calib_sweep.cell import Cell
from calib_sweep.cell_files import Made, describe_set, write_model, write_tables
from calib_sweep.checkpoints import checkpoint_of
from calib_sweep.comparison import load_reference
from calib_sweep.compression.layer import summarise_layers
from calib_sweep.compression.nothing_kept import NothingKept
from calib_sweep.compression.walk import walk
from calib_sweep.console import CellProgress
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.dataset.calibration.weighting import token_weights
from calib_sweep.drawing import DenseModel
from calib_sweep.errors import WorkerLostError
from calib_sweep.evaluation.earlier import earlier_parts, on_all
from calib_sweep.evaluation.kept_parts import KeptParts
from calib_sweep.evaluation.parts import identity
from calib_sweep.evaluation.scoring import Scores
from calib_sweep.evaluation.set_perplexity import describe
from calib_sweep.handed import beside
from calib_sweep.inputs import inputs_of
from calib_sweep.interruption import raise_if_told
from calib_sweep.model.fingerprint import weights_fingerprint
from calib_sweep.model.hub import commit_of
from calib_sweep.model.saving import refuse_what_no_checkpoint_holds
from calib_sweep.parts.interfaces import Parts
from calib_sweep.places import CONFIG, ITEMS, LAYERS, LOG, REFERENCE, SCORED
from calib_sweep.ranks import Ranks
from calib_sweep.results import environment
from calib_sweep.results.cell_log import log_to, place_of
from calib_sweep.results.files import NOT_KEPT, hash_files
from calib_sweep.results.kin import Kin, kin_of_cell, require_one_model
from calib_sweep.results.record import (
    CompressionNote,
    Record,
    describe_error,
    new_record,
    scored_by,
    utc_now,
)
from calib_sweep.results.store import Store
from calib_sweep.session import Session
from calib_sweep.timings import Timings
from calib_sweep.weights import made_before

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

# Third-party code may draw from global generators. Scores do not depend on this number (tested).
SEAT_BELT_SEED = 0


def run_cell(
    cell: Cell, store: Store, session: Session, progress: CellProgress | None = None
) -> Record:
    """Run `cell`, write its record and return it; a failure is a record too.

    Of ranks that share the cell every one returns the same scores; the first one writes.
    """
    ranks = session.ranks
    log_path = _begin_folder(cell, store) / LOG if ranks.is_first else None
    record = new_record(cell)
    try:
        with log_to(log_path) if log_path else nullcontext():
            parts = session.builder.parts(cell)
            inputs = record["inputs"] = ranks.from_rank(0, lambda: inputs_of(parts))
            _fill(record, cell, parts, inputs, store, session, progress or CellProgress())
    except Exception as error:  # the cell boundary: one failing cell must not end the sweep
        raise_if_told()  # what a library made of the signal is no failure of the cell
        session.forget()
        if device_is_lost():  # not the cell's fault, and no later one can run in this process
            raise WorkerLostError(
                f"the GPU no longer answers since {cell.title} ({error}); the cell is left to "
                "other workers. Run the same command again on a healthy GPU."
            ) from error
        ranks.raised(error)
        record["error"], record["status"] = describe_error(error), "failed"
        at = f" (at {place})" if (place := place_of(error)) else ""
        log.error("%s failed: %s: %s%s", cell.title, type(error).__name__, error, at)
    raise_if_told()  # a library may have caught the signal and gone on with half of its work
    record["finished_at"] = utc_now()
    if not ranks.is_first:
        return record
    store.write(cell, record)
    if record["status"] == "done":
        store.clear_unfinished(cell)
        log.info("%s done in %.1f s", cell.title, sum(record.get("timings_s", {}).values()))
    return record


def _begin_folder(cell: Cell, store: Store) -> Path:
    """Make the cell's folder, with its configuration."""
    folder = store.cell_folder(cell)
    atomic.make_folder(folder)
    atomic.write(folder / CONFIG, yaml.safe_dump(cell.config, sort_keys=False))
    return folder


def device_is_lost() -> bool:
    """Tell whether this process used a GPU that no longer answers."""
    if not torch.cuda.is_initialized():
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False


def _fill(
    record: Record,
    cell: Cell,
    parts: Parts,
    inputs: Mapping[str, str | None],
    store: Store,
    session: Session,
    progress: CellProgress,
) -> None:
    """Do everything between the configuration and the scores: the method section.

    The record, born as failed, is done when the scores and all that goes with them are written.
    """
    ranks = session.ranks
    torch.manual_seed(SEAT_BELT_SEED)
    if cell.config["num_threads"] is not None:
        torch.set_num_threads(cell.config["num_threads"])
    timings = Timings()
    with timings.of("load"):
        dense = load_reference(store, cell, parts, inputs, session)
        model = session.model(parts.model, inputs["model"])
        tokenizer = session.tokenizer(parts.model, inputs["model"])
        suite = session.suite(parts.evaluation, inputs["evaluation"], tokenizer, store.results_dir)
    with timings.of("draw"):
        loaded = DenseModel.of(cell, inputs["model"], parts.code.get("model"), model)
        drawn = ranks.from_rank(0, lambda: parts.draw(store.results_dir, tokenizer, loaded))
    with timings.of("describe"):  # before the walk, as long as the model is dense
        code = parts.code.get("evaluation")
        found = None if cell.is_dense else ranks.from_rank(0, lambda: store.find(cell.dense()))
        engine = scored_by(found)
        scorer = suite.scorer(model, engine, ranks)
        descriptors = describe(drawn, scorer, cell, loaded.weights, code, ranks)
        drawn_hash = None if drawn is None else drawn.hash
        kin = ranks.from_rank(0, lambda: kin_of_cell(store, cell, inputs, drawn_hash))
        wanted = suite.identities(scorer, dense)
        known = on_all(ranks, lambda: earlier_parts(kin, wanted, code))
    environment.start_peak_memory(str(model.device))
    checkpoint = checkpoint_of(cell, store, model, drawn, inputs, ranks)
    with timings.of("compress", lambda: checkpoint.seconds_before):
        made = made_before(model, cell, parts.model, kin, ranks, is_asked=not suite.is_all(known))
        if made is None:
            model = session.model(parts.model, inputs["model"], parts.prepare)
            made = _compress(model, cell, parts, drawn, kin, progress, checkpoint, ranks)
    of = {"weights": made.note.get("fingerprint"), "machine": _describe_machine(model)}
    of |= {"inputs": inputs, "set": drawn_hash}  # they make what inputs of layers are put through
    kept = KeptParts(store.cell_folder(cell) / SCORED, wanted, identity(**of))
    with timings.of("evaluate", lambda: kept.seconds_before):
        known |= on_all(ranks, kept.read)
        scorer, keep = suite.scorer(model, engine, ranks), kept.keep if ranks.is_first else None
        scores = suite.score(scorer, dense, progress.on_score, known, keep)
    # First of all: what cannot be written below must not take the scores along.
    record["calibration"] = describe_set(drawn, descriptors, suite)
    record["compression"] = made.note
    _note(record, scores, timings, model)

    def write(partial: Path) -> None:
        write_model(partial, model, tokenizer, parts.method, made, record)

    ranks.from_rank(0, lambda: _write_files(record, cell, store, made, scores, write))
    record["status"] = "done"


def _note(record: Record, scores: Scores, timings: Timings, model: "PreTrainedModel") -> None:
    """Write into the record what was scored, how long it took and on what."""
    record.update(
        {
            "scores": scores.scores,
            "stderr": scores.stderr,
            "metrics": scores.metrics,
            "parts": scores.parts,
            "versions": scores.versions,
            "timings_s": {key: round(value, 3) for key, value in timings.seconds.items()},
            "peak_memory_bytes": environment.peak_memory_bytes(str(model.device)),
            "environment": _describe_machine(model),
        }
    )


def _describe_machine(model: "PreTrainedModel") -> environment.Environment:
    """Describe what the model has been scored on."""
    return {
        **environment.describe_environment(),
        **environment.describe_device(str(model.device)),
        "model_commit": commit_of(model),
    }


def _compress(
    model: "PreTrainedModel",
    cell: Cell,
    parts: Parts,
    drawn: CalibrationSet | None,
    kin: Sequence[Kin],
    progress: CellProgress,
    checkpoint: NothingKept,
    ranks: Ranks,
) -> Made:
    """Compress the model in place; refuse before it is scored what could not be saved."""
    tokens_NT, lengths_N, weights_NT = _data_of(drawn, parts)
    form, start = cell.config["save_model"], time.perf_counter()
    layers = walk(
        model,
        parts.method,
        tokens_NT,
        activations=parts.activations,
        lengths_N=lengths_N,
        weights_NT=weights_NT,
        settings=parts.walk,
        on_block=progress.on_block,
        keep_grids=form not in (None, "dense"),
        beside=beside(parts.model, lambda: drawn),
        ranks=ranks,
        checkpoint=checkpoint,
    )
    if form is not None:
        refuse_what_no_checkpoint_holds(model)
    propagated = parts.walk.propagated(parts.method) if cell.needs_data else None
    seconds = time.perf_counter() - start + checkpoint.seconds_before
    found = summarise_layers(layers, seconds, propagated)
    fingerprint = weights_fingerprint(model)
    require_one_model(cell, kin, fingerprint, "compressed again")
    note: CompressionNote = {**found, "id": cell.compression_id, "fingerprint": fingerprint}
    return Made(note, layers)


def _data_of(drawn: CalibrationSet | None, parts: Parts) -> Sequence[torch.Tensor | None]:
    """Tokens, lengths (of padded samples) and weights (of tokens that do not count once)."""
    if drawn is None:
        return None, None, None
    assert parts.calibration is not None
    weights_NT = token_weights(drawn, parts.calibration.weighting)
    data = drawn.tokens_NT, drawn.lengths_N, weights_NT
    return [None if array is None else torch.as_tensor(array) for array in data]


def _write_files(
    record: Record,
    cell: Cell,
    store: Store,
    made: Made,
    scores: Scores,
    write: Callable[[Path], None],
) -> None:
    """Write what the record stands for, and the model (by `write`) where it is to be kept."""
    _write_results(record, cell, store, made, scores)
    if (saved := store.model_folder(cell)) is not None:
        with atomic.replacing_folder(saved) as partial:  # one there is of a worker that died
            write(partial)


def _write_results(record: Record, cell: Cell, store: Store, made: Made, scores: Scores) -> None:
    """Write tables, and hash them.

    A finished record stands for the files that are there. Of its cell only the model is wanted, and
    that has to score the same: `StoreError` otherwise, with the second record beside the first.
    """
    folder, before = store.cell_folder(cell), store.find(cell)
    if before is not None and before["status"] == "done":
        files = {name: NOT_KEPT for name in (ITEMS, LAYERS, REFERENCE)}
        second: Record = {**record, "status": "done", "files": files, "finished_at": utc_now()}
        store.write(cell, second)
        return
    if not folder.is_dir():  # somebody has deleted it while the cell ran
        _begin_folder(cell, store)
    write_tables(folder, made, scores)
    record["files"] = hash_files(folder)
