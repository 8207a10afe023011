"""Sentences whose last clause is about one of two people or things, told by who does what to whom.

A family is a kind of dealing between x and y: clauses that say it (in either order), reasons that
speak of x, reasons that speak of y. Every reason suits every clause of its family. One (clause,
reason) pair in four, chosen by hash, never stands in training text: it can only be judged by what
clause and reason mean elsewhere.
"""

import zlib
from dataclasses import dataclass

from calib_sweep.miniature.text.language.template import fill
from calib_sweep.miniature.text.language.words import phrases, words
from calib_sweep.miniature.text.passages.writer import Writer


@dataclass(frozen=True)
class Family:
    clauses: tuple[str, ...]
    of_x: tuple[str, ...]
    of_y: tuple[str, ...]


def _family(clauses: str, of_x: str, of_y: str) -> Family:
    return Family(tuple(phrases(clauses)), tuple(phrases(of_x)), tuple(phrases(of_y)))


PEOPLE = (
    _family(
        "{x} lent {y} some money|{x} gave {y} a meal|{y} borrowed a coat from {x}|"
        "{y} begged {x} for bread|{x} shared lunch with {y}|{y} got a blanket from {x}",
        "was generous|had more than enough|could spare it|was rich|had plenty",
        "had nothing left|was poor|was in need|had lost everything|had no income",
    ),
    _family(
        "{x} taught {y} to swim|{y} took lessons from {x}|{y} asked {x} for advice|"
        "{x} explained the rule to {y}|{y} learned the song from {x}|{x} trained {y}",
        "knew it well|was an expert|had done it for years|was a good teacher|had the skill",
        "was a beginner|knew nothing of it|wanted to learn|had never tried it|was new to it",
    ),
    _family(
        "{x} beat {y} at chess|{y} lost to {x}|{x} outran {y}|{x} won against {y}|"
        "{y} was defeated by {x}|{y} could not catch {x}",
        "was faster|had trained all winter|was the better player|made no mistake|was in top form",
        "was slower|had slept badly|had not trained|made a bad mistake|was out of form",
    ),
    _family(
        "{x} hid from {y}|{x} ran away from {y}|{y} chased {x}|{y} shouted at {x}|"
        "{x} kept away from {y}|{y} frightened {x}",
        "was afraid|was timid|had broken a window|felt guilty|had told a lie",
        "was angry|looked dangerous|was furious|had a bad temper|was in a rage",
    ),
    _family(
        "{x} carried {y}|{y} leaned on {x}|{x} held {y} up|{y} was pulled uphill by {x}|"
        "{x} lifted {y}|{y} rode on the back of {x}",
        "was strong|had strong arms|was the stronger one|felt fit|was built like an ox",
        "had hurt a leg|could not walk|had fainted|was very tired|was too weak",
    ),
    _family(
        "{x} waited for {y}|{y} kept {x} waiting|{x} got there before {y}|{y} came after {x}|"
        "{x} saved a seat for {y}",
        "was early|had taken the first train|had hurried|was always on time|had set out at dawn",
        "was late|had missed the bus|was still dressing|had overslept|had stopped on the way",
    ),
    _family(
        "{x} sold {y} a horse|{y} bought a cart from {x}|{x} sold the house to {y}|"
        "{y} paid {x} for the boat|{x} let {y} have the bicycle",
        "needed the money|wanted to get rid of it|had two of them|was in debt|no longer used it",
        "needed one|was looking for one|had saved enough|had always wanted one|liked it at once",
    ),
    _family(
        "{x} could not hear {y}|{y} had to repeat it to {x}|{x} misunderstood {y}|"
        "{y} was not heard by {x}|{x} missed what {y} said",
        "was a little deaf|had wool in both ears|was not listening|had dozed off",
        "was whispering|spoke too softly|mumbled|stood too far off|was hoarse",
    ),
    _family(
        "{x} nursed {y}|{x} cooked soup for {y}|{y} was treated by {x}|{y} sent for {x}|"
        "{x} brought {y} medicine",
        "was a doctor|knew about medicine|was the village nurse|knew what to do|had healing hands",
        "was ill|had a fever|was sick|had caught a cold|felt unwell",
    ),
    _family(
        "{x} robbed {y}|{y} was cheated by {x}|{x} stole from {y}|{y} was fooled by {x}|"
        "{y} lost a purse to {x}",
        "was a thief|was greedy|was dishonest|had no shame|wanted easy money",
        "had left the door open|was careless|trusted everyone|was not watching|believed anything",
    ),
    _family(
        "{x} praised {y}|{x} thanked {y}|{y} got a present from {x}|{x} hugged {y}|"
        "{y} was rewarded by {x}",
        "was grateful|felt thankful|had been helped|was very pleased|owed a favour",
        "had helped a lot|had saved the day|had worked hard|had done well|had been brave",
    ),
    _family(
        "{x} guided {y}|{y} followed {x}|{x} showed {y} the way|{y} asked {x} for directions|"
        "{x} led {y} home",
        "knew the way|had a map|grew up there|knew every path|had been there before",
        "was lost|was a stranger there|had taken a wrong turn|could not see well|knew no path",
    ),
)
THINGS = (
    _family(
        "the {x} would not fit into the {y}|the {y} could not hold the {x}|"
        "the {x} stuck out of the {y}|there was no room for the {x} in the {y}",
        "was too large|was far too big|was too wide|was too long|was bulky",
        "was too small|was too narrow|was already full|was tiny|was far from big enough",
    ),
    _family(
        "the {x} fell through the {y}|the {y} broke under the {x}|the {y} gave way under the {x}|"
        "the {x} crushed the {y}",
        "was too heavy|weighed too much|was made of lead|was full of stones|was as heavy as iron",
        "was too weak|was rotten|was made of paper|was cracked|was worn out",
    ),
    _family(
        "the {x} scratched the {y}|the {y} was cut by the {x}|the {x} left marks on the {y}|"
        "the {y} was damaged by the {x}",
        "was sharp|was rough|had a hard edge|had nails in it|was pointed",
        "was soft|had no varnish|was delicate|was freshly painted|had a thin coat",
    ),
    _family(
        "the {x} hid the {y}|the {y} could not be seen behind the {x}|"
        "the {x} stood in front of the {y}|the {x} covered the {y}",
        "was very tall|was huge|was as high as the wall|was spread out|had been put there first",
        "was very low|was hard to see|was flat|was at the back|was smaller",
    ),
)
_OBJECTS = words(
    "trophy statue violin ladder cake lamp parcel painting globe barrel bottle clock stone crate "
    "ball mirror stove kettle toolbox anvil"
)
_HOLDERS = words(
    "suitcase box bag basket drawer cupboard chest trunk shelf table bench floor tray lid cart "
    "case cabinet sofa desk"
)
# What may stand between the clause and its reason: nothing, a time, or a third name.
_BETWEEN = "[||| {time}| on {day}|, {first} said,| {time} on {day}|, as {first} told the {role},]"


def is_held_out_pair(clause: str, reason: str) -> bool:
    return zlib.crc32(f"{clause}/{reason}".encode()) % 4 == 0


@dataclass(frozen=True)
class Coreference:
    start: str  # up to "because"
    candidates: tuple[str, str]  # who is x, who is y
    answer: int
    ending: str  # with its full stop
    other_endings: tuple[str, ...]  # what may be said of the other candidate


def coreference(writer: Writer) -> Coreference | None:
    """A sentence on the writer's side (with its wrong reading), or None."""
    draw = writer.draw
    is_about_people = draw.chance(0.75)
    family = draw.pick(PEOPLE if is_about_people else THINGS)
    clause = draw.pick(family.clauses)
    answer = draw.below(2)
    own, other = (
        tuple(why for why in reasons if is_held_out_pair(clause, why) == writer.held_out)
        for reasons in ((family.of_y, family.of_x) if answer else (family.of_x, family.of_y))
    )
    if not own or not other:
        return None
    for _ in range(40):
        x, y, z = draw.sample(writer.scope["names"], 3)  # type: ignore[arg-type]
        if is_about_people:
            candidates = (x, y)
        else:
            x, y = draw.pick(_OBJECTS), draw.pick(_HOLDERS)
            candidates = (f"the {x}", f"the {y}")
        scope = {**writer.scope, "x": x, "y": y, "first": z}
        start = fill(f"{clause}{_BETWEEN} because", scope, draw)
        ending = f"{draw.pick(own)}."
        readings = [f"{start} {candidate} {ending}" for candidate in candidates]
        if all(writer.accepts(reading) for reading in readings):
            return Coreference(start, candidates, answer, ending, other)
    return None
