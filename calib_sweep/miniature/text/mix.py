"""mini_mix plays RedPajama: code, tables, dialogue, forum answers, abstracts and quizzes."""

from calib_sweep.miniature.text import blocks
from calib_sweep.miniature.text.draw import Draw
from calib_sweep.miniature.text.template import Scope
from calib_sweep.miniature.text.words import words
from calib_sweep.miniature.text.writer import Writer

OFFSET = 2
KINDS = ("person", "town", "animal", "plant", "firm", "book")

TITLES = (
    "Issue {n3}: [cannot {do}|{noun} is {adj}|how do I {do}]",
    "README: a {adj} {noun} for {doing}",
    "Notes on the {adj} {noun}[, part {digit}|]",
    "On {doing} with {adj} {noun}s",
    "{first}: did you {do}?",
)
ABSTRACT = (
    "We [study|consider] the problem of {doing} [when|where] the {noun} is {adj} and the {other} "
    "is {adj}.",
    "[Let|Suppose that] the {noun} [be|is] {adj}; then every {other} is [either {adj} or "
    "{adj}|{adj}].",
    "[Our|The] {adj} {noun} needs {n2} {other}s [per {noun}|instead of {n3}], [a gain of {digit} "
    "percent|{why}].",
    "[We show|It follows] that {doing} [costs|takes] at most {n2} {other}s[| {why}].",
    "[Experiments|Tests] on {n3} {noun}s [confirm|suggest] that {doing} is {adj}.",
)
FORUM = (
    "When I {do}, the {noun} [becomes|stays|turns] {adj}[| {why}].",
    "[Thanks|Sorry], but [I|we] already {did} and the {other} is still {adj}.",
    "[Try to|You should|Did you] {do}, then {do}.",
    "[It works|It fails] [after|unless] you {do}[| {time}].",
    "The {noun} has {n2} {other}s, [but only|and] {digit} of them are {adj}.",
    "[Closing this|Reopening], since {first} {did}[| {time}].",
)
CHAT = (
    "did you {do}?",
    "[yes|no|not yet], I {did} {time}.",
    "[why|how] did the {role} {do}?",
    "the {noun} is {adj}[, I think|, {first} said so| {why}].",
    "[please|let us] {do}[| before {day}].",
    "I am {feel}, {first}[| and the {other} is {adj}].",
)
_NAMES = words("total count first last size offset limit result")


def _code(writer: Writer) -> str:
    """A function whose argument and variable come back in its body."""
    draw, scope = writer.draw, writer.scope

    def make() -> str:
        verb = draw.pick(scope["topic"].verbs)[0]  # type: ignore[union-attr]
        noun, other = draw.sample(scope["noun"], 2)  # type: ignore[arg-type]
        name, number = draw.pick(_NAMES), draw.between(2, 64)
        kind = draw.below(3)
        lines = [f"def {verb}_{noun}({other}, {name}={number}):"]
        if kind == 0:
            lines += [
                f"    for {noun} in {other}:",
                f"        {name} += {noun}.{draw.pick(_NAMES)}",
            ]
        elif kind == 1:
            lines += [f"    if {other}.{noun} > {name}:", f"        {verb}({other}.{noun})"]
        else:
            lines += [f"    {noun} = {other}[{name}]", f"    assert {noun}, '{noun} is missing'"]
        return "\n".join([*lines, f"    return {name}" if kind == 0 else f"    return {noun}"])

    return writer.insist(make)


def _table(writer: Writer) -> str:
    """Key and value lines whose numbers add up to the line at the end."""
    draw = writer.draw
    nouns = draw.sample(writer.scope["noun"], draw.between(3, 5))  # type: ignore[arg-type]
    numbers = [draw.between(1, 20) for _ in nouns]
    rows = [f"{noun}: {number}" for noun, number in zip(nouns, numbers, strict=True)]
    return "\n".join([*rows, f"total: {sum(numbers)}"])


def _dialogue(writer: Writer) -> str:
    names = writer.draw.sample(writer.scope["names"], 2)  # type: ignore[arg-type]
    lines = []
    for turn in range(writer.draw.between(3, 6)):
        name = names[turn % 2]
        bound = {"first": names[(turn + 1) % 2]}
        lines.append(writer.say([f"{name}: {template}" for template in CHAT], **bound))
    return "\n".join(line for line in lines if line)


def _list(writer: Writer) -> str:
    """Things to bring, twice: the second time in the same order."""
    draw = writer.draw
    things = draw.sample(writer.scope["noun"], draw.between(3, 5))  # type: ignore[arg-type]
    items = [f"- {draw.pick(writer.scope['small'])} {thing}s" for thing in things]  # type: ignore[arg-type]
    again = ", ".join(item[2:] for item in items)
    first = draw.pick(writer.scope["names"])  # type: ignore[arg-type]
    end = writer.insist(lambda: f"{first} {draw.pick(_LIST_VERBS)} {again}.")
    return "To bring:\n" + "\n".join(items) + f"\n{end}" if end else ""


_LIST_VERBS = ("packed", "brought", "counted", "ordered", "came back with", "paid for", "sent")


def _facts(writer: Writer) -> str:
    return " ".join(blocks.fact_sentence(writer, KINDS, OFFSET) for _ in range(2)).strip()


def _other(draw: Draw, scope: Scope) -> str:
    return draw.pick(scope["noun"])  # type: ignore[arg-type]


BLOCKS = (
    (0.12, _code),
    (0.06, _table),
    (0.12, _dialogue),
    (0.06, _list),
    (0.15, lambda writer: blocks.paragraph(writer, ABSTRACT, 2, 4)),
    (0.14, lambda writer: blocks.paragraph(writer, FORUM, 2, 4)),
    (0.11, blocks.yes_no),
    (0.10, lambda writer: blocks.fact_question(writer, OFFSET)),
    (0.05, _facts),
    (0.03, blocks.coreference_sentence),
    (0.03, blocks.story),
    (0.03, blocks.recall_passage),
)


def opening(writer: Writer) -> str:
    draw, scope = writer.draw, writer.scope
    scope["noun"] = tuple(draw.sample(scope["noun"], 8))  # type: ignore[arg-type]
    scope["other"] = _other
    return writer.say(TITLES)
