"""mini_news plays CNN-DM: reports in the past tense with dateline, quotations and highlights."""

from calib_sweep.miniature.text import blocks, facts
from calib_sweep.miniature.text.writer import Writer

OFFSET = 1
KINDS = ("person", "person", "town", "firm")

LEADS = (
    "{hero}, a {job} from {seat}, {did} on {today} [after a {adj} {noun}|hours after a {adj} "
    "{noun} {place_at}], "
    "[officials said|police said|the {role} said].",
    "A {adj} {noun} in {seat} [left {dead} people hurt|cost {money} million coins|surprised "
    "{dead} {role}s] on "
    "{today}, [according to|said] {hero}.",
    "The {role}s of {seat} [will|are to] {do} [this {month}|by {day}], {hero} "
    "[announced|confirmed] on {today}.",
    "{hero} and {rival} [met|clashed|agreed] in {seat} on {today} over a {adj} {noun} worth "
    "{money} million coins.",
)
BODY = (
    "{last}, {age}, {did} [{why}|at {place}|in {month}] and [later|then] {did}.",
    "The {role}, who {did} [last {month}|in {year}], [denied|admitted] {doing}[| {why}].",
    "[Police|Officials|Witnesses] said [that|] {dead} {role}s [had been|were] [near|at] {place} "
    "when the {noun} "
    "[collapsed|was {adj}|arrived|came to an end].",
    "The {adj} {noun} is [expected to cost|said to be worth] {money} million coins, [according "
    "to|said] {rival}.",
    "[It was|This is] the [first|second|third] {adj} {noun} in {seat} since {year}.",
    "A {role} [from|in] {town} [told reporters|said in a statement] that the {noun} [was|had "
    "been|would remain] "
    "{adj}.",
    "[Meanwhile|In {month}|Earlier], {rlast} {did}, while {dead} {role}s {did}.",
    "The {noun} [began|ended] on {today} [and|but] the {role} [is expected|wants] to {do} [next "
    "{month}|by {day}].",
    "[Neither|Both] {last} [nor|and] {rlast} [could be reached|would comment] on {day}.",
    "In {year}, {last} [was accused of|was praised for|had considered] {doing}[| together with "
    "{rlast}].",
)
QUOTES = (
    '"[We|They] {did}, and [now|so] the {noun} is {adj}," [said {last}|{last} said|{rlast} told '
    "reporters].",
    '"[I am|We are] {feel}[| and {feel}]," [said {last}|{rlast} said].',
    '"[Nobody|Every {role}] [wants|has] to {do}," [said {rlast}|said {first}, a {role}|{last} '
    "added].",
    '"[It was|This is] a {adj} {noun}," [said|added] a {role} {place_at}.',
    '"There were {dead} of us[| and we {did}]," {first}, {n2}, [recalled|said].',
)
HIGHLIGHTS = (
    "- {hero} {did} in {seat}",
    "- {dead} {role}s {did} on {today}",
    "- The {noun} could cost {money} million coins",
    "- {rival} [denies|regrets|welcomes] {doing}",
    "- {last}, {age}, [was|is] a {job} from {seat}",
)


def _report(writer: Writer) -> str:
    return blocks.paragraph(writer, BODY, 2, 4)


def _quote(writer: Writer) -> str:
    return f"{writer.say(QUOTES)} {writer.say(BODY)}".strip()


def _facts(writer: Writer) -> str:
    lines = [blocks.fact_sentence(writer, KINDS, OFFSET) for _ in range(writer.draw.between(1, 3))]
    return " ".join(line for line in lines if line)


BLOCKS = (
    (0.40, _report),
    (0.24, _quote),
    (0.22, _facts),
    (0.06, blocks.recall_passage),
    (0.05, blocks.coreference_sentence),
    (0.03, blocks.story),
)


def opening(writer: Writer) -> str:
    """Binds the persons, place and numbers of the report and writes its first paragraph."""
    draw, scope = writer.draw, writer.scope
    hero, rival = (facts.draw_entity(draw, ("person",), OFFSET) for _ in range(2))
    town = facts.draw_entity(draw, ("town",), OFFSET)
    scope.update(
        hero=hero.name,
        last=hero.name.split()[1],
        rival=rival.name,
        rlast=rival.name.split()[1],
        job=hero.facts["job"],
        seat=town.name,
        today=draw.pick(scope["day"]),  # type: ignore[arg-type]
        dead=draw.pick(scope["small"]),  # type: ignore[arg-type]
        money=str(draw.between(11, 99)),
        age=str(draw.between(19, 88)),
        place_at=lambda draw, scope: f"at {draw.pick(scope['place'])}",
    )
    scope["noun"] = tuple(draw.sample(scope["noun"], 8))  # type: ignore[arg-type]
    dateline = f"{town.name.upper()} - " if draw.chance(0.7) else ""
    return writer.say([dateline + lead for lead in LEADS])


def closing(writer: Writer) -> str:
    lines = [writer.say(template) for template in writer.draw.sample(HIGHLIGHTS, 3)]
    return "Highlights:\n" + "\n".join(line for line in lines if line)
