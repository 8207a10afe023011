"""Calibration sets that need the model: drawn once for each, when a cell runs."""

import json
import random
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.fakes import tiny_model
from helpers.greedy import Greedy
from helpers.sweeps import read_records
from helpers.words import make_tokenizer

from calib_sweep.dataset.calibration.artifact import folder_of, keep, load_set
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.dataset.calibration.sampling import make_card
from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.dataset.mixture import Mixture
from calib_sweep.dataset.vocabulary import Vocabulary
from calib_sweep.drawing import DenseModel, draw, draw_once
from calib_sweep.errors import ConfigError, StoreError
from calib_sweep.processes import host_identity
from calib_sweep.results.claim import try_claim
from calib_sweep.results.store import Store

SETTINGS = Calibration(num_samples=3, seq_len=8, design="disjoint", window="slice", bos="none")


@pytest.fixture(scope="module")
def models():
    size = len(make_tokenizer())
    return [
        DenseModel(
            model=tiny_model("llama", vocab_size=size, seed=seed), weights={"content": str(seed)}
        )
        for seed in (0, 1)
    ]


@pytest.fixture
def greedy(tmp_path):
    return Greedy(name="greedy", notes=str(tmp_path / "notes"))


def draws(dataset):
    return [int(line) for line in Path(dataset.notes).read_text().split()]


def test_the_model_writes_the_set_once(models, greedy, tmp_path):
    sets = [draw_once(tmp_path, greedy, models[0], make_tokenizer(), SETTINGS, 2) for _ in "ab"]
    assert draws(greedy) == [2]
    assert sets[0].hash == sets[1].hash == load_set(sets[0].folder).hash
    tokens_NT = torch.from_numpy(sets[0].tokens_NT)
    following = models[0].model(input_ids=tokens_NT[:, :-1]).logits[:, -1].argmax(-1)
    assert torch.equal(following, tokens_NT[:, -1])
    assert [path.name for path in (tmp_path / "calibration").iterdir()] == [sets[0].folder.name]


def test_the_card_says_which_model_was_asked(models, greedy, tmp_path):
    cards = [
        draw_once(tmp_path, greedy, model, make_tokenizer(), SETTINGS, 0).card for model in models
    ]
    assert [card["model"] for card in cards] == [{"content": "0"}, {"content": "1"}]


def test_another_model_has_another_address(models, greedy, tmp_path):
    one, other = (
        draw_once(tmp_path, greedy, model, make_tokenizer(), SETTINGS, 0) for model in models
    )
    assert one.folder != other.folder and one.hash != other.hash and draws(greedy) == [0, 0]


def test_weights_depend_on_code_of_ones_own_and_not_on_the_place_of_ours(make_cell):
    def weights(target, code=None):
        cell = make_cell(model={"_target_": target, "path": "m"})
        return DenseModel.of(cell, None, code, tiny_model("llama")).weights

    ours = weights("calib_sweep.model.loading.HubModel")
    assert ours == weights("calib_sweep.model.moved.HubModel")
    own = weights("mine.Model", "a1")
    assert own != weights("mine.Model", "b2") and own != weights("other.Model", "a1")


class Sampling(Greedy):
    """Samples by global generators, as `model.generate(do_sample=True)` does."""

    def draw(self, tokenizer, calibration, seed, model=None):
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(9)
        first = torch.full((calibration.num_samples, 1), 3)
        rows = model.generate(
            first, do_sample=True, min_length=calibration.seq_len, max_length=calibration.seq_len
        )
        rows[0, 0], rows[1, 0] = random.randrange(20), np.random.randint(20)  # noqa: NPY002
        samples = [{"document": str(i), "offset": 0, "text": ""} for i in range(len(rows))]
        card = make_card(self.name, {}, None, calibration, seed, tokenizer)
        return CalibrationSet(tokens_NT=rows.numpy(), lengths_N=None, samples=samples, card=card)


def test_what_a_model_samples_belongs_to_the_seed(models, tmp_path):
    sampling, tokenizer = Sampling(name="s", notes=""), make_tokenizer()
    hashes = {0: [], 1: []}
    for cell in ("run", "inspect"):
        torch.manual_seed(len(cell))
        states = random.getstate(), torch.random.get_rng_state()
        for seed, found in hashes.items():
            drawn = draw_once(tmp_path / cell, sampling, models[0], tokenizer, SETTINGS, seed)
            found.append(drawn.hash)
        assert random.getstate() == states[0]
        assert torch.equal(torch.random.get_rng_state(), states[1])
    hashes[0].append(draw(sampling, models[0].model, tokenizer, SETTINGS, 0).hash)
    assert len(set(hashes[0])) == len(set(hashes[1])) == 1 and hashes[0][0] != hashes[1][0]
    other = draw_once(tmp_path, Sampling(name="t", notes=""), models[0], tokenizer, SETTINGS, 0)
    assert other.hash != hashes[0][0]


def test_what_a_draw_does_to_the_tokenizer_does_not_reach_the_next(models, tmp_path):
    sampling, tokenizer = Sampling(name="s", notes=""), make_tokenizer()
    before = tokenizer.pad_token
    for _ in "ab":
        draw_once(tmp_path, sampling, models[0], tokenizer, SETTINGS, 0)
    assert len(list((tmp_path / "calibration").iterdir())) == 1 and tokenizer.pad_token == before


def test_of_two_workers_one_draws_and_the_other_waits(models, tmp_path):
    greedy = Greedy(name="greedy", notes=str(tmp_path / "notes"), wait_s=0.3)
    found = []

    def work():
        found.append(draw_once(tmp_path, greedy, models[0], make_tokenizer(), SETTINGS, 0))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert draws(greedy) == [0]
    assert len({one.hash for one in found}) == 1 and len(found) == 3


def test_a_draw_that_fails_leaves_the_place_to_the_next(models, greedy, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(Greedy, "draw", fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            draw_once(tmp_path, greedy, models[0], make_tokenizer(), SETTINGS, 0)
    assert draw_once(tmp_path, greedy, models[0], make_tokenizer(), SETTINGS, 0).folder.is_dir()


def test_who_was_taken_over_while_drawing_uses_the_set_that_is_kept(models, tmp_path, monkeypatch):
    """Stopped for minutes, say, and then gone on: another process has drawn meanwhile."""
    sampling, original = Sampling(name="s", notes=""), Sampling.draw

    def late(self, tokenizer, calibration, seed, model):
        weights = models[0].weights
        folder = folder_of(tmp_path, self, make_tokenizer(), calibration, seed, None, weights)
        keep(original(self, tokenizer, calibration, seed, model), folder, self.name, seed)
        return original(self, tokenizer, calibration, seed, model)  # the next random numbers

    monkeypatch.setattr(Sampling, "draw", late)
    drawn = draw_once(tmp_path, sampling, models[0], make_tokenizer(), SETTINGS, 0)
    assert drawn.hash == load_set(drawn.folder).hash


def test_a_set_that_may_not_be_read_is_not_drawn_by_the_model_again(
    models, greedy, tmp_path, monkeypatch
):
    draw_once(tmp_path, greedy, models[0], make_tokenizer(), SETTINGS, 0)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(StoreError, match=r"cannot be read .*may draw other tokens"):
        draw_once(tmp_path, greedy, models[0], make_tokenizer(), SETTINGS, 0)
    monkeypatch.undo()
    assert draws(greedy) == [0]


@pytest.mark.parametrize(
    ("has_set", "claim", "stays"),
    [(True, "dead", False), (False, "dead", True), (True, "alive", True), (False, None, False)],
)
def test_what_says_who_draws_goes_with_the_dead(tmp_path, has_set, claim, stays):
    claims = tmp_path / "calibration" / "a1.drawing"
    claims.mkdir(parents=True)
    if has_set:
        claims.with_name("a1").mkdir()
    held = try_claim(claims)
    if claim != "alive":
        held.release()
    if claim == "dead":
        holder = {"host": host_identity(), "pid": 1, "started": "never"}
        (claims / "claim.0").write_text(json.dumps(holder))
    Store(tmp_path, "default").sweep_leftovers()
    assert claims.is_dir() == stays
    if claim == "alive":
        assert held.path.is_file()
        held.release()


def test_a_mixture_needs_the_model_if_a_part_with_a_share_does(models, greedy, tmp_path):
    parts = {"own": greedy, "noise": Vocabulary(name="noise")}
    mixed = Mixture(name="mix", parts=parts, weights={"own": 2, "noise": 1})
    assert mixed.needs_model
    assert not Mixture(name="mix", parts=parts, weights={"own": 0, "noise": 1}).needs_model
    drawn = draw_once(tmp_path, mixed, models[0], make_tokenizer(), SETTINGS, 0)
    alone = draw_once(
        tmp_path, greedy, models[0], make_tokenizer(), replace(SETTINGS, num_samples=2), 0
    )
    assert np.array_equal(drawn.tokens_NT[:2], alone.tokens_NT)


def test_a_mixture_checks_its_parts_without_the_model(greedy):
    class Refusing(Greedy):
        def check(self, tokenizer, calibration, seed):
            raise ConfigError("dataset.prefix=none: expected one.")

    parts = {"own": Refusing(name="own", notes=greedy.notes), "other": greedy}
    mixed = Mixture(name="mix", parts=parts, weights={"own": 1, "other": 1})
    with pytest.raises(ConfigError, match=r"dataset\.prefix"):
        mixed.check(make_tokenizer(), SETTINGS, 0)
    assert not Path(greedy.notes).exists()


CONFIG = """
_target_: helpers.greedy.Greedy
name: greedy
notes: {notes}
"""


def test_a_sweep_draws_with_the_model_when_a_cell_runs(run_cli, tiny_world, tmp_path):
    folder, notes = tmp_path / "own" / "dataset", tmp_path / "notes"
    folder.mkdir(parents=True)
    (folder / "greedy.yaml").write_text(CONFIG.format(notes=notes))
    world = [word for word in tiny_world if not word.startswith("dataset")]
    command = [*world, "dataset=greedy", "method=wanda,wanda_24", "seed=0,1"]
    command += ["--config-dir", str(tmp_path / "own")]

    checked = run_cli("check", "-m", *command, cwd=tmp_path)
    assert checked.code == 0, checked.err
    assert not notes.exists()

    ended = run_cli("-m", *command, cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert sorted(notes.read_text().split()) == ["0", "1"]
    records = read_records(tmp_path / "results" / "default")
    hashes = {r["cell"]["seed"]: r["calibration"]["hash"] for r in records if r["calibration"]}
    assert len(records) == 5 and len(set(hashes.values())) == 2

    shown = run_cli("inspect", *command[:-1], str(tmp_path / "own"), "-m", cwd=tmp_path)
    assert shown.code == 0 and "the model" in shown.out, shown.err
    assert sorted(notes.read_text().split()) == ["0", "1"]


def test_a_sweep_over_text_that_the_model_writes(run_cli, tiny_world, tmp_path):
    world = [word for word in tiny_world if not word.startswith("dataset")]
    written = [*world, "seed=0", "dataset=continued", "dataset.pool_size=4"]
    written += ["dataset@dataset.prefix=mini_wiki,mini_web", "method=wanda"]
    ended = run_cli("-m", *written, cwd=tmp_path)
    assert ended.code == 0, ended.err
    records = [r for r in read_records(tmp_path / "results" / "default") if r["calibration"]]
    notes = {r["calibration"]["provenance"]["prefix"]: r["calibration"] for r in records}
    assert set(notes) == {"mini_wiki", "mini_web"}
    for note in notes.values():
        assert note["cost"]["tokens_written"] == 4 * 32 and note["selection"]["pool_size"] == 4
    assert notes["mini_wiki"]["hash"] != notes["mini_web"]["hash"]
    assert "mini_wiki" in ended.out and "mini_web" in ended.out
