"""Scores of guessing: the level that an accuracy is held against.

Of a choice it is one over the number of choices. Of a last word it is one over the number of words
of the passage that could be last: whoever knows what kind of word is due (an object, a place, a
town) and picks any of that kind. A guesser who does not know that much scores next to nothing.
"""

import math
import re

from calib_sweep.miniature.tasks.load import Item, read
from calib_sweep.miniature.text.knowledge.world import world
from calib_sweep.miniature.text.passages.questions import YES_NO
from calib_sweep.miniature.text.passages.recall import OBJECTS, SPOTS

OPTIONS = ("choices", "contexts", "endings")  # an item of a choice has one of these


def guessing(task: str) -> float:
    """Return the accuracy of a guesser, the mean over the items of `task`."""
    items = read(task)
    return sum(1 / num_candidates(item) for item in items) / len(items)


def num_candidates(item: Item) -> int:
    """Count the answers of an item that a guesser chooses among."""
    for key in OPTIONS:
        if key in item:
            return len(item[key])
    return _num_fitting(item["context"], item["word"]) if "word" in item else 2  # yes or no


def looking() -> float:
    """Accuracy in mini_boolq of who says yes if all that a question names stands in the passage.

    No word is bound to another there: a model that only looks up words comes as far.
    """
    templates = " ".join(text for relation in YES_NO for text in relation.asked)
    common = {word.lower() for word in re.findall(r"\w+", templates)} | {"question", "quiz", "q"}
    items, num_right = read("mini_boolq"), 0
    for item in items:
        said, asked = (
            {word.lower() for word in re.findall(r"\w+", item[key])}
            for key in ("passage", "question")
        )
        num_right += (asked - common <= said) == bool(item["answer"])
    return num_right / len(items)


def _num_fitting(context: str, word: str) -> int:
    """Different words of `context` that are of the kind of `word`, itself included."""
    towns = [town.name for town in world().entities["town"]]
    kind = next((kind for kind in (OBJECTS, SPOTS, towns) if word in kind), [word])
    return len({found for found in re.findall(r"\w+", context) if found in kind} | {word})


def standard_error(accuracy: float, chance: float, num_items: int) -> float:
    """The larger of the binomial standard errors at `accuracy` and at `chance`."""
    variances = (share * (1 - share) for share in (accuracy, chance))
    return math.sqrt(max(variances) / num_items)
