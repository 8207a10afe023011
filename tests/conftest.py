"""Shared fixtures: the command line in this process, a world small enough for seconds.

run_cli(*arguments, cwd=folder)     code, out, err of `calib-sweep ARGUMENTS`, nothing left changed
tiny_world                          overrides: text of our own, one window, two samples, no tracking
no_weights                          whatever reads weights fails the test
make_cell(**changes)                a cell that never runs
"""

import contextlib
import gc
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import pytest
from helpers.shared_reading import shared_reading
from helpers.sweeps import write_documents

from calib_sweep.cell import Cell

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a model of a megabyte gains nothing by threads


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write tests/golden anew and show the change"
    )


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Search neither what is imported here for garbage nor, while tests run, what was imported.

    Otherwise the search is a third of the time that imports take, and more of it with every test.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let workers begin with the longest file, or one of them waits for it in the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.path.name != "test_golden.py")


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


RunCli = Callable[..., Ended]


@pytest.fixture(scope="session")
def run_cli() -> RunCli:
    """`run_cli(*arguments, cwd=folder, env={...})` runs the program in this process.

    Figures take longer to draw than a tiny cell to run: reports have them only with figures=True.
    """
    return _run


def _run(
    *arguments: str, cwd: Path, env: dict[str, str] | None = None, figures: bool = False
) -> Ended:
    from calib_sweep import cli
    from calib_sweep.analysis.report import write
    from calib_sweep.inspection import page
    from calib_sweep.sweep import staffing

    out, err = io.StringIO(), io.StringIO()
    drawing = contextlib.nullcontext() if figures else patch.object(write, "_draw", lambda *_: {})
    none = contextlib.nullcontext()
    plotting = none if figures else patch.object(page, "figures_of", lambda _: {})
    alone = patch.object(staffing, "num_cores", lambda: 1)  # what tests patch is patched here only
    with _as_a_fresh_process(), shared_reading(), drawing, plotting, alone, contextlib.chdir(cwd):
        os.environ.update({"WANDB_MODE": "offline", **(env or {})})
        sys.argv = ["calib-sweep", *arguments]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = cli.main()
            except SystemExit as leaving:
                code = leaving.code
    return Ended(
        code if isinstance(code, int) else int(code is not None), out.getvalue(), err.getvalue()
    )


@contextlib.contextmanager
def _as_a_fresh_process() -> Iterator[None]:
    """Put back afterwards what a process is allowed to change when it ends after one command."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.plugins import Plugins
    from hydra.core.singleton import Singleton

    plugins = Plugins.instance()  # kept: looking for them again takes its time
    argv, environment, singletons = sys.argv, dict(os.environ), Singleton.get_state()
    singletons["instances"][Plugins] = plugins
    loggers = [logging.getLogger(name) for name in ("", "calib_sweep")]
    before = [(logger, logger.handlers, logger.level) for logger in loggers]
    for logger in loggers:
        logger.handlers = list(logger.handlers) if logger.name == "root" else []
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        sys.argv = argv
        os.environ.clear()
        os.environ.update(environment)
        GlobalHydra.instance().clear()
        Singleton.set_state(singletons)
        for logger, handlers, level in before:
            logger.handlers = handlers
            logger.setLevel(level)


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever reads weights fails the test."""
    import safetensors.torch
    import torch
    from transformers import AutoModelForCausalLM

    def load(*_: object, **__: object) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", load)
    monkeypatch.setattr(torch, "load", load)
    monkeypatch.setattr(safetensors.torch, "load_file", load)


@pytest.fixture(scope="session")
def documents(tmp_path_factory) -> Path:
    """A file of 64 documents of 60 words."""
    return write_documents(tmp_path_factory.mktemp("documents") / "text.jsonl")


@pytest.fixture(scope="session")
def scored_documents(tmp_path_factory) -> Path:
    """As many others, to be scored."""
    return write_documents(tmp_path_factory.mktemp("scored") / "stories.jsonl", name="scored")


@pytest.fixture(scope="session")
def tiny_world(documents, scored_documents) -> list[str]:
    """Overrides under which a cell takes a fraction of a second, with the shipped model."""
    return [
        "model=miniature",
        "dataset=text",
        f"dataset.path={documents}",
        "calibration.num_samples=2",
        "calibration.seq_len=32",
        f"evaluation.perplexity.corpora=[{scored_documents}]",
        "evaluation.perplexity.seq_len=32",
        "evaluation.perplexity.max_windows=1",
        "evaluation.zero_shot=null",
        "evaluation.divergence=null",
        "tracking=none",
        "workers=1",
    ]


@pytest.fixture
def make_cell():
    """A cell of an invented model, method and dataset; keywords go into its configuration."""

    def make(*, needs_data=True, method=None, settings=None, **changes):
        config = {
            "model": {"name": "tiny", "path": "tiny", "dtype": "float32", "device": "cpu"},
            "method": method or {"_target_": "somewhere.Wanda", "sparsity": 0.5},
            "dataset": {"name": "corpus", "path": "corpus.txt"},
            "evaluation": {"perplexity": {"seq_len": 32, "batch_tokens": 4}},
            "calibration": {"num_samples": 4, "seq_len": 32},
            "walk": {"propagate": "compressed", "batch_tokens": 512},
            "tracking": {},
            "seed": 0,
            "replicate": 0,
            "sweep_name": "default",
            "results_dir": "results",
            "workers": 1,
            "num_threads": None,
            "save_model": None,
            "allow_overlap": False,
            "ranks_per_cell": 1,
            "rank_timeout_s": 60,
        } | changes
        choices = {"model": "hf", "method": "wanda", "dataset": "text"}
        return Cell(config=config, choices=choices, settings=settings or {}, needs_data=needs_data)

    return make
