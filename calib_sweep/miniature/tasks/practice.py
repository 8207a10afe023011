"""Training items of the tasks: the same questions as are scored, about other facts and passages.

All are made by a writer of the training side: none of their sentences is in an item that is scored,
and no question asks for a fact that is kept for these. They are made when they are asked for.
"""

from functools import cache
from itertools import count, islice
from typing import TYPE_CHECKING

from calib_sweep.miniature.corpus import writer_for
from calib_sweep.miniature.tasks.build import MAKERS
from calib_sweep.miniature.tasks.load import Item, read
from calib_sweep.miniature.text.knowledge.world import RELATIONS, world
from calib_sweep.miniature.text.passages import questions
from calib_sweep.miniature.text.passages.writer import Writer

if TYPE_CHECKING:
    from datasets import Dataset

NUM_ITEMS = 1_000  # of each task


def splits(items: str, **_: object) -> dict[str, "Dataset"]:
    """Return split name -> dataset of the task `items`; lm-eval's metadata is not needed."""
    from datasets import Dataset

    return {"practice": Dataset.from_list(made(items)), "test": Dataset.from_list(read(items))}


@cache
def made(task: str) -> list[Item]:
    """The training items of one task, always the same."""
    maker = _facts if task == "mini_facts" else MAKERS[task]
    writers = ((writer_for("train", f"practice/{task}", index), index) for index in count())
    drafts = (maker(writer, index) for writer, index in writers)
    return list(islice((item for item in drafts if item is not None), NUM_ITEMS))


def _facts(writer: Writer, index: int) -> Item | None:
    draw = writer.draw
    entity = draw.pick([one for kind in world().entities.values() for one in kind])
    question = questions.fact_question(writer, entity, draw.pick(RELATIONS[entity.kind]))
    if question is None:
        return None
    answer = draw.below(4)
    choices = list(question.wrong)
    choices.insert(answer, question.answer)
    return {"question": question.question, "choices": choices, "answer": answer}
