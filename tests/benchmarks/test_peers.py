"""The benchmark beside llm-compressor runs where that is: `bash .ci/llm_compressor`."""

import json

import pytest
from helpers.benchmark_scripts import run_benchmark as run

pytestmark = pytest.mark.slow


def test_both_compress_the_same_model_alike_and_are_timed(tmp_path):
    pytest.importorskip("llmcompressor")
    options = ["--shape", "tiny", "--device", "cpu", "--dtype", "float32", "--blocks", 2]
    printed = run("peers.py", *options, "--out", tmp_path / "out.json")
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["environment"]["llmcompressor"] and report["environment"]["transformers"]
    rows = {(row["method"], row["who"]): row for row in report["runs"]}
    assert len(rows) == 12 and all(row["wall_s"] > 0 for row in rows.values())
    for (name, _), row in rows.items():
        assert row["error"] == pytest.approx(rows[name, "ours"]["error"], rel=0.05)
        assert row["sparsity"] == pytest.approx(rows[name, "ours"]["sparsity"], abs=0.002)
    assert sum(line.startswith("| ") for line in printed.splitlines()) == 13


def test_ours_alone_needs_no_library(tmp_path):
    options = ["--shape", "tiny", "--device", "cpu", "--dtype", "float32", "--blocks", 1]
    printed = run("peers.py", *options, "--ways", "--methods", "wanda")
    assert "| wanda | ours |" in printed
