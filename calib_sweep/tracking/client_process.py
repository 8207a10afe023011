"""The client of a tracker in a process of its own, which is ended when it gives no answer in time.

A tracker's library may take seconds to import. It may wait for its server without end, the last
time when the program exits. A process can be ended wherever it waits.
"""

import atexit
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, TypedDict

import psutil

from calib_sweep import valid_json

START_S = 120.0  # for Python and the library to be imported, from a slow disk at worst
GRACE_S = 2.0  # in which a library says itself that it has waited long enough, and for what


class Answer(TypedDict, total=False):
    """A line of the client's: one of the two; nothing when it is ready."""

    answer: object  # of the function that was called
    problem: str


class MirrorError(Exception):
    """A tracker took no run. `is_silence`: it gave no answer in time, and may not to the next."""

    def __init__(self, message: str, *, is_silence: bool) -> None:
        super().__init__(message)
        self.is_silence = is_silence


def ask(tracker: str, call: str, tracking: Mapping[str, Any], **arguments: str) -> Any:
    """Have the client of `tracker` do `call`, in at most `timeout_s` seconds and a moment.

    The client is the module NAME_client beside this file; `tracking`: its settings. Each thread
    that asks has a client of its own.
    """
    limit_s = tracking["timeout_s"]
    try:
        client = _clients.get((tracker, threading.get_ident()))
        if client is None or not client.is_usable():
            end(tracker)
            client = _clients[tracker, threading.get_ident()] = _Client(tracker)
            client.wait_until_ready()
        start = time.monotonic()
        answer = client.ask({"call": call, "tracking": tracking, **arguments}, limit_s)
    except BaseException:  # an interrupt, too, leaves an answer that nobody waits for
        end(tracker)
        raise
    if problem := answer.get("problem"):
        end(tracker)
        raise MirrorError(problem, is_silence=time.monotonic() - start >= limit_s)
    return answer.get("answer")


def end(tracker: str | None = None) -> None:
    """End this thread's client of a tracker; without a name all clients, whatever they wait for."""
    for key in [(tracker, threading.get_ident())] if tracker else list(_clients):
        if client := _clients.pop(key, None):
            client.kill()


def _credentials(tracker: str) -> dict[str, str]:
    """Return what tells a client who we are and what we want; a program may change it as it goes.

    Those are the variables that begin with the tracker's name, and where it reads passwords.
    """
    names = [name for name in os.environ if name.startswith(f"{tracker.upper()}_")]
    return {name: os.environ.get(name, "") for name in (*names, "HOME", "NETRC")}


class _Client:
    def __init__(self, tracker: str) -> None:
        self._tracker, self._credentials = tracker, _credentials(tracker)
        self._owner = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"calib_sweep.tracking.{tracker}_client"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "WANDB_ERROR_REPORTING": "false",  # to others than the server of the runs
            },
            start_new_session=True,  # Ctrl-C is for us
        )

    def wait_until_ready(self) -> None:
        """Wait for Python and the library."""
        if problem := self._answer(START_S).get("problem"):
            raise MirrorError(problem, is_silence=False)

    def is_usable(self) -> bool:
        """Tell whether it is ours, lives, and is told the same by the environment."""
        is_ours = self._owner == os.getpid() and self._credentials == _credentials(self._tracker)
        return is_ours and self._process.poll() is None

    def ask(self, request: Mapping[str, object], limit_s: float) -> Answer:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(valid_json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._is_gone() from None
        return self._answer(limit_s + GRACE_S)

    def _answer(self, limit_s: float) -> Answer:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], limit_s)
        if not ready:
            raise MirrorError(f"no answer within {limit_s:g} s", is_silence=True)
        line = self._process.stdout.readline()
        if not line:
            raise self._is_gone()
        return json.loads(line)

    def _is_gone(self) -> MirrorError:
        code = self._process.wait()
        return MirrorError(f"its client ended with exit code {code}", is_silence=False)

    def kill(self) -> None:
        """End it with all that it started: wandb, for one, has a service of its own."""
        if self._owner != os.getpid():
            return  # a copy of the process that started it
        try:
            client = psutil.Process(self._process.pid)
            family = [*client.children(recursive=True), client]
        except psutil.NoSuchProcess:
            family = []
        for process in family:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self._process.communicate()


_clients: dict[tuple[str, int], _Client] = {}  # by tracker and thread
atexit.register(end)
