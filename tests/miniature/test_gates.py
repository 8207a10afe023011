"""The gates: every one can fail, on numbers made by hand; what they are computed from is right."""

import itertools
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.fakes import tiny_model
from omegaconf import OmegaConf

from calib_sweep.analysis.scores.means import ACC_MEAN
from calib_sweep.errors import ConfigError
from calib_sweep.method.magnitude import Magnitude
from calib_sweep.method.wanda import Wanda
from calib_sweep.miniature import corpus
from calib_sweep.miniature.acceptance import card, gates, measure
from calib_sweep.miniature.acceptance.gates import Dense, all_gates
from calib_sweep.miniature.acceptance.grid import (
    EXPERIMENTS,
    model_overrides,
    sweep_name,
    to_scores,
)
from calib_sweep.miniature.acceptance.guessing import num_candidates, standard_error
from calib_sweep.miniature.acceptance.page import Checkpoint
from calib_sweep.miniature.acceptance.page import card as written_card
from calib_sweep.places import CONF, DOMAINS, TASKS, WEIGHTS
from calib_sweep.results.store import Store
from calib_sweep.sweep.plan import compose_command_line, plan_cells

DENSE = Dense(
    perplexity=dict.fromkeys(DOMAINS, 4.0),
    trigram=dict.fromkeys(DOMAINS, 6.0),
    accuracy=dict(zip(TASKS, (0.9, 0.8, 0.7, 0.8, 0.6), strict=True)),
    guessing=dict(zip(TASKS, (0.25, 0.6, 0.5, 0.5, 0.5), strict=True)),
    num_items=320,
    copying=(8.0, 1.0),
    moved={"magnitude": 0, "rtn 3 bit": 0},
    num_parameters=1_500_000,
    num_bytes=3_000_000,
)
# Perplexity of each method; 4 is the dense model's.
LEVELS = {
    "magnitude": 6.0, "wanda": 5.0, "sparsegpt": 4.5,
    "magnitude_24": 30.0, "wanda_24": 20.0, "sparsegpt_24": 10.0, "sparsegpt_quantized": 4.6,
    "rtn 4 bit": 4.1, "rtn 3 bit": 4.8, "rtn 2 bit": 90.0,
    "gptq 4 bit": 4.05, "gptq 3 bit": 4.4, "gptq 2 bit": 40.0,
}  # fmt: skip


DATA_FREE = ("magnitude", "magnitude_24", "rtn")


@pytest.fixture(scope="module")
def records() -> list[dict]:
    """A record of every cell of the three experiments, its scores made by hand."""
    made = [dict(method="dense", dataset=None, seed=None, bits=None)]
    for name in EXPERIMENTS:
        axes = swept(name)
        bits = [int(one) for one in axes.get("method.bits", "").split(",") if one] or [None]
        cells = itertools.product(axes["method"].split(","), axes["dataset"].split(","), bits)
        for method, dataset, num_bits in cells:
            seeds = range(int(re.fullmatch(r"range\((\d)\)", axes["seed"])[1]))
            data = (
                [(dataset, seed) for seed in seeds] if method not in DATA_FREE else [(None, None)]
            )
            made += [dict(method=method, dataset=d, seed=s, bits=num_bits) for d, s in data]
    return [record_of(**one) for one in made]


def swept(experiment: str) -> dict[str, str]:
    yaml = OmegaConf.load(CONF / "experiment" / f"{experiment}.yaml")
    return {str(key): value for key, value in yaml.hydra.sweeper.params.items()}


def record_of(method: str, dataset: str | None, seed: int | None, bits: int | None) -> dict:
    """Perplexity and accuracy that differ a little between seeds and more between datasets."""
    level = LEVELS.get(f"{method} {bits} bit" if bits else method, 4.0)
    if dataset is not None:
        level *= 1 + 0.001 * seed + 0.01 * DOMAINS.index(dataset)
    scores = {f"ppl/{domain}@256": level for domain in DOMAINS}
    scores |= {f"acc/{task}": 1 / level for task in TASKS} | {"acc/mean": 1 / level}
    settings = {"method.bits": bits} if bits else {}
    cell = {"method": method, "dataset": dataset, "seed": seed, "settings": settings}
    return {"cell": cell, "scores": scores}


@pytest.fixture
def scores(records):
    return to_scores(records)


def failing(dense, scores) -> list[str]:
    return [gate.name for gate in all_gates(dense, scores) if not gate.passed]


def test_every_gate_passes_on_numbers_as_they_should_be(scores) -> None:
    assert failing(DENSE, scores) == []
    assert len(all_gates(DENSE, scores)) == 21


@pytest.mark.parametrize(
    ("change", "gate"),
    [
        ({"trigram": {**DENSE.trigram, "mini_mix": 5.9}}, "mini_mix: dense perplexity"),
        ({"accuracy": {**DENSE.accuracy, "mini_lastword": 0.74}}, "accuracy above guessing"),
        (
            {"accuracy": {**DENSE.accuracy, "mini_boolq": 0.58}},
            "accuracy above guessing, every task",
        ),
        ({"copying": (8.0, 7.1)}, "a random word list"),
        ({"moved": {"rtn 3 bit": 1}}, "magnitude and RTN: SD over seeds"),
        ({"num_parameters": 4_000_001}, "parameters"),
        ({"num_parameters": 999_999}, "parameters"),
        ({"num_bytes": 8_000_000}, "bytes of weights"),
    ],
)
def test_a_gate_of_the_dense_model_fails(change, gate: str, scores) -> None:
    (failed,) = failing(replace(DENSE, **change), scores)
    assert failed.startswith(gate)


@pytest.mark.parametrize(
    ("method", "level", "gate"),
    [
        ("wanda", 6.5, "50 %: perplexity of the calibrated domain"),
        ("sparsegpt", 5.5, "50 %: perplexity of the calibrated domain"),
        ("magnitude_24", 15.0, "2:4: perplexity of the calibrated domain"),
        ("rtn 4 bit", 4.9, "RTN: rise of log perplexity grows"),
        ("sparsegpt_quantized", 4.9, "SparseGPT with 50 % zeros and 4 bits"),
        ("gptq 3 bit", 4.9, "GPTQ below RTN"),
    ],
)
def test_a_gate_of_the_order_fails(method: str, level: float, gate: str, scores) -> None:
    moved = {
        key: value * level / LEVELS[method] if key[0] == method and "ppl" in key[2] else value
        for key, value in scores.items()
    }
    (failed,) = failing(DENSE, moved)
    assert failed.startswith(gate)


def test_damage_that_drowns_in_the_spread_of_seeds_is_not_visible(scores) -> None:
    key = ("gptq 3 bit", "mini_web", "ppl/geomean")
    spread = scores | {key: np.array([4.0, 4.2, 4.4, 4.6, 4.8])}
    assert failing(DENSE, spread) == ["RTN: the rise at 3 bits is visible"]


@pytest.mark.parametrize(
    ("metric", "word"), [("ppl/geomean", "perplexity"), ("acc/mean", "accuracy")]
)
def test_a_calibrated_method_that_ignores_the_seed_fails(metric: str, word: str, scores) -> None:
    one = {("wanda_24", "mini_wiki", metric): scores["wanda_24", "mini_wiki", metric][[0, 0]]}
    assert failing(DENSE, scores | one) == []  # two draws that agree by chance
    all_of_it = {
        key: value[[0, 0]]
        for key, value in scores.items()
        if key[0] == "wanda_24" and key[2] == metric
    }
    assert failing(DENSE, scores | all_of_it) == [f"calibrated methods: SD of {word} over seeds"]


def test_seed_sds_are_pooled_over_datasets() -> None:
    made = {("wanda", "mini_web", "acc/mean"): np.array([0.0, 2.0])}  # variance 2
    made |= {("wanda", "mini_wiki", "acc/mean"): np.array([1.0, 1.0, 1.0])}
    made |= {("rtn", None, "acc/mean"): np.array([1.0])}
    assert gates.seed_sds(made, "acc/mean") == {"wanda": 1.0}


def test_a_data_free_method_that_ran_once_per_seed_fails(scores) -> None:
    twice = scores | {("magnitude", None, "ppl/geomean"): np.array([6.0, 6.0])}
    assert failing(DENSE, twice) == ["magnitude and RTN: SD over seeds"]


@pytest.mark.parametrize("metric", ["ppl/geomean", "acc/mean"])
def test_datasets_that_differ_no_more_than_seeds_fail(metric: str, scores) -> None:
    same = {
        (method, domain, metric): scores[method, "mini_web", metric]
        for method in gates.TESTED
        for domain in DOMAINS
    }
    (failed,) = failing(DENSE, scores | same)
    assert failed.startswith("50 %: datasets differ")


def test_the_f_test_is_the_ratio_of_mean_squares() -> None:
    values_DS = np.array([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]])
    made = {("wanda", d, "acc/mean"): v for d, v in zip(DOMAINS[:2], values_DS, strict=True)}
    made |= {("wanda", d, "acc/mean"): values_DS[0] for d in DOMAINS[2:]}
    # Between: 3 (4 x 0.2^2 + 0.8^2) / 4 = 0.6; within: 5 x 2 / 10 = 1. P(F(4, 10) > 0.6) = 0.671.
    assert gates.source_p(made, "wanda", "acc/mean") == pytest.approx(0.671, abs=5e-4)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiments_compose_and_read_data_where_they_should(experiment: str) -> None:
    axes = swept(experiment)
    words = [f"method={axes['method']}", "dataset=mini_news", "seed=1"]
    cells = plan_cells(
        Store("nowhere", "none"),
        compose_command_line(CONF, [f"experiment={experiment}", *words]),
    )
    found = {cell.method: cell.needs_data for cell in cells}
    assert found == {m: m not in DATA_FREE for m in axes["method"].split(",")} | {"dense": False}
    assert {cell.config["sweep_name"] for cell in cells} == {experiment}
    assert {cell.config["evaluation"]["zero_shot"]["num_items"] for cell in cells} == {100}


def test_two_different_results_for_one_cell_are_refused(records) -> None:
    again = [{**records[0], "scores": {**records[0]["scores"], "acc/mean": 0.0}}]
    with pytest.raises(ConfigError, match="--results"):
        to_scores([*records, *again])


def test_a_guesser_picks_among_the_choices_or_the_fitting_words() -> None:
    told = "Ilka kept the bottle. Dorin hid the feather in the barn. Ilka"
    assert num_candidates({"choices": ["a", "b", "c", "d"], "answer": 1}) == 4
    assert num_candidates({"passage": "It rains.", "answer": 1}) == 2
    assert num_candidates({"context": told, "word": "bottle"}) == 2  # and a feather
    assert num_candidates({"context": told, "word": "barn"}) == 1
    assert (
        num_candidates({"context": "They called the mill Tolrox. We know", "word": "Tolrox"}) == 1
    )
    assert standard_error(1.0, 0.5, 100) == pytest.approx(0.05)
    assert standard_error(0.5, 0.1, 100) == pytest.approx(0.05)


def test_copying_compares_the_same_tokens_of_both_mentions() -> None:
    lists_NL = np.array([[3, 1, 4, 0], [2, 0, 1, 3]])

    def echo(input_ids: torch.Tensor) -> SimpleNamespace:
        """Uniform over five tokens; from the second mention on 16 times likelier as before."""
        logits_NTV = torch.zeros(*input_ids.shape, 5)
        for place in range(4, 7):  # the next token was said four places before it
            likely = input_ids[:, place - 3]
            logits_NTV[torch.arange(2), place, likely] = math.log(16)
        return SimpleNamespace(logits=logits_NTV)

    first, second = measure.copying(echo, lists_NL)  # type: ignore[arg-type]
    assert first == pytest.approx(math.log(5))
    assert second == pytest.approx(math.log(20 / 16))


def test_word_lists_are_different_whole_words() -> None:
    class Words:
        def __len__(self) -> int:
            return 3000

        def decode(self, ids: list[int]) -> str:
            """Words, of which some are no words: with digits, without a space before, short."""
            (token,) = ids
            letters = "".join("abcdefghij"[int(digit)] for digit in str(token))
            return (f" w{letters}ord", f" {token}", f"w{letters}", " a")[token % 4]

    lists_NL = measure.word_lists(Words())  # type: ignore[arg-type]
    assert lists_NL.shape == (measure.NUM_LISTS, measure.LIST_LENGTH)
    assert not (lists_NL % 4).any()
    assert all(len(set(row)) == measure.LIST_LENGTH for row in lists_NL)


def test_two_calibration_sets_move_weights_of_calibrated_methods_only() -> None:
    model = tiny_model()
    settings = {"sparsity": 0.5, "pattern": "unstructured"}
    assert measure.num_moved(model, Magnitude(**settings, compare="layer")) == 0
    assert measure.num_moved(model, Wanda(**settings)) > 0


def test_domain_text_is_tokenised_whole(monkeypatch) -> None:
    def bytes_of(text: str, verbose: bool) -> dict[str, list[int]]:
        return {"input_ids": list(text.encode())}

    monkeypatch.setattr(measure, "CHUNK", 2)
    tokens = measure.domain_tokens("mini_wiki", bytes_of, 3)  # type: ignore[arg-type]
    text = "\n\n".join([*corpus.documents("mini_wiki", "train", 3), ""])
    assert bytes(tokens.astype(np.uint8)).decode() == text


def checkpoint(scores, **training) -> Checkpoint:
    row = {"step": 100, "tokens": 1e6, "seconds": 60.0, "loss_text": 2.0, "loss_repeats": 0.1}
    figures = {
        "seed": 0, "steps": 200, "documents": 10, "pages_per_document": 8,
        "repeat_share": 0.25, "feature_spread": 0.4, "text_version": corpus.VERSION, "tokens": 2e6,
        "minutes": 2.0, "device": "cpu", "threads": 2, "num_parameters": 1_500_000,
        "log": [row, row | {"step": 200, "loss_text": 1.5}],
    }  # fmt: skip
    config = json.loads((WEIGHTS / "config.json").read_text())
    return Checkpoint(training=figures | training, config=config, dense=DENSE, scores=scores)


def test_the_card_states_every_gate_and_compares_training_seeds(scores) -> None:
    shipped = replace(checkpoint(scores), dense=replace(DENSE, copying=(8.0, 7.5)))
    text = written_card(shipped, [checkpoint(scores, seed=1), checkpoint(scores, seed=2)])
    assert "20 of 21 hold" in text
    failed = [line for line in text.splitlines() if "FAIL" in line]
    assert len(failed) == 1 and "8.00 nats per token, then 7.50" in failed[0]
    assert text.count("| pass |") == 20
    assert "|  | seed 0 | seed 1 | seed 2 |" in text
    assert "| methods at 2:4 | sparsegpt, wanda, magnitude |" in text
    assert "| datasets, wanda, accuracy | web, news, mix, filtered, wiki |" in text
    assert f"version {corpus.VERSION}:" in text
    assert "| wanda | 5.01 (0.01) |" in text
    assert str(Path.cwd()) not in text and "$" not in text


def test_the_card_says_whether_accuracy_follows_perplexity(scores) -> None:
    assert "Accuracy follows perplexity" in written_card(checkpoint(scores), [])
    better = np.array([0.99])
    turned = {**scores, ("magnitude", None, ACC_MEAN): better}
    assert "99.0 %, on 5 of 5 calibration domains" in written_card(checkpoint(turned), [])


def test_the_card_of_a_lone_checkpoint_says_that_it_is_one(scores) -> None:
    assert "## Other training seeds\n\nNone was measured.\n\n## What was tried" in written_card(
        checkpoint(scores), []
    )


def folder_of(path: Path, **figures) -> Path:
    path.mkdir(parents=True)
    if figures:
        (path / card.TRAINING).write_text(json.dumps(figures))
    return path


def test_weights_of_another_text_or_without_their_figures_are_refused_together(
    tmp_path: Path, capsys
) -> None:
    old = folder_of(tmp_path / "old", text_version="0")
    bare = folder_of(tmp_path / "bare")
    with pytest.raises(SystemExit) as leaving:
        card.main(["--weights", str(old), "--beside", str(bare)])
    assert leaving.value.code == 1
    said = capsys.readouterr().err
    assert "text_version='0'" in said and "bare" in said and "training.json" in said


def test_folders_of_one_name_would_share_their_sweeps(tmp_path: Path) -> None:
    folders = [
        folder_of(tmp_path / parent / "out", text_version=corpus.VERSION) for parent in ("a", "b")
    ]
    with pytest.raises(ConfigError, match="--beside"):
        card.check(folders)


def test_the_shipped_weights_have_the_sweeps_without_a_suffix(tmp_path: Path) -> None:
    assert model_overrides(WEIGHTS) == []
    assert sweep_name("miniature", WEIGHTS) == "miniature"
    other = tmp_path / "a b=c"
    assert sweep_name("miniature", other) == "miniature-a b=c"
    (point,) = compose_command_line(CONF, model_overrides(other))
    assert point.config["model"]["path"] == str(other)


def test_every_gate_is_named_once(scores) -> None:
    names = [gate.name for gate in all_gates(DENSE, scores)]
    assert len(set(names)) == len(names)
