"""Checks of the settings that several methods share: the same word, the same rule, everywhere.

A method's `__post_init__` makes them in a block of `collected`, so that two mistakes cost one
attempt.
"""

import math
import re
from typing import cast

from calib_sweep.errors import require
from calib_sweep.values import is_int, is_number

UNSTRUCTURED = "unstructured"
LAYER, ROW = "layer", "row"
INPUTS = "inputs"


def check_sparsity(sparsity: object) -> None:
    require(
        is_number(sparsity) and 0 <= sparsity < 1,
        "method.sparsity",
        sparsity,
        "a fraction in [0, 1)",
        "Example: method.sparsity=0.5 zeroes half of the weights.",
    )


def check_pattern(pattern: object, sparsity: object) -> None:
    """Accept `unstructured`, or "N:M" whose share of zeros, 1 - N/M, is the sparsity."""
    kept = num_kept_and_group_length(pattern)
    require(
        pattern == UNSTRUCTURED or (kept is not None and 1 <= kept[0] < kept[1]),
        "method.pattern",
        pattern,
        'unstructured or "N:M" (N weights kept of every M, 1 <= N < M)',
        "Example: method.pattern=2:4 keeps two of every four. In a YAML file write '2:4' with "
        "quotes, as YAML reads a bare 2:4 as the number 124.",
    )
    if kept is None or not is_number(sparsity):
        return
    zeros = 1 - kept[0] / kept[1]
    require(
        math.isclose(sparsity, zeros, abs_tol=1e-6),  # pyright: ignore[reportArgumentType]
        "method.sparsity",
        sparsity,
        f"{zeros:g}, the share of zeros in pattern {pattern}",
        f"Type method.sparsity={zeros:g}, or method.pattern={UNSTRUCTURED}.",
    )


def check_compare(compare: object, pattern: object) -> None:
    """With which weights a weight is compared; an N:M pattern leaves no choice."""
    require(
        compare in (LAYER, ROW) and (compare == LAYER or pattern == UNSTRUCTURED),
        "method.compare",
        compare,
        f"{LAYER} or {ROW}; with a pattern N:M only {LAYER}, as it compares within its groups",
        f"Type method.compare={LAYER}, or method.pattern={UNSTRUCTURED}.",
    )


def check_damping(damping: object) -> None:
    require(
        is_number(damping) and 0 <= damping < math.inf,
        "method.damping",
        damping,
        "a number >= 0, a fraction of the mean of the Hessian's diagonal",
        "Example: method.damping=0.01, the published value.",
    )


def check_off_diagonal(off_diagonal: object) -> None:
    require(
        is_number(off_diagonal) and 0 <= off_diagonal <= 1,
        "method.off_diagonal",
        off_diagonal,
        "a number from 0 to 1, which multiplies the Hessian's entries off the diagonal",
        "Example: method.off_diagonal=1, the published Hessian; 0 leaves its diagonal.",
    )


def check_weighting(weighting: object, mse: object) -> None:
    """Whose errors count more when scales are searched; that search is one by itself."""
    require(
        weighting in (None, INPUTS),
        "method.weighting",
        weighting,
        f"null or {INPUTS}",
        f"Example: method.weighting={INPUTS}, which searches scales by the power of the inputs.",
    )
    require(
        weighting is None or mse is not True,
        "method.weighting",
        weighting,
        "null with method.mse=true, which searches scales by a rule without weights",
        "Type method.mse=false, or method.weighting=null.",
    )


def check_positive_int(key: str, value: object, remedy: str) -> None:
    require(is_int(value) and value >= 1, key, value, "an integer >= 1", remedy)


def check_block_size(block_size: object, pattern: object) -> None:
    """Columns per block; a block must hold whole N:M groups."""
    remedy = "Example: method.block_size=128, the published value."
    check_positive_int("method.block_size", block_size, remedy)
    kept = num_kept_and_group_length(pattern)
    if kept is not None and kept[1] >= 1:
        require(
            cast(int, block_size) % kept[1] == 0,
            "method.block_size",
            block_size,
            f"a multiple of {kept[1]}, so that blocks hold whole groups of pattern {pattern}",
            remedy,
        )


def check_bits(bits: object) -> None:
    require(
        is_int(bits) and 2 <= bits <= 8,
        "method.bits",
        bits,
        "an integer from 2 to 8",
        "Example: method.bits=4.",
    )


def check_symmetric(symmetric: object) -> None:
    require(
        isinstance(symmetric, bool),
        "method.symmetric",
        symmetric,
        "true or false",
        "Example: method.symmetric=false, as in published round-to-nearest baselines.",
    )


def check_flag(key: str, value: object, remedy: str) -> None:
    require(isinstance(value, bool), key, value, "true or false", remedy)


def check_group_size(group_size: object) -> None:
    if group_size is not None:
        remedy = "Example: method.group_size=128; method.group_size=null is one group per row."
        check_positive_int("method.group_size", group_size, remedy)


def check_groups_fit(setting: str, value: object, length: int, name: str, num_in: int) -> None:
    """Refuse groups of `length` columns on a layer whose rows they do not fill evenly."""
    fits = [size for size in (2, 4, 8, 16, 32, 64, 128, 256) if num_in % size == 0]
    require(
        num_in % length == 0,
        setting,
        value,
        f"groups that divide the {num_in} input features of {name}, not groups of {length}",
        f"Lengths that fit this layer: {', '.join(map(str, fits)) or f'only {num_in}'}.",
    )


def num_kept_and_group_length(pattern: object) -> tuple[int, int] | None:
    """Return (N, M) of a pattern "N:M"; None of any other, such as `unstructured`."""
    match = re.fullmatch(r"(\d+):(\d+)", pattern) if isinstance(pattern, str) else None
    return (int(match[1]), int(match[2])) if match else None
