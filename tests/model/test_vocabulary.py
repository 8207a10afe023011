"""Tokens that a model has no embedding for are refused by number and place, in time."""

import json
import re

import numpy as np
import pytest
import torch
from helpers.fakes import byte_tokenizer, save_tiny
from helpers.hub_models import hub_model

from calib_sweep.errors import ConfigError
from calib_sweep.model.vocabulary import check_ids

CHAT = "<|user|>"  # token 259 of the tokenizer; the tiny model has embeddings for 0 to 258


def check(ids):
    check_ids("dataset", "chat", np.array(ids), 259, lambda row: f"document {7 + row}")


def test_the_first_id_without_an_embedding_is_named_with_its_document():
    check([[0, 258], [258, 0]])
    with pytest.raises(ConfigError) as caught:
        check([[0, 258], [1, 259], [260, 2]])
    assert "dataset='chat': expected token ids up to 258" in str(caught.value)
    assert "document 8 holds 259" in str(caught.value)


@pytest.fixture(scope="module")
def chatty(tmp_path_factory):
    """A model whose tokenizer has learnt a token that the model has not."""
    folder = save_tiny("llama", tmp_path_factory.mktemp("chatty") / "model")
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens([CHAT], special_tokens=True)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_loaded_model_refuses_an_id_before_it_looks_it_up(chatty):
    model = hub_model(chatty).load()
    with torch.no_grad():
        model(torch.tensor([[0, 258]]))
        with pytest.raises(ConfigError, match=r"up to 258, .* was given 259"):
            model(torch.tensor([[0, 259]]))


def test_ids_that_are_passed_by_name_are_refused_too(chatty):
    embedding = hub_model(chatty).load().get_input_embeddings()
    with pytest.raises(ConfigError, match="was given 259"):
        embedding(input=torch.tensor([[1, 259]]))


@pytest.fixture
def texts(tmp_path):
    """Documents to draw from and to score, with the token and without."""
    files = {}
    for name, beginning in (("plain", ""), ("chat", CHAT)):
        lines = [json.dumps({"text": beginning + letter * 200}) for letter in "abcdefgh"]
        files[f"drawn {name}"] = tmp_path / f"drawn_{name}.jsonl"
        files[f"drawn {name}"].write_text("\n".join(lines))
        files[f"scored {name}"] = tmp_path / f"scored_{name}.txt"
        files[f"scored {name}"].write_text(f"{'x' * 200} {beginning} {'y' * 200}")
    return files


@pytest.mark.parametrize(
    ("drawn", "scored", "told"),
    [
        ("plain", "plain", None),
        ("chat", "plain", r"dataset='drawn_chat': .*document drawn_chat\S+ \(seed 1\) holds 259"),
        ("plain", "chat", r"corpora='scored_chat': expected .* up to 258, .* window 6 holds 259"),
    ],
)
def test_check_refuses_such_tokens_and_takes_a_larger_tokenizer_without_them(
    run_cli, tiny_world, chatty, texts, drawn, scored, told, tmp_path
):
    world = [*tiny_world, "model=hf", f"model.path={chatty}", "calibration.window=document"]
    world += [f"dataset.path={texts[f'drawn {drawn}']}", "evaluation.perplexity.max_windows=null"]
    world += [f"evaluation.perplexity.corpora=[{texts[f'scored {scored}']}]", "seed=1"]
    ended = run_cli("check", *world[1:], "method=wanda", cwd=tmp_path)
    assert ended.code == (0 if told is None else 1), ended.err
    assert told is None or re.search(told, ended.err), ended.err
