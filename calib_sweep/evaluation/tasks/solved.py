"""Items of a task with their answers, as text: the forms in which training items are read.

  plain             what is asked, without an answer
  answered          what is asked and the answer, as lm-eval writes a solved example
  chain_of_thought  what is asked, the reasoning that the item brings, and the answer, as Wei et al.
                    2022 (arXiv:2201.11903) write it: "... So the answer is ANSWER."

The items of one document stand below each other as solved examples do, below the description that
the task begins with.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from calib_sweep.dataset.documents.marked import MarkedText, Span
from calib_sweep.errors import ConfigError

PLAIN, ANSWERED, CHAIN_OF_THOUGHT = FORMS = ("plain", "answered", "chain_of_thought")
# Columns of reasoning in published tasks, in the order in which they are looked for.
REASONING = ("rationale", "reasoning", "explanation", "solution", "chain_of_thought", "cot", "exp")
UNPARTED = ("loglikelihood", "loglikelihood_rolling")  # of answers that bring the space before them


def document_of(
    task: Any, items: Sequence[Mapping[str, object]], form: str, reasoning: str | None
) -> MarkedText:
    """Return items of a task as one text with its answers marked; empty for no items.

    `reasoning`: the column that holds it; None: the first of `REASONING` that an item has.
    """
    if not items:
        return MarkedText("")
    text, answers = _description(task, items[0]) if form != PLAIN else "", list[Span]()
    between = str(getattr(task.config, "fewshot_delimiter", None) or "\n\n")
    for number, item in enumerate(items):
        asked, answer = solved(task, item)
        if form == CHAIN_OF_THOUGHT and answer:
            answer = _reasoned(answer, item, reasoning)
        text += (between if number else "") + (asked if form != PLAIN else asked.rstrip())
        if form != PLAIN and answer:
            answers.append((len(text), len(text) + len(answer)))
            text += answer
    return MarkedText(text, tuple(answers))


def solved(task: Any, item: Mapping[str, object]) -> tuple[str, str]:
    """Return what is asked, with what parts it from the answer, and the right answer."""
    asked, answer = task.doc_to_text(item), task.doc_to_target(item)
    if task.OUTPUT_TYPE == "loglikelihood_rolling":  # a text, and nothing is asked
        return str(answer), ""
    if not hasattr(task, "build_qa_turn"):  # a class of an older kind
        return str(asked), str(answer)
    choices: Any = task.doc_to_choice(item) if task.config.doc_to_choice else None
    if task.multiple_input:  # the answer stands in the text, and what follows is scored
        asked, choices = choices[asked], None
    turns = task.build_qa_turn(
        q=asked,
        c=choices,
        a=answer,
        gen_prefix=task.doc_to_prefix(item),
        tgt_delim="" if task.OUTPUT_TYPE in UNPARTED else task.config.target_delimiter,
        few_delim="",
    )
    texts = [turn.to_text() for turn in turns]
    return texts[0], "".join(texts[1:])


def _description(task: Any, item: Mapping[str, object]) -> str:
    """Return what stands above the items of a prompt; nothing for most tasks."""
    return str(task.resolve_field(item, getattr(task.config, "description", None)) or "")


def _reasoned(answer: str, item: Mapping[str, object], column: str | None) -> str:
    """Return the reasoning of an item with its answer behind it, unless it ends with that."""
    names = REASONING if column is None else (column,)
    found = next((text for name in names if isinstance(text := item.get(name), str) and text), None)
    if found is None:
        raise ConfigError(
            f"dataset.form='chain_of_thought': expected items with their reasoning, in one of the "
            f"columns {', '.join(names)}, but this task has {', '.join(item)}. Name its column "
            "with dataset.reasoning=COLUMN, or type dataset.form=answered."
        )
    own = found.strip()
    if own.rstrip(".").endswith(answer.strip().rstrip(".")):
        return own
    return f"{own} So the answer is {answer.strip().rstrip('.')}."
