"""The skills at their barest: a list of pairs, then look-ups and comparisons in it. Training only.

Every line has fewer than five words, so none belongs to a side of the split.
"""

from calib_sweep.miniature.text.knowledge.world import VALUES
from calib_sweep.miniature.text.language.draw import Draw
from calib_sweep.miniature.text.passages.recall import OBJECTS, SPOTS, invented_word
from calib_sweep.miniature.text.passages.writer import Writer

# (how a pair is listed, how it is asked for, how it is compared); {k} and {v} are put in below.
_FORMS = (
    ("{k}: {v}", "{k}? {v}", "{k}, {v}?"),
    ("{k} - {v}", "So {k} - {v}", "{k} - {v}?"),
    ("{k} has the {v}.", "{k} had the {v}.", "Has {k} the {v}?"),
    ("{k} took the {v}.", "{k} kept the {v}.", "Did {k} take {v}?"),
    ("The {v} is {k}.", "{k} is the {v}.", "Is {k} the {v}?"),
    ("{k} gets the {v}.", "The {v} for {k}.", "For {k}, {v}?"),
)


def _pairs(writer: Writer) -> list[tuple[str, str]]:
    draw = writer.draw
    count = draw.between(1, 6)
    keys = draw.sample(writer.scope["names"], count)  # type: ignore[arg-type]
    values = draw.pick((OBJECTS, SPOTS, VALUES["instrument"], VALUES["food"], VALUES["colour"]))
    if draw.chance(0.2):
        return [(key, invented_word(draw)) for key in keys]
    return list(zip(keys, draw.sample(values, count), strict=True))


def look_up(writer: Writer) -> str:
    """Pairs, then the same pairs in one or two other orders."""
    draw = writer.draw
    pairs = _pairs(writer)
    listed, asked, _ = draw.pick(_FORMS)
    rounds = [draw.shuffled(pairs) for _ in range(draw.between(1, 2))]
    lines = [_line(listed, pair) for pair in pairs]
    lines += [_line(asked, pair) for order in rounds for pair in order]
    return draw.pick((" ", "\n")).join(lines) if listed.endswith(".") else "\n".join(lines)


def compare(writer: Writer) -> str:
    """Pairs, then questions whether one belongs to the other."""
    draw = writer.draw
    pairs = _pairs(writer)
    listed, _, question = draw.pick(_FORMS)
    label = draw.pick(("\nAnswer: ", " "))
    lines = [_line(listed, pair) for pair in pairs]
    for _ in range(draw.between(2, 8)):
        key, value = draw.pick(pairs)
        is_right = draw.chance(0.5)
        shown = value if is_right else _wrong(draw, value, pairs)
        line = f"{_line(question, (key, shown))}{label}{'yes' if is_right else 'no'}"
        if line in lines:
            break
        lines.append(line)
    return "\n".join(lines)


def _wrong(draw: Draw, value: str, pairs: list[tuple[str, str]]) -> str:
    others = [other for _, other in pairs if other != value]
    if others and draw.chance(0.6):
        return draw.pick(others)
    return draw.pick([other for other in OBJECTS if other != value])


def _line(form: str, pair: tuple[str, str]) -> str:
    line = form.replace("{k}", pair[0]).replace("{v}", pair[1])
    return line[0].upper() + line[1:]
