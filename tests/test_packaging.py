"""The wheel holds the configuration, the plugins and the miniature world, and runs anywhere."""

import os
import subprocess
import sys
import zipfile

import pytest
from helpers.repository import ROOT


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The wheel of this checkout, unpacked; built by the backend in the environment, no network."""
    folder = tmp_path_factory.mktemp("wheel")
    build = f"from hatchling.build import build_wheel; print(build_wheel({str(folder)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", build], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def run(unpacked, cwd, *arguments):
    """The program from the unpacked wheel, before this checkout on the path."""
    code = (
        f"import sys; sys.path = [{str(unpacked)!r}] + [p for p in sys.path if p != {str(ROOT)!r} "
        f"and p != {str(ROOT / 'launchers')!r}]\n"
        "from calib_sweep import cli; import hydra_plugins.calib_sweep as plugins\n"
        f"assert cli.__file__.startswith({str(unpacked)!r}), cli.__file__\n"
        f"assert plugins.__file__.startswith({str(unpacked)!r}), plugins.__file__\n"
        f"assert str(cli.CONF).startswith({str(unpacked)!r}), cli.CONF\n"
        f"sys.argv = ['calib-sweep', *{list(arguments)!r}]\n"
        "sys.exit(cli.main())"
    )
    environment = os.environ | {"PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
    )


def test_every_yaml_and_the_weights_are_in_the_wheel(unpacked):
    package = unpacked / "calib_sweep"
    files = [path for path in package.rglob("*") if path.is_file()]
    shipped = {path.relative_to(package).as_posix() for path in files}
    for path in (ROOT / "conf").rglob("*.yaml"):
        assert path.relative_to(ROOT).as_posix() in shipped
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert f"miniature/weights/{name}" in shipped
    assert "analysis/published/self_calibration.csv" in shipped
    assert "py.typed" in shipped  # type checkers read our annotations


def test_the_plugins_are_in_the_wheel_as_a_namespace(unpacked):
    assert (unpacked / "hydra_plugins/calib_sweep/grid_sweeper.py").is_file()
    assert not (unpacked / "hydra_plugins/__init__.py").exists()


@pytest.mark.slow
def test_a_cell_runs_from_the_wheel_in_another_folder(unpacked, tmp_path, tiny_world):
    done = run(unpacked, tmp_path, "method=magnitude", *tiny_world)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list(tmp_path.glob("results/default/*/record.json"))) == 2
