"""How many workers a command starts, and what the machine lends."""

import os
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf

from calib_sweep.cell import DENSE
from calib_sweep.errors import ConfigError
from calib_sweep.parts.building import Builder
from calib_sweep.ranks import ALONE
from calib_sweep.sweep import machine, staffing
from calib_sweep.sweep.launching import BASIC

GIB = 2**30
CPU = {"name": "tiny", "path": "tiny", "dtype": "float32", "device": "cpu"}


@pytest.fixture
def of_machine(monkeypatch):
    """`of_machine(cores, gib)`: a machine of so many cores and so much free memory, and no GPU."""

    def set_to(cores, gib):
        monkeypatch.setattr(staffing, "num_cores", lambda: cores)
        monkeypatch.setattr(staffing, "free_memory", lambda: gib * GIB)
        monkeypatch.setattr(staffing, "DEVICES", ())
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    return set_to


@pytest.fixture
def grid(make_cell):
    """`grid(n, **config)`: a dense cell, and n others that are compared with it."""

    def make(num, **config):
        cells = [make_cell(model=CPU, seed=seed, **config) for seed in range(num)]
        return [cells[0].dense(), *cells]

    return make


def master(target=BASIC):
    choices = {"hydra/launcher": "basic" if target == BASIC else "accelerate"}
    node = {"launcher": {"_target_": target}, "runtime": {"choices": choices}}
    return OmegaConf.create({"hydra": node}, flags={"allow_objects": True})


@pytest.mark.parametrize(
    ("cores", "threads", "gib", "at_once", "expected"),
    [
        (8, 1, 64, 100, 8),  # cores
        (8, 2, 64, 100, 4),  # over threads
        (8, 3, 64, 100, 2),
        (8, 16, 64, 100, 1),
        (8, 1, 10, 100, 4),  # 0.8 of 10 GiB at 2 GiB each
        (8, 1, 1, 100, 1),
        (8, 1, 64, 3, 3),  # cells
        (8, 1, 64, 0, 1),
    ],
)
def test_auto_takes_the_cores_as_memory_and_cells_allow(
    cores, threads, gib, at_once, expected, of_machine
):
    of_machine(cores, gib)
    assert staffing.num_workers("auto", threads, 2 * GIB, at_once) == expected


def test_a_number_that_was_typed_is_taken_but_for_the_cells(of_machine):
    of_machine(1, 1)
    assert staffing.num_workers(3, 4, 2 * GIB, 100) == 3
    assert staffing.num_workers(3, 4, 2 * GIB, 2) == 2


@pytest.mark.parametrize(("num", "expected"), [(1, 1), (2, 2), (9, 4)])
def test_cells_wait_for_their_dense_one_so_a_grid_of_one_starts_nothing(
    num, expected, grid, of_machine, monkeypatch
):
    of_machine(4, 64)
    monkeypatch.setattr(staffing, "num_weights", lambda *_: 1000)
    cells = grid(num, num_threads=1)
    assert staffing.needed(Builder(), "auto", cells) == expected
    assert staffing.first_guess("auto", [cell.config for cell in cells]) == expected


def test_cells_of_which_only_the_dense_one_is_left_are_one_at_once(grid, of_machine, monkeypatch):
    of_machine(4, 64)
    monkeypatch.setattr(staffing, "num_weights", lambda *_: None)
    assert staffing.needed(Builder(), "auto", grid(3, num_threads=1)[:1]) == 1


def test_a_large_model_is_loaded_as_often_as_it_has_room(grid, of_machine, monkeypatch):
    """1 GB of its own, and three times 2 GB of weights: 7 GB; 0.8 x 20 GiB hold two of them."""
    of_machine(8, 20)
    monkeypatch.setattr(staffing, "num_weights", lambda *_: 500_000_000)
    assert staffing.needed(Builder(), "auto", grid(9, num_threads=1)) == 2


def test_threads_that_torch_chooses_count(grid, of_machine, monkeypatch):
    of_machine(4, 64)
    monkeypatch.setattr(staffing, "num_weights", lambda *_: 1000)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cells = grid(9, num_threads=None)
    assert staffing.needed(Builder(), "auto", cells) == 1
    assert staffing.first_guess("auto", [cell.config for cell in cells]) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert staffing.first_guess("auto", [cell.config for cell in cells]) == 2


def test_a_model_on_a_gpu_has_one_worker(make_cell, of_machine, monkeypatch, tmp_path):
    of_machine(4, 64)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(staffing, "DEVICES", (tmp_path,))
    auto = {**CPU, "device": "auto"}
    cells = [make_cell(model=auto, seed=seed, num_threads=1) for seed in range(4)]
    assert staffing.needed(Builder(), "auto", cells) == 1
    assert staffing.first_guess("auto", [cell.config for cell in cells]) == 1
    with pytest.raises(ConfigError, match="hydra/launcher=accelerate"):
        staffing.check_workers(master(), [make_cell(model=auto, workers=2)], {})


@pytest.mark.parametrize(
    ("workers", "target", "environment", "may"),
    [
        ("auto", BASIC, {}, True),
        (2, BASIC, {}, True),
        (1, BASIC, {}, False),
        ("auto", "another.Launcher", {}, False),
        ("auto", BASIC, {"LOCAL_RANK": "0"}, False),
        ("auto", BASIC, {"WORLD_SIZE": "8", "MASTER_ADDR": "node0"}, True),  # left over
        ("auto", BASIC, {"SLURM_JOB_ID": "7"}, False),
        (2, BASIC, {"SLURM_JOB_ID": "7"}, True),
        ("many", BASIC, {}, False),  # refused elsewhere
        (0, BASIC, {}, False),
    ],
)
def test_who_starts_workers(workers, target, environment, may):
    assert staffing.may_start(master(target), workers, environment) == may


@pytest.mark.parametrize(
    ("target", "environment", "phrase"),
    [
        ("another.Launcher", {}, "workers=3: has no effect with hydra/launcher=accelerate"),
        (BASIC, {"LOCAL_RANK": "1"}, "workers=3: expected auto or 1"),
    ],
)
def test_a_number_that_another_decides_is_refused(target, environment, phrase, grid):
    with pytest.raises(ConfigError, match=phrase):
        staffing.check_workers(master(target), grid(2, workers=3), environment)
    for workers in (1, "auto"):
        staffing.check_workers(master(target), grid(2, workers=workers), environment)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "250000 100000"}, 2),
        ({"inside/cpu.max": "50000 100000"}, 1),  # less than one is one
        ({"cpu.max": "900000 100000"}, 8),
    ],
)
def test_cores_are_those_of_the_process_and_of_its_control_group(
    files, cores, tmp_path, monkeypatch
):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    proc, groups = control_groups(tmp_path, "0::/inside/deep", files)
    assert machine.num_cores(proc, groups) == cores


def test_cores_of_the_older_interface(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    files = {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}
    proc, groups = control_groups(tmp_path, "3:cpu:/only/the/host/knows\n2:memory:/x", files)
    assert machine.num_cores(proc, groups) == 3
    (groups / "cpu/cpu.cfs_quota_us").write_text("-1")
    assert machine.num_cores(proc, groups) == 8


def test_memory_is_what_machine_and_control_group_have_left(tmp_path, monkeypatch):
    free = SimpleNamespace(available=10 * GIB)
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: free)
    proc, groups = control_groups(tmp_path, "0::/", {"memory.max": "max", "memory.current": "5"})
    assert machine.free_memory(proc, groups) == 10 * GIB
    (groups / "memory.max").write_text(str(4 * GIB))
    (groups / "memory.current").write_text(str(3 * GIB))
    (groups / "memory.stat").write_text(f"anon 12\ninactive_file {2 * GIB}\n")
    assert machine.free_memory(proc, groups) == 3 * GIB  # files that were read give way


def test_what_is_not_linux_has_its_cores(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert machine.num_cores(tmp_path / "none", tmp_path) == 6


def control_groups(folder, path, files):
    proc, groups = folder / "proc", folder / "groups"
    (proc / "self").mkdir(parents=True)
    (proc / "self/cgroup").write_text(path)
    for name, text in files.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(text)
    groups.mkdir(exist_ok=True)
    return proc, groups


def test_a_dense_method_counts_as_one_before_anything_is_known(of_machine):
    of_machine(4, 64)
    dense = {"model": CPU, "method": DENSE, "num_threads": 1}
    other = {**dense, "method": {"_target_": "x"}}
    assert staffing.first_guess("auto", [dense]) == 1
    assert staffing.first_guess("auto", [dense, other, other]) == 2


class Single:
    """A launcher that starts single processes."""


def test_what_ranks_cannot_have_is_told_at_once(make_cell, monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    model = {**CPU, "device": "cuda:1"}
    with pytest.raises(ConfigError) as refused:
        staffing.check_ranks(
            master(), [make_cell(model=model, ranks_per_cell=2, workers=3)], ranks=ALONE
        )
    told = refused.value.problems
    assert [text.partition(":")[0] for text in told] == [
        *("workers=3", "ranks_per_cell=2", "model.device='cuda"),
    ]
    assert "RANK is not set" in told[1]


def test_a_check_of_ranks_needs_no_ranks(grid):
    staffing.check_ranks(master(), grid(2, ranks_per_cell=2, workers="auto"))
    staffing.check_ranks(master(), grid(2, workers=3), ranks=ALONE)  # no ranks are asked for


def test_a_launcher_of_single_processes_is_refused_for_ranks(grid):
    target = master(f"{__name__}.Single")
    staffing.check_ranks(target, grid(2))
    with pytest.raises(ConfigError, match="starts one process for a cell"):
        staffing.check_ranks(target, grid(2, ranks_per_cell=2))
