"""The dense model's perplexity of a calibration set: how usual the set is to the model.

    exp(mean NLL of the set's tokens), padding and first tokens of samples left out

It describes the set, moves no score, and is the same for every method. So it is kept beside the set

    results_dir/calibration/<hash>/dense_perplexity-<model>.json    {set, model, dense_perplexity}

and found there by other methods and workers. <model> hashes what the dense weights depend on: the
configuration of the model, the content of its local files, its commit on the hub. And it hashes
who asks the model: the engine, and the kind of the evaluation, with its settings and code if it is
not ours.
Workers that want the same one at the same time all compute it: it takes none of them longer than
waiting would.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calib_sweep import atomic, valid_json
from calib_sweep.cell import TARGET, Cell, Config, by_kind, digest, kind_of, without_execution
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
from calib_sweep.evaluation.corpora.perplexity import token_perplexity
from calib_sweep.evaluation.scorers.scorer import Scorer
from calib_sweep.evaluation.windows import Windows, has_context
from calib_sweep.ranks import ALONE, Ranks

log = logging.getLogger(__name__)

DENSE_PERPLEXITY = "dense_perplexity"  # the switch, the descriptor, the file


def describe(
    drawn: CalibrationSet | None,
    scorer: Scorer,
    cell: Cell,
    weights: Mapping[str, object],
    code: str | None,
    ranks: Ranks = ALONE,
) -> dict[str, float | None]:
    """Describe a set by the dense model behind `scorer`; by nothing if not asked for, or no set.

    `weights`: what those of the model depend on. `code`: hash of the code of the evaluation's
    classes, where some are not ours. `ranks`: of the cell; a scorer may know of none.
    """
    if drawn is None or not cell.config[DENSE_PERPLEXITY]:
        return {}
    asks = {"evaluation": engine(cell.config["evaluation"], code), "scorer": scorer.engine}
    identity = {**weights, **asks}
    return {DENSE_PERPLEXITY: dense_perplexity(drawn, scorer, identity, ranks)}


def engine(evaluation: Config, code: str | None) -> dict[str, object]:
    """Describe what asks the model. Our own evaluation asks in one way, but if it compiles."""
    if code is None:
        compiled = {"compile": True} if evaluation.get("compile") else {}
        return {"kind": kind_of(evaluation[TARGET]), **compiled}
    return {"settings": by_kind(without_execution(evaluation)), "code": code}


def dense_perplexity(
    drawn: CalibrationSet,
    scorer: Scorer,
    identity: Mapping[str, object],
    ranks: Ranks = ALONE,
) -> float | None:
    """Perplexity of a set that is kept on disk, computed unless it was before.

    `identity`: what the weights of the model depend on, and who asks it. None: samples of a single
    token have none. Of `ranks` the first one reads and keeps it.
    """
    assert drawn.folder is not None, "a set is described where it is kept"
    path = drawn.folder / f"{DENSE_PERPLEXITY}-{digest(identity)}.json"
    known = ranks.from_rank(0, lambda: _read(path, drawn.hash))
    if known is None:
        scored_NT = has_context(drawn.tokens_NT, drawn.lengths_N)
        windows = Windows(DENSE_PERPLEXITY, drawn.tokens_NT, scored_NT)
        value = token_perplexity(scorer, windows)
        known = {"set": drawn.hash, "model": identity, DENSE_PERPLEXITY: value}
        if ranks.is_first:
            _keep(path, known)
    return known[DENSE_PERPLEXITY]


def _keep(path: Path, known: Mapping[str, object]) -> None:
    try:
        atomic.sweep_leftovers(path.parent)  # of who was killed while writing this
        atomic.write(path, valid_json.dumps(known, indent=1) + "\n")
    except OSError as error:  # somebody else's folder, say: the next cell computes it again
        log.warning("%s cannot be kept: %s", path, error)


def _read(path: Path, set_hash: str) -> dict[str, Any] | None:
    """Return what `path` says of the set with this hash; None where it is not there, or damaged."""
    try:
        known = json.loads(path.read_bytes())
        value = known[DENSE_PERPLEXITY] = valid_json.numbers(known[DENSE_PERPLEXITY])
        possible = value is None or (isinstance(value, int | float) and not value < 1)
        if known["set"] == set_hash and possible:
            return known
        reason = "it cannot be of this set"
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
    log.warning("%s is damaged (%s); it is computed again", path, reason)
    return None
