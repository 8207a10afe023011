"""What the launchers' tests share: the grid, what a sweep left behind, somebody who kills."""

import json
import os
import pickle
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

GRID = ["-m", "method=magnitude,sparsegpt", "seed=0,1"]
NUM_CELLS = 4  # dense, magnitude once as it needs no data, and sparsegpt for each seed


class Results:
    """What a sweep left in its folder."""

    def __init__(self, results_dir: Path) -> None:
        self.folder = results_dir / "default"

    def scores(self) -> dict[str, Any]:
        """The scores of each finished cell; a failed cell fails the test."""
        records = [json.loads(path.read_text()) for path in self.folder.glob("*/record.json")]
        assert [record["error"] for record in records] == [None] * len(records)
        return {record["cell_id"]: record["scores"] for record in records}

    def calibration_hashes(self) -> dict[str, str]:
        """Of each cell with calibration data."""
        records = [json.loads(path.read_text()) for path in self.folder.glob("*/record.json")]
        return {r["cell_id"]: r["calibration"]["hash"] for r in records if r["calibration"]}

    def table(self) -> str:
        """The summary table of the report."""
        return (self.folder / "report/tables/summary.csv").read_text()

    def claims(self) -> list[Path]:
        """Claims that nobody gave back."""
        return list(self.folder.glob("*/claim.*"))


def starts(*logs: str) -> Counter[str]:
    """How often each cell was started, by what the workers logged."""
    lines = [line for log in logs for line in log.splitlines()]
    started = re.compile(r"\bcell \d+/\d+: (.*?)(?:, [^,]* left(?: \(.*\))?)?$")
    return Counter(match[1] for line in lines if (match := started.search(line)))


class _Planted:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


def planted(path: Path) -> bytes:
    """A pickle that makes the file `path` when it is read."""
    return pickle.dumps(_Planted(path))


def program(*arguments: str) -> list[str]:
    """The command line of the program in a process of its own."""
    return [sys.executable, "-m", "calib_sweep", *arguments]


@contextmanager
def killing_the_first_worker_on(pattern: str, results: Results) -> Iterator[list[int]]:
    """Meanwhile SIGKILL the first process that runs the cell in a folder like `pattern`."""
    killed: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not killed and not over.wait(0.002):
            for claim in results.folder.glob(f"{pattern}/claim.*"):
                if not (claim.parent / "config.yaml").exists():
                    continue  # claimed, but not begun
                try:
                    pid = json.loads(claim.read_text())["pid"]
                except FileNotFoundError:
                    continue
                assert pid != os.getpid()
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


def wait_until(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    """Return once `condition()` holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
