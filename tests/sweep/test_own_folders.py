"""YAML of the user's own: what is asked for may replace ours, what is merely there may not."""

import subprocess
import sys

import pytest

from calib_sweep.places import CONF
from calib_sweep.sweep.own_folders import describe, is_shipped

WANDA = "_target_: calib_sweep.method.wanda.Wanda\nsparsity: 0.4\npattern: unstructured\n"


@pytest.fixture
def own(tmp_path):
    """`own(NAME, text)` writes a YAML into ./conf.local, which it returns."""

    def write(name, text):
        path = tmp_path / "conf.local" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return tmp_path / "conf.local"

    return write


@pytest.mark.parametrize(
    "name", ["method/wanda", "config", "hydra/launcher/basic", "hydra/env/default"]
)
def test_a_folder_that_is_merely_there_replaces_nothing(name, own, run_cli, tiny_world, tmp_path):
    own("method/mine", WANDA)
    own(name, WANDA)
    ended = run_cli("check", *tiny_world, "method=wanda", cwd=tmp_path)
    assert ended.code == 1
    assert (
        f"./conf.local: expected names that the package does not have, but it holds {name}"
        in ended.err
    )
    assert "type --config-dir conf.local." in ended.err


def test_new_names_are_used_and_told_in_the_first_line(own, run_cli, tiny_world, tmp_path):
    own("method/mine", WANDA)
    ended = run_cli("check", *tiny_world, "method=mine", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert "choices of your own: conf.local adds method/mine" in ended.err.splitlines()[0]


def test_a_folder_that_is_asked_for_may_replace_and_says_so(own, run_cli, tiny_world, tmp_path):
    folder = own("method/wanda", WANDA.replace("0.4", "half"))
    told = f"choices of your own: {folder} replaces method/wanda"
    for arguments, env in (
        (["--config-dir", str(folder)], {}),
        ([], {"CALIB_SWEEP_CONF": str(folder)}),
    ):
        ended = run_cli("check", *tiny_world, *arguments, cwd=tmp_path, env=env)
        assert ended.code == 1 and told in ended.err.splitlines()[0]
        assert "method.sparsity='half'" in ended.err


def test_of_several_folders_the_first_counts_most(own, run_cli, tiny_world, tmp_path):
    (tmp_path / "a/method").mkdir(parents=True)
    (tmp_path / "a/method/mine.yaml").write_text(WANDA.replace("0.4", "first"))
    folder = own("method/mine", WANDA.replace("0.4", "second"))
    env = {"CALIB_SWEEP_CONF": f"a:{folder}"}
    ended = run_cli("check", *tiny_world, "method=mine", cwd=tmp_path, env=env)
    assert "method.sparsity='first'" in ended.err


@pytest.mark.parametrize(
    "text, told",
    [
        ("seed: [1", "config.yaml, line "),
        ("seed: 0\n", "expected all keys of the package's, and it lacks allow_overlap, analysis, "),
    ],
)
def test_a_configuration_of_ones_own_that_is_none_is_told(text, told, own, run_cli, tmp_path):
    folder = own("config", text)
    ended = run_cli("check", "--config-dir", str(folder), cwd=tmp_path)
    assert ended.code == 1 and told in ended.err and "Traceback" not in ended.err


def test_a_folder_that_is_not_there_is_told(run_cli, tmp_path):
    ended = run_cli("check", cwd=tmp_path, env={"CALIB_SWEEP_CONF": "nowhere"})
    assert ended.code == 1 and "nowhere: expected a folder" in ended.err


def test_launchers_may_be_added_and_nothing_else_of_hydras():
    assert not is_shipped("hydra/launcher/our_cluster", CONF)
    assert is_shipped("hydra/launcher/slurm_gpu", CONF) and is_shipped("hydra/config", CONF)


def test_launchers_of_plugins_are_known_before_anything_else_has_asked_for_them():
    code = """
from calib_sweep.places import CONF
from calib_sweep.sweep.own_folders import is_shipped
print(*(is_shipped(f"hydra/launcher/{name}", CONF) for name in ("our_cluster", "slurm")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["False", "True"], done.stderr


def test_an_empty_folder_is_told_too(tmp_path):
    assert describe([tmp_path], CONF) == [f"choices of your own: {tmp_path} has none"]
