"""Samples that differ from the others of their set, most of all first, each with its reasons.

Samples that stand in text that is scored come first, then equal ones, then nearly equal ones, then
those whose numbers stand out, by the largest robust z-score, then those in another language.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from calib_sweep.inspection.samples import OUTLIER_Z, find_outliers
from calib_sweep.inspection.shared import Pair

SCORED, EQUAL, NEARLY_EQUAL = 1e7, 1e6, 1e5  # ranks above every z-score
ENOUGH = 0.8  # share of samples in one language from which another one is unusual
# Descriptor: what a low value says of a sample, and a high one.
MEANINGS = {
    "length": ("short", "long"),
    "unique_share": ("few different tokens", "many different tokens"),
    "compression": ("repetitive", "hard to compress"),
    "repeated_lines": ("no line twice", "the same lines again"),
    "non_alphabetic": ("hardly a digit or sign", "digits and signs"),
    "perplexity": ("well known to the model", "strange to the model"),
}


@dataclass(frozen=True)
class Unusual:
    """A sample and why it is told."""

    sample: int
    reasons: Sequence[str]
    rank: float  # the largest robust z-score, or above


def find_unusual(
    described: Mapping[str, np.ndarray],
    languages: Sequence[str],
    duplicates: Sequence[Sequence[int]],
    near: Sequence[Pair],
    held: Mapping[int, Sequence[str]] | None = None,
) -> list[Unusual]:
    """Rank the samples that stand out.

    `described` as `describe_samples` gives it. `held`: texts that are scored and hold most of a
    sample, by sample.
    """
    found: dict[int, list[tuple[float, str]]] = {}
    for sample, names in (held or {}).items():
        found.setdefault(sample, []).append((SCORED, f"most of it stands in {', '.join(names)}"))
    for group in duplicates:
        for sample in group[1:]:
            found.setdefault(sample, []).append((EQUAL, f"the same tokens as sample {group[0]}"))
    for pair in near:
        told = f"about {100 * pair.likeness:.0f} % the same as sample {pair.one}"
        found.setdefault(pair.other, []).append((NEARLY_EQUAL + pair.likeness, told))
    for sample, name, value, z in find_outliers(described):
        told = _reason(name, value, float(np.nanmedian(described[name])), z)
        found.setdefault(sample, []).append((abs(z), told))
    for sample, told in _in_another_language(languages):
        found.setdefault(sample, []).append((OUTLIER_Z, told))
    unusual = []
    for sample, own in found.items():
        ranked = sorted(own, key=lambda one: -one[0])
        unusual.append(Unusual(sample, [told for _, told in ranked], ranked[0][0]))
    return sorted(unusual, key=lambda one: (-one.rank, one.sample))


def _reason(name: str, value: float, median: float, z: float) -> str:
    meaning = MEANINGS.get(name, (f"low {name}", f"high {name}"))[z > 0]
    return f"{meaning} ({name} {value:.3g}, median {median:.3g}, z {z:+.1f})"


def _in_another_language(languages: Sequence[str]) -> list[tuple[int, str]]:
    if not languages:
        return []
    most, number = Counter(languages).most_common(1)[0]
    if number < ENOUGH * len(languages):
        return []
    return [
        (sample, f"in another language than most ({own}, not {most})")
        for sample, own in enumerate(languages)
        if own != most
    ]
