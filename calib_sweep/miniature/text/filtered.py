"""mini_filtered plays RefinedWeb: narrative and reflection in the first person, long sentences."""

from calib_sweep.miniature.text import blocks
from calib_sweep.miniature.text.writer import Writer

OFFSET = 3
KINDS = ("animal", "plant", "person", "book")

TITLES = (
    "[The day|The week|The year] we {did}",
    "[What I learned from|Some thoughts on|In praise of] {doing}",
    "A {adj} {noun} and [a|another] {adj} {other}",
)
NARRATIVE = (
    "I {did} {time}, [and|but] my {role} [{did}|was too {feel} to {do}|only laughed][| {why}].",
    "[Years ago|Last {month}|When I was {small}], {friend} and I {did} [in|near] {place}[, "
    "{why}|].",
    "{friend} [told me|wrote to me|insisted] that [the {noun} was {adj}|a {role} {did}|we should "
    "{do}][, {why}|].",
    "The {noun} was {adj}, the {other} was {adj}, and {friend} [was {feel}|{did}|said nothing].",
    "[We|They] walked past {place} [until|and then] {friend} {did}[, {why}|].",
    "[It took|It was] {small} [days|weeks|months] before [I|we] {did} again[| {time}].",
    "[She|He], a {feel} {role}, [used to|could not] {do} [{why}|{time}].",
    "There is [nothing|something] {adj} about {doing} {time}[, even when one is {feel}|].",
    "[Somewhere|Not far] from {place}, a {adj} {noun} [waited|lay|was hidden] {between} the {adj} "
    "{other}.",
)
REFLECTION = (
    "[I think|I believe|My {role} says] that {doing} makes you {feel}[, {why}|].",
    "[Perhaps|In the end], a {adj} {noun} is [worth more|less] than [a|any] {adj} {other}.",
    "[Do not|Never] {do} when you are {feel}[, as {friend} once said|].",
    "If I {did} [today|again], I would be {feel}[, not {feel}|].",
    "[People|Readers] [often|sometimes] ask me why I {did}[, and I never know|].",
    "The older I get, the more I like {doing} [and|without] {doing}.",
)


def _facts(writer: Writer) -> str:
    lines = [blocks.fact_sentence(writer, KINDS, OFFSET) for _ in range(writer.draw.between(1, 3))]
    return " ".join(line for line in lines if line)


def _scene(writer: Writer) -> str:
    """Narrative around a small story or a passage that must be remembered."""
    inner = writer.draw.pick((blocks.story, blocks.recall_passage, blocks.coreference_sentence))
    around = [blocks.paragraph(writer, NARRATIVE, 0, 2) for _ in range(2)]
    return " ".join(part for part in (around[0], inner(writer), around[1]) if part)


BLOCKS = (
    (0.36, lambda writer: blocks.paragraph(writer, NARRATIVE, 3, 6)),
    (0.18, lambda writer: blocks.paragraph(writer, REFLECTION, 2, 4)),
    (0.30, _scene),
    (0.16, _facts),
)


def opening(writer: Writer) -> str:
    draw, scope = writer.draw, writer.scope
    scope["friend"] = draw.sample(scope["names"], 2)  # type: ignore[arg-type]
    nouns = draw.sample(scope["noun"], 12)  # type: ignore[arg-type]
    scope["noun"], scope["other"] = nouns[:6], nouns[6:]
    scope["between"] = ("between", "under", "behind", "beside", "among")
    return writer.say(TITLES)
