"""The shipped checkpoint: loads offline, is small, is what its card says, passes quick gates."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from calib_sweep.evaluation.corpora.perplexity import Perplexity
from calib_sweep.evaluation.suite import Evaluation
from calib_sweep.evaluation.tasks.settings import ZeroShot
from calib_sweep.method.rtn import RTN
from calib_sweep.miniature import corpus
from calib_sweep.miniature.acceptance import gates, measure
from calib_sweep.miniature.acceptance.guessing import guessing
from calib_sweep.miniature.acceptance.trigram import Trigram
from calib_sweep.miniature.dataset import MiniatureDataset
from calib_sweep.miniature.tasks.load import read
from calib_sweep.places import DOMAINS, WEIGHTS

TRAINING = WEIGHTS / "training.json"


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(WEIGHTS)


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(WEIGHTS, dtype="float32").eval()


def test_weights_are_half_precision_safetensors_of_the_size_that_is_allowed(model) -> None:
    files = {file.name for file in WEIGHTS.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= files
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    num_bytes = (WEIGHTS / "model.safetensors").stat().st_size
    assert all(gate.passed for gate in gates.size_gates(num_parameters, num_bytes))
    assert num_bytes < 2.1 * num_parameters
    assert model.config.architectures == ["LlamaForCausalLM"]
    assert model.config.max_position_embeddings == 512


def test_tokenizer_gives_every_text_back_and_knows_its_special_tokens(tokenizer) -> None:
    texts = [corpus.document(domain, "heldout", 0) for domain in DOMAINS]
    for text in [*texts, "Tabs\tand  spaces, \u00e9\u4e2d\U0001f642 and <s> too."]:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
    special = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert special == (0, 1, 2)
    assert len(tokenizer) == 4096
    assert tokenizer("word")["input_ids"] == tokenizer.encode("word", add_special_tokens=False)


def test_the_card_is_about_these_weights_and_this_text(model) -> None:
    figures, card = json.loads(TRAINING.read_text()), (WEIGHTS / "README.md").read_text()
    assert figures["text_version"] == corpus.VERSION
    assert figures["num_parameters"] == sum(p.numel() for p in model.parameters())
    assert f"version {corpus.VERSION}:" in card
    assert f"{figures['num_parameters']:,}" in card
    assert f"{(WEIGHTS / 'model.safetensors').stat().st_size:,} bytes" in card
    assert f"seed {figures['seed']}, {figures['steps']:,} steps" in card
    last = figures["log"][-1]
    assert f"| {last['loss_text']:.3f} | {last['loss_repeats']:.3f} |" in card


@pytest.mark.parametrize("domain", DOMAINS)
def test_dense_perplexity_is_below_a_trigram_models(domain: str, model, tokenizer) -> None:
    held_out = MiniatureDataset(name=domain, domain=domain, split="heldout", num_documents=40)
    corpora = Perplexity(
        corpora=[held_out], seq_len=256, stride=None, bos="stream", max_windows=6, batch_tokens=2048
    )
    suite = Evaluation(perplexity=corpora, zero_shot=None, divergence=None).prepare(tokenizer)
    dense = suite.score(suite.scorer(model), None).scores[f"ppl/{domain}@256"]
    trigram = Trigram(measure.domain_tokens(domain, tokenizer, 100), len(tokenizer))
    counted = measure.counted_perplexity(trigram, suite.windows[0])
    (gate,) = gates.perplexity_gates({domain: dense}, {domain: counted})
    assert gate.passed, gate


def test_a_list_of_words_is_better_foreseen_the_second_time(model, tokenizer) -> None:
    gate = gates.copy_gate(*measure.copying(model, measure.word_lists(tokenizer)[:8]))
    assert gate.passed, gate


def test_the_model_knows_facts_that_it_was_never_asked_about(model, tokenizer) -> None:
    rows, right = read("mini_facts")[:60], 0
    for row in rows:
        context = tokenizer.encode(row["question"] + "\nAnswer:", add_special_tokens=False)
        totals = []
        for choice in row["choices"]:
            ending = tokenizer.encode(" " + choice, add_special_tokens=False)
            ids = torch.tensor([context + ending])
            with torch.inference_mode():
                log_probs = model(input_ids=ids).logits[0, len(context) - 1 : -1].log_softmax(-1)
            totals.append(float(log_probs.gather(1, ids[0, len(context) :, None]).sum()))
        right += int(np.argmax(totals)) == row["answer"]
    assert right / len(rows) > guessing("mini_facts") + gates.POINTS


def test_the_model_writes_most_facts_and_not_all(model, tokenizer) -> None:
    settings = ZeroShot(
        tasks=["mini_answers"],
        headline={"mini_answers": "exact_match"},
        include_path=None,
        storycloze_path=None,
        num_items=60,
    )
    suite = Evaluation(perplexity=None, zero_shot=settings, divergence=None).prepare(tokenizer)
    found = suite.score(suite.scorer(model), None)
    score = found.scores["exact_match/mini_answers"]
    best_guess = 0.18  # the value that is right most often, of each kind of question
    assert best_guess + 0.5 < score < 1
    assert found.scores["acc/mean"] == score
    assert found.scores["cut/mini_answers"] == 0
    assert found.parts["mini_answers"]["max_gen_toks"] == 16


def test_rounding_gives_the_same_bits_whatever_the_calibration_set(model) -> None:
    assert measure.num_moved(model, RTN(bits=3, group_size=None, symmetric=False)) == 0
