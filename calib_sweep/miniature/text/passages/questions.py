"""Questions with answers: yes or no about a passage, and facts of the world.

One (relation, value) pair in four, chosen by hash, is never asked about in training text: passages
there may say that somebody plays the zither, but no question asks who does.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from calib_sweep.miniature.text.knowledge import facts
from calib_sweep.miniature.text.knowledge.lexicon import COMMON
from calib_sweep.miniature.text.knowledge.world import (
    RELATIONS,
    VALUES,
    is_asked_only_in_tasks,
    world,
)
from calib_sweep.miniature.text.language.draw import Draw
from calib_sweep.miniature.text.language.words import words
from calib_sweep.miniature.text.passages.recall import OBJECTS
from calib_sweep.miniature.text.passages.writer import Writer

_LATER_YES = 0.58  # more than half: a passage runs out of what can be affirmed
Pair = tuple[str, str]
LABELS = ("Question:", "Q:", "Quiz:")

_POOLS = {
    "room": words("kitchen cellar attic barn shop tower garden stable office library"),
    "goods": words(
        "chairs barrels lamps boxes bottles books tools pots coins maps candles sacks clocks"
    ),
    "event": words("wedding fair match concert auction lesson meeting dance race feast"),
    "stuff": words("wood brass clay glass iron silver leather stone bronze wool paper copper"),
    "beast": words("dogs spiders snakes wolves bees horses rats bears geese bulls wasps ghosts"),
    "object": OBJECTS,
    "day": COMMON["day"],
    "number": words("two three four five six seven eight nine ten eleven twelve"),
}


@dataclass(frozen=True)
class Relation:
    """Templates that say a pair {k}, {v}, ask it (yes or no), and ask for {v}."""

    name: str
    keys: str
    values: str
    said: tuple[str, ...]
    asked: tuple[str, ...]
    asked_for: str


YES_NO = (
    Relation(
        "holds",
        "room",
        "goods",
        ("The {k} holds {v}[||| {time}].", "There are [|{small} ]{v} in the {k}."),
        ("Are there {v} in the {k}?", "Does the {k} hold {v}?"),
        "What is in the {k}?",
    ),
    Relation(
        "plays",
        "names",
        "instrument",
        ("{k} plays the {v}[||| {time}| {why}].", "The {v} is played by {k}."),
        ("Does {k} play the {v}?", "Is {k} a player of the {v}?"),
        "What does {k} play?",
    ),
    Relation(
        "ordered",
        "names",
        "food",
        ("{k} ordered {v}[||| {time}].", "{k} wanted [only |]{v}.", "They brought {v} to {k}."),
        ("Did {k} have {v}?", "Did they bring {v} to {k}?"),
        "What did {k} eat?",
    ),
    Relation(
        "ferry",
        "day",
        "town",
        ("On {k} the ferry goes to {v}.", "The boat to {v} leaves on {k}."),
        ("Does a boat go to {v} on {k}?", "Is there a ferry to {v} on {k}?"),
        "Where does the ferry go on {k}?",
    ),
    Relation(
        "coat",
        "names",
        "colour",
        ("{k} wears a {v} coat[||| {time}].", "The coat of {k} is {v}."),
        ("Does {k} wear a {v} coat?", "Is the coat of {k} {v}?"),
        "Which colour does {k} wear?",
    ),
    Relation(
        "bought",
        "names",
        "object",
        ("{k} bought a {v}[||| {time}| {why}].", "The {v} was sold to {k}."),
        ("Did {k} buy a {v}?", "Was the {v} sold to {k}?"),
        "What did {k} buy?",
    ),
    Relation(
        "moved",
        "names",
        "town",
        ("{k} has moved to {v}.", "{k} went to live in {v}[|| {why}]."),
        ("Has {k} moved to {v}?", "Does {k} live in {v}?"),
        "Where does {k} live?",
    ),
    Relation(
        "costs",
        "object",
        "number",
        ("The {k} costs {v} coins.", "They ask {v} coins for the {k}."),
        ("Does the {k} cost {v} coins?", "Is the price of the {k} {v} coins?"),
        "What is the price of the {k}?",
    ),
    Relation(
        "fears",
        "names",
        "beast",
        ("{k} is afraid of {v}.", "{k} has always feared {v}."),
        ("Is {k} afraid of {v}?", "Does {k} fear {v}?"),
        "What does {k} fear?",
    ),
    Relation(
        "made of",
        "object",
        "stuff",
        ("The {k} is made of {v}.", "They made the {k} of {v}."),
        ("Is the {k} made of {v}?", "Was {v} used for the {k}?"),
        "What is the {k} made of?",
    ),
    Relation(
        "when",
        "event",
        "day",
        ("The {k} is on {v}[||| {time}].", "On {v} there is a {k}."),
        ("Is the {k} on {v}?", "Does the {k} take place on {v}?"),
        "When is the {k}?",
    ),
)


@dataclass(frozen=True)
class YesNo:
    passage: str
    questions: tuple[str, ...]  # each with its label
    answers: tuple[bool, ...]


def is_held_out_pair(relation: str, value: str) -> bool:
    return zlib.crc32(f"{relation}/{value}".encode()) % 4 == 0


def yes_no(
    writer: Writer, num_statements: int, num_questions: int, label: str = "Question:"
) -> YesNo | None:
    """A passage and up to `num_questions` questions about it, or None when there is none.

    A value that is asked about in vain belongs to another key of the passage, or to none.
    """
    draw = writer.draw
    relation, keys, values = _drawn(writer, num_statements)
    passage = _passage(writer, relation, keys, values)
    templates = [f"{label} {template}" for template in relation.asked]
    right = _right(relation, keys, values, writer.held_out)
    unsaid = [values[-1]] if is_held_out_pair(relation.name, values[-1]) == writer.held_out else []
    asked: dict[Pair, bool] = {}
    for _ in range(num_questions):
        answer = draw.chance(_LATER_YES if asked else 0.5)
        pairs = right if answer else _wrong(draw, right, keys, unsaid)
        pairs = [pair for pair in pairs if pair not in asked]
        if not pairs:
            break  # a question with the other answer would tip the balance
        asked[draw.pick(pairs)] = answer
    questions = [writer.say(templates, k=key, v=value) for key, value in asked]
    if not passage or not questions or not all(questions):
        return None
    return YesNo(passage, tuple(questions), tuple(asked.values()))


def open_questions(writer: Writer) -> str:
    """The same passages with questions that ask for the value. Training only."""
    draw = writer.draw
    relation, keys, values = _drawn(writer, draw.between(1, 4))
    lines = [_passage(writer, relation, keys, values)]
    for key, value in draw.shuffled(_right(relation, keys, values, writer.held_out)):
        question = writer.say(f"Question: {relation.asked_for}", k=key)
        lines += [question, f"Answer: {value}"]
    return "\n".join(lines) if len(lines) > 1 and all(lines) else ""


def _drawn(writer: Writer, num_statements: int) -> tuple[Relation, list[str], list[str]]:
    """A relation, its keys, a value for each, and one value that belongs to none."""
    relation = writer.draw.pick(YES_NO)
    keys = writer.draw.sample(_pool(writer, relation.keys), num_statements)
    return relation, keys, writer.draw.sample(_pool(writer, relation.values), num_statements + 1)


def _pool(writer: Writer, name: str) -> Sequence[str]:
    if name in _POOLS:
        return _POOLS[name]
    if name == "town":
        return [town.name for town in world().entities["town"]]
    return writer.scope["names"] if name == "names" else VALUES[name]  # type: ignore[return-value]


def _passage(writer: Writer, relation: Relation, keys: list[str], values: list[str]) -> str:
    parts = [writer.say(relation.said, k=k, v=v) for k, v in zip(keys, values, strict=False)]
    return " ".join(parts) if all(parts) else ""


def _right(relation: Relation, keys: list[str], values: list[str], held_out: bool) -> list[Pair]:
    """The pairs of a passage that may be asked about."""
    pairs = zip(keys, values, strict=False)
    return [pair for pair in pairs if is_held_out_pair(relation.name, pair[1]) == held_out]


def _wrong(draw: Draw, right: list[Pair], keys: list[str], unsaid: list[str]) -> list[Pair]:
    """Keys with a value that is not their own: half of the time one of another key."""
    near = [(key, value) for owner, value in right for key in keys if key != owner]
    far = [(key, value) for value in unsaid for key in keys]
    first, second = (near, far) if draw.chance(0.5) else (far, near)
    return first or second


@dataclass(frozen=True)
class FactQuestion:
    question: str
    answer: str
    wrong: tuple[str, ...]


def fact_question(
    writer: Writer, entity: facts.Entity, relation: str, labels: tuple[str, ...] = LABELS
) -> FactQuestion | None:
    """A question about one fact; on the training side never about one kept for the tasks."""
    if is_asked_only_in_tasks(entity.name, relation) != writer.held_out:
        return None
    bound = facts.bindings(entity, relation)
    label = writer.draw.pick(labels)
    templates = [f"{label} {template}" for template in facts.question_templates(entity, relation)]
    question = writer.say(templates, **bound)
    if not question:
        return None
    wrong = _wrong_values(writer.draw, entity, relation)
    return FactQuestion(question, entity.facts[relation], tuple(wrong))


def _wrong_values(draw: Draw, entity: facts.Entity, relation: str) -> list[str]:
    """Three values: up to two of entities with a like name, or of the entity in another role."""
    right = entity.facts[relation]
    names = set(entity.name.split())
    akin = [
        other.facts[relation]
        for other in world().entities[entity.kind]
        if names & set(other.name.split()) or other.name[:3] == entity.name[:3]
    ]
    pool = set(world().values(entity.kind, relation))
    roles = [entity.facts[other] for other in RELATIONS[entity.kind] if other != relation]
    near = sorted(({*akin, *roles} & pool) - {right})
    wrong = draw.sample(near, min(len(near), draw.below(3)))
    far = [value for value in facts.wrong_values(draw, entity, relation, 3) if value not in wrong]
    return [*wrong, *far][:3]
