"""mini_news plays CNN-DM: reports in the past tense with dateline, quotations and highlights."""

from calib_sweep.miniature.text.knowledge import facts
from calib_sweep.miniature.text.language.template import Phrase, Ranked
from calib_sweep.miniature.text.language.words import words
from calib_sweep.miniature.text.passages import blocks
from calib_sweep.miniature.text.passages.writer import Writer

OFFSET = 1
KINDS = ("person", "person", "town", "firm")
LENGTHS = ((0.16, 30, 120), (0.5, 220, 450), (0.3, 450, 800), (0.08, 800, 1300))

SLOTS = {
    "gist": Ranked(words("""anger concern pressure doubt relief delay violence uncertainty confusion
        hope evidence support criticism panic grief pride corruption outrage tension fatigue
        damage speculation sympathy unrest chaos optimism frustration applause suspicion
        negligence""")),
    "who": Phrase((
        "the {plain} {role}", "a {job} at {place}", "most {roles}",
        "{last}", "{last}", "{rlast}", "the {role}", "a {role} from {town}", "the {adj} {role}",
        "{dead} {roles}", "officials in {seat}", "the {roles} of {seat}", "{first}, {n2}, a {role}",
        "a spokesman for {firm}",
    )),
    "told": Phrase((
        "sources said", "said {rlast}", "according to {rlast}", "{last} told reporters",
        "police said",
        "officials said on {today}", "the {role} said", "it emerged on {day}",
        "a {role} close to {last} said", "{firm} said in a statement",
    )),
    "crime": Phrase((
        "{doing}", "{doing} and {doing}", "{doing} {time}", "failing to {do}",
        "hiding the {noun}", "paying {money} million coins for {object}",
    )),
    "since": Phrase((
        "amid {gist}", "after {small} {unit} of {gist}", "despite {gist} over {matter}",
        "late on {day}", "{slowly}",
        "last {month}", "in {year}", "on {today}", "in {month} {year}",
        "{small} {unit} ago", "before {event}", "after {event}", "since {year}", "{time}",
        "despite the {adj} {noun}", "while {state}",
    )),
    "matter": Phrase((
        "the {noun}", "the {adj} {noun}", "a {adj} {noun}", "the {noun} at {place}",
        "the {money} million coin {noun}", "the {noun} and its {nouns}",
        "plans to {do}", "the row over the {noun}",
    )),
}  # fmt: skip
LEADS = (
    "{hero}, a {job} from {seat}, {did} on {today} [after a {adj} {noun}|hours after a {adj} "
    "{noun} at {place}|{since}], [officials said|police said|the {role} said].",
    "A {adj} {noun} in {seat} [left {dead} people hurt|cost {money} million coins|surprised "
    "{dead} {roles}] on {today}, [according to|said] {hero}.",
    "The {roles} of {seat} [will|are to|have agreed to] {do} [this {month}|by {day}], {hero} "
    "[announced|confirmed] on {today}.",
    "{hero} and {rival} [met|clashed|agreed] in {seat} on {today} over a {adj} {noun} worth "
    "{money} million coins.",
    "[Fears are|Anger is] growing in {seat} {reason}, {hero} warned on {today}.",
    "[More than|At least|Nearly] {n3} {roles} {did} in {seat} on {today} in [protest at|support "
    "of] {matter}.",
)
BODY = (
    "There was {gist} [and {gist}|] [in {seat}|at {place}|among {roles}] {since}, {told}.",
    "{who} [expressed|dismissed|spoke of|denied] [{gist}|{gist} and {gist}] over {matter}[| "
    "{since}].",
    "[{gist}|A lack of {gist}|Growing {gist}] [forced|allowed|led] {who} to {do}[, {told}|].",
    "[It is|It was] [unclear|thought] whether {who} [will|can|had to] {do} {since}.",
    "{last}, {age}, {did} [{since}|at {place}|in {month}] and [later|then|also] {did}.",
    "The {role}, who {did} {since}, [denied|admitted|was cleared of] {crime}[| {since}].",
    "[Police|Officials|Witnesses|Lawyers] said [that|] {dead} {roles} [had been|were] [near|at] "
    "{place} when the {noun} [collapsed|was {adj}|arrived|came to an end].",
    "{matter} is [expected to cost|said to be worth] {money} million coins, {told}.",
    "[It was|This is] the [first|second|third] {adj} {noun} in {seat} since {year}.",
    "{who} [told reporters|said in a statement|insisted] that {matter} [was|had been|would "
    "remain] {adj}.",
    "[Meanwhile|In {month}|Earlier], {who} {did}, while {who} {did}.",
    "{matter} [began|ended|resumed|was called off] {since} [and|but] the {role} [is "
    "expected|wants|refuses] to {do} [next {month}|by {day}|in time].",
    "[Neither {last} nor|Both {last} and] {rlast} [could be reached|would comment|mentioned "
    "{matter}|met {who}] [on {day}|in {month}|{since}].",
    "{last} [was accused of|was praised for|had considered|faces charges of] {crime}[| together "
    "with {rlast}].",
    "{who} [has|had] {passive} {object} {since}, {told}.",
    "[Critics|Supporters|Residents] of {matter} [fear|hope|argue] that {who} will {do} [{when}|"
    "{reason}].",
    "A [report|poll|letter] published {since} [found|warned|claimed] that {n2} percent of {roles} "
    "{do}.",
    "In {seat}, {event}, [and|but|yet] {who} {did}.",
    "{who} [earned|spent|lost|raised] {money} million coins {since}[, up from {n2}|, down from "
    "{n2}|], {told}.",
    "The [case|trial|hearing|match|search] continues[| on {day}| in {month}].",
    "{last}'s {adj} {noun} [came|comes] {small} {unit} [before|after] {matter}.",
    "[Asked about|Speaking of] {matter}, {last} [smiled|said nothing|called it {adj}|blamed "
    "{rlast}].",
)
QUOTES = (
    '"[We|They|You] {did}, and [now|so] the {noun} is {adj}," [said {last}|{last} said|{rlast} '
    "told reporters].",
    '"[I am|We are] {feel}[| and {feel}][| {why}| because {event}]," [said {last}|{rlast} said].',
    '"[Nobody|Every {role}] [wants|has] to {do}," [said {rlast}|said {first}, a {role}|{last} '
    "added].",
    '"[It was a|This is a|What a] [{adj}|{plain}] {noun}," [said|added] {who}.',
    '"There were {dead} of us[| and we {did}]," {first}, {n2}, [recalled|said].',
    '"[If|When] {event}, [we|I] will {do}," {last} [promised|warned|wrote].',
    '"[I|We] did not {do} {when}," [said {who}|{rlast} insisted].',
    '"[Frankly|Sadly|Of course|In short], {matter} is [over|only the beginning|none of my '
    'business|a disgrace]," {told}.',
)
HIGHLIGHTS = (
    "- {hero} {did} in {seat}",
    "- {dead} {roles} {did} on {today}",
    "- {matter} could cost {money} million coins",
    "- {rival} [denies|regrets|welcomes] {crime}",
    "- {last}, {age}, [was|is] a {job} from {seat}",
    "- {who} {did} {since}",
)


def _quote(writer: Writer) -> str:
    return f"{writer.say(QUOTES)} {writer.say(BODY)}".strip()


BLOCKS = (
    (0.46, lambda writer: blocks.paragraph(writer, BODY, 2, 4)),
    (0.22, _quote),
    (0.20, lambda writer: blocks.fact_sentences(writer, KINDS, OFFSET, 1, 3)),
    (0.05, blocks.recall_passage),
    (0.05, blocks.coreference_sentence),
    (0.02, blocks.story),
)


def opening(writer: Writer) -> str:
    """Binds the persons, place and numbers of the report and writes its first paragraph."""
    draw, scope = writer.draw, writer.scope
    hero, rival = (facts.draw_entity(draw, ("person",), OFFSET) for _ in range(2))
    town = facts.draw_entity(draw, ("town",), OFFSET)
    scope.update(SLOTS)
    scope.update(
        hero=hero.name,
        last=hero.name.split()[1],
        rival=rival.name,
        rlast=rival.name.split()[1],
        job=hero.facts["job"],
        seat=town.name,
        town=Ranked(draw.sample(scope["town"], 3)),  # type: ignore[arg-type]
        firm=Ranked(draw.sample(scope["firm"], 2)),  # type: ignore[arg-type]
        today=draw.pick(scope["day"]),  # type: ignore[arg-type]
        dead=draw.pick(scope["small"]),  # type: ignore[arg-type]
        money=str(draw.between(11, 99)),
        age=str(draw.between(19, 88)),
    )
    dateline = f"{town.name.upper()} - " if draw.chance(0.7) else ""
    return writer.say([dateline + lead for lead in LEADS])


def closing(writer: Writer) -> str:
    lines = [writer.say(template) for template in writer.draw.sample(HIGHLIGHTS, 3)]
    return "Highlights:\n" + "\n".join(line for line in lines if line)
