"""Training-only documents that are nothing but skill passages, in the layouts of the tasks.

They stand to the tasks as a school book to an exam: same form, other sentences, other facts asked.
"""

from calib_sweep.miniature.text.passages import blocks, drills, questions, recall
from calib_sweep.miniature.text.passages.writer import Writer

_SHARES = (
    (2, recall.drill),
    (1, blocks.recall_passage),
    (1, drills.look_up),
    (2, drills.compare),
    (1, questions.open_questions),
    (1, blocks.yes_no),
    (2, lambda writer: blocks.yes_no(writer, most_questions=8)),
    (3, blocks.any_portrait),
    (3, blocks.coreference_sentence),
    (3, blocks.story),
    (3, lambda writer: blocks.fact_question(writer, writer.draw.below(5))),
)
SKILLS = tuple(skill for share, skill in _SHARES for _ in range(share))


def page(writer: Writer) -> str:
    """Some sixteen passages; half of the pages keep to one skill."""
    draw = writer.draw
    kinds = [draw.pick(SKILLS)] if draw.chance(0.5) else list(SKILLS)
    parts = [draw.pick(kinds)(writer) for _ in range(draw.between(8, 24))]
    return "\n\n".join(part for part in parts if part)
