"""The two headline scores of a record: their names, and the mean over corpora.

    ppl/geomean    exp(mean over the C corpora of log perplexity)
                   stderr: ppl/geomean * sqrt(sum (stderr / ppl)^2) / C
    acc/mean       mean over the tasks of each task's headline metric

The standard error is over items, of which corpora share none.

Shapes: C corpora.
"""

import numpy as np

PPL_MEAN, ACC_MEAN = "ppl/geomean", "acc/mean"


def geometric_mean(ppl_C: np.ndarray) -> float:
    """Return the geometric mean of the corpora's perplexities; infinite or NaN where one is."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.exp(np.mean(np.log(ppl_C))))


def geometric_stderr(mean: float, ppl_C: np.ndarray, stderr_C: np.ndarray) -> float:
    """Return the standard error of the geometric mean `mean`; NaN where a corpus has none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(mean * (np.sqrt(np.sum((stderr_C / ppl_C) ** 2)) / len(ppl_C)))
