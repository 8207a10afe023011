"""Calibration sets on disk: drawn once, shared by every method, checked whenever they are read.

    results_dir/calibration/<address>/tokens.safetensors    tokens [N, T]; lengths [N] where padded;
                                                            answers [N, T] where told
                                      samples.jsonl         document, offset, text of each sample
                                      card.json             provenance, pool, settings, hashes,
                                                            descriptors of the tokens

The address is a hash of everything that the tokens depend on, so it is known before drawing and two
processes that want the same set meet at the same folder. A folder appears whole or not at all.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import logging
import shlex
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from calib_sweep import atomic, valid_json
from calib_sweep.cell import kind_of
from calib_sweep.dataset.base import Dataset
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet, Card
from calib_sweep.dataset.calibration.descriptors import describe_tokens, vocabulary_of
from calib_sweep.dataset.calibration.lengths import draw_set
from calib_sweep.dataset.calibration.own_tokenizer import own_tokenizer
from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.dataset.documents.keeping import kept_in
from calib_sweep.dataset.documents.tokenizing import tokenizer_hash
from calib_sweep.errors import ConfigError, StoreError
from calib_sweep.places import CALIBRATION, CARD, SAMPLES, TOKENS, expanded
from calib_sweep.wording import typed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

# Part of every address, by window. Raise it when the same settings come to mean other tokens.
DRAW_VERSIONS = {"slice": 2, "pack": 3, "document": 2}

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
ASIDE = ".broken-"  # in the name of a folder that was set aside


class DamagedSetError(StoreError):
    """A folder that does not hold the calibration set that was written into it."""

    def __init__(self, folder: Path, what: str) -> None:
        self.what = what
        super().__init__(
            f"calibration set {folder} is damaged: {what}. Delete that folder to have it drawn "
            "again; cells that used the undamaged set keep its hash in their records."
        )


def draw_or_load(
    results_dir: Path,
    dataset: Dataset,
    tokenizer: "PreTrainedTokenizerBase",
    calibration: Calibration,
    seed: int,
    code: str | None = None,
) -> CalibrationSet:
    """Return the set of this dataset and seed: the one on disk, or one that is drawn and kept.

    `code`: hash of the code of the dataset's classes, where some are not ours.
    """
    folder = folder_of(results_dir, dataset, tokenizer, calibration, seed, code)
    if (kept := load_kept(folder)) is not None:
        return kept
    with own_tokenizer(tokenizer) as own, kept_in(results_dir):
        drawn = keep(draw_set(dataset, own, calibration, seed), folder, dataset.name, seed)
    return load_kept(folder) or drawn  # somebody else may have kept theirs first


def folder_of(
    results_dir: Path,
    dataset: Dataset,
    tokenizer: "PreTrainedTokenizerBase",
    calibration: Calibration,
    seed: int,
    code: str | None,
    weights: Mapping[str, object] | None = None,
) -> Path:
    """Return where the set is kept that is described by these, as `describe_draw` takes them."""
    kept_in = Path(results_dir) / CALIBRATION
    _refuse_reading_from(kept_in, dataset)
    return kept_in / address(describe_draw(dataset, tokenizer, calibration, seed, code, weights))


def keep(drawn: CalibrationSet, folder: Path, name: str, seed: int) -> CalibrationSet:
    """Write the set of a dataset and seed into `folder`; return it with place and descriptors."""
    size = vocabulary_of(drawn.card)
    descriptors = describe_tokens(drawn.tokens_NT, drawn.lengths_N, size)
    drawn = dataclasses.replace(drawn, card=drawn.card | {"descriptors": descriptors})
    save_set(drawn, folder)
    log.info("calibration set %s seed %d: hash %s in %s", name, seed, drawn.hash[:12], folder)
    return dataclasses.replace(drawn, folder=folder)


def load_kept(folder: Path) -> CalibrationSet | None:
    """Return the set that was drawn before, or None; a damaged one is set aside, to be redrawn.

    One that this user may not read is drawn for each cell: the seed fixes its tokens.
    """
    try:
        return load_or_set_aside(folder)
    except StoreError as error:  # somebody else's
        log.warning("%s Until then it is drawn for each cell.", error)
    return None


def load_or_set_aside(folder: Path) -> CalibrationSet | None:
    """Return the set that was drawn before, or None; `StoreError` where it may not be read."""
    if not folder.exists():
        return None
    try:
        return load_set(folder)
    except DamagedSetError as damage:
        aside = folder.with_name(f"{folder.name}{ASIDE}{uuid.uuid4().hex[:8]}")
        with contextlib.suppress(FileNotFoundError):  # somebody else has just set it aside
            folder.rename(aside)
        told = "calibration set %s is damaged: %s; it was kept as %s and is drawn again"
        log.warning(told, folder, damage.what, aside.name)
    return None


def _refuse_reading_from(kept_in: Path, dataset: Dataset) -> None:
    """Every draw adds a folder to `kept_in`, so what seed k finds there would change as it runs."""
    for path in _paths(_describe(dataset, without_path=False)):
        if expanded(path).resolve() == kept_in.resolve():
            raise ConfigError(
                f"dataset.path={path!r}: expected a folder that stays as it is, but this is where "
                "this sweep keeps its calibration sets. Copy the sets that you want into a folder "
                f"of their own, or name one: {typed('dataset.path', path.rstrip('/') + '/FOLDER')}."
            )


def _paths(described: object) -> list[str]:
    """Return what stands under `path` anywhere in a described dataset."""
    if isinstance(described, list):
        return [path for part in described for path in _paths(part)]
    if not isinstance(described, dict):
        return []
    own = [described["path"]] if isinstance(described.get("path"), str) else []
    return own + [path for part in described.values() for path in _paths(part)]


def describe_draw(
    dataset: Dataset,
    tokenizer: "PreTrainedTokenizerBase",
    calibration: Calibration,
    seed: int,
    code: str | None,
    weights: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """Describe everything that the tokens of a set depend on by plain values.

    `code`: hash of the code of the dataset's classes, where some are not ours: what changes in ours
    raises `DRAW_VERSIONS`. `weights`: what those of the model depend on, where it is asked.
    """
    fingerprint = dataset.fingerprint()
    settings = dataclasses.asdict(calibration)
    del settings["weighting"]  # which tokens count moves none of them
    if not calibration.lengths:
        del settings["lengths"]
    of_some: dict[str, object] = {} if weights is None else {"weights": dict(weights)}
    of_some |= {} if code is None else {"code": code}
    if tokenizer.chat_template:  # no rule of its tokens; models that share these differ in it
        of_some["chat_template"] = tokenizer.chat_template
    return of_some | {
        "draw_version": DRAW_VERSIONS[calibration.window],
        "dataset": _describe(dataset, without_path=fingerprint is not None),
        "fingerprint": fingerprint,
        "calibration": settings,
        "seed": seed,
        "tokenizer": tokenizer_hash(tokenizer),
    }


def address(identity: Mapping[str, object]) -> str:
    """The folder name that belongs to a draw."""
    content = valid_json.dumps(identity, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()[:20]


def save_set(calibration_set: CalibrationSet, folder: Path) -> None:
    """Write a set into `folder`, all at once. A set that is there already stays as it is."""
    from safetensors.numpy import save

    tensors = {"tokens": calibration_set.tokens_NT}
    if calibration_set.lengths_N is not None:
        tensors["lengths"] = calibration_set.lengths_N
    if calibration_set.answers_NT is not None:
        tensors["answers"] = calibration_set.answers_NT
    lines = "".join(valid_json.dumps(s, ensure_ascii=False) + "\n" for s in calibration_set.samples)
    card = {
        **calibration_set.card,
        "hash": calibration_set.hash,
        "samples_sha256": hashlib.sha256(lines.encode()).hexdigest(),
    }
    card["card_sha256"] = _card_sha256(card)
    try:
        atomic.make_folder(folder.parent)
        with atomic.new_folder(folder) as partial:
            # Not save_file, which hides why a disk takes no more.
            (partial / TOKENS).write_bytes(save(tensors))
            (partial / SAMPLES).write_bytes(lines.encode())
            (partial / CARD).write_text(valid_json.dumps(card, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
        raise ConfigError(
            f"results_dir={str(folder.parent.parent)!r}: expected a folder that can be written "
            f"({error.strerror}). Name a folder of yours. Example: results_dir=my_results."
        ) from error


def load_set(folder: Path) -> CalibrationSet:
    """Read a set and prove that its tokens and samples are the ones that were written."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    folder = Path(folder)
    try:
        card = dict(json.loads((folder / CARD).read_text(encoding="utf-8")))
        lines = (folder / SAMPLES).read_bytes()
        tensors = load_file(folder / TOKENS)
        whole = card.pop("card_sha256", None)  # sets of earlier versions have none
        is_changed = whole is not None and whole != _card_sha256(card)
        wanted, wanted_samples = str(card.pop("hash")), card.pop("samples_sha256")
        loaded = CalibrationSet(
            tokens_NT=tensors["tokens"],
            lengths_N=tensors.get("lengths"),
            answers_NT=tensors.get("answers"),
            samples=[],
            card=cast(Card, card),
            folder=folder,
        )
    except PermissionError as error:
        raise StoreError(
            f"calibration set {folder} cannot be read ({error.strerror}: {error.filename}). It is "
            f"not damaged: ask its owner to type chmod -R a+rX {shlex.quote(str(folder))}."
        ) from error
    except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
        raise DamagedSetError(
            folder, f"it cannot be read ({type(error).__name__}: {error})"
        ) from error
    if is_changed:
        raise DamagedSetError(folder, f"{CARD} is not the file that was written")
    if loaded.hash != wanted:
        raise DamagedSetError(
            folder, f"its tokens hash to {loaded.hash[:12]}, recorded {wanted[:12]}"
        )
    if hashlib.sha256(lines).hexdigest() != wanted_samples:
        raise DamagedSetError(folder, f"{SAMPLES} is not the file that was written")
    loaded.samples.extend(json.loads(line) for line in lines.decode().split("\n") if line)
    return loaded


def _card_sha256(card: Mapping[str, object]) -> str:
    return hashlib.sha256(valid_json.dumps(card, sort_keys=True).encode()).hexdigest()


def is_set(folder: Path) -> bool:
    """Tell whether `folder` holds a calibration set written by this package."""
    return (folder / CARD).is_file() and (folder / TOKENS).is_file()


def _describe(part: object, *, without_path: bool) -> object:
    """A dataclass as its class and fields. The place of files that a fingerprint covers is left
    out, so that the same text at another place is the same set."""
    if not dataclasses.is_dataclass(part) or isinstance(part, type):
        if isinstance(part, dict):
            return {key: _describe(part[key], without_path=without_path) for key in part}
        if isinstance(part, list | tuple):
            return [_describe(value, without_path=without_path) for value in part]
        return part
    kind = type(part)
    described: dict[str, object] = {"kind": kind_of(f"{kind.__module__}.{kind.__qualname__}")}
    for field in dataclasses.fields(part):
        if not (without_path and field.name == "path"):
            described[field.name] = _describe(getattr(part, field.name), without_path=without_path)
    return described
