"""What a report claims of whole sweeps, a small version of benchmarks/claims.py."""

import importlib.util
import sys

import numpy as np
import pytest
from helpers.benchmark_scripts import run_benchmark
from helpers.repository import ROOT
from pandas.testing import assert_frame_equal

from calib_sweep.analysis.scores.items import Items
from calib_sweep.analysis.tables.losses import loss_table

SPEC = importlib.util.spec_from_file_location("claims_of_sweeps", ROOT / "benchmarks" / "claims.py")
claims = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = claims  # where its dataclasses look for themselves
SPEC.loader.exec_module(claims)


def limit(num):
    """6 % of sweeps, and 4 SEs."""
    return 0.06 + 4 * np.sqrt(0.06 * 0.94 / num)


@pytest.mark.parametrize(
    ("size", "shape", "num", "uncorrected"),
    [((2, 1, 5), "exponential", 150, 0.2), ((3, 2, 5), "normal", 60, 0.5)],
)
def test_few_sweeps_claim_what_is_not_so(size, shape, num, uncorrected, monkeypatch):
    """Nothing differs. With each hypothesis on its own level many sweeps would claim something."""
    assert claims.count(claims.null(size, shape), "test", num).share() <= limit(num)
    monkeypatch.setattr(claims, "corrected", lambda kind, p: (p, p))
    assert claims.count(claims.null(size, shape), "test", num).share() > uncorrected > limit(num)


def test_what_differs_is_claimed_and_nothing_else():
    """One of four methods is better by 2 SDs of a draw, on each of five datasets."""
    design = claims.Design(size=(4, 5, 5), better=2.0, **claims.BETTER)
    found = claims.count(design, "test", 15)
    assert found.power("methods") > 0.99 and found.power("new_dataset") > 0.9
    assert found.share() <= limit(15)


@pytest.mark.parametrize("size", [(2, 3, 4), (2, 4, 1)])
def test_losses_are_tested_as_the_report_tests_them(size):
    array = claims.array_of(claims.Design(size=size, method_dataset=0.5).scores("test", 3))
    columns = ["method", "metric", "estimate", "p"]
    ours, theirs = (
        table[columns].sort_values(columns[:2]).reset_index(drop=True)
        for table in (claims.losses(array), loss_table([array], Items()))
    )
    assert_frame_equal(ours, theirs, check_dtype=False)


@pytest.mark.slow
def test_the_tables_are_printed():
    said = run_benchmark("claims.py", "--small", "--sweeps", 20, "--processes", 2)
    assert said.count("| 2 x 1 x 5 |") == 2 and "| new_dataset |" in said
