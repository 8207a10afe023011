"""Sentences whose last clause is about one of two people or things, told by who does what to whom.

A schema is (template, reasons that point at the first, reasons that point at the second).
"""

from dataclasses import dataclass

from calib_sweep.miniature.text.template import fill
from calib_sweep.miniature.text.words import words
from calib_sweep.miniature.text.writer import Writer

PEOPLE = (
    (
        "{a} [asked|begged] {b} for [help|advice][| {time}| with the {noun}] because",
        (
            "was lost",
            "did not know the way",
            "needed a hand",
            "was stuck",
            "had no idea what to do",
        ),
        ("knew the way", "was an expert", "had done it before", "was known to be helpful"),
    ),
    (
        "{a} [thanked|hugged] {b} [{time}|at {place}|for the {noun}] because",
        ("was grateful", "had been helped", "had received a gift"),
        ("had helped a lot", "had given good advice", "had saved the day"),
    ),
    (
        "{a} [beat|defeated] {b} [in the race|at chess|in the final] because",
        (
            "was faster",
            "had trained all winter",
            "was the better player",
            "played without a mistake",
        ),
        ("was slower", "had slept badly", "had not trained at all", "made a bad mistake"),
    ),
    (
        "{a} bought the {adj} {noun} from {b} [| {time}] because",
        ("needed one", "was looking for one", "had saved enough money"),
        ("needed the money", "wanted to get rid of it", "had two of them"),
    ),
    (
        "{a} could not hear {b} [{time}|at {place}] because",
        ("was a little deaf", "had cotton in both ears", "was not listening"),
        ("was whispering", "spoke too softly", "stood too far off and mumbled"),
    ),
    (
        "{a} carried {b} [home|up the hill|to {place}] because",
        ("was strong", "was the stronger of the two", "wanted to help"),
        ("had hurt a leg", "could not walk", "was very tired", "had fainted"),
    ),
    (
        "{a} taught {b} [to swim|to cook|to read maps|the song] because",
        ("was a good teacher", "knew how to do it", "had learned it long ago"),
        ("wanted to learn", "did not know how to do it", "had begged for lessons"),
    ),
    (
        "{a} hid from {b} [behind the {noun}|in the cellar|{time}] because",
        ("was afraid", "had broken the window", "did not want to be seen"),
        ("was angry", "looked dangerous", "was shouting and searching"),
    ),
    (
        "{a} waited for {b} [at {place}|{time}|near the {landmark}] because",
        ("had arrived too early", "was patient", "had come first"),
        ("was late", "had missed the bus", "was still getting dressed"),
    ),
    (
        "{a} lent {b} [the {noun}|{n2} coins|a coat] because",
        ("had more than enough", "was generous", "could spare it"),
        ("had nothing left", "had asked politely", "was in need"),
    ),
)
THINGS = (
    (
        "The {a} would not fit into the {b} [| {time}] because",
        ("was too large", "was far too big", "was too wide", "was too long"),
        ("was too small", "was too narrow", "was already full", "was far too tiny"),
    ),
    (
        "The {a} fell through the {b} [| at {place}] because",
        ("was too heavy", "weighed too much", "was made of lead"),
        ("was too weak", "was rotten", "was made of paper"),
    ),
    (
        "The {a} scratched the {b} [| {time}] because",
        ("was sharp", "was rough", "had a hard edge"),
        ("was soft", "had no varnish", "was easily damaged"),
    ),
)
_OBJECTS = words(
    "trophy statue violin ladder cake lamp parcel painting globe barrel bottle clock stone crate "
    "ball "
    "mirror stove statue kettle toolbox"
)
_HOLDERS = words(
    "suitcase box bag basket drawer cupboard chest trunk shelf table bench floor tray lid crate "
    "cart "
    "case cabinet"
)


@dataclass(frozen=True)
class Coreference:
    start: str  # up to "because"
    candidates: tuple[str, str]
    answer: int
    ending: str  # with its full stop
    other_endings: tuple[str, ...]  # what may be said of the other candidate


def coreference(writer: Writer) -> Coreference | None:
    """A sentence on the writer's side (with its wrong reading), or None."""
    draw = writer.draw
    is_about_people = draw.chance(0.7)
    template, first, second = draw.pick(PEOPLE if is_about_people else THINGS)
    for _ in range(40):
        if is_about_people:
            a, b = draw.sample(writer.scope["names"], 2)  # type: ignore[arg-type]
            candidates = (a, b)
        else:
            a = draw.pick(_OBJECTS)
            b = draw.pick([holder for holder in _HOLDERS if holder != a])
            candidates = (f"the {a}", f"the {b}")
        start = fill(template, {**writer.scope, "a": a, "b": b}, draw).replace("  ", " ")
        answer = draw.below(2)
        ending = f"{draw.pick(second if answer else first)}."
        readings = [f"{start} {candidate} {ending}" for candidate in candidates]
        if all(writer.accepts(reading) for reading in readings):
            return Coreference(start, candidates, answer, ending, first if answer else second)
    return None
