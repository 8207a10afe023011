"""The answer of a sweep in sentences: what moves the score, which method does better, what next.

In this order: how far another draw, another dataset and other items move each method; who beats
whom, and on what; whether the loss against dense is real; what to do next. Each claim is a row of
claims.csv that has a winner. Read from the tables of the analysis; every number is theirs.
"""

from collections.abc import Mapping

from calib_sweep.analysis.metrics import OURS, Metrics
from calib_sweep.analysis.report import beats, losses, planning, sensitivity
from calib_sweep.analysis.report.claimed import CLAIMS, Tables, models_of

FAMILY = ("methods", "methods_on", "datasets", "spread", "loss")  # corrected together
NEVER_SEEN = "There are no two methods to compare, and no method has two draws."
IN_ALL = "Of sweeps in which nothing differs, at most 5 % would make any such claim."


def sentences(tables: Tables, words: Mapping[str, str], known: Metrics = OURS) -> list[str]:
    """Say the answer in a few lines per model; `words`: the headline metrics in words."""
    models = models_of(tables)
    told: list[str] = []
    for model in models:
        own = [
            *sensitivity.sentences(tables, model, words, known),
            *beats.sentences(tables, model, words, known),
            *losses.sentences(tables, model, words, known),
            *planning.next_step(tables, model, words, known),
        ]
        told += [f"{model}: {line}" if len(models) > 1 else line for line in own]
    if is_anything_claimed(tables):
        told.append(IN_ALL)
    return told or [NEVER_SEEN]


def is_anything_claimed(tables: Tables) -> bool:
    """Tell whether a row has a winner by the correction for the whole sweep."""
    claims = tables.get(CLAIMS)
    if claims is None or claims.empty:
        return False
    own = claims["kind"].isin(FAMILY) & (claims["winner"].fillna("") != "")
    return bool(own.any())
