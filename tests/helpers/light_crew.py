"""A crew whose members load nothing heavy, and the tasks that tests give them.

python -m helpers.light_crew SOCKET              a member, as crew.MEMBER starts one
python tests/helpers/light_crew.py FOLDER        a command with two members that sleep
"""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = "helpers.light_crew"


@dataclass
class Task:
    """Stands for a worker: `does` it, with the link to the command, for each of `cells`."""

    does: Callable[[Any, Any], None]
    cells: Sequence[Any]
    sessions: list[Any] = field(default_factory=list)

    def load_ahead(self) -> None:
        self.sessions.append("loaded")

    def work(self, progress: Any, crew: Any) -> None:
        for cell in self.cells:
            self.does(cell, (progress, crew, self.sessions))


def run(cell: Any, link: Any) -> None:
    """Run a cell, with a line of the log and a part done."""
    progress, crew, _ = link
    with progress.running(cell) as shown:
        shown.on_score(1, 2, "corpus")
        logging.getLogger("calib_sweep.run").info("%s by %d", cell.title, os.getpid())
        logging.getLogger("calib_sweep.sweep.worker").info("waiting")
    crew.ran(cell.id, failed=cell.seed == 1)


def run_slowly(cell: Any, link: Any) -> None:
    """Run a cell for a moment, and tell of it only after another one."""
    progress, crew, _ = link
    with progress.running(cell):
        time.sleep(0.3)
    time.sleep(0.3)
    crew.ran(cell.id, failed=False)


def say_sessions(_cell: Any, link: Any) -> None:
    logging.getLogger("calib_sweep.run").info("sessions %s", link[2])


def fail(*_: Any) -> None:
    raise ValueError("not with me")


def die(cell: Any, link: Any) -> None:
    progress, _, _ = link
    with progress.running(cell):
        os.write(2, b"last words\n")
        os.kill(os.getpid(), signal.SIGKILL)


def wait_for_news(cell: Any, link: Any) -> None:
    """Run the cell only when somebody else has run one."""
    progress, crew, _ = link
    began = time.monotonic()
    crew.pause(60)
    if time.monotonic() - began < 50:
        with progress.running(cell):
            pass
        crew.ran(cell.id, failed=False)


def sleep(folder: Path, _link: Any) -> None:
    (folder / f"{os.getpid()}.pid").touch()
    time.sleep(60)


def command(folder: Path) -> int:
    from calib_sweep.interruption import TERMINATION, ending_on
    from calib_sweep.sweep import crew

    crew.MEMBER = HERE
    sys.path.insert(0, str(Path(__file__).parents[1]))
    ours = crew.Crew()
    try:
        with ending_on(*TERMINATION):
            ours.resize(2)
            for member in ours.members:
                member.tell("work", Task(sleep, [folder]))
            time.sleep(60)
    except KeyboardInterrupt:
        return 130
    finally:
        ours.stop()
    return 0


if __name__ == "__main__":
    first = sys.argv[1]
    if first.isdigit():
        from calib_sweep.interruption import TERMINATION, ending_on
        from calib_sweep.sweep import crew_member

        crew_member.NEEDED = ()
        try:
            with ending_on(*TERMINATION):
                sys.exit(crew_member.main(int(first)))
        except KeyboardInterrupt:
            sys.exit(130)
    from helpers import light_crew

    sys.exit(light_crew.command(Path(first)))
