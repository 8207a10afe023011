"""Cells that are killed in their walk and run again: the same files to the last bit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from helpers.sweeps import read_records

from calib_sweep import checkpoints
from calib_sweep.compression import walk as walk_module
from calib_sweep.interruption import Interrupted

KEEP = ["checkpoint=blocks", "checkpoint_seconds=0"]


def left_by(results: Path) -> dict[str, object]:
    """All that a cell leaves that does not hang on the clock, by its id."""
    left = {}
    for record in read_records(results / "default"):
        (folder,) = results.glob(f"default/*-{record['cell_id']}")
        layers = pd.read_parquet(folder / "layers.parquet").drop(columns="seconds", errors="ignore")
        compression = {k: v for k, v in record["compression"].items() if k != "seconds"}
        left[record["cell_id"]] = [
            record["scores"],
            record["stderr"],
            compression,
            layers.to_json(double_precision=15),
            (folder / "items.parquet").read_bytes(),
            sorted(path.name for path in folder.iterdir()),
        ]
    return left


@pytest.fixture
def stopping(monkeypatch):
    """`stopping(n)`: the n-th block of a method with data ends the command, as Ctrl-C would."""
    compress_block = walk_module.compress_block

    def stop_at(number):
        seen = []

        def compress(block, method, inputs, *args, **kwargs):
            seen.extend([block] if inputs is not None else [])
            if len(seen) == number:
                raise Interrupted("SIGTERM")
            return compress_block(block, method, inputs, *args, **kwargs)

        monkeypatch.setattr(walk_module, "compress_block", compress)

    return stop_at


def test_a_cell_goes_on_where_it_was_and_clears_up(
    run_cli, tiny_world, tmp_path, stopping, monkeypatch
):
    command = [*tiny_world, "method=gptq", "save_model=compressed-tensors"]
    whole, again = tmp_path / "whole", tmp_path / "again"
    assert run_cli(*command, f"results_dir={whole}", cwd=tmp_path).code == 0
    stopping(4)
    assert run_cli(*command, *KEEP, f"results_dir={again}", cwd=tmp_path).code == 130
    (kept,) = again.glob("default/*/.checkpoint")
    assert not (kept.parent / "record.json").exists()
    assert len(list(kept.glob("block-*"))) == 3
    monkeypatch.undo()
    ended = run_cli(*command, *KEEP, f"results_dir={again}", cwd=tmp_path)
    assert ended.code == 0 and "goes on behind 3 blocks that were compressed before" in ended.err
    assert left_by(again) == left_by(whole)
    assert not kept.exists()


@pytest.mark.slow
def test_a_walk_that_is_over_is_not_walked_again_when_scoring_was_killed(
    run_cli, tiny_world, tmp_path, monkeypatch
):
    command = [*tiny_world, *KEEP, "method=wanda"]
    with monkeypatch.context() as patched:
        patched.setattr("calib_sweep.run.summarise_layers", lambda *_: 1 / 0)
        assert run_cli(*command, cwd=tmp_path).code == 3
    assert len(list(tmp_path.glob("results/default/*dense*/.checkpoint/block-*"))) == 6
    ended = run_cli(*command, cwd=tmp_path)
    assert ended.code == 0 and "goes on behind 6 blocks" in ended.err


@pytest.mark.slow
def test_what_is_left_of_a_cell_that_is_done_goes(run_cli, tiny_world, tmp_path):
    """Its process was killed between the record and the clearing away."""
    command = [*tiny_world, *KEEP, "method=rtn"]
    assert run_cli(*command, cwd=tmp_path).code == 0
    (folder,) = tmp_path.glob("results/default/*-rtn-*")
    (folder / ".checkpoint").mkdir()
    (folder / ".checkpoint/state.json").write_text("{}")
    assert run_cli(*command, cwd=tmp_path).code == 0
    assert not (folder / ".checkpoint").exists()


def test_code_that_walks_is_part_of_whose_state_it_is(tmp_path, monkeypatch):
    for folder in checkpoints.WALKS:
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(checkpoints, "PACKAGE", tmp_path)

    def code():
        checkpoints._own_code.cache_clear()
        return checkpoints._own_code()

    before = code()
    (tmp_path / "method/new.py").write_text("x = 1\n")
    after = code()
    (tmp_path / "method/new.py").write_text("x = 2\n")
    assert len({before, after, code()}) == 3
    checkpoints._own_code.cache_clear()


@pytest.mark.slow
def test_processes_that_are_killed_at_any_moment_end_with_the_same_bits(tiny_world, tmp_path):
    """SIGKILL, again and again, in walks of two streams, of plans, and of quantised inputs."""
    size = ["calibration.num_samples=8", "calibration.seq_len=128", "calibration.window=pack"]
    grid = ["method=gptaq,owl", "activations=int8", "activations.scaling=static", "seed=0"]
    command = ["-m", *tiny_world, *size, *grid]
    whole, again = tmp_path / "whole", tmp_path / "again"
    helper = [sys.executable, "-m", "helpers.killed", str(again), "6", *command, *KEEP]
    paths = [str(Path(__file__).parent), *sys.path]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    ended = subprocess.run(helper, env=env, capture_output=True, text=True, timeout=600)
    log = again.with_suffix(".log").read_text()
    assert ended.returncode == 0, ended.stdout + ended.stderr + log
    told = json.loads(ended.stdout.splitlines()[-1])
    assert told["killed"] == 6 and told["resumed"] >= 2
    plain = [sys.executable, "-m", "calib_sweep", *command, f"results_dir={whole}"]
    subprocess.run(plain, env=env, check=True, capture_output=True, timeout=600)
    assert left_by(again) == left_by(whole)
