"""Does the order of methods generalise: each pair of methods over the models of a sweep.

A row for each pair and headline score that two models or more have, of what comparisons.csv says of
it on all datasets of each model. Models are taken as a sample of models (`inference.
random_effects`): `estimate` is the mean over them, each counting once, `lo..hi` its 95 % interval
by what differs between models, `tau` that difference as an SD without the draws, `new_lo..new_hi`
where the same comparison on one more model would lie. `num_ahead` counts the models on which the
mean is on a's side.

The rows are a family of their own: Holm at 5 %, and `winner` is who wins by it. All are on the
scale of the analysis (log perplexity, shares).

Shapes: K models, E pairs x scores.
"""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd

from calib_sweep.analysis.formatting import Frame
from calib_sweep.analysis.inference.estimates import of_interval
from calib_sweep.analysis.inference.intervals import LEVEL
from calib_sweep.analysis.inference.multiplicity import holm_corrected
from calib_sweep.analysis.inference.random_effects import MIN_MODELS, over_models
from calib_sweep.analysis.metrics import OURS, Metrics

COLUMNS = [
    *("metric", "settings", "a", "b", "num_models", "models", "num_ahead", "estimate", "lo", "hi"),
    *("p", "p_holm", "winner", "tau", "tau_lo", "tau_hi", "new_lo", "new_hi"),
]
NUMBERS = ("mean_diff", "lo", "hi", "df")
BETWEEN = ", "  # the names of models


def over_models_table(comparisons: Frame, bare: Mapping[str, str], known: Metrics = OURS) -> Frame:
    """Make over_models.csv; `bare`: each model of `comparisons` without its settings."""
    tables = [pd.DataFrame(columns=pd.Index(COLUMNS))]
    is_pooled = (comparisons["kind"] == "method") & (comparisons["dataset"] == "")
    headlines = list(known.headlines(comparisons["metric"]))
    pooled = comparisons[is_pooled & comparisons["metric"].isin(headlines)]
    for settings, named in _alike(list(dict.fromkeys(pooled["model"])), bare).items():
        own = pooled[pooled["model"].isin(list(named))]
        tables += [_summary(own, named, settings, known)] if len(named) >= MIN_MODELS else []
    table = pd.concat(tables[1:] or tables, ignore_index=True)
    sign = _directions(table["metric"], known)
    gain = sign * table["estimate"].to_numpy(float)
    p_holm = holm_corrected(table["p"].to_numpy(float))
    ahead = np.select([gain > 0, gain < 0], [table["a"], table["b"]], "")
    winner = np.where(p_holm < 1 - LEVEL, ahead, "")
    return table.assign(p_holm=p_holm, winner=winner).reindex(columns=COLUMNS)


def _alike(models: list[str], bare: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Group models by their settings where one was run with several: each counts once.

    Returns the bare name of each, by settings.
    """
    if len({bare[model] for model in models}) == len(models):
        return {"": {model: bare[model] for model in models}}
    found: dict[str, dict[str, str]] = {}
    for model in models:
        settings = model.removeprefix(bare[model]).strip()
        found.setdefault(settings, {})[model] = bare[model]
    return found


def _directions(metrics: Iterable[str], known: Metrics) -> np.ndarray:
    return np.array([known.of(metric).direction for metric in metrics], dtype=float)


def _summary(compared: Frame, named: Mapping[str, str], settings: str, known: Metrics) -> Frame:
    """Return the rows of some models, `named` by their bare names."""
    keys = ["metric", "a", "b"]
    wide = compared.set_index([*keys, "model"])[list(NUMBERS)].unstack()
    given = of_interval(*(wide[name][list(named)].to_numpy(float).T for name in NUMBERS))
    found = over_models(*given)
    is_known_KE = np.isfinite(given.value)
    index = wide.index.to_frame(index=False)
    sign_E = _directions(index["metric"], known)
    ahead_KE = is_known_KE & (given.value * sign_E > 0)
    table = index.assign(
        settings=settings,
        num_models=found.num_models,
        models=list(_names(is_known_KE, list(named.values()))),
        num_ahead=ahead_KE.sum(0),
        estimate=found.mean,
        **{name: getattr(found, name) for name in ("lo", "hi", "p", "tau", "tau_lo", "tau_hi")},
        new_lo=found.new_lo,
        new_hi=found.new_hi,
    )
    return table[table["num_models"] >= MIN_MODELS]


def _names(is_known_KE: np.ndarray, names: list[str]) -> Iterator[str]:
    for known_K in is_known_KE.T:
        yield BETWEEN.join(name for name, is_known in zip(names, known_K, strict=True) if is_known)
