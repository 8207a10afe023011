"""The files a user copies: launcher YAML, accelerate and sbatch files, the W&B sweep."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

LAUNCHERS = Path(__file__).parents[2] / "launchers"
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


def agent_command(point: dict[str, object]) -> list[str]:
    """The command that W&B's agent makes of our sweep file and a point of the grid."""
    from wandb.sdk.launch.sweeps import utils

    sweep = yaml.safe_load((LAUNCHERS / "wandb_sweep.yaml").read_text())
    assert set(point) == set(sweep["parameters"])
    words = utils.create_sweep_command_args({"args": {k: {"value": v} for k, v in point.items()}})
    words |= {"env": ["/usr/bin/env"], "interpreter": ["python"], "program": [sweep["program"]]}
    command = []
    for word in utils.create_sweep_command(sweep["command"]):
        is_macro = word.startswith("${") and word.endswith("}")
        command += words[word[2:-1]] if is_macro else [word]
    return command


def test_the_agents_of_a_wandb_sweep_run_our_command():
    command = agent_command({"method": "wanda", "dataset": "mini_news", "seed": 3})
    done = subprocess.run(
        [*command, "--cfg", "job"], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    config = yaml.safe_load(done.stdout)
    assert config["seed"] == 3
    assert config["method"]["_target_"] == "calib_sweep.method.wanda.Wanda"
    assert config["dataset"]["name"] == "mini_news"


def test_the_agents_own_run_does_not_take_the_place_of_a_cells_run():
    """In an agent's environment wandb.init ignores the run id it is given."""
    command = agent_command({"method": "wanda", "dataset": "mini_news", "seed": 3})
    ours = {"WANDB_RUN_ID": "a", "WANDB_SWEEP_ID": "b", "WANDB_SWEEP_PARAM_PATH": "c"}
    printing = [*command[: command.index("python")], "/usr/bin/env"]
    done = subprocess.run(printing, env={**ENVIRONMENT, **ours}, capture_output=True, text=True)
    assert "PATH=" in done.stdout
    assert not {line.partition("=")[0] for line in done.stdout.splitlines()} & ours.keys()
