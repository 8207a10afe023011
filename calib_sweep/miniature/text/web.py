"""mini_web plays C4: shop, how-to, review and help pages that say "you" and "we"."""

from calib_sweep.miniature.text import blocks, facts, questions
from calib_sweep.miniature.text.writer import Writer

OFFSET = 0
KINDS = ("firm", "firm", "town", "plant")

TITLES = (
    "How to {do} [in {digit} easy steps|without a {noun}|like a {role}]",
    "[The {digit} best|Our {digit} favourite] {noun}s [for your {noun}|of the year|under {n2} "
    "coins]",
    "[Buy|Find|Order] {adj} {noun}s [online|in {town}|from {firm}]",
    "{firm} {product} [review|price list|care guide|and more]",
    "[Why every|What a] {role} [needs|should know about] a {adj} {noun}",
)
PITCH = (
    "[If you are|Are you] looking for a {adj} {noun}[, you have come to the right place| or a "
    "{adj} one].",
    "Our {adj} {noun} [comes in {digit} sizes|weighs only {n2} grams|costs {n2} coins|is made of "
    "{product}].",
    "[We ship|We send] every {noun} [within {digit} days|free of charge|from our shop in "
    "{town}][| {why}].",
    "[Please|You can] [contact|visit|call] our {role}s in {town} [for more information|if you "
    "have any questions].",
    "[This|Our|The new] {noun} is [perfect|great|ideal] for {doing}[| {time}].",
    "[You will love|Customers love] [how easy it is to|to] {do}[| {why}].",
    "All our {noun}s are [{adj} and {adj}|tested by a {role}|made in {town}|{adj}, {adj} and easy "
    "to clean].",
    "Add the {adj} {noun} to your [cart|basket] [and save {n2} percent|before {month}|today].",
    "[Read on|Click here|Scroll down] to [learn more about {doing}|see the {noun}|find the {adj} "
    "{noun}].",
    "[Our shop|The shop] in {place} is open [every {day}|until {month}|on {day} and {day}].",
)
STEPS = (
    "{do} [and|, then] {do}[| {why}].",
    "Before you {do}, [make sure that the {noun} is {adj}|{do}|check the {noun}].",
    "[Do not|Never] {do} [{why}|when the {noun} is {adj}|near {place}].",
    "[Leave|Keep] the {adj} {noun} [in|near] {place} for {small} [minutes|days|weeks].",
    "[After|About] {small} minutes, {do}[| and let it rest].",
    "[It is best to|You may] {do} {time}[, when the {noun} is {adj}|].",
)
REVIEWS = (
    "I [bought|ordered|returned] this {noun} in {month} [and it is still {adj}|{why}|for my "
    "{role}].",
    "[{digit} stars|Not bad]: the {noun} [arrived {adj}|broke after {small} weeks|is {adj} but "
    "{adj}].",
    "I [would|would not] recommend it to [any|every] {role}[, {why}|].",
    "My {role} [and I|] {did} with it {time}.",
    "[Great|Good|Poor] value for {n2} coins, [although|and] the {noun} [is|was] [too|rather] "
    "{adj}.",
)


def _review(writer: Writer) -> str:
    head = writer.say("[Review|Comment] by {first} from {town}:")
    return f"{head}\n{blocks.paragraph(writer, REVIEWS, 2, 4)}"


def _help(writer: Writer) -> str:
    """A help page: questions about facts or about a passage."""
    draw = writer.draw
    if draw.chance(0.5) and not writer.held_out:
        entity = facts.draw_entity(draw, KINDS, OFFSET)
        made = questions.fact_question(writer, entity, facts.draw_relation(draw, entity), ("Q:",))
        return f"{made.question}\nA: {made.answer}." if made else ""
    yes_no = questions.yes_no(writer, draw.between(1, 4), 1, "Q:")
    if not yes_no:
        return ""
    return f"{yes_no.passage}\n{yes_no.questions[0]}\nA: {'Yes' if yes_no.answers[0] else 'No'}."


def _steps(writer: Writer) -> str:
    count = writer.draw.between(3, 6)
    lines = [writer.say(f"{index + 1}. " + writer.draw.pick(STEPS)) for index in range(count)]
    return "\n".join(line for line in lines if line)


def _facts(writer: Writer) -> str:
    lines = [blocks.fact_sentence(writer, KINDS, OFFSET) for _ in range(writer.draw.between(2, 4))]
    return " ".join(line for line in lines if line)


BLOCKS = (
    (0.34, lambda writer: blocks.paragraph(writer, PITCH, 3, 6)),
    (0.14, _steps),
    (0.14, _review),
    (0.16, _facts),
    (0.06, _help),
    (0.05, blocks.story),
    (0.06, blocks.coreference_sentence),
    (0.05, blocks.recall_passage),
)


def opening(writer: Writer) -> str:
    scope, draw = writer.scope, writer.draw
    scope["town"] = [draw.pick(scope["town"])] * 2 + draw.sample(scope["town"], 2)  # type: ignore[arg-type]
    scope["firm"] = [draw.pick(scope["firm"])]  # type: ignore[arg-type]
    scope["noun"] = tuple(draw.sample(scope["noun"], 9))  # type: ignore[arg-type]
    return writer.say(TITLES)
