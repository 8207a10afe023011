"""The answer of a sweep in sentences: what moves the score, which method does better, what next.

In this order: how far another draw, another dataset and other items move each method; who beats
whom, and on what; whether the loss against dense is real; what to do next. Each claim is a row of
claims.csv that has a winner. Read from the tables of the analysis; every number is theirs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from calib_sweep.analysis import formatting
from calib_sweep.analysis.metrics import OURS, Metrics
from calib_sweep.analysis.report import beats, compared, losses, over_models, planning, sensitivity
from calib_sweep.analysis.report.claimed import CLAIMS, Tables, models_of

FAMILY = ("methods", "methods_on", "datasets", "spread", "loss")  # corrected together
NEVER_SEEN = "There are no two methods to compare, and no method has two draws."
IN_ALL = "Of sweeps in which nothing differs, at most 5 % would make any such claim."
Parts = dict[str, list[str]]


def sentences(
    tables: Tables, words: Mapping[str, str], known: Metrics = OURS, *, is_fixed: bool = True
) -> list[str]:
    """Say the answer in a few lines per model; `words`: the headline metrics in words.

    `is_fixed`: the number of seeds was, before the first of them; else `IN_ALL` does not hold.
    """
    asked = parts(tables, words, known, is_fixed=is_fixed)
    told = [line for lines in asked.values() for line in lines]
    return told or [NEVER_SEEN]


def parts(
    tables: Tables, words: Mapping[str, str], known: Metrics = OURS, *, is_fixed: bool = True
) -> Parts:
    """Return the sentences under the question that they answer; no question without an answer."""
    asked = {
        "What moves the score": lambda model: sensitivity.sentences(tables, model, words, known),
        "Which method does better": lambda model: [
            *beats.sentences(tables, model, words, known),
            *compared.sentences(tables.get("compared"), model),
        ],
        "Is the loss real": lambda model: losses.sentences(tables, model, words, known),
    }
    models = models_of(tables)
    told = {question: _of_all(models, say) for question, say in asked.items()}
    answered = {question: lines for question, lines in told.items() if lines}
    if answered and is_fixed and is_anything_claimed(tables):
        answered[list(answered)[-1]].append(IN_ALL)
    if "over_models" in tables:
        held = list(over_models.sentences(tables["over_models"], words, known))
        held = [line for line in held if is_fixed or line != over_models.IN_ALL]
        answered |= {"Does the order hold on other models": held} if held else {}
    next_step = _of_all(models, lambda model: planning.next_step(tables, model, words, known))
    return answered | ({"What to do next": next_step} if next_step else {})


def _of_all(models: Sequence[str], say: Callable[[str], Iterable[str]]) -> list[str]:
    """Return what there is to say of each model, with its name where there are several."""
    lines = [
        (model, line.replace(formatting.NO_BREAK, " ")) for model in models for line in say(model)
    ]
    return [f"{model}: {line}" if len(models) > 1 else line for model, line in lines]


def is_anything_claimed(tables: Tables) -> bool:
    """Tell whether a row has a winner by the correction for the whole sweep."""
    claims = tables.get(CLAIMS)
    if claims is None or claims.empty:
        return False
    own = claims["kind"].isin(FAMILY) & (claims["winner"].fillna("") != "")
    return bool(own.any())
