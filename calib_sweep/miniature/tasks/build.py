"""Write the items of the tasks: `python -m calib_sweep.miniature.tasks.build`.

Every item is made by a writer of the held-out side: none of its sentences is in training text, and
what it asks for (a fact; a pair of cause and effect, of clause and reason, of relation and value,
of closing phrase and last word) is what training text never asks for or never tells.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice

from calib_sweep import valid_json
from calib_sweep.miniature.corpus import writer_for
from calib_sweep.miniature.tasks.load import Item
from calib_sweep.miniature.text.knowledge.world import Entity, is_asked_only_in_tasks, world
from calib_sweep.miniature.text.language.draw import Draw
from calib_sweep.miniature.text.passages import coreference, questions, recall, stories
from calib_sweep.miniature.text.passages.writer import Writer, sentences
from calib_sweep.places import TASKS, task_folder

NUM_ITEMS = 320  # of each task; a multiple of two and of four positions
_NUM_DRAFTS = 50_000  # of which the items of a task are taken


def _facts(writer: Writer, index: int) -> Item | None:
    draw = writer.draw
    entity, relation = _kept_facts()[index % len(_kept_facts())]
    made = questions.fact_question(writer, entity, relation)
    if not made:
        return None
    answer = draw.below(4)
    choices = list(made.wrong)
    choices.insert(answer, made.answer)
    fact = f"{entity.name}/{relation}"
    return {"fact": fact, "question": made.question, "choices": choices, "answer": answer}


@cache
def _kept_facts() -> list[tuple[Entity, str]]:
    """The facts that training text never asks for, in random order."""
    entities = [entity for kind in world().entities.values() for entity in kind]
    kept = [
        (entity, relation)
        for entity in entities
        for relation in entity.facts
        if is_asked_only_in_tasks(entity.name, relation)
    ]
    return Draw("miniature-kept-facts").shuffled(kept)


def _lastword(writer: Writer, index: int) -> Item | None:
    made = recall.passage(writer)
    return {"context": made[0], "word": made[1]} if made else None


def _coref(writer: Writer, index: int) -> Item | None:
    made = coreference.coreference(writer)
    if not made:
        return None
    contexts = [f"{made.start} {candidate}" for candidate in made.candidates]
    return {"contexts": contexts, "ending": made.ending, "answer": made.answer}


def _story(writer: Writer, index: int) -> Item | None:
    made = stories.story(writer)
    if not made:
        return None
    answer = writer.draw.below(2)
    endings = [made.wrong, made.right] if answer else [made.right, made.wrong]
    return {"context": made.opening, "endings": endings, "answer": answer}


def _boolq(writer: Writer, index: int) -> Item | None:
    made = questions.yes_no(writer, writer.draw.pick((1, 2, 2, 3, 4)), 1)
    if not made:
        return None
    return {"passage": made.passage, "question": made.questions[0], "answer": int(made.answers[0])}


MAKERS: dict[str, Callable[[Writer, int], Item | None]] = dict(
    zip(TASKS, (_facts, _lastword, _coref, _story, _boolq), strict=True)
)


# Characters that the requests of an item may have: items are short, so that a sweep affords many,
# but few passages with a last word are so short that only one word can be meant.
_LENGTHS = {
    "mini_facts": (0, 56),
    "mini_lastword": (70, 150),
    "mini_coref": (0, 57),
    "mini_story": (0, 54),
    "mini_boolq": (0, 112),
}


def items(task: str, num_items: int = NUM_ITEMS) -> list[Item]:
    """The first items of a task, all different, answers in every position equally often."""
    made = list(islice(_balanced(_different(task)), num_items))
    if len(made) < num_items:
        raise RuntimeError(f"{task}: {len(made)} items, not {num_items}; let them be longer.")
    return made


def requests(task: str, item: Item) -> list[str]:
    """The texts that a model reads for one item, one for each choice, the right one first."""
    if task == "mini_lastword":
        return [f"{item['context']} {item['word']}."]
    if task == "mini_boolq":
        return [f"{item['passage']} {item['question']}"]
    if task == "mini_facts":
        texts = [f"{item['question']} {choice}" for choice in item["choices"]]
    elif task == "mini_coref":
        texts = [f"{context} {item['ending']}" for context in item["contexts"]]
    else:
        texts = [f"{item['context']} {ending}" for ending in item["endings"]]
    return [texts.pop(item["answer"]), *texts]


def _different(task: str) -> Iterator[Item]:
    """Items of a fitting length; no two ask for the same fact or read alike."""
    seen = set()
    for index in range(_NUM_DRAFTS):
        item = MAKERS[task](writer_for("tasks", task, index), index)
        if item is None:
            continue
        texts = requests(task, item)
        key = item.get("fact", texts[0])
        low, high = _LENGTHS[task]
        fits = all(low <= len(text) <= high for text in texts)
        if fits and key not in seen and all(map(sentences, texts)):
            seen.add(key)
            yield item


def _balanced(made: Iterator[Item]) -> Iterator[Item]:
    """The items in blocks that hold every answer once, so that the first so many are balanced."""
    waiting: dict[int, list[Item]] = {}
    for item in made:
        waiting.setdefault(item.get("answer", 0), []).append(item)
        positions = len(item.get("choices", "01" if "answer" in item else "0"))
        if len(waiting) == positions and all(waiting.values()):
            yield from [items_of_answer.pop(0) for items_of_answer in waiting.values()]


def main(argv: list[str] | None = None) -> None:
    argparse.ArgumentParser(
        prog="python -m calib_sweep.miniature.tasks.build",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(argv)
    folder = task_folder() / "items"
    folder.mkdir(exist_ok=True)
    for task in TASKS:
        lines = [valid_json.dumps(item) + "\n" for item in items(task)]
        (folder / f"{task}.jsonl").write_text("".join(lines))


if __name__ == "__main__":
    main()
