"""A sweep in a process of its own, for a program that wants its outcome as values.

The command line has its process for itself: Hydra's one seat, threads, signals, the log. And what
is imported anew there is the code that lies on the disk, which a cell's record vouches for. It ends
with the program: told to end, that tells it; killed, it is missed.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from calib_sweep import cli, valid_json
from calib_sweep.errors import ConfigError
from calib_sweep.interruption import (
    INTERRUPTED,
    TERMINATION,
    end_with,
    ending_on,
    interruptible,
    raise_if_told,
)
from calib_sweep.sweep.explain import REFUSED, SweepEnded, explain, told

CHILD = "calib_sweep.api.child"
ONLY_SHOW = "expected the words of a sweep; these only show."
SHOW = {"--help", "-h", "--version", "--shell-completion", "-sc"}  # something, and sweep nothing


def words_of(overrides: object) -> list[str]:
    """Return the words of a sweep; `ConfigError` for what the command line would not sweep."""
    if isinstance(overrides, str):
        raise ConfigError(f'run({overrides!r}): expected a list of words, ["{overrides}"].')
    example = 'Example: run(["method=wanda", "seed=range(3)"]).'
    if not isinstance(overrides, list | tuple):
        raise ConfigError(f"run({overrides!r}): expected a list of words. {example}")
    for word in overrides:
        if not isinstance(word, str) or not word.strip():
            raise ConfigError(f"run: {word!r}: expected a word, key=value. {example}")
    words = list(overrides)
    verb, _ = cli.split_verb(words)
    if verb is not None:
        raise ConfigError(f"{verb!r}: expected key=value, as run takes no verb. {example}")
    if SHOW & set(words):
        raise ConfigError(f"run({words}): {ONLY_SHOW}")
    return words


def run_in_child(words: Sequence[str]) -> tuple[int, Path]:
    """Run a grid as the command line does; return its exit code and the folder of its records.

    Its results go to standard output, and its log to standard error. `ConfigError` holds what it
    refused; `RuntimeError` stands for all else, which it has told by then.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "outcome.json"
        code = _wait_for([sys.executable, "-m", CHILD, str(os.getpid()), str(file), *words])
        outcome = json.loads(file.read_text()) if file.exists() else {}
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if "problems" in outcome:
        raise ConfigError(*outcome["problems"])
    if "folder" not in outcome:
        raise RuntimeError(
            f"run({list(words)}) ended with exit code {code}; it has said why above."
        )
    return code, Path(outcome["folder"])


def _wait_for(command: Sequence[str]) -> int:
    """Run `command` with our modules, and pass on what it says; told to end, it is told too."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment.pop("FORCE_COLOR", None)  # notebooks set it, and we pass text on
    with (
        ending_on(*TERMINATION),
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as child,
    ):
        assert child.stdout is not None
        try:
            for line in child.stdout:
                sys.stdout.write(line)
        except BaseException:
            child.terminate()  # SIGINT is ignored by what a shell runs in the background
            raise
    return child.returncode


def main(arguments: Sequence[str]) -> int:
    """Run the sweep that `arguments` name, behind the parent's id and the file for its outcome."""
    parent, file, *words = arguments
    outcome: dict[str, object] = {}
    os.environ[cli.FULL_ERROR] = "1"

    def run() -> int:
        end_with(int(parent))
        return _run(words, outcome)

    code = interruptible(run)
    Path(file).write_text(valid_json.dumps(outcome))
    return code


def _run(words: Sequence[str], outcome: dict[str, object]) -> int:
    try:
        cli.compose_and_run(None, words)
    except SweepEnded as ended:
        outcome["folder"] = str(ended.folder)
        return ended.exit_code
    except Exception as error:
        raise_if_told()
        if mistake := told(cli.all_mistakes(error, None, words)):
            outcome["problems"] = mistake.problems
            return REFUSED
        code = explain(error)
        if code is None:
            raise
        return code
    outcome["problems"] = [f"run({list(words)}): {ONLY_SHOW}"]
    return REFUSED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
