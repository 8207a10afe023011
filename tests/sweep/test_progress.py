"""What a person is told while cells run."""

from calib_sweep.results.store import Store
from calib_sweep.sweep import progress as progress_module
from calib_sweep.sweep.progress import Progress


class Clock:
    """Stands still until it is set."""

    now_s = 100.0

    def monotonic(self):
        return self.now_s


def test_a_line_tells_the_time_that_is_left_once_a_cell_is_settled(
    make_cell, tmp_path, monkeypatch, caplog
):
    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    cell, store = make_cell(), Store(tmp_path, "s")
    with caplog.at_level("INFO", logger="calib_sweep"), Progress([cell] * 4, store) as shown:
        with shown.running(cell):
            pass
        clock.now_s += 60
        shown.settled(1)
        with shown.running(cell):
            pass
    first, second = caplog.messages
    assert first == f"cell 1/4: {cell.title}"
    assert second == f"cell 2/4: {cell.title}, about 3 min 0 s left"
