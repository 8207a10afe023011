"""Questions with answers: yes or no about a passage, and facts of the world."""

from dataclasses import dataclass

from calib_sweep.miniature.text import facts
from calib_sweep.miniature.text.lexicon import COMMON
from calib_sweep.miniature.text.words import words
from calib_sweep.miniature.text.world import VALUES, is_asked_only_in_tasks, world
from calib_sweep.miniature.text.writer import Writer

LABELS = ("Question:", "Quiz question:", "A question:")

_ROOMS = words("kitchen cellar attic barn shop tower garden stable office library")
_GOODS = words(
    "chairs barrels lamps boxes bottles books tools pots coins maps candles sacks clocks"
)

# (statement, question); {k} is the key, {v} what belongs to it.
_PATTERNS = {
    "room": (
        (
            "In the {k} there are {small} {v}.",
            "The {k} holds {small} {v}[| and nothing else].",
            "{first} keeps {small} {v} in the {k}.",
        ),
        ("Are there any {v} in the {k}?", "Does the {k} hold {v}?"),
    ),
    "player": (
        (
            "{k} plays the {v}[| {time}| {why}].",
            "The {v} is played by {k}[| {time}].",
            "{k} has learned the {v}[| {why}].",
        ),
        ("Does {k} play the {v}?", "Is {k} a player of the {v}?"),
    ),
    "eater": (
        (
            "{k} ordered {v}[| {time}| {why}].",
            "{k} wanted [nothing but|only] {v}[| {time}].",
            "For {k} there [was|was a plate of] {v}.",
        ),
        ("Did {k} have {v}?", "Was there any {v} for {k}?"),
    ),
    "ferry": (
        ("On {k} the ferry goes to {v}[| {why}].", "The boat to {v} leaves on {k}[| {time}]."),
        ("Does a boat go to {v} on {k}?", "Is there a ferry to {v} on {k}?"),
    ),
}


@dataclass(frozen=True)
class YesNo:
    passage: str
    questions: tuple[str, ...]  # each with its label
    answers: tuple[bool, ...]


def yes_no(
    writer: Writer, num_statements: int, num_questions: int, label: str = "Question:"
) -> YesNo | None:
    """A passage and questions about its statements, or None when a sentence cannot be had."""
    draw = writer.draw
    kind = draw.pick(tuple(_PATTERNS))
    statements, questions = _PATTERNS[kind]
    key_pool, value_pool = {
        "room": (_ROOMS, _GOODS),
        "player": (writer.scope["names"], VALUES["instrument"]),
        "eater": (writer.scope["names"], VALUES["food"]),
        "ferry": (COMMON["day"], [town.name for town in world().entities["town"]]),
    }[kind]
    keys = draw.sample(key_pool, num_statements)  # type: ignore[arg-type]
    values = draw.sample(value_pool, num_statements + 1)
    parts = [writer.say(statements, k=k, v=v) for k, v in zip(keys, values, strict=False)]
    templates = [f"{label} {template}" for template in questions]
    answers = tuple(draw.chance(0.5) for _ in range(num_questions))
    asked = []
    for answer in answers:
        key = draw.below(num_statements)
        # A wrong value belongs to another key of the passage, or to none.
        wrong = values[draw.pick([i for i in range(num_statements + 1) if i != key])]
        asked.append(writer.say(templates, k=keys[key], v=values[key] if answer else wrong))
    if not all((*parts, *asked)):
        return None
    return YesNo(" ".join(parts), tuple(asked), answers)


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
    wrong = facts.wrong_values(writer.draw, entity, relation, 3)
    return FactQuestion(question, entity.facts[relation], tuple(wrong))
