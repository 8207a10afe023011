"""Texts are gone on with as one row at a time would be, whatever is beside them."""

import numpy as np
import pytest
import torch
from helpers.fakes import tiny_model
from helpers.scored import random_llama, sentence, train_tokenizer

from calib_sweep.model.generation import Prompt, batches, generate
from calib_sweep.seeding import stream

TEXTS = [sentence("prompt", i)[: 8 + 9 * i] for i in range(7)]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer()


def prompts_of(tokenizer, texts=TEXTS, length=12, **changes):
    return [Prompt(tokenizer.encode(one), length, **changes) for one in texts]


@torch.no_grad()
def slow_greedy(model, tokens, num_new):
    """The likeliest token after all the tokens so far, one forward pass each, no cache."""
    tokens = list(tokens)
    for _ in range(num_new):
        logits_V = model(input_ids=torch.tensor([tokens])).logits[0, -1]
        tokens.append(int(logits_V.argmax()))
    return tokens[-num_new:]


def without_ends(model, tokenizer):
    """A model and a tokenizer in which no token ends a text."""
    model.generation_config.eos_token_id = None
    tokenizer.eos_token = None
    return model, tokenizer


@pytest.mark.parametrize("architecture", ["llama", "opt", "gpt2", "gpt_neox", "bloom", "mistral"])
def test_the_likeliest_tokens_are_those_of_one_row_without_a_cache(architecture):
    model, tokenizer = without_ends(tiny_model(architecture, vocab_size=300), train_tokenizer())
    prompts = prompts_of(tokenizer)
    expected = [slow_greedy(model, one.tokens, 12) for one in prompts]
    assert len({tuple(row) for row in expected}) > 1
    for budget in (1, 100, 10_000):
        assert generate(model, tokenizer, prompts, budget) == expected
    assert generate(model, tokenizer, prompts[::-1], 200) == expected[::-1]


def test_a_row_ends_with_its_stop_string_whatever_its_neighbours_do():
    model, tokenizer = without_ends(random_llama(), train_tokenizer())
    whole = generate(model, tokenizer, prompts_of(tokenizer, length=24), 10_000)
    texts = [tokenizer.decode(row, skip_special_tokens=True) for row in whole]
    stops = [(text[len(text) // 2 :][:3],) if i % 2 else () for i, text in enumerate(texts)]
    assert all(one[0] in text for one, text in zip(stops, texts, strict=True) if one)
    prompts = [
        Prompt(one.tokens, 24, stop=stop)
        for one, stop in zip(prompts_of(tokenizer), stops, strict=True)
    ]
    for budget in (1, 10_000):
        found = generate(model, tokenizer, prompts, budget)
        for row, full, stop in zip(found, whole, stops, strict=True):
            ends = [
                n
                for n in range(1, 25)
                if any(s in tokenizer.decode(full[:n], skip_special_tokens=True) for s in stop)
            ]
            assert row == full[: ends[0] if ends else 24]
    assert {len(row) for row in found} > {24}


def test_a_stop_string_that_the_prompt_holds_does_not_stop():
    model, tokenizer = without_ends(random_llama(), train_tokenizer())
    (prompt,) = prompts_of(tokenizer, ["the cat sees"], stop=("the cat",))
    assert len(generate(model, tokenizer, [prompt], 100)[0]) == 12


def test_a_special_token_is_a_stop_string_too():
    model, tokenizer = without_ends(random_llama(), train_tokenizer())
    prompt, *_ = prompts_of(tokenizer)
    (whole,) = generate(model, tokenizer, [prompt], 100)
    text = tokenizer.convert_ids_to_tokens(whole[5])
    tokenizer.add_special_tokens({"additional_special_tokens": [text]})
    assert tokenizer.decode(whole[5:6], skip_special_tokens=True) == ""
    (found,) = generate(model, tokenizer, [Prompt(prompt.tokens, 12, stop=(text,))], 100)
    assert found == whole[: whole.index(whole[5]) + 1]


@pytest.mark.parametrize("whose", ["model", "tokenizer"])
def test_a_row_ends_with_the_token_that_ends_a_text(whose):
    model, tokenizer = without_ends(random_llama(), train_tokenizer())
    prompts = prompts_of(tokenizer)
    whole = generate(model, tokenizer, prompts, 10_000)
    end = whole[0][4]
    if whose == "model":
        model.generation_config.eos_token_id = [1, end]
    else:
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end)
    found = generate(model, tokenizer, prompts, 10_000)
    for row, full in zip(found, whole, strict=True):
        assert row == (full[: full.index(end) + 1] if end in full else full)
    assert len(found[0]) <= 5


def test_batches_hold_one_kind_and_keep_to_the_budget():
    draw = stream("tests/batches")
    prompts = [
        Prompt([1] * int(n), int(bound), options={"temperature": 0.5} if n % 2 else {})
        for n, bound in zip(draw.integers(1, 40, 50), draw.choice([8, 16], 50), strict=True)
    ]
    made = list(batches(prompts, 100))
    assert sorted(i for batch in made for i in batch) == list(range(50))
    for batch in made:
        kinds = {(prompts[i].max_new_tokens, str(prompts[i].options)) for i in batch}
        longest = max(len(prompts[i].tokens) for i in batch)
        assert len(kinds) == 1 and len(batch) * (longest + kinds.pop()[0]) <= 100
    assert list(batches([Prompt([1] * 200, 8), Prompt([1], 8)], 100)) == [[0], [1]]


def drawn_prompts(tokenizer, text, num, length=1, **options):
    return [
        Prompt(
            tokenizer.encode(text),
            length,
            uniform_L=stream("tests/drawn", i).random(length),
            options=options,
        )
        for i in range(num)
    ]


@pytest.mark.parametrize(
    ("options", "kept"), [({"top_k": 0}, 300), ({"temperature": 0.7, "top_k": 5}, 5), ({}, 50)]
)
def test_tokens_are_drawn_from_the_distribution_of_the_settings(options, kept):
    model, tokenizer = without_ends(random_llama(), train_tokenizer())
    found = generate(model, tokenizer, drawn_prompts(tokenizer, TEXTS[3], 2000, **options), 10**6)
    counts_V = np.bincount([row[0] for row in found], minlength=300)
    logits_V = model(input_ids=torch.tensor([tokenizer.encode(TEXTS[3])])).logits[0, -1].double()
    logits_V = logits_V / options.get("temperature", 1.0)
    least = logits_V.sort(descending=True).values[kept - 1]
    p_V = logits_V.masked_fill(logits_V < least, -torch.inf).softmax(-1).numpy()
    assert counts_V[p_V == 0].sum() == 0
    error_V = np.sqrt(2000 * p_V * (1 - p_V)) + 1
    assert (np.abs(counts_V - 2000 * p_V) / error_V).max() < 4.5
    assert (counts_V > 0).sum() > 1


def test_what_is_drawn_belongs_to_the_row_alone():
    model, tokenizer = without_ends(random_llama(), train_tokenizer())
    before = torch.get_rng_state()
    prompts = [
        one for text in TEXTS[:3] for one in drawn_prompts(tokenizer, text, 2, length=6, top_k=0)
    ]
    found = generate(model, tokenizer, prompts, 10_000)
    assert len({tuple(row) for row in found}) > 3
    assert generate(model, tokenizer, prompts[::-1], 20) == found[::-1]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_number_in_the_middle_of_a_tokens_share_draws_it():
    model, tokenizer = without_ends(random_llama(), train_tokenizer())
    tokens = tokenizer.encode(TEXTS[2])
    logits_V = model(input_ids=torch.tensor([tokens])).logits[0, -1].double()
    ends_V = logits_V.softmax(-1).cumsum(-1)
    for token in (0, 7, 150, 299):
        begin = float(ends_V[token - 1]) if token else 0.0
        middle = np.array([(begin + float(ends_V[token])) / 2])
        prompt = Prompt(tokens, 1, uniform_L=middle, options={"top_k": 0})
        assert generate(model, tokenizer, [prompt], 100) == [[token]]
