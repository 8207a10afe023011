"""What is made of sbatch's answers: a command of that name in PATH answers as it is told."""

import pytest
from hydra_plugins.calib_sweep.slurm_launcher import SlurmLauncher
from hydra_plugins.calib_sweep.slurm_settings import SlurmLauncherConf
from omegaconf import OmegaConf

from calib_sweep.errors import ConfigError
from calib_sweep.results import submitted

AWAY = "Batch job submission failed: Unable to contact slurm controller (connect failure)"


@pytest.fixture
def submit(tmp_path, monkeypatch):
    """`submit(said)`: two jobs; sbatch fails twice with these words, then takes them."""

    def run(said):
        for name, script in {
            "sbatch": f"echo . >> {tmp_path}/asked\n[ $(wc -l < {tmp_path}/asked) -gt 2 ]"
            f" && echo Submitted batch job 7 && exit 0\necho '{said}' >&2\nexit 1",
            "srun": "exit 0",
        }.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        settings = OmegaConf.to_container(OmegaConf.structured(SlurmLauncherConf))
        own = {"poll_s": 0.01, "submitit_folder": str(tmp_path / "logs/%j")}
        launcher = SlurmLauncher(**{k: v for k, v in settings.items() if k != "_target_"} | own)
        launcher.config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
        jobs = []
        launcher._submit([("one",), ("two",)], jobs)
        return [job.job_id for job in jobs], (tmp_path / "asked").read_text().count(".")

    return run


def test_a_controller_that_is_away_is_waited_for_once_jobs_have_run(submit, tmp_path, caplog):
    submitted.keep(tmp_path, ["3"], 1)
    assert submit(AWAY) == (["7_0", "7_1"], 3)
    assert caplog.text.count("Unable to contact slurm controller") == 1  # said once


def test_it_is_told_at_once_as_long_as_somebody_looks_on(submit, tmp_path):
    with pytest.raises(ConfigError, match="Unable to contact slurm controller"):
        submit(AWAY)
    assert (tmp_path / "asked").read_text().count(".") == 1


def test_what_sbatch_refuses_is_never_waited_for(submit, tmp_path):
    submitted.keep(tmp_path, ["3"], 1)
    with pytest.raises(ConfigError, match=r"Invalid job array .*max_array_size"):
        submit("Batch job submission failed: Invalid job array specification")
