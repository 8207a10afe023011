"""Every example runs by the command that stands at its head, and does what it says.

`sweep.sbatch` runs on a real SLURM: launchers/test_slurm.py.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from helpers.repository import ROOT
from helpers.sweeps import read_records
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_automatic_config_search_path
from hydra.types import RunMode
from hydra.utils import instantiate

import calib_sweep
from calib_sweep.errors import ConfigError

EXAMPLES = ROOT / "examples"
SMALL = [
    *("calibration.num_samples=2", "calibration.seq_len=32", "tracking=none"),
    *("evaluation.perplexity.max_windows=1", "evaluation.perplexity.seq_len=32"),
    *("evaluation.zero_shot=null", "evaluation.divergence=null"),
]


def commands_of(path: Path) -> list[list[str]]:
    """The commands at the head of a file, as words."""
    text = re.sub(r"\\\n *", "", re.sub(r"^# ?", "", path.read_text(), flags=re.MULTILINE))
    return [shlex.split(line) for line in re.findall(r"^ {4}(python .*)$", text, re.MULTILINE)]


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """`copied(NAME)`: a copy of an example; modules in it are found, as `python -m` finds them."""
    modules = set(sys.modules)

    def copy(name: str) -> Path:
        folder = shutil.copytree(EXAMPLES / name, tmp_path / name)
        monkeypatch.syspath_prepend(str(folder))
        return folder

    yield copy
    for name in set(sys.modules) - modules:
        if name.startswith(("my_methods", "sums", "soup")):
            del sys.modules[name]


@pytest.fixture
def run_commands(run_cli):
    """Run every command of a file in a folder, on a small scale; what each of them said."""

    def run(path: Path, folder: Path) -> list[str]:
        said = []
        for command in commands_of(path):
            assert command[:3] == ["python", "-m", "calib_sweep"]
            ended = run_cli(*command[3:], *SMALL, cwd=folder)
            assert ended.code == 0, ended.err
            said.append(ended.out)
        return said

    return run


def test_a_method_of_ones_own_is_swept_and_lies_between_its_ends(copied, run_commands):
    folder = copied("own_method")
    run_commands(folder / "my_methods" / "tempered.py", folder)
    records = read_records(folder / "results" / "default")
    assert [record["cell"]["method"] for record in records] == ["dense"] + ["tempered"] * 6
    assert all(record["scores"] for record in records)


def test_the_method_is_wanda_and_magnitude_at_its_ends(copied):
    copied("own_method")
    from my_methods.tempered import InputNorm, Tempered

    generator = torch.Generator().manual_seed(0)
    weight_OI = torch.randn(8, 32, generator=generator)
    statistic = InputNorm(32)
    statistic.add(torch.randn(50, 32, generator=generator) * torch.arange(1, 33))
    others = {0: calib_sweep.method("magnitude", compare="row"), 1: calib_sweep.method("wanda")}
    for exponent, other in others.items():
        method = Tempered(sparsity=0.5, exponent=exponent)
        new_OI = method.compress_weight(weight_OI, statistic).weight_OI
        assert torch.equal(new_OI, other.compress_weight(weight_OI, statistic).weight_OI)
    with pytest.raises(ConfigError) as refused:
        Tempered(sparsity=1.0, exponent=-1)
    assert len(refused.value.problems) == 2
    for sparsity, exponent in (("x", None), (None, "x"), (True, float("nan"))):
        with pytest.raises(ConfigError) as refused:
            Tempered(sparsity=sparsity, exponent=exponent)
        keys = [problem.partition("=")[0] for problem in refused.value.problems]
        assert keys == ["method.sparsity", "method.exponent"]


def test_a_dataset_of_ones_own_is_inspected_and_drawn_from(copied, run_commands):
    folder = copied("own_dataset")
    seen, _ = run_commands(folder / "sums.py", folder)
    assert re.search(r"\d+ and \d+ are \d+\.", seen)
    records = read_records(folder / "results" / "default")
    drawn = {(r["cell"]["dataset"], r["calibration"]["hash"]) for r in records if r["calibration"]}
    assert sorted(dataset for dataset, _ in drawn) == ["mini_web"] * 2 + ["sums"] * 2


@pytest.mark.slow
def test_a_model_of_ones_own_is_loaded_as_it_says(copied, run_commands):
    folder = copied("own_model")
    run_commands(folder / "soup.py", folder)
    (dense, _) = read_records(folder / "results" / "default")
    evaluation = calib_sweep.evaluation(
        "miniature",
        perplexity={"max_windows": 1, "seq_len": 32},
        zero_shot=None,
        divergence=None,
    )
    alone = calib_sweep.evaluate(calib_sweep.model("miniature").load(), evaluation)
    assert dense["cell"]["model"] == "soup" and dense["scores"] == alone.scores
    from soup import Soup

    half = calib_sweep.model("hf", path="miniature")
    soup = Soup(**{**vars(half), "other": "miniature"})
    assert soup.fingerprint() == 2 * half.fingerprint()


@pytest.mark.slow
def test_the_script_without_a_grid_says_what_it_found():
    (command,) = commands_of(EXAMPLES / "compress.py")
    done = subprocess.run(
        [sys.executable, *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    head, *rows = [line.split() for line in done.stdout.splitlines()]
    table = pd.DataFrame(rows, columns=head).astype({"perplexity": float, "sparsity": float})
    assert list(table["method"]) == ["dense"] + ["wanda"] * 3 + ["sparsegpt"] * 3
    assert list(table["sparsity"]) == [0.0] + [0.5] * 3 + [0.6] * 3
    dense, *others = table["perplexity"]
    assert min(others) > dense and len(set(others)) > 3


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    """The launcher of one's own, on a machine that seems to have SLURM."""
    for name in ("srun", "sbatch", "squeue"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    path = create_automatic_config_search_path(None, None, str(ROOT / "conf"))
    path.prepend("command-line", f"file://{EXAMPLES / 'launcher'}")
    words = ["hydra/launcher=my_cluster", "sweep_name=mine"]
    loader = ConfigLoaderImpl(config_search_path=path)
    composed = loader.load_configuration("config", words, run_mode=RunMode.MULTIRUN)
    return instantiate(composed.hydra.launcher)


def test_the_jobs_of_a_launcher_of_ones_own_are_as_stored(cluster, tmp_path):
    cluster.check()
    made = cluster.executor()._executor._make_submission_file_text("COMMAND", "UID")
    stored = (ROOT / "tests" / "golden" / "my_cluster.sbatch").read_text()
    assert made.replace(str(tmp_path), "FOLDER") == stored


def test_the_command_of_the_launcher_finds_it(run_cli, tmp_path, cluster):
    (command,) = commands_of(EXAMPLES / "launcher" / "hydra" / "launcher" / "my_cluster.yaml")
    shutil.copytree(EXAMPLES / "launcher", tmp_path / "examples" / "launcher")
    ended = run_cli("check", *command[3:], *SMALL, cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert "adds hydra/launcher/my_cluster" in ended.err and "20 cells and 1 dense" in ended.out


def test_every_example_is_in_the_index_and_has_a_command():
    index = (EXAMPLES / "README.md").read_text()
    files = [path for path in EXAMPLES.rglob("*") if path.is_file() and "conf" not in path.parts]
    for path in files:
        if path.name not in ("README.md", "__init__.py") and "__pycache__" not in path.parts:
            name = path.relative_to(EXAMPLES).as_posix()
            assert f"({name})" in index
            assert commands_of(path) or f" examples/{name}" in path.read_text()
