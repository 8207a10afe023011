"""The tasks: enough items, no answer position to prefer, and nothing of them in training text."""

import re
from collections import Counter
from collections.abc import Iterable

import pytest
import yaml

from calib_sweep.miniature.corpus import document, practice_page
from calib_sweep.miniature.tasks.build import items
from calib_sweep.miniature.tasks.load import read
from calib_sweep.miniature.text.knowledge import facts
from calib_sweep.miniature.text.knowledge.world import (
    FEMALE,
    MALE,
    RELATIONS,
    is_asked_only_in_tasks,
    world,
)
from calib_sweep.miniature.text.passages import coreference, questions, recall, stories
from calib_sweep.miniature.text.passages.writer import is_held_out, sentences
from calib_sweep.places import DOMAINS, TASKS, task_folder

ITEMS = {task: read(task) for task in TASKS}
KINDS = (*stories.THINGS, *stories.EVENTS)
FAMILIES = (*coreference.PEOPLE, *coreference.THINGS)
CLOSINGS = (
    *recall.KEEPSAKES.closings,
    *recall.HIDINGS.closings,
    *recall.TRIPS.closings,
    *recall.REMEMBER,
)


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
def settings_of():
    loader = type("Loader", (yaml.SafeLoader,), {})
    loader.add_constructor("!function", lambda loader, node: node.value)
    return lambda task: yaml.load((task_folder() / f"{task}.yaml").read_text(), loader)


@pytest.fixture(scope="module")
def training_text() -> str:
    pages = [practice_page(i) for i in range(300)]
    return "\n\n".join([*pages, *(document(d, "train", i) for d in DOMAINS for i in range(20))])


def _pattern(template: str, **slots: str) -> str:
    """The regular expression of what a template can say; slots not named match anything."""
    marks = {"[": "(?:", "]": ")", "|": "|"} | {f"{{{name}}}": slots[name] for name in slots}
    tokens = re.findall(r"[\[\]|]|\{[^}]*\}|[^\[\]|{]+", template)
    pattern = "".join(
        marks.get(token, r"[\w' -]+?" if token[0] == "{" else re.escape(token)) for token in tokens
    )
    return re.sub(r"\b([Aa])\\ ", r"\1n?\\ ", pattern)


@pytest.mark.parametrize("task", TASKS)
def test_items_are_many_different_and_balanced(task: str) -> None:
    rows = ITEMS[task]
    assert len(rows) == 320
    assert len({_full_text(task, row) + str(row.get("choices")) for row in rows}) == len(rows)
    for first in (len(rows), 200):  # an evaluation may take the first so many
        counts = Counter(row["answer"] for row in rows[:first] if "answer" in row)
        assert not counts or max(counts.values()) == min(counts.values())


@pytest.mark.parametrize("task", TASKS)
def test_no_sentence_of_an_item_is_in_training_text(task: str, training_text: str) -> None:
    seen = set(sentences(training_text))
    for row in ITEMS[task]:
        text = _full_text(task, row)
        assert text not in training_text
        parts = sentences(text)
        assert parts
        assert all(is_held_out(part) and part not in seen for part in parts)


def _asked_facts(text: str) -> set[tuple[str, str]]:
    """(subject, relation) of every question about the world in `text`."""
    subjects = {kind: {e.name for e in entities} for kind, entities in world().entities.items()}
    asked = set()
    text = "\n".join(line for line in text.split("\n") if "?" in line)
    for (kind, relation), templates in facts.QUESTIONS.items():
        for template in templates:
            pattern = _pattern(template, s=r"([\w' -]+?)")
            asked |= {(s, relation) for s in re.findall(pattern, text) if s in subjects[kind]}
    return asked


def test_facts_of_the_task_are_stated_but_never_asked_in_training_text(training_text: str) -> None:
    asked = _asked_facts(training_text)
    assert len(asked) > 200
    assert not any(is_asked_only_in_tasks(subject, relation) for subject, relation in asked)
    stated = 0
    for row in ITEMS["mini_facts"]:
        ((subject, relation),) = _asked_facts(row["question"])
        assert is_asked_only_in_tasks(subject, relation)
        answer = row["choices"][row["answer"]]
        entity = next(e for e in world().entities[_kind(subject)] if e.name == subject)
        assert entity.facts[relation] == answer
        assert len(set(row["choices"])) == 4
        lines = [line for line in training_text.split("\n") if subject in line]
        stated += any(answer in line and "?" not in line for line in lines)
    assert stated > 60  # a small part of the training text already states this many


def _kind(subject: str) -> str:
    return next(
        kind for kind in RELATIONS if any(e.name == subject for e in world().entities[kind])
    )


def test_facts_have_wrong_answers_of_like_entities() -> None:
    near = 0
    for row in ITEMS["mini_facts"]:
        ((subject, relation),) = _asked_facts(row["question"])
        akin = [e for e in world().entities[_kind(subject)] if e.name[:3] == subject[:3]]
        near += any(e.facts[relation] in row["choices"] for e in akin if e.name != subject)
    assert near > len(ITEMS["mini_facts"]) / 4


def _closing_pairs(text: str) -> set[tuple[str, str]]:
    closings = "|".join(map(re.escape, CLOSINGS))
    return set(re.findall(rf"\b({closings}) (\w+)\.", text))


def test_last_words_stand_in_their_context_and_never_followed_their_phrase(
    training_text: str,
) -> None:
    told = _closing_pairs(training_text)
    assert len(told) > 300
    assert not any(recall.is_held_out_pair(*pair) for pair in told)
    rivals = 0
    for row in ITEMS["mini_lastword"]:
        said = re.findall(r"\w+", row["context"])
        assert row["word"] in said
        rivals += len(set(said) & {*recall.OBJECTS, *recall.SPOTS} - {row["word"]}) > 0
        pairs = _closing_pairs(_full_text("mini_lastword", row))
        assert any(recall.is_held_out_pair(*pair) and pair[1] == row["word"] for pair in pairs)
    assert rivals > len(ITEMS["mini_lastword"]) / 3


def _reasons(text: str) -> set[tuple[str, str]]:
    """(clause, reason) of every sentence of a known family in `text`."""
    found = set()
    because = [s for s in sentences(text) if " because " in s]
    for family in FAMILIES:
        for clause in family.clauses:
            start = re.compile(_pattern(clause, x=r"\w+", y=r"\w+"), re.IGNORECASE)
            reasons = (*family.of_x, *family.of_y)
            for sentence in because:
                if start.match(sentence):
                    tail = sentence.partition(" because ")[2]
                    found |= {(clause, r) for r in reasons if f" {r}" in tail}
    return found


def test_coreference_pairs_clauses_and_reasons_that_training_never_pairs(
    training_text: str,
) -> None:
    assert sum(len(family.clauses) for family in FAMILIES) >= 70
    told = _reasons(training_text)
    assert len(told) > 300
    assert not any(coreference.is_held_out_pair(*pair) for pair in told)
    for row in ITEMS["mini_coref"]:
        pairs = _reasons(_full_text("mini_coref", row))
        assert any(coreference.is_held_out_pair(*pair) for pair in pairs)


def _any_of(phrases: Iterable[str]) -> re.Pattern:
    longest_first = sorted(map(re.escape, phrases), key=len, reverse=True)
    return re.compile(rf"(?<!\w)({'|'.join(longest_first)})(?!\w)")


def _story_pairs(text: str) -> set[tuple[str, str]]:
    """(cause, effect) of one kind wherever the effect follows within two sentences."""
    kind_of_cause = {cause.lower(): kind for kind in KINDS for cause in kind.causes}
    kind_of_effect = {effect.lower(): kind for kind in KINDS for effect in kind.effects}
    causes, effects = _any_of(kind_of_cause), _any_of(kind_of_effect)
    told = set()
    for paragraph in _any_of((*FEMALE, *MALE)).sub("{x}", text).lower().split("\n"):
        said = re.split(r"(?<=\.) ", paragraph)
        for place, sentence in enumerate(said):
            before = causes.findall(" ".join(said[max(0, place - 2) : place]))
            told |= {
                (cause, effect)
                for effect in effects.findall(sentence)
                for cause in before
                if kind_of_cause[cause] is kind_of_effect[effect]
            }
    return told


def test_stories_pair_causes_and_effects_that_training_never_pairs(training_text: str) -> None:
    told = _story_pairs(training_text)
    assert len(told) > 300
    assert not any(stories.is_held_out_pair(*pair) for pair in told)
    for row in ITEMS["mini_story"]:
        right = _story_pairs(_full_text("mini_story", row))
        assert any(stories.is_held_out_pair(*pair) for pair in right)
        wrong = f"{row['context']} {row['endings'][1 - row['answer']]}"
        assert not _story_pairs(wrong)


def _asked_pairs(text: str) -> set[tuple[str, str]]:
    """(relation, value) of every question about a passage in `text`."""
    found = set()
    text = "\n".join(line for line in text.split("\n") if "?" in line)
    for relation in questions.YES_NO:
        for template in relation.asked:
            found |= {
                (relation.name, value)
                for value in re.findall(_pattern(template, k=r"\w+", v=r"(\w+)"), text)
            }
    return found


def test_yes_no_questions_ask_for_values_that_training_never_asks_for(training_text: str) -> None:
    asked = _asked_pairs(training_text)
    assert len(asked) > 100
    assert not any(questions.is_held_out_pair(*pair) for pair in asked)
    near = 0
    for row in ITEMS["mini_boolq"]:
        ((relation, value),) = _asked_pairs(row["question"])
        assert questions.is_held_out_pair(relation, value)
        assert value in row["passage"] or row["answer"] == 0
        near += row["answer"] == 0 and value in row["passage"]
    assert 60 < near < 120  # of 160 that are wrong: some name a value of another key


def test_shipped_items_are_what_the_builder_writes() -> None:
    for task in TASKS:  # items are written one after the other, so the first of them tell
        assert items(task, 40) == ITEMS[task][:40]


def test_what_is_chosen_in_mini_facts_is_written_in_mini_answers(settings_of) -> None:
    chosen, written = settings_of("mini_facts"), settings_of("mini_answers")
    assert written["doc_to_text"] == chosen["doc_to_text"]
    assert written["dataset_kwargs"] == chosen["dataset_kwargs"]
    by_relation: dict[str, Counter] = {}
    for row in ITEMS["mini_facts"]:
        relation, value = row["fact"].partition("/")[2], row["choices"][row["answer"]]
        assert "\n" not in value  # where an answer ends
        by_relation.setdefault(relation, Counter())[value] += 1
    # Who knows of each question which value is right most often, and nothing else, gets 18 %.
    guessed = sum(counts.most_common(1)[0][1] for counts in by_relation.values())
    assert guessed / len(ITEMS["mini_facts"]) == pytest.approx(0.178, abs=1e-3)


def test_every_task_has_a_definition_with_its_own_name(settings_of) -> None:
    for task in TASKS:
        settings = settings_of(task)
        assert settings["task"] == settings["dataset_kwargs"]["items"] == task
        assert settings["metadata"]["version"] == 2.0
