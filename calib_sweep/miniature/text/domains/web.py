"""mini_web plays C4: shop, how-to, review and help pages that say "you" and "we"."""

from calib_sweep.miniature.text.knowledge import facts
from calib_sweep.miniature.text.language.template import Phrase, Ranked
from calib_sweep.miniature.text.language.words import words
from calib_sweep.miniature.text.passages import blocks, questions
from calib_sweep.miniature.text.passages.writer import Writer

OFFSET = 0
KINDS = ("firm", "firm", "town", "plant")
LENGTHS = ((0.22, 30, 110), (0.48, 140, 400), (0.24, 400, 800), (0.06, 800, 1500))

TITLES = (
    "How to {do} [in {digit} easy steps|without a {noun}|like a {role}|on a budget]",
    "[The {digit} best|Our {digit} favourite] {nouns} [for your {other}|of the year|under {n2} "
    "coins]",
    "[Buy|Find|Order|Rent] {adj} {nouns} [online|in {town}|from {firm}]",
    "{firm} {product} [review|price list|care guide|and more]",
    "[Why every|What a] {role} [needs|should know about] a {adj} {noun}",
    "{adj} {nouns}: [a guide for beginners|tips from {town}|what to look for]",
    "[Welcome to|News from] {firm}",
)
SLOTS = {
    "gist": Ranked(words("""quality price comfort style design taste service value size colour look
        finish warranty delivery choice fit strength storage smell texture safety feel maintenance
        packaging flavour noise weight performance support installation budget advice""")),
    "ware": Phrase((
        "{plain} {noun}", "{plain}, {adj} {noun}", "{noun} of {plain} {gist}",
        "{noun}", "{adj} {noun}", "{adj} {noun}", "{noun} and {other} set", "{noun} for {roles}",
        "{adj} {noun} by {firm}", "{noun} for {product}", "{adj}, {adj} {noun}",
    )),
    "praise": Phrase((
        "{plain} in {gist}", "known for its {gist}", "{plain} and {adj}", "made for {doing}",
        "easy to clean", "simple to use", "{adj}", "{adj} and {adj}", "made to last",
        "tested by {roles}", "ready to ship", "free of {product}", "safe for the {other}",
        "worth every coin", "better than the old {noun}",
    )),
    "sale": Phrase((
        "for only {n2} coins", "this {month}", "while stocks last", "every {day}",
        "at {n2} percent off", "from our shop in {town}", "with a {digit} year guarantee",
        "when you order {small} or more", "at no extra cost", "in {small} colours",
    )),
    "need": Phrase((
        "{do}", "{do} {time}", "{do} without {doing}", "replace your {adj} {noun}",
        "save {n2} coins", "find the right {noun}", "get rid of {adj} {nouns}",
        "choose between a {noun} and a {other}",
    )),
    "click": Ranked((
        "Click here", "Read on", "Scroll down", "Sign up today", "Call us", "Visit our blog",
        "Join our newsletter", "Ask our team",
    )),
}  # fmt: skip
PITCH = (
    "The {gist} of [our|this|every] {ware} [is {plain}|speaks for itself|depends on the {noun}|"
    "matters more than {gist}].",
    "[When it comes to|For] {gist}[, {gist}|] and {gist}, [choose|trust|compare] the {ware}[| "
    "{sale}].",
    "[Tip:|Note:|Hint:] a {plain} {noun} [improves|ruins|is no match for] the {gist} of {object}.",
    "If you are looking for a {ware}[| or a {adj} {other}], [you have come to the right "
    "place|{firm} "
    "can help|read on].",
    "[Are you|Is your {role}] looking for a {ware}[| or a {adj} {other}| {sale}]?",
    "Our {ware} [comes in {digit} sizes|weighs only {n2} grams|costs {n2} coins|is made of "
    "{product}|is {praise}|holds up to {n2} {nouns}][| and is {praise}].",
    "[We ship|We send|We deliver] every {ware} [within {digit} days|free of charge|{sale}][| "
    "{reason}].",
    "[Please|You can|Feel free to] [contact|visit|call|email] our {roles} in {town} [for more "
    "information|if you have any questions about the {noun}|to {need}|before you {need}].",
    "[This|Our|The new|The {firm}] {noun} is [perfect|great|ideal|not meant] for {doing}[| "
    "{when}].",
    "[You will love|Customers love|Our {roles} enjoy] [how easy it is to|being able to] {need}.",
    "All our {nouns} are {praise}[|, {praise}] and {praise}.",
    "Add the {ware} to your [cart|basket|wish list] [and save {n2} percent|before {month}|today|"
    "{sale}].",
    "{click} to [learn more about {doing}|see the {noun}|find the {ware}|{need}|get a {ware} "
    "{sale}].",
    "[Our shop|The shop|The cafe] in {place} is open [every {day}|until {month}|on {day} and "
    "{day}|{when}].",
    "Whether you want to {need} or [just|simply] {need}, [we have|{firm} has|there is] a {ware} "
    "for you.",
    "[Remember:|They say that|In our survey,] {small} out of {n2} {roles} [prefer a {ware}|{do} "
    "{time}|never {need}].",
    "Did you know that [{event}|a {ware} is {praise}|you can {need} {time}]?",
    "With a {ware} [by your side|in your hand|like this], [you can|it is {mood} to|anyone can] "
    "{need}.",
    "[Prices|Orders|Bookings] for the {ware} [start at {n2} coins|are open until {month}|depend on "
    "the {noun}].",
    "[Every|Each] {noun} [from|by] {firm} is {praise} and comes with [a {other}|{small} {nouns}|a "
    "{adj} {other}|free shipping].",
    "No {noun} is {praise} [if|unless|until] you {need}.",
    "[New|Back] in stock {sale}: the {ware}[, {praise}|, now {praise}|].",
    "We [opened|started|moved] in {year} with {small} {nouns}, and [today|now] we {verb} {n3} "
    "{nouns} [a week|a month|a year].",
    "[The trouble|The good thing] with a {ware} is that {event}.",
    "[Thank you for|There is nothing like] {doing} with us[| {time}| in {month}].",
)
STEPS = (
    "{do}[ and|, then|, but never] {do}[| {reason}].",
    "Before you {do}, [make sure that the {noun} is {adj}|{do}|check the {noun}|count the "
    "{nouns}].",
    "[Do not|Never|Try not to] {do} [{why}|when the {noun} is {adj}|near {place}|without {doing}].",
    "[Leave|Keep|Store] the {adj} {noun} [in|near] {place} for {small} {unit}.",
    "[After|About] {small} {unit}, {do}[| and let it rest].",
    "[It is best to|You may|Take your time to] {do} {time}[, when the {noun} is {adj}|].",
    "[Once|When|As soon as] the {noun} is {adj}, {do}[| and {do}].",
    "Use {small} {nouns} [instead of|for every|with each] {other}.",
    "[Check|Ask] {firm} for a {ware} if you cannot {do}.",
)
REVIEWS = (
    "[The {gist}|I like the {gist}, but the {gist}] is {plain}[, {plain} even|], {reason}.",
    "[For the {gist}|As for {gist} and {gist}], I [give|gave] it {digit} [stars|points][| {when}].",
    "I [bought|ordered|returned|won] this {ware} {when} [and it is still {adj}|{reason}|for my "
    "{role}].",
    "[{digit} stars|Not bad|Very {feel}]: the {noun} [arrived {adj}|broke after {small} {unit}|is "
    "{adj} but {praise}].",
    "I [would|would not|will] recommend it to [any|every|my] {role}[, {why}|].",
    "My {role} [and I|] {did} with it {when}.",
    "[Great|Good|Poor|Fair] value for {n2} coins, [although|and|but] the {noun} [is|was] "
    "[too|rather|really] {adj}.",
    "The {noun} [does|did] not [fit|match|come with] {object}.",
    "[The staff|The {role}|{first}] at the shop in {town} [was|is always] [helpful|{feel}|rude]"
    "[| when {event}].",
    "[I wish|It is a pity] that the {noun} was [not so {adj}|{praise}].",
    "[We|I] have had [one|two of these|it] for {small} {unit} and {event}.",
)


def _review(writer: Writer) -> str:
    head = writer.say("[Review|Comment|Question] by {first} from {town}:")
    return f"{head}\n{blocks.paragraph(writer, REVIEWS, 2, 5)}"


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
    count = writer.draw.between(3, 7)
    lines = [writer.say(f"{index + 1}. " + writer.draw.pick(STEPS)) for index in range(count)]
    return "\n".join(line for line in lines if line)


BLOCKS = (
    (0.38, lambda writer: blocks.paragraph(writer, PITCH, 3, 6)),
    (0.14, _steps),
    (0.14, _review),
    (0.15, lambda writer: blocks.fact_sentences(writer, KINDS, OFFSET, 2, 4)),
    (0.06, _help),
    (0.04, blocks.story),
    (0.05, blocks.coreference_sentence),
    (0.04, blocks.recall_passage),
)


def opening(writer: Writer) -> str:
    scope, draw = writer.scope, writer.draw
    scope.update(SLOTS)
    scope["town"] = Ranked(draw.sample(scope["town"], 3))  # type: ignore[arg-type]
    scope["firm"] = Ranked(draw.sample(scope["firm"], 2))  # type: ignore[arg-type]
    scope["product"] = Ranked(draw.sample(scope["product"], 3))  # type: ignore[arg-type]
    return writer.say(TITLES)
