"""What a person is told while cells run."""

import io
import re
import threading
import time

import pytest
from rich.console import Console

from calib_sweep.console import Screen
from calib_sweep.results.store import Store
from calib_sweep.sweep import progress as progress_module
from calib_sweep.sweep.progress import Progress


class Clock:
    """Stands still until it is set."""

    now_s = 100.0

    def monotonic(self):
        return self.now_s


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    return clock


@pytest.fixture
def cells(make_cell):
    return [make_cell(seed=seed) for seed in range(4)]


class Left:
    """A queue: all of `cells` are left; others run those in `held`."""

    def __init__(self, cells, held=()):
        self.is_open, self.held = {cell.id for cell in cells}, [cell.id for cell in held]

    def __len__(self):
        return len(self.is_open)


def record(**seconds):
    return {"status": "done", "timings_s": {"load": 50.0, **seconds}}


def test_a_line_tells_the_time_that_is_left_once_a_cell_is_done(cells, clock, tmp_path, caplog):
    with caplog.at_level("INFO", logger="calib_sweep"), Progress(cells, Store(tmp_path, "s")) as p:
        p.look(Left(cells), cells[0])
        with p.running(cells[0]):
            pass
        clock.now_s += 60
        p.tally.finished(cells[0], record(compress=20.0, evaluate=40.0))
        p.look(Left(cells[1:]), cells[1])
        with p.running(cells[1]):
            pass
    first, second = caplog.messages
    assert first == f"cell 1/4: {cells[0].title}"
    # 3 x 60 s, by one cell whose kind may vary: 2 sd = 2 x 0.2 x sqrt(1 / 3 + 1 / 1)
    assert second == f"cell 2/4: {cells[1].title}, 2 min 3 s to 4 min 23 s left"


def test_cells_that_others_run_are_not_left_to_this_worker(cells, clock, tmp_path):
    """One ended here a minute ago; another has run for 15 of its 60 s; one waits."""
    with Progress(cells, Store(tmp_path, "s")) as p:
        p.look(Left(cells, held=cells[1:2]), cells[0])
        assert p.left is None
        clock.now_s += 15
        p.tally.finished(cells[0], record(evaluate=60.0))
        p.look(Left(cells[1:], held=cells[1:2]), cells[2])
        assert p.left.num_workers == 2
        assert p.left.seconds == pytest.approx(45 + 60)  # the fourth goes to who is free first


def test_of_one_of_many_jobs_its_own_cells_are_told(cells, clock, tmp_path):
    with Progress(cells, Store(tmp_path, "s"), most=2) as p:
        p.look(Left(cells), cells[0])
        with p.running(cells[0]):
            pass
        clock.now_s += 60
        p.tally.finished(cells[0], record(evaluate=60.0))
        p.look(Left(cells[1:], held=cells[2:3]), cells[1])
        assert (p.left.num_workers, p.left.seconds) == (1, 60)


def test_what_none_has_timed_is_told_by_what_it_costs(make_cell, clock, tmp_path):
    """A cell that costs 1 took 60 s; of another method three are left that cost 5 each."""
    done, left = make_cell(), [make_cell(seed=seed, method={"_target_": "x"}) for seed in range(3)]
    for cell in left:
        cell.choices["method"] = "slow"
    costs = {"wanda": 1.0, "slow": 5.0}
    with Progress([done, *left], Store(tmp_path, "s"), cost_of=lambda c: costs[c.method]) as p:
        p.tally.finished(done, record(evaluate=60.0))
        p.look(Left(left), left[0])
        assert p.left.seconds == pytest.approx(3 * 300)
        assert p.left.words().endswith("(slow not timed yet)")


def test_cells_are_numbered_as_they_begin_whoever_runs_them(cells, tmp_path, caplog):
    """Two begin here or beside; another command runs the third, and the last one begins here."""
    with caplog.at_level("INFO", logger="calib_sweep"), Progress(cells, Store(tmp_path, "s")) as p:
        with p.running(cells[0]), p.running(cells[1]):
            pass
        assert p.num_settled == 0
        p.ended(cells[1])
        assert p.num_settled == 1
        p.look(Left(cells[3:]))
        assert p.num_settled == 3
        with p.running(cells[3]):
            pass
    assert [line.partition(":")[0] for line in caplog.messages] == [
        "cell 1/4",
        "cell 2/4",
        "cell 4/4",
    ]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_bar_takes_one_line_with_its_times_whole(make_cell, clock, tmp_path, monkeypatch, width):
    terminal = Console(width=width, force_terminal=True, file=io.StringIO(), color_system=None)
    monkeypatch.setattr(progress_module, "console", terminal)
    cells = [make_cell(seed=seed) for seed in range(123)]
    with Progress(cells, Store(tmp_path, "s")) as p, p.running(cells[0]) as shown:
        shown.show(1, 10, "score mini_filtered@256 " + "of much else " * 20)
        p.bars.update(p.cell_bar, ends_s=clock.now_s + 3600 + 24 * 60)
        p.bars.stop()
        rendered = Console(width=width, file=io.StringIO())
        rendered.print(p.bars.get_renderable())
    sweep, cell = rendered.file.getvalue().splitlines()
    assert sweep.split()[:2] == ["sweep", "s"]
    assert sweep.endswith("1 h 24 min left")
    assert "\u2026" not in sweep
    assert cells[0].title[:10] in cell
    assert "\u2026" in cell.split("1/10")[0]
    assert "0:00:00" in cell


def test_a_cell_that_is_taken_over_begins_anew(cells, clock, tmp_path):
    with Progress(cells, Store(tmp_path, "s")) as p:
        p.tally.finished(cells[0], record(compress=20.0, evaluate=40.0))
        p.look(Left(cells[1:], held=[cells[2]]), cells[1])
        clock.now_s += 60  # who ran it has died, long before it was done
        p.look(Left(cells[2:3]), cells[2])
    assert p.left is not None
    assert p.left.seconds == pytest.approx(60.0)


class Paper:
    """What a terminal shows in the end, line by line."""

    def __init__(self):
        self.lines, self.row = [""], 0

    def isatty(self):
        return True

    def flush(self):
        pass

    def write(self, text):
        for part in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\n|\r|[^\x1b\n\r]+", text):
            if part == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif part == "\x1b[1A":
                self.row -= 1
            elif part == "\x1b[2K":
                self.lines[self.row] = ""
            elif not part.startswith("\x1b") and part != "\r":
                self.lines[self.row] += part


class Slow:
    """A line that takes a moment between the look where the cursor is and its writing."""

    def __init__(self, text):
        self.text = text

    def __rich_console__(self, *_):
        time.sleep(0.001)
        yield self.text


def test_no_line_is_lost_above_the_bars_of_several_workers(cells, tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    terminal, paper = Screen(width=120), Paper()
    monkeypatch.setattr(terminal, "_file", paper)
    monkeypatch.setattr(terminal, "_force_terminal", True)
    monkeypatch.setattr(terminal, "is_interactive", True)
    monkeypatch.setattr(progress_module, "console", terminal)
    monkeypatch.setattr(progress_module, "REFRESH_S", 0.01)
    told = [[f"worker {w} line {n} ." for n in range(8)] for w in range(3)]

    def work(p, lines, cell):
        for line in lines:
            with p.running(cell):
                terminal.print(Slow(line))
            terminal.print(Slow(line))

    with Progress(cells, Store(tmp_path, "s")) as p:
        threads = [
            threading.Thread(target=work, args=(p, lines, cell))
            for lines, cell in zip(told, cells, strict=False)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    shown = [line for line in paper.lines if line.strip()]
    assert sorted(shown) == sorted(2 * [line for lines in told for line in lines])
