"""Training-only documents that are nothing but skill passages, in the layouts of the tasks.

They stand to the tasks as a school book to an exam: same form, other sentences, other facts asked.
"""

from calib_sweep.miniature.text import blocks, drills, recall
from calib_sweep.miniature.text.writer import Writer

SKILLS = (
    recall.drill,
    drills.look_up,
    drills.compare,
    blocks.recall_passage,
    blocks.coreference_sentence,
    blocks.coreference_sentence,
    blocks.story,
    blocks.yes_no,
    lambda writer: blocks.yes_no(writer, most_questions=8),
    lambda writer: blocks.fact_question(writer, writer.draw.below(5)),
)


def page(writer: Writer) -> str:
    """Some sixteen passages; half of the pages keep to one skill."""
    draw = writer.draw
    kinds = [draw.pick(SKILLS)] if draw.chance(0.5) else list(SKILLS)
    parts = [draw.pick(kinds)(writer) for _ in range(draw.between(8, 24))]
    return "\n\n".join(part for part in parts if part)
