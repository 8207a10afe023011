"""The program of a tracker's client: it does what `client_process` asks, and says what came of it.

One line of JSON for each question, and one for each answer. Whatever the tracker's library waits
for, who asks can end it.
"""

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from calib_sweep import valid_json
from calib_sweep.tracking.redaction import redacted

if TYPE_CHECKING:
    from calib_sweep.tracking.client_process import Answer

GRACE_S = 5  # between the end of our patience and the end of this process, if nobody ends it before

Calls = Mapping[str, Callable[..., object]]  # by name; each is given the settings first


class LossError(Exception):
    """A tracker did not keep all of a run."""


def answer_all(calls: Calls, library: str) -> None:
    """Answer what is asked on standard input, until there is nobody to ask."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    try:
        importlib.import_module(library)
    except Exception as error:  # of a library that is half installed, or was taken away
        answers.write(valid_json.dumps(_problem(error)) + "\n")
        return
    answers.write("{}\n")  # ready
    for line in sys.stdin:
        answers.write(valid_json.dumps(_answer(calls, **json.loads(line))) + "\n")
    os._exit(0)  # every run is finished; a library's own farewell can wait for ever


def _answer(calls: Calls, call: str, tracking: Mapping[str, Any], **arguments: str) -> "Answer":
    signal.alarm(int(tracking["timeout_s"]) + GRACE_S)  # who asked may be gone
    try:
        return {"answer": calls[call](tracking, **arguments)}
    except Exception as error:  # W&B raises far more than wandb.Error; who asked decides
        return _problem(error)
    finally:
        signal.alarm(0)


def _problem(error: Exception) -> "Answer":
    what = str(error).partition("\n")[0]  # hints for who calls the library follow
    return {"problem": f"{type(error).__name__}: {redacted(what)}"}
