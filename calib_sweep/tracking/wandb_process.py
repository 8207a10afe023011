"""W&B's client in a process of its own, which is ended when it gives no answer in time.

wandb waits for its server in many places, some of them without end, the last one when the program
exits. A process can be ended in all of them.
"""

import atexit
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any, TypedDict

import psutil

from calib_sweep import valid_json
from calib_sweep.tracking.mirrored import Settings

START_S = 120.0  # for Python and wandb to be imported, from a slow disk at worst
GRACE_S = 2.0  # in which wandb says itself that it has waited long enough, and for what


class Answer(TypedDict, total=False):
    """A line of the client's: one of the two; nothing when it is ready."""

    answer: object  # of the function that was called
    problem: str


class MirrorError(Exception):
    """W&B took no run. `is_silence`: it gave no answer in time, and may not to the next one."""

    def __init__(self, message: str, *, is_silence: bool) -> None:
        super().__init__(message)
        self.is_silence = is_silence


def ask(call: str, tracking: Settings, **arguments: str) -> Any:
    """Have `wandb_client` do `call`, in at most `tracking["timeout_s"]` seconds and a moment."""
    global _client
    limit_s = tracking["timeout_s"]
    try:
        if _client is None or not _client.is_usable():
            end()
            _client = _Client()
            _client.wait_until_ready()
        start = time.monotonic()
        answer = _client.ask({"call": call, "tracking": tracking, **arguments}, limit_s)
    except BaseException:  # an interrupt, too, leaves an answer that nobody waits for
        end()
        raise
    if problem := answer.get("problem"):
        end()
        raise MirrorError(problem, is_silence=time.monotonic() - start >= limit_s)
    return answer.get("answer")


def end() -> None:
    """End the process, whatever it waits for."""
    global _client
    if _client is not None:
        _client.kill()
        _client = None


def _credentials() -> dict[str, str]:
    """Return what tells wandb who we are and what we want; a program may change it as it goes."""
    names = [name for name in os.environ if name.startswith("WANDB_")]
    return {name: os.environ.get(name, "") for name in (*names, "HOME", "NETRC")}


class _Client:
    def __init__(self) -> None:
        self._credentials = _credentials()
        self._owner = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "calib_sweep.tracking.wandb_client"],
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
        """Wait for Python and wandb."""
        self._answer(START_S)

    def is_usable(self) -> bool:
        """Tell whether it is ours, lives, and is told the same by the environment."""
        is_ours = self._owner == os.getpid() and self._credentials == _credentials()
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
        """End it with all that it started: wandb has a service of its own."""
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


_client: _Client | None = None
atexit.register(end)
