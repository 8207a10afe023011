"""The values of the top level of the configuration that are no parts: what each of them may be."""

import math
from collections.abc import Callable

from calib_sweep.cell import Config
from calib_sweep.errors import collected, require
from calib_sweep.places import CALIBRATION, DOCUMENTS, TOKENISED
from calib_sweep.results.store import MODEL_FORMS
from calib_sweep.values import is_int, is_number


def _is_folder_name(value: object) -> bool:
    reserved = ("", ".", "..", CALIBRATION, TOKENISED, DOCUMENTS)
    return isinstance(value, str) and value not in reserved and not set("/\\") & set(value)


# key: (is it acceptable?, what is, what to type)
PLAIN_VALUES: dict[str, tuple[Callable[[object], bool], str, str]] = {
    "seed": (
        lambda v: is_int(v, 0),
        "an integer >= 0",
        "Example: seed=0, or 'seed=range(5)' to sweep.",
    ),
    "replicate": (
        lambda v: is_int(v, 0),
        "an integer >= 0",
        "Example: replicate=0,1 runs every cell twice.",
    ),
    "ranks_per_cell": (
        lambda v: is_int(v, 1),
        "an integer >= 1",
        "Example: ranks_per_cell=1; every process takes cells of its own.",
    ),
    "rank_timeout_s": (
        lambda v: isinstance(v, int | float) and not isinstance(v, bool) and 1 <= v < 1e6,
        "seconds >= 1",
        "Example: rank_timeout_s=60: a rank that gives no sign of life for so long is lost.",
    ),
    "checkpoint": (
        lambda v: v in (None, "blocks"),
        "null or blocks",
        "Example: checkpoint=blocks, so that a cell that is killed goes on where it was.",
    ),
    "checkpoint_seconds": (
        lambda v: is_number(v) and 0 <= v < math.inf,
        "a number of seconds >= 0",
        "Example: checkpoint_seconds=600; 0 keeps a state after every block.",
    ),
    "num_threads": (
        lambda v: v is None or is_int(v, 1),
        "an integer >= 1, or null for all cores",
        "Example: num_threads=1, best for small models and where workers share a processor.",
    ),
    "workers": (
        lambda v: v == "auto" or is_int(v, 1),
        "auto, or an integer >= 1",
        "Example: workers=1; auto takes as many as there are idle cores.",
    ),
    "dense_perplexity": (
        lambda v: isinstance(v, bool),
        "true or false",
        "Example: dense_perplexity=false, which saves a forward pass over each set.",
    ),
    "allow_overlap": (
        lambda v: isinstance(v, bool),
        "true or false",
        "Example: allow_overlap=true, which lets a text be drawn from that is scored.",
    ),
    "save_model": (
        lambda v: v in (None, *MODEL_FORMS),
        f"null, {' or '.join(MODEL_FORMS)}",
        "Example: save_model=dense keeps the compressed models.",
    ),
    "results_dir": (
        lambda v: isinstance(v, str) and v != "",
        "a folder",
        "Example: results_dir=results.",
    ),
    "sweep_name": (
        _is_folder_name,
        "a folder name without '/', and not 'calibration' or 'tokenised', which have other uses",
        "Example: sweep_name=my_sweep.",
    ),
}


def check_plain_values(config: Config) -> None:
    """Raise `ConfigError` unless all of them are what they may be."""
    with collected() as problems:
        for key, (accepts, expected, remedy) in PLAIN_VALUES.items():
            problems.of(require, accepts(config[key]), key, config[key], expected, remedy)
