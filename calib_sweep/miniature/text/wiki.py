"""mini_wiki plays Wikipedia: articles about entities of the world, with headings and dates."""

from calib_sweep.miniature.text import blocks, facts
from calib_sweep.miniature.text.world import RELATIONS
from calib_sweep.miniature.text.writer import Writer

OFFSET = 4
KINDS = ("person", "town", "animal", "plant", "firm", "book")

HEADINGS = {
    "person": ("Life", "Career", "Legacy", "Personal life"),
    "town": ("History", "Geography", "Economy", "Sights"),
    "animal": ("Description", "Distribution", "Behaviour", "Conservation"),
    "plant": ("Description", "Distribution", "Uses", "Cultivation"),
    "firm": ("History", "Products", "Ownership"),
    "book": ("Plot", "Reception", "Editions"),
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
        "{s} ({year} - {year}) was a {adj} {v} [from|of] {region}.",
        "{s} (born {year}) is a {role} and {v}.",
    ),
    "town": ("{s} is a {adj} town [in|of] {v}, with {n4} inhabitants in {year}.",),
    "animal": ("The {s} is a {adj} {noun} that lives in {v}.",),
    "plant": ("{s} is a {adj} plant of the {noun} family, found in {v}.",),
    "firm": ("{s} is a {adj} company based in {v}, founded in {year}.",),
    "book": ("{s} is a {adj} novel by {v}, published in {year}.",),
}
EVENTS = (
    "[In|Since|Around] {year}, the {adj} {noun} [was|had been] {passive} [near|by the {role}s of] "
    "{seat}[| {why}].",
    "The {noun} [covers|measures|held] {n3} [hectares|metres|volumes] and [is|was] "
    "[considered|called] {adj}.",
    "[According to|As recorded by] {scholar}, the {noun} [was {passive}|became {adj}] [in|before] "
    "{year}.",
    "A [second|later|smaller] {noun}, [now|long] {adj}, was {passive} [in {year}|between {year} "
    "and {year}].",
    "The {role}s of {seat} {did} [until|from] {year}[, when the {noun} was {passive}|].",
    "[It|The {noun}] is [one of|the largest of] the {small} {adj} {noun}s [of|in] {region}.",
    "[Its|The] {noun} [consists of|includes] {small} {adj} {noun}s[, {passive} in {year}|].",
    "[Both|Neither] the {noun} [and|nor] the {adj} {noun} [survive|were {passive}][| after "
    "{year}].",
)


def _events(writer: Writer) -> str:
    return blocks.paragraph(writer, EVENTS, 2, 4)


def _related(writer: Writer) -> str:
    entity = facts.draw_entity(writer.draw, KINDS, OFFSET)
    return blocks.portrait(writer, entity)


def _subject(writer: Writer) -> str:
    """A heading and what is known of the article's subject, in other words than before."""
    entity: facts.Entity = writer.scope["subject_entity"]  # type: ignore[assignment]
    heading = writer.draw.pick(HEADINGS[entity.kind])
    return f"== {heading} ==\n{blocks.portrait(writer, entity)} {_events(writer)}".strip()


BLOCKS = (
    (0.30, _events),
    (0.36, _related),
    (0.28, _subject),
    (0.02, blocks.coreference_sentence),
    (0.02, blocks.recall_passage),
    (0.02, blocks.story),
)


def opening(writer: Writer) -> str:
    draw, scope = writer.draw, writer.scope
    entity = facts.draw_entity(draw, KINDS, OFFSET)
    writer.change_topic(draw.pick(TOPICS[entity.kind]))
    scope["subject_entity"] = entity  # type: ignore[assignment]
    scope["seat"] = draw.pick(scope["town"])  # type: ignore[arg-type]
    scope["scholar"] = draw.pick(scope["person"])  # type: ignore[arg-type]
    scope["passive"] = tuple(verb[1] for verb in scope["topic"].verbs if verb[1] != "resembled")  # type: ignore[union-attr]
    scope["noun"] = tuple(draw.sample(scope["noun"], 8))  # type: ignore[arg-type]
    bound = facts.bindings(entity, RELATIONS[entity.kind][0])
    lead = writer.say(LEADS[entity.kind], **bound)
    return f"{entity.name}\n{lead} {blocks.portrait(writer, entity)}".strip()
