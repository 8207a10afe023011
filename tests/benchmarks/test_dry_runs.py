"""The benchmarks run, on shapes of no interest: what they measure is for a quiet machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from fakes import random_tokens, save_tiny

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(script, *arguments):
    command = [sys.executable, str(BENCHMARKS / script), "--device", "cpu", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


VARIANTS = ("default", "resident", "float32_hessians", "recorded_launches", "single_launches")


def test_every_method_is_measured_in_its_parts(tmp_path):
    options = ["--shape", "tiny", "--dtypes", "float32", "--variants", *VARIANTS]
    run("gpu.py", *options, "--out", tmp_path / "out.json")
    report = json.loads((tmp_path / "out.json").read_text())
    rows = {(row["method"], row["variant"]): row for row in report["runs"]}
    assert len(rows) == 6 * len(VARIANTS) and report["environment"]["device"] == "cpu"
    for (name, variant), row in rows.items():
        parts = row["parts_s"]
        assert sum(parts.values()) <= row["wall_s"]
        assert (parts["propagate"] > 0) == (name != "magnitude")
        assert (parts["factorise"] > 0) == (name not in ("magnitude", "wanda"))
        assert (parts["load"] > 0) == (variant != "resident")
        assert 0.49 < row["sparsity"] < 0.52 or name in ("gptq_g128", "spqr")
        assert row["mean_output_error"] == rows[name, "default"]["mean_output_error"]


def test_the_same_cell_in_several_ways_is_compared(tmp_path):
    save_tiny("llama", tmp_path / "model")
    tokens = random_tokens(8, 64).numpy()
    np.savez(tmp_path / "tokens.npz", calibration_SNT=tokens[None, :4], evaluation_NT=tokens[4:])
    options = ["--dtypes", "float32", "--model", tmp_path / "model"]
    options += ["--tokens", tmp_path / "tokens.npz", "--synthetic", "--size", "32"]
    run("agreement.py", *options, "--out", tmp_path / "out.json")
    report = json.loads((tmp_path / "out.json").read_text())
    again = [row for row in report["trained"] if row["what"] == "again"]
    assert len(again) == 5
    assert {(row["weights"], row["equal"], row["ppl"]) for row in again} == {(0.0, 1.0, 0.0)}
    assert all(row["float32"]["hessian_vs_float64"] < 1e-5 for row in report["synthetic"])


def test_products_of_inputs_are_compared_with_float64():
    lines = run("gram_errors.py", "--tokens", 2048, "--features", 32).splitlines()
    assert [line.split()[2] for line in lines] == ["float32", "by", "float32", "by"]
    assert all(float(line.split()[-3]) < 1e-5 for line in lines)
