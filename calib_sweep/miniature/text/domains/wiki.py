"""mini_wiki plays Wikipedia: articles about entities of the world, with headings and dates."""

from calib_sweep.miniature.text.knowledge import facts
from calib_sweep.miniature.text.knowledge.world import RELATIONS
from calib_sweep.miniature.text.language.template import Phrase, Ranked
from calib_sweep.miniature.text.language.words import words
from calib_sweep.miniature.text.passages import blocks
from calib_sweep.miniature.text.passages.writer import Writer

OFFSET = 4
KINDS = ("person", "town", "animal", "plant", "firm", "book")
LENGTHS = ((0.24, 35, 130), (0.4, 160, 420), (0.24, 420, 900), (0.12, 900, 1700))

HEADINGS = {
    "person": ("Life", "Career", "Legacy", "Personal life", "Works", "Early years"),
    "town": ("History", "Geography", "Economy", "Sights", "Transport", "Population"),
    "animal": ("Description", "Distribution", "Behaviour", "Conservation", "Taxonomy"),
    "plant": ("Description", "Distribution", "Uses", "Cultivation", "Ecology"),
    "firm": ("History", "Products", "Ownership", "Locations"),
    "book": ("Plot", "Reception", "Editions", "Background"),
}
TOPICS = {
    "person": ("history", "school", "council"),
    "town": ("geography", "history"),
    "animal": ("nature",),
    "plant": ("nature",),
    "firm": ("geography", "workshop"),
    "book": ("history", "music"),
}
LEADS = {
    "person": (
        "{s} ({born} - {died}) was a {adj} {v} [from|of] {region}.",
        "{s} (born {born}) is a {role} and {v}.",
        "{s} was a {v} who {verbed} the {noun} of {seat} in {year}.",
    ),
    "town": (
        "{s} is a {adj} town [in|of] {v}, with {n4} inhabitants in {year}.",
        "{s} is the {adj} seat of a {noun} in {v}[|, known for its {nouns}].",
    ),
    "animal": (
        "The {s} is a {adj} {noun} that lives in {v}.",
        "The {s}, {passive} by {scholar} in {year}, is a {adj} animal of {v}.",
    ),
    "plant": (
        "{s} is a {adj} plant of the {noun} family, found in {v}.",
        "{s} is a {adj} plant with {adj} {nouns} that grows in {v}.",
    ),
    "firm": (
        "{s} is a {adj} company based in {v}, founded in {year}.",
        "{s} is a company in {v} with {n3} employees.",
    ),
    "book": (
        "{s} is a {adj} novel by {v}, published in {year}.",
        "{s} is a book of {n3} pages that {v} wrote in {year}.",
    ),
}
SLOTS = {
    "gist": Ranked(words("""origin structure significance extent decline foundation administration
        ownership climate trade religion architecture distribution restoration classification
        composition expansion influence collapse appearance construction management name
        population chronology discovery symbolism taxation drainage boundary""")),
    "it": Phrase((
        "the {gist} of the {noun}", "its {plain} {noun}", "the {plain} {noun} of {seat}",
        "the {gist} of the {adj} {noun}", "the {noun} near {town}",
        "the {noun}", "the {noun}", "the {adj} {noun}", "its {noun}", "the {noun} of {seat}",
        "the {adj} {noun} of {region}", "the {noun} of the {other}", "a {adj} {noun}",
        "the {year} {noun}", "the {noun} at {place}", "the so-called {adj} {noun}",
    )),
    "date": Phrase((
        "in {year}", "in {year}", "around {year}", "in {month} {year}",
        "between {early} and {late}",
        "until {year}", "after {year}", "during the {adj} {noun}", "under the {roles} of {seat}",
        "in the [17th|18th|19th|20th] century", "{small} years later",
    )),
    "agent": Phrase((
        "by the {roles}", "by {scholar}", "by a {role} from {region}", "by {roles} of {seat}",
        "near {place}", "in {seat}", "for {small} {unit}", "along the {river}", "from {town}",
    )),
    "size": Phrase((
        "{n3} hectares", "{n2} metres", "{n4} square metres", "{small} volumes", "{n2} {nouns}",
        "{n3} kilograms", "{n2} percent of {region}", "about {n3} {nouns}",
    )),
    "and": Phrase((
        "", "", "", ", {passive} {date},", ", {passive} {agent},", ", now {adj},",
        ", also known as the {adj} {noun},", ", one of {small} {nouns},",
    )),
    "coda": Phrase((
        "", "", "", ", when {it} was {passive}", ", which the {roles} {verbed}", " {agent}",
        ", making it the {adj} {noun} of {region}", ", although {it} remained {adj}",
        ", where {it} is still {adj}", " as part of {it}", ", with {size}", ", {verbing} {it}",
        ", [before|after] {it} was {passive} {agent}",
    )),
}  # fmt: skip
EVENTS = (
    "[Little is known of|Several sources discuss|Debate continues over] the {gist} [and {gist} "
    "|]of "
    "{it}{coda}.",
    "The {gist} of {it}{and} [dates from|ended in|changed in] {year}{coda}.",
    "In terms of {gist}[ and {gist}|], {it} [is|was] {plain}{coda}.",
    "{date}, {it} [was|had been] {passive} {agent}{coda}.",
    "{it}{and} [covers|measures|holds] {size} and [is|was] [considered|called] {adj}{coda}.",
    "[According to|As recorded by] {scholar}, {it} [was {passive}|became {adj}] {date}{coda}.",
    "A [second|later|smaller|similar] {noun}, [now|long] {adj}, was {passive} {date}{coda}.",
    "The {roles} of {seat} {verbed} {it} {date}{coda}.",
    "[It|The {noun}] is [one of|the largest of|considered one of] the {small} {adj} {nouns} "
    "[of|in] {region}{coda}.",
    "{it}{and} [consists of|includes|contains] {small} {adj} {nouns}{coda}.",
    "[Both|Neither] {it} [and|nor] {it} [survive|were {passive}][| {date}].",
    "{scholar} {verbed} {it} {date}{coda}.",
    "[Since|By] {year}, {it}{and} [has|had] {passive} {it}{coda}.",
    "[Today|As of {year}|At its height], {it} [has|had] {size}{coda}.",
    "{it}{and} was [named|ranked|listed] as {adj} {date}{coda}.",
    "[Most|Some|Few] {roles} [describe|regard|dispute] {it} as {adj}, [while|but] {scholar} "
    "[considered|called] it {adj}.",
    "{it} [should not be confused with|is closely related to|lies opposite] {it}.",
    "[Following|Despite|Because of] {it}, the {noun} was {passive} {agent}{coda}.",
    "[Its|The] {noun} [and|or] {other} were {passive} {agent} {date}.",
)


def _events(writer: Writer) -> str:
    return blocks.paragraph(writer, EVENTS, 2, 5)


def _related(writer: Writer) -> str:
    entity = facts.draw_entity(writer.draw, KINDS, OFFSET)
    return blocks.portrait(writer, entity)


def _subject(writer: Writer) -> str:
    """A heading and what is known of the article's subject, in other words than before."""
    entity: facts.Entity = writer.scope["subject_entity"]  # type: ignore[assignment]
    heading = writer.draw.pick(HEADINGS[entity.kind])
    text = f"{blocks.portrait(writer, entity, 0.5)} {_events(writer)}".strip()
    return f"== {heading} ==\n{text}"


BLOCKS = (
    (0.44, _events),
    (0.22, _related),
    (0.28, _subject),
    (0.02, blocks.coreference_sentence),
    (0.02, blocks.recall_passage),
    (0.02, blocks.story),
)


def opening(writer: Writer) -> str:
    draw, scope = writer.draw, writer.scope
    entity = facts.draw_entity(draw, KINDS, OFFSET)
    writer.change_topic(draw.pick(TOPICS[entity.kind]))
    scope.update(SLOTS)
    scope["subject_entity"] = entity  # type: ignore[assignment]
    scope["seat"] = draw.pick(scope["town"])  # type: ignore[arg-type]
    scope["scholar"] = Ranked(draw.sample(scope["person"], 2))  # type: ignore[arg-type]
    scope["town"] = Ranked(draw.sample(scope["town"], 3))  # type: ignore[arg-type]
    scope["region"] = Ranked(draw.sample(scope["region"], 3))  # type: ignore[arg-type]
    born = draw.between(1690, 1920)
    scope.update(born=str(born), died=str(born + draw.between(30, 90)))
    years = sorted({*scope["year"]}, key=int)  # type: ignore[misc]
    scope.update(early=years[: len(years) // 2 or 1], late=years[len(years) // 2 :])
    bound = facts.bindings(entity, RELATIONS[entity.kind][0])
    lead = writer.say(LEADS[entity.kind], **bound)
    return f"{entity.name}\n{lead} {blocks.portrait(writer, entity)}".strip()
