"""`calib-sweep merge FOLDER ... --into FOLDER`: bring cells of several machines into one folder.

Only finished cells are copied: their files change no more, so workers may run in every folder
meanwhile. A copy appears whole, under the claim of its cell, and nothing finished is overwritten.
"""

import errno
import json
import logging
import shlex
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from calib_sweep import atomic
from calib_sweep.arguments import folders_and_settings, is_sweep, near_sweeps, option
from calib_sweep.console import configure_logging, output
from calib_sweep.errors import ConfigError, StoreError, collected
from calib_sweep.places import CALIBRATION, RECORD, RECORDS, THREADS
from calib_sweep.results import grids
from calib_sweep.results.claim import Claim, holder_of, try_claim
from calib_sweep.results.files import NOT_KEPT, damage
from calib_sweep.results.reading import read_record, same_scores
from calib_sweep.results.record import Record
from calib_sweep.results.store import Store
from calib_sweep.sweep.explain import DONE, SOME_FAILED
from calib_sweep.wording import counted

log = logging.getLogger(__name__)

INTO = "--into"
MAX_SCORES = 3  # of a conflict


@dataclass
class Merged:
    """What became of the cells."""

    copied: int = 0
    same: int = 0
    unfinished: int = 0
    troubles: list[str] = field(default_factory=list)


def main(arguments: Sequence[str]) -> int:
    """Merge the folders named; return 0, or 3 where something was left out that is finished."""
    into, words = option("merge", arguments, INTO)
    folders, settings = folders_and_settings("merge", words, (INTO,))
    if into is None or not folders or settings:
        raise ConfigError(
            f"merge {' '.join(arguments) or 'nothing'}: expected folders of sweeps, and {INTO} "
            "with another one. Example: python -m calib_sweep merge results/a results/b --into "
            "results/both."
        )
    configure_logging()
    target, sources = _store(Path(into)), [_store(folder) for folder in folders]
    with collected() as problems:
        for source in sources:
            problems.of(_require_source, source, target)
        problems.of(_require_target, target)
        problems.of(target.require_writable)
    target.sweep_leftovers()
    merged = Merged()
    for source in sources:
        _merge(source, target, merged)
    for text in merged.troubles:
        log.error("%s", text)
    rest = f"{merged.same:,} there before, {merged.unfinished:,} not finished"
    told = f"{counted(merged.copied, 'cell')} copied, {rest}"
    told += f", {len(merged.troubles):,} left out: see above" if merged.troubles else ""
    output(f"{told}\nnext: python -m calib_sweep report {shlex.quote(into)}")
    return SOME_FAILED if merged.troubles else DONE


def _store(folder: Path) -> Store:
    return Store(folder.absolute().parent, folder.absolute().name)


def _require_source(source: Store, target: Store) -> None:
    if source.folder.resolve() == target.folder.resolve():
        raise ConfigError(f"merge {source.folder}: expected another folder than that of {INTO}.")
    if not any(source.folder.glob(RECORDS)):
        raise ConfigError(
            f"merge {source.folder}: expected the folder of a sweep, and no records are there. "
            "Example: python -m calib_sweep merge results/a results/b --into results/both."
            + near_sweeps(source.folder)
        )


def _require_target(target: Store) -> None:
    """Raise `ConfigError` where cells of the target would lie among those of another sweep."""
    place = target.folder.resolve()
    # Not folders above: somebody may keep a single cell in their home.
    in_one = is_sweep(place.parent)
    inside = [] if is_sweep(place) else [one for one in sorted(place.glob("*/")) if is_sweep(one)]
    if in_one or inside:
        told = f"lies in the sweep {place.parent}" if in_one else f"holds the sweep {inside[0]}"
        raise ConfigError(
            f"merge {INTO} {target.folder}: expected a folder for one sweep, beside others, and "
            f"this one {told}. Example: {INTO} results/both."
        )


def _merge(source: Store, target: Store, merged: Merged) -> None:
    present = dict(_ids(target))
    for path in sorted(source.folder.glob(RECORDS)):
        try:
            record = read_record(path)
            if record is None or record["status"] != "done":
                merged.unfinished += 1
                continue
            name = present.get(record.get("cell_id", ""), path.parent.name)
            _merge_cell(path.parent, record, target.folder / name, merged)
            _copy_set(record, source, target)
        except (StoreError, PermissionError) as error:  # damaged, or a colleague's
            merged.troubles.append(f"left out: {error}")
        except FileNotFoundError:
            if path.is_file():
                raise
            merged.troubles.append(f"left out: {path.parent}, which was deleted meanwhile")
    flaws: list[str] = []
    for grid in grids.kept(source, flaws):
        grids.keep(target, grid.cells, grid.command, grid.owner)
    merged.troubles += [f"left out: {flaw}" for flaw in flaws]
    _copy_threads(source, target)


def _ids(store: Store) -> Iterator[tuple[str, str]]:
    """Yield id and folder of each cell that has a record."""
    for path in sorted(store.folder.glob(RECORDS)):
        try:
            record = read_record(path)
        except (StoreError, OSError) as error:
            log.warning("%s", error)
            continue
        if record is not None and "cell_id" in record:
            yield record["cell_id"], path.parent.name


def _merge_cell(folder: Path, record: Record, place: Path, merged: Merged) -> None:
    """Copy a finished cell, unless one is there."""
    if (before := _finished(place)) is not None:
        return _compare(record, before, folder, place, merged)
    if (claim := try_claim(place)) is None or not _brought(folder, record, place, claim, merged):
        holder = holder_of(place) or "another worker"
        merged.troubles.append(f"left alone: {place}, which {holder} has taken. Merge again later")
    return None


def _brought(folder: Path, record: Record, place: Path, claim: Claim, merged: Merged) -> bool:
    """Copy a cell that we claim; False where another worker got in between."""
    with claim:
        if (before := _finished(place)) is not None:  # since we looked
            _compare(record, before, folder, place, merged)
            return True
        try:
            with atomic.replacing_folder(place) as partial:
                _copy(folder, partial)
                _require_whole(partial, record)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
    merged.copied += 1
    return True


def _finished(place: Path) -> Record | None:
    record = read_record(place / RECORD)
    return record if record is not None and record["status"] == "done" else None


def _compare(record: Record, before: Record, folder: Path, place: Path, merged: Merged) -> None:
    """Count a cell that is there already; with other scores it is a conflict."""
    if same_scores(record, before):
        merged.same += 1
        return
    here, there = record["scores"], before["scores"]
    keys = [key for key in sorted({*here, *there}) if here.get(key) != there.get(key)]
    told = ", ".join(f"{k} {here.get(k)} and {there.get(k)}" for k in keys[:MAX_SCORES])
    more = f" and {len(keys) - MAX_SCORES:,} more scores" if len(keys) > MAX_SCORES else ""
    merged.troubles.append(
        f"conflict: {record.get('cell_id', place.name)}: {folder} and {place} differ in {told}"
        f"{more}. Nothing was overwritten. See why: python -m calib_sweep compare "
        f"{shlex.join([str(folder.parent), str(place.parent)])}"
    )


def _copy(folder: Path, partial: Path) -> None:
    """Copy what belongs to a finished cell: no claims, links, or what a writer left behind."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or path.name.startswith((".", "claim.")):
            continue
        if path.is_dir():
            (partial / path.name).mkdir()
            _copy(path, partial / path.name)
        else:
            shutil.copy2(path, partial)


def _require_whole(partial: Path, record: Record) -> None:
    """Raise `StoreError` where a file of the copy is not the one that the record stands for."""
    files = record.get("files", {})
    for name in (name for name, content in files.items() if content != NOT_KEPT):
        if (flaw := damage(partial, files, name)) is not None:
            raise StoreError(f"cell {record.get('cell_id')}: {flaw}. It was not copied")


def _copy_set(record: Record, source: Store, target: Store) -> None:
    """Copy the calibration set of a cell, where it is kept and not there yet."""
    drawn = record.get("calibration")
    name = drawn.get("folder") if drawn else None
    if not name or Path(name).name != name:
        return
    kept, place = (store.results_dir / CALIBRATION / name for store in (source, target))
    if kept.is_dir() and not place.exists():
        with atomic.new_folder(place) as partial:
            _copy(kept, partial)


def _copy_threads(source: Store, target: Store) -> None:
    """Copy the number of threads that was chosen for a model; say where two were chosen."""
    for path in sorted(source.folder.glob(THREADS)):
        place = target.folder / path.name
        try:
            atomic.write_new(place, path.read_bytes())
        except FileExistsError:
            numbers = [json.loads(one.read_text()).get("num_threads") for one in (path, place)]
            if len(set(numbers)) > 1:
                told = "%s ran small models on %s threads, %s on %s: last digits may differ"
                log.warning(told, source.folder, numbers[0], target.folder, numbers[1])
