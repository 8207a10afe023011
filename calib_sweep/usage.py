"""Text of --help: of the program with every choice and a phrase on each, and of each verb."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from calib_sweep import usage_folders, usage_grids
from calib_sweep.places import CONF

PROGRAM = """\
calib-sweep: how much of a compressed model's score is the method, how much the calibration data

    calib-sweep -m method=wanda,sparsegpt 'seed=range(5)'    run the grid, with or without -m
    calib-sweep check -m ...                 validate every cell, load no weights
    calib-sweep prefetch -m ...              download all that the grid needs, load it offline
    calib-sweep inspect dataset=c4 seed=0    show a calibration set
    calib-sweep rescore -m ...               finished cells on more corpora or tasks
    calib-sweep add -m ...                   put a grid into its folder, run nothing
    calib-sweep work results/NAME            a worker for the grids of a folder, anywhere
    calib-sweep status results/NAME          cells, jobs, time left, failures of a sweep
    calib-sweep ls results/NAME              its cells with their scores
    calib-sweep rerun -m ...                 delete cells and run them again; rm deletes only
    calib-sweep merge results/A results/B --into results/C   cells of two machines in one folder
    calib-sweep report results/NAME          the tables and figures of a sweep, from its records
    calib-sweep report results/A results/B   the same differences in both, and whether they differ
    calib-sweep compare results/A results/B  why the numbers of two sweeps differ
    calib-sweep import scores.csv            scores from elsewhere become a sweep to report on
    calib-sweep dashboard results/NAME       the W&B workspace and report of a sweep
    calib-sweep sync results/NAME            bring over to W&B what it lacks of a sweep
    calib-sweep gate results/NAME --loss 0.01    is the loss against dense within a limit
    calib-sweep plan results/NAME --budget 40   what to run next: datasets, seeds, items
    calib-sweep export SET --to FOLDER       calibration sets to publish, with card and licence
    calib-sweep doctor [results]             what this machine has; for a bug report
    calib-sweep VERB --help                  more on one of these

Choices (GROUP=NAME; more in folders given by --config-dir, $CALIB_SWEEP_CONF, ./conf.local)

{choices}
hydra/launcher=
    basic                   this process, and on a CPU others beside it: workers=auto
    accelerate              one worker per GPU of this machine
    slurm                   workers as SLURM jobs: see docs/cluster.md
{launchers}
hydra/sweeper=
    grid                    every cell of it
    adaptive                seed by seed, until methods are told apart: see docs/analysis.md

Any key of the configuration can be set, and swept with -m: KEY=VALUE,VALUE
    calib-sweep --cfg job                    all keys with their values
    calib-sweep --hydra-help                 Hydra's own options
Exit codes: 0 all cells done; 1 refused before anything started; 3 some cells failed, others kept;
130 told to end (Ctrl-C, SIGTERM, SIGHUP)
"""

VERBS = {**usage_grids.VERBS, **usage_folders.VERBS}
MAX_PHRASE = 68  # characters


def program_help() -> str:
    """Return the text of --help."""
    launchers = "".join(_lines(CONF / "hydra/launcher"))
    return PROGRAM.format(choices="".join(_choices()), launchers=launchers)


def _choices() -> Iterator[str]:
    """Yield the shipped YAML of every group of ours, one line each with what it says of itself."""
    for group in sorted(path for path in CONF.iterdir() if path.is_dir() and path.name != "hydra"):
        yield f"{group.name}=\n"
        yield from _lines(group)
        for inner in sorted(path for path in group.iterdir() if path.is_dir()):
            yield f"{group.name}/{inner.name}=\n"
            yield from _lines(inner)


def _lines(group: Path) -> Iterator[str]:
    for path in sorted(group.glob("*.yaml")):
        yield f"    {path.stem:<28}{phrase_of(path)}\n"


def phrase_of(path: Path) -> str:
    """Return the phrase in the first comment of a YAML: behind its name, without details."""
    comments = [line for line in path.read_text().splitlines() if line.startswith("# ")]
    first = next((line for line in comments if not line.startswith("# @package")), "# ")
    name = f"# conf/{path.relative_to(CONF).as_posix()}: "
    phrase = re.sub(r" \([^)]*\)", "", first.removeprefix(name).removeprefix("# "))
    phrase = phrase.partition("; ")[0].partition(", defaults of")[0]
    return textwrap.shorten(phrase, MAX_PHRASE, placeholder=" ...")
