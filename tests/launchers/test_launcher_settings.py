"""What is wrong with a launcher is told before anything is started, all of it at once."""

import os
from collections.abc import Callable

import pytest
from hydra_plugins.calib_sweep import slurm_settings


@pytest.fixture
def problems(tmp_path, grid, run_cli) -> Callable[..., list[str]]:
    """`problems(VERB, *OVERRIDES)`: what a command is refused for; nothing was written."""

    def of(*arguments: str) -> list[str]:
        verb = [arguments[0]] if "=" not in arguments[0] else []
        ended = run_cli(*verb, *grid(tmp_path), *arguments[len(verb) :], cwd=tmp_path)
        assert ended.code == 1, ended.out
        assert not list(tmp_path.iterdir())
        return ended.err.removeprefix("ConfigError: ").splitlines()

    return of


def test_rounds_of_seeds_cannot_be_detached(tmp_path, tiny_world, run_cli):
    words = ["-m", "method=magnitude,sparsegpt", "seed=range(6)", "hydra/sweeper=adaptive"]
    words += [*tiny_world, "hydra/launcher=slurm", "hydra.launcher.detach=true"]
    ended = run_cli("check", *words, cwd=tmp_path)
    assert ended.code == 1
    assert "hydra.launcher.detach=true: expected false with hydra/sweeper=adaptive" in ended.err


BAD = ("hydra/launcher=slurm", "hydra.launcher.nodes=0", "hydra.launcher.cells_per_worker=0")


@pytest.mark.parametrize("verb", ["check", "seed=0"])
def test_settings_that_cannot_work_are_refused_with_all_that_is_wrong_besides(verb, problems):
    told = " ".join(problems(verb, *BAD, "hydra.launcher.mem_gb=-4", "save_model=pickle"))
    for phrase in (
        "nodes=0: expected a number >= 1",
        "cells_per_worker=0",
        "mem_gb=-4",
        "save_model=",
    ):
        assert phrase in told


def test_wrong_types_and_unknown_keys_are_told_with_the_values_that_cannot_work(problems):
    wrong = ["timeout_min=soon", "mem=4", "cancel_on_interrupt=3.5"]
    told = problems("check", *BAD, *(f"hydra.launcher.{word}" for word in wrong))
    assert (
        "hydra.launcher.timeout_min=soon: expected an integer. Example: "
        "hydra.launcher.timeout_min=1." in told[0]
    )
    assert "hydra.launcher.mem=4: no such key. hydra/launcher=slurm has: submitit" in told[1]
    assert "hydra.launcher.cancel_on_interrupt=3.5: expected true or false. Example: " in told[2]
    assert "nodes=0" in " ".join(told[3:]) and "cells_per_worker=0" in " ".join(told[3:])


def test_a_setting_of_another_launcher_says_where_it_belongs(problems):
    (told,) = problems("check", "hydra.launcher.num_workers=2")
    assert "hydra/launcher=basic has none" in told and "hydra/launcher=accelerate" in told


def test_an_added_setting_is_refused(problems):
    (told,) = problems("check", "hydra/launcher=accelerate", "+hydra.launcher.gpus=2")
    assert "unexpected keyword argument 'gpus'" in told
    told = problems("check", "hydra/launcher=slurm", "+hydra.launcher.gpus=2")
    assert "hydra.launcher='gpus': expected only keys that are there already" in told[0]


def test_a_launcher_that_is_not_there_is_told_with_those_that_are(problems):
    (told,) = problems("check", "hydra/launcher=slrum")
    assert "hydra/launcher=slrum: expected one of" in told and "basic, slurm" in told
    (told,) = problems("check", "hydra/launcher=slurm,basic")
    assert told.startswith(
        "hydra/launcher=slurm,basic: expected one launcher for all cells. Example"
    )


@pytest.mark.parametrize(("name", "instead"), [("slurm", "slurm"), ("local", "accelerate")])
def test_submitits_own_launchers_are_refused_by_name(name, instead, problems):
    (told,) = problems("seed=0", f"hydra/launcher=submitit_{name}")
    assert told.startswith(f"hydra/launcher=submitit_{name}: expected basic, accelerate or slurm")
    assert told.endswith(f"Type hydra/launcher={instead}.")


def test_a_check_shows_the_batch_script_and_submits_nothing(
    run_cli, tiny_world, tmp_path, monkeypatch
):
    for name in ("srun", "sbatch", "squeue"):
        (tmp_path / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    slurm = ["hydra/launcher=slurm", "hydra.launcher.partition=mine"]
    ended = run_cli("check", "-m", *tiny_world, "seed=range(3)", *slurm, cwd=tmp_path)
    assert ended.code == 0, ended.err
    script = ended.out.partition("this would be submitted, and is not:")[2]
    assert "#SBATCH --partition=mine" in script and "#SBATCH --array=0-3" in script
    assert not (tmp_path / "asked").exists() and not (tmp_path / "results").exists()


def test_a_machine_without_slurm_can_check_but_not_run(run_cli, tiny_world, tmp_path, monkeypatch):
    monkeypatch.setattr(slurm_settings.shutil, "which", lambda _: None)
    typed = ["-m", *tiny_world, "hydra/launcher=slurm"]
    ended = run_cli("check", *typed, cwd=tmp_path)
    assert ended.code == 0 and "not checked: hydra/launcher='slurm': expected SLURM's" in ended.out
    assert "would be submitted" not in ended.out
    ended = run_cli(*typed, cwd=tmp_path)
    assert ended.code == 1 and "expected SLURM's commands" in ended.err
