"""The verb `export`: calibration sets as a folder to publish, which `datasets.load_dataset` reads.

    python -m calib_sweep export results/calibration/HASH ... --to FOLDER [--license WORDS]
                                 [--push OWNER/NAME [--public]]
    python -m calib_sweep export results/SWEEP --to FOLDER ...        the sets that its cells used

What is in the folder stands in `contents`. The same sets give the same bytes, and nothing that is
there is ever overwritten.
"""

import filecmp
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from calib_sweep import atomic
from calib_sweep.arguments import option, unknown_options
from calib_sweep.console import configure_logging, output
from calib_sweep.dataset.calibration.artifact import ASIDE, is_set, load_set, save_set
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.dataset.release import contents
from calib_sweep.dataset.release.push import check_name, push
from calib_sweep.errors import ConfigError, collected
from calib_sweep.places import CALIBRATION, RECORDS
from calib_sweep.results.reading import readable_records
from calib_sweep.wording import counted, typed

VERB = "export"
TO, LICENCE, PUSH, PUBLIC = "--to", "--license", "--push", "--public"
OPTIONS = (TO, LICENCE, PUSH, PUBLIC)
EXAMPLE = f"Example: python -m calib_sweep {VERB} results/{CALIBRATION}/HASH {TO} released."


@dataclass(frozen=True)
class Asked:
    """What was typed."""

    folders: list[Path]  # of one set each
    target: Path
    licence: str | None
    repository: str | None
    is_public: bool


def main(arguments: Sequence[str]) -> int:
    """Write the sets named into a folder, push it if asked to, say what to do with it."""
    configure_logging()
    asked = read_arguments(arguments)
    sets = contents.named([contents.public(load_set(folder)) for folder in asked.folders])
    stated = [asked.licence] if asked.licence else contents.licences([*sets.values()])
    if asked.repository and None in stated:
        raise ConfigError(
            f"{VERB} {PUSH} {asked.repository}: expected a licence of the text, but nobody said "
            f"one. Say it. Example: {LICENCE} 'CC BY 4.0'."
        )
    write(asked, sets, stated)
    output(_summary(asked, sets, stated))
    if asked.repository:
        commit = push(asked.target, asked.repository, is_public=asked.is_public)
        output(_where(asked, commit))
    return 0


def read_arguments(arguments: Sequence[str]) -> Asked:
    """Read what was typed; all mistakes at once."""
    folders: list[Path] = []
    with collected() as problems:
        target, rest = problems.of(option, VERB, arguments, TO) or (None, [*arguments])
        licence, rest = problems.of(option, VERB, rest, LICENCE) or (None, rest)
        repository, rest = problems.of(option, VERB, rest, PUSH) or (None, rest)
        problems.add(*unknown_options(VERB, rest, OPTIONS))
        words = [word for word in rest if not word.startswith("-") or Path(word).is_dir()]
        if not words:
            problems.add(f"{VERB}: expected the folder of a calibration set. {EXAMPLE}")
        for word in words:
            folders += problems.of(sets_in, Path(word)) or []
        if all(word.partition("=")[0] != TO for word in arguments):
            problems.add(f"{VERB}: expected {TO} and the folder to write. {EXAMPLE}")
        if repository is not None:
            problems.of(check_name, VERB, PUSH, repository)
        if PUBLIC in rest and repository is None:
            problems.add(f"{VERB} {PUBLIC}: expected {PUSH} OWNER/NAME as well. Leave it out.")
    return Asked([*dict.fromkeys(folders)], Path(target or ""), licence, repository, PUBLIC in rest)


def sets_in(folder: Path) -> list[Path]:
    """Return the folder of a set, those in a folder of several, or those that a sweep used."""
    found = [folder] if is_set(folder) else []
    if not found and folder.is_dir():
        within = (one for one in folder.iterdir() if is_set(one))
        found = sorted(one for one in within if one.name[0] != "." and ASIDE not in one.name)
    if not (found := found or _of_sweep(folder)):
        raise ConfigError(
            f"{VERB} {folder}: expected the folder of a calibration set, of several, or of a sweep "
            f"that used some. 'inspect' shows where a set is kept. {EXAMPLE}"
        )
    return found


def _of_sweep(folder: Path) -> list[Path]:
    """Return the sets that the cells of a sweep used; raise where one is not there any more."""
    records = readable_records(sorted(folder.glob(RECORDS)))
    notes = (note for record in records if (note := record.get("calibration")) is not None)
    names = {name for note in notes if (name := note.get("folder")) is not None}
    found = [folder.resolve().parent / CALIBRATION / name for name in sorted(names)]
    if gone := [str(place) for place in found if not is_set(place)]:
        raise ConfigError(
            f"{VERB} {folder}: expected the sets that its cells used, but {', '.join(gone)} is "
            "not there. Run the sweep again in a new results_dir, or name the sets that you have."
        )
    return found


def write(asked: Asked, sets: dict[str, CalibrationSet], stated: Sequence[str | None]) -> None:
    """Write the release; raise where anything else stands in its place."""
    columns = contents.features([*sets.values()])
    try:
        with atomic.new_folder(asked.target) as partial:
            for name, one in sets.items():
                save_set(one, partial / name)
                lines = "".join(contents.rows(one, columns))
                (partial / name / contents.DATA).write_text(lines, encoding="utf-8")
            text = contents.readme(sets, stated)
            (partial / contents.README).write_text(text, encoding="utf-8")
            _refuse_other(partial, asked.target)
    except OSError as error:
        if error.errno in atomic.DISK_TROUBLES:
            raise
        raise ConfigError(
            f"{VERB} {TO} {asked.target}: expected a folder that can be written "
            f"({error.strerror}). Name another."
        ) from error


def _refuse_other(made: Path, target: Path) -> None:
    """Raise unless `target` is free, or holds what was made already."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    names = [path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()]
    same, _, _ = (
        filecmp.cmpfiles(made, target, names, shallow=False) if target.is_dir() else ([], [], [])
    )
    if len(same) < len(names):
        raise ConfigError(
            f"{VERB} {TO} {target}: expected a new folder, or one with this release, but there is "
            f"something else. Name another, for example {TO} {shlex.quote(f'{target}_2')}."
        )


def _summary(asked: Asked, sets: dict[str, CalibrationSet], stated: Sequence[str | None]) -> str:
    said = "; ".join(licence or "not stated, name it with --license" for licence in stated)
    return (
        f"{asked.target}: {counted(len(sets), 'calibration set')}: {', '.join(sets)}\n"
        f"Licence: {said}\n"
        f"Next: python -m calib_sweep dataset=imported {typed('dataset.path', str(asked.target))}"
    )


def _where(asked: Asked, commit: str) -> str:
    seen = "everybody sees it" if asked.is_public else "where it is new, only you see it"
    words = f"{typed('dataset.hub_id', asked.repository)} {typed('dataset.revision', commit)}"
    return (
        f"On the hub: {asked.repository} at {commit[:12]}; {seen}\n"
        f"Next: python -m calib_sweep dataset=imported {words}"
    )
