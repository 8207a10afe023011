"""No tracker is told a key or a password, and what is none stays as it is."""

import json

import pytest
from helpers.calibrated_cells import make_calibrated_cell

from calib_sweep.tracking.content import config_of, notes_of
from calib_sweep.tracking.redaction import redacted, redacted_word
from calib_sweep.tracking.serving import _problem


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("hydra.job.env_set.HF_TOKEN=abc,def", "hydra.job.env_set.HF_TOKEN=***"),
        ("+dataset.storage.secret_access_key=abc", "+dataset.storage.secret_access_key=***"),
        (
            "hydra.launcher.setup=[export WANDB_API_KEY='a b',module load cuda]",
            "hydra.launcher.setup=[export WANDB_API_KEY=***,module load cuda]",
        ),
        ("x={password: abc, seed: 1}", "x={password: ***, seed: 1}"),
        ("dataset.path=https://me:abc@host/a@b", "dataset.path=https://***@host/a@b"),
        ("dataset.path=https://ghp_abc@host/x", "dataset.path=https://***@host/x"),
        (f"x=hf_{'a1' * 17}", "x=***"),
    ],
)
def test_a_secret_is_hidden(text, shown):
    assert redacted_word(text) == shown


@pytest.mark.parametrize(
    "word",
    [
        "calibration.num_samples=128", "model.max_tokens=5", "tokenizer=gpt2", "dataset.key=text",
        "model.bos_token=<s>", "model.pad_token=[PAD]", f"model.revision={'0a' * 20}",
        "model=meta-llama/Llama-2-7b-hf", "method=wanda,rtn", "dataset.path=hf://datasets/a@main/b",
        "-m", "seed=range(5)", "method.secret_sauce=1",
    ],
)  # fmt: skip
def test_what_is_no_secret_stays(word):
    assert redacted_word(word) == redacted(word) == word


def test_notes_configuration_and_errors_have_no_secrets(tmp_path):
    folder = make_calibrated_cell(tmp_path / "results" / "made_up", 0)
    grid = {"command": ["-m", "dataset.token=abc", "seed=0"], "cells": [{"id": "0" * 12}]}
    (folder.parent / "grid-1.json").write_text(json.dumps(grid))
    notes = notes_of(folder, "record.json", "0" * 12)
    assert notes.endswith("Command: `python -m calib_sweep -m 'dataset.token=***' seed=0`")
    config = {"dataset": {"token": "abc", "urls": ["https://me:abc@host"]}, "use": {"token": True}}
    record = {"config": config, "cell": {"model": "m", "settings": {"dataset.api_key": "abc"}}}
    assert config_of(record) == {
        "dataset": {"token": "***", "urls": ["https://***@host"]},
        "use": {"token": True},
        "cell": {"model": "m", "settings": {"dataset.api_key": "***"}},
    }
    error = OSError("postgresql://me:abc@host is not there")
    assert _problem(error) == {"problem": "OSError: postgresql://***@host is not there"}
