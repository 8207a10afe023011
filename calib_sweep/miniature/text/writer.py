"""Writes sentences for one side of the split.

A sentence of five words or more belongs to the held-out side if its hash says so (one in four),
else to the training side. A writer draws again until every sentence of what it was asked for is on
its own side, so no sentence is shared between the two sides, whatever the templates are.
"""

import re
import zlib
from collections.abc import Callable, Sequence

from calib_sweep.miniature.text import lexicon, world
from calib_sweep.miniature.text.draw import Draw
from calib_sweep.miniature.text.template import Scope, fill

MIN_WORDS = 5  # shorter sentences ("Yes.", a heading) are common to both sides
_HELD_OUT_SHARE = 4
_ATTEMPTS = 80
_SENTENCE = re.compile(r"(?<=[.!?])[\"')]*\s+|\n+")


def sentences(text: str) -> list[str]:
    """The sentences and lines of a text that are long enough to belong to a side."""
    return [part for part in _SENTENCE.split(text.strip()) if part.count(" ") >= MIN_WORDS - 1]


def is_held_out(sentence: str) -> bool:
    return zlib.crc32(sentence.strip().encode()) % _HELD_OUT_SHARE == 0


def _verb(form: int) -> Callable[[Draw, Scope], str]:
    def value(draw: Draw, scope: Scope) -> str:
        topic = scope["topic"]
        assert isinstance(topic, lexicon.Topic)
        noun = draw.pick(topic.nouns)
        if draw.chance(0.35):
            noun = f"{draw.pick(topic.adjectives)} {noun}"
        return f"{draw.pick(topic.verbs)[form]} {draw.pick(('the', 'the', 'a', 'another'))} {noun}"

    return value


def _names(kind: str) -> tuple[str, ...]:
    return tuple(entity.name for entity in world.world().entities[kind])


def _first(draw: Draw, scope: Scope) -> str:
    return draw.pick(draw.pick((world.FEMALE, world.MALE)))


def _common() -> Scope:
    values = {key: tuple(items) for key, items in world.VALUES.items()}
    return {
        **lexicon.COMMON,
        **values,
        **{kind: _names(kind) for kind in ("person", "town", "animal", "plant", "firm", "book")},
        "first": _first,
        "did": _verb(1),
        "do": _verb(0),
        "doing": _verb(2),
        "year": lambda draw, scope: str(draw.between(1690, 2019)),
        "n2": lambda draw, scope: str(draw.between(11, 99)),
        "n3": lambda draw, scope: str(draw.between(100, 999)),
        "n4": lambda draw, scope: f"{draw.between(1, 39)},{draw.between(100, 999)}",
        "digit": lambda draw, scope: str(draw.between(2, 9)),
    }


_COMMON: Scope = {}


class Writer:
    """Draws sentences of one side; `scope` holds what the slots of its templates mean."""

    def __init__(self, draw: Draw, held_out: bool, topic: str, **scope: object) -> None:
        if not _COMMON:
            _COMMON.update(_common())
        self.draw = draw
        self.held_out = held_out
        self.scope: Scope = {**_COMMON}
        self.change_topic(topic)
        self.scope.update(scope)  # type: ignore[arg-type]

    def change_topic(self, name: str) -> None:
        topic = lexicon.TOPICS[name]
        self.scope.update(
            topic=topic,  # type: ignore[arg-type]
            noun=topic.nouns,
            adj=topic.adjectives,
            place=topic.places,
            role=topic.roles,
        )

    def accepts(self, text: str) -> bool:
        return all(is_held_out(part) == self.held_out for part in sentences(text))

    def say(self, templates: Sequence[str] | str, **bound: object) -> str:
        """A sentence from one of `templates` on this writer's side, or "" if there is none."""
        scope = {**self.scope, **bound}
        choices = (templates,) if isinstance(templates, str) else templates
        return self.insist(lambda: fill(self.draw.pick(choices), scope, self.draw))

    def insist(self, make: Callable[[], str]) -> str:
        """Call `make` until its text is on this writer's side; "" when that never happens."""
        for _ in range(_ATTEMPTS):
            text = make()
            if self.accepts(text):
                return text
        return ""
