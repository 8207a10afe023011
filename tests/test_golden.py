"""Golden numbers: scores of a small grid on the miniature world, changed only on purpose.

    pytest tests/test_golden.py --update-golden -n 0 -s      shows old, new and relative change

Processors add in different orders. The last digit of an input decides a code that lies between two,
and the rest of its row follows: gptq's perplexities here differ by 0.8 % between two processors,
all others by 1e-6. So this grid runs on the code that torch and MKL have for every x86-64 processor
alike. What remains (another release of torch) is held to 0.1 % of perplexity and KL, 1 % of
percentiles of KL, one item of accuracies; that the same machine gives the same bytes is tested in
test_resume.py.
"""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.sweeps import read_records

GOLDEN = Path(__file__).parent / "golden" / "miniature.json"
ON_ANY_PROCESSOR = {"MKL_CBWR": "COMPATIBLE", "ATEN_CPU_CAPABILITY": "default"}
NUM_ITEMS = 40
GRID = [
    "-m",
    "method=magnitude,wanda,sparsegpt,gptq",
    "seed=0,1",
    "tracking=none",
    f"evaluation.zero_shot.num_items={NUM_ITEMS}",
    "evaluation.perplexity.max_windows=2",
    "evaluation.divergence.num_tokens=256",
]


def measured(cwd):
    command = [sys.executable, "-m", "calib_sweep", *GRID]
    environment = {**os.environ, **ON_ANY_PROCESSOR}  # read when torch is imported
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert list(cwd.glob("results/default/report/figures/*.svg"))
    records = read_records(cwd / "results" / "default")
    return {
        " ".join(str(record["cell"][key]) for key in ("method", "seed")): {
            "cell_id": record["cell_id"],
            "calibration": (record["calibration"] or {}).get("hash"),
            "scores": record["scores"],
        }
        for record in records
    }


def update(new):
    old = json.loads(GOLDEN.read_text())["cells"] if GOLDEN.exists() else {}
    for cell, now in new.items():
        for metric, value in now["scores"].items():
            before = old.get(cell, {}).get("scores", {}).get(metric)
            change = "new" if before is None else f"{value / before - 1:+.2e}" if before else "-"
            print(f"{cell:16} {metric:28} {before} -> {value}  {change}")
    made_on = {"python": platform.python_version(), "machine": platform.machine()}
    GOLDEN.write_text(json.dumps({"made_on": made_on, "cells": new}, indent=1) + "\n")


# The one test that may take over 10 s: nine cells of the shipped world at its own sizes, every
# metric, and the figures of their report, in a process of their own.
def test_scores_are_the_golden_ones(tmp_path, request):
    new = measured(tmp_path)
    if request.config.getoption("--update-golden"):
        update(new)
    golden = json.loads(GOLDEN.read_text())["cells"]
    assert new.keys() == golden.keys()
    for cell, now in new.items():
        assert now["cell_id"] == golden[cell]["cell_id"], cell
        assert now["calibration"] == golden[cell]["calibration"], cell
        assert now["scores"].keys() == golden[cell]["scores"].keys(), cell
        for metric, value in now["scores"].items():
            a_share = metric.startswith(("acc", "flips", "same_top"))
            of_one = metric.startswith("kl_")  # a percentile: a position or two
            tolerance = {"abs": 1.01 / NUM_ITEMS} if a_share else {"rel": 1e-3, "abs": 1e-5}
            tolerance |= {"rel": 1e-2} if of_one else {}
            assert value == pytest.approx(golden[cell]["scores"][metric], **tolerance), metric
