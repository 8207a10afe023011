"""The fictional knowledge base: several hundred entities and about two thousand facts.

Made once from its own stream. A fact is (kind of subject, subject, relation, value); a third of the
facts, chosen by hash, is never asked about in training text, only stated: `is_asked_only_in_tasks`.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from calib_sweep.miniature.text.language.draw import Draw
from calib_sweep.miniature.text.language.words import phrases, words

FEMALE = words("""Adela Brisa Calla Dorin Elva Fenna Gisela Hanna Ilka Jorid Kaia Lunet Mirel Nadja
        Orla Petra Quilla Rosal Selma Tova Ulla Vesna Wilma Ysolde Zora Amrit Bettan
        Cosima Darla Edda""")
MALE = words("""Alder Boris Corin Davin Emrik Falk Goran Hanno Ivar Jonas Kasper Ludo Milan Niels
        Oskar Piet Quint Rurik Stellan Tomas Ulric Viktor Wendel Xaver Yorick Zeno Anselm
        Bertil Conrad Dunstan""")
_SURNAME = (
    words("Hal Brem Tor Wend Kel Mar Ost Rav Sund Vel Dra Fenn Gall Lind Pas Stro"),
    words("wick den berg ner ford mond lin sted tan vik"),
)
_TOWN = (
    words("Vel Sar Quen Tam Bel Nor Hes Dru Cal Or Pri Lun"),
    words("mora by haven dale stad"),
)
_ANIMAL = (
    words("spotted marsh ridge black crested pale river dwarf"),
    words("quorl tamber fizzard ollen drape-tail skink-owl wimbrel"),
)
_PLANT = (
    words("silver creeping bog king's red winter"),
    words("tallow-root marrin fennet glass-leaf ostle borran"),
)
_FIRM = (
    words("Nova Grand Blue Iron Sun Swift Star Oak"),
    words("Works Trading Mills Brothers Lines Foods"),
)
_BOOK = (
    phrases("The Last|The Silent|A Broken|The Hidden|The Long|A Winter"),
    words("Lantern Crossing Orchard Letter Voyage Harvest Mirror Tower Garden Winter"),
)

VALUES = {
    "job": words("""baker lawyer miner surgeon painter pilot weaver judge florist sailor butcher
        poet dentist plumber farmer tailor chemist potter fiddler carpenter teacher brewer printer
        jeweller"""),
    "instrument": words(
        "flute harp cello trumpet lute organ oboe tuba zither banjo bagpipe accordion"
    ),
    "food": words("""plums herring lentils walnuts dumplings cheese radishes oysters pancakes figs
        mutton porridge"""),
    "region": phrases("Arvenia|Lower Brask|Upper Brask|Solmark|Teyland|Ondria|Carrow|Westerlin"),
    "river": words("Sarn Wey Ollen Drava Tisk Morrow Lune Perrin Ash Colm Ister Vane"),
    "product": words("""glass paper bicycles salt carpets clocks honey candles pianos bricks
        lamps cider rope perfume boots violins tiles umbrellas cutlery soap"""),
    "landmark": phrases("""windmill|stone bridge|clock tower|cathedral|lighthouse|amphitheatre|
        observatory|aqueduct|market hall|botanical garden|salt mine|fish market"""),
    "habitat": phrases(
        "swamps|caves|meadows|reed beds|pine forests|cliffs|sand dunes|orchards|moors|lakes"
    ),
    "diet": words("snails berries moths roots eels acorns beetles moss frogs seeds crabs nectar"),
    "colour": words("grey green orange violet white brown blue yellow crimson black"),
    "use": phrases(
        "fever|headaches|dyeing wool|making tea|tanning leather|burns|flavouring "
        "beer|coughs|making ink|"
        "sore feet|thatching roofs|toothache"
    ),
    "season": words("spring summer autumn winter"),
    "subject": phrases(
        "bees|a shipwreck|two sisters|a lost king|the plague|a clockmaker|mountain life|a long war|"
        "an exile|a stolen horse|the sea|a haunted mill"
    ),
}

RELATIONS = {
    "person": ("job", "home", "birthplace", "instrument", "food"),
    "town": ("region", "river", "product", "landmark"),
    "animal": ("habitat", "diet", "colour"),
    "plant": ("habitat", "use", "season"),
    "firm": ("seat", "product", "founder"),
    "book": ("author", "subject"),
}


@dataclass(frozen=True)
class Entity:
    kind: str
    name: str
    facts: dict[str, str]  # relation -> value
    is_female: bool = False


@dataclass(frozen=True)
class World:
    entities: dict[str, tuple[Entity, ...]]  # kind -> entities

    def values(self, kind: str, relation: str) -> list[str]:
        """Every value the relation takes, in a fixed order."""
        return sorted({entity.facts[relation] for entity in self.entities[kind]})


@cache
def world() -> World:
    """The one knowledge base."""
    draw = Draw("miniature-world")
    towns = [a + b for a in _TOWN[0] for b in _TOWN[1]]
    surnames = [a + b for a in _SURNAME[0] for b in _SURNAME[1]]
    pools = {**VALUES, "home": towns, "birthplace": towns, "seat": towns}
    people = _people(draw, surnames, pools)
    pools["founder"] = pools["author"] = [person.name for person in people]
    names = {
        "town": towns,
        "animal": [f"{a} {b}" for a in _ANIMAL[0] for b in _ANIMAL[1]],
        "plant": [f"{a} {b}" for a in _PLANT[0] for b in _PLANT[1]],
        "firm": [f"{a} {b}" for a in _FIRM[0] for b in _FIRM[1]],
        "book": [f"{a} {b}" for a in _BOOK[0] for b in _BOOK[1]],
    }
    entities = {kind: _entities(draw, kind, names[kind], pools) for kind in names}
    return World({"person": people, **entities})


def _people(draw: Draw, surnames: list[str], pools: dict[str, list[str]]) -> tuple[Entity, ...]:
    people = []
    for index, surname in enumerate(draw.shuffled(surnames)):
        is_female = index % 2 == 0
        name = f"{draw.pick(FEMALE if is_female else MALE)} {surname}"
        facts = {relation: draw.pick(pools[relation]) for relation in RELATIONS["person"]}
        people.append(Entity("person", name, facts, is_female))
    return tuple(people)


def _entities(
    draw: Draw, kind: str, names: Iterable[str], pools: dict[str, list[str]]
) -> tuple[Entity, ...]:
    return tuple(
        Entity(kind, name, {relation: draw.pick(pools[relation]) for relation in RELATIONS[kind]})
        for name in names
    )


def is_asked_only_in_tasks(subject: str, relation: str) -> bool:
    """Tell whether training text never asks for this fact; it still states it."""
    return zlib.crc32(f"{subject}/{relation}".encode()) % 3 == 0
