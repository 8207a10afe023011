"""The benchmarks run, on shapes of no interest: what they measure is for a quiet machine."""

import json
import re

import numpy as np
import pytest
from helpers.benchmark_scripts import run_benchmark as run
from helpers.fakes import random_tokens, save_tiny
from helpers.repository import ROOT
from helpers.shipped import TOOLS

pytestmark = pytest.mark.slow


VARIANTS = ("default", "resident", "float32_hessians", "recorded_launches", "single_launches")
# A thousandth of each task's items, times their choices: 1 2 3 10 5 1 2 1 2 1 items.
NUM_REQUESTS = 1 * 4 + 2 * 4 + 3 * 2 + 10 * 4 + 5 * 1 + 1 * 4 + 2 * 2 + 1 * 2 + 2 * 2 + 1 * 2


def test_every_method_is_measured_in_its_parts(tmp_path):
    options = ["--device", "cpu", "--shape", "tiny", "--dtypes", "float32", "--variants", *VARIANTS]
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
        assert 0.49 < row["sparsity"] < 0.52 or name in ("paper_gptq", "spqr")
        assert row["mean_output_error"] == rows[name, "default"]["mean_output_error"]


SHIPPED = sorted(p.stem for p in (ROOT / "conf" / "method").glob("*.yaml"))


def test_whatever_is_shipped_can_be_measured(tmp_path):
    names = [name for name in SHIPPED if name not in (*TOOLS, "reap")]  # which needs experts
    names.append("gptq:format=nvfp4,act_order=true")
    options = ["--device", "cpu", "--shape", "tiny", "--dtypes", "float32", "--methods", *names]
    options += ["--activations", "int8:clip_ratio=0.9", "--rotation", "hadamard:online=false"]
    run("gpu.py", *options, "--out", tmp_path / "out.json")
    rows = json.loads((tmp_path / "out.json").read_text())["runs"]
    assert [row["method"] for row in rows] == names
    assert all(row["activations"] == "int8:clip_ratio=0.9" for row in rows)
    solved = {row["method"] for row in rows if row["parts_s"]["solve"] > 0}
    assert {"alps", "awq", "dsnot", "gptq", "owl", names[-1]} <= solved
    errors = {row["method"]: row["mean_output_error"] for row in rows}
    assert errors["alps"] < errors["sparsegpt"] and 0 < errors[names[-1]] < 0.1


def test_a_walk_on_a_cpu_is_measured_by_itself(tmp_path):
    options = ["--shape", "tiny", "--threads", 1, "--methods", "gptq"]
    run("walk.py", *options, "--out", tmp_path / "out.json")
    (row,) = json.loads((tmp_path / "out.json").read_text())["runs"]
    parts = row["parts_cpu_s"]
    assert row["cpu_s"] == pytest.approx(sum(parts.values())) and row["threads"] == 1
    assert all(parts[part] > 0 for part in ("forward", "statistics", "factorise", "solve"))
    assert row["beyond_gib"] >= 0 and row["floor_cpu_s"]["all"] > 0


@pytest.mark.slow
def test_the_state_of_a_walk_is_measured(tmp_path):
    said = run("checkpoint.py", "--shape", "tiny", "--times", 1, "--folder", tmp_path)
    assert "gptq on cpu, 2 blocks: " in said and "all blocks 2 MB, put in place in " in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_walk_that_two_processes_share_is_measured_beside_that_of_one(tmp_path):
    options = ["--shape", "tiny", "--threads", 1, "--methods", "gptq", "--times", 1]
    run("walk.py", *options, "--ranks", 1, 2, "--out", tmp_path / "out.json")
    one, two = json.loads((tmp_path / "out.json").read_text())["runs"]
    assert (one["ranks"], two["ranks"]) == (1, 2)
    assert one["sum_cpu_s"] == one["cpu_s"] and two["cpu_s"] < two["sum_cpu_s"]
    assert one["parts_cpu_s"]["exchange"] == 0 < two["parts_cpu_s"]["exchange"]


def test_text_that_a_model_writes_is_measured_beside_reading_it(tmp_path):
    options = ["--device", "cpu", "--shape", "tiny", "--dtypes", "float32", "--text-tokens", 9]
    options += ["--variants", "write", "launched", "generate", "--rows", 2, 4, "--sampling", "rich"]
    run("generation.py", *options, "--out", tmp_path / "out.json")
    report = json.loads((tmp_path / "out.json").read_text())
    rows = {(row["variant"], row["rows"]): row for row in report["runs"]}
    assert set(rows) == {(v, n) for v in ("write", "launched", "generate") for n in (2, 4)}
    # 4 samples of 32 tokens; two blocks of 4 x 128^2 + 3 x 128 x 384 weights, a head of 256 x 128,
    # five norms. Of 31 tokens each, all before it are read: 31 x 32 / 2.
    weights = 4 * (2 * (4 * 128**2 + 3 * 128 * 384) + 256 * 128 + 5 * 128)
    for (_, num), row in rows.items():
        kept = num * 31 * 32 // 2 * 2 * 2 * 128 * 4
        floor_s = 4 // num * (31 * weights + kept) / report["environment"]["bytes_per_s"]
        assert row["floor_s"] == pytest.approx(floor_s)
        assert row["tokens_per_s"] == pytest.approx(4 * 32 / row["wall_s"])


def test_errors_of_methods_on_random_layers_are_a_table():
    lines = run("layer_errors.py", "--set", "wanda", "gptq:bits=3", "--seeds", 1).splitlines()
    rows = {name: list(map(float, cells)) for name, *cells in map(cells_of, lines[2:])}
    (zeros, bits, *errors), rounded = rows["wanda"], rows["gptq:bits=3"]
    assert (zeros, bits) == (0.5, 16.0) and 3 < rounded[1] < 3.2
    assert all(0 < error < 0.1 for error in (*errors, *rounded[2:]))
    few = run("layer_errors.py", "--set", "gptq:bits=3", "--seeds", 1, "--tokens", 128)
    own, other = map(float, cells_of(few.splitlines()[2])[3:])
    assert other > 2 * own > 0  # a repair that is made for a few tokens


def cells_of(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_tokens_to_compare_on_are_those_of_the_cells(tmp_path):
    overrides = ["calibration.num_samples=2", "calibration.seq_len=32", "dataset=mini_news"]
    overrides += ["evaluation.perplexity.max_windows=1"]
    run("agreement_tokens.py", "--sets", 2, "--out", tmp_path / "tokens.npz", *overrides)
    made = np.load(tmp_path / "tokens.npz")
    assert made["evaluation_NT"].shape == (5, 256)
    first, second = made["calibration_SNT"]
    assert first.shape == (2, 32) and not np.array_equal(first, second)


def test_the_same_cell_in_several_ways_is_compared(tmp_path):
    save_tiny("llama", tmp_path / "model")
    tokens = random_tokens(8, 64).numpy()
    np.savez(tmp_path / "tokens.npz", calibration_SNT=tokens[None, :4], evaluation_NT=tokens[4:])
    options = ["--device", "cpu", "--dtypes", "float32", "--model", tmp_path / "model"]
    options += ["--tokens", tmp_path / "tokens.npz", "--synthetic", "--size", "32"]
    run("agreement.py", *options, "--out", tmp_path / "out.json")
    report = json.loads((tmp_path / "out.json").read_text())
    again = [row for row in report["trained"] if row["what"] == "again"]
    assert len(again) == 5
    assert {(row["weights"], row["equal"], row["ppl"]) for row in again} == {(0.0, 1.0, 0.0)}
    assert all(row["float32"]["hessian_vs_float64"] < 1e-5 for row in report["synthetic"])


def test_products_of_inputs_are_compared_with_float64():
    options = ["--device", "cpu", "--tokens", 2048, "--features", 32]
    lines = run("gram_errors.py", *options).splitlines()
    assert [line.split()[2] for line in lines] == ["float32", "by", "float32", "by"]
    assert all(float(line.split()[-3]) < 1e-5 for line in lines)


def test_what_it_costs_to_prepare_tasks_is_a_line_for_each_way():
    rows = [line.split() for line in run("preparing.py", "--share", 0.001).splitlines()]
    assert [row[0] for row in rows] == ["first", "others", "alone"]
    assert len({row[4] for row in rows}) == 1 and all(float(row[1]) > 0 for row in rows)


def test_draws_of_kept_documents_are_a_line_for_each_way():
    few = ("--documents", 3000, "--texts", 100, "--samples", 8)
    lines = run("token_store.py", *few).splitlines()
    ways = [line.split()[0] for line in lines if line.startswith("  ")]
    assert ways == ["look", "open", "draw"] * 6 + ["anew", "kept", "whole"]
    tokenised = [int(line.split()[-3].replace(",", "")) for line in lines[-3:]]
    assert tokenised[0] > tokenised[1] > 0


def test_one_worker_and_several_run_in_turn():
    job = ["method=rtn,magnitude", "evaluation.perplexity.max_windows=1", "tracking=none"]
    printed = run("workers.py", "--repeats", 1, "--job", *job, "evaluation.zero_shot=null")
    lines = [line.partition("workers=")[2] for line in printed.splitlines()]
    assert [line.partition(":")[0] for line in lines] == ["1", "auto", "1", "auto"]
    assert lines[2] == "1: 1.00 of the first by the clock, 1.00 of the processor"


def test_packed_and_single_requests_are_measured_and_compared(tmp_path):
    options = ["--shape", "tiny", "--device", "cpu", "--dtypes", "float32", "--eager"]
    options += ["--share", 0.001, "--share-of-windows", 0.01]
    options += ["--variants", "packed", "hflm_16", "windows", "agreement"]
    run("scoring.py", *options, "--out", tmp_path / "out.json")
    rows = {row["variant"]: row for row in json.loads((tmp_path / "out.json").read_text())["runs"]}
    packed, windows, agreement = rows["packed"], rows["windows"], rows["agreement"]
    for row in (packed, rows["hflm_16"]):
        assert row["requests"] == agreement["requests"] == NUM_REQUESTS and row["wall_s"] > 0
        assert row["packed_tokens"] < row["single_tokens"]
        assert row["all_tasks_s"] == pytest.approx(1000 * row["wall_s"])
    assert windows["windows"] == 2
    assert windows["all_windows_s"] == pytest.approx(83 * windows["wall_s"])
    found = agreement["from_float32"]
    assert list(found) == ["hflm_16", "hflm_64", "packed"] and found["hflm_16"]["largest"] == 0
    assert agreement["rms_log_likelihood"] > 10
    assert all(one["same_choice"] == 1 and one["largest"] < 1e-3 for one in found.values())


def test_the_time_that_is_told_to_be_left_is_nearer_than_a_plain_rate():
    shown = [cells_of(line)[2:] for line in run("eta.py").splitlines()[2:]]
    assert [len(row) for row in shown] == [4] * 4  # orders and numbers of workers; shares done
    for told in (cell for row in shown for cell in row):
        error, plain, held = (int(share) for share in re.findall(r"(\d+)%", told))
        assert error < plain and held >= 50


def test_a_cell_on_two_devices_is_measured_beside_a_cell_on_each(tmp_path):
    out = tmp_path / "ranks.json"
    tiny = ["--shape", "tiny", "--device", "cpu", "--dtype", "float32", "--methods", "wanda"]
    said = run("gpu_ranks.py", *tiny, "--share", 0.002, "--share-of-windows", 0.02, "--out", out)
    rows = json.loads(out.read_text())["runs"]
    assert [row["kind"] for row in rows[::3]] == ["alone", "apart", "together"]
    assert [row["ranks"] for row in rows] == [1] * 6 + [2] * 3
    of_part = [rows[place::3] for place in range(3)]
    assert len({row["sum"] for row in of_part[1]}) == 1  # the same answers, whoever gives them
    assert said.count("speed_up") == 3
