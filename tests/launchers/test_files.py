"""The files a user copies: launcher YAML, accelerate and sbatch files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers.repository import ROOT

LAUNCHERS = ROOT / "launchers"
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def test_a_launcher_is_one_yaml_of_resources(tmp_path, run_cli):
    arguments = ["--cfg", "hydra", "-p", "hydra.launcher", "hydra/launcher=slurm_gpu"]
    ended = run_cli(*arguments, "hydra.launcher.partition=gpu", cwd=tmp_path)
    settings = yaml.safe_load(ended.out)
    assert settings["_target_"] == "hydra_plugins.calib_sweep.slurm_launcher.SlurmLauncher"
    assert (settings["gpus_per_node"], settings["partition"]) == (1, "gpu")


@pytest.mark.parametrize("name", ["cpu", "gpus"])
def test_accelerate_takes_the_configuration_and_starts_several_processes(name):
    from accelerate.commands.config.config_args import load_config_from_file

    settings = load_config_from_file(str(LAUNCHERS / f"accelerate/{name}.yaml"))
    assert settings.num_processes > 1
    # What accelerate calls MULTI_CPU starts one process without mpirun, and says nothing.
    assert settings.distributed_type == "MULTI_GPU"


@pytest.mark.parametrize("name", ["workers", "node"])
def test_an_sbatch_script_hands_its_arguments_to_the_program(name):
    script = LAUNCHERS / f"slurm/{name}.sh"
    done = subprocess.run(
        [script, "--cfg", "job", "seed=4"], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["seed"] == 4
