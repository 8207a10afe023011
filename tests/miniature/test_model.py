"""The shipped checkpoint: loads offline, is small, and beats counting by far."""

import math

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from calib_sweep.miniature import DOMAINS, WEIGHTS
from calib_sweep.miniature.card import dense_perplexity, held_out_windows, tokens
from calib_sweep.miniature.corpus import document
from calib_sweep.miniature.tasks.load import read
from calib_sweep.miniature.trigram import DISCOUNT, Trigram


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(WEIGHTS)


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(WEIGHTS, dtype="float32").eval()


def test_weights_are_half_precision_safetensors_under_six_megabytes(model) -> None:
    files = {file.name for file in WEIGHTS.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= files
    assert (WEIGHTS / "model.safetensors").stat().st_size < 6_000_000
    assert model.config.architectures == ["LlamaForCausalLM"]
    assert model.config.dtype is not None
    assert model.config.max_position_embeddings == 512
    assert 1e6 < sum(parameter.numel() for parameter in model.parameters()) < 3e6


def test_tokenizer_gives_every_text_back_and_knows_its_special_tokens(tokenizer) -> None:
    texts = [document(domain, "heldout", 0) for domain in DOMAINS]
    for text in [*texts, "Tabs\tand  spaces, \u00e9\u4e2d\U0001f642 and <s> too."]:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
    special = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert special == (0, 1, 2)
    assert len(tokenizer) == 2048
    assert tokenizer("word")["input_ids"] == tokenizer.encode("word", add_special_tokens=False)


@pytest.mark.parametrize("domain", DOMAINS)
def test_dense_perplexity_is_far_below_a_trigram_models(domain: str, model, tokenizer) -> None:
    trigram = Trigram(tokens(tokenizer, domain, "train", range(60)), len(tokenizer))
    windows_NT = held_out_windows(tokenizer, domain, 4)
    assert dense_perplexity(model, windows_NT) < 0.6 * trigram.perplexity(windows_NT.ravel())


def test_the_model_knows_facts_that_it_was_never_asked_about(model, tokenizer) -> None:
    import torch

    rows, right = read("mini_facts")[:40], 0
    for row in rows:
        context = tokenizer.encode(row["question"] + "\nAnswer:", add_special_tokens=False)
        scores = []
        for choice in row["choices"]:
            ending = tokenizer.encode(" " + choice, add_special_tokens=False)
            ids = torch.tensor([context + ending])
            with torch.inference_mode():
                log_probs = model(input_ids=ids).logits[0, len(context) - 1 : -1].log_softmax(-1)
            scores.append(float(log_probs.gather(1, ids[0, len(context) :, None]).sum()))
        right += int(np.argmax(scores)) == row["answer"]
    assert right >= 30  # chance: 10


def test_trigram_probabilities_are_those_worked_out_by_hand() -> None:
    # 0 1 2 0 1 0: trigrams 012, 120, 201, 010, once each.
    trigram = Trigram(np.array([0, 1, 2, 0, 1, 0]), vocab_size=3)
    single_2 = (1 + 1) / (4 + 3)  # 2 follows one token; four different pairs end a trigram
    pair_12 = (1 - DISCOUNT) / 2 + DISCOUNT * 2 / 2 * single_2  # after 1 came 2 and 0
    triple_012 = (1 - DISCOUNT) / 2 + DISCOUNT * 2 / 2 * pair_12
    assert trigram.perplexity(np.array([0, 1, 2])) == pytest.approx(1 / triple_012)
    # 22 was never a context, nor 2 before 2: the lower orders alone decide.
    pair_22 = DISCOUNT * 1 / 1 * single_2
    assert trigram.perplexity(np.array([2, 2, 2])) == pytest.approx(1 / pair_22)


def test_trigram_probabilities_sum_to_one_in_every_context() -> None:
    trigram = Trigram(np.random.default_rng(0).integers(0, 5, 60), vocab_size=5)
    for u in range(5):
        for v in range(5):
            total = sum(1 / trigram.perplexity(np.array([u, v, w])) for w in range(5))
            assert math.isclose(total, 1.0, rel_tol=1e-9)
