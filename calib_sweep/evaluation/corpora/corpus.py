"""One corpus on one model: perplexity and divergence, from one forward pass over its windows."""

import numpy as np

from calib_sweep.evaluation.corpora.divergence import Comparison, Kept
from calib_sweep.evaluation.corpora.perplexity import nll, perplexity
from calib_sweep.evaluation.items import window_table
from calib_sweep.evaluation.parts import WINDOW, Part
from calib_sweep.evaluation.reference import DenseReference
from calib_sweep.evaluation.scorers.scorer import Scorer, ranks_of, scored_parts
from calib_sweep.evaluation.scorers.sharing import fill
from calib_sweep.evaluation.windows import Windows


def score_corpus(
    scorer: Scorer, windows: Windows, num_compared: int, dense: DenseReference | None
) -> Part:
    """Score one corpus.

    The distributions at its first `num_compared` scored tokens are compared with those of `dense`;
    where that is None, they are kept.
    """
    end = min(num_compared, windows.num_positions)
    compared = None if dense is None or not end else Comparison(dense, windows, end)
    kept = Kept() if dense is None and end else None
    targets_P, nll_P = windows.targets(), np.empty(windows.num_positions)
    ranks, own = ranks_of(scorer), list[slice]()
    for part, log_probs_PV in scored_parts(scorer, windows):
        nll_P[part] = nll(log_probs_PV, targets_P[part])
        own.append(part)
        inside = slice(part.start, min(part.stop, end))
        for taker in (compared, kept):
            if taker is not None and inside.start < inside.stop:
                taker.take(inside, log_probs_PV[: inside.stop - inside.start])
    fill(ranks, own, nll_P)
    if compared is not None:
        fill(ranks, own, compared.kl_P, compared.is_same_P)
    nll_N = np.array([part.mean() for part in windows.by_window(nll_P)])
    kl_P = np.full(windows.num_positions, np.nan)
    kl_P[:end] = np.nan if compared is None else compared.kl_P
    found = Part(kind=WINDOW, name=windows.label, headline=f"ppl/{windows.label}")
    found.rows = window_table(windows, nll_N, kl_P)
    found.add("ppl", *perplexity(windows.by_stretch(nll_P)))
    for metric, value in ({} if compared is None else compared.scores()).items():
        found.add(metric, *value)
    if kept is not None:
        found.log_probs, found.top = kept.together(ranks)
    return found
