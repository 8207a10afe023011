"""Every command of "From one GPU to many nodes" runs, on a small world in place of a large one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.mini_slurm import MiniSlurm, missing_binaries
from helpers.repository import ROOT
from helpers.sweeping import wait_until

pytestmark = pytest.mark.slow

SECTION = re.compile(r"^## From one GPU to many nodes$(.*?)^## ", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What stands on the page -> what runs in its place; each stands there.
SMALLER = {
    "model=llama_7b": "{world}",
    "model=llama_30b": "{world}",
    "model=hf model.path=/shared/llama-70b model.dtype=float16": "{world}",
    " dataset=c4": "",
    " evaluation=paper": "",
    " model.offload=blocks": "",  # on a CPU it is refused: there is nowhere to move a block to
    "method=wanda,gptq": "method=wanda,magnitude",
    "'seed=range(10)'": "seed=0",
    "hydra/launcher=accelerate ranks_per_cell=4": (
        "hydra/launcher=accelerate hydra.launcher.num_workers=1 ranks_per_cell=2"
    ),
    "ranks_per_cell=4": "ranks_per_cell=2",
    "hydra.launcher.partition=gpu": "hydra.launcher.partition=main",
    "hydra.launcher.gpus_per_node=4": "hydra.launcher.gpus_per_node=2",
    "hydra.launcher.tasks_per_node=4": "hydra.launcher.tasks_per_node=2",
    "hydra.launcher.mem_gb=1200": "hydra.launcher.mem_gb=8",
    "hydra.launcher.cpus_per_task=8": "hydra.launcher.cpus_per_task=2",
    "hydra/launcher=slurm_gpu": "hydra/launcher=slurm_gpu hydra.launcher.cpus_per_task=2 "
    "hydra.launcher.mem_gb=4 hydra.launcher.poll_s=0.5",
    "HF_HOME=/shared/hf": "HF_HOME=$PWD/hf",
}


def blocks() -> list[str]:
    (section,) = SECTION.findall((ROOT / "docs" / "cluster.md").read_text(encoding="utf-8"))
    return BLOCK.findall(section)


def smaller(text: str, world: list[str]) -> str:
    for on_page, here in SMALLER.items():
        text = text.replace(on_page, here)
    return text.replace("{world}", " ".join(f"'{word}'" for word in world))


def test_all_that_is_put_smaller_stands_on_the_page():
    whole = "\n".join(blocks())
    assert not [words for words in SMALLER if words not in whole]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    if missing := missing_binaries():
        reason = f"SLURM is not installed (no {', '.join(missing)}): apt-get install slurm-wlm"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    with MiniSlurm(tmp_path_factory.mktemp("slurm"), num_cpus=4, num_gpus=2) as running:
        yield running


@pytest.mark.parametrize("step", range(10))
def test_each_step_runs(step, place, tiny_world, slurm):
    """One after the other in one folder, as a reader would; each has a sweep of its own."""
    text, folder = smaller(blocks()[step], tiny_world), place / f"step{step + 1}"
    folder.mkdir()
    if "merge" in text:  # what two earlier steps have left
        text = text.replace("results/default", "../step1/results/default")
        text = text.replace("results/other", "../step4/results/default")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env=os.environ
        | slurm.environment
        | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'launchers'}",
            "OMP_NUM_THREADS": "1",
            "WANDB_MODE": "offline",
        },
        capture_output=True,
        text=True,
        timeout=400,
    )
    told = f"{text}\n{done.stdout}\n{done.stderr[-4000:]}"
    if "detach" in text:
        assert done.returncode in (0, 3), told  # of `status`: not all cells are done yet
        queue = ("squeue", "--noheader")
        wait_until(lambda: slurm.run(*queue) == "", timeout_s=300)
    else:
        assert done.returncode == 0, told
    if "prefetch" not in text:
        assert list(folder.glob("results/*/*/record.json")), told
