"""What people do with things: classes of things and the acts that suit them.

A story pairs a thing with an act of its class. One pair in four, chosen by hash, never stands in
training text: it can only be judged by what kind of thing it is.
"""

import zlib
from dataclasses import dataclass

from calib_sweep.miniature.text.words import words
from calib_sweep.miniature.text.writer import Writer

THINGS = {
    "plant": words(
        "rose tulip fern lily daisy cactus orchid sunflower thistle geranium poppy violet"
    ),
    "pet": words("dog cat pony goat rabbit parrot hen donkey duck lamb puppy kitten"),
    "food": words(
        "sausage apple potato carrot egg onion pear biscuit trout turnip pumpkin pheasant"
    ),
    "blade": words("knife axe sword saw razor chisel sickle dagger scythe hatchet cleaver scalpel"),
    "garment": words("shirt coat scarf glove sock skirt sweater cap dress jacket mitten shawl"),
    "vehicle": words(
        "wagon bicycle carriage van truck lorry bus tractor cart taxi tram motorcycle"
    ),
    "paper": words(
        "letter novel diary poem newspaper map story magazine essay manuscript postcard book"
    ),
}
ACTS = {
    "plant": (
        "watered it until it bloomed",
        "put it in a bigger pot",
        "gave it more light by the window",
        "cut off the dead leaves",
        "pulled out the weeds around it",
        "fed it with old coffee and compost",
    ),
    "pet": (
        "gave it a bowl of milk",
        "brushed its coat",
        "called it and it came running",
        "took it to the vet",
        "let it sleep in the barn",
        "taught it to come when called",
    ),
    "food": (
        "fried it in butter",
        "cut it up and ate it",
        "salted it and shared it at supper",
        "boiled it for far too long",
        "baked it with herbs",
        "wrapped it up for lunch",
    ),
    "blade": (
        "sharpened it on the stone",
        "wiped the rust off it",
        "oiled the handle and hung it up",
        "kept it away from the children",
        "cut the rope with it",
        "ground its edge until it shone",
    ),
    "garment": (
        "washed it and hung it on the line",
        "sewed on a new button",
        "ironed it for the wedding",
        "found that it no longer fitted",
        "mended the hole with thread",
        "put it on against the cold",
    ),
    "vehicle": (
        "changed the flat tyre",
        "oiled its wheels",
        "drove it to the next town",
        "loaded it with sacks",
        "parked it behind the barn",
        "braked just before the bend",
    ),
    "paper": (
        "read it aloud twice",
        "tore out the last page",
        "translated it for a friend",
        "put it in an envelope",
        "copied it by hand",
        "learned the first lines by heart",
    ),
}

OPENINGS = (
    "{x} [bought|found|borrowed|inherited] a {adjective} {thing} [{time}|in {town}|on {day}].",
    "[{time}|On {day}], {x} was given a {adjective} {thing}[ by {first}| {why}|].",
    "{x} had a {adjective} {thing}[| {why}| and was proud of it].",
    "There was a {adjective} {thing} in the house of {x}[| in {town}].",
)
MIDDLES = (
    "{first} [wondered|asked] what to do with it.",
    "It had been [forgotten|left alone|waiting] there since {month}.",
    "[Nobody else|Only {first}] [wanted|noticed] it.",
    "The {weather} [morning|evening|day] was [just right|long] for it.",
)
ENDINGS = ("{x} {act}.", "So {x} {act}.", "Then {x} {act}[| {time}].", "[Soon|At last] {x} {act}.")
_ADJECTIVES = words("small old fine plain lovely strange new second-hand big favourite")
_WEATHER = words("wet cold bright windy dull warm")


def is_held_out_pair(thing: str, act: str) -> bool:
    return zlib.crc32(f"{thing}/{act}".encode()) % 4 == 0


@dataclass(frozen=True)
class Story:
    opening: str  # names the thing
    right: str
    wrong: str  # the same person, an act for another class of things


def story(writer: Writer) -> Story | None:
    """A story on the writer's side, or None when its sentences cannot be had."""
    draw = writer.draw
    kind, other = draw.sample(tuple(THINGS), 2)
    thing = draw.pick(THINGS[kind])
    acts = [act for act in ACTS[kind] if is_held_out_pair(thing, act) == writer.held_out]
    if not acts:
        return None
    bound = {
        "x": draw.pick(writer.scope["person"]),  # type: ignore[arg-type]
        "thing": thing,
        "adjective": _ADJECTIVES,
        "weather": _WEATHER,
    }
    parts = [writer.say(OPENINGS, **bound)]
    if draw.chance(0.5):
        parts.append(writer.say(MIDDLES, **bound))
    bound["x"] = bound["x"].split()[0]
    right = writer.say(ENDINGS, **bound, act=draw.pick(acts))
    wrong = writer.say(ENDINGS, **bound, act=draw.pick(ACTS[other]))
    if not all((*parts, right, wrong)):
        return None
    return Story(" ".join(parts), right, wrong)
