"""External: a command of the user's compresses the model.

    command {model} {set} {output}      three folders; it reads the first two and writes the third

    model    the dense model in the Hugging Face layout, with its tokenizer
    set      the calibration set as the verb `export` writes it: tokens.safetensors, data.jsonl, ...
    output   not there yet: to become a folder with the compressed model, same layout, same shapes

The folders lie in one temporary folder ($TMPDIR), which is deleted whatever happens. The command
runs without a shell, in the folder in which the sweep was started. Only when it ends with exit code
0 is what it left read, and only when all of that is in order is a weight of the model changed.
"""

import contextlib
import hashlib
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from torch import Tensor

from calib_sweep.errors import ConfigError, collected, require
from calib_sweep.hashing import file_sha256
from calib_sweep.method.whole_model import CompressedModel, Handed, ToolError, WholeModelMethod
from calib_sweep.processes import describe_exit
from calib_sweep.values import is_number

logger = logging.getLogger(__name__)

MODEL, SET, OUTPUT = "{model}", "{set}", "{output}"
PLACES = {MODEL: "model", SET: "set", OUTPUT: "output"}
A_PLACE = re.compile(r"\{\w+\}")  # a misspelt one, too
TOLD, COMPLAINED = "stdout", "stderr"  # files beside the folders
SHOWN = 2000  # characters of what the command last wrote, in errors and in the log
EXAMPLE = "Example: 'method.command=\"python my_tool.py {model} {set} {output}\"'."


@final
@dataclass(frozen=True, kw_only=True)
class External(WholeModelMethod):
    command: str  # with {model}, {output} and, where it reads calibration data, {set}
    timeout_s: float  # seconds after which it is ended, and the cell has failed

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(self._check_command)
            problems.of(
                require,
                is_number(self.timeout_s) and 0 < self.timeout_s < float("inf"),
                "method.timeout_s",
                self.timeout_s,
                "seconds, more than 0",
                "Example: method.timeout_s=86400, a day.",
            )

    @classmethod
    def reads_data(cls, settings: Mapping[str, object]) -> bool:
        return SET in str(settings.get("command"))

    @property
    def needs_data(self) -> bool:
        return SET in self.command

    def fingerprint(self) -> str | None:
        """Hash the files that the command names, a script say: they decide what it does.

        Also as `--option=FILE`. A word may be a whole program, too long for the name of a file.
        """
        named = [part for word in self._words() for part in (word, word.partition("=")[2])]
        files = [Path(name) for name in named if os.path.isfile(name)]  # noqa: PTH113  Path raises
        if not files:
            return None
        lines = "".join(f"{file_sha256(file)}\n" for file in files)
        return hashlib.sha256(lines.encode()).hexdigest()

    def check_machine(self) -> None:
        program = self._words()[0]
        require(
            shutil.which(program) is not None,
            "method.command",
            self.command,
            f"a program to run, but there is none at {program!r}",
            "Correct its path. A program of this folder begins with ./ and must be executable.",
        )

    def compress_model(self, handed: Handed) -> CompressedModel:
        with tempfile.TemporaryDirectory(prefix="calib_sweep-external-") as name:
            folder = Path(name)
            handed.write_model(folder / PLACES[MODEL])
            if self.needs_data:
                handed.write_set(folder / PLACES[SET])
            self._run(folder)
            return CompressedModel(weights=self._read(handed, folder / PLACES[OUTPUT]))

    def _run(self, folder: Path) -> None:
        """Run the command to its end; `ToolError` with its last words where that is no good one."""
        words = [_filled(word, folder) for word in self._words()]
        logger.info("runs %s", shlex.join(words))
        with (folder / TOLD).open("wb") as out, (folder / COMPLAINED).open("wb") as err:
            code = _code_of(words, out.fileno(), err.fileno(), self.timeout_s)
        if said := _last_words(folder, (TOLD, COMPLAINED)):
            logger.info("the command wrote: %s", said)
        if code is None:
            raise ToolError(
                f"method.command: ended after {self.timeout_s:g} s without having finished. "
                f"Its last words: {_last_words(folder, (COMPLAINED, TOLD)) or 'none'}. "
                "Allow it more with method.timeout_s."
            )
        if code != 0:
            raise ToolError(
                f"method.command: {describe_exit(code)}. "
                f"Its last words: {_last_words(folder, (COMPLAINED, TOLD)) or 'none'}"
            )

    def _read(self, handed: Handed, output: Path) -> Mapping[str, Tensor]:
        if not output.is_dir():
            raise ToolError(
                f"method.command: exit code 0, but it left no folder at {OUTPUT}. It has to write "
                "the compressed model there, as model.save_pretrained does."
            )
        try:
            return handed.read_weights(output)
        except ConfigError as error:
            reason = str(error).replace(str(output), OUTPUT)
            raise ToolError(
                f"method.command: exit code 0, but what it left at {OUTPUT} is no such model as "
                f"{MODEL}: {reason}"
            ) from error

    def _words(self) -> list[str]:
        return _words_of(self.command)

    def _check_command(self) -> None:
        words = self._words()
        lacking = [place for place in (MODEL, OUTPUT) if not any(place in word for word in words)]
        require(
            bool(words) and not lacking,
            "method.command",
            self.command,
            f"a program and its arguments, with {MODEL} and {OUTPUT}, and {SET} if it reads "
            "calibration data",
            EXAMPLE,
        )
        # Without {set} a tool runs once for all seeds: nobody should type {sett} and not know.
        unknown = sorted({place for word in words for place in A_PLACE.findall(word)} - set(PLACES))
        require(
            not unknown,
            "method.command",
            self.command,
            f"nothing in braces but {MODEL}, {SET} and {OUTPUT}, not {', '.join(unknown)}",
            f"{EXAMPLE} What a tool itself reads in braces goes into a script.",
        )


def _words_of(command: object) -> list[str]:
    """Split a command as a shell would; none where it is no text, or a quote is left open."""
    try:
        return shlex.split(command) if isinstance(command, str) else []
    except ValueError:
        return []


def _filled(word: str, folder: Path) -> str:
    """Put the folders in the place of their names."""
    for place, name in PLACES.items():
        word = word.replace(place, str(folder / name))
    return word


def _code_of(words: Sequence[str], out: int, err: int, timeout_s: float) -> int | None:
    """Run a program; return its code, None where it took too long. What it started ends with it."""
    try:
        child = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
        )
    except OSError as error:
        raise ToolError(f"method.command: cannot be started ({error}). {EXAMPLE}") from error
    try:
        return child.wait(timeout_s)
    except subprocess.TimeoutExpired:
        return None
    finally:  # also where this process is told to end
        _end_group(child)


def _end_group(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # all of them have ended
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _last_words(folder: Path, names: Sequence[str]) -> str:
    """Return the end of what a command wrote, of the first of these files that holds anything."""
    for name in names:
        if text := (folder / name).read_bytes()[-4 * SHOWN :].decode(errors="replace").strip():
            return text[-SHOWN:]
    return ""
