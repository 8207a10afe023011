"""Writes sentences for one side of the split.

A sentence of five words or more belongs to the held-out side if its hash says so (one in four),
else to the training side. A writer draws again until every sentence of what it was asked for is on
its own side, so no sentence is shared between the two sides, whatever the templates are.
"""

import re
import zlib
from collections.abc import Callable, Sequence
from functools import cache

from calib_sweep.miniature.text.knowledge import lexicon, world
from calib_sweep.miniature.text.language import phrases
from calib_sweep.miniature.text.language.draw import Draw
from calib_sweep.miniature.text.language.template import Ranked, Scope, fill

MIN_WORDS = 5  # shorter sentences ("Yes.", a heading) are common to both sides
_HELD_OUT_SHARE = 4
_ATTEMPTS = 80
_SENTENCE = re.compile(r"(?<=[.!?])[\"')]*\s+|\n+")


def sentences(text: str) -> list[str]:
    """The sentences and lines of a text that are long enough to belong to a side."""
    return [part for part in _SENTENCE.split(text.strip()) if part.count(" ") >= MIN_WORDS - 1]


def is_held_out(sentence: str) -> bool:
    return zlib.crc32(sentence.strip().encode()) % _HELD_OUT_SHARE == 0


def _names(kind: str) -> tuple[str, ...]:
    return tuple(entity.name for entity in world.world().entities[kind])


def _numbers(draw: Draw, low: int, high: int, count: int) -> Ranked:
    return Ranked(str(draw.between(low, high)) for _ in range(count))


def own_words(draw: Draw) -> Scope:
    """Names and numbers that belong to one writer: few, so that they come back."""
    thousands = [f"{draw.between(1, 39)},{draw.between(100, 999)}" for _ in range(3)]
    names = draw.sample(world.FEMALE, 3) + draw.sample(world.MALE, 3)
    return {
        "first": Ranked(draw.sample(names, 5)),
        "year": _numbers(draw, 1690, 2019, 5),
        "n2": _numbers(draw, 11, 99, 5),
        "n3": _numbers(draw, 100, 999, 4),
        "n4": Ranked(thousands),
        "digit": _numbers(draw, 2, 9, 3),
    }


@cache
def _common() -> Scope:
    kinds = ("person", "town", "animal", "plant", "firm", "book")
    values = {key: tuple(items) for key, items in world.VALUES.items()}
    return {**lexicon.COMMON, **phrases.PHRASES, **values, **{kind: _names(kind) for kind in kinds}}


class Writer:
    """Draws sentences of one side; `scope` holds what the slots of its templates mean."""

    def __init__(self, draw: Draw, held_out: bool, topic: str, **scope: object) -> None:
        self.draw = draw
        self.held_out = held_out
        self.brief = False  # a short document: paragraphs of one sentence
        self.scope: Scope = {**_common(), **own_words(draw)}
        self.change_topic(topic)
        self.scope.update(scope)  # type: ignore[arg-type]

    def change_topic(self, name: str) -> None:
        """Take a few words of this topic for the nouns, verbs and so on of the templates."""
        self.scope.update(lexicon.focus(lexicon.TOPICS[name], self.draw))

    def accepts(self, text: str) -> bool:
        return all(is_held_out(part) == self.held_out for part in sentences(text))

    def say(self, templates: Sequence[str] | str, **bound: object) -> str:
        """A sentence from one of `templates` on this writer's side, or "" if there is none."""
        scope = {**self.scope, **bound}
        choices = (templates,) if isinstance(templates, str) else templates
        return self.insist(lambda: fill(self.draw.pick(choices), scope, self.draw))

    def fill(self, template: str) -> str:
        """A sentence of either side, for `insist`."""
        return fill(template, self.scope, self.draw)

    def insist(self, make: Callable[[], str]) -> str:
        """Call `make` until its text is on this writer's side; "" when that never happens."""
        for _ in range(_ATTEMPTS):
            text = make()
            if self.accepts(text):
                return text
        return ""
