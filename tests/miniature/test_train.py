"""The recipe: seeded, resumable, and the same to the last bit after a kill."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from calib_sweep.errors import ConfigError
from calib_sweep.miniature.features import feature_factors
from calib_sweep.miniature.training import recipe, train
from calib_sweep.miniature.training.batches import Batches
from calib_sweep.miniature.training.recipe import Recipe
from calib_sweep.places import WEIGHTS

TINY = {"documents": 1, "hidden_size": 32, "num_layers": 1, "batch_tokens": 256, "peak_rate": 3e-3}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 256 tokens, not compiled."""
    monkeypatch.setattr(torch, "compile", lambda function: function)
    monkeypatch.setattr(recipe, "WINDOWS", ((0.5, 32), (0.5, 64)))


@pytest.fixture
def batches() -> Batches:
    tokens = np.random.default_rng(0).integers(3, 2048, 3000).astype(np.uint16)
    return Batches(tokens, seed=0)


def folder_with_tokenizer(path: Path) -> Path:
    path.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (path / name).write_bytes((WEIGHTS / name).read_bytes())
    return path


def trained(folder: Path, batches: Batches, steps: int = 6, seed: int = 0) -> dict:
    training = train.Training(Recipe(seed=seed, steps=steps, **TINY), folder, "cpu")
    training.run(batches)
    training.export()
    return load_file(folder / "model.safetensors")


def test_a_killed_training_ends_with_the_same_weights(
    small, batches: Batches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(folder_with_tokenizer(tmp_path / "whole"), batches)
    folder = folder_with_tokenizer(tmp_path / "killed")
    monkeypatch.setattr(train, "_SAVE_EVERY_S", -1.0)
    draw = batches.draw

    def killed(step: int, num_windows: int, seq_len: int) -> np.ndarray:
        if step == 4:
            raise KeyboardInterrupt
        return draw(step, num_windows, seq_len)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(batches, "draw", killed)
        trained(folder, batches)
    assert not (folder / "model.safetensors").exists()
    resumed = trained(folder, batches)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    figures = json.loads((folder / "training.json").read_text())
    assert figures["tokens"] == 6 * 256
    undisturbed = json.loads((tmp_path / "whole" / "training.json").read_text())
    for loss in ("loss_text", "loss_repeats"):  # of the steps before the kill too
        assert figures["log"][-1][loss] == undisturbed["log"][-1][loss]
    assert figures["log"][-1]["step"] == 6


def test_the_seed_decides_the_weights(small, batches: Batches, tmp_path: Path) -> None:
    first = trained(folder_with_tokenizer(tmp_path / "0"), batches, steps=1, seed=0)
    other = trained(folder_with_tokenizer(tmp_path / "1"), batches, steps=1, seed=1)
    name = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(first[name], other[name])


def test_exported_weights_are_those_trained_with_features_of_unlike_size(
    small, batches: Batches, tmp_path: Path
) -> None:
    folder = folder_with_tokenizer(tmp_path / "out")
    exported = trained(folder, batches, steps=1, seed=4)
    state = torch.load(folder / train.CHECKPOINT, weights_only=True)["model"]
    name = "model.layers.0.mlp.up_proj.weight"
    factors = feature_factors(32, seed=4)
    assert torch.equal(exported[name], (state[name] / factors).half())
    assert not torch.equal(exported[name], state[name].half())


def test_a_checkpoint_of_another_recipe_is_refused(small, batches: Batches, tmp_path: Path) -> None:
    folder = folder_with_tokenizer(tmp_path / "out")
    trained(folder, batches, steps=1)
    with pytest.raises(ConfigError, match="another recipe"):
        train.Training(Recipe(seed=3, steps=1, **TINY), folder, "cpu")


def test_a_checkpoint_of_other_optimizers_is_refused(
    small, batches: Batches, tmp_path: Path
) -> None:
    folder = folder_with_tokenizer(tmp_path / "out")
    trained(folder, batches, steps=1)
    state = torch.load(folder / train.CHECKPOINT, weights_only=True)
    state["optimizer"] = state.pop("optimizers")[0]
    torch.save(state, folder / train.CHECKPOINT)
    with pytest.raises(ConfigError, match=r"another recipe.*tokenizer\.json"):
        train.Training(Recipe(seed=0, steps=1, **TINY), folder, "cpu")


def test_all_that_was_typed_wrong_is_told_before_anything_is_written(
    tmp_path: Path, capsys
) -> None:
    with pytest.raises(SystemExit) as leaving:
        train.main(["--out", str(tmp_path / "out"), "--steps", "0", "--device", "gpu"])
    said = capsys.readouterr()
    assert leaving.value.code == 1 and not (tmp_path / "out").exists()
    assert "--steps=0" in said.out + said.err and "--device='gpu'" in said.out + said.err


def test_tokens_are_kept_under_a_name_that_says_which_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(folder: Path, documents: int, num_workers: int) -> np.ndarray:
        written.append(documents)
        return np.full(10, documents, dtype=np.uint16)

    written: list[int] = []
    monkeypatch.setattr(train, "token_array", write)
    folder = folder_with_tokenizer(tmp_path / "out")
    for documents in (1, 2, 1, 2):
        assert (train.load_or_write_tokens(folder, documents, 1) == documents).all()
    assert written == [1, 2]
    monkeypatch.setattr(train.corpus, "VERSION", "another")
    train.load_or_write_tokens(folder, 1, 1)
    assert written == [1, 2, 1]


def test_batches_hold_text_and_repeats_and_are_functions_of_the_step(batches: Batches) -> None:
    drawn = batches.draw(7, 10, 200)
    assert drawn.shape == (10, 200) and drawn.dtype == np.int64
    assert np.array_equal(drawn, batches.draw(7, 10, 200))
    assert not np.array_equal(drawn, batches.draw(8, 10, 200))
    num_text = batches.num_text(10)
    assert 5 <= num_text < 10
    text = batches.tokens.tobytes()
    assert all(row.astype(np.uint16).tobytes() in text for row in drawn[:num_text])
    # A repeat consists of few different tokens (at most 98), text of nearly 200.
    assert all(len(np.unique(row)) <= 98 for row in drawn[num_text:])
    assert all(len(np.unique(row)) > 150 for row in drawn[:num_text])


def test_learning_rates_warm_up_stay_and_fall_to_zero() -> None:
    plan = Recipe(seed=0, steps=1000, **TINY)
    shares = [plan.share_of_peak(step) for step in range(1000)]
    assert shares[0] == pytest.approx(1 / 100)
    assert shares[99:200] == pytest.approx([1.0] * 101)
    assert shares[600] == pytest.approx(1 / 2)
    assert shares[-1] == pytest.approx(1 / 800)
    assert plan.window(0) < plan.window(999) == 512
