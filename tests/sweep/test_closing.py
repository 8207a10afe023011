"""The last worker out sums up a sweep that no command waits for: one of them, at the end."""

import pytest

from calib_sweep.analysis.settings import read_settings
from calib_sweep.results.claim import try_claim
from calib_sweep.results.store import Store
from calib_sweep.sweep.closing import CLOSING, Closing
from calib_sweep.sweep.queue import Outlook


@pytest.fixture
def sweep(tmp_path, monkeypatch, make_cell):
    """`sweep(done)`: what `by_last_worker` answers when so many of three cells are settled."""
    cells = [make_cell().dense(), make_cell(seed=1), make_cell(seed=2)]
    store, written = Store(tmp_path, "first"), []
    store.folder.mkdir()
    from calib_sweep.analysis.report import write

    monkeypatch.setattr(write, "is_current", lambda *_: bool(written))
    monkeypatch.setattr(write, "write_report", lambda *_: written.append("report"))

    class Mirror:
        def log_missing(self, mirrored, _store):
            written.append(f"{len(mirrored)} cells")

        def log_report(self, _store):
            written.append("mirrored")

    class Told(Outlook):
        settled: set = set()  # noqa: RUF012

        def unsettled(self, asked):
            return [cell for cell in asked if cell.id not in self.settled]

    outlook = Told(store, {})

    def end(done):
        outlook.settled = {cell.id for cell in cells[:done]}
        closing = Closing(cells=cells, settings=read_settings())
        return closing.by_last_worker(outlook, Mirror())

    end.written, end.store = written, store
    return end


def test_nothing_happens_as_long_as_a_cell_is_left(sweep):
    assert [sweep(done) for done in (0, 1, 2)] == [False] * 3
    assert sweep.written == []


def test_the_last_one_reports_then_mirrors_and_leaves_no_claim(sweep):
    assert sweep(3) is True
    assert sweep.written == ["report", "3 cells", "mirrored"]
    assert list(sweep.store.folder.iterdir()) == []


def test_whoever_comes_after_it_does_nothing(sweep):
    assert [sweep(3), sweep(3)] == [True, False]
    assert sweep.written.count("report") == 1


def test_whoever_comes_while_it_sums_up_leaves(sweep):
    with try_claim(sweep.store.folder / CLOSING):
        assert sweep(3) is False
    assert sweep.written == []
