"""A command that is killed at random moments, again and again, and at last is let go on.

    python -m helpers.killed RESULTS TIMES ARGUMENTS...

Each attempt is a fork of this process, which has imported what the command needs. The last line of
the output: {"killed": how often, "resumed": how often a walk went on where an earlier one was}.
"""

import json
import os
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

from calib_sweep import cli, run
from calib_sweep.evaluation import harness
from calib_sweep.seeding import stream

__all__ = ["harness", "run"]  # imported here, once

LONGEST_S = 120.0


def attempt(arguments: list[str], log: Path, seconds: float) -> int | None:
    """Run the command in a process of its own; its exit code, None where it was killed.

    That is so many seconds after it took a cell.
    """
    log.touch()
    before = log.stat().st_size
    pid = os.fork()
    if pid == 0:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv = ["calib-sweep", *arguments]
        code = 1
        try:
            code = cli.main()
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    deadline, has_cell = time.monotonic() + LONGEST_S, False
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if not has_cell and b" cell " in log.read_bytes()[before:]:
            deadline, has_cell = time.monotonic() + seconds, True
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def main(results: Path, times: int, arguments: list[str]) -> int:
    log = results.with_suffix(".log")
    arguments = [*arguments, f"results_dir={results}"]
    draw, num_killed, longest_s = stream("tests/killed"), 0, 4.0
    while num_killed < times:
        code = attempt(arguments, log, longest_s * draw.random())
        if code is None:
            num_killed += 1
        elif code == 0:  # done before it was killed: what is killed next begins anew, and sooner
            shutil.rmtree(results)
            longest_s /= 2
        else:
            return code
    code = attempt(arguments, log, LONGEST_S)
    resumed = log.read_text().count("goes on behind ")
    sys.stdout.write(json.dumps({"killed": num_killed, "resumed": resumed}) + "\n")
    return 1 if code is None else code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
