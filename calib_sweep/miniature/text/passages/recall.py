"""Passages whose last word was said before, mostly among others of its kind.

One (closing phrase, last word) pair in four, chosen by hash, never stands in training text, so a
last word is found by reading, not by what usually follows the phrase.
"""

import zlib
from dataclasses import dataclass

from calib_sweep.miniature.text.knowledge.world import world
from calib_sweep.miniature.text.language.draw import Draw
from calib_sweep.miniature.text.language.words import phrases, words
from calib_sweep.miniature.text.passages.writer import Writer

OBJECTS = words(
    "lantern rope kettle hammer blanket drum candle basket compass whistle ladder umbrella bucket "
    "mirror "
    "spade violin bottle feather carpet helmet ticket coin shovel needle telescope"
)
SPOTS = words(
    "drawer cellar attic barn chest garden stable oven well cupboard shed hallway chimney wardrobe "
    "pantry tower boat tent"
)
_VESSELS = words("boat dog horse song inn hill ship cat band ferry game mill")


@dataclass(frozen=True)
class Memory:
    """Who has what: {x} a key of the passage, {w} the word to remember, {o} an object."""

    said: tuple[str, ...]
    lead: str  # how the last sentence begins
    closings: tuple[str, ...]  # after the lead; the word follows
    between: tuple[str, ...]  # says something of a word that nobody has


KEEPSAKES = Memory(
    (
        "{x} [took|chose|picked up|was given|carried|kept|brought] the {w}[|||| {time}].",
        "The {w} [went|was handed] to {x}.",
    ),
    "[|In the end |At nightfall |On {day} |Later ]{x} ",
    tuple(
        phrases(
            "still had the|gave back the|was looking for the|had not lost the|came home with the|"
            "would not part with the|was proud of the|paid for the"
        )
    ),
    ("[Nobody|Only {first}] wanted the {w}.", "The {w} stayed [behind|where it was]."),
)
HIDINGS = Memory(
    (
        "{x} [hid|put|left|stored] the {o} in the {w}[||| {time}].",
        "{x} [hid|put] a {adj} {o} in the {w}.",
    ),
    "[|Later |Days later |On {day} ]{x} ",
    tuple(
        phrases(
            "looked in the|went back to the|searched the|crept into the|stood beside the|"
            "pointed at the"
        )
    ),
    ("Nothing was in the {w}.", "{first} cleaned the {w}."),
)
TRIPS = Memory(
    (
        "{x} [went|moved|drove|walked] to {w}[||| {time}| {why}].",
        "{x} [found work|has a sister] in {w}.",
    ),
    "[|Since then |On {day} |Later ]{x} ",
    tuple(phrases("sent letters from|told us about|dreamed of|was seen in|liked|came back from")),
    ("{first} stayed in {w}.", "Nobody went to {w}."),
)
CALLED = (
    "[They|The children|The neighbours|The crew] called the {v} {w}.",
    "The [old|new|little] {v} was [named|called] {w}[| after a {role}].",
)
RECALLED = "[Years later|To this day|Even now|On {day}] [people|they|the guests|the {role}s] "
REMEMBER = tuple(phrases("remember|speak of|ask for|praise|know|tell stories of"))
BETWEEN = (
    "{first} [said nothing|laughed|shrugged|went home early].",
    "It was [a long|a short|an unusual] [day|walk|evening].",
    "{first} {did}.",
)
_SYLLABLES = (
    words("Mer Tol Gan Bri Sha Kor Wil Pan Zel Ruf Dem Hol"),
    words("ro la ni ka be do su"),
    words("th mer low vin x ster ga nd"),
)


def is_held_out_pair(closing: str, word: str) -> bool:
    return zlib.crc32(f"{closing}/{word}".encode()) % 4 == 0


def invented_word(draw: Draw) -> str:
    """A proper name that means nothing: it can only be copied."""
    return "".join(draw.pick(part) for part in _SYLLABLES)


def passage(writer: Writer) -> tuple[str, str] | None:
    """(text before the last word, last word), or None when a sentence cannot be had."""
    draw = writer.draw
    if draw.chance(0.15):
        parts = _naming(writer)
    else:
        count = draw.pick((1, 2, 2, 3, 3, 4, 5))
        parts = _told(writer, _memory(draw), count, 0.3, 1)
    if not all(parts):
        return None
    start, _, word = " ".join(parts).rpartition(" ")
    return start, word.rstrip(".")


def drill(writer: Writer) -> str:
    """The training form: one to five people, and then what each of them had, in another order."""
    draw = writer.draw
    count = draw.between(1, 5)
    parts = _told(writer, _memory(draw), count, 0.3, count)
    return " ".join(parts) if all(parts) else ""


def _memory(draw: Draw) -> Memory:
    return draw.pick((KEEPSAKES, KEEPSAKES, HIDINGS, TRIPS))


def _told(
    writer: Writer, memory: Memory, count: int, filler_share: float, num_closings: int
) -> list[str]:
    """Write what `count` people have, perhaps something else, and then some of them again."""
    draw = writer.draw
    pool = {
        id(KEEPSAKES): OBJECTS,
        id(HIDINGS): SPOTS,
        id(TRIPS): [town.name for town in world().entities["town"] if " " not in town.name],
    }[id(memory)]
    *keys, nobody = draw.sample(writer.scope["names"], count + 1)  # type: ignore[arg-type]
    *values, unsaid = draw.sample(pool, count + 1)
    pairs = list(zip(keys, values, strict=True))
    parts = [writer.say(memory.said, x=x, w=word, o=OBJECTS) for x, word in pairs]
    if draw.chance(filler_share):
        parts.append(writer.say((*BETWEEN, *memory.between), first=nobody, w=unsaid))
    for x, word in draw.shuffled(pairs)[:num_closings]:
        parts.append(_close(writer, memory.lead, memory.closings, word, x=x))
    return parts


def _naming(writer: Writer) -> list[str]:
    """One thing is given a name that was never heard."""
    word = invented_word(writer.draw)
    parts = [writer.say(CALLED, v=_VESSELS, w=word)]
    if writer.draw.chance(0.6):
        parts.append(writer.say(BETWEEN))
    return [*parts, _close(writer, RECALLED, REMEMBER, word)]


def _close(writer: Writer, lead: str, closings: tuple[str, ...], word: str, **bound: str) -> str:
    """The last sentence, whose closing and word are a pair of the writer's side."""
    own = [one for one in closings if is_held_out_pair(one, word) == writer.held_out]
    return writer.say([f"{lead}{one} {word}." for one in own], **bound) if own else ""
