"""Pieces of documents that several domains share: facts, passages, questions, plain paragraphs."""

from collections.abc import Callable, Sequence

from calib_sweep.miniature.text.knowledge import facts, lexicon
from calib_sweep.miniature.text.knowledge.world import RELATIONS, world
from calib_sweep.miniature.text.passages import coreference, questions, recall, stories
from calib_sweep.miniature.text.passages.writer import Writer

Block = Callable[[Writer], str]


def paragraph(writer: Writer, templates: Sequence[str], low: int, high: int) -> str:
    """Between `low` and `high` sentences from `templates`; one in a brief document."""
    count = 1 if writer.brief else writer.draw.between(low, high)
    lines = [writer.say(templates) for _ in range(count)]
    return " ".join(line for line in lines if line)


def fact_sentence(writer: Writer, kinds: tuple[str, ...], offset: int) -> str:
    entity = facts.draw_entity(writer.draw, kinds, offset)
    return state(writer, entity, facts.draw_relation(writer.draw, entity))


def fact_sentences(writer: Writer, kinds: tuple[str, ...], offset: int, low: int, high: int) -> str:
    """Between `low` and `high` facts; mostly one sentence each, sometimes all of one entity."""
    draw = writer.draw
    if draw.chance(0.3):
        return portrait(writer, facts.draw_entity(draw, kinds, offset), 0.6)
    lines = [fact_sentence(writer, kinds, offset) for _ in range(draw.between(low, high))]
    return " ".join(line for line in lines if line)


def state(writer: Writer, entity: facts.Entity, relation: str) -> str:
    """One fact as a sentence."""
    bound = facts.bindings(entity, relation)
    return writer.say(facts.statement_templates(entity, relation), **bound)


def portrait(writer: Writer, entity: facts.Entity, share: float = 0.8) -> str:
    """Most facts of one entity, in random order, as a paragraph."""
    relations = writer.draw.shuffled(RELATIONS[entity.kind])
    lines = [state(writer, entity, relation) for relation in relations if writer.draw.chance(share)]
    return " ".join(line for line in lines if line)


def any_portrait(writer: Writer) -> str:
    """Most facts of one entity of the world, all of them equally often."""
    entities = [entity for kind in world().entities.values() for entity in kind]
    return portrait(writer, writer.draw.pick(entities))


def recall_passage(writer: Writer) -> str:
    if writer.draw.chance(0.5):
        return recall.drill(writer)
    passage = recall.passage(writer)
    return f"{passage[0]} {passage[1]}." if passage else ""


def coreference_sentence(writer: Writer) -> str:
    """One reading with its reason; half of the time the other one's reason follows."""
    made = coreference.coreference(writer)
    if not made:
        return ""
    sentence = f"{made.start} {made.candidates[made.answer]} {made.ending}"
    if writer.draw.chance(0.5):
        return sentence
    other = made.candidates[1 - made.answer]
    longer = f"{sentence[:-1]}, and {other} {writer.draw.pick(made.other_endings)}."
    return longer if writer.accepts(longer) else sentence


def story(writer: Writer) -> str:
    made = stories.story(writer)
    return f"{made.opening} {made.right}" if made else ""


def yes_no(writer: Writer, most_questions: int = 4) -> str:
    """A passage with several questions, in the lines of the task."""
    draw = writer.draw
    made = questions.yes_no(writer, draw.between(1, 4), draw.between(1, most_questions))
    if not made:
        return ""
    lines = [made.passage]
    for question, answer in zip(made.questions, made.answers, strict=True):
        lines += [question, f"Answer: {'yes' if answer else 'no'}"]
    return "\n".join(lines)


def fact_question(writer: Writer, offset: int) -> str:
    """A question about the world and its answer, in the lines of the task."""
    entity = facts.draw_entity(writer.draw, tuple(RELATIONS), offset)
    relation = facts.draw_relation(writer.draw, entity)
    if writer.held_out:  # held-out documents keep clear of the facts of the task
        return ""
    made = questions.fact_question(writer, entity, relation)
    return f"{made.question}\nAnswer: {made.answer}" if made else ""


def change_topic(writer: Writer, domain: str) -> None:
    """Mostly one of the domain's own topics, sometimes any."""
    own = lexicon.HOME_TOPICS[domain]
    writer.change_topic(
        writer.draw.pick(own if writer.draw.chance(0.85) else tuple(lexicon.TOPICS))
    )


def weighted(writer: Writer, blocks: Sequence[tuple[float, Block]]) -> str:
    """The text of one block, drawn by weight (weights sum to one)."""
    point = writer.draw.unit()
    for weight, block in blocks:
        point -= weight
        if point < 0:
            return block(writer)
    return blocks[-1][1](writer)
