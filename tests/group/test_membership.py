"""Ranks as real processes: one is killed, stopped, fails or hangs in the middle of a cell."""

import signal
import time

import pytest
from helpers.rank_process import TIMEOUT_S
from helpers.rank_processes import codes, started
from helpers.sweeping import wait_until

from calib_sweep.group.watch import RANKS_LOST
from calib_sweep.interruption import INTERRUPTED
from calib_sweep.results.losses import losses

pytestmark = pytest.mark.slow


def ranks(count, what, folder):
    return started(count, "-m", "helpers.rank_process", folder, count, what, cwd=folder)


def begun(folder, count):
    wait_until(lambda: len(list(folder.glob("begun.*"))) == count, timeout_s=120)


def test_ranks_that_all_live_do_what_the_first_one_hands_out_and_leave(tmp_path):
    count = 3
    with ranks(count, "exchange", tmp_path) as processes:
        begun(tmp_path, count)
        (tmp_path / "enough").touch()
        assert codes(processes, timeout_s=30) == [0] * count
    assert losses(tmp_path) == []


@pytest.mark.parametrize(("count", "victim"), [(2, 0), (3, 1)])
def test_when_a_rank_is_killed_all_others_end_and_note_it_once(count, victim, tmp_path):
    with ranks(count, "exchange", tmp_path) as processes:
        begun(tmp_path, count)
        processes[victim].kill()
        wanted = [RANKS_LOST] * count
        wanted[victim] = -signal.SIGKILL
        assert codes(processes, timeout_s=30) == wanted
    (reason,) = losses(tmp_path)
    assert reason.startswith(f"rank {victim} is gone: ")


@pytest.mark.parametrize("victim", [0, 1])
def test_when_a_rank_is_stopped_all_others_end_after_the_timeout(victim, tmp_path):
    with ranks(3, "exchange", tmp_path) as processes:
        begun(tmp_path, 3)
        processes[victim].send_signal(signal.SIGSTOP)
        others = [process for k, process in enumerate(processes) if k != victim]
        assert codes(others, timeout_s=30) == [RANKS_LOST] * 2
    assert losses(tmp_path) == [f"rank {victim} gave no sign of life for {TIMEOUT_S:.0f} s"]


def test_ranks_that_were_all_stopped_for_longer_go_on(tmp_path):
    """As a scheduler does to a job that it suspends."""
    with ranks(2, "exchange", tmp_path) as processes:
        begun(tmp_path, 2)
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for process in processes:
                process.send_signal(number)
            time.sleep(2 * TIMEOUT_S)
        (tmp_path / "enough").touch()
        assert codes(processes, timeout_s=30) == [0] * 2
    assert losses(tmp_path) == []


def test_a_rank_that_hangs_is_lost_although_it_lives(tmp_path):
    with ranks(2, "hang-1", tmp_path) as processes:
        assert codes(processes, timeout_s=40) == [RANKS_LOST] * 2
    assert losses(tmp_path) == [f"rank 1 let the others wait for {3 * TIMEOUT_S:.0f} s"]


@pytest.mark.parametrize("culprit", [0, 2])
def test_an_error_of_one_rank_alone_is_that_of_the_cell_and_all_go_on(culprit, tmp_path):
    with ranks(3, f"fail-{culprit}", tmp_path) as processes:
        begun(tmp_path, 3)
        assert codes(processes, timeout_s=30) == [0] * 3
    for rank in range(3):  # in both cells
        assert (tmp_path / f"failed.{rank}").read_text() == f"no good on {culprit}\n" * 2
    assert losses(tmp_path) == []


def test_an_error_of_all_ranks_is_one_of_the_cell_and_they_go_on_in_step(tmp_path):
    with ranks(3, "fail-all", tmp_path) as processes:
        begun(tmp_path, 3)
        assert codes(processes, timeout_s=30) == [0] * 3
    for rank in range(3):  # in both cells
        assert (tmp_path / f"failed.{rank}").read_text() == f"no good on {rank}\n" * 2
    assert losses(tmp_path) == []


@pytest.mark.parametrize("told", [[1], [0, 1, 2]])
def test_when_one_or_all_are_told_to_end_all_do_and_nothing_counts_against_the_cell(told, tmp_path):
    with ranks(3, "exchange", tmp_path) as processes:
        begun(tmp_path, 3)
        for rank in told:
            processes[rank].terminate()
        assert codes(processes, timeout_s=40) == [INTERRUPTED] * 3
    assert losses(tmp_path) == []
    # Each could say what comes next: a job of SLURM's goes back into the queue.
    assert len(list(tmp_path.glob("told.*"))) == 3


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_whoever_started_them_may_tell_the_others_before_they_notice_a_loss(number, tmp_path):
    """So does `torchrun`, a tenth of a second after one of its processes has died."""
    with ranks(2, "exchange", tmp_path) as processes:
        begun(tmp_path, 2)
        processes[1].send_signal(number)
        wait_until(lambda: processes[1].poll() is not None or number == signal.SIGSTOP)
        processes[0].terminate()
        assert codes(processes[:1], timeout_s=30) == [INTERRUPTED]
    assert losses(tmp_path) == ["rank 1 said nothing more"]


def test_a_rank_that_never_comes_is_told_with_what_to_type(tmp_path):
    with ranks(2, "exchange", tmp_path) as processes:
        processes[1].kill()
        assert codes(processes, timeout_s=90) == [1, -signal.SIGKILL]
    said = " ".join((tmp_path / "output.0").read_text().split())
    assert f"rank 1 did not come within {5 * TIMEOUT_S:.0f} s" in said
    assert "unset RANK WORLD_SIZE LOCAL_RANK MASTER_ADDR MASTER_PORT" in said
