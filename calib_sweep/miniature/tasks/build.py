"""Writes the items of the tasks: `python -m calib_sweep.miniature.tasks.build`.

Every item is made by a writer of the held-out side, so none of its sentences is in training text;
facts are asked that training text never asks for, and stories pair things with acts that training
text never pairs.
"""

import json
from collections.abc import Callable, Iterator
from itertools import count, islice

from calib_sweep.miniature.corpus import writer_for
from calib_sweep.miniature.tasks import TASKS, task_folder
from calib_sweep.miniature.text import coreference, questions, recall, stories
from calib_sweep.miniature.text.world import RELATIONS, world
from calib_sweep.miniature.text.writer import Writer

Item = dict[str, object]
NUM_ITEMS = 252  # of each task; a multiple of two and of four positions


def _facts(writer: Writer) -> Item | None:
    draw = writer.draw
    entity = draw.pick(world().entities[draw.pick(tuple(RELATIONS))])
    made = questions.fact_question(writer, entity, draw.pick(RELATIONS[entity.kind]))
    if not made:
        return None
    answer = draw.below(4)
    choices = list(made.wrong)
    choices.insert(answer, made.answer)
    return {"question": made.question, "choices": choices, "answer": answer}


def _lastword(writer: Writer) -> Item | None:
    made = recall.passage(writer)
    return {"context": made[0], "word": made[1]} if made else None


def _coref(writer: Writer) -> Item | None:
    made = coreference.coreference(writer)
    if not made:
        return None
    contexts = [f"{made.start} {candidate}" for candidate in made.candidates]
    return {"contexts": contexts, "ending": made.ending, "answer": made.answer}


def _story(writer: Writer) -> Item | None:
    made = stories.story(writer)
    if not made:
        return None
    answer = writer.draw.below(2)
    endings = [made.wrong, made.right] if answer else [made.right, made.wrong]
    return {"context": made.opening, "endings": endings, "answer": answer}


def _boolq(writer: Writer) -> Item | None:
    made = questions.yes_no(writer, writer.draw.between(2, 4), 1)
    if not made:
        return None
    return {"passage": made.passage, "question": made.questions[0], "answer": int(made.answers[0])}


_MAKERS: dict[str, Callable[[Writer], Item | None]] = dict(
    zip(TASKS, (_facts, _lastword, _coref, _story, _boolq), strict=True)
)


def items(task: str) -> list[Item]:
    """The items of a task, all different, answers in every position equally often."""
    return list(islice(_balanced(_different(task)), NUM_ITEMS))


def _different(task: str) -> Iterator[Item]:
    seen = set()
    for index in count():
        item = _MAKERS[task](writer_for("tasks", task, index))
        if item is None:
            continue
        key = str(item.get("question")) + str(item.get("contexts")) + str(item.get("context"))
        if task == "mini_boolq":
            key += str(item["passage"])
        if key not in seen:
            seen.add(key)
            yield item


def _balanced(made: Iterator[Item]) -> Iterator[Item]:
    num_by_answer: dict[object, int] = {}
    for item in made:
        answer = item.get("answer")
        positions = len(item.get("choices", (0, 0)))  # type: ignore[arg-type]
        if answer is not None:
            if num_by_answer.get(answer, 0) * positions >= NUM_ITEMS:
                continue
            num_by_answer[answer] = num_by_answer.get(answer, 0) + 1
        yield item


def main() -> None:
    folder = task_folder() / "items"
    folder.mkdir(exist_ok=True)
    for task in TASKS:
        lines = [json.dumps(item) + "\n" for item in items(task)]
        (folder / f"{task}.jsonl").write_text("".join(lines))


if __name__ == "__main__":
    main()
