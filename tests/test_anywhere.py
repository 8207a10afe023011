"""The examples that start workers elsewhere: each is read, and its command is one of ours.

None of these schedulers is here, but for SLURM: what they do with the files was not tried.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers.repository import ROOT
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_automatic_config_search_path

from calib_sweep.places import CONF
from calib_sweep.sweep.explain import SOME_FAILED
from calib_sweep.sweep.handover import hand_over
from calib_sweep.sweep.kept import words_of
from calib_sweep.sweep.launching import launcher_problems
from calib_sweep.sweep.limits import split_options
from calib_sweep.sweep.points import parse_words

FOLDER = ROOT / "examples" / "anywhere"
NAMES = ["work.sbatch", "sky.yaml", "kubernetes.yaml", "work.dstack.yml", "ray_workers.py"]


def read(name):
    return yaml.safe_load((FOLDER / name).read_text())


def commands():
    """The words that each example types."""
    pod = read("kubernetes.yaml")["spec"]["template"]["spec"]
    (ray,) = re.findall(r"(?<=ray_workers.py ).*", (FOLDER / "ray_workers.py").read_text())
    return {
        "work.sbatch": shlex.split((FOLDER / "work.sbatch").read_text().splitlines()[-1]),
        "sky.yaml": shlex.split(read("sky.yaml")["run"]),
        "kubernetes.yaml": pod["containers"][0]["command"],
        "work.dstack.yml": shlex.split(read("work.dstack.yml")["commands"][0]),
        "ray_workers.py": ["python", "-m", "calib_sweep", "work", *shlex.split(ray)],
    }


def test_no_example_is_forgotten():
    assert sorted(path.name for path in FOLDER.iterdir() if path.is_file()) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_command_of_an_example_is_one_that_we_take(name):
    program, option, package, verb, *words = commands()[name]
    assert (program, option, package, verb) == ("python", "-m", "calib_sweep", "work")
    options, rest = split_options(verb, words)
    told = hand_over(CONF, verb, words_of(rest), options)
    assert 'results_dir="/shared/results"' in told and "sweep_name=first" in told
    search_path = create_automatic_config_search_path(None, None, str(CONF))
    loader = ConfigLoaderImpl(config_search_path=search_path)
    assert launcher_problems(loader, parse_words(words_of(rest), loader)) == []


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_short_and_says_how_it_is_started(name):
    text = (FOLDER / name).read_text()
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("# ")]
    assert len(lines) <= 20
    assert f"examples/anywhere/{name}" in text


def test_a_job_of_kubernetes_holds_together():
    job = read("kubernetes.yaml")
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert job["spec"]["parallelism"] > 1 and "completions" not in job["spec"]
    (rule,) = job["spec"]["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob" and rule["onExitCodes"]["values"] == [SOME_FAILED]
    pod = job["spec"]["template"]["spec"]
    (worker,) = pod["containers"]
    assert pod["restartPolicy"] == "Never"
    assert [v["name"] for v in worker["volumeMounts"]] == [v["name"] for v in pod["volumes"]]


def test_the_batch_script_is_a_shell_script():
    subprocess.run(["bash", "-n", FOLDER / "work.sbatch"], check=True)


RAY = """
import os
class _Work:
    def __init__(self, do): self.do = do
    def remote(self): return self.do()
def remote(**how):
    assert how["num_gpus"] == 1
    return _Work
def init(): pass
def cluster_resources(): return {"GPU": 2.0}
def get(codes): return codes
"""
PROGRAM = "import sys; print(' '.join(sys.argv[1:]), flush=True); sys.exit(3)"


def test_rays_script_starts_a_worker_on_each_gpu_and_gives_the_worst_code(tmp_path):
    """With a stand-in for Ray, and one for our program."""
    (tmp_path / "ray.py").write_text(RAY)
    (tmp_path / "calib_sweep.py").write_text(PROGRAM)
    script = [sys.executable, FOLDER / "ray_workers.py", "results/first", "--for", "60"]
    done = subprocess.run(
        script,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": str(Path(sys.executable).parent)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 3, done.stderr
    assert done.stdout.splitlines() == ["work results/first --for 60"] * 2
