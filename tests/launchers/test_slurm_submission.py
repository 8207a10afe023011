"""What is made of sbatch's answers: a command of that name in PATH answers as it is told."""

import pytest
from hydra_plugins.calib_sweep.slurm_launcher import SlurmLauncher
from hydra_plugins.calib_sweep.slurm_settings import SlurmLauncherConf
from omegaconf import OmegaConf

from calib_sweep.errors import ConfigError, WorkerLostError
from calib_sweep.results import submitted

AWAY = "Batch job submission failed: Unable to contact slurm controller (connect failure)"


@pytest.fixture
def launcher(tmp_path, monkeypatch):
    """`launcher(said, takes, **settings)`: sbatch takes a job where `takes`, of its number, holds.

    A shell's words; else it fails and says `said`.
    """

    def make(said, takes, **settings):
        for name, script in {
            "sbatch": f"echo . >> {tmp_path}/asked\nset -- $(wc -l < {tmp_path}/asked)\n"
            f"[ $1 {takes} ] && echo Submitted batch job $1 && exit 0\necho '{said}' >&2\nexit 1",
            **dict.fromkeys(("srun", "squeue"), "exit 0"),
        }.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        known = OmegaConf.to_container(OmegaConf.structured(SlurmLauncherConf))
        own = {"poll_s": 0.01, "submitit_folder": str(tmp_path / "logs/%j"), **settings}
        made = SlurmLauncher(**{k: v for k, v in known.items() if k != "_target_"} | own)
        made.config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
        return made

    return make


@pytest.fixture
def submit(launcher, tmp_path):
    """`submit(said)`: two jobs; sbatch fails twice with these words, then takes them."""

    def run(said):
        jobs = []
        launcher(said, "-gt 2")._submit([("one",), ("two",)], jobs)
        return [job.job_id for job in jobs], (tmp_path / "asked").read_text().count(".")

    return run


def test_a_controller_that_is_away_is_waited_for_once_jobs_have_run(submit, tmp_path, caplog):
    submitted.keep(tmp_path, ["3"], 1)
    assert submit(AWAY) == (["3_0", "3_1"], 3)
    assert caplog.text.count("Unable to contact slurm controller") == 1  # said once


def test_it_is_told_at_once_as_long_as_somebody_looks_on(submit, tmp_path):
    with pytest.raises(ConfigError, match="Unable to contact slurm controller"):
        submit(AWAY)
    assert (tmp_path / "asked").read_text().count(".") == 1


def test_what_sbatch_refuses_is_never_waited_for(submit, tmp_path):
    submitted.keep(tmp_path, ["3"], 1)
    with pytest.raises(ConfigError, match=r"Invalid job array .*max_array_size"):
        submit("Batch job submission failed: Invalid job array specification")


def test_a_detached_command_says_which_jobs_are_not_on_their_way(launcher, tmp_path, caplog):
    """Nobody waits for the others, so nobody would submit these later."""
    half = launcher("QOSMaxSubmitJobPerUserLimit", "-lt 2", detach=True, max_array_size=2)
    lacking = half.launch([["seed=0"]] * 5, initial_job_idx=0)
    assert "sbatch took 2 of 5 jobs: QOSMaxSubmitJobPerUserLimit" in caplog.text
    assert [type(one._return_value) for one in lacking] == [WorkerLostError] * 3
    assert [one.num_jobs for one in submitted.kept(tmp_path)] == [2]


def test_a_detached_command_that_got_all_jobs_in_lacks_none(launcher):
    whole = launcher("", "-lt 9", detach=True, max_array_size=2)
    assert whole.launch([["seed=0"]] * 5, initial_job_idx=0) == []
