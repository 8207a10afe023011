"""The miniature's conversations: always the same, true, and nothing of what is held out."""

import hashlib
import json

import pytest
from helpers.repository import ROOT
from hydra.utils import instantiate
from omegaconf import OmegaConf
from transformers import AutoTokenizer

from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.dataset.calibration.weighting import token_weights
from calib_sweep.errors import ConfigError
from calib_sweep.miniature.chats import VERSION, MiniatureChat, conversation
from calib_sweep.miniature.corpus import documents
from calib_sweep.miniature.tasks import build
from calib_sweep.miniature.tasks.load import read
from calib_sweep.miniature.text.knowledge.facts import question_templates
from calib_sweep.miniature.text.knowledge.world import is_asked_only_in_tasks, world
from calib_sweep.miniature.text.passages.writer import is_held_out, sentences
from calib_sweep.places import DOMAINS, TASKS, WEIGHTS

FROZEN = "67c557cf698bfe37bd2c59e5e414be26423a3dacf1e7c72cbdb0d6b15f9d3146"  # of VERSION 1
COUNT = 40


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(WEIGHTS)


@pytest.fixture(scope="module")
def dataset():
    return instantiate(OmegaConf.load(ROOT / "conf" / "dataset" / "mini_chat.yaml"))


@pytest.fixture(scope="module")
def texts(dataset, tokenizer):
    return dataset.documents_for(tokenizer).read(range(COUNT))


def test_conversations_are_always_the_same():
    content = json.dumps([conversation(index) for index in range(COUNT)])
    assert (VERSION, hashlib.sha256(content.encode()).hexdigest()) == ("1", FROZEN)
    assert conversation(7) != conversation(8)


def test_turns_take_turns():
    for index in range(COUNT):
        roles = [message["role"] for message in conversation(index)]
        assert roles == ["user", "assistant"] * (len(roles) // 2) and roles
        assert all(message["content"] for message in conversation(index))


def test_no_sentence_is_on_the_side_of_what_is_held_out(texts):
    said = {sentence.strip() for one in texts for sentence in sentences(one.text)}
    assert len(said) > 500 and not any(map(is_held_out, said))
    held_out = {s.strip() for d in DOMAINS for text in documents(d, "heldout", 5)
                for s in sentences(text)}  # fmt: skip
    asked = {s.strip() for task in TASKS for item in read(task)
             for text in build.requests(task, item) for s in sentences(text)}  # fmt: skip
    assert not said & (held_out | asked)


def test_nobody_asks_for_a_fact_that_is_kept_for_the_tasks(texts):
    kept = {
        template.replace("{s}", entity.name)
        for kind in world().entities.values()
        for entity in kind
        for relation in entity.facts
        if is_asked_only_in_tasks(entity.name, relation)
        for template in question_templates(entity, relation)
    }
    assert not any(question in one.text for one in texts for question in kept)


def test_answers_to_questions_for_a_fact_hold_the_fact():
    facts = {
        f"Question: {template.replace('{s}', entity.name)}": entity.facts[relation]
        for kind in world().entities.values()
        for entity in kind
        for relation in entity.facts
        for template in question_templates(entity, relation)
    }
    found = 0
    for index in range(COUNT):
        turns = conversation(index)
        for asked, said in zip(turns[::2], turns[1::2], strict=True):
            if asked["content"] in facts:
                found += 1
                assert facts[asked["content"]].lower() in said["content"].lower()
    assert found > 100


def test_a_set_is_drawn_from_them_and_its_answers_weigh(dataset, tokenizer):
    settings = OmegaConf.to_container(
        OmegaConf.load(ROOT / "conf/model/miniature.yaml").calibration
    )
    calibration = Calibration(design="disjoint", window="slice", bos="document", **settings)
    drawn = dataset.draw(tokenizer, calibration, 0)
    assert drawn.tokens_NT.shape == (16, 256)
    assert 0.3 < drawn.answers_NT.mean() < 0.6
    assert (token_weights(drawn, "answers_only") == drawn.answers_NT).all()
    assert dataset.draw(tokenizer, calibration, 1).hash != drawn.hash
    told = "".join(
        tokenizer.decode(row[m]) for row, m in zip(drawn.tokens_NT, drawn.answers_NT, strict=True)
    )
    assert "Question" not in told and "Answer" not in told
    assert drawn.card["provenance"]["version"] == VERSION


def test_all_wrong_settings_are_told_at_once():
    with pytest.raises(ConfigError) as told:
        MiniatureChat(name="x", num_documents=0, template="chatlm")
    assert len(told.value.problems) == 2
