"""Stories: people do things with things; events are causes, with effects that suit them.

A story pairs a cause (a thing or an event) with an effect of its kind. One pair in three, chosen by
hash, never stands in training text: it can only be judged by what kind of cause it is. Kinds of one
group are akin (plants and animals, rain and frost); half of the wrong endings come from there.
"""

import zlib
from dataclasses import dataclass

from calib_sweep.miniature.text.language.draw import Draw
from calib_sweep.miniature.text.language.words import phrases, words
from calib_sweep.miniature.text.passages.writer import Writer


@dataclass(frozen=True)
class Kind:
    name: str
    group: str
    causes: tuple[str, ...]  # the first ones are told more often in training text
    effects: tuple[str, ...]


def _thing(name: str, group: str, causes: str, acts: str) -> Kind:
    effects = tuple("{x} " + act for act in phrases(acts))
    return Kind(name, group, tuple(words(causes)), effects)


def _event(name: str, group: str, causes: str, effects: str) -> Kind:
    return Kind(name, group, tuple(phrases(causes)), tuple(phrases(effects)))


THINGS = (
    _thing(
        "plant",
        "life",
        "rose tulip fern lily daisy cactus orchid sunflower thistle geranium poppy violet",
        "watered it|repotted it|cut off its dead leaves|planted it by the wall|"
        "pulled the weeds around it|smelled its blossom",
    ),
    _thing(
        "pet",
        "life",
        "dog cat pony goat rabbit parrot hen donkey duck lamb puppy kitten",
        "fed it|stroked it|called it by name|took it to the vet|taught it a trick|let it run about",
    ),
    _thing(
        "food",
        "kitchen",
        "sausage apple potato carrot egg onion pear biscuit trout turnip pumpkin pheasant",
        "fried it|ate it|salted it|boiled it too long|baked it with herbs|chewed it slowly",
    ),
    _thing(
        "vessel",
        "kitchen",
        "pot pan kettle bowl jug mug teapot cauldron saucepan bucket jar flask",
        "rinsed it out|filled it to the brim|drained it|dried it with a towel|"
        "scrubbed its bottom|poured the water from it",
    ),
    _thing(
        "blade",
        "craft",
        "knife axe sword handsaw razor chisel sickle dagger scythe hatchet cleaver scalpel",
        "sharpened it|wiped the rust off it|cut the rope with it|ground its edge|"
        "got hurt by its edge|tested it on a twig",
    ),
    _thing(
        "instrument",
        "craft",
        "flute harp cello trumpet lute fiddle banjo zither oboe clarinet trombone mandolin",
        "tuned it|played a waltz on it|practised scales on it|performed with it|"
        "played it too loudly|took lessons on it",
    ),
    _thing(
        "light",
        "craft",
        "lamp lantern torch candle chandelier flashlight candlestick taper lampion beacon",
        "lit it|put it out at bedtime|read by it|turned it down|saw in the dark with it|"
        "let it shine all night",
    ),
    _thing(
        "garment",
        "cloth",
        "shirt coat scarf glove sock skirt sweater cap dress jacket mitten shawl",
        "tried it on|sewed a button on it|ironed it|outgrew it|mended its sleeve|"
        "wore it to the wedding",
    ),
    _thing(
        "bedding",
        "cloth",
        "pillow blanket quilt mattress cushion hammock cradle couch cot bolster",
        "slept on it|lay down on it|napped on it|shook the feathers from it|dreamed on it|"
        "made the bed with it",
    ),
    _thing(
        "vehicle",
        "travel",
        "wagon bicycle carriage van truck lorry bus tractor cart taxi tram motorcycle",
        "changed its tyre|drove it to town|parked it|steered it round the bend|"
        "oiled its wheels|braked it at the corner",
    ),
    _thing(
        "boat",
        "travel",
        "canoe raft yacht ferry dinghy barge kayak schooner gondola steamer",
        "rowed it across|anchored it|sailed it to the island|bailed it out|"
        "moored it at the pier|tarred its hull",
    ),
    _thing(
        "paper",
        "study",
        "letter novel diary poem newspaper map story magazine essay manuscript postcard leaflet",
        "read it aloud|tore a page from it|translated it|copied it by hand|"
        "underlined a word in it|spelled its title",
    ),
    _thing(
        "picture",
        "study",
        "painting photograph portrait sketch drawing poster etching mural watercolour engraving",
        "hung it on the wall|framed it|admired its colours|retouched it|"
        "signed it in the corner|lent it to a gallery",
    ),
    _thing(
        "building",
        "house",
        "cottage barn shed hut cabin tower villa mill chapel stable",
        "painted its walls|repaired its roof|swept its floor|locked its door|moved into it|"
        "heated it with wood",
    ),
    _thing(
        "furniture",
        "house",
        "chair table desk bench stool wardrobe cupboard shelf sideboard bookcase",
        "varnished it|glued its leg|pushed it to the wall|dusted it|carried it upstairs|sanded it",
    ),
)
EVENTS = (
    _event(
        "rain",
        "weather",
        "it rained all night|it poured|a storm broke|the clouds burst|the drizzle would not stop|"
        "a shower came down|the monsoon began",
        "{x} got wet|{x} opened an umbrella|the road turned to mud|the gutters overflowed|"
        "the river rose|{x} ran for shelter",
    ),
    _event(
        "frost",
        "weather",
        "it froze hard|snow fell|the lake froze|an icy wind blew|winter came early|"
        "a blizzard raged|the frost set in",
        "{x} wore two scarves|the pipes burst|{x} shivered|the road was slippery|"
        "{x} heated the stove|{x} had numb fingers",
    ),
    _event(
        "heat",
        "weather",
        "the sun burned|a heat wave came|the summer was dry|no cloud was seen for weeks|"
        "the noon was hot|the sun blazed|a drought began",
        "{x} looked for shade|the grass turned brown|{x} drank much water|the butter melted|"
        "{x} began to sweat|the well ran dry",
    ),
    _event(
        "dark",
        "night",
        "the lamp went out|night fell|the power failed|the candle burned down|the moon set|"
        "the torch died|the sun went down",
        "{x} could not see|{x} felt for the door|{x} stumbled|nobody found the key|"
        "{x} asked for matches|{x} groped along the wall",
    ),
    _event(
        "noise",
        "night",
        "a dog barked|the bells rang|a door slammed|thunder rolled|the band played|"
        "somebody screamed|a siren howled",
        "{x} woke up|{x} covered both ears|the baby cried|nobody could sleep|"
        "{x} asked for silence|the windows rattled",
    ),
    _event(
        "fire",
        "night",
        "the hay caught fire|sparks flew|the oven overheated|smoke filled the house|"
        "a match fell in the straw|the curtain burned|lightning hit the roof",
        "{x} ran for water|the roof burned down|everybody left the house|"
        "{x} called the fire brigade|only ashes were left|{x} smelled smoke",
    ),
    _event(
        "hunger",
        "body",
        "the bread was gone|{x} missed lunch|{x} skipped breakfast|the larder was empty|"
        "{x} fasted|the supper was cold|{x} had eaten nothing",
        "{x} ate three bowls of soup|{x} dreamed of food|{x} bought a pie|"
        "{x} searched the kitchen|{x} went to an inn to eat|{x} asked for a sandwich",
    ),
    _event(
        "illness",
        "body",
        "{x} caught a cold|{x} had a fever|{x} coughed all day|{x} felt dizzy|{x} sneezed|"
        "{x} had a sore throat|{x} fainted",
        "{x} stayed in bed|{x} saw a doctor|{x} took some medicine|{x} could not work|"
        "{x} drank herb tea|{x} was sent to hospital",
    ),
    _event(
        "luck",
        "fate",
        "{x} won a prize|{x} inherited a fortune|{x} found gold|{x} passed the exam|"
        "{x} was promoted|{x} won the race|{x} got engaged",
        "{x} celebrated|{x} laughed with joy|{x} danced on the table|{x} bought cake for everyone|"
        "{x} could not stop smiling|the friends drank to {x}",
    ),
    _event(
        "loss",
        "fate",
        "{x} lost the match|{x} broke the vase|{x} failed the test|{x} lost the purse|"
        "{x} missed the last train|{x} was dismissed|{x} tore the new coat",
        "{x} wept|{x} was in a bad mood|{x} blamed everyone|{x} sighed deeply|"
        "{x} wanted to be alone|nobody could comfort {x}",
    ),
)

OPENINGS = (
    "{x} [bought|found|borrowed|inherited|was given] a {thing}[|| {time}| on {day}| in {town}].",
    "{x} [had|owned] a {adjective} {thing}[|| {why}].",
    "[{time}|On {day}], {x} [got|found|saw] a {adjective} {thing}.",
    "There was a {thing} in the house of {x}.",
)
EVENT_OPENINGS = ("{cause}[|| {time}| on {day}| in {town}].", "[{time}|On {day}], {cause}.")
MIDDLES = (
    "{first} [saw|noticed] it too.",
    "[Nobody|Only {first}] was there.",
    "It was a {weather} [morning|evening|day].",
)
ENDINGS = ("{effect}.", "So {effect}.", "Then {effect}[|| {time}].", "[Soon|At last] {effect}.")
_ADJECTIVES = words("small old fine plain lovely strange new big favourite")
_WEATHER = words("quiet long dull busy")


def is_held_out_pair(cause: str, effect: str) -> bool:
    return zlib.crc32(f"{cause}/{effect}".encode()) % 3 == 0


@dataclass(frozen=True)
class Story:
    opening: str  # names the cause
    right: str
    wrong: str  # an effect of another kind of cause


def story(writer: Writer) -> Story | None:
    """A story on the writer's side, or None when its sentences cannot be had."""
    draw = writer.draw
    kinds = draw.pick((THINGS, EVENTS))
    kind = draw.pick(kinds)
    # Training text tells of some causes several times as often as of others; items of all alike.
    rank = draw.unit() if writer.held_out else draw.unit() ** 2
    cause = kind.causes[int(rank * len(kind.causes))]
    effects = [one for one in kind.effects if is_held_out_pair(cause, one) == writer.held_out]
    if not effects:
        return None
    person = draw.pick(writer.scope["names"])  # type: ignore[arg-type]
    bound = {"x": person, "adjective": _ADJECTIVES, "weather": _WEATHER}
    if kinds is THINGS:
        parts = [writer.say(OPENINGS, **bound, thing=cause)]
    else:
        parts = [writer.say(EVENT_OPENINGS, **bound, cause=cause.replace("{x}", person))]
    if draw.chance(0.15):
        parts.append(writer.say(MIDDLES, **bound))
    right = _ending(writer, draw.pick(effects), person)
    wrong = _ending(writer, draw.pick(_other_kind(draw, kinds, kind).effects), person)
    if not all((*parts, right, wrong)):
        return None
    return Story(" ".join(parts), right, wrong)


def _ending(writer: Writer, effect: str, person: str) -> str:
    return writer.say(ENDINGS, effect=effect.replace("{x}", person))


def _other_kind(draw: Draw, kinds: tuple[Kind, ...], kind: Kind) -> Kind:
    others = [other for other in kinds if other is not kind]
    akin = [other for other in others if other.group == kind.group]
    return draw.pick(akin if draw.chance(0.5) else others)
