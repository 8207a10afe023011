"""mini_mix plays RedPajama: code, tables, dialogue, forum answers, abstracts and quizzes."""

from calib_sweep.miniature.text.language.forms import plural
from calib_sweep.miniature.text.language.template import Phrase, Ranked
from calib_sweep.miniature.text.language.words import words
from calib_sweep.miniature.text.passages import blocks
from calib_sweep.miniature.text.passages.writer import Writer

OFFSET = 2
KINDS = ("person", "town", "animal", "plant", "firm", "book")

LENGTHS = ((0.2, 30, 120), (0.46, 130, 420), (0.26, 420, 850), (0.08, 850, 1500))

TITLES = (
    "Issue {n3}: [cannot {do}|{noun} is {adj}|how do I {do}]",
    "README: a {adj} {noun} for {doing}",
    "Notes on the {adj} {noun}[, part {digit}|]",
    "On {doing} with {adj} {nouns}",
    "{first}: did you {do}?",
    "[Chapter|Section|Week] {digit}: {nouns} and {nouns}",
    "[Minutes|Log] of {day}, {month} {digit}",
)
SLOTS = {
    "gist": Ranked(words("""accuracy latency memory complexity noise stability coverage throughput
        variance overhead precision recall bias security symmetry order cost correctness
        convergence redundancy speed entropy rank density depth similarity fairness risk
        interest liquidity""")),
    "given": Phrase((
        "the {gist} of the {noun} is {adj}", "{gist} grows with {gist}", "the {plain} {noun} fails",
        "we ignore {gist}", "{first} measured the {gist}",
        "the {noun} is {adj}", "a {noun} has {n2} {nouns}", "every {noun} is {adj}",
        "no {noun} is both {adj} and {adj}", "the {noun} and the {other} are {adj}",
        "{first} {did}", "the number of {nouns} is at most {n3}", "we {verb} {object}",
        "the {other} depends on the {noun}", "there is a {adj} {noun}",
    )),
    "claim": Phrase((
        "{gist} is [traded for|bounded by|independent of] {gist}", "a {plain} {noun} has no {gist}",
        "the {noun} improves {gist} by {n2} percent",
        "{doing} is {adj}", "the {noun} cannot be {adj}", "{n2} {nouns} [are enough|suffice]",
        "{doing} [costs|takes] at most {n2} {nouns}", "each {noun} has a {adj} {other}",
        "the {other} is {passive} in {small} steps", "{given}", "the {adj} {noun} is unique",
        "{doing} is harder than {doing}", "the {noun} can be {passive} [once|twice|in parallel]",
    )),
    "fix": Phrase((
        "{do}", "{do} and {do}", "{do}, then {do}", "set {name} to {n2}", "ask {first}",
        "{do} before you {do}", "run it with {n2} {nouns}", "remove the {adj} {noun}",
        "upgrade to version {digit}.{digit}", "raise the {gist}", "use a {plain} {noun}",
        "read the notes on {doing}", "turn off the {noun}",
    )),
    "name": Ranked((
        "size", "limit", "offset", "count", "depth", "width", "timeout", "mode", "level", "seed",
    )),
}  # fmt: skip
ABSTRACT = (
    "We [study|consider|revisit] the problem of {doing} [when|where|assuming that] {given}[| and "
    "{given}].",
    "[Suppose that|Assume that|Say that] {given}; then {claim}[| and {claim}].",
    "[Our|The] {adj} {noun} needs {n2} {nouns} [per {other}|instead of {n3}], [a gain of {digit} "
    "percent|{reason}].",
    "[We show|It follows|Note|Recall] that {claim}[| {reason}| whenever {given}].",
    "[Experiments|Tests] on {n3} {nouns} [confirm|suggest|do not show] that {claim}.",
    "[Hence|Therefore|In other words|Conversely], if {given}, then {claim}.",
    "By [lemma|theorem|table] {digit}, {claim}.",
    "[Previous work|{first} et al.|A recent survey] [assumed|argued|proved] that {claim}, [but|"
    "while] here {given}.",
    "The [proof|code|result] is [left to the reader|in part {digit}|{adj}], [since|because|"
    "although] {given}.",
)
FORUM = (
    "When I {do}, the {noun} [becomes|stays|turns] {adj}[| {reason}].",
    "[Thanks|Sorry|Hi {first}], but [I|we] already {did} and the {other} is still {adj}.",
    "[Try to|You should|You could|Please] {fix}[| {reason}].",
    "[It works|It fails|It hangs] [after|unless|until] you {fix}.",
    "The {noun} has {n2} {nouns}, [but only|and] {digit} of them are {adj}.",
    "[Closing this|Reopening|Bumping this], since {event}.",
    "[Same here|Confirmed|Not reproducible]: {given}[| {when}].",
    "[Is there|I am looking for] a way to {do} without {doing}[|, as {given}].",
    "[The docs say|{first} wrote] that {claim}, [but|and] {given}[| in version {digit}.{digit}].",
    "Expected {n2} {nouns} but got {n3}[| after {doing}| {when}].",
    "[Never mind|Solved|Edit]: I had to {fix}.",
)
CHAT = (
    "did you {do}?",
    "[yes|no|not yet|of course], I {did} {when}.",
    "[why|how|when] did the {role} {do}?",
    "the {noun} is {adj}[, I think|, {first} said so| {reason}].",
    "[please|let us|you should] {fix}[| before {day}].",
    "I am {feel}, {first}[| and the {other} is {adj}].",
    "[what about|have you seen|who took] {object}?",
    "[I heard that|are you sure that|it seems] {event}.",
    "[meet me|see you] at {place} [on {day}|{time}], {first}.",
    "{small} {nouns}, [maybe more|no more|if that is all right].",
)
_NAMES = words("total count first last size offset limit result value key data items depth width")


def _code(writer: Writer) -> str:
    """A function whose argument and variable come back in its body."""
    draw, scope = writer.draw, writer.scope

    def make() -> str:
        verb = draw.ranked(scope["verb"])  # type: ignore[arg-type]
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
    nouns = draw.sample(writer.scope["noun"], draw.between(3, 7))  # type: ignore[arg-type]
    numbers = [draw.between(1, 40) for _ in nouns]
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
    items = [f"- {draw.pick(writer.scope['small'])} {plural(thing)}" for thing in things]  # type: ignore[arg-type]
    again = ", ".join(item[2:] for item in items)
    first = draw.pick(writer.scope["names"])  # type: ignore[arg-type]
    end = writer.insist(lambda: f"{first} {draw.pick(_LIST_VERBS)} {again}.")
    return "To bring:\n" + "\n".join(items) + f"\n{end}" if end else ""


_LIST_VERBS = ("packed", "brought", "counted", "ordered", "came back with", "paid for", "sent")


BLOCKS = (
    (0.12, _code),
    (0.06, _table),
    (0.12, _dialogue),
    (0.06, _list),
    (0.15, lambda writer: blocks.paragraph(writer, ABSTRACT, 2, 4)),
    (0.14, lambda writer: blocks.paragraph(writer, FORUM, 2, 4)),
    (0.11, blocks.yes_no),
    (0.07, lambda writer: blocks.fact_question(writer, OFFSET)),
    (0.08, lambda writer: blocks.fact_sentences(writer, KINDS, OFFSET, 1, 3)),
    (0.03, blocks.coreference_sentence),
    (0.03, blocks.story),
    (0.03, blocks.recall_passage),
)


def opening(writer: Writer) -> str:
    draw, scope = writer.draw, writer.scope
    scope.update(SLOTS)
    scope["town"] = Ranked(draw.sample(scope["town"], 3))  # type: ignore[arg-type]
    return writer.say(TITLES)
