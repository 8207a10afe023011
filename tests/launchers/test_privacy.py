"""A results folder that others may write to: nothing they put there is run, or written to."""

import pytest
from helpers.sweeping import planted
from hydra_plugins.calib_sweep import slurm_launcher
from hydra_plugins.calib_sweep.private import make_private

from calib_sweep.errors import ConfigError, StoreError
from calib_sweep.results.cell_log import open_log


def test_what_stands_where_a_slurm_job_leaves_its_outcome_is_read_as_text(tmp_path):
    class Job:
        job_id = "7_0"
        paths = type("Paths", (), {"folder": tmp_path})

    assert slurm_launcher._read_outcome(Job) is None
    harm = tmp_path / "harm"
    slurm_launcher.outcome_path(tmp_path, "7_0").write_bytes(planted(harm))
    with pytest.raises(ValueError):
        slurm_launcher.outcome.from_text(slurm_launcher._read_outcome(Job), ())
    assert not harm.exists()


def test_a_folder_with_pickles_is_for_its_owner_alone(tmp_path):
    folder = tmp_path / "sweep" / ".submitit"
    make_private(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    make_private(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("owner", ["somebody else", "a link"])
def test_a_folder_that_somebody_else_may_have_made_is_refused(owner, tmp_path, monkeypatch):
    folder = tmp_path / ".submitit"
    if owner == "a link":
        folder.symlink_to(tmp_path)
    else:
        folder.mkdir()
        monkeypatch.setattr("os.geteuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(ConfigError, match=r"Example: hydra.launcher.submitit_folder=.*-MY_NAME/%j"):
        make_private(folder)


def test_a_log_is_not_written_through_a_link(tmp_path):
    victim, link = tmp_path / "victim", tmp_path / "worker.log"
    victim.touch()
    link.symlink_to(victim)
    with pytest.raises(StoreError, match="never written through a link"):
        open_log(link)
    assert victim.read_bytes() == b""
    with open_log(tmp_path / "own.log") as log:
        log.write(b"said\n")
    assert (tmp_path / "own.log").read_bytes() == b"said\n"
