"""How far a score moves with the draw, with the dataset, with the items: one row per method.

    draw_sd     SD of the score over calibration sets drawn from one dataset
    dataset_sd  SD of the mean over draws, from one dataset to another
    item_se     root mean square of the records' standard errors over items: how far the score of
                one compressed model would move on other test items of the same kind

The first two are the components of `variance_components.csv` with their 95 % intervals. A share is
that of the variance in the sum of the three, of those that are known: it says what a user should
look after first, not what is large.

All are on the scale of the analysis: for perplexity SDs of its logarithm, where 0.01 is one per
cent, and item_se is that of the logarithm, se / perplexity. A method that reads no data has SDs of
exactly 0: neither draw nor dataset can move it.

Shapes: K numbers of one kind.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from calib_sweep.analysis.metrics import OURS, Metrics
from calib_sweep.analysis.scores.arrays import ScoreArray
from calib_sweep.analysis.scores.groups import Group, is_logged
from calib_sweep.analysis.scores.names import Naming

PARTS = ("draw", "dataset", "item")
COLUMNS = [
    *("model", "method", "metric"),
    *("draw_sd", "draw_lo", "draw_hi", "dataset_sd", "dataset_lo", "dataset_hi", "item_se"),
    *("draw_share", "dataset_share", "item_share", "n", "num_datasets", "note"),
]
NO_DATA = "reads no data: neither draw nor dataset moves it"
TOO_FEW = "too few scores: no SD"

Key = tuple[str, str, str]  # model, method, metric


def sensitivity_table(
    arrays: Sequence[ScoreArray],
    components: pd.DataFrame,
    groups: Sequence[Group],
    naming: Naming,
) -> pd.DataFrame:
    """Make sensitivity.csv from the table of variance components, `components`."""
    by_key: dict[Key, dict[str, Mapping[str, object]]] = {}
    for row in components.to_dict("records"):
        key = (str(row["model"]), str(row["method"]), str(row["metric"]))
        by_key.setdefault(key, {})[str(row["component"])] = {str(k): v for k, v in row.items()}
    item_se = _item_errors(groups, naming, arrays[0].known if arrays else OURS)
    rows: list[dict[str, object]] = []
    for array in arrays:
        scored_MDE = np.isfinite(array.lasting_MDSE).sum(axis=2)
        for m, names in enumerate(array.methods):
            for e, metric in enumerate(array.metrics):
                if not scored_MDE[m, :, e].any():
                    continue
                key = (array.model, names.method, metric)
                own = dict(zip(("model", "method", "metric"), key, strict=True))
                count_D = scored_MDE[m, :, e] if names.dataset is not None else np.array([1])
                own |= {"n": int(count_D.sum()), "num_datasets": int((count_D > 0).sum())}
                moved = _moved(by_key.get(key)) if names.dataset is not None else _unmoved()
                rows.append(own | moved | {"item_se": item_se.get(key, np.nan)})
    table = pd.DataFrame(rows, columns=pd.Index(COLUMNS))
    return _with_shares(table)


def _moved(own: Mapping[str, Mapping[str, object]] | None) -> dict[str, object]:
    """Return SDs and intervals of draw and dataset, and why one is lacking."""
    if own is None:
        return {"note": TOO_FEW}
    found: dict[str, object] = {}
    for part in ("draw", "dataset"):
        ends = zip(("sd", "lo", "hi"), ("sd", "sd_lo", "sd_hi"), strict=True)
        found |= {f"{part}_{name}": own[part][column] for name, column in ends}
    notes = dict.fromkeys(str(own[part]["note"]) for part in ("draw", "dataset"))
    return found | {"note": "; ".join(filter(None, notes))}


def _unmoved() -> dict[str, object]:
    return {"draw_sd": 0.0, "dataset_sd": 0.0, "note": NO_DATA}


def _item_errors(groups: Sequence[Group], naming: Naming, known: Metrics) -> dict[Key, float]:
    """Return the root mean square of all standard errors over items; lacking where none is."""
    squares: dict[Key, list[np.ndarray]] = {}
    for group in groups:
        names = naming.of(group)
        with np.errstate(divide="ignore", invalid="ignore"):
            se_S = group.stderr_S / (group.value_S if is_logged(group.metric, known) else 1.0)
        known_K = se_S[np.isfinite(se_S)] ** 2
        if known_K.size:
            squares.setdefault((names.model, names.method, group.metric), []).append(known_K)
    return {key: float(np.sqrt(np.concatenate(own).mean())) for key, own in squares.items()}


def _with_shares(table: pd.DataFrame) -> pd.DataFrame:
    """Add each part's share of the variances that are known."""
    columns = ["draw_sd", "dataset_sd", "item_se"]
    variance_K3 = table[columns].to_numpy(float) ** 2
    total_K = np.nansum(variance_K3, axis=1)
    share_K3 = variance_K3 / np.where(total_K > 0, total_K, np.nan)[:, None]
    table[[f"{part}_share" for part in PARTS]] = share_K3
    return table.reindex(columns=COLUMNS)
