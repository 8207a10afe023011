"""The tasks: enough items, no answer position to prefer, and nothing of them in training text."""

import re
from collections import Counter

import pytest
import yaml

from calib_sweep.miniature import DOMAINS
from calib_sweep.miniature.corpus import document, practice_page
from calib_sweep.miniature.tasks import TASKS, task_folder
from calib_sweep.miniature.tasks.build import items
from calib_sweep.miniature.tasks.load import read
from calib_sweep.miniature.text.stories import ACTS, THINGS, is_held_out_pair
from calib_sweep.miniature.text.world import is_asked_only_in_tasks, world
from calib_sweep.miniature.text.writer import is_held_out, sentences


def _full_text(task: str, item: dict) -> str:
    """What a model reads, with the right answer."""
    if task == "mini_facts":
        return item["question"]
    if task == "mini_lastword":
        return f"{item['context']} {item['word']}."
    if task == "mini_coref":
        return f"{item['contexts'][item['answer']]} {item['ending']}"
    if task == "mini_story":
        return f"{item['context']} {item['endings'][item['answer']]}"
    return f"{item['passage']}\n{item['question']}"


@pytest.fixture(scope="module")
def training_text() -> str:
    pages = [practice_page(i) for i in range(150)]
    return "\n".join([*pages, *(document(d, "train", i) for d in DOMAINS for i in range(40))])


@pytest.mark.parametrize("task", TASKS)
def test_items_are_many_different_and_balanced(task: str) -> None:
    rows = read(task)
    assert len(rows) >= 200
    assert len({_full_text(task, row) + str(row.get("choices")) for row in rows}) == len(rows)
    counts = Counter(row["answer"] for row in rows if "answer" in row)
    assert not counts or max(counts.values()) == min(counts.values())


@pytest.mark.parametrize("task", TASKS)
def test_no_sentence_of_an_item_is_in_training_text(task: str, training_text: str) -> None:
    seen = set(sentences(training_text))
    for row in read(task):
        text = _full_text(task, row)
        assert text not in training_text
        parts = sentences(text)
        assert parts
        assert all(is_held_out(part) and part not in seen for part in parts)


def test_facts_of_the_task_are_never_asked_about_but_stated_in_training_text(
    training_text: str,
) -> None:
    names = {e.name: e for entities in world().entities.values() for e in entities}
    asked = 0
    for row in read("mini_facts"):
        subject = max((name for name in names if name in row["question"]), key=len)
        answer = row["choices"][row["answer"]]
        relations = [r for r, value in names[subject].facts.items() if value == answer]
        assert any(is_asked_only_in_tasks(subject, relation) for relation in relations)
        assert len(set(row["choices"])) == 4
        lines = [line for line in training_text.split("\n") if subject in line and answer in line]
        asked += any("?" not in line for line in lines)
    assert asked > 60  # a small part of the training text already states this many


def test_last_words_stand_in_their_context() -> None:
    assert all(row["word"] in re.findall(r"\w+", row["context"]) for row in read("mini_lastword"))


def test_stories_of_the_task_pair_things_and_acts_that_training_never_pairs() -> None:
    kind_of = {act: kind for kind, acts in ACTS.items() for act in acts}
    for row in read("mini_story"):
        words = row["context"].replace(".", "").split()
        right, wrong = (
            next(act for act in kind_of if act in row["endings"][i])
            for i in (row["answer"], 1 - row["answer"])
        )
        thing = next(word for word in words if word in THINGS[kind_of[right]])
        assert is_held_out_pair(thing, right)
        assert kind_of[right] != kind_of[wrong]


def test_shipped_items_are_what_the_builder_writes() -> None:
    for task in TASKS:
        assert items(task) == read(task)


def test_every_task_has_a_definition_with_its_own_name() -> None:
    loader = type("Loader", (yaml.SafeLoader,), {})
    loader.add_constructor("!function", lambda loader, node: node.value)
    for task in TASKS:
        settings = yaml.load((task_folder() / f"{task}.yaml").read_text(), loader)
        assert settings["task"] == settings["dataset_kwargs"]["items"] == task
