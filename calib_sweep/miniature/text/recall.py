"""Passages whose last word was said before: only who reads the whole passage can tell it."""

from calib_sweep.miniature.text.draw import Draw
from calib_sweep.miniature.text.words import words
from calib_sweep.miniature.text.writer import Writer

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

TAKE = (
    "{x} [took|chose|picked up|was given|carried] the {o}.",
    "{x} [took|chose|kept|brought] the {o} [{time}|{why}|from {place}].",
    "The {o} [went|was handed|was given] to {x}.",
)
KEPT = (
    "[In the end|At nightfall|{time}|A week later], {x} still had the {o}.",
    "[When they met again|On {day}], {x} [showed everyone|gave back|was looking for] the {o}.",
    "[Nobody was surprised when|Everyone saw that] {x} had not lost the {o}.",
)
HIDE = (
    "{x} [hid|put|left|stored] the {o} in the {p}.",
    "{x} [hid|put|left] a {adj} {o} in the {p}, {why}.",
    "[{time}|On {day}], {x} [hid|stored] the {adj} {o} in the {p}.",
)
FOUND = (
    "[Later|Days later|{time}], {x} [went back for it and|] looked in the {p}.",
    "What {x} had left was still in the {p}.",
    "[Sure enough|Of course], the {o} was in the {p}.",
)
CALLED = (
    "[They|The children|The neighbours|The crew] called the {v} {w}.",
    "The [old|new|little] {v} was [named|called] {w}[| after a {role}].",
)
RECALLED = (
    "[Years later|To this day|Even now], [people|they|the guests] [still|] [speak of|remember|ask "
    "for] {w}.",
    "[Nobody knows|{first} asked] why the {v} was called {w}.",
    "There was never another {v} like {w}.",
)
BETWEEN = (
    "{first} [said nothing|laughed|shrugged|went home early].",
    "{first} {did} {time}.",
    "It was [a long|a short|an unusual] [day|walk|evening] [at|near] {place}.",
    "[Nobody|Everybody] [talked about it|was in a hurry] {time}.",
    "The {role} {did}, {why}.",
)
_SYLLABLES = (
    words("Mer Tol Gan Bri Sha Kor Wil Pan Zel Ruf Dem Hol"),
    words("ro la ni ka be do su"),
    words("th mer low vin x ster ga nd"),
)


def invented_word(draw: Draw) -> str:
    """A proper name that means nothing: it can only be copied."""
    return "".join(draw.pick(part) for part in _SYLLABLES)


def passage(writer: Writer) -> tuple[str, str] | None:
    """(text before the last word, last word), or None when a sentence cannot be had."""
    make = writer.draw.pick((_keepsakes, _keepsakes, _hidings, _namings))
    parts, last = make(writer)
    if not all((*parts, last)):
        return None
    text = " ".join((*parts, last))
    start, _, word = text.rpartition(" ")
    return start, word.rstrip(".")


def drill(writer: Writer) -> str:
    """The training form: one to four people, and then what each of them had, in another order."""
    draw = writer.draw
    count = draw.between(1, 4)
    people = draw.sample(writer.scope["names"], count)  # type: ignore[arg-type]
    objects, spots = draw.sample(OBJECTS, count), draw.sample(SPOTS, count)
    said, asked = draw.pick(((TAKE, KEPT), (HIDE, FOUND)))
    bound = [{"x": x, "o": o, "p": p} for x, o, p in zip(people, objects, spots, strict=True)]
    parts = [writer.say(said, **one) for one in bound]
    parts += _fillers(writer, 1)
    parts += [writer.say(asked, **one) for one in draw.shuffled(bound)]
    return " ".join(parts) if all(parts) else ""


def _fillers(writer: Writer, most: int) -> list[str]:
    return [writer.say(BETWEEN) for _ in range(writer.draw.between(0, most))]


def _keepsakes(writer: Writer) -> tuple[list[str], str]:
    draw = writer.draw
    count = draw.between(2, 4)
    people = draw.sample(writer.scope["names"], count)  # type: ignore[arg-type]
    objects = draw.sample(OBJECTS, count)
    parts = [writer.say(TAKE, x=x, o=o) for x, o in zip(people, objects, strict=True)]
    asked = draw.below(count)
    last = writer.say(KEPT, x=people[asked], o=objects[asked])
    return [*parts, *_fillers(writer, 2)], last


def _hidings(writer: Writer) -> tuple[list[str], str]:
    draw = writer.draw
    count = draw.between(1, 3)
    people = draw.sample(writer.scope["names"], count)  # type: ignore[arg-type]
    objects, spots = draw.sample(OBJECTS, count), draw.sample(SPOTS, count)
    parts = [
        writer.say(HIDE, x=x, o=o, p=p) for x, o, p in zip(people, objects, spots, strict=True)
    ]
    asked = draw.below(count)
    last = writer.say(FOUND, x=people[asked], o=objects[asked], p=spots[asked])
    return [*parts, *_fillers(writer, 3)], last


def _namings(writer: Writer) -> tuple[list[str], str]:
    draw = writer.draw
    bound = {"v": draw.pick(_VESSELS), "w": invented_word(draw)}
    parts = [*_fillers(writer, 1), writer.say(CALLED, **bound), *_fillers(writer, 3)]
    return parts, writer.say(RECALLED, **bound)
